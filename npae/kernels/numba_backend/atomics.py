"""Instructions that threads need and numba does not offer: atomic words, locks, and the floating-point mode.

Addresses are integers. A word is 8 bytes. `load` has acquire order and `store` has release order. `add`, `exchange` and
`compare_and_swap` read and write a word in one atomic step.

The locks are CPython's own (`PyThread_allocate_lock` and its relatives). Compiled code calls them without the GIL, and
Python handles no signal meanwhile.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

X86 = platform.machine().lower() in ("x86_64", "amd64")
DENORMALS_ARE_ZERO = 0x8040  # bits of the control word MXCSR: flush-to-zero (results), denormals-are-zero (operands)

WORD, BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
BODY_TYPE = ir.FunctionType(ir.VoidType(), [BYTES, WORD])  # body(closure, task)


@intrinsic
def load(typing_context, address):
    """Read a word."""

    def emit(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], WORD.as_pointer()), "acquire", 8)

    return types.intp(types.intp), emit


@intrinsic
def store(typing_context, address, value):
    """Write a word."""

    def emit(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], builder.inttoptr(arguments[0], WORD.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def add(typing_context, address, value):
    """Add to a word; return its old value."""

    def emit(context, builder, signature, arguments):
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], WORD.as_pointer()), arguments[1], "acq_rel")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def exchange(typing_context, address, value):
    """Write a word, and return its old value. Later loads cannot move before this write."""

    def emit(context, builder, signature, arguments):
        return builder.atomic_rmw("xchg", builder.inttoptr(arguments[0], WORD.as_pointer()), arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def compare_and_swap(typing_context, address, old, new):
    """Write `new` and return True if the word is `old`, else return False."""

    def emit(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], WORD.as_pointer())
        return builder.extract_value(builder.cmpxchg(word, *arguments[1:], "acq_rel", "acquire"), 1)

    return types.boolean(*[types.intp] * 3), emit


@intrinsic
def pause(typing_context):
    """Tell the processor that this loop spins, if it has an instruction for that."""

    def emit(context, builder, signature, arguments):
        if X86:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def call(typing_context, body, closure, task):
    """Call the compiled function at the address `body`: body(closure, task)."""

    def emit(context, builder, signature, arguments):
        body = builder.inttoptr(arguments[0], BODY_TYPE.as_pointer())
        builder.call(body, [builder.inttoptr(arguments[1], BYTES), arguments[2]])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), emit


# --- locks ------------------------------------------------------------------------------------------------


@intrinsic
def new_lock(typing_context):
    """The address of a new, unlocked lock; 0 if there is no memory for it."""

    def emit(context, builder, signature, arguments):
        return builder.ptrtoint(_python(builder, "PyThread_allocate_lock", BYTES), WORD)

    return types.intp(), emit


@intrinsic
def acquire(typing_context, lock):
    """Lock; sleep until the lock is free."""

    def emit(context, builder, signature, arguments):
        wait = ir.IntType(32)(1)
        _python(builder, "PyThread_acquire_lock", ir.IntType(32), builder.inttoptr(arguments[0], BYTES), wait)
        return context.get_dummy_value()

    return types.void(types.intp), emit


@intrinsic
def release(typing_context, lock):
    """Unlock. Any thread may do this."""

    def emit(context, builder, signature, arguments):
        _python(builder, "PyThread_release_lock", ir.VoidType(), builder.inttoptr(arguments[0], BYTES))
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _python(builder, name, result, *arguments):
    """Call a function of CPython's C API."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


# --- denormal numbers -----------------------------------------------------------------------------------------


@intrinsic
def flush_denormals(typing_context):
    """Treat denormal numbers (below 1e-38 in float32) as zero from now on; return the mode until now.

    Some processors take a hundred times as long for each denormal number. Adam's moments of a weight that no longer
    receives a gradient decay into this range, and would stay there.
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
    """Restore the mode that `flush_denormals` returned."""

    def emit(context, builder, signature, arguments):
        if X86:
            word = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(builder.trunc(arguments[0], ir.IntType(32)), word)
            _control(builder, "llvm.x86.sse.ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _control(builder, name, word):
    """Store or load the control word MXCSR."""
    kind = ir.FunctionType(ir.VoidType(), [BYTES])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [builder.bitcast(word, BYTES)])
