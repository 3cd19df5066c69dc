"""Checks of scalars, choices and paths: the arguments of constructors and functions.

Every error says what was expected, what came, and what to do. `caller` is the name that the message begins with.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from npae.kernels.arrays import RandomState

T = TypeVar("T")


def as_count(value: Any, caller: str, name: str, *, at_least: int = 1) -> int:
    """`value` as a whole number of at least `at_least`."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{caller} expected {name} as a whole number, got {_shown(value)}: pass an int.")
    if number < at_least:
        raise ValueError(f"{caller} expected {name} >= {at_least}, got {number}: choose a larger number.")
    return number


def as_real(
    value: Any, caller: str, name: str, *, low: float = -np.inf, high: float = np.inf, without: float | None = None
) -> float:
    """`value` as a finite float in [low, high], excluding the bound `without`."""
    try:
        number = None if isinstance(value, bool | np.bool_ | str | bytes | complex) else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"{caller} expected {name} as a real number, got {_shown(value)}: pass a float.")
    if not np.isfinite(number) or not low <= number <= high or number == without:
        bounds = f"{'(' if low == without else '['}{low:g}, {high:g}{')' if high in (without, np.inf) else ']'}"
        raise ValueError(f"{caller} expected {name} finite and in {bounds}, got {number!r}: choose a value inside.")
    return number


def as_share(value: Any, caller: str, name: str, *, advice: str) -> float:
    """`value` as a float in (0, 1), without the ends; `advice` says what else to pass.

    Example
    -------
    >>> as_share(0.25, "PCA", "n_components", advice="pass 0.9, say")
    0.25
    """
    share = as_real(value, caller, name)
    if not 0 < share < 1:
        raise ValueError(f"{caller} expected {name} as a share in (0, 1), got {value!r}: {advice}.")
    return share


def as_flag(value: Any, caller: str, name: str) -> bool:
    """`value` as True or False; 1 and 0 are accepted."""
    if isinstance(value, bool | np.bool_ | int) and value in (0, 1):
        return bool(value)
    raise TypeError(f"{caller} expected {name} as True or False, got {_shown(value)}: pass a bool.")


def as_pair_of(value: Any, caller: str, name: str, expected: str, example: str) -> tuple[Any, Any]:
    """`value` as a pair; `expected` and `example` describe it in the error."""
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise ValueError(f"{caller} expected {name} as {expected}, got {value!r}: pass {example}, for example.")
    first, second = value
    return first, second


def as_image_shape(value: Any, caller: str) -> tuple[int, int]:
    """`value` as (height, width) in pixels."""
    height, width = as_pair_of(value, caller, "image_shape", "(height, width)", "(28, 28)")
    return as_count(height, caller, "height"), as_count(width, caller, "width")


def as_path(value: Any, caller: str, name: str = "path") -> str:
    """`value` as the path of a file."""
    try:
        path = os.fsdecode(value)
    except (TypeError, ValueError):
        raise TypeError(f"{caller} expected {name} as a path, got {value!r}: pass 'model.npz', say.") from None
    if not os.path.basename(path) or "\0" in path or os.path.isdir(path):
        raise ValueError(f"{caller} expected {name} as the path of a file, got {path!r}: pass 'model.npz', say.")
    return path


def as_dtype(value: Any, caller: str) -> np.dtype[Any]:
    """`value` as the dtype float32 or float64."""
    try:
        dtype = np.dtype(value) if isinstance(value, str | type | np.dtype) else None
    except (TypeError, ValueError, SyntaxError, Warning):  # not the name of a dtype
        dtype = None
    if dtype is None or dtype not in (np.float32, np.float64):
        raise ValueError(f"{caller} expected dtype float32 or float64, got {value!r}: choose one of these.")
    return dtype


def as_generator(random_state: RandomState, caller: str) -> np.random.Generator:
    """The generator of a seed, the given generator, or a fresh one for None."""
    if isinstance(random_state, np.random.Generator):
        if not hasattr(random_state.bit_generator.seed_seq, "spawn"):
            raise TypeError(
                f"{caller} expected a generator that can spawn others, got one from {random_state.bit_generator!r} "
                "without a seed sequence: pass np.random.default_rng(0), for example."
            )
        return random_state
    seed = None if random_state is None else as_count(random_state, caller, "random_state", at_least=0)
    return np.random.default_rng(seed)


def resolve(choice: Any, kind: type[T], names: Mapping[str, type[T]], caller: str, name: str) -> T:
    """The given object of `kind`, or a new one of the class that the name `choice` stands for."""
    if isinstance(choice, kind):
        return choice
    if isinstance(choice, str) and choice in names:
        try:
            return names[choice]()
        except TypeError as error:
            raise ValueError(
                f"{caller} expected {name} {choice!r} with its arguments, got the bare name: "
                f"pass an object such as npae.{names[choice].__name__}(...)."
            ) from error
    raise (ValueError if isinstance(choice, str) else TypeError)(
        f"{caller} expected {name} as one of {sorted(names)} or a {kind.__name__} object, got {choice!r}: "
        "choose one of these."
    )


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"
