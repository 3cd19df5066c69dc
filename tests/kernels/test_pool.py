"""The thread pool: any number of threads gives the same bits, callers may have threads, and a process may fork."""

import os
import threading
import time
from importlib.util import find_spec

import numpy as np
import pytest
from kernel_helpers import needs_numba, output_of, twins

import npae
from npae.kernels import recorded
from npae.layers import column_sums, matmul

pytestmark = needs_numba
LAYERS = ["default", "workqueue", *(["tbb"] if find_spec("tbb") else [])]


@pytest.fixture
def pool():
    from npae.kernels.numba_backend.pool import pool

    npae.use_backend("numba")
    return pool


def wait_until_asleep(pool):
    deadline = time.monotonic() + 10
    while pool.sleeping() < pool.threads - 1:
        assert time.monotonic() < deadline, "workers still spin after ten seconds"
        time.sleep(0.0001)


# --- the same result whoever computes it ---------------------------------------------------------------------

FIT = """
import os
CORES = int(os.environ["NUMBA_NUM_THREADS"])
os.sched_getaffinity = lambda process: set(range(CORES))  # whatever this machine has
import hashlib, numpy as np, npae
X = np.random.default_rng(0).random((200, 40)).astype(np.float32)
parts = []
for noise in (npae.GaussianNoise(0.5), npae.SaltAndPepper(0.2)):
    dae = npae.DAE(hidden=(150, 70), latent_dim=9, activation="elu", loss="bce", corruption=noise, epochs=2,
                   batch_size=64, random_state=3).fit(X, validation=X[:20])
    parts += [p.value.tobytes() for p in dae.network_.parameters()]
    parts += [dae.reconstruct(np.tile(X, (8, 1))).tobytes()]
    parts += [repr(dae.history_.loss + dae.history_.validation_loss).encode()]
assert npae.backend_name() == "numba"
print(npae.backend_info()["threads"], hashlib.sha256(b"".join(parts)).hexdigest())
"""


def test_one_seed_gives_the_same_bits_for_any_number_of_threads_and_any_threading_layer():
    outcomes = {}
    for threads, layer in [*((n, "default") for n in "127"), *(("2", layer) for layer in LAYERS[1:])]:
        environment = {"NUMBA_NUM_THREADS": threads, "NUMBA_THREADING_LAYER": layer, "NPAE_BACKEND": "numba"}
        seen, outcomes[threads, layer] = output_of(FIT, environment=environment).split()
        assert seen == threads
    assert len(set(outcomes.values())) == 1, outcomes


def test_every_task_is_run_exactly_once_by_whichever_thread(pool):
    """Many small jobs, with workers that fall asleep and wake in between."""
    relu = twins()["relu"]
    x = np.random.default_rng(0).standard_normal((40, 1000))
    expected = np.maximum(x, 0)
    for i in range(3000):
        assert np.array_equal(relu(x), expected)
        if i % 500 == 0:
            time.sleep(0.01)


def test_a_call_returns_only_after_the_last_task(pool):
    """Two tasks: a worker runs the second, whose last element is changed last."""
    sgd, scalars = twins()["sgd"], np.array([1.0, 0.0, 0.0])
    value, grad, v = np.zeros(2 * 4096), np.ones(2 * 4096), np.zeros(2 * 4096)
    for step in range(1, 5001):
        sgd(value, grad, v, scalars)
        assert value[-1] == -step
    assert (value == -5000).all()


