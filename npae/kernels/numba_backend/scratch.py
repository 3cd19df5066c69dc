"""Scratch memory: temporary arrays on the stack of a compiled function.

`np.empty` in compiled code would allocate on the heap, and numba needs half a second in each process to prepare for it.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from npae.kernels.arrays import LINE


@intrinsic(prefer_literal=True)
def scratch(typing_context, count, like):
    """An uninitialised vector of the dtype of `like`, aligned to a cache line. `count` must be a constant."""
    dtype = getattr(like, "dtype", like)
    kind = types.Array(dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        element = context.get_data_type(dtype)
        size = context.get_constant(types.intp, context.get_abi_sizeof(element))
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(element, count.literal_value))
            memory.align = LINE
        array = context.make_array(kind)(context, builder)
        populate_array(
            array,
            data=builder.bitcast(memory, element.as_pointer()),
            shape=[context.get_constant(types.intp, count.literal_value)],
            strides=[size],
            itemsize=size,
            meminfo=cgutils.get_null_value(cgutils.voidptr_t),
        )
        return array._getvalue()

    return kind(count, like), emit
