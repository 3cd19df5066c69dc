"""Sound as numbers: WAV files, resampling, the short-time Fourier transform, Wiener's filter.

A recording is a float32 array x (n,) in [-1, 1] and its rate in samples a second (Hz). It holds no frequency above
half the rate, the Nyquist frequency. `stft` cuts it into overlapping frames and gives the spectrum of each. A voice
fills few numbers of a spectrum and white noise fills all of them equally, so the two can be separated.
Source: Griffin and Lim, 1984, "Signal estimation from modified short-time Fourier transform".
"""

import math
import wave

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npae import plots

RATE = 8000  # Hz, the telephone's rate: enough to understand a voice
SIZE, HOP = 256, 64  # samples in a frame of the STFT (32 ms), and from one frame to the next (8 ms)
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)  # Hann, periodic
ENERGY, OVERLAP = np.float32(0.375 * SIZE), np.float32(1.5)  # Σ WINDOW² over a frame, and over all frames at a sample
CROSSINGS, PASSED = 32, 0.94  # `resample`: zeros of the sinc on each side, share of frequencies kept


def read_wav(path):
    """(x, rate) of a WAV file: 8 or 16 bit PCM of any rate; several channels are averaged.

    Raises ValueError if the file is of another format, empty or truncated.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, frames, *_ = file.getparams()
            data = file.readframes(frames)
        if width > 2 or rate < 1 or not 0 < frames * channels * width == len(data):
            raise wave.Error(f"{8 * width} bit at {rate} Hz, {len(data)} of {frames * channels * width} bytes")
    except (wave.Error, EOFError, RuntimeError) as error:  # some malformed headers raise RuntimeError
        raise ValueError(
            f"read_wav expected {path} to be a whole WAV file of 8 or 16 bit PCM, got {str(error) or 'half a header'}: "
            "convert it to 16 bit PCM, for instance with `ffmpeg -i old.wav -c:a pcm_s16le new.wav`."
        ) from error
    x = np.frombuffer(data, np.uint8 if width == 1 else "<i2").astype(np.float32).reshape(-1, channels).mean(axis=1)
    return (x - 128) / 128 if width == 1 else x / 32768, rate


def write_wav(path, x, rate=RATE):
    """Write x as 16 bit PCM, one channel; values outside [-1, 1] are clipped."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, len(x), "NONE", ""))
        file.writeframes(np.clip(np.rint(np.asarray(x) * 32768.0), -32768, 32767).astype("<i2").tobytes())