def test_every_task_is_run_exactly_once_while_python_threads_compete_for_the_pool(pool):
    """Adding each element to itself in place shows a task that ran twice or not at all."""
    sgd, failures = twins()["sgd"], []

    def work(seed):
        value, grad = np.zeros((2, 50_000))
        grad[:] = seed
        for _ in range(400):
            sgd(value, grad, np.zeros_like(value), np.array([1.0, 0.0, 0.0]))
        if not (value == -400 * seed).all():
            failures.append(seed)

    callers = [threading.Thread(target=work, args=(i,)) for i in (1, 2, 3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert failures == []


# --- many callers, many processes ----------------------------------------------------------------------------

THREADS = """
import threading, numpy as np, npae
X = np.random.default_rng(0).random((300, 30)).astype(np.float32)
def work(seed, results):
    ae = npae.AE(hidden=(150,), latent_dim=40, epochs=3, random_state=0).fit(X)
    results[seed] = ae.reconstruct(np.tile(X, (5, 1)))
results = {}
threads = [threading.Thread(target=work, args=(i, results)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(results) == 8 and all(np.array_equal(r, results[0]) for r in results.values())
print("same")
"""

FORK = """
import os, numpy as np, npae
X = np.random.default_rng(0).random((1500, 30)).astype(np.float32)
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


@pytest.mark.parametrize("layer", LAYERS)
def test_eight_python_threads_fit_and_predict_at_once(layer):
    environment = {"NUMBA_THREADING_LAYER": layer, "NPAE_BACKEND": "numba", "NUMBA_NUM_THREADS": "4"}
    assert output_of(THREADS, environment=environment) == "same"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_forked_child_can_encode_and_fit(layer):
    environment = {"NUMBA_THREADING_LAYER": layer, "NPAE_BACKEND": "numba", "NUMBA_NUM_THREADS": "2"}
    assert output_of(FORK, environment=environment) == "0"


FORK_SHARES = """
import os, sys, threading, numpy as np, npae
from npae.layers import matmul
a = np.random.default_rng(0).random((600, 600)).astype(np.float32)
matmul(a, a)
child = os.fork()
if child == 0:
    matmul(a, a)
    os._exit(threading.active_count())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), npae.backend_info()["threads"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_workers_of_its_own():
    active, threads = output_of(FORK_SHARES, environment={"NPAE_BACKEND": "numba"}).split()
    assert active == threads


# --- sleep ---------------------------------------------------------------------------------------------------


def test_idle_workers_sleep(pool):
    twins()["relu"](np.ones((10, 10_000)))
    wait_until_asleep(pool)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1


@pytest.mark.skipif(os.cpu_count() == 1, reason="there are no workers")
@pytest.mark.parametrize("replayed", [True, False], ids=["in a replay", "between single calls"])
def test_no_worker_falls_asleep_within_a_replay(pool, replayed):
    """A worker gives up after one look here, and every second kernel is one long task, for the caller alone.

    Between single calls of the same kernels workers do fall asleep: so this test can see it.
    """
    from npae.kernels.numba_backend.pool import LOOKS

    x, tall, total = np.ones((64, 64), np.float32), np.zeros((4_000_000, 1), np.float32), np.empty(1, np.float32)

    def step():
        for _ in range(10):
            matmul(x, x)  # shared, so it wakes whoever sleeps
            column_sums(tall, total)
        return total

    replay, seen, over = recorded(step), [], threading.Event()
    for _ in range(2):
        replay()

    def watch():
        while not over.is_set():
            seen.append((time.perf_counter(), pool.sleeping()))
            time.sleep(1e-4)

    watcher, looks = threading.Thread(target=watch), pool._words[LOOKS // 8]
    try:
        pool._words[LOOKS // 8] = 1
        watcher.start()
        began = time.perf_counter()
        (replay if replayed else step)()
        ended = time.perf_counter()
    finally:
        pool._words[LOOKS // 8] = looks
        over.set()
        watcher.join()
    tenth = (ended - began) / 10
    asleep = [sleeping > 0 for moment, sleeping in seen if began + tenth < moment < ended - tenth / 10]
    assert len(asleep) > 5
    assert any(asleep) != replayed


def test_an_idle_worker_looks_for_a_millisecond_whatever_a_pause_takes(pool, monkeypatch):
    from npae.kernels.numba_backend.pool import IDLE_SECONDS, LOOKS, ThreadPool

    assert 0 < pool._seconds_per_look(100) < 1e-5
    for seconds in (1e-9, 1e-7, 1.0):
        monkeypatch.setattr(ThreadPool, "_seconds_per_look", lambda self, seconds=seconds: seconds)
        other = ThreadPool()
        other.threads = 1  # it starts no worker
        other.start()
        assert other._words[LOOKS // 8] == max(1, int(IDLE_SECONDS / seconds))


@pytest.mark.skipif(os.cpu_count() == 1, reason="there are no workers")
def test_small_jobs_are_not_shared(pool):
    """A small job wakes no sleeping worker, a large one does."""
    small, large = np.ones((1, 2 * 4096), np.float32), np.ones((1, 100 * 4096), np.float32)

    def wakes(x):
        twins()["relu"](x)
        awake = pool.sleeping() < pool.threads - 1
        wait_until_asleep(pool)
        return awake

    wakes(large)
    assert not any(wakes(small) for _ in range(100))
    assert any(wakes(large) for _ in range(100))


# --- the number of threads -----------------------------------------------------------------------------------

USED = """
import threading, numpy as np, npae
from npae.layers import matmul
a = np.random.default_rng(0).random((600, 600)).astype(np.float32)
matmul(a, a)
print(npae.backend_info()["threads"], threading.active_count())
"""


def test_there_are_never_more_threads_than_cores_that_the_process_may_use():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert output_of(USED, environment={"NUMBA_NUM_THREADS": "32"}).split() == [str(cores)] * 2
    assert output_of(USED, environment={"NUMBA_NUM_THREADS": "1"}).split() == ["1", "1"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to bind a process to a core")
def test_a_process_that_is_bound_to_one_core_has_one_thread():
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert output_of(bound + USED, environment={"NUMBA_NUM_THREADS": "8"}).split() == ["1", "1"]


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


def test_the_calling_thread_works_alone_if_no_other_can_start_and_a_warning_says_so(pool):
    environment = {"NPAE_BACKEND": "numba", "NUMBA_NUM_THREADS": "2"}
    programs = NO_THREADS, NO_THREADS.replace("threading.Thread.start = start", "")
    (warned, alone), (none, shared) = (output_of(p, environment=environment).split() for p in programs)
    assert (warned, none) == ("1" if pool.threads > 1 else "0", "0")
    assert alone == shared


# --- denormal numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [10, 100_000])  # on the calling thread alone, and on all threads
def test_moments_of_weights_without_gradients_decay_to_zero(dtype, size):
    """Denormal moments would stay for ever, and cost a hundred times as much."""
    import platform

    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("other processors compute with denormal numbers as fast")
    weights, grad, v = np.ones(size, dtype), np.zeros(size, dtype), np.ones(size, dtype)
    m = np.full(size, 100 * np.finfo(dtype).tiny)
    scalars = np.array([0.001, 0.9, 0.999, 1e-8, 0.1, 0.001, 0.0])
    for _ in range(100):
        assert not ((m != 0) & (m < np.finfo(dtype).tiny)).any()
        twins()["adam"](weights, grad, m, v, scalars)
    assert not m.any()


def test_the_calling_thread_still_computes_with_denormal_numbers_afterwards():
    tiny = np.full((10, 10_000), np.finfo(np.float32).tiny)
    for rows in (tiny[:1, :10], tiny):
        twins()["sigmoid"](rows)
        assert (tiny / 4 * 4 == tiny).all()


# --- caches --------------------------------------------------------------------------------------------------


def test_cache_sizes_are_read_by_level(tmp_path):
    from npae.kernels.numba_backend.caches import _size_of_level, second_level_cache

    for i, (level, size) in enumerate([("1", "48K"), ("1", "32K"), ("2", "2048K"), ("3", "107520K")]):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "level").write_text(f"{level}\n")
        (tmp_path / f"index{i}" / "size").write_text(f"{size}\n")
    assert _size_of_level(2, tmp_path) == 2 << 20
    assert _size_of_level(4, tmp_path) == 0
    assert _size_of_level(2, tmp_path / "missing") == 0
    (tmp_path / "index2" / "size").write_text("unknown")
    assert _size_of_level(2, tmp_path) == 0
    assert npae.backend_info()["l2_bytes"] == second_level_cache() >= 1 << 16
