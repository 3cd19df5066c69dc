"""Sums, products and multiples of whole arrays: add, multiply, scaled. One compiled loop serves all three."""

from __future__ import annotations

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import CompiledLoop, inner, integer, scalar, vector, vector_out
from npae.kernels.numba_backend.elementwise import BLOCK, LIGHT, block_count
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.twins import check_alike, flat, twin

ADD, MULTIPLY, SCALE = range(3)


@inner
def _combine_block(code: int, factor: float, a: Array, b: Array, c: Array, block: int) -> None:
    start, stop = block * BLOCK, (block + 1) * BLOCK
    a, b, c, factor = a[start:stop], b[start:stop], c[start:stop], c.dtype.type(factor)
    if code == ADD:
        for i in range(c.size):
            c[i] = a[i] + b[i]
    elif code == MULTIPLY:
        for i in range(c.size):
            c[i] = a[i] * b[i]
    else:
        for i in range(c.size):
            c[i] = a[i] * factor


@CompiledLoop(integer, scalar, vector, vector, vector_out)
def combine_loop(context: int, code: int, factor: float, a: Array, b: Array, c: Array) -> None:
    """c = a + b, a · b or factor · a, for the codes ADD, MULTIPLY, SCALE."""
    parallel_for(context, block_count(c.size), LIGHT, _combine_block, (code, factor, a, b, c))


def _combined(code: int, a: Array, b: Array, factor: float = 0.0, out: Array | None = None) -> Array:
    check_alike(a, b)
    c = aligned(a.shape, a.dtype) if out is None else out
    if c.shape != a.shape or c.dtype != a.dtype or not c.flags.carray:
        raise ValueError(f"kernel expected a contiguous writable out of shape {a.shape} in {a.dtype}, got {c.shape}.")
    run(combine_loop, c.dtype, code, factor, flat(a), flat(b), c.reshape(-1))
    return c


@twin
def add(a: Array, b: Array, out: Array | None = None) -> Array:
    return _combined(ADD, a, b, out=out)


@twin
def multiply(a: Array, b: Array) -> Array:
    return _combined(MULTIPLY, a, b)


@twin
def scaled(a: Array, factor: float) -> Array:
    return _combined(SCALE, a, a, factor)
