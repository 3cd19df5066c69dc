"""Recordings: a replayed step equals the step itself, and a step that cannot be replayed runs in full every time."""

import threading

import numpy as np
import pytest
from helpers import HAVE_NUMBA
from kernel_helpers import Step, needs_numba, unaligned

import npae
from npae import kernels
from npae.activations import copy, relu, tanh
from npae.fitting.batches import take
from npae.kernels import recorded
from npae.layers import column_sums, dense, matmul

if HAVE_NUMBA:
    from npae.kernels.numba_backend import recording


@pytest.fixture
def numba():
    npae.use_backend("numba")


# --- replay --------------------------------------------------------------------------------------------------


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_replay_follows_its_arrays_in_the_order_of_the_kernels():
    x, sums = np.random.default_rng(0).standard_normal((40, 300)), np.empty(40)

    def function():
        y = tanh(matmul(x, x.T))
        column_sums(y, sums)
        return sums

    step = Step(function)
    replay = recorded(step)
    for i in range(4):
        x[:] = np.random.default_rng(i).standard_normal(x.shape) / 20
        np.testing.assert_allclose(replay(), np.tanh(x @ x.T).sum(axis=0), rtol=1e-10, atol=1e-12)
    assert step.calls == 2


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_recording_within_a_recording_is_a_part_of_it():
    x = np.random.default_rng(0).standard_normal((30, 20))
    inner = recorded(lambda: tanh(x))
    outer = recorded(lambda: relu(inner()))
    for change in range(4):
        x[:] += change
        np.testing.assert_allclose(outer(), np.maximum(np.tanh(x), 0), rtol=1e-12)
        np.testing.assert_allclose(inner(), np.tanh(x), rtol=1e-12)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_thread_records_its_own_kernels_only():
    x, other = np.ones((3, 3)), np.zeros((3, 3))

    def function():
        thread = threading.Thread(target=lambda: copy(x, out=other))
        thread.start()
        thread.join()
        return relu(x)

    replay = recorded(Step(function))
    replay()
    replay()
    other[:] = 0
    replay()
    assert (other == 0).all()


# --- what cannot be replayed ---------------------------------------------------------------------------------

a, b = np.random.default_rng(0).standard_normal((2, 30, 30))
HALF, ODD = b.astype(np.float32), unaligned(b)

CANCELLED = {
    "an operand is copied into rows": lambda: relu(np.asfortranarray(a)),
    "a strided b is copied": lambda: matmul(a, np.repeat(np.repeat(b, 2, 0), 2, 1)[::2, ::2]),
    "rows are taken from columns": lambda: take(np.asfortranarray(a), np.arange(3)),
    "row numbers are converted": lambda: take(a, np.arange(3, dtype=np.int32)),
    "the result is copied to a strided out": lambda: matmul(a, b, out=np.zeros((30, 60))[:, ::2]),
    "a sum over no k is filled in": lambda: matmul(a[:, :0], b[:0]),
    "sums are copied to a strided out": lambda: column_sums(a, np.zeros(60)[::2]),
    "the dtype has no twin": lambda: relu(a.astype(np.float16)),
    "the operand is unaligned": lambda: relu(ODD),
    "the second operand has another dtype": lambda: matmul(a, HALF),
    "the second operand is unaligned": lambda: dense(a, ODD, b[0]),
}


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("function", CANCELLED.values(), ids=CANCELLED)
def test_a_step_with_work_outside_of_the_twins_is_not_replayed(function):
    step = Step(function)
    replay = recorded(step)
    for _ in range(4):
        replay()
    assert step.calls == 4


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("change", [lambda x: x.astype(np.float32), unaligned], ids=["another dtype", "unaligned"])
def test_a_step_with_an_unsuitable_second_operand_follows_its_arrays(change):
    x, W = np.ones((4, 4)), change(np.eye(4))
    replay = recorded(lambda: relu(matmul(x, W)))
    for i in range(4):
        x[:] = i
        np.testing.assert_array_equal(replay(), x)


