"""`recomputed`: numbers that Python computes for a kernel, again before each replay of a recording."""

import numpy as np
import pytest
from kernel_helpers import needs_numba

import npae
from npae.activations import copy, relu
from npae.kernels import recomputed, recorded
from npae.optimizers import sgd


def scalars(rate):
    return rate, 0.0, 0.0


@pytest.fixture
def numba():
    npae.use_backend("numba")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("value", [(1.0, 2.0), [3], np.arange(3, dtype=np.uint64)], ids=repr)
def test_outside_of_a_recording_it_is_one_call_as_an_array(value):
    calls = []
    got = recomputed(lambda: calls.append(1) or value)
    assert len(calls) == 1
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, value)
    assert got.dtype == np.asarray(value).dtype


@pytest.mark.usefixtures("backend")
def test_each_step_uses_the_numbers_of_its_own_step():
    """The step subtracts 1, 2, 3, ... from the weights."""
    value, grad, v, taken = np.zeros(5), np.ones(5), np.zeros(5), [0]

    def next_rate():
        taken[0] += 1
        return scalars(float(taken[0]))

    def step():
        sgd(value, grad, v, recomputed(next_rate))
        return value

    replay = recorded(step)
    for n in range(1, 6):
        np.testing.assert_array_equal(replay(), -n * (n + 1) / 2)
        assert taken == [n]


@pytest.mark.usefixtures("backend")
def test_all_are_computed_once_a_step_in_the_order_of_the_first():
    log, value, grad, v = [], np.zeros(5), np.ones(5), np.zeros(5)

    def step():
        for name in "abc":
            sgd(value, grad, v, recomputed(lambda name=name: log.append(name) or scalars(1.0)))
        return value

    replay = recorded(step)
    for n in range(1, 5):
        np.testing.assert_array_equal(replay(), -3 * n)
        assert log == list("abc") * n


@needs_numba
@pytest.mark.usefixtures("numba")
def test_the_numbers_are_computed_before_the_kernels_of_a_replay():
    x, seen = np.zeros((1, 3)), []
    y = np.zeros((1, 3))

    def step():
        recomputed(lambda: seen.append(y[0, 0]) or (0.0,))
        return copy(x, out=y)

    replay = recorded(step)
    for i in range(4):
        x[:] = i + 1
        replay()
    assert seen == [0, 1, 2, 3]


@needs_numba
@pytest.mark.usefixtures("numba")
def test_the_array_of_a_kernel_keeps_its_place():
    """A replayed kernel reads the array that it was given, so each replay writes to that array."""
    arrays, rates, value, grad, v = [], iter(range(1, 9)), np.zeros(5), np.ones(5), np.zeros(5)

    def step():
        arrays.append(recomputed(lambda: scalars(float(next(rates)))))
        sgd(value, grad, v, arrays[-1])
        return value

    replay = recorded(step)
    for _ in range(4):
        replay()
    assert len(arrays) == 2
    assert [a[0] for a in arrays] == [1, 4]
    np.testing.assert_array_equal(value, -(1 + 2 + 3 + 4))


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("interrupted", ["a", "b"])
def test_an_interrupt_between_two_computations_runs_no_kernel_and_the_next_step_is_right(interrupted):
    value, grad, v, counts, strike = np.zeros(5), np.ones(5), np.zeros(5), {"a": 0, "b": 0}, []

    def compute(name):
        if strike and name == interrupted:
            strike.clear()
            raise KeyboardInterrupt
        counts[name] += 1
        return scalars(float(counts[name]))

    def step():
        for name in "ab":
            sgd(value, grad, v, recomputed(lambda name=name: compute(name)))
        return value

    replay = recorded(step)
    replay()
    replay()
    before, counted = value.copy(), dict(counts)
    assert (before == -2 * (1 + 2)).all()
    strike.append(True)
    with pytest.raises(KeyboardInterrupt):
        replay()
    np.testing.assert_array_equal(value, before)
    assert counts["b"] == counted["b"]
    replay()
    np.testing.assert_array_equal(value, before - counts["a"] - counts["b"])


@needs_numba
@pytest.mark.usefixtures("numba")
def test_an_interrupt_while_a_step_is_recorded_computes_nothing_again():
    """The recording is dropped: the next call records the step from its beginning."""
    x, calls, strike = np.ones((1, 3)), [], [True]

    def step():
        recomputed(lambda: calls.append("first") or (0.0,))
        if strike and strike.pop():
            raise KeyboardInterrupt
        recomputed(lambda: calls.append("second") or (0.0,))
        return relu(x)

    replay = recorded(step)
    with pytest.raises(KeyboardInterrupt):
        replay()
    assert calls == ["first"]
    for n in range(1, 5):
        replay()
        assert calls == ["first"] + ["first", "second"] * n


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_recording_that_is_not_replayed_computes_no_number_twice():
    x, calls = np.ones((4, 3)).T, []  # the columns of x are copied into rows, so the step is not replayed

    def step():
        recomputed(lambda: calls.append(1) or (0.0,))
        return relu(x)

    replay = recorded(step)
    for n in range(1, 5):
        replay()
        assert len(calls) == n


@needs_numba
@pytest.mark.usefixtures("numba")
def test_the_numbers_of_an_inner_recording_belong_to_the_outer_one():
    value, grad, v, taken = np.zeros(5), np.ones(5), np.zeros(5), [0]

    def next_rate():
        taken[0] += 1
        return scalars(float(taken[0]))

    def step():
        sgd(value, grad, v, recomputed(next_rate))
        return value

    inner = recorded(step)
    outer = recorded(lambda: inner())
    for n in range(1, 5):
        outer()
        assert taken == [n]
        np.testing.assert_array_equal(value, -n * (n + 1) / 2)
