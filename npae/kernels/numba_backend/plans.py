"""Plans for products: which tiles cover c, which of them make a task, and which factors are packed.

A plan follows from shapes, strides and dtype alone, and is kept for the next product of the same kind. It is the one
that takes the fewest cycles by a simple model. The unit is one fused multiply-add of vectors, of which many cores begin
two in a cycle: a step of k takes one for each vector of the tile, and packing some more for each tile and panel. Each
task and each job begins with a fixed number.
"""

from __future__ import annotations

import heapq
import itertools
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from npae.kernels.arrays import LINE, Array
from npae.kernels.numba_backend.caches import second_level_cache
from npae.kernels.numba_backend.pool import JOB_OVERHEAD, pool
from npae.kernels.numba_backend.tile import HEIGHTS, KC, SHAPE

MR = HEIGHTS[0]  # rows of the highest tile; NR, its columns, depends on the dtype
SLOT = KC * MR + LINE // 4  # numbers of a packed tile, and room for what its last store writes beyond it
PACKED_A_BYTES, PACKED_B_BYTES = 352 << 10, KC * SHAPE.bytes * SHAPE.vectors  # on the stack of a task
MAX_TASKS = 64
PACK_A_CYCLES, PACK_B_CYCLES, TASK_CYCLES = 7, 8, 800  # for a tile or panel and a step of k; to begin a task
IN_PLACE, COPY, TRANSPOSE = range(3)  # how an operand is packed
MIN_PANELS_TO_PACK_A = 6
MIN_TILES_TO_PACK_B = 4
IMBALANCE = 0.1  # the part of a task's time for which threads wait for the last, since cores are not equally fast


class TilePlan(NamedTuple):
    """How a and b are packed, and how c is divided: the first row of each tile, M at the end; the size of a task."""

    packing_a: int
    packing_b: int
    row_offsets: Array
    tiles_per_task: int
    panels_per_task: int

    def numbers(self) -> Array:
        """The plan as one array for compiled code: the row offsets come last."""
        first = self.packing_a, self.packing_b, self.tiles_per_task, self.panels_per_task
        return np.array([*first, *self.row_offsets])


class Plan(NamedTuple):
    """All that a product needs to know besides the numbers: the shape of c, zeros for a product without a bias.

    Without tiles, a is a single row and b is in rows: `rows.py` multiplies them.
    """

    shape: tuple[int, int]
    zeros: Array
    tiles: Array | None  # the numbers of a TilePlan


@lru_cache(maxsize=4096)
def plan_product(
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    a_strides: tuple[int, ...],
    b_strides: tuple[int, ...],
    dtype: Any,
    threads: int = pool.threads,
) -> Plan | None:
    """The plan for operands of these shapes and strides; None if they are empty, or neither in rows nor in columns.

    Raises ValueError if the shapes do not fit.
    """
    if len(a_shape) != 2 or len(b_shape) != 2 or a_shape[1] != b_shape[0]:
        raise ValueError(f"matmul expected shapes (M, K) and (K, N), got {a_shape} and {b_shape}.")
    (M, K), N, size = a_shape, b_shape[1], dtype.itemsize
    a_in_rows, b_in_rows = a_strides[1] == size or K == 1, b_strides[1] == size or N == 1
    if 0 in (M, K, N) or not (a_in_rows or a_strides[0] == size) or not (b_in_rows or b_strides[0] == size):
        return None
    a_row_in_rows = M == 1 and a_in_rows and b_in_rows
    tiles = None if a_row_in_rows else plan_tiles(M, N, K, size, a_in_rows, b_in_rows, threads).numbers()
    return Plan((M, N), np.zeros(N, dtype), tiles)


def tiles_in_cache(size: int) -> int:
    """How many tiles of a packed a are a task's at most: MC rows, in five eighths of the second-level cache."""
    return max(1, min(PACKED_A_BYTES, second_level_cache() * 5 // 8) // (SLOT * size))


@lru_cache(maxsize=1024)
def plan_tiles(
    M: int, N: int, K: int, size: int, a_in_rows: bool, b_in_rows: bool, threads: int = pool.threads
) -> TilePlan:
    """The plan for c (M, N) in numbers of `size` bytes that takes the fewest cycles on so many threads (`_cycles`)."""
    NR, MC = SHAPE.bytes // size * SHAPE.vectors, tiles_in_cache(size)
    panels, most = -(-N // NR), max(MAX_TASKS, 4 * threads)
    widths = {-(-panels // d) for d in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)}
    best = _heights(M, MR), MC, panels  # if every other plan has too many tasks
    fewest = math.inf
    for highest in HEIGHTS[:2]:
        heights = _heights(M, highest)
        lengths = {-(-len(heights) // d) for d in range(-(-len(heights) // MC), len(heights) + 1)}
        for tiles, across in itertools.product(lengths, widths):
            if -(-len(heights) // tiles) * -(-panels // across) <= most:
                cycles = _cycles(heights, panels, K, tiles, across, threads)
                if cycles < fewest:
                    best, fewest = (heights, tiles, across), cycles
    heights, tiles, across = best
    packing_a = COPY if not a_in_rows else TRANSPOSE if across >= MIN_PANELS_TO_PACK_A else IN_PLACE
    packing_b = TRANSPOSE if not b_in_rows else COPY if tiles >= MIN_TILES_TO_PACK_B else IN_PLACE
    return TilePlan(packing_a, packing_b, np.cumsum([0, *heights]), tiles, across)


def _cycles(heights: list[int], panels: int, K: int, tiles: int, across: int, threads: int) -> float:
    """The time of all tasks of `tiles` by `across` panels, if each goes to the thread that is free first."""
    rows = [heights[i : i + tiles] for i in range(0, len(heights), tiles)]
    steps = [(sum(map(_step_cycles, row)) + PACK_B_CYCLES, PACK_A_CYCLES * len(row)) for row in rows]
    widths = [min(across, panels - j) for j in range(0, panels, across)]
    tasks = [(width * step + pack_a) * K + TASK_CYCLES for step, pack_a in steps for width in widths]
    if len(tasks) == 1:
        return tasks[0]
    busy_until = [0.0] * threads
    for cycles in tasks:
        heapq.heapreplace(busy_until, busy_until[0] + cycles)
    return 2 * JOB_OVERHEAD + max(busy_until) + IMBALANCE * max(tasks)  # two products begin in a cycle


def _step_cycles(height: int) -> int:
    """The cycles of one step of k: one for each product, but a low tile waits for its own sums."""
    return SHAPE.vectors * max(height, MR // 2)


def _heights(M: int, highest: int) -> list[int]:
    """M as a sum of tile heights: as many of the highest as fit, then those that cost the fewest cycles."""
    full = max(0, M - 2 * highest) // highest
    best: list[tuple[int, list[int]]] = [(0, [])]
    for m in range(1, M - full * highest + 1):
        choices = [h for h in HEIGHTS if h <= min(m, highest)]
        best.append(min((best[m - h][0] + _step_cycles(h) + 1, [*best[m - h][1], h]) for h in choices))
    return [highest] * full + sorted(best[-1][1], reverse=True)
