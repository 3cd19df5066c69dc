"""The door: what comes in from outside is checked once, here, before any work starts.

Every message has three parts: what was expected, what came, and what to do about it.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from npae.arrays import Array, ArrayLike, RandomState, mapped

T = TypeVar("T")
Numbers = TypeVar("Numbers", float, Array)

_NUMBERS_AT_A_TIME = 2**20  # finiteness is checked in stretches, so that no mask as large as X is made


def as_table(
    X: ArrayLike,
    who: str,
    *,
    name: str = "X",
    width: int | None = None,
    dtype: DTypeLike | None = None,
    maps_stay: bool = False,
) -> Array:
    """`X` as a C-ordered (n, d) array of finite float32 or float64; the same array where it is one already.

    Lists, integers, booleans, DataFrames and any memory layout are taken. Where `dtype` is None, float32 and
    float64 stay what they are and other numbers become the smallest of the two that holds them. With `maps_stay` a
    memory map is checked as if it were converted, a stretch at a time, and returned as it is.

    Raises
    ------
    TypeError
        If X holds no numbers (strings, objects) or is sparse.
    ValueError
        If X is complex, has not two axes, not `width` columns, no rows or columns, or holds NaN or infinity.
    """

    def expected() -> str:
        return f"{who} expected {name} of shape (n, {'d' if width is None else width})"

    raw = as_numbers(X, who, name)
    if raw.ndim != 2:
        hint = f"flatten each item with {name}.reshape(len({name}), -1)"
        if raw.ndim < 2:
            hint = f"for one row np.reshape({name}, (1, -1)), for one column np.reshape({name}, (-1, 1))"
        raise ValueError(f"{expected()}, got {raw.shape}. Reshape your data: {hint}.")
    if 0 in raw.shape:
        came = f"{raw.shape[raw.shape.index(0)]} {'sample' if len(raw) == 0 else 'feature'}(s) (shape={raw.shape})"
        raise ValueError(
            f"{expected()} with at least one row and one column, got {came} while a minimum of 1 is required: "
            "pass some data."
        )
    if width is not None and raw.shape[1] != width:
        raise ValueError(
            f"{expected()}, got {raw.shape}. {name} has {raw.shape[1]} features, but {who} is expecting {width} "
            f"features as input: give it the {width} columns it was built for."
        )
    wanted = np.result_type(raw.dtype, np.float32) if dtype is None else np.dtype(dtype)
    if wanted.kind != "f" or wanted.itemsize not in (4, 8):
        wanted = np.dtype(np.float64)
    if (maps_stay and mapped(raw)) or (raw.dtype == wanted and raw.flags.c_contiguous):
        table = raw
    else:
        with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes infinite: refused below
            table = np.ascontiguousarray(raw, dtype=wanted)
    _refuse_non_finite(table, wanted, who, name)
    return table


def as_numbers(x: ArrayLike, who: str, name: str = "X", *, complex_too: bool = False) -> Array:
    """`x` as an array of numbers of whatever shape and dtype it has; the complex step needs complex ones.

    Numbers that are Python's own objects become float64.
    """
    if hasattr(x, "toarray"):
        raise TypeError(
            f"{who} expected {name} as a dense table, got a sparse {type(x).__name__}: pass {name}.toarray()."
        )
    ma = sys.modules.get("numpy.ma")  # where that is not loaded there are no masked arrays
    if ma is not None and isinstance(x, ma.MaskedArray) and ma.is_masked(x):
        raise ValueError(
            f"{who} expected {name} without masked values, got {ma.count_masked(x)} of them: fill them first, with "
            f"{name}.filled(0) for example, or leave out their rows with np.ma.compress_rows({name})."
        )
    try:
        raw = np.asarray(x)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"{who} expected {name} as a rectangular table of numbers, got rows of unequal shape: "
            "give every row the same number of values."
        ) from error
    if raw.dtype.kind == "c" and not complex_too:
        raise ValueError(
            f"{who} expected {name} as real numbers, got dtype {raw.dtype}. Complex data not supported: "
            "pass the real and the imaginary parts as columns of their own."
        )
    if raw.dtype == object:
        try:
            return np.array([_as_float(value) for value in raw.flat], np.float64).reshape(raw.shape)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(
                f"{who} expected {name} as real numbers, got dtype object ({error}): "
                f"convert it first, for example with np.asarray({name}, dtype=float)."
            ) from error
    if raw.dtype.kind not in "fiubc":
        raise TypeError(
            f"{who} expected {name} as real numbers, got dtype {raw.dtype}: "
            f"convert it first, for example with np.asarray({name}, dtype=float)."
        )
    return raw


def _as_float(value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError(f"text is no number: {value!r}")
    return float(value)


def _refuse_non_finite(table: Array, dtype: np.dtype[Any], who: str, name: str) -> None:
    rows = max(1, _NUMBERS_AT_A_TIME // table.shape[1])
    for start in range(0, len(table), rows):
        numbers = table[start : start + rows]
        if numbers.dtype != dtype:
            with np.errstate(over="ignore"):
                numbers = numbers.astype(dtype)
        good = np.isfinite(numbers)
        if not good.all():
            row, column = np.argwhere(~good)[0]
            raise ValueError(
                f"{who} expected finite {name}, got {numbers[row, column]} at row {start + row}, "
                f"column {column} (as {dtype}): remove or fill NaN and inf first."
            )


def as_weights(sample_weight: ArrayLike, n: int, who: str) -> Array:
    """`sample_weight` as n float64 numbers >= 0, how often each row counts.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they are not of shape (n,), finite, >= 0, or are all zero.

    Example
    -------
    >>> as_weights([1, 2, 0], 3, "PCA")
    array([1., 2., 0.])
    """
    weights = as_numbers(sample_weight, who, "sample_weight").astype(np.float64)
    if weights.shape != (n,):
        raise ValueError(
            f"{who} expected sample_weight of shape (n,) = ({n},), got {weights.shape}: give each row of X one weight."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise ValueError(
            f"{who} expected finite sample_weight >= 0, got {weights[bad][0]} at row {bad.argmax()}: "
            "give a row that is not to count the weight 0."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise ValueError(
            f"{who} expected sample_weight not all zero and of finite sum, got a sum of {total}: "
            "give at least one row a weight above 0."
        )
    return weights


def in_range(compute: Callable[[], Numbers], who: str) -> Numbers:
    """compute(), an array or number, once it is known to be finite; raises what `finite` does."""
    with np.errstate(over="ignore", invalid="ignore"):
        return finite(compute(), who)


def finite(result: Numbers, who: str) -> Numbers:
    """The same array or number, once it is known to be finite: data far from those of the fit can overflow.

    Raises RuntimeError if it is not.
    """
    total = np.add.reduce(result, axis=None) if isinstance(result, np.ndarray) else result
    if not (math.isfinite(total) or np.isfinite(result).all()):  # the sum is quicker, and may overflow
        raise RuntimeError(
            f"{who} expected numbers within the range of its dtype, got some beyond it on the way: "
            "scale the data, to around [0, 1] or unit variance, before the fit and after it."
        )
    return result


def as_pair(a: ArrayLike, b: ArrayLike, who: str) -> tuple[Array, Array]:
    """A prediction and its target as floating arrays of one dtype and one non-empty 2-D shape."""
    prediction = as_numbers(a, who, "prediction", complex_too=True)
    target = as_numbers(b, who, "target")
    if prediction.ndim != 2 or prediction.shape != target.shape or prediction.size == 0:
        raise ValueError(
            f"{who} expected prediction and target of one shape (n, d) with n, d >= 1, "
            f"got {prediction.shape} and {target.shape}: compare arrays that match element by element."
        )
    dtype = np.result_type(prediction.dtype, np.float32)
    return prediction.astype(dtype, copy=False), target.astype(np.zeros(0, dtype).real.dtype, copy=False)


def check_range(target: Array, high: float, who: str) -> None:
    """Raise ValueError if a target is not in [0, high]."""
    lowest, highest = target.min(), target.max()
    if not (lowest >= 0 and highest <= high):  # so written that NaN fails as well
        raise ValueError(
            f"{who} expected targets in [0, {high:g}], got values from {lowest:g} to {highest:g}: "
            "rescale the data, or use MSE, which takes any real values."
        )


def as_input(x: ArrayLike, who: str, *, width: int | None = None, dtype: DTypeLike | None = None) -> Array:
    """`x` as a batch (n, width) for a layer, in the layer's dtype; complex passes, for the complex step."""
    batch = as_numbers(x, who, "x", complex_too=True)
    if batch.ndim != 2 or (width is not None and batch.shape[1] != width):
        raise ValueError(
            f"{who} expected x of shape (n, {'d' if width is None else width}), got {batch.shape}: "
            "pass a batch of rows, one row an example."
        )
    if batch.dtype.kind == "c":
        return batch
    return batch.astype(np.result_type(batch, np.float32) if dtype is None else dtype, copy=False)


