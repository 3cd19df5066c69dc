"""Parallel loops, and recordings that replay a training step.

    parallel_for(context, tasks, cycles, function, arguments)        function(*arguments, task) for each task

Training runs the same kernels on the same arrays thousands of times. `recorded` writes down the jobs of a step, and
later calls replay them: one call, with no Python between the kernels. Each compiled loop receives the address of a
context, which says where to record its jobs:

    POOL    the address of the pool
    END     the address of the next job, or 0 if nothing is recorded
    ...     the recorded jobs

Outside of a recording, the context is `NOT_RECORDING`, a constant. In a recording, the context is the recording itself,
and the running call keeps it alive. So an interrupt, wherever it comes, leaves no address of freed memory behind.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Flags
from numba.extending import intrinsic

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.atomics import BODY_TYPE, WORD, load, store
from npae.kernels.numba_backend.compile import inner, outer
from npae.kernels.numba_backend.pool import pool, run_job

Result = TypeVar("Result")

ATTEMPTS = 3  # to record a step: in the first, a kernel may still allocate memory that later calls share

POOL, END, JOBS = 0, 8, 16  # offsets into a context
BODY, TASKS, CYCLES, SIZE, CLOSURE = 0, 8, 16, 24, 32  # offsets into a recorded job

NOT_RECORDING = np.array([pool.address, 0], np.intp)
_not_recording: int = NOT_RECORDING.ctypes.data


@inner
def _record_and_run(context: int, body: int, closure: int, size: int, tasks: int, cycles: int) -> None:
    """Write the job into the recording, if there is one, and run it."""
    end = load(context + END)
    if end:
        store(end + BODY, body)
        store(end + TASKS, tasks)
        store(end + CYCLES, cycles)
        store(end + SIZE, size)
        for offset in range(0, size, 8):
            store(end + CLOSURE + offset, load(closure + offset))
        store(context + END, end + CLOSURE + size)
    run_job(load(context + POOL), body, closure, tasks, cycles)


@outer
def _replay(recording: int) -> None:
    """Run all jobs of a recording again."""
    pool, job, end = load(recording + POOL), recording + JOBS, load(recording + END)
    while job < end:
        run_job(pool, load(job + BODY), job + CLOSURE, load(job + TASKS), load(job + CYCLES))
        job += CLOSURE + load(job + SIZE)


@intrinsic
def parallel_for(typing_context, context, tasks, cycles, function, arguments):
    """function(*arguments, task) for each task in range(tasks), on all threads; a task takes about `cycles` cycles.

    The emitted code writes the arguments side by side into memory, the closure. It adds a small function, the body,
    which loads them and calls `function`. `_record_and_run` receives the addresses of both.
    """
    one_task = types.void(*arguments.types, types.intp)
    one_job = types.void(*[types.intp] * 6)

    def emit(target, builder, signature, values):
        context, tasks, cycles, _, packed = values
        task_code = _compile_callee(target, builder, function.dispatcher, one_task)
        job_code = _compile_callee(target, builder, _record_and_run, one_job)

        items = cgutils.unpack_tuple(builder, packed)
        items = [_without_owner(target, builder, kind, item) for kind, item in zip(arguments.types, items, strict=True)]
        closure = cgutils.alloca_once_value(builder, target.make_tuple(builder, arguments, items))
        body = ir.Function(builder.module, BODY_TYPE, f"body.{task_code.fndesc.mangled_name}")
        body.linkage = "internal"
        inside_body = ir.IRBuilder(body.append_basic_block())
        memory = inside_body.bitcast(body.args[0], closure.type)
        items = cgutils.unpack_tuple(inside_body, inside_body.load(memory))
        task = [*items, body.args[1]]
        target.call_internal_no_propagate(inside_body, task_code.fndesc, one_task, task)
        inside_body.ret_void()

        size = WORD((target.get_abi_sizeof(packed.type) + 7) // 8 * 8)
        job = [context, builder.ptrtoint(body, WORD), builder.ptrtoint(closure, WORD), size, tasks, cycles]
        target.call_internal_no_propagate(builder, job_code.fndesc, one_job, job)
        return target.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, function, arguments), emit


def _compile_callee(target, builder, dispatcher, signature):
    """Compile a function that the current one calls, with the options of its own decorator."""
    flags = Flags()
    dispatcher.targetdescr.options.parse_as_flags(flags, dispatcher.targetoptions)
    return target.compile_subroutine(builder, dispatcher.py_func, signature, flags=flags)


def _without_owner(target, builder, kind, value):
    """An array without numba's reference count: the recording keeps the array alive."""
    if not isinstance(kind, types.Array):
        return value
    array = target.make_array(kind)(target, builder, value)
    array.meminfo = ir.Constant(array.meminfo.type, None)
    array.parent = ir.Constant(array.parent.type, None)
    return array._getvalue()


