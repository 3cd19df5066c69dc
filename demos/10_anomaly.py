"""A denoising autoencoder finds a digit that it has never seen, by the error of its guesses.

It learns to fill in an erased square of the image from the rest. An image is suspicious if the guesses are wrong:

    score(x) = mean over 36 squares of |x - x̂|² inside the square / sum of x,   x̂ = g(f(x without the square))
The hardest digit is 9: of the 9s filled in, half are nearest to a 7 of the training images, and a third to a 4. The
distance to the nearest training image, per ink, finds as much (0.90), but needs all training images in memory.
Run it: about 15 seconds. It prints the area under the ROC curve (AUC: how often a new digit scores higher than a known
one), and what a threshold finds that 5 % of held-out training images exceed. Draws `figures/10_anomaly.png`.
Read beside it: npae/autoencoder.py, npae/corruptions.py.
Now try it without `/ X.sum(axis=1)`: a mean AUC of 0.84. A 1 has little ink to be wrong about: 0.67, not 0.98.
Now try a plain autoencoder, which erases nothing: 0.76, and 0.49 for a 1, whose parts it knows from other digits.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "10_anomaly.png"
BAR = 0.85  # the mean AUC over the ten digits must be at least this; 0.5 is guessing
BAND = np.array([[i <= pixel < i + 7 for pixel in range(14)] for i in range(1, 7)], np.float32)
HIDE = np.kron(BAND, BAND)  # (36, 196): each row is 1 inside a square of 7 x 7 pixels and 0 outside


def erase(x, rng):
    return x * (1 - HIDE[rng.integers(len(HIDE), size=len(x))])


def score(dae, X):
    errors = [np.square(hide * (X - dae.denoise(X * (1 - hide)))).sum(axis=1) for hide in HIDE]
    return np.mean(errors, axis=0) / X.sum(axis=1)  # more ink allows larger errors


def auc(scores, new):
    """The share of pairs (new, known) in the right order; a tie counts half (Mann and Whitney, 1947)."""
    return (1 + np.sign(scores[new][:, None] - scores[~new])).mean() / 2


def main(path=FIGURE, epochs=16):
    table, examples = np.empty((10, 3)), np.empty((6, 10, 196))
    *images, y_train, y = npae.datasets.digits(labels=True)
    X_train, X = (A.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196) for A in images)  # 14 x 14: faster
    roc, ax = (fig := plots.figure(8.2, 3.6)).subplots(1, 2, width_ratios=[1, 1.6])
    for digit in range(10):
        known, new = X_train[y_train != digit], y == digit
        held_out = np.arange(len(known)) % 10 == 0  # images that were learned from have smaller errors
        dae = npae.DAE(
            hidden=(512,), latent_dim=64, corruption=erase, loss="bce", optimizer=npae.Adam(npae.Cosine(8e-3)),
            epochs=epochs, batch_size=256, random_state=0, verbose=True,
        ).fit(known[~held_out])  # fmt: skip
        scores, threshold = score(dae, X), np.quantile(score(dae, known[held_out]), 0.95)
        table[digit] = auc(scores, new), np.mean(scores[new] > threshold), np.mean(scores[~new] > threshold)
        roc.plot(*([np.mean(scores[g] > s) for s in np.sort(scores)] for g in (~new, new)), color=plots.GREY, lw=0.8)
        x, hide = X[new][np.argsort(scores[new])[[-1, 0]]], HIDE[14]  # the most suspicious and the least
        rest = x * (1 - hide)
        examples[:, digit] = np.stack([x, rest + hide / 3, rest + hide * dae.denoise(rest)], axis=1).reshape(6, 196)
    print("left out     AUC   found   false alarms")
    for name, row in (*enumerate(table), ("mean", mean := table.mean(axis=0))):
        print("{:>8}   {:.3f}   {:5.1%}   {:12.1%}".format(name, *row))
    print(f"mean AUC {mean[0]:.3f} (must be at least {BAR}); hardest to find is the {table[:, 0].argmin()}")
    for digit, color, style in ((table[:, 0].argmax(), plots.BLUE, "-"), (table[:, 0].argmin(), plots.ORANGE, "--")):
        roc.lines[digit].set(color=color, ls=style, lw=2, label=f"without {digit}: AUC {table[digit, 0]:.2f}")
    roc.plot(table[:, 2], table[:, 1], "k.", label="at the thresholds")
    roc.legend(frameon=False, fontsize=8, loc="lower right")
    plots.style_axes(roc, f"mean AUC {mean[0]:.2f}", "share of known digits above", "share of the new digit above")
    plots.image_rows(dict(enumerate(examples)), ax, (14, 14)).set_title("the digit left out of training, and the AUC")
    ax.set_yticklabels(["most suspicious", "erased", "filled in", "least suspicious", "erased", "filled in"])
    ax.set_xticks(np.arange(10) * 15 + 7, [f"no {d}\n{area:.2f}" for d, area in enumerate(table[:, 0])], fontsize=8)
    ax.xaxis.tick_top()
    plots.save(fig, path)
    return 0 if mean[0] >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
