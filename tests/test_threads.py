"""Threads: any number of them gives the same bits, callers may have their own, and a process may be forked."""

import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import HAVE_NUMBA

import npae
from npae import kernels

if HAVE_NUMBA:
    from npae.kernels.numba_backend import parallel
    from npae.kernels.numba_backend.pool import pool

needs_numba = pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
LAYERS = ["default", "workqueue", *(["tbb"] if find_spec("tbb") else [])]

FIT = """
import os
CORES = int(os.environ["NUMBA_NUM_THREADS"])
os.sched_getaffinity = lambda process: set(range(CORES))  # as many as asked for, whatever this machine has
import hashlib, numpy as np, npae
X = np.random.default_rng(0).random((200, 40)).astype(np.float32)
parts = []
for noise in (npae.GaussianNoise(0.5), npae.SaltAndPepper(0.2)):
    dae = npae.DAE(hidden=(150, 70), latent_dim=9, activation="elu", loss="bce", corruption=noise, epochs=2,
                   batch_size=64, random_state=3).fit(X, validation=X[:20])
    parts += [p.value.tobytes() for p in dae.network_.parameters()]
    parts += [dae.reconstruct(X).tobytes(), repr(dae.history_.loss + dae.history_.validation_loss).encode()]
assert npae.backend_name() == "numba"
print(npae.backend_info()["threads"], hashlib.sha256(b"".join(parts)).hexdigest())
"""


@needs_numba
def test_one_seed_gives_the_same_bits_for_any_number_of_threads_and_any_threading_layer():
    outcomes = {}
    for threads, layer in [
        ("1", "default"),
        ("2", "default"),
        ("7", "default"),
        *(("2", layer) for layer in LAYERS[1:]),
    ]:
        environment = {"NUMBA_NUM_THREADS": threads, "NUMBA_THREADING_LAYER": layer, "NPAE_BACKEND": "numba"}
        seen, digest = _run(FIT, environment).split()
        assert seen == threads
        outcomes[threads, layer] = digest
    assert len(set(outcomes.values())) == 1, outcomes


THREADS = """
import threading, numpy as np, npae
X = np.random.default_rng(0).random((300, 30)).astype(np.float32)
def work(seed, results):
    ae = npae.AE(hidden=(150,), latent_dim=40, epochs=3, random_state=0).fit(X)
    results[seed] = ae.reconstruct(X)
results = {}
threads = [threading.Thread(target=work, args=(i, results)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(results) == 8 and all(np.array_equal(r, results[0]) for r in results.values())
print("same")
"""


FORK = """
import os, numpy as np, npae
X = np.random.default_rng(0).random((300, 30)).astype(np.float32)
ae = npae.AE(hidden=(150,), latent_dim=40, epochs=2, random_state=0).fit(X)
Z = ae.encode(X)
child = os.fork()
if child == 0:
    same = np.array_equal(ae.encode(X), Z) and np.array_equal(ae.fit(X).encode(X), Z)
    os._exit(0 if same and npae.backend_name() == "numba" else 1)
assert np.array_equal(ae.encode(X), Z)
assert npae.backend_name() == "numba"
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_forked_child_can_encode_and_fit(layer):
    assert _run(FORK, {"NUMBA_THREADING_LAYER": layer, "NPAE_BACKEND": "numba", "NUMBA_NUM_THREADS": "2"}) == "0"


@needs_numba
@pytest.mark.parametrize("layer", LAYERS)
def test_eight_python_threads_fit_and_predict_at_once(layer):
    assert _run(THREADS, {"NUMBA_THREADING_LAYER": layer, "NPAE_BACKEND": "numba", "NUMBA_NUM_THREADS": "4"}) == "same"


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


# --- the pool ---------------------------------------------------------------------------------------------


@needs_numba
def test_every_task_is_done_exactly_once_whoever_does_it():
    """Many small jobs in a row, with the threads falling asleep and waking in between."""
    npae.use_backend("numba")
    backend = kernels.of(np.zeros(1))
    x = np.random.default_rng(0).standard_normal(40_000)
    expected = backend.relu(x)
    for i in range(3000):
        assert np.array_equal(backend.relu(x), expected)
        if i % 500 == 0:
            time.sleep(0.01)


@needs_numba
def test_idle_threads_sleep():
    npae.use_backend("numba")
    kernels.of(np.zeros(1)).relu(np.ones(100_000))
    deadline = time.monotonic() + 10
    while pool.asleep() < pool.threads - 1:
        assert time.monotonic() < deadline, "threads of the pool still spin after ten seconds"
        time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1


# --- recordings ------------------------------------------------------------------------------------------------


def same_fits(monkeypatch, **arguments):
    """The parameters after a fit whose steps are recorded, and after one whose steps are not."""
    X = np.random.default_rng(0).random((130, 12)).astype(np.float32)
    kind = npae.DAE if "corruption" in arguments else npae.AE
    outcomes = []
    for recorded in (True, False):
        with monkeypatch.context() as patched:
            if not recorded:
                patched.setattr(npae.training, "only_kernels", lambda *parts: False)
            model = kind(hidden=(20,), latent_dim=3, epochs=3, batch_size=50, random_state=0, **arguments).fit(X)
        outcomes.append(np.concatenate([p.value.ravel() for p in model.network_.parameters()]))
    return outcomes


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize(
    "optimizer", [npae.Adam(npae.Cosine(0.01), weight_decay=0.1), npae.SGD(0.1, momentum=0.9, nesterov=True)], ids=repr
)
def test_a_recorded_step_is_the_step_itself(backend, monkeypatch, activation, loss, optimizer):
    recorded, plain = same_fits(monkeypatch, activation=activation, loss=loss, optimizer=optimizer)
    np.testing.assert_array_equal(recorded, plain)


@pytest.mark.parametrize("noise", [npae.GaussianNoise(0.3), npae.MaskingNoise(0.2), npae.SaltAndPepper(0.2)], ids=repr)
def test_a_recorded_step_draws_fresh_noise(backend, monkeypatch, noise):
    recorded, plain = same_fits(monkeypatch, corruption=noise)
    np.testing.assert_array_equal(recorded, plain)


class Doubled(npae.ReLU):
    """A layer of a user's own, with work outside the kernels."""

    calls = 0

    def forward(self, x):
        Doubled.calls += 1
        return 2 * super().forward(x)

    def backward(self, grad_y):
        return super().backward(2 * grad_y)


