"""The matrix product c = a b: how the tiles of `tile.py` cover c, and which tiles make a task.

The names are those of BLIS. A panel of c is NR columns wide, a tile is at most MR rows high. Both factors are packed:
copied, a part at a time, into memory where they lie in the order in which the tiles read them, so that no tile jumps
from one page of memory to the next. K is cut into equal parts of at most KC steps. Each task runs

    for each part of k
        pack the part of a: at most MC rows                     it stays in the second-level cache
        for each panel of the task
            pack the part of b: NR columns                      it stays in the first-level cache
            for each tile of the task     c_tile += a_tile b_panel

MC follows the second-level cache that the machine reports, NR and MR its vectors. KC is the same on every processor:
a part of b is 20 kB with vectors of 256 bits and 40 kB with 512 bits.

    a in columns, as in xᵀ g     copied: a tile would read a new page of memory at every step of k
    a in rows, as in x W         transposed in registers, one square of vectors at a time; read in place if a task has
                                 so few panels that the packed numbers would hardly be used
    b in rows, as in x W         copied; read in place if a task has few tiles
    b in columns, as in g Wᵀ     transposed

The last columns of b are always packed if they do not fill a tile.

Each sum runs over k in order. Each part of k is summed from zero and then added to the sum so far. So no bit of c
depends on the tasks or the caches, and a sum over a million rows, as in xᵀ g, keeps its digits. There is no loop over
NC columns as in BLIS, since every task packs what it needs of b for itself and nothing is kept for the next one.

Source: Van Zee and van de Geijn, 2015, "BLIS", ACM TOMS 41(3).
"""

from __future__ import annotations

import numpy as np

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import (
    CompiledLoop,
    inlined,
    inner,
    integer,
    integers,
    matrix,
    matrix_out,
    scalar,
    vector,
)
from npae.kernels.numba_backend.packing import pack_columns, pack_rows, pack_transposed
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.plans import (
    COPY,
    PACKED_A_BYTES,
    PACKED_B_BYTES,
    SLOT,
    TRANSPOSE,
    Plan,
    plan_product,
)
from npae.kernels.numba_backend.pool import JOB_OVERHEAD
from npae.kernels.numba_backend.recording import Call, cancel_recording, run
from npae.kernels.numba_backend.rectify import NONE, rectify_tile
from npae.kernels.numba_backend.rows import row_loop
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.tile import SHAPE, parts_of_k, tile
from npae.kernels.numba_backend.twins import twin


