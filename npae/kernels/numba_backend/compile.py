"""Compilation: how a Python function becomes machine code, and the types of its arguments.

`inner` compiles the functions that only compiled code calls. `CompiledLoop` compiles those that Python calls, once for
each dtype, when that dtype first occurs. It declares the types of the arguments, so one compilation serves arrays of
every layout, writable or not:

    @CompiledLoop(matrix, matrix, vector_out, integer)
    def example_loop(context, a, b, out, n): ...

    example_loop[np.dtype(np.float32)](context, a, b, out, n)

The machine code is cached on disk for the next process: in `__pycache__`, or in the user's cache folder if
`__pycache__` is not writable, or not at all. A kernel is built from functions of several files, so a change of any file
in this folder invalidates the cache.
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
    raise ImportError("numba compiles nothing while NUMBA_DISABLE_JIT is set: unset it")

Function = TypeVar("Function", bound=Callable[..., Any])
Argument = Callable[[Any], Any]  # from the dtype of the arrays to the numba type of an argument

OPTIONS: dict[str, Any] = {
    "nogil": True,  # other Python threads can run meanwhile
    "error_model": "numpy",  # 1 / 0 is infinity
    "fastmath": {"contract"},  # a·b + c may be fused; NaN and infinity follow IEEE 754
}
SOURCE_DIGEST = hashlib.blake2b(
    b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()
INNER_OPTIONS: dict[str, Any] = OPTIONS | {
    "no_cpython_wrapper": True,  # Python never calls it
    "no_cfunc_wrapper": True,
    "forceinline": True,  # else LLVM may optimise two copies differently, and the cache may hold other bits
}


def matrix(real: Any) -> Any:
    """(n, m) with any strides, read-only."""
    return types.Array(real, 2, "A", readonly=True)


def matrix_out(real: Any) -> Any:
    """(n, m) with any strides, writable."""
    return types.Array(real, 2, "A")


def vector(real: Any) -> Any:
    """(n,) contiguous, read-only: any contiguous array, flattened."""
    return types.Array(real, 1, "C", readonly=True)


def vector_out(real: Any) -> Any:
    """(n,) contiguous, writable."""
    return types.Array(real, 1, "C")


def integers(real: Any) -> Any:
    """(n,) of int64, read-only."""
    return types.Array(types.int64, 1, "C", readonly=True)


def words(real: Any) -> Any:
    """(n,) of uint64, read-only."""
    return types.Array(types.uint64, 1, "C", readonly=True)


def doubles(real: Any) -> Any:
    """(n,) of float64, writable."""
    return types.Array(types.float64, 1, "C")


def double_out(real: Any) -> Any:
    """() of float64, writable."""
    return types.Array(types.float64, 0, "C")


WRITTEN: set[Argument] = {matrix_out, vector_out, doubles, double_out}


def scalar(real: Any) -> Any:
    """A number of the arrays' dtype."""
    return real


def double(real: Any) -> Any:
    """A float64 number."""
    return types.float64


def integer(real: Any) -> Any:
    """An integer."""
    return types.intp


def inner(function: Function) -> Function:
    """Compile a function that only compiled code calls, for the types that it is called with."""
    return cast(Function, _dispatcher(function, **INNER_OPTIONS))


def inlined(function: Function) -> Function:
    """The same for a part of one other function, into which it is copied: that saves a compilation of its own."""
    return cast(Function, numba.njit(inline="always", **INNER_OPTIONS)(function))


def reordered(function: Function) -> Function:
    """The same for a sum whose order the compiler may choose. The order is fixed for one processor."""
    return cast(Function, _dispatcher(function, **INNER_OPTIONS | {"fastmath": {"contract", "reassoc"}}))


def outer(function: Function) -> Function:
    """The same for a function that Python calls too."""
    return cast(Function, _dispatcher(function, **OPTIONS))


class CompiledLoop(dict[Any, Callable[..., None]]):
    """A loop that Python calls, compiled for each dtype: `loop[dtype](context, *arguments)`.

    `loop[dtype]` is the bare machine code behind numba's dispatcher, which would look up the types of all arguments in
    each call. So the caller must pass what the declared types say.
    """

    def __init__(self, *arguments: Argument) -> None:
        self.arguments = arguments
        self.written = [argument in WRITTEN for argument in arguments]
        self.function: Callable[..., None] | None = None
        self.dispatchers: dict[Any, Any] = {}  # numba's, by dtype

    def __call__(self, function: Callable[..., None]) -> CompiledLoop:
        self.function = function
        return self

    def __missing__(self, dtype: Any) -> Callable[..., None]:
        real = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}[dtype]
        signature = types.void(types.intp, *(argument(real) for argument in self.arguments))
        self.dispatchers[dtype] = _compiled(self.function, signature, **OPTIONS, no_cfunc_wrapper=True)
        self[dtype] = self.dispatchers[dtype].overloads[signature.args].entry_point
        return self[dtype]


def address_in_c(function: Callable[..., None], arguments: int) -> int:
    """The address of a function of so many integers, compiled for callers in C."""
    signature = types.void(*[types.intp] * arguments)
    result = _compiled(function, signature, **OPTIONS, no_cpython_wrapper=True).overloads[signature.args]
    address: int = result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)
    return address


def _compiled(function: Any, signature: Any, **options: Any) -> Any:
    """numba's dispatcher of a function, with the code for one signature."""
    compiled = _dispatcher(function, **options)
    try:
        compiled.compile(signature)
    except Exception:  # a damaged cache file, or a full disk: compile again without the cache
        _forget_cache()
        compiled = _dispatcher(function, **options)
        compiled.compile(signature)
    return compiled


# --- the cache ----------------------------------------------------------------------------------------

_dispatchers: list[Any] = []
_cached = True


def _dispatcher(function: Any, **options: Any) -> Any:
    """numba's dispatcher of a function, cached on disk if possible."""
    if _cached:
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
            dispatcher._cache._cache_file._source_stamp = SOURCE_DIGEST  # numba checks only the function's file
        except (RuntimeError, AttributeError):  # no writable folder, or another numba: compile in each process
            dispatcher = numba.njit(**options)(function)
    else:
        dispatcher = numba.njit(**options)(function)
    _dispatchers.append(dispatcher)
    return dispatcher


def _forget_cache() -> None:
    """Neither read nor write the cache any more in this process."""
    global _cached
    _cached = False
    for dispatcher in _dispatchers:
        dispatcher._cache = NullCache()