def as_gradient(grad_y: ArrayLike, memory: Array | None, who: str, width: int | None = None) -> tuple[Array, Array]:
    """What a layer's forward kept, and grad_y (n, width) in its dtype, once it is known to belong to it.

    Raises RuntimeError if forward has kept nothing, ValueError if grad_y is not of that batch.
    """
    if memory is None:
        raise RuntimeError(f"{who}.backward expected a forward pass before it, got none: call forward(x) first.")
    shape = (memory.shape[0], memory.shape[1] if width is None else width)
    grad = as_numbers(grad_y, f"{who}.backward", "grad_y", complex_too=memory.dtype.kind == "c")
    if grad.shape != shape:
        raise ValueError(
            f"{who}.backward expected grad_y of shape {shape}, got {grad.shape}: "
            "pass the gradient of what the last forward returned."
        )
    return memory, grad.astype(memory.dtype, copy=False)


def as_count(value: Any, who: str, name: str, *, at_least: int = 1) -> int:
    """`value` as a whole number of at least `at_least`."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(
            f"{who} expected {name} as a whole number, got {value!r} ({type(value).__name__}): pass an int."
        )
    if number < at_least:
        raise ValueError(f"{who} expected {name} >= {at_least}, got {number}: choose a larger number.")
    return number


def as_real(
    value: Any,
    who: str,
    name: str,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    without: float | None = None,
) -> float:
    """`value` as a finite float in [low, high], the end `without` left out."""
    if isinstance(value, bool | np.bool_ | str | bytes | complex):
        number = None
    else:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = None
    if number is None:
        raise TypeError(
            f"{who} expected {name} as a real number, got {value!r} ({type(value).__name__}): pass a float."
        )
    if not np.isfinite(number) or not low <= number <= high or number == without:
        bounds = f"{'(' if low == without else '['}{low:g}, {high:g}{')' if high in (without, np.inf) else ']'}"
        raise ValueError(f"{who} expected {name} finite and in {bounds}, got {number!r}: choose a value inside.")
    return number


def as_flag(value: Any, who: str, name: str) -> bool:
    """`value` as True or False; 1 and 0 will do."""
    if isinstance(value, bool | np.bool_ | int) and value in (0, 1):
        return bool(value)
    raise TypeError(f"{who} expected {name} as True or False, got {value!r} ({type(value).__name__}): pass a bool.")


def as_pair_of(value: Any, who: str, name: str, what: str, example: str) -> tuple[Any, Any]:
    """`value` as two things."""
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise ValueError(f"{who} expected {name} as {what}, got {value!r}: pass {example}, for example.")
    first, second = value
    return first, second


def as_image_shape(value: Any, who: str) -> tuple[int, int]:
    """`value` as (height, width) in pixels."""
    height, width = as_pair_of(value, who, "image_shape", "(height, width)", "(28, 28)")
    return as_count(height, who, "height"), as_count(width, who, "width")


def as_path(value: Any, who: str, name: str = "path") -> str:
    """`value` as the name of a file."""
    try:
        path = os.fsdecode(value)
    except (TypeError, ValueError):
        path = None
    if path is None:
        raise TypeError(f"{who} expected {name} as a path, got {value!r}: pass 'model.npz', for example.")
    if not os.path.basename(path) or "\0" in path or os.path.isdir(path):
        raise ValueError(f"{who} expected {name} as the path of a file, got {path!r}: pass 'model.npz', for example.")
    return path


def as_dtype(value: Any, who: str) -> np.dtype[Any]:
    """`value` as the dtype float32 or float64."""
    if isinstance(value, str | type | np.dtype):
        try:
            named = np.dtype(value)
        except (TypeError, ValueError, SyntaxError, Warning):  # not the name of any dtype
            named = np.dtype(object)
        if named in (np.dtype(np.float32), np.dtype(np.float64)):
            return named
    raise ValueError(f"{who} expected dtype float32 or float64, got {value!r}: choose one of these.")


def as_generator(random_state: RandomState, who: str) -> np.random.Generator:
    """The generator that a seed stands for, the generator itself, or a fresh one for None."""
    if isinstance(random_state, np.random.Generator):
        if not hasattr(random_state.bit_generator.seed_seq, "spawn"):
            raise TypeError(
                f"{who} expected a generator that can spawn others, got one from {random_state.bit_generator!r} "
                "without a seed sequence: pass np.random.default_rng(0), for example."
            )
        return random_state
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(as_count(random_state, who, "random_state", at_least=0))


def as_member(choice: Any, kind: type[T], names: Mapping[str, type[T]], who: str, name: str) -> T:
    """An object of `kind`: the given one, or a new one of the class that the name stands for."""
    if isinstance(choice, kind):
        return choice
    if isinstance(choice, str) and choice in names:
        try:
            return names[choice]()
        except TypeError as error:
            raise ValueError(
                f"{who} expected {name} {choice!r} with its arguments, got the bare name: "
                f"pass an object such as npae.{names[choice].__name__}(...)."
            ) from error
    raise (ValueError if isinstance(choice, str) else TypeError)(
        f"{who} expected {name} as one of {sorted(names)} or a {kind.__name__} object, got {choice!r}: "
        "choose one of these."
    )
