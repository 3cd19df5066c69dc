"""The registry of twins, and the checks that they share.

A twin has the name and the parameters of the plain kernel that it must equal. It checks shapes, dtypes and layouts,
because compiled loops check nothing.
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


def check_same_shape(*arrays: Array) -> None:
    """Raise ValueError unless all arrays have one shape."""
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError(f"kernel expected arrays of one shape, got {[a.shape for a in arrays]}: reshape them.")
