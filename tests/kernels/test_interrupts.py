"""Ctrl-C and other signals: after an interrupt anywhere, results are right, on all cores, and no memory is overwritten.

Python handles a signal between two of its instructions. So some tests raise KeyboardInterrupt at each instruction of
the kernels' Python in turn, and another sends real signals at random times, until five hundred came while npae worked
(five thousand under the profile "thorough").
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings
from kernel_helpers import needs_numba, run_python

import npae

pytestmark = [
    needs_numba,
    pytest.mark.skipif(os.name != "posix", reason="needs fork and POSIX signals"),
]
THOROUGH = settings.default.max_examples >= 1000

# All programs begin with this: a model, its right answers, and what must hold after an interrupt.
COMMON = """
import gc, json, os, random, resource, signal, sys, threading, time
import numpy as np, npae
from npae.layers import matmul

assert npae.backend_name() == "numba"
rng = np.random.default_rng(0)
X = rng.random((3000, 40)).astype(np.float32)
big = rng.random((700, 700)).astype(np.float32)
ARGUMENTS = dict(hidden=(96,), latent_dim=12, loss="bce", random_state=0, batch_size=64, epochs=2, verbose=False)
ae = npae.AE(**ARGUMENTS).fit(X[:640])
WEIGHTS = [p.value.copy() for p in ae.network_.parameters()]
Z, ONE = ae.encode(X), ae.reconstruct(X[:1])
PRODUCT = matmul(big, big)
CORES = npae.backend_info()["threads"]

def answers_are_right():
    '''Bit for bit. New arrays, which may lie where memory was freed, stay as they are while kernels run.'''
    canaries = [np.full(1 << 17, 0x5A5A5A5A5A5A5A5A) for _ in range(3)]
    assert np.array_equal(ae.reconstruct(X[:1]), ONE)
    assert np.array_equal(ae.encode(X), Z)
    assert all((canary == 0x5A5A5A5A5A5A5A5A).all() for canary in canaries)

def fits_are_right():
    weights = npae.AE(**ARGUMENTS).fit(X[:640]).network_.parameters()
    assert all(np.array_equal(p.value, w) for p, w in zip(weights, WEIGHTS))

def workers():
    return [t for t in threading.enumerate() if t.daemon and t is not threading.current_thread()]

def seconds(threads):
    return sum(time.clock_gettime(time.pthread_getcpuclockid(t.ident)) for t in threads)

def all_cores_are_used():
    '''A product is shared, sooner or later: other processes may use the cores.'''
    deadline = time.monotonic() + 20
    while CORES > 1:
        before = seconds(workers())
        began = time.thread_time()
        assert np.array_equal(matmul(big, big), PRODUCT)
        if seconds(workers()) - before > 0.3 * (time.thread_time() - began):
            break
        assert time.monotonic() < deadline, "no other thread takes part"
"""


def run(program, *arguments, timeout=600):
    return run_python(COMMON + program, *arguments, environment={"NPAE_BACKEND": "numba"}, timeout=timeout)


# --- at each instruction --------------------------------------------------------------------------------------

TRACED = """
class Raised(KeyboardInterrupt):
    pass

def raising_at(n):
    '''A trace function that raises at the n-th instruction in the kernels' Python.'''
    left = n
    def local(frame, event, argument):
        nonlocal left
        if event == "opcode":
            left -= 1
            if left < 0:
                raise Raised
        return local
    def trace(frame, event, argument):
        if f"npae{os.sep}kernels" in frame.f_code.co_filename:
            frame.f_trace_opcodes = True
            return local
    return trace

def interrupted(action, n):
    '''Run action() up to its n-th instruction; return whether it has that many.'''
    if sys.version_info >= (3, 12):  # the instructions of a function are traced from its second run on
        sys._getframe().f_trace_opcodes = True
        sys.settrace(raising_at(10**9))
        action()
    sys.settrace(raising_at(n))
    try:
        action()
    except Raised:
        return True
    finally:
        sys.settrace(None)
    return False
"""

EACH = (
    TRACED
    + """
def predict():
    return ae.encode(X[:1500]), ae.reconstruct(X[:1])

predict()  # fills the cache of tile plans
n = 0
while interrupted(predict, n):
    answers_are_right()
    if n % 50 == 0:
        all_cores_are_used()
        fits_are_right()
    n += int(sys.argv[1])
print(n)
"""
)


def test_an_interrupt_at_each_instruction_of_a_recorded_prediction_does_no_harm():
    stride = 1 if THOROUGH else 3
    done = run(EACH, stride)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    assert int(done.stdout) > 1000


ASLEEP = (
    TRACED
    + """
