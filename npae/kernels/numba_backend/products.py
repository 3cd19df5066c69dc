"""The matrix product: how the tiles of `tile` are laid over c, and which of them make a task.

c is cut into panels, one tile wide, and each panel into tiles (`cut`). The columns of b that belong to a panel
are read for every tile of it and stay in the cache meanwhile; so do the rows of a until the next panel. The sum
over k goes on for DEPTH steps at a time, so that both fit there.

A tile takes one number of a at a time, so a may lie in memory in any way: its transpose costs nothing. From b it
takes vectors. Before a panel is used, its part of b is packed into a little memory of the task's own, one row of the
panel after the other, each on lines of the cache of its own, unless it can be read in place as fast:

    in rows, as in x W        copied, if there are tiles enough to repay it and the rows begin in the middle of a
                              line, or all in the same few lines of the cache; and always the last columns, if
                              they do not fill a tile
    in columns, as in g Wᵀ    transposed in registers, a square of vectors at a time

If the rows or columns of a all fall into the same lines of the cache (`collide`), as is the case with 1024 columns of
float32, and there are panels enough to repay it, a is copied to where they do not.

Each sum runs over k in order, DEPTH of them at a time, each stretch summed on its own and then added to those before.
So no bit of c depends on how it is cut into tasks, and a sum over a million rows, as in xᵀ g, keeps its digits.
"""

from __future__ import annotations

import heapq
import itertools
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from npae.kernels.arrays import LINE, Array, aligned
from npae.kernels.numba_backend.compile import Kernel, inner, integer, integers, matrix, matrix_out, vector
from npae.kernels.numba_backend.copies import WAY, collide, spread
from npae.kernels.numba_backend.packing import pack_row, pack_square
from npae.kernels.numba_backend.parallel import cancel_recording, parallel_for, run
from npae.kernels.numba_backend.pool import PER_JOB, threads
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.tile import HEIGHTS, SHAPE, tile
from npae.kernels.numba_backend.twins import flat, twin

DEPTH = 256  # how many k at a time: a multiple of the lanes of every vector, since squares of these are packed
PANEL = DEPTH * SHAPE.bytes * SHAPE.vectors  # bytes of so much of b
BAND = 24  # tiles of a panel in one task, at most: their rows of a are to stay in the second-level cache
MANY = 64  # tasks, at most
FIRST_READ, PER_TASK = 20, 800  # cycles: for a row of b to be read first or packed; for a task
IN_PLACE, ROWS, COLUMNS = range(3)  # how the rows of b are come by
MANY_PANELS = 16  # as many as it takes to make a copy of all of a worth while
FEW = 4  # tiles of a panel: as many as it takes to make a copy of the panel worth while
WAITING = 0.1  # how much of a task's time the threads wait for the last of them, since cores are never equal


class Cut(NamedTuple):
    """How c is cut: the first row of each tile, and M; how many tiles and panels are one task; the number of tasks."""

    tops: Array
    tiles: int
    panels: int
    tasks: int


