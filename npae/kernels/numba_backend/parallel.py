"""Loops whose steps are shared among the pool's threads, and recordings of them.

    parallel_for(context, tasks, cycles, function, arguments)        function(*arguments, task) for each task

Training runs the same kernels on the same arrays thousands of times. `recorded` notes the jobs of one such step and
from then on replays them: one call, and nothing of Python between the kernels. Where a job is to be noted, if
anywhere, is said by the context, an address that each kernel is handed. Its words:

    POOL    the address of the pool
    END     where the next job is noted, or 0: nothing is recorded
    ...     in a recording, the jobs

A kernel that is not recorded gets the address of `IDLE`, which never changes. A kernel that is recorded gets the
address of the recording, and the call keeps the recording alive. So no address outlives what it points to, wherever an
interrupt comes.
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
from npae.kernels.numba_backend.pool import perform, pool

Result = TypeVar("Result")

POOL, END, JOBS = 0, 8, 16  # offsets into a context
BODY, TASKS, CYCLES, SIZE, CLOSURE = 0, 8, 16, 24, 32  # offsets into a noted job

IDLE = np.array([pool.address, 0], np.intp)
_idle: int = IDLE.ctypes.data


@inner
def _start(context: int, body: int, closure: int, size: int, tasks: int, cycles: int) -> None:
    """Note the job, if it is to be recorded, and do it."""
    end = load(context + END)
    if end:
        store(end + BODY, body)
        store(end + TASKS, tasks)
        store(end + CYCLES, cycles)
        store(end + SIZE, size)
        for offset in range(0, size, 8):
            store(end + CLOSURE + offset, load(closure + offset))
        store(context + END, end + CLOSURE + size)
    perform(load(context + POOL), body, closure, tasks, cycles)


@outer
def _replay(recording: int) -> None:
    """Do all the jobs of a recording again."""
    pool, job, end = load(recording + POOL), recording + JOBS, load(recording + END)
    while job < end:
        perform(pool, load(job + BODY), job + CLOSURE, load(job + TASKS), load(job + CYCLES))
        job += CLOSURE + load(job + SIZE)


@intrinsic
def parallel_for(typing_context, context, tasks, cycles, function, arguments):
    """function(*arguments, task) for every task in range(tasks), shared among the pool; a task takes about `cycles`.

    What it becomes: the arguments are laid side by side in memory, the closure; a small function is
    added that unpacks them and calls `function`; and `_start` gets the addresses of both.
    """
    one_task = types.void(*arguments.types, types.intp)
    one_job = types.void(*[types.intp] * 6)

    def emit(target, builder, signature, values):
        context, tasks, cycles, _, packed = values
        task_code = _part_of(target, builder, function.dispatcher, one_task)
        start_code = _part_of(target, builder, _start, one_job)

        items = cgutils.unpack_tuple(builder, packed)
        items = [_unowned(target, builder, kind, item) for kind, item in zip(arguments.types, items, strict=True)]
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
        target.call_internal_no_propagate(builder, start_code.fndesc, one_job, job)
        return target.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, function, arguments), emit


def _part_of(target, builder, dispatcher, signature):
    """Compile a function as a part of the one at hand, with the options of its own decorator."""
    flags = Flags()
    dispatcher.targetdescr.options.parse_as_flags(flags, dispatcher.targetoptions)
    return target.compile_subroutine(builder, dispatcher.py_func, signature, flags=flags)


def _unowned(target, builder, kind, value):
    """An array without the counter of those who use it: a recording keeps the array itself."""
    if not isinstance(kind, types.Array):
        return value
    array = target.make_array(kind)(target, builder, value)
    array.meminfo = ir.Constant(array.meminfo.type, None)
    array.parent = ir.Constant(array.parent.type, None)
    return array._getvalue()


# --- recordings -------------------------------------------------------------------------------------------


class Recording:
    """The jobs of one step, and every array they work on."""

    BYTES = 1 << 20  # some thousand jobs
    ROOM = 1 << 12  # for those of one kernel

    def __init__(self) -> None:
        self._memory = np.empty(self.BYTES // 8, np.intp)
        self.address: int = self._memory.ctypes.data
        self._memory[:2] = pool.address, self.address + JOBS
        self._kept: list[Any] = []
        self._computed: list[tuple[Array, Callable[[], Any]]] = []
        self.replayable = True  # until something happens that cannot be repeated from it

    def keep(self, arguments: tuple[Any, ...]) -> None:
        """Arrays live as long as the recording that points to them."""
        self._kept.append(arguments)

    def recompute(self) -> None:
        """Compute the numbers of the next replay (see `recomputed`)."""
        for values, compute in self._computed:
            values[...] = compute()

    def keep_computed(self, values: Array, compute: Callable[[], Any]) -> None:
        self._computed.append((values, compute))

    @property
    def full(self) -> bool:
        """Whether there may be no room for another kernel."""
        return int(self._memory[1]) + self.ROOM > self.address + self.BYTES


class _Current(threading.local):
    """The recording that this Python thread is making, if any.

    `recorded` owns it, and clears this at its end. Should an interrupt keep it from that, the recording dies with it.
    """

    reference: Callable[[], Recording | None] = staticmethod(lambda: None)


_current = _Current()


def run(kernel: Callable[..., None], *arguments: Any) -> None:
    """kernel(context, *arguments), recorded if this thread is making a recording."""
    if not pool.staffed:
        pool.staff()
    recording = _current.reference()
    if recording is None or not recording.replayable:
        kernel(_idle, *arguments)
    elif recording.full:
        recording.replayable = False
        kernel(_idle, *arguments)
    else:
        recording.keep(arguments)
        kernel(recording.address, *arguments)


def cancel_recording() -> None:
    """Say that what happens now is not in the kernels, so that a replay could not repeat it."""
    recording = _current.reference()
    if recording is not None:
        recording.replayable = False


def recomputed(compute: Callable[[], Sequence[Any] | Array]) -> Array:
    """compute() as an array; if this thread is making a recording, its replays compute the array again first."""
    values = np.array(compute())
    recording = _current.reference()
    if recording is not None:
        recording.keep_computed(values, compute)
    return values


def recorded(step: Callable[[], Result], unchanged: Callable[[], bool] = lambda: True) -> Callable[[], Result]:
    """A function that does what `step` does, and from the second call on replays it.

    step() must do its work in kernels alone, on arrays that stay where they are, and return the same arrays each time.
    If a kernel had to copy an operand first, or `unchanged` denies afterwards that all kernels were those of this
    backend, the recording is not used: step() is called every time.
    """
    recording: Recording | None = None
    result: Result

    def record_or_replay() -> Result:
        nonlocal recording, result
        if recording is None and _current.reference() is None:
            fresh = Recording()
            _current.reference = weakref.ref(fresh)
            try:
                result = step()
            finally:
                _current.reference = _Current.reference
            fresh.replayable = fresh.replayable and unchanged()
            recording = fresh
            return result
        if recording is None or not recording.replayable or _current.reference() is not None:
            return step()
        if not pool.staffed:
            pool.staff()
        recording.recompute()
        _replay(recording.address)
        return result

    return record_or_replay