def test_layers_losses_and_corruptions_of_your_own_run_at_every_step(backend):
    X = np.random.default_rng(0).random((40, 6))
    Doubled.calls = 0
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0, dtype=float), Doubled(), npae.Dense(5, 2, rng=1, dtype=float))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=2, dtype=float))
    npae.AE(encoder=encoder, decoder=decoder, epochs=3, batch_size=10).fit(X)
    assert Doubled.calls == 1 + 3 * 4  # one trial before training, then every batch


def test_an_optimizer_of_your_own_takes_every_step(backend):
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


@needs_numba
def test_a_step_that_cannot_be_recorded_is_done_in_full_every_time():
    npae.use_backend("numba")
    backend = kernels.of(np.zeros(1))
    a, seen = np.asfortranarray(np.random.default_rng(0).standard_normal((30, 7))), []

    def step():
        seen.append(len(seen))
        return backend.relu(a)  # the columns of `a` must be copied into rows first, which is Python's work

    again = backend.recorded(step)
    for change in (0, 1, 2):
        a[:] += change
        np.testing.assert_array_equal(again(), np.maximum(a, 0))
    assert len(seen) == 3


@needs_numba
def test_a_recorded_step_follows_its_arrays():
    npae.use_backend("numba")
    backend = kernels.of(np.zeros(1))
    x, calls = np.random.default_rng(0).standard_normal((40, 300)), []

    def step():
        calls.append(1)
        y = backend.tanh(backend.matmul(x, x.T))
        return backend.column_sums(y)

    again = backend.recorded(step)
    for _ in range(4):
        x[:] = np.random.default_rng(len(calls)).standard_normal(x.shape) / 20
        np.testing.assert_allclose(again(), np.tanh(x @ x.T).sum(axis=0), rtol=1e-10, atol=1e-12)
    assert len(calls) == 1


@needs_numba
def test_a_step_too_long_for_a_recording_is_done_in_full_every_time(monkeypatch):
    npae.use_backend("numba")
    backend, calls = kernels.of(np.zeros(1)), []
    monkeypatch.setattr(parallel.Recording, "BYTES", 3 * parallel.Recording.ROOM)
    x = np.ones(3)

    def step():
        calls.append(1)
        y = x
        for _ in range(200):
            y = backend.copy(y.reshape(1, 3)).reshape(3)
        return y

    again = backend.recorded(step)
    for i in range(3):
        x[:] = i
        np.testing.assert_array_equal(again(), x)
    assert len(calls) == 3


@needs_numba
def test_a_step_that_fails_while_it_is_recorded_leaves_no_recording_behind():
    npae.use_backend("numba")
    backend = kernels.of(np.zeros(1))

    def step():
        backend.relu(np.ones(3))
        raise RuntimeError("in the middle")

    again = backend.recorded(step)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="in the middle"):
            again()
    assert parallel._current.reference() is None
    np.testing.assert_array_equal(backend.relu(np.array([-1.0, 2.0])), [0.0, 2.0])


