"""Products of any shape and memory layout, sums over many rows, and the register tile of each kind of processor."""

import itertools
import re

import numpy as np
import pytest
from helpers import HAVE_NUMBA, seeds
from hypothesis import example, given
from hypothesis import strategies as st
from kernel_helpers import LAYOUTS, both_dtypes, close, laid_out, needs_numba, twins

from npae.kernels import KERNELS
from npae.layers import column_sums, matmul

if HAVE_NUMBA:
    from npae.kernels.numba_backend import plans

SIZES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 63, 64, 65, 100]  # around every tile
DEPTHS = [255, 256, 257, 319, 320, 321, 641]  # around the steps of k that are summed at a time


@needs_numba
@both_dtypes
@given(
    sizes=st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES + DEPTHS), st.sampled_from(SIZES)),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
    out=st.sampled_from([None, *LAYOUTS[:4]]),
    seed=seeds(),
)
@example(sizes=(33, 65, 64), layouts=("columns", "rows"), out="rows", seed=0)  # xᵀ grad_y
@example(sizes=(33, 65, 64), layouts=("rows", "columns"), out=None, seed=0)  # grad_y Wᵀ
@example(sizes=(97, 1024, 512), layouts=("rows", "rows"), out="rows", seed=0)  # rows that compete for cache sets
@example(sizes=(1024, 97, 512), layouts=("columns", "rows"), out="rows", seed=0)  # or columns
@example(sizes=(129, 512, 512), layouts=("rows", "columns"), out="rows", seed=0)
@example(sizes=(601, 30, 97), layouts=("columns", "rows"), out=None, seed=0)  # more rows than one task takes
def test_products_of_any_shape_and_layout(dtype, sizes, layouts, out, seed):
    M, K, N = sizes
    rng = np.random.default_rng(seed)
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((M, K), (K, N), (N,)))
    a, b = laid_out(a, layouts[0]), laid_out(b, layouts[1])
    expected = a.astype(np.float64) @ b.astype(np.float64)
    target = None if out is None else laid_out(np.full((M, N), np.nan, dtype), out)
    got = twins()["matmul"](a, b, out=target)
    assert out is None or got is target
    close(got, expected, dtype, scale=1 + K)
    close(KERNELS["matmul"](a, b), expected, dtype, scale=1 + K)
    close(twins()["dense"](a, b, bias), expected + bias, dtype, scale=1 + K)


@needs_numba
@both_dtypes
@given(
    rows=st.sampled_from(SIZES + DEPTHS),
    columns=st.sampled_from(SIZES + DEPTHS),
    layout=st.sampled_from(LAYOUTS),
    seed=seeds(),
)
def test_column_sums_of_any_shape_and_layout(dtype, rows, columns, layout, seed):
    a = laid_out(np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype), layout)
    out, expected = np.empty((2, columns), dtype)
    twins()["column_sums"](a, out)
    KERNELS["column_sums"](a, expected)
    close(out, expected, dtype, scale=1 + rows)


@both_dtypes
@pytest.mark.usefixtures("backend")
def test_sums_over_millions_of_rows_keep_their_digits(dtype):
    """Added one by one in float32, 2^24 ones and one more make 2^24."""
    ones, total = np.ones((20_000_000, 1), dtype), np.empty(1, dtype)
    column_sums(ones, total)
    assert total.tolist() == [2e7]
    assert matmul(ones.T, ones).tolist() == [[2e7]]
    x, g = np.random.default_rng(0).random((2, 1_000_000, 3), np.float32).astype(dtype)
    expected, sums = x.astype(np.float64).T @ g.astype(np.float64), np.empty(3, dtype)
    np.testing.assert_allclose(matmul(x.T, g), expected, rtol=5e-6)
    column_sums(x, sums)
    np.testing.assert_allclose(sums, x.sum(axis=0, dtype=np.float64), rtol=2e-7)


@needs_numba
@pytest.mark.parametrize("shared", ["a", "b", "both"])
def test_out_may_share_memory_with_an_operand(shared):
    a, b = np.random.default_rng(0).standard_normal((2, 100, 100))
    b = a if shared == "both" else b
    expected = a @ b
    got = twins()["matmul"](a, b, out=b if shared == "b" else a)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@needs_numba
def test_sums_may_be_written_over_the_matrix():
    a = np.random.default_rng(0).standard_normal((70, 30))
    expected = a.sum(axis=0)
    twins()["column_sums"](a, a[3])
    np.testing.assert_allclose(a[3], expected, rtol=1e-10, atol=1e-12)


# --- the plan ------------------------------------------------------------------------------------------------


