"""The NumPy backend: no twins, so that every kernel runs its own body, and nothing to record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from npae.kernels.arrays import Array, written_to

Result = TypeVar("Result")

name = "numpy"
TWINS: dict[str, Callable[..., Any]] = {}


def describe() -> dict[str, Any]:
    return {"numpy": np.__version__}


def after_fork() -> None:
    pass


def recorded(step: Callable[..., Result], unchanged: Callable[[], bool]) -> Callable[..., Result]:
    return lambda *arrays, out=None: written_to(out, step(*arrays))


def recomputed(compute: Callable[[], Sequence[Any] | Array]) -> Array:
    return np.asarray(compute())


def cancel_recording() -> None:
    pass
