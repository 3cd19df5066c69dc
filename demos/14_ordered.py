"""Nested dropout puts the numbers of a code in order: one autoencoder serves every code size.

Training cuts each code off after a random number of its entries, b, and sets the rest to 0:

    L = -log p(x | z)          z = (h_1, ..., h_b, 0, ..., 0),  h = f(x),  b random for each image and step

So h_1 must say what serves best alone, h_2 what is best beside it, as PCA's directions do. A trained code can be cut
off anywhere: send more numbers for a sharper image. A plain autoencoder shares an image out among all its numbers,
and a part of them is worth little. The price: one model of all lengths is worse at each than a model trained for it.

Run it: about 50 seconds. It prints the squared error per test image for each length, and draws
`figures/14_ordered.png`. Read beside it: npae/codes.py, npae/pca.py, demos/03_pca_vs_autoencoder.py.

Now try RATE = 0.8, which favours short codes: 34.3 from 2 numbers, but 16.4 from all 32, worse than PCA.
Now try hidden=() and loss="mse", a linear network: 42.40, 36.69, 28.76, 20.49, 12.51, at every length PCA's error.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "14_ordered.png"
SIZES = 2, 4, 8, 16, 32
RATE = 0.95  # after each number, training cuts the code off with probability 1 - RATE
PRICE = 0.50  # at every length below clipped PCA, and at most this share above an autoencoder trained for the length


def model(k, code, epochs):
    return npae.AE(
        hidden=(256, 128), latent_dim=k, activation="elu", code=code, loss="bce", batch_size=64,
        optimizer=npae.Adam(npae.Cosine(5e-3)), epochs=epochs, random_state=0, verbose=True,
    )  # fmt: skip


def cut(model, X, b):
    """Images from the first b numbers of their codes."""
    Z = model.encode(X)
    Z[:, b:] = 0
    return model.decode(Z).clip(0, 1)


def main(path=FIGURE, epochs=40):
    X_train, X, _, y = npae.datasets.digits(labels=True)
    ordered, pca = model(32, npae.NestedDropout(RATE), epochs).fit(X_train), npae.PCA(32).fit(X_train)
    plain = {k: model(k, "linear", epochs // 2 + 1).fit(X_train) for k in SIZES}
    X_hats = [(cut(pca, X, b), cut(plain[32], X, b), cut(ordered, X, b), plain[b].reconstruct(X)) for b in SIZES]
    errors = np.array([[np.square(X - X_hat).sum(axis=1).mean() for X_hat in row] for row in X_hats])
    print("squared error per test image                     an autoencoder   ordered above")
    print("numbers   PCA, clipped   plain, cut off   ordered   for each length     the last")
    for b, (linear, useless, one, each) in zip(SIZES, errors, strict=True):
        print(f"{b:7}{linear:15.2f}{useless:17.2f}{one:10.2f}{each:18.2f}{one / each - 1:13.0%}")
    linear, useless, one, each = errors.T
    above = (one / each - 1).max()
    print(f"one ordered code: below clipped PCA at every length? {bool((one < linear).all())} (must be True)")
    print(f"at most {above:.0%} above an autoencoder trained for the length (must be at most {PRICE:.0%})")

    fig, digits = plots.figure(9, 3.6), [np.flatnonzero(y == digit)[0] for digit in range(10)]
    a, b = fig.subplots(1, 2, width_ratios=[1, 1.35])
    a.loglog(SIZES, useless, ":", color=plots.GREY, label="plain autoencoder of 32, cut off")
    a.loglog(SIZES, linear, "--", color=plots.GREY, label="PCA, clipped to [0, 1]")
    a.loglog(SIZES, one, "o-", color=plots.BLUE, label="one ordered autoencoder, cut off")
    a.loglog(SIZES, each, "s", color=plots.ORANGE, label="an autoencoder for each length")
    a.set(xticks=SIZES, xticklabels=SIZES, yticks=(5, 10, 20, 40, 80), yticklabels=(5, 10, 20, 40, 80), ylim=(3, 110))
    a.minorticks_off()
    a.legend(frameon=False, fontsize=8, loc="lower left")
    plots.style_axes(a, "error of reconstructions from the first numbers", "numbers", "squared error per test image")
    rows = {f"{b} numbers": X_hat[2][digits] for b, X_hat in zip(SIZES, X_hats, strict=True)}
    plots.image_rows({**rows, "original": X[digits]}, b).set_title("one code, from its first numbers to all")
    plots.save(fig, path)
    return 0 if (one < linear).all() and above <= PRICE else 1


if __name__ == "__main__":
    sys.exit(main())
