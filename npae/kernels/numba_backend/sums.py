"""Sums over the rows of a matrix, and the test for infinite numbers and NaN, which is a sum as well."""

from __future__ import annotations

import numpy as np

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.compile import (
    CompiledLoop,
    double_out,
    doubles,
    inner,
    integer,
    reordered,
    vector,
    vector_out,
)
from npae.kernels.numba_backend.elementwise import BLOCK, LIGHT, block_count
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import cancel_recording, run
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.twins import flat, twin

COLUMNS_PER_TASK = 256
ROWS_PER_PARTIAL = 256  # rows whose sum is taken in the dtype of the matrix


@inner
def _column_sums_task(a: Array, columns: int, out: Array, task: int) -> None:
    """Sum ROWS_PER_PARTIAL rows in the dtype of a, and these sums in float64: a million rows keep their digits."""
    first, last = task * COLUMNS_PER_TASK, min(columns, (task + 1) * COLUMNS_PER_TASK)
    out = out[first:last]
    partial, sums = scratch(COLUMNS_PER_TASK, a)[: out.size], scratch(COLUMNS_PER_TASK, 0.0)[: out.size]
    for j in range(out.size):
        sums[j] = 0.0
    for start in range(0, a.size, ROWS_PER_PARTIAL * columns):
        for j in range(partial.size):
            partial[j] = 0
        for row in range(start, min(a.size, start + ROWS_PER_PARTIAL * columns), columns):
            a_row = a[row + first : row + last]
            for j in range(partial.size):
                partial[j] += a_row[j]
        for j in range(partial.size):
            sums[j] += np.float64(partial[j])
    for j in range(out.size):
        out[j] = sums[j]


@CompiledLoop(vector, integer, vector_out)
def column_sums_loop(context: int, a: Array, columns: int, out: Array) -> None:
    """out_j = sum_i a_ij, for a in rows of `columns` elements."""
    tasks = (columns + COLUMNS_PER_TASK - 1) // COLUMNS_PER_TASK
    parallel_for(context, tasks, a.size // columns * COLUMNS_PER_TASK // 3, _column_sums_task, (a, columns, out))


@twin
def column_sums(a: Array, out: Array) -> None:
    if a.ndim != 2 or out.shape != a.shape[1:] or out.dtype != a.dtype or not out.flags.aligned:
        raise ValueError(
            f"column_sums expected aligned out of shape {a.shape[1:]} in {a.dtype}, got {out.shape} in {out.dtype}."
        )
    rows = flat(a)
    if out.size == 0:
        return
    if out.flags.c_contiguous and out.flags.writeable and not np.may_share_memory(out, a):
        run(column_sums_loop, a.dtype, rows, a.shape[1], out)
    else:
        sums = np.empty(out.shape, a.dtype)
        run(column_sums_loop, a.dtype, rows, a.shape[1], sums)
        cancel_recording()
        out[...] = sums


# --- finite numbers ------------------------------------------------------------------------------------------


@reordered
def _sum_of_differences(a: Array) -> float:
    """sum_i (a_i - a_i): 0, or NaN if one a_i is NaN or infinite."""
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] - a[i]
    return total


@inner
def _finite_block(a: Array, sums: Array, block: int) -> None:
    sums[block] = _sum_of_differences(a[block * BLOCK : (block + 1) * BLOCK])


@inner
def _no_nan(sums: Array, value: Array, task: int) -> None:
    value[()] = 1.0
    for i in range(sums.size):
        if sums[i] != 0.0:
            value[()] = 0.0


@CompiledLoop(vector, doubles, double_out)
def all_finite_loop(context: int, a: Array, sums: Array, value: Array) -> None:
    """value = 1 if all numbers are finite, else 0."""
    parallel_for(context, block_count(a.size), LIGHT, _finite_block, (a, sums))
    parallel_for(context, 1, 0, _no_nan, (sums, value))


@twin
def all_finite(a: Array) -> Array:
    value = np.empty(())
    run(all_finite_loop, a.dtype, flat(a), np.empty(-(-a.size // BLOCK)), value)
    return value