MADE_BY_NUMPY = {
    "an operand": lambda x: relu(2 * x),
    "an operand between two kernels": lambda x: relu(2 * relu(x)),
    "the result": lambda x: 2 * relu(x),
    "a part of an operand": lambda x: relu(np.concatenate([x, x])[:30] * 2),
}


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("function", MADE_BY_NUMPY.values(), ids=MADE_BY_NUMPY)
def test_a_step_in_which_numpy_makes_an_array_runs_in_full_every_time(function):
    """Nobody has cancelled the recording: a change in npae's own source is noticed, too."""
    x = np.empty((30, 7))
    step = Step(lambda: function(x))
    replay = recorded(step)
    for i in range(5):
        x[:] = np.random.default_rng(i).standard_normal(x.shape)
        np.testing.assert_array_equal(replay(), 2 * np.maximum(x, 0))
    assert step.calls == 5


@needs_numba
@pytest.mark.usefixtures("numba")
def test_dense_layers_written_in_plain_numpy_train_as_the_compiled_ones_do(monkeypatch):
    X = np.random.default_rng(0).random((200, 12))

    def losses():
        return npae.AE(hidden=(9,), latent_dim=3, epochs=4, batch_size=20, random_state=0).fit(X).history_.loss

    def backward(self, grad_y):
        self.backward_parameters(grad_y)
        return grad_y @ self.W.value.T

    expected = losses()
    monkeypatch.setattr(npae.Dense, "backward", backward)
    np.testing.assert_allclose(losses(), expected, rtol=1e-9)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_step_that_cannot_be_recorded_runs_in_full_every_time():
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((30, 7)))
    step = Step(lambda: relu(x))
    replay = recorded(step)
    for change in (0, 1, 2, 3):
        x[:] += change
        np.testing.assert_array_equal(replay(), np.maximum(x, 0))
    assert step.calls == 4


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_recording_has_room_for_any_number_of_kernels():
    x = np.ones((1, 3))

    def function():
        y = x
        for _ in range(2000):
            y = copy(y)
        return y

    step = Step(function)
    replay = recorded(step)
    for i in range(3):
        x[:] = i
        np.testing.assert_array_equal(replay(), x)
    assert step.calls == 2


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_step_that_fails_while_it_is_recorded_leaves_no_recording_behind():
    def step():
        relu(np.ones((1, 3)))
        raise RuntimeError("in the middle")

    replay, errors = recorded(step), []
    for _ in range(2):
        with pytest.raises(RuntimeError, match="in the middle") as caught:
            replay()
        errors.append(caught)  # its traceback keeps the recording alive
    assert recording._current.reference is None
    np.testing.assert_array_equal(relu(np.array([[-1.0, 2.0]])), [[0.0, 2.0]])


# --- switches of the backend ---------------------------------------------------------------------------------

SWITCHES = {
    "while a step is recorded": ("numba", "numpy"),
    "before it is recorded": ("numpy",),
    "there and back": ("numba", "numpy", "numba"),
}


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_another_thread_may_switch_the_backend_while_a_step_is_recorded(switches):
    x, left = np.random.default_rng(0).standard_normal((40, 30)), list(switches)

    def step():
        y = x
        for _ in range(6):
            if left:
                other = threading.Thread(target=npae.use_backend, args=(left.pop(0),))
                other.start()
                other.join()
            y = tanh(y)
        return y

    replay = recorded(step)
    for change in range(4):
        x[:] += change
        expected = x
        for _ in range(6):
            expected = np.tanh(expected)
        np.testing.assert_allclose(replay(), expected, rtol=1e-12)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_step_that_switches_the_backend_itself_runs_in_full_every_time():
    x, sums = np.ones((4, 3)), np.empty(3)

    def step():
        y = tanh(x)
        npae.use_backend("numpy")
        column_sums(x, sums)  # which no recording sees
        npae.use_backend("numba")
        return tanh(y), sums

    replay = recorded(step)
    for change in range(4):
        x[:] = change
        np.testing.assert_allclose(replay()[1], 4 * x[0], rtol=1e-12)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_predictions_are_right_while_another_thread_switches_the_backend():
    X = np.random.default_rng(0).random((1500, 20))
    ae = npae.AE(hidden=(30,), latent_dim=5, epochs=1, random_state=0).fit(X)
    Z, over = ae.encode(X), threading.Event()

    def switch():
        while not over.is_set():
            for name in kernels.BACKENDS:
                npae.use_backend(name)

    other = threading.Thread(target=switch)
    other.start()
    try:
        for _ in range(300):
            np.testing.assert_allclose(ae.encode(X), Z, rtol=1e-9, atol=1e-12)
    finally:
        over.set()
        other.join()