@needs_numba
@given(
    M=st.integers(1, 3000),
    N=st.integers(1, 3000),
    K=st.integers(1, 1000),
    size=st.sampled_from([4, 8]),
    a_in_rows=st.booleans(),
    b_in_rows=st.booleans(),
)
@example(M=100_000, N=100_000, K=10, size=8, a_in_rows=True, b_in_rows=True)
@example(M=256, N=784, K=32, size=4, a_in_rows=True, b_in_rows=True)
def test_the_tiles_of_a_plan_cover_c_in_few_tasks(M, N, K, size, a_in_rows, b_in_rows):
    from npae.kernels.numba_backend.plans import MAX_TASKS, SLOT, plan_tiles, tiles_in_cache
    from npae.kernels.numba_backend.tile import HEIGHTS, SHAPE

    plan, NR = plan_tiles(M, N, K, size, a_in_rows, b_in_rows), SHAPE.bytes // size * SHAPE.vectors
    assert plan.row_offsets[0] == 0
    assert plan.row_offsets[-1] == M
    assert set(np.diff(plan.row_offsets).tolist()) <= set(HEIGHTS)
    tiles, panels, MC = len(plan.row_offsets) - 1, -(-N // NR), tiles_in_cache(size)
    tasks = -(-tiles // plan.tiles_per_task) * -(-panels // plan.panels_per_task)
    assert plan.tiles_per_task <= MC
    assert tasks <= MAX_TASKS or tiles > MC * MAX_TASKS
    assert MC * SLOT * size <= plans.PACKED_A_BYTES  # the packed tiles of a task fit in its memory
    assert plan.packing_a != plans.IN_PLACE or a_in_rows
    assert (plan.packing_b == plans.TRANSPOSE) != b_in_rows


@needs_numba
@both_dtypes
def test_no_bit_of_a_product_depends_on_the_plan(dtype):
    """Neither on the number of tasks nor on the caches: each sum runs over the same steps of k."""
    from npae.kernels.numba_backend.plans import COPY, IN_PLACE, TRANSPOSE, TilePlan
    from npae.kernels.numba_backend.products import product_loop
    from npae.kernels.numba_backend.recording import run
    from npae.kernels.numba_backend.rectify import NONE

    rng, (M, K, N) = np.random.default_rng(0), (53, 700, 130)
    a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
    expected = twins()["matmul"](a, b)
    zeros = np.zeros(N, dtype)
    for heights in ([6] * 8 + [4, 1], [4] * 13 + [1], [2] * 26 + [1], [1] * 53):
        offsets = np.cumsum([0, *heights])
        for tiles, panels, packing_a, packing_b in itertools.product((1, 3, 7), (1, 2, 5), range(3), range(3)):
            left = a if packing_a != COPY else np.asfortranarray(a)
            right = b if packing_b != TRANSPOSE else np.asfortranarray(b)
            plan, c = TilePlan(packing_a, packing_b, offsets, tiles, panels), np.full((M, N), np.nan, dtype)
            run(product_loop, c.dtype, left, right, zeros, c, plan.numbers(), NONE, c, 0.0)
            np.testing.assert_array_equal(c, expected)
    assert IN_PLACE == 0


# --- the tile ------------------------------------------------------------------------------------------------


@needs_numba
def test_every_kind_of_host_has_a_tile():
    from npae.kernels.numba_backend.tile import shape_for

    assert shape_for("+sse2,+avx,+avx2,+avx512f").bytes == 64
    assert shape_for("+sse2,+avx,+avx2,-avx512f").bytes == 32
    assert shape_for("+neon").bytes == 16
    assert shape_for("").bytes == 16
    for features in ("+avx512f", "+avx2", "+neon", ""):
        shape = shape_for(features)
        registers = 32 if features in ("+avx512f", "+neon") else 16
        assert shape.heights[0] * shape.vectors + shape.vectors + 1 <= registers
        assert shape.heights[-1] == 1
        assert list(shape.heights) == sorted(set(shape.heights), reverse=True)


@needs_numba
def test_the_instructions_in_the_docstring_are_those_that_are_emitted():
    from llvmlite import ir

    from npae.kernels.numba_backend import tile

    text = str(tile.emit_tile(ir.Module(), ir.FloatType(), tile.Shape(8, 1, (1,)), 1, packed=True)).replace('"', "")
    emitted = text[text.index("loop.head:") : text.index("loop.after:")]
    shown = tile.__doc__[tile.__doc__.index("loop.head:") : tile.__doc__.index("It has two loads")]
    assert shown.split() == re.sub(r"(?<=[a-z])\.\d+", "", emitted).split()
