"""Warnings about a fit that would run and disappoint: a code that can copy x, a table whose columns have no one scale.

They come once a fit, after all checks and before the first step. Neither is an error: the first is useful as an
exercise, the second may be what the user wants.

The scale. The squared error is in the units of the columns, so a column with a hundred times the spread of another has
ten thousand times its weight in the loss, and the network learns little else. Far from zero, the network must first
learn the means, with layers whose initial weights suit inputs around zero. Measured on the 30 standardised columns of a
table of tumours, with the defaults and a code of 5 (error per standardised number; 1 is that of the mean):

    as it is                                    0.38
    one column times 10, 100: the others        0.60, 1.06
    all columns plus 3, 10, 30                  0.69, 1.6, 2.3
    all columns times 1000                      0.39

One factor for all columns does no harm, so images in [0, 255] pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npae.estimator.dataframes import warn_caller
from npae.fitting.batches import Batches
from npae.kernels.arrays import Array
from npae.layers import Sequential, all_layers
from npae.losses import MSE, Loss

SPREAD = 1e4  # the largest variance of a column, over the median variance
OFFSET = 100.0  # the mean square, over the mean variance: columns about 10 standard deviations from zero
_ROWS, _NUMBERS = 1000, 2**20  # of the sample that is looked at


def advise(model: Any, network: Sequential, loss: Loss, batches: Batches) -> None:
    """Warn with UserWarning about a code that can copy x, and about columns without a common scale."""
    caller = type(model).__name__
    widths = [layer.n_out for layer in all_layers(network.layers[0]) if layer.n_out]
    if model.encoder is None and min(widths) >= batches.width and not model._limits_code():
        warn_caller(
            f"{caller} expected a code smaller than the {batches.width} columns of X, got latent_dim="
            f"{model.latent_dim} with nothing else to limit it: the network can copy X and learn nothing. Lower "
            "latent_dim, or use a DAE, a penalty or TopK."
        )
    rows = max(2, min(_ROWS, _NUMBERS // batches.width))
    trouble = unscaled(np.asarray(batches.sample(rows), np.float64)) if isinstance(loss, MSE) else ""
    if trouble:
        warn_caller(
            f"{caller} expected columns of about one scale and around zero, got {trouble}. Scale X first: "
            "(X - X.mean(axis=0)) / X.std(axis=0), or scikit-learn's StandardScaler in a Pipeline."
        )


def unscaled(X: Array) -> str:
    """What is wrong with the scales of the columns of X (n, d); empty if nothing is. Constant columns do not count.

    Example
    -------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> unscaled(X), unscaled(1000 * X)
    ('', '')
    >>> unscaled(X * [1, 1, 1000])
    'a standard deviation of 849 in column 2 and a median of 1.11: the squared error sees little else'
    >>> unscaled(X + 50)
    'columns whose values are about 53 standard deviations from zero: learning their means comes first'
    """
    with np.errstate(over="ignore", invalid="ignore"):
        square, variance = np.square(X).mean(axis=0), X.var(axis=0)
        varies = variance > 1e-20 * square  # more than rounding
        if not varies.any() or not np.isfinite(square).all():
            return ""
        largest, median = variance.max(), np.median(variance[varies])
        if largest > SPREAD * median:
            return (
                f"a standard deviation of {np.sqrt(largest):.3g} in column {variance.argmax()} and a median of "
                f"{np.sqrt(median):.3g}: the squared error sees little else"
            )
        offset = np.sqrt(square[varies].mean() / variance[varies].mean())
        if offset > np.sqrt(OFFSET):
            return (
                f"columns whose values are about {offset:.2g} standard deviations from zero: learning their means "
                "comes first"
            )
    return ""
