"""A team of threads that shares the work of one kernel at a time, and tapes that play kernels again.

A kernel's work is cut into tasks, so many of them and so large whatever the number of threads; which thread
does which changes no bit of the result. A job is posted by writing three words where all can see them:

    TASKS     those not taken yet, first and last + 1, in the two halves of one word
    BODY      the address of the compiled function that does one task
    CLOSURE   the address of its arguments

and a thread takes a task by moving an end of TASKS with a compare-and-swap. The caller takes from the front, the
others from the back, so that the same rows tend to fall to the same core from kernel to kernel, and are still
in its cache. The caller does not wait for a thread to come: if none does, it has done everything itself. Nor does
it wait for its turn: while one Python thread has the team, the others do their jobs alone.

Between jobs the threads spin for a fraction of a millisecond, which lets the next kernel begin at once; then they
sleep. All this is ordinary compiled code: no threading layer of numba's is involved, each of which has
its own way of failing (one ends the process when two Python threads enter it, another when it is forked).

Training runs the same kernels on the same arrays thousands of times. `recorded` notes the jobs of one such
step on a tape, and from then on plays the tape: one call, and nothing of Python between the kernels.
"""

from __future__ import annotations

import atexit
import platform
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Flags
from numba.extending import intrinsic

from npae.arrays import LINE
from npae.kernels.numba_backend.compile import inner, outer

Result = TypeVar("Result")

TASKS, BODY, CLOSURE, DONE = 0, 8, 16, LINE  # offsets into a team's memory: words on a line travel together
TEAM, TAPE = 0, 8  # offsets into a crew: the team if this thread has it, the tape if it is recording, else 0
HALF = 32  # TASKS = first << HALF | last + 1
SPINS = 10_000  # looks at TASKS, before a thread goes to sleep
X86 = platform.machine().lower() in ("x86_64", "amd64")
TINY_IS_ZERO = 0x8040  # bits of an x86 processor's control word: results and operands below the normal are zero
HEADER = 24  # bytes before the closure in a tape's entry: body, number of tasks, size of the closure

WORD, BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
BODY_TYPE = ir.FunctionType(ir.VoidType(), [BYTES, WORD])  # body(closure, task)

# --- words that several threads read and write ---------------------------------------------------


@intrinsic
def _load(typing_context, address):
    def emit(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], WORD.as_pointer()), "acquire", 8)

    return types.intp(types.intp), emit


@intrinsic
def _store(typing_context, address, value):
    def emit(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], builder.inttoptr(arguments[0], WORD.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def _add(typing_context, address, value):
    def emit(context, builder, signature, arguments):
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], WORD.as_pointer()), arguments[1], "acq_rel")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def _swap_if(typing_context, address, old, new):
    """Replace `old` by `new` and say True, or if something else stands there do nothing and say False."""

    def emit(context, builder, signature, arguments):
        place = builder.inttoptr(arguments[0], WORD.as_pointer())
        return builder.extract_value(builder.cmpxchg(place, *arguments[1:], "acq_rel", "acquire"), 1)

    return types.boolean(*[types.intp] * 3), emit


@intrinsic
def _pause(typing_context):
    """Tell the processor that this is a waiting loop, where there is an instruction for it."""

    def emit(context, builder, signature, arguments):
        if X86:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def _tiny_is_zero(typing_context):
    """From here on numbers too small to be normal (below 1e-38 in float32) are zero; returns the mode until now.

    They stand for nothing here, but processors of Intel's take a hundred times as long for each: Adam's means of a
    weight that has stopped to learn decay into them and stay there.
    """

    def emit(context, builder, signature, arguments):
        if not X86:
            return context.get_constant(types.intp, 0)
        word = cgutils.alloca_once(builder, ir.IntType(32))
        _control(builder, "llvm.x86.sse.stmxcsr", word)
        mode = builder.load(word)
        builder.store(builder.or_(mode, ir.IntType(32)(TINY_IS_ZERO)), word)
        _control(builder, "llvm.x86.sse.ldmxcsr", word)
        return builder.zext(mode, WORD)

    return types.intp(), emit


@intrinsic
def _back_to(typing_context, mode):
    """The mode that `_tiny_is_zero` returned."""

    def emit(context, builder, signature, arguments):
        if X86:
            word = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(builder.trunc(arguments[0], ir.IntType(32)), word)
            _control(builder, "llvm.x86.sse.ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _control(builder, name, word):
    kind = ir.FunctionType(ir.VoidType(), [BYTES])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [builder.bitcast(word, BYTES)])


@intrinsic
def _call(typing_context, body, closure, task):
    """body(closure, task), both given by address."""

    def emit(context, builder, signature, arguments):
        body = builder.inttoptr(arguments[0], BODY_TYPE.as_pointer())
        builder.call(body, [builder.inttoptr(arguments[1], BYTES), arguments[2]])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), emit


