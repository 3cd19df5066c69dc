"""What single units look for: with noise in its inputs, an autoencoder's units become strokes.

A hidden unit computes relu(w · x + b). It answers most to images that look like its weights w, so w can be drawn as an
image: a filter. Two networks 784-200-784 differ only in their inputs. The autoencoder (AE) sees clean images. A unit
then may read any pixels, and its filter has no visible shape. The denoising autoencoder (DAE) sees noise in every
pixel. A unit must average over pixels that belong together, and these lie along strokes (Vincent et al., 2010).

The coherence of a filter tells strokes from speckle. With the gradient g = ∂w/∂column + i ∂w/∂row of each pixel,

    coherence = |Σ g²| / Σ |g|²        1 if all edges run in one direction, near 0 if they run in all directions

(Bigün and Granlund, 1987, "Optimal orientation detection of linear symmetry").

Run it: about 10 seconds. It prints the mean coherence of both networks' filters, and draws the first 24 filters of
each in `figures/17_filters.png`. Read beside it: npae/corruptions.py, npae/plots.py.

Now try NOISE = 0.5: a mean coherence of 0.30. And NOISE = 0.1: 0.16.
Now try weight_decay=0: 0.09 (AE) and 0.31 (DAE). The decay removes weights that have no effect.
"""

import sys
from pathlib import Path

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "17_filters.png"
NOISE, BAR = 1.0, 2  # standard deviation; the least ratio of the DAE's mean coherence to the AE's


def model(noise, epochs):
    """784-200-784, trained to give the clean image from one with Gaussian noise."""
    encoder = npae.Sequential(npae.Dense(784, 200, init="he", rng=0), npae.ReLU())
    return npae.DAE(
        encoder=encoder, decoder=npae.Sequential(npae.Dense(200, 784, rng=1)), corruption=npae.GaussianNoise(noise),
        loss="bce", optimizer=npae.Adam(npae.Cosine(5e-3), weight_decay=0.3), epochs=epochs, random_state=0,
        verbose=True,
    )  # fmt: skip


def coherence(W):
    """|Σ g²| / Σ |g|² of each column of W (784, n), taken as a 28 x 28 image, by central differences -> (n,)."""
    w = W.T.reshape(-1, 28, 28)
    g = (w[:, 1:-1, 2:] - w[:, 1:-1, :-2]) + 1j * (w[:, 2:, 1:-1] - w[:, :-2, 1:-1])
    return abs((g**2).sum(axis=(1, 2))) / (abs(g) ** 2).sum(axis=(1, 2))


def main(path=FIGURE, epochs=25):
    X_train, _ = npae.datasets.digits()
    fig, means = plots.figure(9, 2.2), []
    print("mean coherence of 200 filters")
    for ax, (name, noise) in zip(fig.subplots(1, 2), {"AE": 0.0, "DAE": NOISE}.items(), strict=True):
        network = model(noise, epochs).fit(X_train)
        means.append(coherence(network.encoder_.layers[0].W.value).mean())
        print(f"  {name:5}{means[-1]:.3f}")
        plots.filters(network, ax, range(24)).set_title(f"filters of the {name}: mean coherence {means[-1]:.2f}")
    ratio = means[1] / means[0]
    print(f"the DAE's is {ratio:.2f} times the AE's (must be at least {BAR})")
    fig.supxlabel("blue: ink here excites the unit; red: ink here silences it", fontsize=9)
    plots.save(fig, path)
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