@lru_cache(maxsize=1024)
def cut(M: int, N: int, K: int, width: int) -> Cut:
    """The tiles for c (M, N), and of all the ways to make tasks of them the one that should be done first."""
    panels, most = -(-N // width), max(MANY, 4 * threads())
    acrosses = {-(-panels // d) for d in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)}
    best = Cut(np.cumsum([0, *_heights(M, HEIGHTS[0])]), BAND, panels, most)  # if all these are too many
    fastest = math.inf
    for tallest in HEIGHTS[:2]:
        heights = _heights(M, tallest)
        downs = {-(-len(heights) // d) for d in range(-(-len(heights) // BAND), len(heights) + 1)}
        for tiles, across in itertools.product(downs, acrosses):
            tasks = -(-len(heights) // tiles) * -(-panels // across)
            if tasks <= most:
                cycles = _cycles(heights, panels, K, tiles, across)
                if cycles < fastest:
                    best, fastest = Cut(np.cumsum([0, *heights]), tiles, across, tasks), cycles
    return best


def _cycles(heights: list[int], panels: int, K: int, tiles: int, across: int) -> float:
    """How long tasks of `tiles` by `across` will take, each going to the thread that is free first."""
    down = [sum(map(_steps, heights[i : i + tiles])) for i in range(0, len(heights), tiles)]
    wide = [min(across, panels - j) for j in range(0, panels, across)]
    tasks = [columns * (rows + FIRST_READ) * K + PER_TASK for rows in down for columns in wide]
    if len(tasks) == 1:
        return tasks[0]
    free = [0.0] * threads()
    for cycles in tasks:
        heapq.heapreplace(free, free[0] + cycles)
    return PER_JOB + max(free) + WAITING * max(tasks)


def _steps(height: int) -> int:
    """How many cycles a step of a tile takes: as many as its products, but sums wait for each other."""
    return SHAPE.vectors * max(height, HEIGHTS[0] // 2)


def _heights(M: int, tallest: int) -> list[int]:
    """M as a sum of tile heights: the tallest as often as they go, then what costs the fewest steps."""
    full = max(0, M - 2 * tallest) // tallest
    best: list[tuple[int, list[int]]] = [(0, [])]
    for m in range(1, M - full * tallest + 1):
        choices = [h for h in HEIGHTS if h <= min(m, tallest)]
        best.append(min((best[m - h][0] + _steps(h) + 1, [*best[m - h][1], h]) for h in choices))
    return [tallest] * full + sorted(best[-1][1], reverse=True)


# --- the product --------------------------------------------------------------------------------


@inner
def _pack(b: Array, how: int, k: int, j: int, columns: int, depth: int, target: int) -> None:
    """Bring `depth` rows and `columns` columns of b, from b[k, j] on, into rows of a tile's width at `target`."""
    size = b.itemsize
    lanes, width = SHAPE.bytes // size, SHAPE.bytes // size * SHAPE.vectors
    source, b_row, b_column = b.ctypes.data + k * b.strides[0] + j * b.strides[1], b.strides[0], b.strides[1]
    if how == COLUMNS:
        for i in range(0, depth, lanes):
            for v in range(0, width, lanes):
                corner = source + v * b_column + i * size
                pack_square(
                    b[0, 0], corner, b_column, columns - v, depth - i, target + (i * width + v) * size, width * size
                )
    else:
        for i in range(depth):
            pack_row(b[0, 0], source + i * b_row, columns, target + i * width * size)


@inner
def _product_task(
    a: Array, b: Array, pack: int, start: Array, c: Array, tops: Array, tiles: int, panels: int, task: int
) -> None:
    """One task: `tiles` tiles of each of `panels` panels."""
    K, N, size = a.shape[1], c.shape[1], c.itemsize
    width = SHAPE.bytes // size * SHAPE.vectors
    packed = scratch(PANEL, np.int8(0)).ctypes.data
    all_panels = (N + width - 1) // width
    across = (all_panels + panels - 1) // panels
    first_tile, first_panel = task // across * tiles, task % across * panels
    for k in range(0, K, DEPTH):
        depth = min(DEPTH, K - k)
        for panel in range(first_panel, min(all_panels, first_panel + panels)):
            j = panel * width
            columns = min(width, N - j)
            b_panel, b_row = b.ctypes.data + k * b.strides[0] + j * b.strides[1], b.strides[0]
            if pack or columns < width:  # a tile reads b to its full width
                _pack(b, pack, k, j, columns, depth, packed)
                b_panel, b_row = packed, width * size
            for t in range(first_tile, min(tops.size - 1, first_tile + tiles)):
                i = tops[t]
                target = c.ctypes.data + i * c.strides[0] + j * size
                tile(
                    c[0, 0],
                    tops[t + 1] - i,
                    a.ctypes.data + i * a.strides[0] + k * a.strides[1],
                    a.strides[0],
                    a.strides[1],
                    b_panel,
                    b_row,
                    target if k else start.ctypes.data + j * size,  # the first k are added to `start`, a row
                    c.strides[0] if k else 0,
                    target,
                    c.strides[0],
                    columns,
                    depth,
                )


@Kernel(matrix, matrix, integer, vector, matrix_out, integers, integer, integer)
def _product(
    context: int, a: Array, b: Array, in_columns: int, start: Array, c: Array, tops: Array, tiles: int, panels: int
) -> None:
    """c = start + a b, for start and c in rows, b in rows or columns."""
    width = SHAPE.bytes // c.itemsize * SHAPE.vectors
    down = (tops.size - 1 + tiles - 1) // tiles
    across = ((c.shape[1] + width - 1) // width + panels - 1) // panels
    pack = IN_PLACE
    if in_columns:
        pack = COLUMNS
    elif tiles >= FEW and (b.ctypes.data % LINE or b.strides[0] % LINE or b.strides[0] % (WAY // 4) == 0):
        pack = ROWS
    parallel_for(context, down * across, 2 * PER_JOB, _product_task, (a, b, pack, start, c, tops, tiles, panels))


def product(a: Array, b: Array, start: Array, c: Array) -> None:
    """c = start + a b, with `start` (N,) added to every row; c is in rows and shares no memory with the others.

    None of M, K, N may be 0: a tile takes at least one step. The caller has checked every shape and dtype.
    """
    (M, K), N = a.shape, c.shape[1]
    dtype = a.dtype
    size = dtype.itemsize
    in_columns = N > 1 and b.strides[1] != size
    if in_columns and b.strides[0] != size:
        cancel_recording()
        b = np.asfortranarray(b)
    width = SHAPE.bytes // size * SHAPE.vectors
    cut_as = cut(M, N, K, width)
    if MANY_PANELS * width <= N and (collide(a) or collide(a.T)):
        a = spread(a) if collide(a) else spread(a.T).T
    run(_product[dtype], a, b, in_columns, start, c, cut_as.tops, cut_as.tiles, cut_as.panels)


# --- the twins ---------------------------------------------------------------------------------


@twin
def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    return _multiply(a, b, None, out)


@twin
def dense(x: Array, W: Array, b: Array) -> Array:
    if b.shape != W.shape[1:]:
        raise ValueError(f"dense expected b of shape {W.shape[1:]}, got {b.shape}.")
    return _multiply(x, W, b, None)


def _multiply(a: Array, b: Array, bias: Array | None, out: Array | None) -> Array:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"matmul expected shapes (M, K) and (K, N), got {a.shape} and {b.shape}.")
    dtype, shape = a.dtype, (a.shape[0], b.shape[1])
    if out is not None and (out.shape != shape or out.dtype != dtype):
        raise ValueError(f"matmul expected out of shape {shape} and {dtype}, got {out.shape} and {out.dtype}.")
    c = out if out is not None and _writable_in_place(out, a, b) else aligned(shape, dtype)
    if c.size and a.size:
        product(a, b, _row_of_zeros(shape[1], dtype) if bias is None else flat(bias), c)
    else:
        cancel_recording()
        c[...] = 0 if bias is None else bias
    if out is None or out is c:
        return c
    cancel_recording()
    out[...] = c
    return out


def _writable_in_place(c: Array, a: Array, b: Array) -> bool:
    flags = c.flags
    in_rows = flags.c_contiguous or c.shape[1] < 2 or c.strides[1] == c.itemsize
    return in_rows and flags.writeable and not np.may_share_memory(c, a) and not np.may_share_memory(c, b)


_zeros: dict[Any, Array] = {}


def _row_of_zeros(n: int, dtype: Any) -> Array:
    row = _zeros.get(dtype)
    if row is None or row.size < n:
        row = _zeros[dtype] = np.zeros(n, dtype)
    return row
