"""An autoencoder learns few images by heart. Held-out training images show it, and show what helps.

The loss of the images it learns from goes on falling. That of held-out images falls, then rises: a U. `patience=5`
stops 5 epochs after the lowest point and restores it. With clean images the largest code is the best: a wide network
learns to copy, and a copy is right for any image. It copies noise as well. A small code, the bottleneck, does not help
against that, patience a little. Noise in the inputs does: it makes a copy wrong (Goodfellow, Bengio and Courville,
2016, "Deep Learning", 14.2). Nor does a small code prevent overfitting: in a strong network, one number can be the
index of an example (14.1). From one number, all reconstructions lie on a curve, which a large network bends.
Run it: about 25 seconds. It prints squared errors, chooses on held-out images, measures the choice on
test images, and draws `figures/16_overfitting.png`. Read beside it: npae/fitting/history.py, npae/corruptions.py.
Now try IMAGES = 300: the U rises by 10 %. On noisy images, noise in the inputs gains 20 %, not 40 %.
Now try POINTS = 240: both errors are 0.05. And other seeds for the 24 points: 0 is the clearest of 0 to 7. The median
ratio of the errors is 1.3, and seed 5 reverses it.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "16_overfitting.png"
IMAGES, POINTS, SIZES, NOISE = 1000, 24, (4, 16, 64, 256), npae.GaussianNoise(0.3)
REMEDIES = {"no remedy": (0, None), "patience=5": (0, 5), "noise in the inputs": (NOISE.std, None)}
LOOKS = {"color": plots.GREY, "ls": ":"}, {"color": plots.ORANGE, "ls": "--"}, {"color": plots.BLUE}
RISE, GAIN, WORSE = 0.03, 0.30, 1.5  # at least: rise of the U, gain by noise on noisy images, large network / small


def error(ae, X, X_in):
    return np.square(X - ae.reconstruct(X_in)).sum(axis=1).mean()


def main(path=FIGURE, epochs=50):
    X, X_test = npae.datasets.digits()
    X, held_out, models, errors = X[:IMAGES], X[-1000:], {}, np.empty((3, len(SIZES), 3))
    noisy, noisy_test = (NOISE(images, np.random.default_rng(1)) for images in (held_out, X_test))
    print("squared error per image:           training   held-out   noisy held-out")
    for i, (name, (noise, patience)) in enumerate(REMEDIES.items()):
        for j, k in enumerate(SIZES):
            models[i, j] = ae = npae.DAE(
                hidden=(256,), latent_dim=k, corruption=npae.GaussianNoise(noise), loss="bce", batch_size=50,
                optimizer=npae.Adam(2e-3), epochs=epochs, patience=patience, random_state=0,
            ).fit(X, validation=held_out)  # fmt: skip
            errors[i, j] = error(ae, X, X), error(ae, held_out, held_out), error(ae, held_out, noisy)
            print(f"  {k:3} numbers, {name:19}" + "{:9.2f}{:11.2f}{:17.2f}".format(*errors[i, j]))
    *without, after = (error(models[i, errors[i, :, 2].argmin()], X_test, noisy_test) for i in range(3))
    U, stopped = models[0, 1].history_.validation_loss, models[1, 1].history_
    a, b, c, d = (fig := plots.figure(9, 6.6)).subplots(2, 2).ravel()
    plots.history(models[0, 1], a).set(title=f"{IMAGES:,} images, {SIZES[1]} numbers: patience=5", ylim=(0.06, 0.2))
    a.plot(stopped.best_epoch, min(stopped.validation_loss), "o", color=plots.ORANGE, label="restores this epoch")
    a.axvline(len(stopped.loss), color=plots.GREY, linewidth=0.8, label="stops here")
    for ax, part, what in ((b, 1, "held-out images"), (c, 2, "held-out images under noise")):
        for row, name, look in zip(errors[:, :, part], REMEDIES, LOOKS, strict=True):
            ax.plot([str(k) for k in SIZES], row, marker="o", label=name, **look)
        plots.style_axes(ax, what, "latent_dim", "squared error per image").set_ylim(0, 40)
    rng, adam, curved = np.random.default_rng(0), npae.Adam(npae.Cosine(1e-2)), []
    t = np.concatenate([rng.uniform(-1.6, 1.6, n) for n in (POINTS, 500)])
    P, others = np.split(np.c_[t, np.sin(2 * t) / 1.5] + 0.2 * rng.standard_normal((len(t), 2)), [POINTS])
    for hidden, look in (((64, 64), LOOKS[1]), ((4,), LOOKS[2])):
        options = {"activation": "tanh", "optimizer": adam, "batch_size": POINTS, "random_state": 0}
        ae = npae.AE(hidden, 1, epochs=25 * epochs, **options).fit(P)
        curved.append(error(ae, others, others))
        z = np.linspace(ae.encode(P).min(), ae.encode(P).max(), 500)[:, None]
        d.plot(*ae.decode(z).T, label=f"hidden={hidden}: {curved[-1]:.2f}", **look)
    plots.style_axes(d, f"{POINTS} points, codes of one number; held-out error", "$x_1$", "$x_2$").plot(*P.T, "k.")
    rise, gain, worse = U[-1] / min(U) - 1, 1 - after / min(without), curved[0] / curved[1]
    print(f"codes of {SIZES[1]} numbers: the U rises by {rise:.1%} (must be at least {RISE:.0%})")
    print(f"noisy test images: {after:.2f} with noise in the inputs, {gain:.0%} less (must be at least {GAIN:.0%})")
    print(f"{POINTS} points: the large network's error is {worse:.1f} times the small one's (must be at least {WORSE})")
    for ax in (a, b, c, d):
        ax.legend(frameon=False, fontsize=8)
    plots.save(fig, path)
    return 0 if rise >= RISE and gain >= GAIN and worse >= WORSE else 1


if __name__ == "__main__":
    sys.exit(main())
