"""Data inside the package; `DIGITS.md` and `SPEECH.md` beside this file state sources and licences."""

from __future__ import annotations

import numpy as np

from npae.estimator.arguments import as_flag
from npae.kernels.arrays import Array


def digits(labels: bool = False) -> tuple[Array, ...]:
    """Handwritten digits: the first 10,000 training and the first 2,000 test images of MNIST.

    Parameters
    ----------
    labels : bool
        Whether to return the digits 0 to 9 as well.

    Returns
    -------
    X_train, X_test : float32 arrays (10000, 784) and (2000, 784) in [0, 1]
        28 x 28 images, row by row; 0 is paper, 1 is ink.
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
    data = _arrays("digits.npz")
    X = tuple(data[f"{part}_images"].astype(np.float32) / np.float32(255) for part in ("train", "test"))
    return (*X, data["train_labels"], data["test_labels"]) if labels else X


def speech() -> tuple[Array, ...]:
    """Speech: five sentences from Jane Austen's "Sense and Sensibility", read aloud by one voice; 24.7 s in all.

    Each sample is stored in one byte, as in telephony: by μ-law companding, which spaces quiet levels more closely,

        x = sign(y) (256^|y| - 1) / 255,    y = (byte - 128) / 127

    Returns
    -------
    x1, ..., x5 : float32 arrays (56800,), (23920,), (42400,), (48400,), (26320,) in [-1, 1]
        The sound pressure at 8000 samples a second, relative to the loudest level.

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
    data = _arrays("speech.npz")
    return tuple(levels[data[f"sentence_{i}"]] for i in range(1, 6))


def _arrays(name: str) -> dict[str, Array]:
    """The arrays of an archive in this package, which may be installed in a zip file."""
    from importlib.resources import files  # slow to import

    with files("npae.datasets").joinpath(name).open("rb") as file, np.load(file, allow_pickle=False) as data:
        return dict(data)
