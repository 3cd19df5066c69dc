"""Copies: the rows of a minibatch, and matrices moved to where their rows do not collide."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npae.kernels.arrays import LINE, Array, aligned
from npae.kernels.numba_backend.compile import Kernel, inner, integers, matrix, matrix_out
from npae.kernels.numba_backend.parallel import cancel_recording, parallel_for, run
from npae.kernels.numba_backend.twins import contiguous, twin

ROWS = 16  # in one task
WAY = 4096  # bytes of one way of the first-level cache: what begins at multiples of it has only 8 or 12 lines there
ALL = np.empty(0, np.int64)  # instead of row numbers: all rows, in order


def collide(a: Array) -> bool:
    """Whether the rows of a fall into the same lines of the cache."""
    return a.strides[0] % WAY == 0 and a.shape[0] > 8 and a.strides[1] == a.itemsize


def empty_rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A matrix, each row beginning on a cache line, and on another one than the row before."""
    n, m = shape
    a_line = LINE // dtype.itemsize
    length = -(-m // a_line) * a_line
    if length * dtype.itemsize % WAY == 0:
        length += a_line
    return aligned((n, length), dtype)[:, :m]


@intrinsic
def _copy_bytes(typing_context, target, source, count):
    def emit(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@inner
def _copy_rows(a: Array, rows: Array, c: Array, block: int) -> None:
    for i in range(block * ROWS, min(c.shape[0], (block + 1) * ROWS)):
        source = a.ctypes.data + (rows[i] if rows.size else i) * a.strides[0]
        _copy_bytes(c.ctypes.data + i * c.strides[0], source, a.shape[1] * a.itemsize)


@Kernel(matrix, integers, matrix_out)
def _take(context: int, a: Array, rows: Array, c: Array) -> None:
    """c[i] = a[rows[i]], or a[i] if rows is empty; the elements of a row lie side by side."""
    parallel_for(
        context, (c.shape[0] + ROWS - 1) // ROWS, ROWS * c.shape[1] * c.itemsize // 8, _copy_rows, (a, rows, c)
    )


def take_rows(a: Array, rows: Array, c: Array) -> None:
    """c[i] = a[rows[i]] for a and c in rows; the caller has checked that there are such rows."""
    run(_take[a.dtype], a, rows, c)


def spread(a: Array) -> Array:
    """A copy whose rows do not collide."""
    rows = empty_rows(a.shape, a.dtype)
    run(_take[a.dtype], a, ALL, rows)
    return rows


@twin
def take(a: Array, rows: Array) -> Array:
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= len(a)):
        raise IndexError(f"take expected rows in [0, {len(a)}), got some from {rows.min()} to {rows.max()}.")
    if a.strides[1] != a.itemsize:
        cancel_recording()
        return np.ascontiguousarray(a[rows])
    c = aligned((rows.size, a.shape[1]), a.dtype)
    if c.size:
        take_rows(a, rows, c)
    return c


@twin
def copy(a: Array, out: Array | None = None) -> Array:
    a = contiguous(a)
    c = aligned(a.shape, a.dtype) if out is None else out
    if c.shape != a.shape or c.dtype != a.dtype or not c.flags.c_contiguous or not c.flags.writeable:
        raise ValueError(f"copy expected a contiguous writable out of shape {a.shape} and {a.dtype}, got {c.shape}.")
    if c.size:
        take_rows(a, ALL, c)
    return c
