"""A noisy voice made clean: a denoising autoencoder learns from four sentences, and cleans a fifth under white noise.

It sees a voice as the magnitudes |S| of its short-time Fourier transform: x is FRAMES of them, 129 frequencies each.
The corruption is x_noisy = |x + σ n| with complex Gaussian n. The phase of n is uniform, so that of S does not matter.
x̂ estimates how strong the voice is, and Wiener's gain cleans the noisy spectrum Y:

    Ŝ = ξ / (1 + ξ) Y,    ξ = x̂² / n²,    n² = mean |Y|² - mean x̂²: the power that is not voice is noise

Run it: about 10 seconds. It prints the signal-to-noise ratio (SNR) beside that of Wiener's filter. The filter is told
the noise level, the network is not. Draws `figures/09_speech.png`, writes `09_speech_*.wav` beside it: listen!
`--wav FOLDER` takes your own recordings, the last held out. Read beside it: demos/sound.py, npae/datasets/SPEECH.md.
Now try FRAMES = 1, which hides the neighbours, or hidden=(), which leaves one linear map: 8.95 dB, both times.
Now try LEVEL = 5: 12.5 dB, where Wiener's filter reaches 10.1, and 12.05 with a memory.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import npae

sys.path.append(str(Path(__file__).parent))
from sound import RATE, istft, neighbours, publish, read_folder, resample, snr, stft, wiener

FIGURE = Path(__file__).parent / "figures" / "09_speech.png"
BAR, MARGIN = 9.0, 1.5  # dB: the least SNR, and the least gain on Wiener's filter
LEVEL, FRAMES = 0, 5  # dB: the SNR of the noisy voice; neighbours in time that the network sees together: 64 ms
RATES = 7000, 8000, 9000  # Hz: each sentence is learned faster and higher, as it is, and slower and lower


def noise(x, rng):
    """|x + σ n|, σ from 10 dB below the voice to 6 dB above it. (Real neighbours share noise; that costs 0.05 dB.)"""
    sigma = np.float32(10 ** rng.uniform(-0.5, 0.3, (len(x), 1)) / np.sqrt(2))  # of each part of n
    real, imaginary = sigma * rng.standard_normal((2, *x.shape), np.float32)
    return np.hypot(x + real, imaginary)


def denoise(dae, noisy, unit):
    Y = stft(noisy) / unit
    x_hat = dae.denoise(neighbours(np.abs(Y), FRAMES)).clip(0).reshape(len(Y), -1, FRAMES)[:, :, FRAMES // 2]
    xi = x_hat**2 / max((np.abs(Y) ** 2).mean() - (x_hat**2).mean(), 1e-6)
    return istft(unit * xi / (1 + xi) * Y, len(noisy))


def main(path=FIGURE, epochs=20, argv=sys.argv[1:] if __name__ == "__main__" else ()):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wav", metavar="FOLDER", type=Path, help="of your *.wav; results go to FOLDER/denoised")
    folder, started = parser.parse_args(argv).wav, time.perf_counter()
    try:
        *heard, clean = read_folder(folder) if folder else npae.datasets.speech()
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    unit = np.sqrt(np.square(np.concatenate(heard)).mean())
    spectra = [stft(resample(x, RATE, rate)) / unit for x in heard for rate in RATES]
    dae = npae.DAE(
        hidden=(256,), latent_dim=128, corruption=noise, activation="elu", optimizer=npae.Adam(npae.Cosine(2e-3)),
        epochs=epochs, batch_size=32, random_state=0, verbose=True,
    ).fit(np.concatenate([neighbours(np.abs(S), FRAMES) for S in spectra]))  # fmt: skip
    hiss = np.random.default_rng(1).standard_normal(len(clean), np.float32)
    hiss *= np.sqrt(np.square(clean).mean() / np.square(hiss).mean() / 10 ** (LEVEL / 10))
    noisy, std = clean + hiss, hiss.std()
    tries = noisy, wiener(noisy, std), wiener(noisy, std, memory=0.9), denoise(dae, noisy, unit)
    before, plain, memory, after = (snr(clean, x) for x in tries)
    bar, seconds = max(BAR, plain + MARGIN), time.perf_counter() - started
    print(f"SNR of the held-out sentence, in dB ({seconds:.0f} s, {npae.backend_name()} backend)")
    print(f"  under white noise          {before:5.2f}")
    print(f"  Wiener's filter            {plain:5.2f}")
    print(f"  the same with a memory     {memory:5.2f}")
    print(f"  denoising autoencoder      {after:5.2f}" + ("" if folder else f"   (must be at least {bar:.2f})"))
    path = folder / "denoised" / path.name if folder else path
    publish(path, {"clean": clean, "noisy": noisy, "denoised": tries[-1]})
    return 0 if folder or after >= bar else 1


if __name__ == "__main__":
    sys.exit(main())
