"""Packing: rows and columns of B, copied into rows of a tile's width before tiles read them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npae.kernels.numba_backend.tile import I32, I64, SHAPE, Emitter, Shape


@intrinsic
def pack_row(typing_context, kind, source, columns, target):
    """Copy one row of a tile's width, of which `columns` are there, and fill it up with zeros."""

    def emit(context, builder, signature, arguments):
        _, source, columns, target = arguments
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        row = Emitter(builder, real, SHAPE, columns).load(source, "row")
        Emitter(builder, real, SHAPE, None).store(row, target)
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 3), emit


@intrinsic
def pack_square(typing_context, kind, a, a_row, rows, columns, c, c_row):
    """c[j, i] = a[i, j] for a square of as many rows as a vector has lanes; zeros beyond `rows` and `columns`."""

    def emit(context, builder, signature, arguments):
        real = ir.FloatType() if kind == types.float32 else ir.DoubleType()
        builder.call(emit_square(builder.module, real, SHAPE), arguments[1:])
        return context.get_dummy_value()

    return types.void(kind, *[types.intp] * 6), emit


def emit_square(module: ir.Module, real: ir.Type, shape: Shape) -> Any:
    """Add to `module` the function behind `pack_square`, in two forms: without masks if all of the square is there."""
    name = f"npae_square_{real}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_row, rows, columns, c, c_row = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    one_vector = Shape(shape.bytes, 1, ())
    whole = Emitter(builder, real, one_vector, None)
    lanes = whole.lanes

    def turn(emitters: list[Emitter]) -> None:
        places = [whole.step(a, a_row, i) for i in range(lanes)]
        square = [emit.load(place, "row")[0] for emit, place in zip(emitters, places, strict=True)]
        for j, column in enumerate(emit_transpose(builder, square)):
            whole.store([column], whole.step(c, c_row, j))

    partial = builder.or_(*(builder.icmp_signed("<", n, I64(lanes)) for n in (rows, columns)))
    with builder.if_else(partial) as (then, otherwise):
        with then:
            there = [builder.select(builder.icmp_signed("<", I64(i), rows), columns, I64(0)) for i in range(lanes)]
            turn([Emitter(builder, real, one_vector, n) for n in there])
        with otherwise:
            turn([whole] * lanes)
    builder.ret_void()
    return function


def emit_transpose(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """The columns of a square of as many vectors as lanes, in log2(lanes) rounds.

    Round w = 1, 2, 4, ... swaps, in every square of 2w by 2w, the upper right quarter with the lower left.
    """
    lanes, w = len(rows), 1
    while w < lanes:
        upper = [j if not j & w else lanes + j - w for j in range(lanes)]  # of row i and, from `lanes` on, row i + w
        lower = [j + w if not j & w else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & w:
                pair = rows[i], rows[i + w]
                for place, order in ((i, upper), (i + w, lower)):
                    rows[place] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, lanes), order))
        w *= 2
    return rows
