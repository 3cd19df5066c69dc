"""A pool of threads that share the work of one kernel at a time.

A kernel's work is a job, cut into tasks. Task count and size do not depend on the number of threads, and neither does
any bit of the result, whichever thread does which task. The caller posts a job by writing three words:

    TASKS     those not taken yet, first and last + 1, in the two halves of one word
    BODY      the address of the compiled function that does one task
    CLOSURE   the address of its arguments

A thread takes a task by moving an end of TASKS with a compare-and-swap. The caller takes from the front, its helpers
from the back, so that the same rows tend to fall to the same core from kernel to kernel, and are still in its cache.
The caller waits only for tasks that a helper has taken: if no helper comes, it does all of them itself. Nor does it
wait for its turn: while one Python thread has the pool (the word TURN is 1), the others do their jobs alone. A job that
takes less time than sharing it costs is done alone as well.

Between jobs a helper spins for a fraction of a millisecond, so that the next job begins at once. Then it sets its
STATE to ASLEEP and sleeps at a lock of its own. The caller that posts the next job sets it back and opens the lock.

All of this is compiled code. Python raises KeyboardInterrupt between two of its instructions, and here it has none: no
interrupt leaves a turn taken or a helper half awake. No threading layer of numba's is involved. Each of those has its
own way of failing: one ends the process when two Python threads enter it, another when the process is forked.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings

import numba
import numpy as np

from npae.kernels.arrays import LINE
from npae.kernels.numba_backend.atomics import (
    acquire,
    add,
    call,
    compare_and_swap,
    exchange,
    flush_denormals,
    load,
    new_lock,
    pause,
    release,
    restore_mode,
    store,
)
from npae.kernels.numba_backend.compile import inner, outer

# Offsets into the pool's memory. Words on a line travel together between cores: what callers write and helpers read is
# apart from what helpers write.
TASKS, BODY, CLOSURE = 0, 8, 16
DONE = LINE
TURN, HELPERS, WANTED, STOPPED = 2 * LINE, 2 * LINE + 8, 2 * LINE + 16, 2 * LINE + 24
PLACES, STATE, LOCK = 3 * LINE, 0, 8  # a line for each helper: whether it is ASLEEP, and where
AWAKE, ASLEEP = 0, 1
HALF = 32  # TASKS = first << HALF | last + 1
SPINS = 10_000  # looks at TASKS, before a helper goes to sleep
PER_JOB = 5000  # cycles: what sharing a job costs, in lines that move between cores and in waiting for the last task


@inner
def _take(pool: int, front: bool) -> bool:
    """Do one task of the job at hand, if there is one left.

    BODY and CLOSURE are read after the swap: from then on until DONE counts this task, the job cannot change.
    """
    tasks = load(pool + TASKS)
    first, last = tasks >> HALF, tasks & ((1 << HALF) - 1)
    if first >= last:
        return False
    if compare_and_swap(pool + TASKS, tasks, tasks + (1 << HALF) if front else tasks - 1):
        call(load(pool + BODY), load(pool + CLOSURE), first if front else last - 1)
        add(pool + DONE, 1)
    return True


@inner
def _wake(pool: int, helpers: int) -> None:
    """Wake those of the first `helpers` that sleep. Whoever sets a STATE back to AWAKE opens its lock, once."""
    for i in range(helpers):
        place = pool + PLACES + i * LINE
        if load(place + STATE) == ASLEEP and compare_and_swap(place + STATE, ASLEEP, AWAKE):
            release(load(place + LOCK))


@inner
def perform(pool: int, body: int, closure: int, tasks: int, cycles: int) -> None:
    """Do a job, of which a task takes about so many cycles: with helpers if that pays and it is this thread's turn."""
    mode = flush_denormals()
    helpers = min(load(pool + HELPERS), tasks - 1)
    if helpers < 1 or tasks * cycles < 2 * PER_JOB or not compare_and_swap(pool + TURN, 0, 1):
        for task in range(tasks):
            call(body, closure, task)
    else:
        store(pool + BODY, body)
        store(pool + CLOSURE, closure)
        store(pool + DONE, 0)
        exchange(pool + TASKS, tasks)  # from here on helpers see it
        _wake(pool, helpers)
        while _take(pool, True):
            pass
        while load(pool + DONE) < tasks:
            pause()
        store(pool + TURN, 0)
    restore_mode(mode)


