"""Sums and products of whole arrays: add, multiply. One compiled loop serves both."""

from __future__ import annotations

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import CompiledLoop, inner, integer, vector, vector_out
from npae.kernels.numba_backend.elementwise import BLOCK, LIGHT, block_count
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.twins import check_alike, flat, twin

ADD, MULTIPLY = range(2)


@inner
def _combine_block(code: int, a: Array, b: Array, c: Array, block: int) -> None:
    start, stop = block * BLOCK, (block + 1) * BLOCK
    a, b, c = a[start:stop], b[start:stop], c[start:stop]
    if code == ADD:
        for i in range(c.size):
            c[i] = a[i] + b[i]
    else:
        for i in range(c.size):
            c[i] = a[i] * b[i]


@CompiledLoop(integer, vector, vector, vector_out)
def combine_loop(context: int, code: int, a: Array, b: Array, c: Array) -> None:
    """c = a + b or a · b, for the codes ADD and MULTIPLY."""
    parallel_for(context, block_count(c.size), LIGHT, _combine_block, (code, a, b, c))


def _combined(code: int, a: Array, b: Array, out: Array | None = None) -> Array:
    check_alike(a, b)
    c = aligned(a.shape, a.dtype) if out is None else out
    if c.shape != a.shape or c.dtype != a.dtype or not c.flags.carray:
        raise ValueError(f"kernel expected a contiguous writable out of shape {a.shape} in {a.dtype}, got {c.shape}.")
    run(combine_loop, c.dtype, code, flat(a), flat(b), c.reshape(-1))
    return c


@twin
def add(a: Array, b: Array, out: Array | None = None) -> Array:
    return _combined(ADD, a, b, out)


@twin
def multiply(a: Array, b: Array) -> Array:
    return _combined(MULTIPLY, a, b)