@inlined
def _pack_a(a: Array, packing: int, k: int, first: int, last: int, depth: int, row_offsets: Array, packed: int) -> None:
    """Pack `depth` columns of a, from column k on, for the tiles first to last - 1: each tile into a slot."""
    size = a.itemsize
    lanes, slot = SHAPE.bytes // size, SLOT * size
    source = a.ctypes.data + k * a.strides[1]
    for t in range(first, last):
        rows, target = row_offsets[t + 1] - row_offsets[t], packed + (t - first) * slot
        corner = source + row_offsets[t] * a.strides[0]
        if packing == COPY:
            pack_columns(a[0, 0], corner, a.strides[1], rows, depth, target, rows * size)
        else:
            for v in range((rows - 1) // lanes * lanes, -1, -lanes):  # what a store adds, the next one overwrites
                a_rows = corner + v * a.strides[0]
                pack_transposed(a[0, 0], a_rows, a.strides[0], rows - v, depth, target + v * size, rows * size)


@inlined
def _pack_b(b: Array, packing: int, k: int, j: int, columns: int, depth: int, packed: int) -> None:
    """Pack `depth` rows and `columns` columns of b, from b[k, j] on, into rows of NR numbers at address `packed`."""
    size = b.itemsize
    lanes, NR = SHAPE.bytes // size, SHAPE.bytes // size * SHAPE.vectors
    source, b_row, b_column = b.ctypes.data + k * b.strides[0] + j * b.strides[1], b.strides[0], b.strides[1]
    if packing == TRANSPOSE:
        for v in range(0, columns, lanes):
            pack_transposed(b[0, 0], source + v * b_column, b_column, columns - v, depth, packed + v * size, NR * size)
    else:
        pack_rows(b[0, 0], source, b_row, columns, depth, packed, NR * size)


@inner
def _product_task(
    a: Array, b: Array, start: Array, c: Array, plan: Array, epilogue: int, y: Array, slope: float, task: int
) -> None:
    """One task: `tiles` tiles of each of `panels` panels."""
    packing_a, packing_b, tiles, panels, row_offsets = plan[0], plan[1], plan[2], plan[3], plan[4:]
    K, N, size = a.shape[1], c.shape[1], c.itemsize
    NR = SHAPE.bytes // size * SHAPE.vectors
    packed_a = scratch(PACKED_A_BYTES, np.int8(0)).ctypes.data
    packed_b = scratch(PACKED_B_BYTES, np.int8(0)).ctypes.data
    all_panels = (N + NR - 1) // NR
    tasks_across = (all_panels + panels - 1) // panels
    first_tile, first_panel = task // tasks_across * tiles, task % tasks_across * panels
    last_tile = min(row_offsets.size - 1, first_tile + tiles)
    most = parts_of_k(K)
    for k in range(0, K, most):
        depth = min(most, K - k)
        if packing_a:
            _pack_a(a, packing_a, k, first_tile, last_tile, depth, row_offsets, packed_a)
        for panel in range(first_panel, min(all_panels, first_panel + panels)):
            j = panel * NR
            columns = min(NR, N - j)
            b_panel, b_row = b.ctypes.data + k * b.strides[0] + j * b.strides[1], b.strides[0]
            if packing_b or columns < NR:  # a tile reads NR columns of b, even if c has fewer
                _pack_b(b, packing_b, k, j, columns, depth, packed_b)
                b_panel, b_row = packed_b, NR * size
            for t in range(first_tile, last_tile):
                i = row_offsets[t]
                target = c.ctypes.data + i * c.strides[0] + j * size
                in_place = a.ctypes.data + i * a.strides[0] + k * size
                tile(
                    c[0, 0],
                    row_offsets[t + 1] - i,
                    1 if packing_a else 0,
                    packed_a + (t - first_tile) * SLOT * size if packing_a else in_place,
                    a.strides[0],
                    b_panel,
                    b_row,
                    target if k else start.ctypes.data + j * size,  # the first sum is added to `start`, one row
                    c.strides[0] if k else 0,
                    target,
                    c.strides[0],
                    columns,
                    depth,
                )
                if epilogue != NONE and k + depth == K:
                    y_tile = y.ctypes.data + i * y.strides[0] + j * size
                    rectify_tile(
                        epilogue, slope, row_offsets[t + 1] - i, columns, target, c.strides[0], y_tile, y.strides[0]
                    )


@CompiledLoop(matrix, matrix, vector, matrix_out, integers, integer, matrix, scalar)
def product_loop(
    context: int, a: Array, b: Array, start: Array, c: Array, plan: Array, epilogue: int, y: Array, slope: float
) -> None:
    """c = f(start + a b), for start, c and y in rows, a and b in rows or columns. `plan` is `TilePlan.numbers`."""
    NR = SHAPE.bytes // c.itemsize * SHAPE.vectors
    tasks_down = (plan.size - 5 + plan[2] - 1) // plan[2]
    tasks_across = ((c.shape[1] + NR - 1) // NR + plan[3] - 1) // plan[3]
    arguments = (a, b, start, c, plan, epilogue, y, slope)
    parallel_for(context, tasks_down * tasks_across, 2 * JOB_OVERHEAD, _product_task, arguments)


# --- the twins -----------------------------------------------------------------------------------------------


@twin
def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    plan = plan_product(a.shape, b.shape, a.strides, b.strides, a.dtype)
    if out is None:
        return _multiply(plan, a, b, None)
    shape = a.shape[0], b.shape[1]
    if out.shape != shape or out.dtype != a.dtype:
        raise ValueError(f"matmul expected out of shape {shape} and {a.dtype}, got {out.shape} and {out.dtype}.")
    if plan is not None and _writable_in_place(out, a, b):
        _run(plan, a, b, plan.zeros, out, None)
    else:
        product = _multiply(plan, a, b, None)
        cancel_recording()
        out[...] = product
    return out


@twin
def dense(x: Array, W: Array, b: Array) -> Array:
    plan = plan_product(x.shape, W.shape, x.strides, W.strides, x.dtype)
    if b.shape != W.shape[1:] or b.dtype != x.dtype:
        raise ValueError(f"dense expected b of shape {W.shape[1:]} in {x.dtype}, got {b.shape} in {b.dtype}.")
    return _multiply(plan, x, W, b if b.flags.c_contiguous and b.flags.aligned else b.copy())


def _multiply(plan: Plan | None, a: Array, b: Array, bias: Array | None) -> Array:
    """a b + bias, for a bias that is contiguous."""
    if plan is None:
        return _multiply_anyhow(a, b, bias)
    c = aligned(plan.shape, a.dtype)
    _run(plan, a, b, plan.zeros if bias is None else bias, c, c)
    return c


def _run(plan: Plan, a: Array, b: Array, start: Array, c: Array, made: Array | None) -> None:
    if plan.tiles is None:
        run(row_loop, a.dtype, a, b, start, c)
    else:
        run(product_loop, a.dtype, a, b, start, c, plan.tiles, NONE, c, 0.0, made=made)


def planned_for_one_thread(call: Call) -> Call:
    """The same product with the plan that is best if one thread runs all tasks."""
    a, b, start, c, tiles, *epilogue = call.arguments
    plan = plan_product(a.shape, b.shape, a.strides, b.strides, a.dtype, 1)
    return call._replace(arguments=(a, b, start, c, tiles if plan is None else plan.tiles, *epilogue))


def _multiply_anyhow(a: Array, b: Array, bias: Array | None) -> Array:
    """The same for operands that are empty, or neither in rows nor in columns."""
    if a.size and b.size:
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        return _multiply(plan_product(a.shape, b.shape, a.strides, b.strides, a.dtype), a, b, bias)
    cancel_recording()
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    return c if bias is None else c + bias


def _writable_in_place(c: Array, a: Array, b: Array) -> bool:
    """Whether the loop can write c directly: in rows, aligned, and apart from the memory of a and b."""
    in_rows = c.strides[1] == c.itemsize or c.shape[1] < 2
    writable = c.flags.writeable and c.flags.aligned
    return in_rows and writable and not np.may_share_memory(c, a) and not np.may_share_memory(c, b)
