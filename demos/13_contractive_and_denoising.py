"""Two ways to one robustness: a denoising and a contractive autoencoder whose codes change little as x does.

    denoising       L = loss(g(f(x + noise)), x)        f must give x and its noisy neighbours nearly the same code
    contractive     L = loss(g(f(x)), x) + λ |∂f/∂x|²     f's derivatives are small, without any noise

Near an image x the code moves by J dx, J = ∂f/∂x. The singular values of J say how far, its singular vectors in which
directions. The loss keeps a few directions that lead from digit to digit. The plain autoencoder follows all kinds of
others, too, even noise in single pixels. The robust ones have not just learned less: a plain one that stops early has
about their error, and a larger J. For the squared error and little noise, of variance σ², denoising contracts g(f(x))
with λ = σ² (Alain and Bengio, 2014, theorem 1).
Run it: about 20 seconds. It prints errors and sizes of Jacobians on test images, and draws
`figures/13_contractive_and_denoising.png`. Read beside it: npae/penalties.py, npae/denoising.py.
Now try Contractive(1e-3): |J|² falls to 10.6, and the error rises to 11.31: too little of x is left in the code.
Now try tied=True: |J|² is 81.9, 75.5, 67.6 and 59.6. Tied weights cannot cancel, so the plain ones stay smaller, too.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "13_contractive_and_denoising.png"
ERROR, SMALLER = 1.05, 1.4  # beside the plain one that stops early: times its error at most; its |J|² / theirs
LOOKS = {"plain": (plots.GREY, ":"), "stops early": (plots.GREY, "-.")}
LOOKS |= {"denoising": (plots.ORANGE, "--"), "contractive": (plots.BLUE, "-")}
STDS = np.linspace(0, 0.5, 6)


def models(epochs):
    options = {
        "hidden": (), "latent_dim": 200, "code": "sigmoid", "loss": "bce", "optimizer": npae.Adam(npae.Cosine(3e-3)),
        "epochs": epochs, "batch_size": 100, "random_state": 0, "verbose": True,
    }  # fmt: skip
    yield npae.AE(**options)
    yield npae.AE(**options | {"epochs": max(1, epochs - 2)})
    yield npae.DAE(**options, corruption=npae.GaussianNoise(0.3))
    yield npae.AE(**options, penalty=npae.Contractive(2e-4))


def jacobian(ae, x):
    """∂f/∂x at one image, (200, 784): row j of z = sigmoid(x W + b) has the derivatives z_j (1 - z_j) W_j."""
    (z,), W = ae.encode(x[None]).astype(float), ae.encoder_.layers[0].W.value
    return (z * (1 - z))[:, None] * W.T


def main(path=FIGURE, epochs=15):
    X_train, X, _, y = npae.datasets.digits(labels=True)
    fitted = dict(zip(LOOKS, (model.fit(X_train) for model in models(epochs)), strict=True))
    shown, rng, errors, sizes, tangents = np.flatnonzero(y == 3)[0], np.random.default_rng(0), [], [], {}
    noisy = [npae.GaussianNoise(std)(X, rng) if std else X for std in STDS]
    a, b, c = (fig := plots.figure(9, 3.4)).subplots(1, 3, width_ratios=[1, 1, 1.15])
    print("on test images   squared error   |J|²   code moved by noise of 0.3")
    for (name, ae), (color, style) in zip(fitted.items(), LOOKS.values(), strict=True):
        Z, S = ae.encode(X), np.array([np.linalg.svd(jacobian(ae, x), compute_uv=False) for x in X[:60]])
        spread = np.linalg.norm(Z - Z.mean(axis=0), axis=1).mean()
        moved = [np.linalg.norm(ae.encode(x) - Z, axis=1).mean() / spread for x in noisy]
        errors.append(np.square(X - ae.reconstruct(X)).sum(axis=1).mean())
        sizes.append(np.square(S).sum(axis=1).mean())  # |J|² is the sum of the squares of its singular values
        tangents[name] = np.linalg.svd(jacobian(ae, X[shown]))[2][:5]
        print(f"  {name:15}{errors[-1]:13.2f}{sizes[-1]:8.1f}{moved[3]:14.0%} of the spread of codes")
        a.semilogy(np.arange(1, 151), S.mean(axis=0)[:150], color=color, ls=style, label=name)
        b.plot(STDS, moved, color=color, ls=style, marker="o", markersize=3)
    error, smaller = max(errors[2:]) / errors[1], sizes[1] / max(sizes[2:])
    print(f"beside the one that stops early, both robust errors are at most {error:.2f} times as large, both |J|² at")
    print(f"least {smaller:.1f} times smaller (must be at most {ERROR}, at least {SMALLER})")
    plots.style_axes(a, "how far the code moves in each direction", "direction, by size", "mean singular value of J")
    plots.style_axes(b, "under noise in x", "standard deviation of the noise", "code moved, per spread of codes")
    a.legend(frameon=False, fontsize=8)
    rows = {"x": X[[shown]]} | {name: 0.5 + v / np.abs(v).max() / 2 for name, v in tangents.items()}
    plots.image_rows(rows, c).set_title("what moves the code most")
    plots.save(fig, path)
    return 0 if error <= ERROR and smaller >= SMALLER else 1


if __name__ == "__main__":
    sys.exit(main())
