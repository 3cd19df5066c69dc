"""Blocks: a network over many rows, no more than a few in flight, so that what it keeps on the way stays small.

The rows of a batch do not know of one another: f(X) is f of its first rows, then f of the next. A block has the same
shape each time, so what is done to the first can be recorded and repeated (`kernels.recorded`), wherever all parts of
it are known to consist of kernels alone (`only_kernels`). Rows of another dtype than the network's become its own
block by block, so that a memory map is never converted as a whole.

A side room of the reading path, used by `training.py` and `autoencoder.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npae import kernels
from npae.arrays import Array, aligned
from npae.estimator.validation import check_finite
from npae.layers import Layer, Sequential, parts
from npae.losses import Loss

ROWS_AT_A_TIME = 256


def only_kernels(*whole: Any) -> bool:
    """Whether all these, and what they are made of, do their work in kernels alone.

    Each of our classes says so of itself; a subclass of yours may do anything else, so it does not inherit this.
    """
    every = [part for one in whole for part in (parts(one) if isinstance(one, Layer) else (one,))]
    return all(vars(type(part)).get("only_kernels", False) for part in every)


@np.errstate(over="ignore", invalid="ignore")
def evaluate(network: Sequential, loss: Loss, inputs: Array, targets: Array, weight: Array | None = None) -> float:
    """The mean loss of the network's outputs for `inputs` against `targets`, weighted by `weight` (n,) of mean 1."""

    def value(x: Array, t: Array, *w: Array) -> Array:
        return loss.value_and_gradient(network.forward(x), t, w[0].reshape(-1) if w else None)[0]

    tables, total = [inputs, targets], 0.0
    if weight is not None:
        tables.append(weight[:, None])
    for rows, mean in _in_blocks(value, only_kernels(network, loss), network.dtype, *tables):
        total += float(mean) * len(inputs[rows])
    return total / len(inputs)


def in_blocks(function: Callable[[Array], Array], X: Array, dtype: np.dtype[Any], caller: str, *parts: Any) -> Array:
    """function(X) for a function of rows of that dtype, with no more than ROWS_AT_A_TIME of them in flight.

    `parts` are what the function is made of; if these are `only_kernels`, it is recorded. Raises RuntimeError if a
    result is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if len(X) <= ROWS_AT_A_TIME:
            return check_finite(function(X.astype(dtype, copy=False)), caller)
        Y = np.empty(0)
        for rows, y in _in_blocks(function, only_kernels(*parts), dtype, X):
            if rows.start == 0:
                Y = aligned((len(X), *y.shape[1:]), y.dtype)
            kernels.of(y).copy(check_finite(y, caller), out=Y[rows])  # looked at here, where it still is in a cache
    return Y


def _in_blocks(
    function: Callable[..., Array], repeatable: bool, dtype: np.dtype[Any], *tables: Array
) -> Iterator[tuple[slice, Array]]:
    """function(*blocks) for each block of rows of the tables, recorded on the first if it can be repeated."""
    blocks = [aligned((ROWS_AT_A_TIME, table.shape[1]), dtype) for table in tables]
    again = kernels.recorded(lambda: function(*blocks)) if repeatable else lambda: function(*blocks)
    for first in range(0, len(tables[0]), ROWS_AT_A_TIME):
        rows = slice(first, first + ROWS_AT_A_TIME)
        if len(tables[0][rows]) < ROWS_AT_A_TIME:
            yield rows, function(*(table[rows].astype(dtype, copy=False) for table in tables))
        else:
            for block, table in zip(blocks, tables, strict=True):
                kernels.of(block, table).copy(table[rows], out=block)
            yield rows, again()
