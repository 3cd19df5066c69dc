"""A network or a loss over many rows, a block of rows at a time, so that memory stays small.

Rows do not depend on each other: f(X) is f of the first rows, then f of the next. Blocks have the same shape, so the
first ones are recorded and the next are replayed if all parts work in kernels alone. Each block is cast to the
network's dtype, so a memory map is never converted as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npae.activations import copy
from npae.estimator.validation import check_finite
from npae.fitting.recording import recordable
from npae.kernels import recorded
from npae.kernels.arrays import Array, aligned
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
            return check_finite(function(X.astype(dtype, copy=False)), caller)
        Y = np.empty(0)
        for rows, y in _in_blocks(function, recordable(*parts), dtype, X):
            if rows.start == 0:
                Y = aligned((len(X), *y.shape[1:]), y.dtype)
            copy(check_finite(y, caller), out=Y[rows])  # checked while the block is in a cache
    return Y


def evaluate(network: Sequential, loss: Loss, inputs: Array, targets: Array, weight: Array | None = None) -> float:
    """The mean loss of network(inputs) against `targets`; with `weight` (N,) of mean 1, the weighted mean."""

    def value(x: Array, t: Array, *w: Array) -> Array:
        return loss.value_and_gradient(network.forward(x), t, w[0].reshape(-1) if w else None)[0]

    tables = [inputs, targets] if weight is None else [inputs, targets, weight[:, None]]
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, mean in _in_blocks(value, recordable(network, loss), network.dtype, *tables):
            total += float(mean) * len(inputs[rows])
    return total / len(inputs)


def _in_blocks(
    function: Callable[..., Array], can_record: bool, dtype: np.dtype[Any], *tables: Array
) -> Iterator[tuple[slice, Array]]:
    """function(*blocks) for each block of rows of the tables; recorded on the first ones, if possible."""
    blocks = [aligned((BLOCK_ROWS, table.shape[1]), dtype) for table in tables]

    def on_blocks() -> Array:
        return function(*blocks)

    replay = recorded(on_blocks) if can_record else on_blocks
    for first in range(0, len(tables[0]), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        if len(tables[0][rows]) < BLOCK_ROWS:
            yield rows, function(*(table[rows].astype(dtype, copy=False) for table in tables))
        else:
            for block, table in zip(blocks, tables, strict=True):
                _cast(table[rows], block)
            yield rows, replay()


def _cast(x: Array, out: Array) -> None:
    if x.dtype == out.dtype:
        copy(x, out=out)
    else:
        out[...] = x
