"""A pool of threads that run the tasks of one job at a time.

A job is the work of one kernel, divided into tasks. No bit of a result depends on the number of threads, or on which of
them runs which task. The caller posts a job in three words:

    TASKS     the tasks not yet taken, as first and last + 1, in the two halves of one word
    BODY      the address of the compiled function that runs one task
    CLOSURE   the address of its arguments

A thread takes a task by moving one end of TASKS with a compare-and-swap. The caller takes from the front and the
workers take from the back. So the same rows tend to go to the same core in each kernel, and may still be in its cache.
The caller waits only for tasks that a worker has taken: if no worker comes, it runs all tasks itself. It does not wait
for the pool either. While one Python thread uses the pool (BUSY is 1), other callers run their jobs alone. A caller
also runs a job alone if the job takes less time than sharing it costs.

Between jobs a worker spins, so that the next job starts at once. It spins while a caller has the pool, and then for
IDLE_SECONDS more. As many looks at the words as that takes are measured when the pool starts, since the instruction
`pause` takes ten times as long on one processor as on another. Then the worker sets its STATE to ASLEEP and sleeps on
its own lock. The caller that posts the next job sets STATE to AWAKE and releases the lock. A replay of many jobs takes
the pool once for all of them: no worker falls asleep in its middle, however long one task keeps the others waiting.

All of this is compiled code. Python raises KeyboardInterrupt only between two of its own instructions, so an interrupt
cannot leave BUSY set or a worker half awake. The pool replaces numba's threading layers, which fail in other ways: one
aborts the process when two Python threads enter it, another when the process forks.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
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

# Offsets into the pool's memory. Cores exchange whole cache lines, so the words that callers write and workers read are
# on another line than the word that workers write.
TASKS, BODY, CLOSURE = 0, 8, 16
DONE = LINE
BUSY, WORKERS, MAX_WORKERS, STOPPED, LOOKS = (2 * LINE + offset for offset in (0, 8, 16, 24, 32))
SLOTS, STATE, WAKE_LOCK = 3 * LINE, 0, 8  # a line for each worker: whether it sleeps, and on which lock
AWAKE, ASLEEP = 0, 1
HALF = 32  # TASKS = first << HALF | last + 1
IDLE_SECONDS = 1e-3  # from the end of the last call until workers sleep
JOB_OVERHEAD = 5000  # cycles to share a job: cache lines move between cores, and the caller waits for the last task


@inner
def _run_next_task(pool: int, from_front: bool) -> bool:
    """Take and run one task of the posted job; return False if there is none left."""
    tasks = load(pool + TASKS)
    first, last = tasks >> HALF, tasks & ((1 << HALF) - 1)
    if first >= last:
        return False
    if compare_and_swap(pool + TASKS, tasks, tasks + (1 << HALF) if from_front else tasks - 1):
        # The job cannot change from this swap until DONE counts the task, so read BODY and CLOSURE now and not earlier.
        call(load(pool + BODY), load(pool + CLOSURE), first if from_front else last - 1)
        add(pool + DONE, 1)
    return True


@inner
def _wake(pool: int, workers: int) -> None:
    """Wake the first `workers` workers that sleep. The thread that sets STATE to AWAKE releases the lock, once."""
    for i in range(workers):
        slot = pool + SLOTS + i * LINE
        if load(slot + STATE) == ASLEEP and compare_and_swap(slot + STATE, ASLEEP, AWAKE):
            release(load(slot + WAKE_LOCK))


@inner
def take_pool(pool: int) -> bool:
    """Take the pool for this caller, unless another one has it or it has no workers."""
    return load(pool + WORKERS) > 0 and compare_and_swap(pool + BUSY, 0, 1)


@inner
def give_back(pool: int) -> None:
    store(pool + BUSY, 0)


@inner
def run_tasks(pool: int, taken: bool, body: int, closure: int, tasks: int, cycles: int) -> None:
    """Run the tasks of a job, about `cycles` each: with the workers if the pool is taken and sharing pays."""
    if not taken or tasks < 2 or tasks * cycles < 2 * JOB_OVERHEAD:
        for task in range(tasks):
            call(body, closure, task)
        return
    store(pool + BODY, body)
    store(pool + CLOSURE, closure)
    store(pool + DONE, 0)
    exchange(pool + TASKS, tasks)  # from here on, workers see the job
    _wake(pool, min(load(pool + WORKERS), tasks - 1))
    while _run_next_task(pool, True):
        pass
    while load(pool + DONE) < tasks:
        pause()


@inner
def run_job(pool: int, body: int, closure: int, tasks: int, cycles: int) -> None:
    """Run a job by itself, and leave the pool to other callers afterwards."""
    mode = flush_denormals()
    taken = tasks > 1 and tasks * cycles >= 2 * JOB_OVERHEAD and take_pool(pool)
    run_tasks(pool, taken, body, closure, tasks, cycles)
    if taken:
        give_back(pool)
    restore_mode(mode)


@outer
def work(pool: int, looks: int) -> None:
    """The loop of a worker: take a slot, if one is free, and run tasks until the pool stops.

    With `looks`, it only looks that often for a task and for a caller at work, as an idle worker does, and returns.
    """
    for _ in range(looks):
        load(pool + TASKS)
        load(pool + BUSY)
        pause()
    if looks:
        return
    lock = new_lock()
    if lock == 0:
        return
    acquire(lock)  # the next `acquire` sleeps until a caller releases the lock
    worker = load(pool + WORKERS)
    while not (worker < load(pool + MAX_WORKERS) and compare_and_swap(pool + WORKERS, worker, worker + 1)):
        worker = load(pool + WORKERS)
        if worker >= load(pool + MAX_WORKERS):
            return
    slot = pool + SLOTS + worker * LINE
    store(slot + WAKE_LOCK, lock)
    flush_denormals()
    while load(pool + STOPPED) == 0:
        idle = 0
        while idle < load(pool + LOOKS) and load(pool + STOPPED) == 0:
            if _run_next_task(pool, False):
                idle = 0
            else:
                pause()
                idle = 0 if load(pool + BUSY) else idle + 1  # nobody sleeps while a caller is at work
        exchange(slot + STATE, ASLEEP)
        tasks = load(pool + TASKS)
        nothing_to_do = tasks >> HALF >= tasks & ((1 << HALF) - 1) and load(pool + STOPPED) == 0
        if nothing_to_do or not compare_and_swap(slot + STATE, ASLEEP, AWAKE):  # else it has woken itself
            acquire(lock)


@outer
def _stop(pool: int) -> None:
    exchange(pool + STOPPED, 1)
    _wake(pool, load(pool + WORKERS))
    store(pool + WORKERS, 0)


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadPool:
    """The worker threads, and the memory in which they find jobs.

    A process has one pool. A forked child has the memory, at the same address, but none of the threads.
    """

    def __init__(self) -> None:
        self.threads = max(1, min(numba.config.NUMBA_NUM_THREADS, usable_cores()))
        self._memory = np.zeros(LINE + SLOTS + self.threads * LINE, np.uint8)
        self.address = -(-self._memory.ctypes.data // LINE) * LINE
        self._words = self._memory[self.address - self._memory.ctypes.data :][: SLOTS + self.threads * LINE]
        self._words = self._words.view(np.int64)
        self.reset()
        atexit.register(self.stop)

    def reset(self) -> None:
        """Forget all workers, as a forked child must. The next kernel starts new ones."""
        self._words[:] = 0
        self._words[MAX_WORKERS // 8] = self.threads - 1
        self._workers: list[threading.Thread] = []
        self.started = self.threads == 1

    def start(self) -> None:
        """Start the workers. It may run again after an interrupt: a worker that finds no free slot ends."""
        self._words[LOOKS // 8] = max(1, int(IDLE_SECONDS / self._seconds_per_look()))
        try:
            for _ in range(self.threads - 1):
                worker = threading.Thread(target=work, args=(self.address, 0), name="npae", daemon=True)
                self._workers.append(worker)
                worker.start()
            self.started = True
        except RuntimeError as error:
            self.started = True  # before the warning, which may be an error: the next kernel works nevertheless
            warnings.warn(f"npae computes on fewer cores: {error}", RuntimeWarning, stacklevel=4)

    def _seconds_per_look(self, times: int = 1000) -> float:
        """The least of a few measurements: a processor's `pause` takes 10 to 140 cycles."""
        measured = []
        for _ in range(5):
            began = time.perf_counter()
            work(self.address, times)
            measured.append((time.perf_counter() - began) / times)
        return min(measured[1:])  # the first call compiles `work`, once, before the threads would at the same time

    def sleeping(self) -> int:
        """How many workers sleep."""
        return int((self._words[SLOTS // 8 :: LINE // 8] == ASLEEP).sum())

    def stop(self) -> None:
        """End the workers, before Python frees the code that they run."""
        _stop(self.address)
        for worker in self._workers:
            if worker.is_alive():
                worker.join(timeout=1.0)


pool = ThreadPool()


def threads() -> int:
    """How many threads a kernel runs on: NUMBA_NUM_THREADS, but at most the cores that the process may use."""
    return pool.threads
