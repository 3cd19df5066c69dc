"""Weights of rows: a row of weight 2 counts as the row given twice, and one of weight 0 as none.

    L = sum_i w_i L_i / sum_i w_i       over all rows

Weights are first divided by their mean (`normalized_weights`). Then the loss of a batch is mean_i w_i L_i over its
n rows, so that batches share out the loss of all rows as their lengths do, and the gradient of row i is w_i
times as large.

A side room of the reading path, used by `losses.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

import numpy as np

from npae.arrays import Array


def weighted_by_row(value_and_gradient: Callable[..., tuple[Array, Array]]) -> Callable[..., tuple[Array, Array]]:
    """A loss's method (self, prediction, target) with a third argument `weight`; the same method if it has one.

    The value of a batch does not tell those of its rows. So with weights each row is asked for, which is slow.

    Example
    -------
    >>> def absolute(self, p, t): return np.mean(abs(p - t)), np.sign(p - t) / t.size
    >>> value, grad = weighted_by_row(absolute)(None, np.ones((2, 1)), np.zeros((2, 1)), np.array([0.5, 1.5]))
    >>> float(value), grad.ravel().tolist()
    (1.0, [0.25, 0.75])
    """
    if "weight" in signature(value_and_gradient).parameters:
        return value_and_gradient

    @wraps(value_and_gradient)
    def weighted(self: Any, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        value, grad = value_and_gradient(self, prediction, target)
        if weight is None:
            return value, grad
        rows = [value_and_gradient(self, p, t)[0] for p, t in zip(prediction[:, None], target[:, None], strict=True)]
        return np.asarray(np.mean(weight * np.array(rows, np.float64))), grad * weight[:, None]

    return weighted
