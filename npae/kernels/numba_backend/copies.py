"""Copies of rows: a minibatch, or a whole array."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import CompiledLoop, inner, integers, matrix, matrix_out
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.twins import twin

ROWS_PER_TASK = 16
ALL_ROWS = np.empty(0, np.int64)  # instead of row numbers: every row, in order


@intrinsic
def _copy_bytes(typing_context, target, source, count):
    """Copy `count` bytes between two addresses."""

    def emit(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@inner
def _copy_rows_task(a: Array, rows: Array, c: Array, task: int) -> None:
    for i in range(task * ROWS_PER_TASK, min(c.shape[0], (task + 1) * ROWS_PER_TASK)):
        source = a.ctypes.data + (rows[i] if rows.size else i) * a.strides[0]
        _copy_bytes(c.ctypes.data + i * c.strides[0], source, a.shape[1] * a.itemsize)


@CompiledLoop(matrix, integers, matrix_out)
def copy_rows_loop(context: int, a: Array, rows: Array, c: Array) -> None:
    """c[i] = a[rows[i]], or a[i] if rows is ALL_ROWS. The elements of a row are contiguous in a and c."""
    tasks, cycles = (c.shape[0] + ROWS_PER_TASK - 1) // ROWS_PER_TASK, ROWS_PER_TASK * c.shape[1] * c.itemsize // 8
    parallel_for(context, tasks, cycles, _copy_rows_task, (a, rows, c))


@twin
def take(x: Array, rows: Array) -> Array:
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= len(x)):
        raise IndexError(f"take expected rows in [0, {len(x)}), got some from {rows.min()} to {rows.max()}.")
    if x.ndim != 2 or rows.ndim != 1 or x.strides[1] != x.itemsize:
        return np.ascontiguousarray(x[rows])
    batch = aligned((rows.size, x.shape[1]), x.dtype)
    if batch.size:
        run(copy_rows_loop, x.dtype, x, rows, batch)
    return batch


@twin
def copy(x: Array, out: Array | None = None) -> Array:
    x = np.ascontiguousarray(x)
    c = aligned(x.shape, x.dtype) if out is None else out
    if c.shape != x.shape or c.dtype != x.dtype or not c.flags.c_contiguous or not c.flags.writeable:
        raise ValueError(f"copy expected a contiguous writable out of shape {x.shape} and {x.dtype}, got {c.shape}.")
    if c.size:
        shape = (-1, x.shape[-1]) if x.ndim > 1 else (1, -1)
        run(copy_rows_loop, x.dtype, x.reshape(shape), ALL_ROWS, c.reshape(shape))
    return c