SWITCHES = {
    "while a step is recorded": ("numba", "numpy"),
    "before it is recorded": ("numpy",),
    "there and back": ("numba", "numpy", "numba"),
}


@needs_numba
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_a_switch_of_the_backend_by_another_thread_spoils_no_recording(switches):
    npae.use_backend("numba")
    x, left = np.random.default_rng(0).standard_normal((40, 30)), list(switches)

    def step():
        y = x
        for _ in range(6):
            if left:
                other = threading.Thread(target=npae.use_backend, args=(left.pop(0),))
                other.start()
                other.join()
            y = kernels.of(y).tanh(y)
        return y

    again = kernels.recorded(step)
    for change in range(4):
        x[:] += change
        expected = x
        for _ in range(6):
            expected = np.tanh(expected)
        np.testing.assert_allclose(again(), expected, rtol=1e-12)


@needs_numba
def test_predictions_are_right_while_another_thread_switches_the_backend():
    npae.use_backend("numba")
    X = np.random.default_rng(0).random((1500, 20))
    ae = npae.AE(hidden=(30,), latent_dim=5, epochs=1, random_state=0).fit(X)
    Z, over = ae.encode(X), threading.Event()

    def switch():
        while not over.is_set():
            for name in npae.kernels.BACKENDS:
                npae.use_backend(name)

    other = threading.Thread(target=switch)
    other.start()
    try:
        for _ in range(300):
            np.testing.assert_allclose(ae.encode(X), Z, rtol=1e-9, atol=1e-12)
    finally:
        over.set()
        other.join()


@needs_numba
def test_a_recording_within_a_recording_is_a_part_of_it():
    npae.use_backend("numba")
    x = np.random.default_rng(0).standard_normal((30, 20))
    backend = kernels.of(x)
    inner = kernels.recorded(lambda: backend.tanh(x))
    outer = kernels.recorded(lambda: backend.relu(inner()))
    for change in range(4):
        x[:] += change
        np.testing.assert_allclose(outer(), np.maximum(np.tanh(x), 0), rtol=1e-12)
        np.testing.assert_allclose(inner(), np.tanh(x), rtol=1e-12)


# --- how many -------------------------------------------------------------------------------------------------

USED = """
import threading, numpy as np, npae
a = np.random.default_rng(0).random((600, 600)).astype(np.float32)
npae.kernels.of(a).matmul(a, a)
print(npae.backend_info()["threads"], threading.active_count())
"""


@needs_numba
def test_there_are_never_more_threads_than_cores_that_the_process_may_use():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert _run(USED, {"NUMBA_NUM_THREADS": "32"}).split() == [str(cores)] * 2
    assert _run(USED, {"NUMBA_NUM_THREADS": "1"}).split() == ["1", "1"]


@needs_numba
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to bind a process to a core")
def test_a_process_that_is_bound_to_one_core_has_one_thread():
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert _run(bound + USED, {"NUMBA_NUM_THREADS": "8"}).split() == ["1", "1"]


@needs_numba
@pytest.mark.skipif(os.cpu_count() == 1, reason="there is nobody to share with")
def test_small_jobs_are_not_shared():
    """A sleeping helper is not woken for a job that is done sooner than shared; for a large one it is."""
    npae.use_backend("numba")
    small, large = np.ones((1, 2 * 4096), np.float32), np.ones((1, 100 * 4096), np.float32)
    backend = kernels.of(small)

    def wakes(x):
        backend.relu(x)
        awake = pool.asleep() < pool.threads - 1
        while pool.asleep() < pool.threads - 1:
            time.sleep(0.0001)
        return awake

    wakes(large)
    assert not any(wakes(small) for _ in range(100))
    assert any(wakes(large) for _ in range(100))


NO_THREADS = """
import threading, warnings, numpy as np, npae
def start(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
X = np.random.default_rng(0).random((300, 30)).astype(np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ae = npae.AE(hidden=(150,), latent_dim=40, epochs=3, random_state=0).fit(X)
import hashlib
print(len([w for w in caught if "fewer cores" in str(w.message)]), hashlib.sha256(ae.encode(X)).hexdigest())
"""


@needs_numba
def test_without_a_new_thread_the_callers_does_all_and_says_so():
    (warned, alone), (none, shared) = (
        _run(program, {"NPAE_BACKEND": "numba", "NUMBA_NUM_THREADS": "2"}).split()
        for program in (NO_THREADS, NO_THREADS.replace("threading.Thread.start = start", ""))
    )
    assert (warned, none) == ("1" if pool.threads > 1 else "0", "0")
    assert alone == shared


def _run(program, environment):
    environment = os.environ | environment | {"PYTHONPATH": str(Path(npae.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
