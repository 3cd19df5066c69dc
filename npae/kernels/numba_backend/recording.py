"""Recordings: the kernels of a step, noted once and replayed thousands of times without the Python in between.

Training runs the same kernels on the same arrays in every step, and prediction runs the same kernels on one block of
rows after the other. `recorded` notes the kernels of a step and their arguments. If two steps agree, it writes down
their jobs, and later calls replay these. `blocks.py` does the same for a step on one block of rows after the other.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.compile import CompiledLoop
from npae.kernels.numba_backend.parallel import END, JOBS, NOT_RECORDING, RECORD, replay
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
    """The kernels of one step, with their arguments. `arrays` are those that the step gets."""

    def __init__(self, arrays: Sequence[Array] = ()) -> None:
        self.arrays = arrays
        self.calls: list[Call] = []
        self.trace: list[Any] = []  # where each argument comes from
        self.made: dict[int, int] = {}  # the addresses of arrays that come with or from this step, in order
        self.recomputed: list[tuple[Array, Callable[[], Any]]] = []
        self.replayable = True  # False once the step does something that a replay would not repeat
        self.lasting: set[int] = set()  # the addresses of arrays that the step before has written as well
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
        self.made.setdefault(address(a), len(self.made))

    def origin(self, a: Any) -> Any:
        """What must be the same in every step: the number of a made array, another array's address, or a number."""
        if not isinstance(a, np.ndarray):
            return a
        first = address(a)
        return ("made", self.made[first]) if first in self.made else first

    def written(self) -> list[Array]:
        """The arrays that the kernels write."""
        return [a for c in self.calls for a, is_written in zip(c.arguments, c.loop.written, strict=True) if is_written]

    def rewrite(self, results: Sequence[Array]) -> None:
        """Put faster calls with the same results in the place of the recorded ones."""
        for rewrite in rewrites:
            self.calls = rewrite(self.calls, list(results))

    def jobs(self, other: Callable[[Array], Array] = lambda a: a) -> Array:
        """The jobs of all kernels in one array, written down without running them: what `replay` runs.

        other(a) is the array that takes the place of the array a.
        """
        words = np.empty(JOBS // 8 + len(self.calls) * KERNEL_BYTES // 8, np.intp)
        words[: JOBS // 8] = RECORD, pool.address, address(words) + JOBS
        for call in self.calls:
            arguments = (other(a) if isinstance(a, np.ndarray) else a for a in call.arguments)
            call.loop[call.dtype](address(words), *arguments)
        return words[: (words[END // 8] - address(words)) // 8]


class Recorder:
    """Records a step until two recordings agree. Then they are one, `agreed`, and `result` is what the step returned.

    It gives up if `cancel_recording` was called meanwhile, if unchanged() is False afterwards, or if no two of
    `ATTEMPTS` recordings agree: NumPy made an array in the step, such as a contiguous copy of an operand.
    """

    def __init__(self, step: Callable[..., Any], unchanged: Callable[[], bool]) -> None:
        self.step, self._unchanged = step, unchanged
        self.agreed: Recording | None = None
        self.result: Any = None
        self._previous: Recording | None = None
        self._attempts = ATTEMPTS

    def agreement(self) -> Recording | None:
        """What a replay can run in the place of the step: nothing within another recording, which needs the calls."""
        return None if _recording() is not None else self.agreed

    def call(self, *arrays: Array) -> Any:
        """step(*arrays), recorded if that is still of use."""
        if self._attempts == 0 or self.agreed is not None or _recording() is not None:
            return self.step(*arrays)
        new = Recording(arrays)
        try:
            _recorders.append(self)
            _current.reference = weakref.ref(new)
            self.result = self.step(*arrays)
        finally:
            _current.reference = None
            if self in _recorders:
                _recorders.remove(self)
        results = self.results()
        new.trace.append([new.origin(a) for a in results])
        usable = new.replayable and self._unchanged()
        if usable and self._previous is not None and self._previous.trace == new.trace:
            new.rewrite(results)
            new.lasting = {address(a) for a in new.written()} & {address(a) for a in self._previous.written()}
            self.agreed = new
        self._previous, self._attempts = (new, self._attempts - 1) if usable else (None, 0)
        return self.result

    def results(self) -> list[Array]:
        """The arrays that the step has returned."""
        results = self.result if isinstance(self.result, tuple) else (self.result,)
        return [a for a in results if isinstance(a, np.ndarray)]


def address(a: Array) -> int:
    """The address of the first number."""
    first: int = a.__array_interface__["data"][0]
    return first


class _Current(threading.local):
    """The recording that this Python thread makes, if any: a weak reference.

    A `Recorder` owns the recording and clears the reference. If an interrupt prevents that, the recording is freed all
    the same, and the reference is dead.
    """

    reference: Callable[[], Recording | None] | None = None


_current = _Current()
_recorders: list[Recorder] = []  # those at work, in any thread: while there is none, nobody needs to look further


def _recording() -> Recording | None:
    """The recording that this thread makes, if any."""
    return None if not _recorders or _current.reference is None else _current.reference()


def run(loop: CompiledLoop, dtype: Any, *arguments: Any, made: Array | None = None) -> None:
    """Run a loop with these arguments, and note it if this thread makes a recording.

    `made` is an array that the kernel has allocated for its result. Nobody else has seen it yet.
    """
    compiled = loop[dtype]  # before the pool starts, since a damaged cache is noticed here
    if not pool.started:
        pool.start()
    if _recorders and (recording := _recording()) is not None:
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


def recorded(step: Callable[[], Result], unchanged: Callable[[], bool] = lambda: True) -> Callable[[], Result]:
    """A function that calls step() and records it until two recordings agree, and from then on replays.

    step must do its work in kernels alone, on arrays that keep their memory, and return the same arrays each time: one,
    or a tuple. A change in place by NumPy is not noticed. If the recorder gives up, every call is step().
    """
    recorder = Recorder(step, unchanged)
    jobs, jobs_at = np.empty(0, np.intp), 0

    def record_or_replay() -> Any:
        nonlocal jobs, jobs_at
        agreed = recorder.agreement()
        if agreed is None:
            return recorder.call()
        if jobs_at == 0:
            jobs = agreed.jobs()
            jobs_at = address(jobs)
        if not pool.started:
            pool.start()
        for values, compute in agreed.recomputed:
            values[...] = compute()
        replay(jobs_at)
        return recorder.result

    return record_or_replay
