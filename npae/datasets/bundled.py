"""Data that ships inside the package; `DIGITS.md` and `SPEECH.md` beside this file have sources and licences."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from npae.estimator.arguments import as_flag
from npae.kernels.arrays import Array


def digits(labels: bool = False) -> tuple[Array, ...]:
    """Handwritten digits: the first 10,000 training and the first 2,000 test images of MNIST.

    Parameters
    ----------
    labels : bool
        Whether to return the digits 0 to 9 that the images show as well.

    Returns
    -------
    X_train, X_test : float32 arrays (10000, 784) and (2000, 784) in [0, 1]
        28 x 28 images, row by row; 0 is the paper, 1 is ink.
    y_train, y_test : uint8 arrays (10000,) and (2000,)
        Only with `labels`.

    Source: LeCun, Cortes and Burges, the MNIST database of handwritten digits.

    Example
    -------
    >>> X_train, X_test, y_train, y_test = digits(labels=True)
    >>> X_train.shape, X_test.shape, y_test[:5].tolist()
    ((10000, 784), (2000, 784), [7, 2, 1, 0, 4])
    """
    labels = as_flag(labels, "digits", "labels")
    with _opened("digits.npz") as file, np.load(file, allow_pickle=False) as data:
        X = tuple(data[f"{part}_images"].astype(np.float32) / np.float32(255) for part in ("train", "test"))
        y = tuple(data[f"{part}_labels"] for part in ("train", "test"))
    return X + y if labels else X


def speech() -> tuple[Array, ...]:
    """A voice: five sentences from Jane Austen's "Sense and Sensibility", read aloud; 24.7 s in all.

    They are stored in a byte a sample, as the telephone did it: with levels that lie closer where it is quiet,

        x = sign(y) (256^|y| - 1) / 255,    y = (byte - 128) / 127

    Returns
    -------
    x1, ..., x5 : float32 arrays (56800,), (23920,), (42400,), (48400,), (26320,) in [-1, 1]
        The sound pressure, 1 being the loudest that can be recorded, 8000 times a second.

    Source: chapter 1, read for LibriVox, public domain; the levels from Smith, 1957, "Instantaneous companding of
    quantized signals", with the constant 255 of ITU-T recommendation G.711.

    Example
    -------
    >>> sentences = speech()
    >>> [len(x) / 8000 for x in sentences]  # seconds
    [7.1, 2.99, 5.3, 6.05, 3.29]
    """
    y = (np.arange(256, dtype=np.float32) - 128) / np.float32(127)
    levels = np.sign(y) * (np.float32(256) ** np.abs(y) - 1) / np.float32(255)
    with _opened("speech.npz") as file, np.load(file, allow_pickle=False) as data:
        return tuple(levels[data[f"sentence_{i}"]] for i in range(1, 6))


def _opened(name: str) -> Any:
    """A file of this package, which may lie in a folder or in a zip file."""
    return files("npae.datasets").joinpath(name).open("rb")
