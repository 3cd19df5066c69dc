"""The few types that every room speaks of."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]
"""A NumPy array of float32 or float64 (complex128 where a complex step runs through)."""

RandomState: TypeAlias = "int | np.random.Generator | None"  # quoted: numpy.random loads when it is used
"""What fixes a run: a seed, a generator, or None for fresh entropy."""

__all__ = ["Array", "ArrayLike", "RandomState"]
