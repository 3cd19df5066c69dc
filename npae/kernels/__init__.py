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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from npae.kernels import numpy_backend
from npae.kernels.arrays import Array

__all__ = ["BACKENDS", "KERNELS", "backend_info", "backend_name", "blockwise"]
__all__ += ["kernel", "recomputed", "recorded", "use_backend"]

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")
Blockwise: TypeAlias = Callable[[Sequence[Array], Sequence[Array]], None]

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
    def blockwise(self, step: Callable[..., tuple[Array, ...]], unchanged: Callable[[], bool]) -> Blockwise: ...
    def recomputed(self, compute: Callable[[], Sequence[Any] | Array]) -> Array: ...
    def cancel_recording(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Choice:
    """A backend and how it was chosen. Each choice is a new object, so `is` tells two choices apart."""

    backend: Backend
    twins: dict[str, Callable[..., Any]]
    how: str


_choice: _Choice | None = None  # made by the first kernel call, or by use_backend


_DISPATCH = """
def make(body):
    def {name}({parameters}):
        twin = (_choice or _choose()).twins.get("{name}")
        if twin is not None and {served}:
            return twin({parameters})
        _choice.backend.cancel_recording()
        return body({parameters})
    return {name}
"""


def kernel(body: Function) -> Function:
    """Make a NumPy function a kernel: calls go to the compiled twin of the same name where that can serve them.

    The twin serves aligned float32 and float64. The operands that decide are the first parameter and, if it is
    annotated as `Array`, the second. The dispatching function is generated with the parameters of the body: with
    *arguments a call would take half as long again.
    """
    name, code = body.__name__, body.__code__
    KERNELS[name] = body
    first, *rest = parameters = code.co_varnames[: code.co_argcount]
    served = f"{first}.dtype in COMPILED and {first}.flags.aligned"
    if rest and body.__annotations__.get(rest[0]) == "Array":
        served += f" and {rest[0]}.dtype == {first}.dtype and {rest[0]}.flags.aligned"
    made: dict[str, Any] = {}
    exec(_DISPATCH.format(name=name, parameters=", ".join(parameters), served=served), globals(), made)
    dispatch = made["make"](body)
    dispatch.__defaults__ = body.__defaults__
    return cast(Function, wraps(body)(dispatch))


def recorded(step: Callable[[], Result]) -> Callable[[], Result]:
    """A function that does what step() does. A compiled backend records calls until two agree, then replays.

    step must do its work in kernels alone, on arrays that are the same each time, and return the same arrays each time:
    one, or a tuple. Numbers that Python computes for a kernel must come from `recomputed`. If the backend is switched
    meanwhile, or no two calls agree, nothing is replayed: every call is step().
    """
    choice = _choice or _choose()
    return choice.backend.recorded(step, lambda: _choice is choice)


def blockwise(step: Callable[..., tuple[Array, ...]], record: bool = True) -> Blockwise:
    """A function (tables, results) with results[k][i] = step(*(table[i] for table in tables))[k] for each block i.

    Tables and results are sequences of arrays whose first axis counts the blocks. If it may `record`, a compiled
    backend records the step on the first blocks, and then runs several blocks at once. For that, step must work in
    kernels alone, make its results anew, and carry nothing from one block to the next.
    """
    choice = _choice or _choose()
    backend = choice.backend if record else numpy_backend
    return backend.blockwise(step, lambda: _choice is choice)


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
        LLVM's name for the processor, the vector width and register tile that follow from it, and the bytes of a core's
        second-level cache.

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
