"""Recordings: a replayed step equals the step itself, and a step that cannot be replayed runs in full every time."""

import threading

import numpy as np
import pytest
from helpers import HAVE_NUMBA
from kernel_helpers import needs_numba, unaligned

import npae
import npae.fitting.recording
from npae import kernels
from npae.activations import copy, relu, tanh
from npae.fitting.batches import take
from npae.kernels import recorded
from npae.layers import column_sums, dense, matmul

if HAVE_NUMBA:
    from npae.kernels.numba_backend import parallel


@pytest.fixture
def numba():
    npae.use_backend("numba")


class Step:
    """A step that counts how often Python runs it."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self):
        self.calls += 1
        return self.function()


# --- fits ----------------------------------------------------------------------------------------------------


def same_fits(monkeypatch, **arguments):
    """The parameters after a fit whose steps are recorded, and after one whose steps are not."""
    X = np.random.default_rng(0).random((130, 12)).astype(np.float32)
    kind = npae.DAE if "corruption" in arguments else npae.AE
    outcomes = []
    for can_record in (True, False):
        with monkeypatch.context() as patched:
            if not can_record:
                patched.setattr(npae.fitting.recording, "recordable", lambda *parts: False)
            model = kind(hidden=(20,), latent_dim=3, epochs=3, batch_size=50, random_state=0, **arguments).fit(X)
        outcomes.append(np.concatenate([p.value.ravel() for p in model.network_.parameters()]))
    return outcomes


OPTIMIZERS = [npae.Adam(npae.Cosine(0.01), weight_decay=0.1), npae.SGD(0.1, momentum=0.9, nesterov=True)]
NOISES = [npae.GaussianNoise(0.3), npae.MaskingNoise(0.2), npae.SaltAndPepper(0.2)]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_recorded_step_is_the_step_itself(monkeypatch, activation, loss, optimizer):
    replayed, plain = same_fits(monkeypatch, activation=activation, loss=loss, optimizer=optimizer)
    np.testing.assert_array_equal(replayed, plain)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_a_recorded_step_draws_fresh_noise(monkeypatch, noise):
    replayed, plain = same_fits(monkeypatch, corruption=noise)
    np.testing.assert_array_equal(replayed, plain)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_the_steps_of_a_fit_are_replayed(monkeypatch):
    """One call from Python for each batch size, however many steps there are."""
    calls, step = [], npae.fitting.recording.train_step
    monkeypatch.setattr(npae.fitting.recording, "train_step", lambda *a, **k: calls.append(1) or step(*a, **k))
    X = np.random.default_rng(0).random((130, 12)).astype(np.float32)
    for noise in (None, *NOISES):
        calls.clear()
        arguments = {"hidden": (20,), "latent_dim": 3, "epochs": 3, "batch_size": 50}
        (npae.DAE(corruption=noise, **arguments) if noise else npae.AE(**arguments)).fit(X)
        assert len(calls) == 2, noise


class Doubled(npae.ReLU):
    """A layer of a user's own, with work outside of the kernels."""

    calls = 0

    def forward(self, x):
        Doubled.calls += 1
        return 2 * super().forward(x)

    def backward(self, grad_y):
        return super().backward(2 * grad_y)


@pytest.mark.usefixtures("backend")
def test_layers_of_your_own_run_at_every_step():
    X = np.random.default_rng(0).random((40, 6))
    Doubled.calls = 0
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0, dtype=float), Doubled(), npae.Dense(5, 2, rng=1, dtype=float))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=2, dtype=float))
    npae.AE(encoder=encoder, decoder=decoder, epochs=3, batch_size=10).fit(X)
    assert Doubled.calls == 1 + 3 * 4  # one trial before training, then every batch


@pytest.mark.usefixtures("backend")
def test_an_optimizer_of_your_own_takes_every_step():
    class Counting(npae.Adam):
        taken = 0

        def step(self, parameters, state):
            Counting.taken += 1
            super().step(parameters, state)

    X = np.random.default_rng(0).random((40, 6))
    arguments = {"hidden": (5,), "latent_dim": 2, "epochs": 3, "batch_size": 10, "random_state": 0}
    counted, plain = (npae.AE(optimizer=o, **arguments).fit(X).encode(X) for o in (Counting(), npae.Adam()))
    assert Counting.taken == 12
    np.testing.assert_array_equal(counted, plain)


def test_two_threads_fit_on_numpy_as_well():
    npae.use_backend("numpy")
    X, results = np.random.default_rng(0).random((50, 6)), {}

    def work(i):
        results[i] = npae.AE(hidden=(5,), latent_dim=2, epochs=2, random_state=0).fit(X).reconstruct(X)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(results[0], results[1])


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
    assert step.calls == 1


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
    for _ in range(3):
        replay()
    assert step.calls == 3


@needs_numba
@pytest.mark.usefixtures("numba")
@pytest.mark.parametrize("change", [lambda x: x.astype(np.float32), unaligned], ids=["another dtype", "unaligned"])
def test_a_step_with_an_unsuitable_second_operand_follows_its_arrays(change):
    x, W = np.ones((4, 4)), change(np.eye(4))
    replay = recorded(lambda: relu(matmul(x, W)))
    for i in range(3):
        x[:] = i
        np.testing.assert_array_equal(replay(), x)


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_step_that_cannot_be_recorded_runs_in_full_every_time():
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((30, 7)))
    step = Step(lambda: relu(x))
    replay = recorded(step)
    for change in (0, 1, 2):
        x[:] += change
        np.testing.assert_array_equal(replay(), np.maximum(x, 0))
    assert step.calls == 3


@needs_numba
@pytest.mark.usefixtures("numba")
def test_a_step_too_long_for_a_recording_runs_in_full_every_time(monkeypatch):
    monkeypatch.setattr(parallel.Recording, "BYTES", 3 * parallel.Recording.KERNEL_BYTES)
    x = np.ones((1, 3))

    def function():
        y = x
        for _ in range(200):
            y = copy(y)
        return y

    step = Step(function)
    replay = recorded(step)
    for i in range(3):
        x[:] = i
        np.testing.assert_array_equal(replay(), x)
    assert step.calls == 3


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
    assert parallel._current.reference() is None
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