@outer
def serve(pool: int) -> None:
    """What a helper does: take a place, if one is free, and do tasks until the pool is stopped."""
    if pool == 0:
        return
    lock = new_lock()
    if lock == 0:
        return
    acquire(lock)  # closed, until somebody wakes this thread
    helper = load(pool + HELPERS)
    while not (helper < load(pool + WANTED) and compare_and_swap(pool + HELPERS, helper, helper + 1)):
        helper = load(pool + HELPERS)
        if helper >= load(pool + WANTED):
            return
    place = pool + PLACES + helper * LINE
    store(place + LOCK, lock)
    flush_denormals()
    while load(pool + STOPPED) == 0:
        idle = 0
        while idle < SPINS:
            if _take(pool, False):
                idle = 0
            else:
                pause()
                idle += 1
        exchange(place + STATE, ASLEEP)
        tasks = load(pool + TASKS)
        nothing_to_do = tasks >> HALF >= tasks & ((1 << HALF) - 1) and load(pool + STOPPED) == 0
        if nothing_to_do or not compare_and_swap(place + STATE, ASLEEP, AWAKE):  # else it has woken itself
            acquire(lock)


@outer
def _stop(pool: int) -> None:
    exchange(pool + STOPPED, 1)
    _wake(pool, load(pool + HELPERS))
    store(pool + HELPERS, 0)


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadPool:
    """The helpers beside the calling thread, and the memory where they find their jobs.

    There is one pool in a process. Its memory stays where it is, also in a forked child, which has none of the threads.
    """

    def __init__(self) -> None:
        self.threads = max(1, min(numba.config.NUMBA_NUM_THREADS, usable_cores()))
        self._memory = np.zeros(LINE + PLACES + self.threads * LINE, np.uint8)
        self.address = -(-self._memory.ctypes.data // LINE) * LINE
        self._words = self._memory[self.address - self._memory.ctypes.data :][: PLACES + self.threads * LINE]
        self._words = self._words.view(np.int64)
        self.reset()
        atexit.register(self.stop)

    def reset(self) -> None:
        """Forget all helpers, as a forked child must: new ones come when the next kernel runs."""
        self._words[:] = 0
        self._words[WANTED // 8] = self.threads - 1
        self._helpers: list[threading.Thread] = []
        self.staffed = self.threads == 1

    def staff(self) -> None:
        """Start the helpers. If an interrupt ends this halfway, it may be done again: who finds no place free ends."""
        serve(0)  # compiled here, not by all of them at once
        try:
            for _ in range(self.threads - 1):
                helper = threading.Thread(target=serve, args=(self.address,), name="npae", daemon=True)
                self._helpers.append(helper)
                helper.start()
            self.staffed = True
        except RuntimeError as error:
            self.staffed = True  # first: where warnings are errors, the next kernel works all the same
            warnings.warn(f"npae computes on fewer cores: {error}", RuntimeWarning, stacklevel=4)

    def asleep(self) -> int:
        """How many helpers sleep."""
        return int((self._words[PLACES // 8 :: LINE // 8] == ASLEEP).sum())

    def stop(self) -> None:
        """End the helpers, before the code that they run is taken apart."""
        _stop(self.address)
        for helper in self._helpers:
            if helper.is_alive():
                helper.join(timeout=1.0)


pool = ThreadPool()


def threads() -> int:
    """How many threads a kernel runs on: NUMBA_NUM_THREADS, but never more than the process has cores."""
    return pool.threads
