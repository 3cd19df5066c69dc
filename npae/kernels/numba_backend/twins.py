"""The registry of twins, and how arrays are handed to compiled loops.

A twin has the name and the arguments of the kernel whose body specifies it. It checks every shape, dtype and layout
before a compiled loop runs, which checks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.parallel import cancel_recording

Function = TypeVar("Function", bound=Callable[..., Any])

TWINS: dict[str, Callable[..., Any]] = {}


def twin(function: Function) -> Function:
    """Register the compiled twin of the kernel of the same name."""
    TWINS[function.__name__] = function
    return function


def flat(a: Array) -> Array:
    """`a` as one contiguous vector."""
    return contiguous(a).reshape(-1)


def contiguous(a: Array) -> Array:
    """`a`, or a copy if it is not contiguous. A replay would not repeat the copy."""
    if not a.flags.c_contiguous:
        cancel_recording()
    return np.ascontiguousarray(a)


def check_same_shape(*arrays: Array) -> None:
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError(f"kernel expected arrays of one shape, got {[a.shape for a in arrays]}.")
