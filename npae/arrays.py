"""The few types that every room speaks of, and where an array lies: on which cache line, in memory or in a file."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
"""A NumPy array of float32 or float64 (complex128 where a complex step runs through)."""

RandomState: TypeAlias = "int | np.random.Generator | None"  # quoted: numpy.random loads when it is used
"""What fixes a run: a seed, a generator, or None for fresh entropy."""

LINE = 64  # bytes of a cache line
SMALL = 4096  # bytes: what takes less time to compute than to place

__all__ = ["LINE", "Array", "ArrayLike", "RandomState", "aligned", "mapped"]


def aligned(shape: tuple[int, ...], dtype: DTypeLike, fill: float | None = None) -> Array:
    """An array, like `np.empty` or `np.full`, which begins on a cache line unless it is small.

    So no vector register is filled from two lines, and no two cores write to the same one.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        a = np.empty(shape, dtype)
    else:
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
