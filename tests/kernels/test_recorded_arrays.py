"""A replay reads its arguments where they lie now, and writes its result where it is wanted."""

import numpy as np
import pytest
from kernel_helpers import Step, needs_numba, unaligned

import npae
from npae.activations import relu, tanh
from npae.kernels import recorded
from npae.layers import matmul


@pytest.fixture
def numba():
    npae.use_backend("numba")


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_replay_reads_the_arrays_that_it_gets_and_writes_into_out():
    X, W = np.random.default_rng(0).standard_normal((2, 60, 60))
    Y, step = np.full((60, 60), np.nan), Step(lambda x, y: (tanh(matmul(x, W)), relu(y)))
    replay = recorded(step)
    for i in range(0, 60, 10):
        rows, others = slice(i, i + 10), slice(50 - i, 60 - i)
        if others == rows:
            continue
        y, positive = replay(X[rows], X[others], out=Y[rows])
        assert np.shares_memory(y, Y[rows])
        np.testing.assert_allclose(Y[rows], np.tanh(X[rows] @ W), rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(positive, np.maximum(X[others], 0))
    assert step.calls == 2
    assert not np.isnan(Y).any()
    alone, _ = replay(X[:10].copy(), X[10:20])
    assert not np.shares_memory(alone, Y)
    np.testing.assert_allclose(alone, Y[:10], rtol=1e-12)
    assert step.calls == 2


OTHER_ARRAYS = {
    "of another shape": lambda x: x[:7],
    "of another dtype": lambda x: x.astype(np.float32),
    "in columns": np.asfortranarray,
    "unaligned": unaligned,
}


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("change", OTHER_ARRAYS.values(), ids=OTHER_ARRAYS)
def test_arrays_that_a_recording_does_not_fit_are_computed_in_full(change):
    x = np.random.default_rng(0).standard_normal((10, 20))
    step = Step(relu)
    replay = recorded(step)
    for _ in range(3):
        replay(x)
    assert step.calls == 2
    other = change(x)
    out = np.empty(other.shape, other.dtype)
    np.testing.assert_array_equal(replay(other, out=out), np.maximum(other, 0))
    assert step.calls == 3
    np.testing.assert_array_equal(replay(x), np.maximum(x, 0))
    assert step.calls == 3


@needs_numba
@pytest.mark.usefixtures("numba")
def test_arrays_that_share_memory_are_computed_in_full():
    """Else the recording could not tell which of two arrays an address belongs to."""
    x = np.random.default_rng(0).standard_normal((30, 20))
    step = Step(lambda a, b: relu(matmul(a, b.T)))
    together, apart = recorded(step), recorded(step)
    for _ in range(4):
        np.testing.assert_allclose(together(x, x), np.maximum(x @ x.T, 0), rtol=1e-12, atol=1e-12)
    assert step.calls == 4
    for _ in range(3):
        apart(x, x.copy())
    assert step.calls == 6
    np.testing.assert_allclose(apart(x, x), np.maximum(x @ x.T, 0), rtol=1e-12, atol=1e-12)
    assert step.calls == 7
    in_place = recorded(Step(relu))
    for _ in range(3):
        in_place(x)
    expected = np.maximum(x, 0)
    np.testing.assert_array_equal(in_place(x, out=x), expected)
    np.testing.assert_array_equal(x, expected)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_replay_does_not_write_into_a_read_only_array():
    x, out = np.random.default_rng(0).standard_normal((2, 10, 20))
    replay = recorded(Step(relu))
    for _ in range(3):
        replay(x)
    before, out.flags.writeable = out.copy(), False
    with pytest.raises(ValueError, match="read-only"):
        replay(x, out=out)
    np.testing.assert_array_equal(out, before)


@pytest.mark.usefixtures("backend")
def test_a_recorded_function_writes_its_first_result_into_out():
    x = np.random.default_rng(0).standard_normal((5, 4))
    for function, first in ((relu, lambda result: result), (lambda a: (relu(a), a), lambda result: result[0])):
        replay = recorded(function)
        for _ in range(4):
            out = np.full((5, 4), np.nan)
            result = replay(x, out=out)
            assert first(result) is out
            np.testing.assert_array_equal(out, np.maximum(x, 0))
