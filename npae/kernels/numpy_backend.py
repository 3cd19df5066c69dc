"""The NumPy backend: no twins, so that every kernel runs its own body, and nothing to record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from npae.kernels.arrays import Array

Result = TypeVar("Result")

name = "numpy"
TWINS: dict[str, Callable[..., Any]] = {}


def describe() -> dict[str, Any]:
    return {"numpy": np.__version__}


def after_fork() -> None:
    pass


def recorded(step: Callable[[], Result], unchanged: Callable[[], bool]) -> Callable[[], Result]:
    return step


def blockwise(
    step: Callable[..., tuple[Array, ...]], unchanged: Callable[[], bool]
) -> Callable[[Sequence[Array], Sequence[Array]], None]:
    def compute(tables: Sequence[Array], results: Sequence[Array]) -> None:
        for block in range(len(tables[0])):
            for result, values in zip(results, step(*(table[block] for table in tables)), strict=True):
                result[block] = values

    return compute


def recomputed(compute: Callable[[], Sequence[Any] | Array]) -> Array:
    return np.asarray(compute())


def cancel_recording() -> None:
    pass
