"""Sums over the rows of a matrix."""

from __future__ import annotations

import numpy as np

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.compile import Kernel, inner, integer, vector, vector_out
from npae.kernels.numba_backend.parallel import cancel_recording, parallel_for, run
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.twins import flat, twin

STRIP = 256  # columns in a task
ROWS = 256  # rows that are summed in the dtype of the matrix before the sum is added in float64


@inner
def _column_sums_strip(a: Array, columns: int, total: Array, strip: int) -> None:
    """ROWS rows at a time are summed in the dtype of a, and these sums in float64: a million rows cost no digits."""
    first, last = strip * STRIP, min(columns, (strip + 1) * STRIP)
    total = total[first:last]
    part, sums = scratch(STRIP, a)[: total.size], scratch(STRIP, 0.0)[: total.size]
    for j in range(total.size):
        sums[j] = 0.0
    for start in range(0, a.size, ROWS * columns):
        for j in range(part.size):
            part[j] = 0
        for row in range(start, min(a.size, start + ROWS * columns), columns):
            a_row = a[row + first : row + last]
            for j in range(part.size):
                part[j] += a_row[j]
        for j in range(part.size):
            sums[j] += np.float64(part[j])
    for j in range(total.size):
        total[j] = sums[j]


@Kernel(vector, integer, vector_out)
def _column_sums(context: int, a: Array, columns: int, total: Array) -> None:
    """total_j = sum_i a_ij, for a in rows of `columns`."""
    parallel_for(
        context, (columns + STRIP - 1) // STRIP, a.size // columns * STRIP // 3, _column_sums_strip, (a, columns, total)
    )


@twin
def column_sums(a: Array, out: Array) -> None:
    if out.shape != a.shape[1:] or out.dtype != a.dtype:
        raise ValueError(
            f"column_sums expected out of shape {a.shape[1:]} and {a.dtype}, got {out.shape}, {out.dtype}."
        )
    rows = flat(a)
    if out.size == 0:
        return
    if out.flags.c_contiguous and out.flags.writeable and not np.may_share_memory(out, a):
        run(_column_sums[a.dtype], rows, a.shape[1], out)
    else:
        sums = np.empty(out.shape, a.dtype)
        run(_column_sums[a.dtype], rows, a.shape[1], sums)
        cancel_recording()
        out[...] = sums