# --- jobs ---------------------------------------------------------------------------------------


@inner
def _take(team: int, front: bool) -> bool:
    """Do one task of the job at hand, if there is one left.

    BODY and CLOSURE are read after the swap: from then on until DONE counts this task, the job cannot change.
    """
    tasks = _load(team + TASKS)
    first, last = tasks >> HALF, tasks & ((1 << HALF) - 1)
    if first >= last:
        return False
    if _swap_if(team + TASKS, tasks, tasks + (1 << HALF) if front else tasks - 1):
        _call(_load(team + BODY), _load(team + CLOSURE), first if front else last - 1)
        _add(team + DONE, 1)
    return True


@outer
def _serve(team: int, spins: int) -> None:
    """What a thread of the team does: take tasks, until there has been none for a while."""
    mode = _tiny_is_zero()
    idle = 0
    while idle < spins:
        if _take(team, False):
            idle = 0
        else:
            _pause()
            idle += 1
    _back_to(mode)


@inner
def _perform(team: int, body: int, closure: int, tasks: int) -> None:
    """Do a job: all its tasks, together with the team if there is one."""
    mode = _tiny_is_zero()
    if team == 0 or tasks < 2:
        for task in range(tasks):
            _call(body, closure, task)
    else:
        _store(team + BODY, body)
        _store(team + CLOSURE, closure)
        _store(team + DONE, 0)
        _store(team + TASKS, tasks)  # from here on the others see it
        while _take(team, True):
            pass
        while _load(team + DONE) < tasks:
            _pause()
    _back_to(mode)


@inner
def _start(crew: int, body: int, closure: int, size: int, tasks: int) -> None:
    """Note the job on the tape, if there is one, and do it."""
    tape = _load(crew + TAPE)
    if tape:
        end = _load(tape)
        _store(end, body)
        _store(end + 8, tasks)
        _store(end + 16, size)
        for offset in range(0, size, 8):
            _store(end + HEADER + offset, _load(closure + offset))
        _store(tape, end + HEADER + size)
    _perform(_load(crew + TEAM), body, closure, tasks)


@outer
def _play(crew: int, tape: int) -> None:
    """Do all the jobs of a tape again."""
    entry, end = tape + 8, _load(tape)
    while entry < end:
        _perform(_load(crew + TEAM), _load(entry), entry + HEADER, _load(entry + 8))
        entry += HEADER + _load(entry + 16)