# --- recordings ----------------------------------------------------------------------------------------------


class Recording:
    """The jobs of one step, and every array that they use."""

    BYTES = 1 << 20  # of a recording: room for some thousand jobs
    KERNEL_BYTES = 1 << 12  # room for the jobs of one kernel

    def __init__(self) -> None:
        self._memory = np.empty(self.BYTES // 8, np.intp)
        self.address: int = self._memory.ctypes.data
        self._memory[:2] = pool.address, self.address + JOBS
        self.arguments: list[tuple[Any, ...]] = []  # keeps arrays alive as long as the jobs that point to them
        self.trace: list[Any] = []  # where each argument comes from
        self._made: dict[int, int] = {}  # the addresses of arrays that were made in this step, in order
        self.recomputed: list[tuple[Array, Callable[[], Any]]] = []
        self.replayable = True  # False once the step does something that a replay would not repeat

    def add(self, arguments: Sequence[Any], written: Sequence[bool]) -> None:
        """Note the arguments of a kernel, and which of them it writes."""
        self.arguments.append(tuple(arguments))
        for a, is_written in zip(arguments, written, strict=True):
            if is_written:
                self.add_made(a)
            self.trace.append(self.origin(a))

    def add_made(self, a: Array) -> None:
        """Note an array that this step makes: every step has it, at another address."""
        self._made.setdefault(_address(a), len(self._made))

    def origin(self, a: Any) -> Any:
        """What must be the same in every step: the number of a made array, another array's address, or a number."""
        if not isinstance(a, np.ndarray):
            return a
        return ("made", self._made[_address(a)]) if _address(a) in self._made else _address(a)

    def replay(self) -> None:
        """Compute the arrays of `recomputed` again, in order, and then run all jobs."""
        for values, compute in self.recomputed:
            values[...] = compute()
        _replay(self.address)

    @property
    def full(self) -> bool:
        """Whether another kernel may not fit."""
        return int(self._memory[1]) + self.KERNEL_BYTES > self.address + self.BYTES


def _address(a: Array) -> int:
    address: int = a.__array_interface__["data"][0]
    return address


class _Current(threading.local):
    """The recording that this Python thread makes, if any: a weak reference.

    `recorded` owns the recording and clears the reference. If an interrupt prevents that, the recording is freed with
    its owner, and the reference is dead.
    """

    reference: Callable[[], Recording | None] = staticmethod(lambda: None)


_current = _Current()


def run(loop: Any, *arguments: Any) -> None:
    """loop(context, *arguments), recorded if this thread makes a recording."""
    if not pool.started:
        pool.start()
    recording = _current.reference()
    if recording is None or not recording.replayable:
        loop(_not_recording, *arguments)
    elif recording.full:
        recording.replayable = False
        loop(_not_recording, *arguments)
    else:
        recording.add(arguments, loop.written)
        loop(recording.address, *arguments)


def cancel_recording() -> None:
    """Make this thread's recording unusable, because Python now does work that a replay would not repeat."""
    recording = _current.reference()
    if recording is not None:
        recording.replayable = False


def recomputed(compute: Callable[[], Sequence[Any] | Array]) -> Array:
    """compute() as an array. If this thread makes a recording, each replay computes the array again first."""
    values = np.array(compute())
    recording = _current.reference()
    if recording is not None:
        recording.recomputed.append((values, compute))
        recording.add_made(values)
    return values


def recorded(step: Callable[[], Result], unchanged: Callable[[], bool] = lambda: True) -> Callable[[], Result]:
    """A function that calls step() and records it until two recordings agree, and then replays the last one.

    step() must do its work in kernels alone, on arrays that keep their memory, and return the same arrays each time.
    Every call is step() if `cancel_recording` was called meanwhile, if unchanged() is False afterwards, or if no two of
    `ATTEMPTS` recordings agree: NumPy made an array in the step, such as a contiguous copy of an operand. A change in
    place by NumPy is not noticed.
    """
    previous: Recording | None = None
    agreed: Recording | None = None
    attempts = ATTEMPTS
    result: Result

    def record_or_replay() -> Result:
        nonlocal previous, agreed, attempts, result
        if agreed is not None and _current.reference() is None:
            if not pool.started:
                pool.start()
            agreed.replay()
            return result
        if attempts == 0 or _current.reference() is not None:
            return step()
        new = Recording()
        _current.reference = weakref.ref(new)
        try:
            result = step()
        finally:
            _current.reference = _Current.reference
        new.trace.append(new.origin(result))
        usable = new.replayable and unchanged()
        if usable and previous is not None and previous.trace == new.trace:
            agreed = new
        previous, attempts = (new, attempts - 1) if usable else (None, 0)
        return result

    return record_or_replay
