"""Recordings: the kernels of a step, noted once and replayed thousands of times without the Python in between.

Training runs the same kernels on the same arrays in every step, and prediction runs the same kernels on one block of
rows after the other. `recorded` notes the kernels of a step and their arguments. If two steps agree, it writes down
their jobs, and later calls replay these. The arrays that a step gets, and its result, may lie elsewhere in each replay:
the addresses of their numbers are replaced in the recorded jobs.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npae.kernels.arrays import Array, written_to
from npae.kernels.numba_backend.compile import CompiledLoop
from npae.kernels.numba_backend.parallel import JOBS, NOT_RECORDING, replay
from npae.kernels.numba_backend.pool import pool

Result = TypeVar("Result")

ATTEMPTS = 3  # to record a step: in the first, a kernel may still allocate memory that later calls share
KERNEL_BYTES = 1 << 12  # room for the recorded jobs of one kernel

_not_recording: int = NOT_RECORDING.ctypes.data


class Call(NamedTuple):
    """A loop that a kernel has run, and `made`, the array that the kernel has allocated for its result, if any."""

    loop: CompiledLoop
    dtype: np.dtype[Any]
    arguments: tuple[Any, ...]
    made: Array | None


rewrites: list[Callable[[list[Call], list[Array]], list[Call]]] = []
"""Functions (calls, results) -> calls that put faster calls with the same results in the place of recorded ones."""


class Recording:
    """The kernels of one step with their arguments, and then their jobs."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.calls: list[Call] = []
        self.trace: list[Any] = []  # where each argument comes from
        self._made: dict[int, int] = {}  # the addresses of arrays that come with or from this step, in order
        self.recomputed: list[tuple[Array, Callable[[], Any]]] = []
        self.replayable = True  # False once the step does something that a replay would not repeat
        for a in arrays:
            self.add_made(a)

    def add(self, call: Call) -> None:
        """Note a kernel, and where its arguments come from."""
        self.calls.append(call)
        for a, is_written in zip(call.arguments, call.loop.written, strict=True):
            if is_written:
                self.add_made(a)
            self.trace.append(self.origin(a))

    def add_made(self, a: Array) -> None:
        """Note an array that this step gets or makes: every step has it, at another address."""
        self._made.setdefault(address(a), len(self._made))

    def origin(self, a: Any) -> Any:
        """What must be the same in every step: the number of a made array, another array's address, or a number."""
        if not isinstance(a, np.ndarray):
            return a
        return ("made", self._made[address(a)]) if address(a) in self._made else address(a)

    def write_jobs(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Write down the jobs of all kernels, without running them, and where in them which array's address is."""
        for rewrite in rewrites:
            self.calls = rewrite(self.calls, list(results))
        self._memory = np.empty(JOBS // 8 + len(self.calls) * KERNEL_BYTES // 8, np.intp)
        self._address: int = self._memory.ctypes.data
        self._memory[:2] = pool.address, self._address + JOBS
        for call in self.calls:
            call.loop[call.dtype](self._address, *call.arguments)
        self._layouts = [_layout(a) for a in arrays]
        self._output = next(iter(results), None)
        words = self._memory[: (self._memory[1] - self._address) // 8]
        self._places = []
        for a in (*arrays, *results[:1]):
            first = address(a)
            places = np.flatnonzero((words >= first) & (words < first + a.nbytes))
            self._places.append((places, words[places] - first))
        self._addresses = [address(a) for a in (*arrays, *results[:1])]

    def fits(self, arrays: Sequence[Array], out: Array | None) -> bool:
        """Whether a replay can read these arrays and write its first result to `out`."""
        if not arrays and out is None:
            return True
        moved = arrays if out is None else (*arrays, out)
        return (
            [_layout(a) for a in arrays] == self._layouts
            and (out is None or (self._output is not None and _layout(out) == _layout(self._output)))
            and all(a.flags.c_contiguous and a.flags.aligned for a in moved)
            and (out is None or out.flags.writeable)
            and not _overlap(moved)
        )

    def replay(self, arrays: Sequence[Array], out: Array | None) -> None:
        """Compute the arrays of `recomputed` again, in order, and then run all jobs on these arrays."""
        for values, compute in self.recomputed:
            values[...] = compute()
        outputs = [a for a in (self._output if out is None else out,) if a is not None]
        for i, a in enumerate((*arrays, *outputs)):
            first = address(a)
            if first != self._addresses[i]:
                self._addresses[i] = 0  # unknown, should an interrupt come here
                places, offsets = self._places[i]
                self._memory[places] = offsets + first
                self._addresses[i] = first
        replay(self._address)


def address(a: Array) -> int:
    """The address of the first number."""
    first: int = a.__array_interface__["data"][0]
    return first


def _overlap(arrays: Sequence[Array]) -> bool:
    return any(np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def _layout(a: Array) -> tuple[Any, ...]:
    return a.shape, a.dtype, a.strides


class _Current(threading.local):
    """The recording that this Python thread makes, if any: a weak reference.

    `recorded` owns the recording and clears the reference. If an interrupt prevents that, the recording is freed with
    its owner, and the reference is dead.
    """

    reference: Callable[[], Recording | None] | None = None


_current = _Current()


def _recording() -> Recording | None:
    """The recording that this thread makes, if any."""
    return None if _current.reference is None else _current.reference()


def run(loop: CompiledLoop, dtype: Any, *arguments: Any, made: Array | None = None) -> None:
    """Run a loop with these arguments, and note it if this thread makes a recording.

    `made` is an array that the kernel has allocated for its result. Nobody else has seen it yet.
    """
    compiled = loop[dtype]  # before the pool starts, since a damaged cache is noticed here
    if not pool.started:
        pool.start()
    if _current.reference is not None and (recording := _current.reference()) is not None:
        recording.add(Call(loop, dtype, arguments, made))
    compiled(_not_recording, *arguments)


def cancel_recording() -> None:
    """Make this thread's recording unusable, because Python now does work that a replay would not repeat."""
    recording = _recording()
    if recording is not None:
        recording.replayable = False


def recomputed(compute: Callable[[], Sequence[Any] | Array]) -> Array:
    """compute() as an array. If this thread makes a recording, each replay computes the array again first."""
    values = np.array(compute())
    recording = _recording()
    if recording is not None:
        recording.recomputed.append((values, compute))
        recording.add_made(values)
    return values


def recorded(step: Callable[..., Result], unchanged: Callable[[], bool] = lambda: True) -> Callable[..., Result]:
    """A function (*arrays, out=None) that calls step(*arrays) and records it until two recordings agree, then replays.

    step must do its work in kernels alone, on the arrays that it gets and on others that keep their memory, and return
    the same arrays each time: one, or a tuple. The first result is written to `out`, if given.
    Every call is step(*arrays) if `cancel_recording` was called meanwhile, if unchanged() is False afterwards, or if no
    two of `ATTEMPTS` recordings agree: NumPy made an array in the step, such as a contiguous copy of an operand. A
    change in place by NumPy is not noticed.
    """
    previous: Recording | None = None
    agreed: Recording | None = None
    attempts = ATTEMPTS
    result: Any

    def record_or_replay(*arrays: Array, out: Array | None = None) -> Any:
        nonlocal previous, agreed, attempts, result
        if agreed is not None and _recording() is None and agreed.fits(arrays, out):
            if not pool.started:
                pool.start()
            agreed.replay(arrays, out)
            return result if out is None else (out, *result[1:]) if isinstance(result, tuple) else out
        if attempts == 0 or agreed is not None or _recording() is not None:
            return written_to(out, step(*arrays))
        new = Recording(arrays)
        _current.reference = weakref.ref(new)
        try:
            result = step(*arrays)
        finally:
            _current.reference = None
        results = [a for a in (result if isinstance(result, tuple) else (result,)) if isinstance(a, np.ndarray)]
        new.trace.append([new.origin(a) for a in results])
        usable = new.replayable and unchanged() and not (arrays and _overlap((*arrays, *results[:1])))
        if usable and previous is not None and previous.trace == new.trace:
            new.write_jobs(arrays, results)
            agreed = new
        previous, attempts = (new, attempts - 1) if usable else (None, 0)
        return written_to(out, result)

    return record_or_replay
