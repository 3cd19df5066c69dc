"""Kernels: the functions that loop over numbers, each with a plain body and a compiled twin.

A kernel is a NumPy function in the module of its subject, beside the class that uses it:

    @kernel
    def dense(x: Array, W: Array, b: Array) -> Array:
        return x @ W + b

The body is the specification. `numba_backend` has a twin of the same name, which computes the same on all cores
for float32 and float64. A call goes to the twin if numba is in use; anything else, such as the complex
numbers of a complex step, goes to the body.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np

from npae.kernels import numpy_backend
from npae.kernels.arrays import Array

__all__ = ["BACKENDS", "KERNELS", "backend_info", "backend_name", "kernel", "recomputed", "recorded", "use_backend"]

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")

BACKENDS = ("numpy", "numba")
KERNELS: dict[str, Callable[..., Any]] = {}  # every kernel's body by name
COMPILED = (np.dtype(np.float32), np.dtype(np.float64))


class Backend(Protocol):
    """What a backend provides besides its twins."""

    name: str
    TWINS: dict[str, Callable[..., Any]]

    def describe(self) -> dict[str, Any]: ...
    def after_fork(self) -> None: ...
    def recorded(self, step: Callable[[], Result], unchanged: Callable[[], bool]) -> Callable[[], Result]: ...
    def recomputed(self, compute: Callable[[], Sequence[Any] | Array]) -> Array: ...
    def cancel_recording(self) -> None: ...


class _Choice(NamedTuple):
    """A backend and how it was chosen. Each choice is a new object, so `is` tells two choices apart."""

    backend: Backend
    twins: Mapping[str, Callable[..., Any]]
    how: str


_choice: _Choice | None = None  # made by the first kernel call, or by use_backend


def kernel(body: Function) -> Function:
    """Make a NumPy function a kernel: calls go to the compiled twin of the same name where that can serve them.

    The operands that decide are the first parameter and, if it is annotated as `Array`, the second: pass them by
    position.
    """
    name, code = body.__name__, body.__code__
    KERNELS[name] = body
    binary = body.__annotations__.get(code.co_varnames[1]) == "Array" if code.co_argcount > 1 else False

    def unary_kernel(*arguments: Any, **options: Any) -> Any:  # to pass one tuple on is faster than a, *rest
        choice = _choice or _choose()
        twin, a = choice.twins.get(name), arguments[0]
        if twin is not None and a.dtype in COMPILED and a.flags.aligned:
            return twin(*arguments, **options)
        choice.backend.cancel_recording()
        return body(*arguments, **options)

    def binary_kernel(*arguments: Any, **options: Any) -> Any:
        choice = _choice or _choose()
        twin, a, b = choice.twins.get(name), arguments[0], arguments[1]
        dtype = a.dtype
        if twin is not None and dtype in COMPILED and dtype == b.dtype and a.flags.aligned and b.flags.aligned:
            return twin(*arguments, **options)
        choice.backend.cancel_recording()
        return body(*arguments, **options)

    return cast(Function, wraps(body)(binary_kernel if binary else unary_kernel))


def recorded(step: Callable[[], Result]) -> Callable[[], Result]:
    """A function that does what `step` does. A compiled backend records the kernels of the first call and replays them.

    step() must do its work in kernels alone, on the same arrays each time, and return the same arrays each time.
    Numbers that Python computes for a kernel must come from `recomputed`. If the backend is switched during the first
    call, nothing is replayed: every call is step().
    """
    choice = _choice or _choose()
    return choice.backend.recorded(step, lambda: _choice is choice)


def recomputed(compute: Callable[[], Sequence[Any] | Array]) -> Array:
    """compute() as an array to hand to a kernel. Each replay of a recording first calls compute() again."""
    return (_choice or _choose()).backend.recomputed(compute)


def use_backend(name: str) -> None:
    """Compute with "numpy" (the plain bodies) or "numba" (compiled, all cores) from now on.

    Without a call the environment variable NPAE_BACKEND decides. Without that, npae uses numba if it is installed.

    Raises
    ------
    ValueError
        If `name` is neither.
    ImportError
        If numba is asked for and cannot be imported.

    Example
    -------
    >>> import npae
    >>> before = npae.backend_name()
    >>> npae.use_backend("numpy")
    >>> npae.backend_name()
    'numpy'
    >>> npae.use_backend(before)
    """
    global _choice
    _choice = _load(name, "use_backend", "by use_backend")


def backend_name() -> str:
    """The name of the backend in use, "numpy" or "numba".

    Raises
    ------
    ValueError, ImportError
        If NPAE_BACKEND names a backend that does not exist or cannot be imported.

    Example
    -------
    >>> import npae
    >>> npae.backend_name() in ("numpy", "numba")
    True
    """
    return (_choice or _choose()).backend.name


def backend_info() -> dict[str, Any]:
    """The backend in use, why it was chosen, and what it runs on.

    Returns
    -------
    dict
        "backend" and "chosen" always. With NumPy its version. With numba its version, the number of threads,
        LLVM's name for the processor, and the vector width and register tile that follow from it.

    Raises
    ------
    ValueError, ImportError
        If NPAE_BACKEND names a backend that does not exist or cannot be imported.

    Example
    -------
    >>> import npae
    >>> info = npae.backend_info()
    >>> info["backend"] == npae.backend_name(), len(info["chosen"]) > 0
    (True, True)
    """
    choice = _choice or _choose()
    return {"backend": choice.backend.name, "chosen": choice.how, **choice.backend.describe()}


def _choose() -> _Choice:
    """Choose a backend, for good, unless another thread or use_backend has done so in the meantime."""
    global _choice
    wish = os.environ.get("NPAE_BACKEND")
    if wish:
        choice = _load(wish, "NPAE_BACKEND", "by the environment variable NPAE_BACKEND")
    elif importlib.util.find_spec("numba") is None:
        choice = _load("numpy", "npae", "because numba is not installed")
    else:
        try:
            choice = _load("numba", "npae", "because numba is installed")
        except ImportError as error:
            warnings.warn(f"npae computes with NumPy: {error}", RuntimeWarning, stacklevel=3)
            choice = _load("numpy", "npae", f"because numba cannot be used: {error}")
    if _choice is None:
        _choice = choice
    return _choice


def _load(name: str, caller: str, how: str) -> _Choice:
    if not isinstance(name, str) or name not in BACKENDS:
        raise ValueError(f"{caller} expected one of {BACKENDS}, got {name!r}: choose one of these.")
    backend: Backend = numpy_backend
    if name == "numba":
        try:
            backend = importlib.import_module("npae.kernels.numba_backend")
        except Exception as error:  # numba raises many kinds of error if it does not fit the installed NumPy
            raise ImportError(
                f"{caller} expected numba to be importable, got {type(error).__name__}: {error}. "
                'Install it with `pip install "npae[fast]"`, or choose the backend "numpy".'
            ) from error
    return _Choice(backend, backend.TWINS, how)


def _after_fork() -> None:
    if _choice is not None:
        _choice.backend.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
