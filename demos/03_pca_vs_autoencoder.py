"""How much of an image fits into k numbers? PCA's straight answer, a linear autoencoder's, a nonlinear one's.

PCA finds the k-dimensional plane that is nearest to the data. A linear autoencoder, x̂ = (x V + a) W + b, can say no
more: training takes it into the same plane, to another basis of it (Baldi and Hornik, 1989). With nonlinear layers
the plane may bend, and follows the data with the same k numbers; at 64 PCA has caught up with a network of this width.

Run it: about half a minute. It prints the squared error per test image and the angles between the linear
autoencoder's plane and PCA's: the median is small; the largest belongs to a direction in which the data vary hardly
more than in the next. Draws `figures/03_pca_vs_autoencoder.png`. Read beside it: npae/pca.py, npae/networks.py.

Now try activation="linear" and output="linear" in `nonlinear`: for all its layers it is back at PCA's 21.6 for k = 16.
Now try epochs=10: for k = 2 the error is 30.8, not 29.1: the smaller the code, the longer the training.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "03_pca_vs_autoencoder.png"
SIZES, GAP = (2, 4, 8, 16, 32, 64), 0.01  # within this share of PCA's error the linear one must be at every size
BELOW, UP_TO = 0.30, 32  # this share below clipped PCA's error the nonlinear one must be, up to that size


def linear(k, epochs):
    adam = npae.Adam(npae.Cosine(3e-3))
    return npae.AE(hidden=(), latent_dim=k, optimizer=adam, batch_size=64, epochs=epochs, random_state=0)


def nonlinear(k, epochs):
    return npae.DAE(
        hidden=(128, 128, 128), latent_dim=k, activation="elu", output="sigmoid",
        optimizer=npae.Adam(npae.Cosine(3e-3)), batch_size=32, epochs=epochs if k == 2 else epochs // 2 + 1,
        corruption=npae.GaussianNoise(0.2), random_state=0,  # noise, lest it learn its training images by heart
    )  # fmt: skip


def angles(V, W):
    """Principal angles between the planes that the rows of V and of W span, in degrees (Björck and Golub, 1973)."""
    Q_V, Q_W = (np.linalg.qr(rows.T.astype(float))[0] for rows in (V, W))
    return np.degrees(np.arccos(np.linalg.svd(Q_V.T @ Q_W, compute_uv=False).clip(-1, 1)))


def main(path=FIGURE, epochs=30):
    X_train, X_test = npae.datasets.digits()
    pca, errors = npae.PCA(max(SIZES)).fit(X_train), []
    print("squared error per test image                             angles to PCA's plane")
    print("   k     PCA  clipped   linear AE     gap   median  largest   nonlinear AE   below clipped PCA")
    for k in SIZES:
        ae, bent = linear(k, epochs).fit(X_train), nonlinear(k, epochs).fit(X_train)
        X_pca = pca.decode(pca.encode(X_test) * (np.arange(max(SIZES)) < k))  # its first k numbers alone
        X_hats = X_pca, X_pca.clip(0, 1), ae.reconstruct(X_test), bent.reconstruct(X_test)
        errors.append([np.square(X_test - X_hat).sum(axis=1).mean() for X_hat in X_hats])
        plain, clipped, flat, curved = errors[-1]
        turned = angles(pca.components_[:k], ae.decoder_.layers[-1].W.value)
        print(f"{k:4}{plain:8.2f}{clipped:9.2f}{flat:12.2f}{flat / plain - 1:8.2%}{np.median(turned):8.1f}°", end="")
        print(f"{turned.max():8.1f}°{curved:15.2f}{1 - curved / clipped:20.0%}")
    plain, clipped, flat, curved = np.transpose(errors)
    gap, below = (flat / plain - 1).max(), (1 - curved / clipped)[np.array(SIZES) <= UP_TO].min()
    print(f"largest gap of the linear one: {gap:.2%} (must be below {GAP:.0%})")
    print(f"least gain of the nonlinear one up to {UP_TO}: {below:.1%} (must be at least {BELOW:.0%})")
    fig = plots.figure(6.4, 4)
    ax = plots.style_axes(
        fig.subplots(), "what a code loses", "k, the numbers in a code", "squared error per test image"
    )
    ax.loglog(SIZES, plain, color=plots.GREY, label="PCA")
    ax.loglog(SIZES, clipped, "--", color=plots.GREY, label="PCA, clipped to [0, 1]")
    ax.loglog(SIZES, flat, "o", color=plots.BLUE, label="linear autoencoder")
    ax.loglog(SIZES, curved, "s-", color=plots.ORANGE, label="nonlinear autoencoder")
    ax.set(xticks=SIZES, xticklabels=SIZES, yticks=(5, 10, 20, 40), yticklabels=(5, 10, 20, 40))
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8)
    plots.save(fig, path)
    return 0 if gap < GAP and below >= BELOW else 1


if __name__ == "__main__":
    sys.exit(main())
