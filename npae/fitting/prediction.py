"""A network or a loss over many rows, a block of rows at a time, so that memory stays small.

Rows do not depend on each other: f(X) is f of the first rows, then f of the next. Blocks have the same shape, so the
first ones are recorded and the next are replayed if all parts work in kernels alone. A replay reads a block where it
lies and writes into the result. Only blocks of another dtype than the network's are copied, so a memory map is never
converted as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npae.estimator.validation import all_finite, check_finite
from npae.fitting.recording import recordable
from npae.kernels import recorded
from npae.kernels.arrays import Array, aligned, written_to
from npae.layers import Sequential
from npae.losses import Loss

BLOCK_ROWS = 256


def predict_in_batches(
    function: Callable[[Array], Array], X: Array, dtype: np.dtype[Any], caller: str, *parts: Any
) -> Array:
    """function(X) for a function of rows of that dtype, BLOCK_ROWS rows at a time. `parts` are what it is made of.

    Raises RuntimeError if a result is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if len(X) <= BLOCK_ROWS:
            return check_finite(function(X if X.dtype == dtype else X.astype(dtype)), caller)

        def checked(x: Array) -> tuple[Array, Array]:
            y = function(x)
            return y, all_finite(y)  # while y is in a cache

        Y = np.empty(0)
        predict = _recorded_if_possible(checked, *parts)
        for rows, x in _blocks(dtype, X):
            if rows.start == 0:
                y, finite = predict(x)
                Y = aligned((len(X), *y.shape[1:]), y.dtype)
                Y[rows] = y
            else:
                _, finite = predict(x, out=Y[rows])
            if not finite:
                check_finite(Y[rows], caller)
    return Y


def evaluate(network: Sequential, loss: Loss, inputs: Array, targets: Array, weight: Array | None = None) -> float:
    """The mean loss of network(inputs) against `targets`; with `weight` (N,) of mean 1, the weighted mean."""
    tables = [inputs, *([] if targets is inputs else [targets]), *([] if weight is None else [weight[:, None]])]

    def mean_loss(*block: Array) -> Array:
        x, t = block[0], block[0 if targets is inputs else 1]
        return loss.value_and_gradient(network.forward(x), t, None if weight is None else block[-1].reshape(-1))[0]

    evaluate_block = _recorded_if_possible(mean_loss, network, loss)
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for _, *block in _blocks(network.dtype, *tables):
            total += float(evaluate_block(*block)) * len(block[0])
    return total / len(inputs)


def _recorded_if_possible(function: Callable[..., Any], *parts: Any) -> Callable[..., Any]:
    """A function (*arrays, out=None) that does what `function` does, and is replayed if all parts can be recorded."""
    if recordable(*parts):
        return recorded(function)
    return lambda *arrays, out=None: written_to(out, function(*arrays))


def _blocks(dtype: np.dtype[Any], *tables: Array) -> Iterator[tuple[Any, ...]]:
    """(slice, *blocks) for each block of rows of the tables: a view of a table that has the dtype, else a copy."""
    copies = [None if table.dtype == dtype else aligned((BLOCK_ROWS, table.shape[1]), dtype) for table in tables]
    for first in range(0, len(tables[0]), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        blocks = [table[rows] for table in tables]
        for i, copy in enumerate(copies):
            if copy is not None:
                copy = copy[: len(blocks[i])]
                copy[...] = blocks[i]
                blocks[i] = copy
        yield (rows, *blocks)
