"""Array types, and where an array lies in memory."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
"""A NumPy array of float32 or float64 (complex128 while a complex step runs through)."""

RandomState: TypeAlias = "int | np.random.Generator | None"  # quoted: numpy.random loads on first use
"""A seed, a generator, or None for fresh entropy."""

LINE = 64  # bytes of a cache line
SMALL = 4096  # bytes: below this, alignment costs more than it saves

__all__ = ["LINE", "Array", "ArrayLike", "RandomState", "aligned", "mapped"]


def aligned(shape: tuple[int, ...], dtype: DTypeLike, fill: float | None = None) -> Array:
    """An array like that of `np.empty` or `np.full`; unless it is small, it begins on a cache line.

    Then no vector register is loaded from two lines, and no two cores write to the same line.
    """
    a = np.empty(shape, dtype)
    if a.nbytes >= SMALL:
        size, dtype = a.nbytes, a.dtype
        del a  # two of these at the end of the heap are more than malloc keeps for the next one
        memory = np.empty(size + LINE, np.uint8)
        first = -memory.__array_interface__["data"][0] % LINE
        a = memory[first : first + size].view(dtype).reshape(shape)
    if fill is not None:
        a.fill(fill)
    return a


def mapped(X: Any) -> bool:
    """Whether X is a memory map, or a view of one."""
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return True
        X = X.base
    return False
