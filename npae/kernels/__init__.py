"""The ground floor: every loop over numbers, behind one interface with two implementations.

`numpy_backend` is the specification, a few readable lines a kernel. `numba_backend` computes the
same on all cores. The floors above ask `of(x, ...)` for the backend that serves their arrays and
never know which they got:

    y = kernels.of(x, W).dense(x, W, b)

Numba serves float32 and float64; anything else (the complex numbers of a complex step) goes to NumPy.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from npae.arrays import Array
from npae.kernels import numpy_backend

__all__ = ["BACKENDS", "Backend", "backend_info", "backend_name", "of", "recorded", "use_backend"]

Result = TypeVar("Result")

BACKENDS = ("numpy", "numba")


class Backend(Protocol):
    """What a backend provides; `numpy_backend` says what each function means."""

    name: str

    def describe(self) -> dict[str, Any]: ...
    def after_fork(self) -> None: ...
    def recorded(self, step: Callable[[], Result], unchanged: Callable[[], bool]) -> Callable[[], Result]: ...
    def cancel_recording(self) -> None: ...

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array: ...
    def dense(self, x: Array, W: Array, b: Array) -> Array: ...
    def column_sums(self, a: Array, out: Array | None = None) -> Array: ...
    def take(self, a: Array, rows: Array) -> Array: ...
    def copy(self, a: Array, out: Array | None = None) -> Array: ...

    def relu(self, x: Array) -> Array: ...
    def relu_backward(self, grad_y: Array, y: Array) -> Array: ...
    def leaky_relu(self, x: Array, slope: float) -> Array: ...
    def leaky_relu_backward(self, grad_y: Array, y: Array, slope: float) -> Array: ...
    def elu(self, x: Array, alpha: float) -> Array: ...
    def elu_backward(self, grad_y: Array, y: Array, alpha: float) -> Array: ...
    def sigmoid(self, x: Array) -> Array: ...
    def sigmoid_backward(self, grad_y: Array, y: Array) -> Array: ...
    def tanh(self, x: Array) -> Array: ...
    def tanh_backward(self, grad_y: Array, y: Array) -> Array: ...

    def mse(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]: ...
    def bce(self, logits: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]: ...
    def ssim_map(
        self, mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
    ) -> tuple[Array, Array, Array, Array]: ...

    def sgd(self, value: Array, grad: Array, v: Array, numbers: Array) -> None: ...
    def adam(self, value: Array, grad: Array, m: Array, v: Array, numbers: Array) -> None: ...

    def gaussian_noise(self, x: Array, key: Array, std: float, low: float, high: float) -> Array: ...
    def masking_noise(self, x: Array, key: Array, fraction: float) -> Array: ...
    def salt_and_pepper(self, x: Array, key: Array, fraction: float, low: float, high: float) -> Array: ...


_SERVED = (np.dtype(np.float32), np.dtype(np.float64))


class _Choice(NamedTuple):
    """A backend, and how it was chosen. Each choice is a new object, so two of them are told apart by `is`."""

    backend: Backend
    how: str


_choice: _Choice | None = None  # made at the first kernel call, or by use_backend


def of(*arrays: Array) -> Backend:
    """The backend that computes on `arrays`: the active one where it knows their dtype and alignment, else NumPy."""
    backend = (_choice or _choose()).backend
    dtype = arrays[0].dtype
    for a in arrays:
        if a.dtype != dtype or dtype not in _SERVED or not a.flags.aligned:
            backend.cancel_recording()
            return numpy_backend
    return backend


def recorded(step: Callable[[], Result]) -> Callable[[], Result]:
    """A function that does what `step` does, where the backend can do so without the Python between its kernels.

    step() must do its work in kernels alone, on arrays that stay where they are, and return the same arrays each time.
    If another backend is chosen before the first call is over, kernels of both may have run: then each call is step().
    """
    choice = _choice or _choose()
    return choice.backend.recorded(step, lambda: _choice is choice)


def use_backend(name: str) -> None:
    """Compute with "numpy" (the plain specification) or "numba" (compiled, all cores) from now on.

    Without a call the environment variable NPAE_BACKEND decides, and without that numba is used
    where it is installed.

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
    _choice = _Choice(_load(name), "by use_backend")


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
        "backend" and "chosen" always. With NumPy its version; with numba its version, the number of threads,
        the processor as LLVM knows it, and the vectors and register tile that follow from it.

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
    backend, how = _choice or _choose()
    return {"backend": backend.name, "chosen": how, **backend.describe()}


def _choose() -> _Choice:
    global _choice
    wish = os.environ.get("NPAE_BACKEND")
    if wish:
        source = "the environment variable NPAE_BACKEND"
        choice = _Choice(_load(wish, source), f"by {source}")
    elif importlib.util.find_spec("numba") is None:
        choice = _Choice(numpy_backend, "because numba is not installed")
    else:
        try:
            choice = _Choice(_load("numba", "npae"), "because numba is installed")
        except ImportError as error:
            warnings.warn(f"npae computes with NumPy: {error}", RuntimeWarning, stacklevel=3)
            choice = _Choice(numpy_backend, f"because numba cannot be used: {error}")
    if _choice is None:  # else another thread was sooner, or use_backend
        _choice = choice
    return _choice


def _load(name: str, source: str = "use_backend") -> Backend:
    if not isinstance(name, str) or name not in BACKENDS:
        raise ValueError(f"{source} expected one of {BACKENDS}, got {name!r}: choose one of these.")
    if name == "numpy":
        return numpy_backend
    try:
        backend: Backend = importlib.import_module("npae.kernels.numba_backend")
    except Exception as error:  # an installed numba that does not fit the NumPy beside it raises what it likes
        raise ImportError(
            f"{source} expected numba to be importable, got {type(error).__name__}: {error}. "
            'Install it with `pip install "npae[fast]"`, or choose the backend "numpy".'
        ) from error
    return backend


def _after_fork() -> None:
    if _choice is not None:
        _choice.backend.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
