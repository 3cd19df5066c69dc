"""A denoising autoencoder is shown noisy digits and learns to give back the clean ones.

Run it: well under a minute. It prints the mean peak signal-to-noise ratio (PSNR) on test images it has never seen, and
draws `figures/02_denoising.png`. Read beside it: npae/corruptions.py and the class DAE in npae/autoencoder.py.
"""

import sys
import time
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "02_denoising.png"
BAR = 18.5  # dB that the denoised images must reach on average
# What is reached without a network on the same images and noise: the best of several strengths of
# total-variation denoising, and the linear map from noisy to clean with the least squared error.
TOTAL_VARIATION, BEST_LINEAR_MAP = 16.0, 17.5


def psnr(X, X_hat):
    """Mean over images of 10 log10(1 / mean squared error), in dB; 1 is the peak."""
    return float((10 * np.log10(1 / np.square(X - X_hat).mean(axis=1))).mean())


def main(path=FIGURE, epochs=15):
    started = time.perf_counter()
    X_train, X_test, _, y_test = npae.datasets.digits(labels=True)
    noise = npae.GaussianNoise(0.5, clip=(0, 1))
    dae = npae.DAE(
        hidden=(512,), latent_dim=256, corruption=noise, activation="elu", output="sigmoid", loss="mse",
        optimizer=npae.Adam(npae.Cosine(3e-3)), epochs=epochs, random_state=0, verbose=True,
    ).fit(X_train)  # fmt: skip

    X_noisy = noise(X_test, np.random.default_rng(1))
    X_clean = dae.denoise(X_noisy)
    before, after = psnr(X_test, X_noisy), psnr(X_test, X_clean)
    seconds = time.perf_counter() - started
    print(f"mean PSNR of {len(X_test)} test images, in dB ({seconds:.0f} s, {npae.backend_name()} backend)")
    print(f"  noisy                    {before:5.1f}")
    print(f"  total variation          {TOTAL_VARIATION:5.1f}   (quoted)")
    print(f"  the best linear map      {BEST_LINEAR_MAP:5.1f}   (quoted)")
    print(f"  denoising autoencoder    {after:5.2f}   (must be at least {BAR})")

    digits = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
    fig = plots.figure(8.2, 2.7)
    rows = {"clean": X_test, f"noisy\n{before:.1f} dB": X_noisy, f"denoised\n{after:.1f} dB": X_clean}
    ax = plots.image_rows({name: images[digits] for name, images in rows.items()}, fig.subplots())
    ax.set_title("test images, Gaussian noise of standard deviation 0.5, and what the network makes of it", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path)
    print(f"wrote {path}")
    return 0 if after >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
