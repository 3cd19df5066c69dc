"""Memory that a compiled function has for itself while it runs: on its stack, so that nothing is asked of the heap.

`np.empty` in compiled code would do the same, but it takes numba half a second to prepare for that, once a process.
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
    """A vector of `count` (a constant) numbers of the dtype of `like`, an array or a number; it begins a cache line."""
    dtype = getattr(like, "dtype", like)
    kind = types.Array(dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        number = context.get_data_type(dtype)
        size = context.get_constant(types.intp, context.get_abi_sizeof(number))
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(number, count.literal_value))
            memory.align = LINE
        array = context.make_array(kind)(context, builder)
        populate_array(
            array,
            data=builder.bitcast(memory, number.as_pointer()),
            shape=[context.get_constant(types.intp, count.literal_value)],
            strides=[size],
            itemsize=size,
            meminfo=cgutils.get_null_value(cgutils.voidptr_t),
        )
        return array._getvalue()

    return kind(count, like), emit
