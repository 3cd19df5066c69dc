"""The epilogues of a tile: a rectifier, or its derivative, of the numbers that the tile has just stored.

    NONE    f(s) = s
    RELU    f(s) = max(s, 0)
    LEAKY   f(s) = s where s > 0, else slope · s
    MASK    f(s) = s where y > 0, else slope · s          the derivative of both: y is their output

The numbers are still in the first-level cache, so this costs no pass through memory. `epilogues.py` tells when a
product has one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npae.kernels.numba_backend.tile import I64, SHAPE, Emitter, Shape, new_function

NONE, RELU, LEAKY, MASK = range(4)


@intrinsic
def rectify_tile(typing_context, epilogue, slope, rows, columns, c, c_row, y, y_row):
    """c[i, j] = f(c[i, j]) for i < rows, j < columns; y has the same shape. Strides are in bytes."""

    def emit(context, builder, signature, arguments):
        real = ir.FloatType() if slope == types.float32 else ir.DoubleType()
        builder.call(emit_rectify(builder.module, real, SHAPE), arguments)
        return context.get_dummy_value()

    return types.void(types.intp, slope, *[types.intp] * 6), emit


def emit_rectify(module: ir.Module, real: ir.Type, shape: Shape) -> Any:
    """Add to `module` the function that `rectify_tile` calls."""
    name = f"npae_rectify_{real}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, [I64, real, *[I64] * 6])
    epilogue, slope, rows, columns, c, c_row, y, y_row = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    whole = Emitter(builder, real, shape)
    with builder.if_else(builder.icmp_signed("<", columns, I64(shape.vectors * whole.lanes))) as (partial, full):
        for branch, masked in ((partial, True), (full, False)):
            with branch:
                edge = Emitter(builder, real, shape, columns) if masked else whole
                for code in (RELU, LEAKY, MASK):
                    with builder.if_then(builder.icmp_signed("==", epilogue, I64(code))):
                        _emit_loop_over_rows(edge, code, slope, rows, c, c_row, y, y_row)
    builder.ret_void()
    return function


def _emit_loop_over_rows(
    edge: Emitter, code: int, slope: Any, rows: Any, c: Any, c_row: Any, y: Any, y_row: Any
) -> None:
    builder, zero, before = edge.builder, ir.Constant(edge.vector, None), edge.builder.block
    slope, one = edge.broadcast(slope), ir.Constant(edge.vector, [1.0] * edge.lanes)
    loop, after = (builder.function.append_basic_block(f"rows.{code}{end}") for end in ("", ".after"))
    builder.branch(loop)
    builder.position_at_end(loop)
    left, c_at, y_at = phis = [builder.phi(I64) for _ in range(3)]
    row = edge.load(c_at, "c")
    if code == RELU:  # NaN stays NaN
        row = [builder.select(builder.fcmp_ordered("<", s, zero), zero, s) for s in row]
    elif code == LEAKY:
        row = [builder.select(builder.fcmp_ordered(">", s, zero), s, builder.fmul(slope, s)) for s in row]
    else:
        factors = [builder.select(builder.fcmp_ordered(">", v, zero), one, slope) for v in edge.load(y_at, "y")]
        row = [builder.fmul(s, factor) for s, factor in zip(row, factors, strict=True)]
    edge.store(row, c_at)
    for phi, first, stride in zip(phis, (rows, c, y), (I64(-1), c_row, y_row), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(builder.add(phi, stride), loop)
    builder.cbranch(builder.icmp_signed(">", left.incomings[1][0], I64(0)), loop, after)
    builder.position_at_end(after)