def product():
    return matmul(big, big)

n, product_of_all = 0, product()
while True:
    time.sleep(0.003)  # the workers fall asleep
    if not interrupted(product, n):
        break
    assert np.array_equal(product(), product_of_all)
    n += 1
all_cores_are_used()
print(n)
"""
)


def test_an_interrupt_at_each_instruction_while_workers_are_woken_loses_none_of_them():
    """A worker that nobody can wake takes part in no job, and keeps the process from ending."""
    done = run(ASLEEP, timeout=120)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    assert int(done.stdout) > 50


FIRST = (
    TRACED
    + """
n, ended = 0, True
while ended:
    child = os.fork()  # has no workers: its first kernel starts them
    if child == 0:
        try:
            ended = interrupted(lambda: matmul(big, big), n)
            answers_are_right()
            all_cores_are_used()
            assert len(workers()) <= 2 * (CORES - 1), workers()
            os._exit(7 if ended else 0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 7), (n, code)
    ended = code == 7
    n += 1
print(n)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_interrupt_at_each_instruction_while_threads_are_started_does_no_harm():
    done = run(FIRST)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    assert int(done.stdout) > 50


# --- a storm --------------------------------------------------------------------------------------------------

STORM = """
class Alarm(Exception):
    pass

heard = False

def hear(number, frame):
    global heard
    heard = True
    raise KeyboardInterrupt if number == signal.SIGINT else Alarm

signal.signal(signal.SIGINT, hear)
signal.signal(signal.SIGALRM, hear)
chance = random.Random(int(sys.argv[2]))
main = threading.main_thread().ident
ready, delay = threading.Semaphore(0), 0.0

def send():
    while True:
        ready.acquire()
        time.sleep(delay)
        signal.pthread_kill(main, signal.SIGINT)

threading.Thread(target=send, daemon=True).start()
SENDER = threading.enumerate()[-1]
ALL_DAEMONS = workers
def workers():
    return [t for t in ALL_DAEMONS() if t is not SENDER]

model = npae.AE(**ARGUMENTS)
ACTIONS = {"fit": lambda: model.fit(X[:640]), "encode": lambda: ae.encode(X), "one row": lambda: ae.reconstruct(X[:1])}
durations = {}
for name, action in ACTIONS.items():
    began = time.perf_counter()
    for _ in range(20):
        action()
    durations[name] = (time.perf_counter() - began) / 20

def strike(name, number):
    '''Run the action while one signal is on its way; return whether it came during the action.'''
    global heard, delay
    heard, delay = False, chance.uniform(0, 1.1 * durations[name])
    within = True
    try:
        if number == signal.SIGALRM:
            signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))
        else:
            ready.release()
        ACTIONS[name]()
        within = heard
        while not heard:
            time.sleep(1e-5)
    except (KeyboardInterrupt, Alarm):
        pass
    return within

counts, hits, i = {}, 0, 0
while hits < int(sys.argv[1]):  # a busy machine delivers many signals too late
    i += 1
    name = chance.choice(["fit", "encode", "encode", "one row"])
    number = chance.choice([signal.SIGINT, signal.SIGALRM])
    within = strike(name, number)
    key = f"{name} by {'Ctrl-C' if number == signal.SIGINT else 'alarm'}"
    sent, inside = counts.get(key, (0, 0))
    counts[key] = sent + 1, inside + within
    hits += within
    answers_are_right()
    if i % 20 == 0:
        all_cores_are_used()
        fits_are_right()
all_cores_are_used()
fits_are_right()
print(json.dumps({"counts": counts, "cpu": time.process_time(), "at": time.time()}), flush=True)
"""


@pytest.mark.parametrize("seed", range(2))
def test_a_storm_of_signals_does_no_harm(seed):
    """Each seed sends half of the signals. The process then ends within a second."""
    environment = os.environ | {"PYTHONPATH": str(Path(npae.__file__).parent.parent), "NPAE_BACKEND": "numba"}
    strikes = 2500 if THOROUGH else 250
    process = subprocess.Popen(
        [sys.executable, "-c", COMMON + STORM, str(strikes), str(seed)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    _, status, used = os.wait4(process.pid, 0)
    ended = time.time()
    errors = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"ended by {process.returncode}: {errors[-2000:]}"
    report = json.loads(line)
    sent, inside = map(sum, zip(*report["counts"].values(), strict=True))
    print(report["counts"], f"{ended - report['at']:.2f} s to the end")
    assert sent >= inside == strikes
    assert used.ru_utime + used.ru_stime - report["cpu"] < 1.0, "a core is busy after the program's end"
