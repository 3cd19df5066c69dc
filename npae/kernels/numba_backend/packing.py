"""Packing: rows and columns of a and b, copied side by side in the order in which tiles read them.

pack_rows         copies rows of b for one panel, NR numbers each, if b lies in rows
pack_columns      copies columns of a for one tile, at most MR numbers each, if a lies in columns
pack_transposed   transposes squares of vectors in registers, for a b in columns or an a in rows

A vector is stored in full, also where fewer numbers are wanted. The next store, further on, overwrites the rest. A
masked store would do without this, but takes several cycles on some processors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npae.kernels.numba_backend.tile import HEIGHTS, I32, I64, SHAPE, Emitter, Shape, new_function


@intrinsic
def pack_rows(typing_context, kind, b, b_row, width, count, c, c_row):
    """Copy `count` rows of `width` numbers, at most NR; anything may follow each, up to the width of a tile."""
    return _copies(kind, SHAPE.vectors)


@intrinsic
def pack_columns(typing_context, kind, a, a_column, width, count, c, c_column):
    """Copy `count` columns of `width` numbers, at most MR; anything may follow each, up to the end of a vector."""
    return _copies(kind, -(-HEIGHTS[0] * kind.bitwidth // 8 // SHAPE.bytes))


def _copies(kind, vectors):
    """Signature and code of an intrinsic that copies `count` times `width` numbers, with loads of `vectors` vectors."""

    def emit(context, builder, signature, arguments):
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        builder.call(emit_copies(builder.module, real, SHAPE._replace(vectors=vectors)), arguments[1:])
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 6), emit


def emit_copies(module: ir.Module, real: ir.Type, shape: Shape) -> Any:
    """Add to `module` the function that `pack_rows` or `pack_columns` calls.

    A load of whole vectors may read beyond `width`, up to where the next row begins, but not after the last row: that
    one is loaded with masks, and so are all if the next row begins earlier. The next line of each row is prefetched,
    since the next panel or tile begins there.
    """
    name = f"npae_copies_{real}_{shape.vectors}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, [I64] * 6)
    a, a_stride, width, count, c, c_stride = function.args
    builder = ir.IRBuilder(function.append_basic_block("before"))
    masked, whole = Emitter(builder, real, shape, width), Emitter(builder, real, shape)
    bytes_read = I64(shape.vectors * shape.bytes)
    apart = builder.icmp_signed(">=", a_stride, bytes_read)
    source, target, left = a, c, count
    for emit, rest in ((whole, builder.select(apart, I64(1), count)), (masked, I64(0))):
        before, head = builder.block, function.append_basic_block("head")
        loop, after = function.append_basic_block("loop"), function.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(I64) for _ in range(3)]
        builder.cbranch(builder.icmp_signed(">", phis[2], rest), loop, after)
        builder.position_at_end(loop)
        whole.store(emit.load(phis[0], "numbers"), phis[1])
        whole.prefetch(builder.add(phis[0], bytes_read))
        for phi, first, stride in zip(phis, (source, target, left), (a_stride, c_stride, I64(-1)), strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(builder.add(phi, stride), loop)
        builder.branch(head)
        builder.position_at_end(after)
        source, target, left = phis
    builder.ret_void()
    return function


@intrinsic
def pack_transposed(typing_context, kind, a, a_row, rows, columns, c, c_row):
    """c[j, i] = a[i, j] for `columns` columns, and for as many rows as a vector has lanes.

    Only `rows` rows of a are read, at least 1: the last one stands in for those after it. Columns are written up to the
    next multiple of the lanes.
    """

    def emit(context, builder, signature, arguments):
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        builder.call(emit_transposed(builder.module, real, SHAPE), arguments[1:])
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 6), emit


def emit_transposed(module: ir.Module, real: ir.Type, shape: Shape) -> Any:
    """Add to `module` the function that `pack_transposed` calls: a loop over squares of vectors."""
    name = f"npae_transposed_{real}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, [I64] * 6)
    a, a_row, rows, columns, c, c_row = function.args
    builder = ir.IRBuilder(function.append_basic_block("before"))
    one_vector = Shape(shape.bytes, 1, ())
    unmasked = Emitter(builder, real, one_vector)
    lanes = unmasked.lanes
    offsets, last = [I64(0)], builder.sub(rows, I64(1))
    for i in range(1, lanes):
        step = builder.select(builder.icmp_signed("<=", I64(i), last), a_row, I64(0))
        offsets.append(builder.add(offsets[-1], step))
    steps = [builder.mul(c_row, I64(j)) for j in range(lanes)]

    def transpose(emit: Emitter, source: Any, target: Any) -> None:
        square = [emit.load(builder.add(source, offset), "row")[0] for offset in offsets]
        for column, step in zip(emit_transpose(builder, square), steps, strict=True):
            unmasked.store([column], builder.add(target, step))

    before = builder.block
    head, loop, after, tail, end = (
        function.append_basic_block(label) for label in ("head", "loop", "after", "tail", "end")
    )
    builder.branch(head)
    builder.position_at_end(head)
    left, source, target = (builder.phi(I64) for _ in range(3))
    builder.cbranch(builder.icmp_signed(">=", left, I64(lanes)), loop, after)
    builder.position_at_end(loop)
    transpose(unmasked, source, target)
    strides = I64(-lanes), I64(shape.bytes), builder.mul(c_row, I64(lanes))
    for phi, first, stride in zip((left, source, target), (columns, a, c), strides, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(builder.add(phi, stride), loop)
    builder.branch(head)
    builder.position_at_end(after)
    builder.cbranch(builder.icmp_signed(">", left, I64(0)), tail, end)
    builder.position_at_end(tail)
    transpose(Emitter(builder, real, one_vector, left), source, target)
    builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return function


def emit_transpose(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """The columns of a square of as many vectors as lanes, in log2(lanes) rounds.

    Round w = 1, 2, 4, ... swaps the upper right quarter and the lower left quarter of every square of 2w by 2w.
    """
    lanes, w = len(rows), 1
    while w < lanes:
        upper = [j if not j & w else lanes + j - w for j in range(lanes)]  # lanes of row i, then of row i + w
        lower = [j + w if not j & w else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & w:
                pair = rows[i], rows[i + w]
                for row, order in ((i, upper), (i + w, lower)):
                    rows[row] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, lanes), order))
        w *= 2
    return rows
