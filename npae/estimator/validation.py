"""Checks of arrays: each public function checks its input here, once, before any work starts.

Every error says what was expected, what came, and what to do. `caller` is the name that the message begins with.
"""

from __future__ import annotations

import math
import sys
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from npae.kernels import kernel
from npae.kernels.arrays import Array, ArrayLike, mapped

Numbers = TypeVar("Numbers", float, Array)

_NUMBERS_AT_A_TIME = 2**18  # of the test for finite numbers: they stay in a cache
_SMALL = 2**12


def as_table(
    X: ArrayLike,
    caller: str,
    *,
    name: str = "X",
    width: int | None = None,
    dtype: DTypeLike | None = None,
    keep_memmap: bool = False,
    finite: bool = True,
) -> Array:
    """`X` as a C-ordered (n, d) array of finite float32 or float64, without a copy if it is one.

    With dtype None, float32 and float64 are kept; other numbers become the smaller of the two that holds them. With
    `keep_memmap` a memory map is checked block by block and returned without conversion. With finite=False, NaN and
    infinity pass: the caller looks for them.

    Raises TypeError if X is sparse or does not hold numbers; ValueError if X is complex, is not 2-D, does not have
    `width` columns, is empty, or holds NaN or infinity.
    """

    def expected() -> str:
        return f"{caller} expected {name} of shape (n, {'d' if width is None else width})"

    raw = as_numbers(X, caller, name)
    if raw.ndim != 2:
        hint = f"flatten each item with {name}.reshape(len({name}), -1)"
        if raw.ndim < 2:
            hint = f"for one row np.reshape({name}, (1, -1)), for one column np.reshape({name}, (-1, 1))"
        raise ValueError(f"{expected()}, got {raw.shape}. Reshape your data: {hint}.")
    if raw.size == 0:
        came = f"0 {'sample' if len(raw) == 0 else 'feature'}(s) (shape={raw.shape}) while a minimum of 1 is required"
        raise ValueError(f"{expected()} with at least one row and one column, got {came}: pass some data.")
    if width is not None and raw.shape[1] != width:
        raise ValueError(
            f"{expected()}, got {raw.shape}. {name} has {raw.shape[1]} features, but {caller} is expecting {width} "
            f"features as input: give it the {width} columns it was built for."
        )
    wanted = np.result_type(raw.dtype, np.float32) if dtype is None else np.dtype(dtype)
    if wanted.kind != "f" or wanted.itemsize not in (4, 8):
        wanted = np.dtype(np.float64)
    table = raw
    if (raw.dtype != wanted or not raw.flags.c_contiguous) and not (keep_memmap and mapped(raw)):
        with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes infinite and is refused below
            table = np.ascontiguousarray(raw, dtype=wanted)
    if finite:
        refuse_non_finite(table, wanted, caller, name)
    return table


def as_numbers(x: ArrayLike, caller: str, name: str = "X", *, complex_too: bool = False) -> Array:
    """`x` as an array of numbers of any shape and dtype; Python objects become float64."""
    if type(x) is np.ndarray and x.dtype.kind in "fiub":
        return x
    if hasattr(x, "toarray"):
        raise TypeError(
            f"{caller} expected {name} as a dense table, got a sparse {type(x).__name__}: pass {name}.toarray()."
        )
    ma = sys.modules.get("numpy.ma")  # not loaded before the first masked array
    if ma is not None and isinstance(x, ma.MaskedArray) and ma.is_masked(x):
        raise ValueError(
            f"{caller} expected {name} without masked values, got {ma.count_masked(x)} of them: fill them, for example "
            f"with {name}.filled(0), or leave out their rows with np.ma.compress_rows({name})."
        )
    try:
        raw = np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"{caller} expected {name} as a rectangular table of numbers, got rows of unequal shape: "
            "give every row the same number of values."
        ) from error
    if raw.dtype.kind == "c" and not complex_too:
        raise ValueError(
            f"{caller} expected {name} as real numbers, got dtype {raw.dtype}. Complex data not supported: "
            "pass the real and the imaginary parts as columns of their own."
        )
    if raw.dtype.kind in "fiubc":
        return raw
    try:
        if raw.dtype != object:
            raise TypeError("no numbers")
        return np.array([_as_float(value) for value in raw.flat], np.float64).reshape(raw.shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"{caller} expected {name} as real numbers, got dtype {raw.dtype} ({error}): "
            f"convert it first, for example with np.asarray({name}, dtype=float)."
        ) from error