@intrinsic
def share(typing_context, crew, tasks, function, arguments):
    """function(*arguments, task) for every task in range(tasks), shared among the team.

    What it becomes: the arguments are laid side by side in memory, the closure; a small function is
    added that unpacks them and calls `function`; and `_start` gets the addresses of both.
    """
    one_task = types.void(*arguments.types, types.intp)
    one_job = types.void(*[types.intp] * 5)

    def emit(context, builder, signature, values):
        crew, tasks, _, packed = values
        task_code = _part_of(context, builder, function.dispatcher, one_task)
        start_code = _part_of(context, builder, _start, one_job)

        items = cgutils.unpack_tuple(builder, packed)
        items = [_unowned(context, builder, kind, item) for kind, item in zip(arguments.types, items, strict=True)]
        closure = cgutils.alloca_once_value(builder, context.make_tuple(builder, arguments, items))
        body = ir.Function(builder.module, BODY_TYPE, f"body.{task_code.fndesc.mangled_name}")
        body.linkage = "internal"
        inside_body = ir.IRBuilder(body.append_basic_block())
        memory = inside_body.bitcast(body.args[0], closure.type)
        items = cgutils.unpack_tuple(inside_body, inside_body.load(memory))
        task = [*items, body.args[1]]
        context.call_internal_no_propagate(inside_body, task_code.fndesc, one_task, task)
        inside_body.ret_void()

        size = WORD((context.get_abi_sizeof(packed.type) + 7) // 8 * 8)
        job = [crew, builder.ptrtoint(body, WORD), builder.ptrtoint(closure, WORD), size, tasks]
        context.call_internal_no_propagate(builder, start_code.fndesc, one_job, job)
        return context.get_dummy_value()

    return types.void(crew, tasks, function, arguments), emit


def _part_of(context, builder, dispatcher, signature):
    """Compile a function as a part of the one at hand, with the options of its own decorator."""
    flags = Flags()
    dispatcher.targetdescr.options.parse_as_flags(flags, dispatcher.targetoptions)
    return context.compile_subroutine(builder, dispatcher.py_func, signature, flags=flags)


def _unowned(context, builder, kind, value):
    """An array without the counter of those who use it: a tape outlives it, and Python keeps the array itself."""
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo = ir.Constant(array.meminfo.type, None)
    array.parent = ir.Constant(array.parent.type, None)
    return array._getvalue()


# --- the threads ----------------------------------------------------------------------------------


class Team:
    """The threads beside the caller's, and the memory where they find their jobs."""

    def __init__(self, threads: int) -> None:
        self._memory = np.zeros(4 * LINE, np.int8)
        self.address = -(-self._memory.ctypes.data // LINE) * LINE
        self.asleep: list[threading.Lock] = []
        self._stopped = False
        _serve(self.address, 0)  # compiled here, not by all the threads at once
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads - 1)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        bed = threading.Lock()
        bed.acquire()
        while not self._stopped:
            _serve(self.address, SPINS)
            self.asleep.append(bed)
            bed.acquire()

    def wake(self) -> None:
        while self.asleep:
            self.asleep.pop().release()

    def stop(self) -> None:
        self._stopped = True
        while any(thread.is_alive() for thread in self._threads):
            self.wake()


class Crew:
    """What a Python thread hands to its kernels: whether they have the team, and whether they are recorded."""

    def __init__(self) -> None:
        self.words = np.zeros(2, np.intp)  # TEAM, TAPE
        self.address: int = self.words.ctypes.data
        self.tape: Tape | None = None

    def start_recording(self, tape: Tape) -> None:
        """Note every job from now on."""
        self.tape, self.words[1] = tape, tape.address

    def stop_recording(self) -> None:
        """Note none any more; a tape that is stopped before its step is over is of no use."""
        if self.tape is not None:
            self.tape.whole = False
        self.tape, self.words[1] = None, 0


class _Crews(threading.local):
    def __init__(self) -> None:
        self.own = Crew()


_crews = _Crews()  # one for each Python thread
_turn = threading.Lock()  # whoever holds it has the team
_team: Team | None = None


def threads() -> int:
    """How many threads a kernel runs on: NUMBA_NUM_THREADS, or the number of cores this process may use."""
    return int(numba.config.NUMBA_NUM_THREADS)


def run(kernel: Callable[..., None], *arguments: Any, tasks: int = 2) -> None:
    """kernel(crew, *arguments): on all cores if there is more than one task and the team is free, else on this one."""
    global _team
    crew = _crews.own
    if crew.tape is not None:
        crew.tape.keep(arguments)
        if crew.tape.full or not crew.tape.whole:
            crew.stop_recording()
    if tasks < 2 or not _turn.acquire(False):
        kernel(crew.address, *arguments)
        return
    try:
        if _team is None:
            _team = Team(threads())
            atexit.register(_team.stop)
        if _team.asleep:
            _team.wake()
        crew.words[0] = _team.address
        kernel(crew.address, *arguments)
    finally:
        crew.words[0] = 0
        _turn.release()


def after_fork() -> None:
    """A forked child has none of the threads: it gets a new team when it first needs one."""
    global _crews, _team, _turn
    _crews, _team, _turn = _Crews(), None, threading.Lock()


# --- tapes ------------------------------------------------------------------------------------------


class Tape:
    """The jobs of one step, and every array they work on."""

    BYTES = 1 << 20  # some thousand jobs
    ROOM = 1 << 12  # for those of one kernel

    def __init__(self) -> None:
        self._memory = np.empty(self.BYTES // 8, np.intp)
        self.address: int = self._memory.ctypes.data
        self._memory[0] = self.address + 8  # where the next entry goes
        self._kept: list[Any] = []
        self.whole = True  # until something happens that a tape cannot repeat

    def keep(self, arguments: tuple[Any, ...]) -> None:
        """Arrays live as long as the tape that points to them."""
        self._kept.append(arguments)

    @property
    def full(self) -> bool:
        """Whether there may be no room for another kernel."""
        return int(self._memory[0]) + self.ROOM > self.address + self.BYTES


def recorded(step: Callable[[], Result]) -> Callable[[], Result]:
    """A function that does what `step` does, and from the second call on plays it from a tape.

    step() must do its work in kernels alone, on arrays that stay where they are, and return the same
    arrays each time. If a kernel had to copy an operand first, there is no tape: step() is called every time.
    """
    tape: Tape | None = None
    result: Result

    def play_or_record() -> Result:
        nonlocal tape, result
        if tape is not None and tape.whole:
            run(_play, tape.address)
            return result
        if tape is not None:
            return step()
        tape = Tape()
        crew = _crews.own
        crew.start_recording(tape)
        try:
            result = step()
            crew.tape = None  # it has been recorded to the end
        finally:
            crew.stop_recording()
        return result

    return play_or_record


def spoil() -> None:
    """Say that what happens now is not in the kernels, so that it could not be repeated from a tape."""
    tape = _crews.own.tape
    if tape is not None:
        tape.whole = False
