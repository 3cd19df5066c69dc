"""The product of one row: y = start + x W, the path of a single example through a Dense layer.

There is nothing to gain from packing, since each number of W is used once. A tile of one row would wait for its own
sums: a fused multiply-add takes 4 cycles, and a core can begin two in each. So this tile is VECTORS wide, and W is
read where it lies. Each sum takes the same steps as in a product of many rows.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.compile import CompiledLoop, inner, matrix, matrix_out, vector
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.tile import I64, SHAPE, emit_tile, parts_of_k

VECTORS = 8


@intrinsic
def _row_tile(typing_context, kind, a, b, b_row, start, c, columns, depth):
    """c = start + a b for `columns` numbers of one row; b is read in place, and to the full width if c has that."""

    def emit(context, builder, signature, arguments):
        _, a, b, b_row, start, c, columns, depth = arguments
        real, zero = ir.FloatType() if kind == types.float32 else ir.DoubleType(), I64(0)
        shape = SHAPE._replace(vectors=VECTORS)
        rest = [a, zero, b, b_row, start, zero, c, zero, columns, depth]
        lanes = VECTORS * SHAPE.bytes // (kind.bitwidth // 8)
        with builder.if_else(builder.icmp_signed("<", columns, I64(lanes))) as (partial, full):
            for branch, to_full_width in ((partial, False), (full, True)):
                with branch:
                    tile = emit_tile(builder.module, real, shape, 1, False, to_full_width)
                    builder.call(tile, rest)
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 7), emit


@inner
def _row_task(x: Array, W: Array, start: Array, y: Array, task: int) -> None:
    K, N, size = W.shape[0], W.shape[1], y.itemsize
    width = VECTORS * SHAPE.bytes // size
    j = task * width
    target, most = y.ctypes.data + j * size, parts_of_k(K)
    for k in range(0, K, most):
        W_part = W.ctypes.data + k * W.strides[0] + j * size
        first = target if k else start.ctypes.data + j * size
        _row_tile(
            y[0, 0], x.ctypes.data + k * size, W_part, W.strides[0], first, target, min(width, N - j), min(most, K - k)
        )


@CompiledLoop(matrix, matrix, vector, matrix_out)
def row_loop(context: int, x: Array, W: Array, start: Array, y: Array) -> None:
    """y = start + x W for x (1, K), all in rows."""
    width = VECTORS * SHAPE.bytes // y.itemsize
    parallel_for(context, (W.shape[1] + width - 1) // width, W.shape[0] * VECTORS, _row_task, (x, W, start, y))
