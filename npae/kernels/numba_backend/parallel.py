"""Parallel loops, whose jobs are run, or recorded and replayed.

    parallel_for(context, tasks, cycles, function, arguments)        function(*arguments, task) for each task

Each compiled loop receives the address of a context, which says where its jobs go:

    JOB     the address of the function that gets each job, `run_now` or `record`
    POOL    the address of the pool that runs them
    END     for `record`: where to write the next job
    ...     the recorded jobs

A loop calls the function at this address, so the pool is compiled once and not again in each loop.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import Flags
from numba.extending import intrinsic

from npae.kernels.numba_backend.atomics import BODY_TYPE, WORD, add, flush_denormals, load, restore_mode, store
from npae.kernels.numba_backend.compile import address_in_c, inner, outer
from npae.kernels.numba_backend.pool import JOB_OVERHEAD, give_back, pool, run_job, run_tasks, take_pool

JOB, POOL, END, JOBS = 0, 8, 16, 24  # offsets into a context
BODY, TASKS, CYCLES, SIZE, CLOSURE = 0, 8, 16, 24, 32  # offsets into a recorded job
PLACE, FIRST, STRIDE, MOVE = 0, 8, 16, 24  # offsets into a move, and its size

JOB_TYPE = ir.FunctionType(ir.VoidType(), [WORD] * 6)


def run_now(context: int, body: int, closure: int, size: int, tasks: int, cycles: int) -> None:
    """Run the job."""
    run_job(load(context + POOL), body, closure, tasks, cycles)


def record(context: int, body: int, closure: int, size: int, tasks: int, cycles: int) -> None:
    """Write the job into the recording."""
    end = load(context + END)
    store(end + BODY, body)
    store(end + TASKS, tasks)
    store(end + CYCLES, cycles)
    store(end + SIZE, size)
    for offset in range(0, size, 8):
        store(end + CLOSURE + offset, load(closure + offset))
    store(context + END, end + CLOSURE + size)


RUN_NOW, RECORD = address_in_c(run_now, 6), address_in_c(record, 6)
NOT_RECORDING = np.array([RUN_NOW, pool.address], np.intp)


@inner
def _run_jobs(recording: int, pool: int, taken: bool) -> None:
    """Run all jobs of a recording, with the workers if the pool is taken."""
    job, end = recording + JOBS, load(recording + END)
    while job < end:
        run_tasks(pool, taken, load(job + BODY), job + CLOSURE, load(job + TASKS), load(job + CYCLES))
        job += CLOSURE + load(job + SIZE)


@outer
def replay(recording: int) -> None:
    """Run all jobs of a recording. The pool is taken once for all of them, and no worker falls asleep meanwhile."""
    pool, mode = load(recording + POOL), flush_denormals()
    taken = take_pool(pool)
    _run_jobs(recording, pool, taken)
    if taken:
        give_back(pool)
    restore_mode(mode)


@inner
def _replay_lane(lanes: int, size: int, moves: int, moves_end: int, next_block: int, blocks: int, lane: int) -> None:
    """One task of `replay_blocks`: run the jobs of a lane for one block after the other, until none is left."""
    recording = lanes + lane * size
    block = add(next_block, 1)
    while block < blocks:
        for move in range(moves, moves_end, MOVE):
            store(recording + load(move + PLACE), load(move + FIRST) + block * load(move + STRIDE))
        _run_jobs(recording, 0, False)
        block = add(next_block, 1)


@outer
def replay_blocks(
    context: int, lanes: int, size: int, count: int, moves: int, moves_end: int, next_block: int, blocks: int
) -> None:
    """Run the jobs of `count` lanes, recordings of `size` bytes each, for the blocks from the word `next_block` on.

    Before each block, the words of `moves` are set: in the lane at PLACE, to FIRST + block · STRIDE.
    """
    parallel_for(context, count, JOB_OVERHEAD, _replay_lane, (lanes, size, moves, moves_end, next_block, blocks))


@intrinsic
def parallel_for(typing_context, context, tasks, cycles, function, arguments):
    """function(*arguments, task) for each task in range(tasks), on all threads; a task takes about `cycles` cycles.

    The emitted code writes the arguments side by side into memory, the closure. It adds a small function, the body,
    which loads them and calls `function`. The function that gets the job receives the addresses of both.
    """
    one_task = types.void(*arguments.types, types.intp)

    def emit(target, builder, signature, values):
        context, tasks, cycles, _, packed = values
        task_code = _compile_callee(target, builder, function.dispatcher, one_task)

        items = cgutils.unpack_tuple(builder, packed)
        items = [_without_owner(target, builder, kind, item) for kind, item in zip(arguments.types, items, strict=True)]
        values = target.make_tuple(builder, arguments, items)
        closure = cgutils.alloca_once(builder, values.type)
        cgutils.memset(builder, closure, WORD(target.get_abi_sizeof(packed.type)), 0)  # the gaps between values too
        builder.store(values, closure)
        body = ir.Function(builder.module, BODY_TYPE, f"body.{task_code.fndesc.mangled_name}")
        body.linkage = "internal"
        inside_body = ir.IRBuilder(body.append_basic_block())
        memory = inside_body.bitcast(body.args[0], closure.type)
        items = cgutils.unpack_tuple(inside_body, inside_body.load(memory))
        task = [*items, body.args[1]]
        target.call_internal_no_propagate(inside_body, task_code.fndesc, one_task, task)
        inside_body.ret_void()

        size = WORD((target.get_abi_sizeof(packed.type) + 7) // 8 * 8)
        get_job = builder.load(builder.inttoptr(context, JOB_TYPE.as_pointer().as_pointer()))
        closure = builder.ptrtoint(closure, WORD)
        builder.call(get_job, [context, builder.ptrtoint(body, WORD), closure, size, tasks, cycles])
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