def read_folder(folder):
    """All *.wav of a folder by name, each at RATE, with mean 0 and root mean square 0.05. A single file is split.

    Raises ValueError if there is no file, or one is shorter than half a second, silent, or not as in `read_wav`.
    """
    found = {path.name: resample(*read_wav(path), RATE) for path in sorted(folder.glob("*.[wW][aA][vV]"))}
    if len(found) == 1:
        ((name, x),) = found.items()
        first, last = np.split(x, [len(x) * 4 // 5])
        found = {f"the first four fifths of {name}": first, f"the last fifth of {name}": last}
    faults = [f"{len(x) / RATE:.2f} s in {name}" for name, x in found.items() if len(x) < RATE / 2]
    faults += [f"silence in {name}" for name, x in found.items() if len(x) and np.ptp(x) < 2e-3]
    if faults or not found:
        raise ValueError(
            f"--wav expected {folder} to hold *.wav, each with half a second of sound or more, got "
            f"{', '.join(faults) or 'none'}: record more, or remove the file."
        )
    return [(x - x.mean()) * (0.05 / x.std()) for x in found.values()]


def resample(x, old, new):
    """Resample x from `old` Hz to `new` Hz: ceil(n · new / old) samples.

        y(t) = Σ_k x_k c sinc(c (t - k)) cos²(π (t - k) / 2h),    |t - k| < h,    t = 0, old/new, 2 old/new, ...

    The sinc passes frequencies below c times the old Nyquist frequency. c = PASSED · min(1, new / old) keeps them below
    the new one too, which prevents aliasing. cos² tapers the sinc to 0 at h = CROSSINGS / c.

    Source: Smith and Gossett, 1984, "A flexible sampling-rate conversion method".
    """
    if old == new or not len(x):
        return np.array(x, np.float32)
    up, down = new // math.gcd(old, new), old // math.gcd(old, new)
    c = PASSED * min(1, new / old)
    h = math.ceil(CROSSINGS / c)
    padded = np.pad(np.asarray(x, np.float32), (h - 1, h))
    near = sliding_window_view(padded, 2 * h)  # near[k]: the samples k - h + 1 to k + h
    y = np.empty(-(-len(x) * up // down), np.float32)
    for first in range(0, len(y), block := 1 + 2**20 // h):  # a few megabytes at a time
        k, phase = np.divmod(np.arange(first, min(first + block, len(y))) * down, up)  # t = k + phase / up
        phases, which = np.unique(phase, return_inverse=True)  # few in practice
        d = phases[:, None] / up - np.arange(1 - h, h + 1)
        taps = (c * np.sinc(c * d) * np.cos(np.pi * d / (2 * h)) ** 2).astype(np.float32)
        y[first : first + block] = np.einsum("nk,nk->n", near[k], taps[which])
    return y


def stft(x):
    """The complex spectra Y (frames, 129) of Hann-windowed frames of x (n,): column f belongs to f · rate / SIZE Hz.

    The ends are padded, so every sample lies in four frames. White noise of variance s² has E |Y|² = s².
    """
    frames = -(-len(x) // HOP) + SIZE // HOP - 1
    padded = np.pad(np.asarray(x, np.float32), (SIZE - HOP, frames * HOP - len(x)))
    return np.fft.rfft(sliding_window_view(padded, SIZE)[::HOP] * WINDOW) / np.sqrt(ENERGY)


def istft(Y, n):
    """x (n,) from Y = stft(x), exactly; for any other Y, the x whose spectra have the least squared distance to it."""
    pieces = (np.fft.irfft(Y, SIZE) * WINDOW).reshape(len(Y), -1, HOP)
    x = np.zeros((len(Y) + SIZE // HOP - 1, HOP), np.float32)
    for i in range(SIZE // HOP):
        x[i : i + len(Y)] += pieces[:, i]
    return x.ravel()[SIZE - HOP : SIZE - HOP + n] * (np.sqrt(ENERGY) / OVERLAP)


def neighbours(A, n):
    """(frames, 129) -> (frames, 129 · n): each frame with those before and after it, n in all; 0 beyond the ends."""
    padded = np.pad(A, ((n // 2, n // 2), (0, 0)))
    return sliding_window_view(padded, n, axis=0).reshape(len(A), -1)


def wiener(noisy, deviation, memory=0.0):
    """Wiener's filter, told the standard deviation of the white noise: each Y becomes ξ / (1 + ξ) Y.

    ξ is the ratio of the voice's power to the noise's. |Y|² / deviation² - 1 estimates it without bias. `memory` mixes
    this with the estimate of the frame before, which reduces its variance (0.9 is good).

    Source: Ephraim and Malah, 1984, "Speech enhancement using a ... spectral amplitude estimator", decision-directed.
    """
    Y = stft(noisy)
    ratios, gains, found = np.abs(Y) ** 2 / deviation**2, np.empty(Y.shape, np.float32), 0.0
    for ratio, gain in zip(ratios, gains, strict=True):
        xi = memory * found + (1 - memory) * np.maximum(ratio - 1, 0)
        gain[:] = xi / (1 + xi)
        found = gain**2 * ratio
    return istft(gains * Y, len(noisy))


def snr(clean, x):
    """Signal-to-noise ratio of x in dB, to a thousandth: 10 log10(Σ clean² / Σ (x - clean)²)."""
    ratio = np.square(clean, dtype=float).sum() / np.square(x - clean, dtype=float).sum()
    return round(10 * float(np.log10(ratio)), 3) + 0.0  # turns -0.0 into 0.0


def publish(path, sounds):
    """Draw the spectrograms of sounds {name: x} in `path`, and write each x beside it; the first is the clean one."""
    fig, (clean, *_) = plots.figure(8.2, 5.2), sounds.values()
    axes = fig.subplots(len(sounds), 1, sharex=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    for ax, (name, x) in zip(axes, sounds.items(), strict=True):
        write_wav(path.with_name(f"{path.stem}_{name}.wav"), x)
        title = "" if x is clean else f": SNR {snr(clean, x):.1f} dB"
        plots.spectrogram(x, ax, RATE).set_title(name + title)
        ax.label_outer()
    fig.colorbar(axes[0].images[0], ax=axes, label="strength (dB; 0 is the loudest)")
    plots.save(fig, path)
    print("wrote beside it, to listen to:", *(f"{path.stem}_{name}.wav" for name in sounds))
