"""Packing: rows and columns of b, copied into rows of NR numbers before tiles read them.

pack_row       copies NR numbers of a row
pack_square    transposes a square of vectors in registers, for a b that lies in columns
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npae.kernels.numba_backend.tile import I32, I64, SHAPE, Emitter, Shape


@intrinsic
def pack_row(typing_context, kind, source, columns, target):
    """Copy the first `columns` numbers of a row, and pad the row with zeros to the width of a tile."""

    def emit(context, builder, signature, arguments):
        _, source, columns, target = arguments
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        row = Emitter(builder, real, SHAPE, columns).load(source, "row")
        Emitter(builder, real, SHAPE).store(row, target)
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 3), emit


@intrinsic
def pack_square(typing_context, kind, a, a_row, rows, columns, c, c_row):
    """c[j, i] = a[i, j] for a square as high as a vector has lanes; pad with zeros beyond `rows` and `columns`."""

    def emit(context, builder, signature, arguments):
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        builder.call(emit_square(builder.module, real, SHAPE), arguments[1:])
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 6), emit


def emit_square(module: ir.Module, real: ir.Type, shape: Shape) -> Any:
    """Add to `module` the function that `pack_square` calls. It has a branch without masks for a full square."""
    name = f"npae_square_{real}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_row, rows, columns, c, c_row = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    one_vector = Shape(shape.bytes, 1, ())
    unmasked = Emitter(builder, real, one_vector)
    lanes = unmasked.lanes

    def transpose(emitters: list[Emitter]) -> None:
        sources = [unmasked.step(a, a_row, i) for i in range(lanes)]
        square = [emit.load(source, "row")[0] for emit, source in zip(emitters, sources, strict=True)]
        for j, column in enumerate(emit_transpose(builder, square)):
            unmasked.store([column], unmasked.step(c, c_row, j))

    partial = builder.or_(*(builder.icmp_signed("<", n, I64(lanes)) for n in (rows, columns)))
    with builder.if_else(partial) as (then, otherwise):
        with then:
            widths = [builder.select(builder.icmp_signed("<", I64(i), rows), columns, I64(0)) for i in range(lanes)]
            transpose([Emitter(builder, real, one_vector, width) for width in widths])
        with otherwise:
            transpose([unmasked] * lanes)
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
