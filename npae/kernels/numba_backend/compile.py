"""How a Python function becomes machine code, and of what types its arguments are.

Two decorators. `inner` is for the functions that compiled code calls. `Kernel` is for those that Python calls:
it is given the types of its arguments, so that one compilation serves arrays of every layout, writable or not,
and it compiles for a dtype when that dtype is first asked for.

    @Kernel(matrix, matrix, vector_out, integer)
    def _example(context, a, b, total, n): ...

    _example[np.dtype(np.float32)](context, a, b, total, n)

What is compiled is kept in `__pycache__` for the next process, or where that cannot be written in the user's own
cache folder, or nowhere. It is used again only if no file of this folder has changed since: kernels are made of
functions from several.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.core.caching import NullCache

if numba.config.DISABLE_JIT:
    raise ImportError("numba compiles nothing while NUMBA_DISABLE_JIT is set; unset it")

Function = TypeVar("Function", bound=Callable[..., Any])
Argument = Callable[[Any], Any]  # the numba type of an argument, given that of the numbers

OPTIONS: dict[str, Any] = {
    "nogil": True,  # other Python threads run on
    "error_model": "numpy",  # 1 / 0 is infinity
    "fastmath": {"contract"},  # a·b + c may be fused; NaN and infinity stay what they are
}
SOURCES = hashlib.blake2b(b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
INNER_OPTIONS: dict[str, Any] = OPTIONS | {
    "no_cpython_wrapper": True,  # Python does not call it
    "no_cfunc_wrapper": True,
    "forceinline": True,  # else the process that compiles it may run another copy than those that load it: other bits
}


def matrix(real: Any) -> Any:
    """(n, m) with any strides, read only."""
    return types.Array(real, 2, "A", readonly=True)


def matrix_out(real: Any) -> Any:
    """(n, m) with any strides, to be written."""
    return types.Array(real, 2, "A")


def vector(real: Any) -> Any:
    """(n,) contiguous, read only: any contiguous array, flat."""
    return types.Array(real, 1, "C", readonly=True)


def vector_out(real: Any) -> Any:
    """(n,) contiguous, to be written."""
    return types.Array(real, 1, "C")


def integers(real: Any) -> Any:
    """(n,) of int64, read only."""
    return types.Array(types.int64, 1, "C", readonly=True)


def words(real: Any) -> Any:
    """(n,) of uint64, read only."""
    return types.Array(types.uint64, 1, "C", readonly=True)


def doubles(real: Any) -> Any:
    """(n,) of float64, to be written."""
    return types.Array(types.float64, 1, "C")


def double_out(real: Any) -> Any:
    """() of float64, to be written."""
    return types.Array(types.float64, 0, "C")


def number(real: Any) -> Any:
    """A number of the arrays' dtype."""
    return real


def double(real: Any) -> Any:
    """A number in float64, whatever the dtype of the arrays."""
    return types.float64


def integer(real: Any) -> Any:
    """A whole number."""
    return types.intp


def inner(function: Function) -> Function:
    """Compile a function that only compiled code calls, for whatever types it is called with."""
    return cast(Function, _dispatcher(function, **INNER_OPTIONS))


def reordered(function: Function) -> Function:
    """The same for a sum that may be taken in any order, which is always the same on one machine."""
    return cast(Function, _dispatcher(function, **INNER_OPTIONS | {"fastmath": {"contract", "reassoc"}}))


def outer(function: Function) -> Function:
    """The same for one that Python calls as well."""
    return cast(Function, _dispatcher(function, **OPTIONS))


class Kernel:
    """A compiled function that Python calls: `kernel[dtype](context, *arguments)`."""

    def __init__(self, *arguments: Argument) -> None:
        self.arguments = arguments
        self.function: Callable[..., None] | None = None
        self.compiled: dict[Any, Callable[..., None]] = {}

    def __call__(self, function: Callable[..., None]) -> Kernel:
        self.function = function
        return self

    def __getitem__(self, dtype: Any) -> Callable[..., None]:
        try:
            return self.compiled[dtype]
        except KeyError:
            return self._compile(dtype)

    def _compile(self, dtype: Any) -> Callable[..., None]:
        real = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}[dtype]
        signature = types.void(types.intp, *(argument(real) for argument in self.arguments))
        compiled = _dispatcher(self.function, **OPTIONS, no_cfunc_wrapper=True)
        try:
            compiled.compile(signature)
        except Exception:  # a damaged file in the cache, or a disk that is full: once more without
            _forget_cache()
            compiled = _dispatcher(self.function, **OPTIONS, no_cfunc_wrapper=True)
            compiled.compile(signature)
        compiled.disable_compile()
        self.compiled[dtype] = compiled
        return cast(Callable[..., None], compiled)


# --- the cache ----------------------------------------------------------------------------------------

_all: list[Any] = []  # dispatchers
_cached = True


def _dispatcher(function: Any, **options: Any) -> Any:
    if _cached:
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
            dispatcher._cache._cache_file._source_stamp = SOURCES  # numba looks at the function's own file alone
        except (RuntimeError, AttributeError):  # no folder for it, or another numba: compile anew in each process
            dispatcher = numba.njit(**options)(function)
    else:
        dispatcher = numba.njit(**options)(function)
    _all.append(dispatcher)
    return dispatcher


def _forget_cache() -> None:
    global _cached
    _cached = False
    for dispatcher in _all:
        dispatcher._cache = NullCache()
