"""A step on one block of rows after the other gives what it gives for each block alone, on all threads or on one."""

import numpy as np
import pytest
from helpers import HAVE_NUMBA
from kernel_helpers import Step, both_dtypes, needs_numba, unaligned

import npae
from npae.activations import relu, sigmoid, tanh
from npae.estimator.validation import all_finite
from npae.kernels import blockwise
from npae.layers import column_sums, dense, matmul
from npae.losses import bce

if HAVE_NUMBA:
    from npae.kernels.numba_backend.pool import BUSY, pool

BLOCKS, ROWS = 30, 20


@pytest.fixture
def numba():
    npae.use_backend("numba")


def tables(*columns, dtype=np.float64):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((BLOCKS, ROWS, n)).astype(dtype) for n in columns]


def assert_blocks(results, function, blocks):
    """Each block of the results has the bits of function(block)."""
    for i in range(len(blocks[0])):
        for result, expected in zip(results, function(*(table[i] for table in blocks)), strict=True):
            np.testing.assert_array_equal(result[i], expected)


@both_dtypes
@pytest.mark.usefixtures("backend")
def test_every_block_has_the_bits_that_it_has_alone(dtype):
    X, T = tables(60, 50, dtype=dtype)
    W, V, b = np.random.default_rng(1).standard_normal((3, 60, 50)).astype(dtype) / 9

    def function(x, t):
        y = dense(tanh(matmul(relu(dense(x, W, b[0])), V.T)), W, b[1])  # many arrays between x and the results
        loss, grad = bce(y, relu(t))
        return y, np.asarray(loss), all_finite(x), grad

    step = Step(function)
    compute = blockwise(step)
    for chunk in (slice(0, 5), slice(5, 6), slice(6, BLOCKS)):
        results = [np.full((BLOCKS, ROWS, 50), np.nan, dtype), np.full(BLOCKS, np.nan), np.full(BLOCKS, np.nan)]
        results.append(np.full((BLOCKS, ROWS, 50), np.nan, dtype))
        compute([X[chunk], T[chunk]], [r[chunk] for r in results])
        assert_blocks([r[chunk] for r in results], function, [X[chunk], T[chunk]])
        for r in results:
            assert np.isnan(np.delete(r, np.r_[chunk], axis=0)).all()  # and nothing is written elsewhere
    assert step.calls == (2 if npae.backend_name() == "numba" else BLOCKS)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_one_thread_computes_all_blocks_while_another_caller_has_the_pool():
    (X,), Y = tables(60), np.empty((BLOCKS, ROWS, 60))
    step = Step(lambda x: (tanh(x),))
    compute = blockwise(step)
    compute([X[:2]], [Y[:2]])
    pool._words[BUSY // 8] = 1
    try:
        compute([X[2:]], [Y[2:]])
    finally:
        pool._words[BUSY // 8] = 0
    assert step.calls == 2
    assert_blocks([Y], lambda x: (tanh(x),), [X])


@needs_numba
@pytest.mark.usefixtures("numba")
def test_threads_do_not_disturb_each_other():
    """Much work, so that other threads take part even where other programs use the cores."""
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((400, 64, 120)), rng.standard_normal((120, 120)) / 9

    def function(x):
        return (tanh(matmul(tanh(matmul(x, W)), W)),)

    expected = np.stack([function(x)[0] for x in X])
    for _ in range(5):
        Y = np.full(X.shape, np.nan)
        blockwise(function)([X], [Y])
        np.testing.assert_array_equal(Y, expected)


OTHER_ARRAYS = {
    "of another width": lambda x: np.concatenate([x, x], axis=2),
    "of another dtype": lambda x: x.astype(np.float32),
    "in columns": lambda x: np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1),
    "unaligned": unaligned,
}


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("change", OTHER_ARRAYS.values(), ids=OTHER_ARRAYS)
def test_arrays_that_a_recording_does_not_fit_are_computed_block_by_block(change):
    (X,), step = tables(16), Step(lambda x: (relu(x),))
    compute, Y = blockwise(step), np.empty((BLOCKS, ROWS, 16))
    compute([X], [Y])
    assert step.calls == 2
    other = change(X)
    for table, result in ((other, np.empty(other.shape, other.dtype)), (X, change(np.zeros(X.shape)))):
        if table.shape == result.shape and table.dtype == result.dtype:
            before = step.calls
            compute([table], [result])
            assert step.calls == before + BLOCKS
            np.testing.assert_array_equal(result, np.maximum(table, 0))
    before = step.calls
    compute([X], [Y])
    assert step.calls == before


@needs_numba
@pytest.mark.usefixtures("numba")
def test_results_in_the_memory_of_a_table_or_read_only_are_not_replayed():
    (X,), step = tables(16), Step(lambda x: (relu(x),))
    compute, Y = blockwise(step), np.empty((BLOCKS, ROWS, 16))
    compute([X], [Y])
    expected, shifted = np.maximum(X, 0), np.zeros((BLOCKS + 1, ROWS, 16))
    shifted[1:] = X
    with pytest.raises(ValueError, match="read-only"):
        compute([X], [np.broadcast_to(Y[0], Y.shape)])
    compute([shifted[1:]], [shifted[:-1]])
    np.testing.assert_array_equal(shifted[:-1], expected)
    compute([X], [X])
    np.testing.assert_array_equal(X, expected)
    assert step.calls == 2 + 1 + 2 * BLOCKS


KEPT, ALL = np.zeros((ROWS, 16)), np.random.default_rng(2).standard_normal((BLOCKS, ROWS, 16))
SUMS = np.zeros(16)


def _sums(x):
    column_sums(x, out=SUMS)
    return (SUMS,)


def _sums_of_all(x):
    sums = np.empty(16)
    column_sums(ALL.reshape(-1, 16), out=sums)
    return relu(x), sums


DEPENDENT = {  # steps on blocks of ALL that must not run on several blocks at once
    "returns its block": lambda x: (x,),
    "returns a part of its block": lambda x: (x[3:5],),
    "returns one array twice": lambda x: (relu(x),) * 2,
    "returns the same array each time": _sums,
    "returns what no kernel has written": lambda x: (sigmoid(x), KEPT),
    "works in NumPy": lambda x: (np.maximum(x, 0),),
}


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("name", DEPENDENT)
def test_a_step_that_does_not_make_its_results_anew_is_called_for_every_block(name):
    step = Step(DEPENDENT[name])
    compute, results = blockwise(step), [np.empty((BLOCKS, *r.shape)) for r in DEPENDENT[name](ALL[0])]
    for _ in range(2):
        for r in results:
            r.fill(np.nan)
        compute([ALL], results)
        assert_blocks(results, DEPENDENT[name], [ALL])
    assert step.calls == 2 * BLOCKS


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_step_may_read_the_whole_table_besides_its_block():
    results = [np.empty((BLOCKS, ROWS, 16)), np.empty((BLOCKS, 16))]
    compute = blockwise(_sums_of_all)
    for _ in range(2):
        compute([ALL], results)
        assert_blocks(results, _sums_of_all, [ALL])


@needs_numba
@pytest.mark.usefixtures("numba")
def test_after_a_switch_of_the_backend_nothing_is_replayed():
    (X,), Y = tables(16), np.empty((BLOCKS, ROWS, 16))

    def function(x):
        if step.calls == 2:
            npae.use_backend("numpy")
        return (tanh(x),)

    step = Step(function)
    blockwise(step)([X], [Y])
    assert step.calls == BLOCKS
    np.testing.assert_allclose(Y, np.tanh(X), rtol=1e-12)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_blocks_within_a_recording_are_a_part_of_it():
    (X,), Y = tables(16), np.empty((BLOCKS, ROWS, 16))
    compute = blockwise(lambda x: (tanh(x),))

    def step():
        compute([X], [Y])
        return relu(X[0])

    outer = npae.kernels.recorded(step)
    for i in range(4):
        X += i
        np.testing.assert_array_equal(outer(), np.maximum(X[0], 0))


@pytest.mark.usefixtures("backend")
def test_a_step_that_must_not_be_recorded_is_called_for_every_block():
    (X,), Y = tables(16), np.empty((BLOCKS, ROWS, 16))
    step = Step(lambda x: (relu(x),))
    blockwise(step, record=False)([X], [Y])
    assert step.calls == BLOCKS
    np.testing.assert_array_equal(Y, np.maximum(X, 0))
