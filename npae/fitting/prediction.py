"""A network or a loss over many rows, a block of rows at a time, so that memory stays small.

Rows do not depend on each other: f(X) is f of the first rows, then f of the next. A few rows are one block. Else blocks
have the same shape, so the first ones are recorded and the others are replayed if all parts work in kernels alone. Each
of them is read where it lies and written into the result. Only rows of another dtype than the network's are copied, a
chunk of blocks at a time, so a memory map is never converted as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from npae.codes import StochasticLayer
from npae.estimator.validation import all_finite, check_finite, refuse_non_finite
from npae.fitting.recording import recordable
from npae.kernels import blockwise
from npae.kernels.arrays import Array, aligned
from npae.layers import Sequential
from npae.losses import Loss
from npae.penalties import Penalty

BLOCK_ROWS = 128
FEW_ROWS = 8 * BLOCK_ROWS  # up to here, all rows are one block: to record and share blocks would take longer
CHUNK_ROWS = 2**14  # at once, at most: then an interrupt can come through
CHUNK_NUMBERS = 2**21  # of a table that is converted


def predict_in_batches(
    function: Callable[[Array], Array], X: Array, dtype: np.dtype[Any], caller: str, *parts: Any, name: str = "X"
) -> Array:
    """function(X) for a function of rows of that dtype. `parts` are what it is made of.

    Raises ValueError if X is not finite, RuntimeError if the result is not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if len(X) <= FEW_ROWS or not recordable(*parts):
            refuse_non_finite(X, dtype, caller, name)
        if len(X) <= FEW_ROWS:
            return check_finite(function(X.astype(dtype, copy=False)), caller)

        def checked(x: Array) -> tuple[Array, ...]:
            y = function(x)
            return y, all_finite(x), all_finite(y)  # while they are in a cache

        Y, finite_x, finite_y = _in_blocks(checked, dtype, [X], *parts)
        if not finite_x.all():
            refuse_non_finite(X, dtype, caller, name)
        if not finite_y.all():
            check_finite(Y, caller)
    return Y


def evaluate(
    network: Sequential,
    loss: Loss,
    inputs: Array,
    targets: Array,
    weight: Array | None = None,
    *,
    penalty: Penalty | None = None,
    rng: np.random.Generator | None = None,
) -> float:
    """The mean of L over the rows; with `weight` (N,) of mean 1, the weighted mean.

    Without `penalty`, L is the loss alone. With `rng`, a stochastic code is drawn. A penalty that depends on a whole
    batch, such as KLSparsity, is the mean of its values for blocks of BLOCK_ROWS rows.
    """
    encoder, *code, decoder = network.layers
    tables = [inputs, *([] if targets is inputs else [targets]), *([] if weight is None else [weight[:, None]])]

    def mean_loss(*block: Array) -> tuple[Array]:
        x, t = block[0], block[0 if targets is inputs else 1]
        w = None if weight is None else block[-1].reshape(-1)
        h = z = encoder.forward(x)
        for layer in code:
            z = layer.forward(h) if rng is None else cast(StochasticLayer, layer).draw(h, rng)
        value, _ = loss.value_and_gradient(decoder.forward(z), t, w)
        if penalty is not None:
            value = value + penalty.value_and_gradient(h, encoder, x, w)[0]
            for p in encoder.parameters():
                p.pending.clear()
        return (np.asarray(value),)

    draws = bool(code) and rng is not None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        (losses,) = _in_blocks(mean_loss, network.dtype, tables, network, loss, penalty, *([rng] if draws else []))
    rows = np.full(len(losses), BLOCK_ROWS)
    rows[-1] = len(inputs) - BLOCK_ROWS * (len(losses) - 1)
    return float(losses @ rows) / len(inputs)


def losses_by_row(network: Sequential, loss: Loss, inputs: Array, targets: Array) -> Array:
    """The loss of each row of targets (N, d), (N,) in float64: the mean of them is `evaluate`."""
    tables = [inputs, *([] if targets is inputs else [targets])]

    def losses(*block: Array) -> tuple[Array]:
        return (loss._by_row(network.forward(block[0]), block[-1]),)

    with np.errstate(over="ignore", invalid="ignore"):
        (by_row,) = _in_blocks(losses, network.dtype, tables, network, loss)
    return by_row[:, 0]


def _rows_at_once(width: int) -> int:
    """Rows of a chunk that is converted, a multiple of BLOCK_ROWS."""
    return BLOCK_ROWS * min(CHUNK_ROWS // BLOCK_ROWS, max(1, CHUNK_NUMBERS // (BLOCK_ROWS * width)))


def _in_blocks(
    step: Callable[..., tuple[Array, ...]], dtype: np.dtype[Any], tables: list[Array], *parts: Any
) -> list[Array]:
    """The results of step(*blocks) for all blocks of rows: a table of all rows for a table, else one item a block."""
    n = len(tables[0])
    last = 0 if n <= FEW_ROWS else (n - 1) // BLOCK_ROWS  # the last block shows what to expect; it may be smaller
    at_end = step(*(_converted(table[last * BLOCK_ROWS :], dtype) for table in tables))
    results, by_block = [], []
    for values in at_end:
        is_table = values.ndim == 2
        result = aligned((n if is_table else last + 1, *values.shape[is_table:]), values.dtype)
        result[last * BLOCK_ROWS if is_table else last :] = values
        results.append(result)
        by_block.append(_split(result[: last * BLOCK_ROWS]) if is_table else result)
    compute = blockwise(step, recordable(*parts))
    widest = max((t.shape[1] for t in tables if t.dtype != dtype or not t.flags.c_contiguous), default=1)
    at_once = _rows_at_once(widest) // BLOCK_ROWS
    for first in range(0, last, at_once):
        blocks = slice(first, min(first + at_once, last))
        rows = slice(blocks.start * BLOCK_ROWS, blocks.stop * BLOCK_ROWS)
        compute([_split(_converted(table[rows], dtype)) for table in tables], [result[blocks] for result in by_block])
    return results


def _converted(rows: Array, dtype: np.dtype[Any]) -> Array:
    """The rows in that dtype and in C order, without a copy if they are."""
    return np.ascontiguousarray(rows, dtype)


def _split(table: Array) -> Array:
    """Rows in blocks: (blocks, BLOCK_ROWS, columns)."""
    return table.reshape(-1, BLOCK_ROWS, table.shape[1])