def _as_float(value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError(f"text is no number: {value!r}")
    return float(value)


def refuse_non_finite(table: Array, dtype: np.dtype[Any], caller: str, name: str) -> None:
    """Raise ValueError at the first number that is not finite in `dtype`."""
    rows = max(1, _NUMBERS_AT_A_TIME // table.shape[1])
    for start in range(0, len(table), rows):
        numbers = table[start : start + rows]
        if numbers.dtype != dtype:
            with np.errstate(over="ignore"):
                numbers = numbers.astype(dtype)
        if not _all_finite_now(numbers):
            row, column = np.argwhere(~np.isfinite(numbers))[0]
            raise ValueError(
                f"{caller} expected finite {name}, got {numbers[row, column]} at row {start + row}, "
                f"column {column} (as {dtype}): remove or fill NaN and inf first."
            )


def as_weights(sample_weight: ArrayLike, n: int, caller: str) -> Array:
    """`sample_weight` as n float64 numbers >= 0: how often each row counts.

    Raises TypeError if they are not numbers; ValueError if they are not (n,), finite, >= 0, or if all are zero.

    Example
    -------
    >>> as_weights([1, 2, 0], 3, "PCA")
    array([1., 2., 0.])
    """
    weights = as_numbers(sample_weight, caller, "sample_weight").astype(np.float64)
    if weights.shape != (n,):
        raise ValueError(
            f"{caller} expected sample_weight of shape (n,) = ({n},), got {weights.shape}: pass one weight a row."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise ValueError(
            f"{caller} expected finite sample_weight >= 0, got {weights[bad][0]} at row {bad.argmax()}: "
            "give a row that must not count the weight 0."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise ValueError(
            f"{caller} expected sample_weight not all zero and of finite sum, got a sum of {total}: "
            "give at least one row a weight above 0."
        )
    return weights


def normalized_weights(sample_weight: ArrayLike, n: int, caller: str) -> Array:
    """`as_weights`, divided by their mean, so that the mean of w_i L_i is the weighted mean of L_i.

    Example
    -------
    >>> normalized_weights([1, 3], 2, "PCA")
    array([0.5, 1.5])
    """
    weights = as_weights(sample_weight, n, caller)
    weights = weights / weights.max()  # first: the mean of denormal numbers may be 0, and a sum of large ones infinite
    normalized: Array = weights / weights.mean()
    return normalized


def check_finite(result: Numbers, caller: str) -> Numbers:
    """The same array or number; RuntimeError if it is not finite, as after an overflow far from the fitted data."""
    if not (_all_finite_now(result) if isinstance(result, np.ndarray) else math.isfinite(result)):
        raise RuntimeError(
            f"{caller} expected numbers within the range of its dtype, got an overflow: "
            "scale the data, to around [0, 1] or unit variance, before the fit and after it."
        )
    return result


@kernel
def all_finite(a: Array) -> Array:
    """1 if no number is infinite or NaN, else 0: () of float64."""
    return np.asarray(np.isfinite(a).all(), np.float64)


def _all_finite_now(a: Array) -> bool:
    """The same without a compiled kernel, which would be loaded just for this."""
    small = a.size < _SMALL and a.dtype.kind == "f"  # a larger sum of squares would wake the threads of NumPy's BLAS
    return (small and math.isfinite(np.vdot(a, a))) or bool(np.isfinite(a).all())


def as_pair(a: ArrayLike, b: ArrayLike, caller: str) -> tuple[Array, Array]:
    """A prediction and its target as floating arrays of one dtype and one non-empty 2-D shape."""
    prediction = as_numbers(a, caller, "prediction", complex_too=True)
    target = as_numbers(b, caller, "target")
    if prediction.ndim != 2 or prediction.shape != target.shape or prediction.size == 0:
        raise ValueError(
            f"{caller} expected prediction and target of one shape (n, d) with n, d >= 1, "
            f"got {prediction.shape} and {target.shape}: compare arrays that match element by element."
        )
    dtype = np.result_type(prediction.dtype, np.float32)
    return prediction.astype(dtype, copy=False), target.astype(np.zeros(0, dtype).real.dtype, copy=False)


def check_range(target: Array, high: float, caller: str) -> None:
    """Raise ValueError if a target is not in [0, high]."""
    lowest, highest = target.min(), target.max()
    if not (lowest >= 0 and highest <= high):  # NaN fails as well
        raise ValueError(
            f"{caller} expected targets in [0, {high:g}], got values from {lowest:g} to {highest:g}: "
            "rescale the data, or use MSE, which takes any real values."
        )


def as_input(x: ArrayLike, caller: str, *, width: int | None = None, dtype: DTypeLike | None = None) -> Array:
    """`x` as a batch (n, width) in the layer's dtype; complex numbers pass, for the complex step."""
    batch = as_numbers(x, caller, "x", complex_too=True)
    if batch.ndim != 2 or (width is not None and batch.shape[1] != width):
        raise ValueError(
            f"{caller} expected x of shape (n, {'d' if width is None else width}), got {batch.shape}: "
            "pass a batch, one example a row."
        )
    if batch.dtype.kind == "c" or batch.dtype == dtype:
        return batch
    return batch.astype(np.result_type(batch, np.float32) if dtype is None else dtype, copy=False)


def as_gradient(grad_y: ArrayLike, kept: Array | None, caller: str, width: int | None = None) -> tuple[Array, Array]:
    """The array that a layer's forward kept, and grad_y (n, width) in its dtype.

    Raises RuntimeError if forward kept nothing, ValueError if grad_y does not belong to the same batch.
    """
    if kept is None:
        raise RuntimeError(f"{caller}.backward expected a forward pass before it, got none: call forward(x) first.")
    shape = (kept.shape[0], kept.shape[1] if width is None else width)
    grad = as_numbers(grad_y, f"{caller}.backward", "grad_y", complex_too=kept.dtype.kind == "c")
    if grad.shape != shape:
        raise ValueError(
            f"{caller}.backward expected grad_y of shape {shape}, got {grad.shape}: "
            "pass the gradient by the output of the last forward."
        )
    return kept, grad.astype(kept.dtype, copy=False)
