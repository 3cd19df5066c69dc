"""Single instructions that threads need and numba does not offer: atomic words, locks, and the processor's mode.

Addresses are whole numbers. A word is 8 bytes. `load` and `store` order what stands around them (acquire and release);
`add`, `exchange` and `compare_and_swap` read and write in one step that no other thread can come between.

The locks are CPython's own (`PyThread_allocate_lock` and its relatives): whatever the platform sleeps on, reached from
compiled code, which holds no interpreter lock and hears no signal.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

X86 = platform.machine().lower() in ("x86_64", "amd64")
DENORMALS_ARE_ZERO = 0x8040  # bits of an x86 processor's control word: results and operands below the normal are zero

WORD, BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
BODY_TYPE = ir.FunctionType(ir.VoidType(), [BYTES, WORD])  # body(closure, task)


@intrinsic
def load(typing_context, address):
    def emit(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], WORD.as_pointer()), "acquire", 8)

    return types.intp(types.intp), emit


@intrinsic
def store(typing_context, address, value):
    def emit(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], builder.inttoptr(arguments[0], WORD.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def add(typing_context, address, value):
    """Add to a word; returns what it was before."""

    def emit(context, builder, signature, arguments):
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], WORD.as_pointer()), arguments[1], "acq_rel")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def exchange(typing_context, address, value):
    """Write a word before anything that comes after is read; returns what it was before."""

    def emit(context, builder, signature, arguments):
        return builder.atomic_rmw("xchg", builder.inttoptr(arguments[0], WORD.as_pointer()), arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def compare_and_swap(typing_context, address, old, new):
    """Replace `old` by `new` and say True, or if the word is not `old` do nothing and say False."""

    def emit(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], WORD.as_pointer())
        return builder.extract_value(builder.cmpxchg(word, *arguments[1:], "acq_rel", "acquire"), 1)

    return types.boolean(*[types.intp] * 3), emit


@intrinsic
def pause(typing_context):
    """Tell the processor that this is a waiting loop, where there is an instruction for it."""

    def emit(context, builder, signature, arguments):
        if X86:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def call(typing_context, body, closure, task):
    """body(closure, task), both given by address."""

    def emit(context, builder, signature, arguments):
        body = builder.inttoptr(arguments[0], BODY_TYPE.as_pointer())
        builder.call(body, [builder.inttoptr(arguments[1], BYTES), arguments[2]])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), emit


# --- locks ------------------------------------------------------------------------------------------------


@intrinsic
def new_lock(typing_context):
    """The address of a new lock, open; 0 if there is no memory for it."""

    def emit(context, builder, signature, arguments):
        return builder.ptrtoint(_python(builder, "PyThread_allocate_lock", BYTES), WORD)

    return types.intp(), emit


@intrinsic
def acquire(typing_context, lock):
    """Close the lock; sleep until it is open."""

    def emit(context, builder, signature, arguments):
        wait = ir.IntType(32)(1)
        _python(builder, "PyThread_acquire_lock", ir.IntType(32), builder.inttoptr(arguments[0], BYTES), wait)
        return context.get_dummy_value()

    return types.void(types.intp), emit


@intrinsic
def release(typing_context, lock):
    """Open the lock, which is closed; any thread may."""

    def emit(context, builder, signature, arguments):
        _python(builder, "PyThread_release_lock", ir.VoidType(), builder.inttoptr(arguments[0], BYTES))
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _python(builder, name, result, *arguments):
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


# --- numbers too small to be normal ---------------------------------------------------------------------------


@intrinsic
def flush_denormals(typing_context):
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
        builder.store(builder.or_(mode, ir.IntType(32)(DENORMALS_ARE_ZERO)), word)
        _control(builder, "llvm.x86.sse.ldmxcsr", word)
        return builder.zext(mode, WORD)

    return types.intp(), emit


@intrinsic
def restore_mode(typing_context, mode):
    """The mode that `flush_denormals` returned."""

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
