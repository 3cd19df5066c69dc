"""The registry of twins, and the checks that they share.

A twin has the name and the parameters of the plain kernel that it must equal. It checks shapes, dtypes and layouts,
because compiled loops check nothing, not even the number of dimensions. The dispatch has checked that the first
operand, and the second if it is an array, are aligned and of one dtype, float32 or float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from npae.kernels.arrays import Array

Function = TypeVar("Function", bound=Callable[..., Any])

TWINS: dict[str, Callable[..., Any]] = {}


def twin(function: Function) -> Function:
    """Register a function as the twin of the kernel of the same name."""
    TWINS[function.__name__] = function
    return function


def flat(a: Array) -> Array:
    """`a` as a contiguous vector."""
    return np.ascontiguousarray(a).reshape(-1)


def check_alike(*arrays: Array) -> None:
    """Raise ValueError unless all arrays have one shape and one dtype, and are aligned."""
    first = arrays[0]
    if any(a.shape != first.shape or a.dtype != first.dtype or not a.flags.aligned for a in arrays):
        came = [f"{a.shape} in {a.dtype}{'' if a.flags.aligned else ', unaligned'}" for a in arrays]
        raise ValueError(f"kernel expected aligned arrays of one shape and dtype, got {came}: convert them.")
