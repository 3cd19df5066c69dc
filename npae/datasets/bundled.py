"""Data that ships inside the package; `DIGITS.md` beside this file has its source and licence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npae.arrays import Array


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
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as data:
        X = tuple(data[f"{part}_images"].astype(np.float32) / np.float32(255) for part in ("train", "test"))
        y = tuple(data[f"{part}_labels"] for part in ("train", "test"))
    return X + y if labels else X
