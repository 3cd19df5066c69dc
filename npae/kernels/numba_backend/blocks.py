"""A step on one block of rows after the other, on all threads.

Rows do not depend on each other. So one thread takes a block through all kernels of the step, while the others take
other blocks. Nobody waits between two kernels, and what one kernel writes is still in the cache of the core that reads
it next.

The step is recorded on the first two blocks (see `recording.py`). Then each thread has a lane: a copy of the recorded
jobs, and of the arrays between the kernels. It takes the next block, writes into its jobs where this block of the
tables and of the results lies, runs them, and takes the next, until none is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npae.kernels.arrays import LINE, Array, aligned
from npae.kernels.numba_backend.parallel import END, NOT_RECORDING, replay_blocks
from npae.kernels.numba_backend.pool import pool
from npae.kernels.numba_backend.products import planned_for_one_thread, product_loop
from npae.kernels.numba_backend.recording import Recorder, Recording, address


def blockwise(
    step: Callable[..., tuple[Array, ...]], unchanged: Callable[[], bool] = lambda: True
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    """A function (tables, results) with results[k][i] = step(*(table[i] for table in tables))[k] for each block i.

    step must do its work in kernels alone, and carry nothing from one block to the next. If its recordings do not
    agree, or the arrays are not of the recorded kind, step is called for each block.
    """
    recorder = Recorder(step, unchanged)
    lanes: Lanes | None = None

    def compute(tables: Sequence[Array], results: Sequence[Array]) -> None:
        nonlocal lanes
        for block in range(len(tables[0])):
            agreed = recorder.agreement()
            if agreed is not None and lanes is None and independent(agreed, recorder.results()):
                lanes = Lanes(agreed, recorder.results())
            if agreed is not None and lanes is not None and lanes.fit(tables, results):
                lanes.run(tables, results, block)
                break
            for result, values in zip(results, recorder.call(*(table[block] for table in tables)), strict=True):
                result[block] = values

    return compute


def independent(recording: Recording, results: Sequence[Array]) -> bool:
    """Whether the step can run on several blocks at once: it makes its results anew, and reads no other block."""
    moved, extents = [*recording.arrays, *results], [_extent(a) for a in (*recording.arrays, *results)]
    arguments = [_extent(a) for call in recording.calls for a in call.arguments if isinstance(a, np.ndarray)]
    return (
        not recording.recomputed
        and not recording.lasting
        and all(a.flags.c_contiguous for a in moved)
        and all(address(r) in recording.made for r in results)
        and not any(_overlap(a, b) for i, a in enumerate(extents) for b in extents[:i])
        and not any(_overlap(a, m) and not _within(a, m) for a in arguments for m in extents)
    )


class Lanes:
    """The jobs of a recorded step, once for each thread. `results` are the arrays that the recorded step returned."""

    def __init__(self, recording: Recording, results: Sequence[Array]) -> None:
        recording.calls = [planned_for_one_thread(c) if c.loop is product_loop else c for c in recording.calls]
        self._recording, self._moved = recording, [*recording.arrays, *results]
        moved = [_extent(a) for a in self._moved]
        between = [_extent(a) for a in recording.written()]
        between = _merged([a for a in between if not any(_within(a, m) for m in moved)])
        jobs = recording.jobs()
        pointers = np.flatnonzero(jobs != recording.jobs(_elsewhere([*moved, *between])))[1:]  # the first is END

        def places(first: int, last: int) -> Array:
            """Where in the jobs an address of this extent is."""
            return pointers[(jobs[pointers] >= first) & (jobs[pointers] < last)]

        self._moves = [  # the number of the array that moves, a place in the jobs, an offset in the array
            (k, place, jobs[place] - first) for k, (first, last) in enumerate(moved) for place in places(first, last)
        ]
        self._jobs = aligned((pool.threads, -(-jobs.nbytes // LINE) * LINE // 8), np.intp)
        self._between: list[Array] = []
        for lane in self._jobs:
            lane[: len(jobs)] = jobs
            lane[END // 8] = address(lane) + jobs.nbytes
            for first, last in between:
                own = aligned((last - first,), np.uint8)
                lane[places(first, last)] += address(own) - first
                self._between.append(own)

    def fit(self, tables: Sequence[Array], results: Sequence[Array]) -> bool:
        """Whether the lanes can read these blocks and write these results."""
        arrays = [*tables, *results]
        return (
            all(_layout(a[0]) == _layout(m) and a.flags.aligned for a, m in zip(arrays, self._moved, strict=True))
            and all(r.flags.writeable and r.strides[0] >= r[0].nbytes for r in results)
            and not any(np.may_share_memory(r, a) for i, r in enumerate(results) for a in (*tables, *results[:i]))
        )

    def run(self, tables: Sequence[Array], results: Sequence[Array], block: int) -> None:
        """Compute the results of all blocks from number `block` on."""
        arrays = [*tables, *results]
        words = [(8 * place, address(arrays[k]) + offset, arrays[k].strides[0]) for k, place, offset in self._moves]
        moves = np.array(words, np.intp)
        next_block, lanes = np.array([block], np.intp), self._jobs
        if not pool.started:
            pool.start()
        replay_blocks(
            NOT_RECORDING.ctypes.data, address(lanes), lanes.strides[0], len(lanes), address(moves),
            address(moves) + moves.nbytes, address(next_block), len(tables[0]),
        )  # fmt: skip


# --- where arrays are ----------------------------------------------------------------------------------------

Extent = tuple[int, int]  # the addresses of the first byte and of the one after the last


def _extent(a: Array) -> Extent:
    first = address(a)
    if a.flags.c_contiguous:
        return first, first + a.nbytes
    steps = [(n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True)]
    return first + sum(s for s in steps if s < 0), first + sum(s for s in steps if s > 0) + a.itemsize


def _overlap(a: Extent, b: Extent) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])


def _within(a: Extent, b: Extent) -> bool:
    return b[0] <= a[0] and a[1] <= b[1]


def _merged(extents: list[Extent]) -> list[Extent]:
    """The extents, those that overlap as one."""
    merged: list[Extent] = []
    for first, last in sorted(extents):
        if merged and first < merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _elsewhere(extents: list[Extent]) -> Callable[[Array], Array]:
    """A function that gives, for an array in one of the extents, one of the same kind at another address."""
    memory = [np.empty(last - first, np.uint8) for first, last in extents]

    def other(a: Array) -> Array:
        extent = _extent(a)
        for (first, last), m in zip(extents, memory, strict=True):
            if _within(extent, (first, last)):
                return np.ndarray(a.shape, a.dtype, m, address(a) - first, a.strides)
        return a

    return other


def _layout(a: Array) -> tuple[Any, ...]:
    return a.shape, a.dtype, a.strides
