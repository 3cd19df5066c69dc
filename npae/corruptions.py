"""Corruptions: how a clean x becomes the noisy x that a denoising autoencoder is shown.

A corruption is a recipe called `corruption(x, rng) -> x_noisy`. It draws fresh noise from `rng` at every
call, returns a new floating array of the shape of x, and leaves x alone. Any function of that form serves.

Source: Vincent, Larochelle, Lajoie, Bengio and Manzagol, 2010, "Stacked denoising autoencoders", section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from npae.arrays import Array, ArrayLike, RandomState
from npae.validation import as_generator, as_numbers, as_real

Corruption: TypeAlias = "Callable[[Array, np.random.Generator], Array]"


@dataclass(frozen=True)
class GaussianNoise:
    """x_noisy = x + std · e with e ~ N(0, 1) for each element, clipped to `clip` if that is given.

    Parameters
    ----------
    std : float >= 0
        In the units of x.
    clip : (low, high) or None
        The range of legal values, such as (0, 1) for images.

    Raises
    ------
    TypeError, ValueError
        If std is negative or clip is not two rising numbers.

    Example
    -------
    >>> import numpy as np
    >>> noisy = GaussianNoise(0.5)(np.zeros((100, 100)), np.random.default_rng(0))
    >>> bool(abs(noisy.std() - 0.5) < 0.01)
    True
    """

    std: float = 0.5
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        as_real(self.std, "GaussianNoise", "std", low=0)
        if self.clip is not None:
            _check_rising(self.clip, "GaussianNoise", "clip")

    def __call__(self, x: ArrayLike, rng: RandomState) -> Array:
        x, rng = _taken(x, rng, "GaussianNoise")
        noisy = rng.standard_normal(x.shape, dtype=np.float32 if x.dtype == np.float32 else np.float64)
        noisy *= self.std
        noisy += x
        return noisy if self.clip is None else np.clip(noisy, *self.clip, out=noisy)


@dataclass(frozen=True)
class MaskingNoise:
    """x_noisy = 0 with probability `fraction`, else x, for each element on its own.

    Raises
    ------
    TypeError, ValueError
        If fraction is not in [0, 1].

    Example
    -------
    >>> import numpy as np
    >>> noisy = MaskingNoise(0.25)(np.ones((100, 100)), np.random.default_rng(0))
    >>> bool(abs((noisy == 0).mean() - 0.25) < 0.01)
    True
    """

    fraction: float = 0.25

    def __post_init__(self) -> None:
        as_real(self.fraction, "MaskingNoise", "fraction", low=0, high=1)

    def __call__(self, x: ArrayLike, rng: RandomState) -> Array:
        x, rng = _taken(x, rng, "MaskingNoise")
        return np.where(rng.random(x.shape) < self.fraction, x.dtype.type(0), x)


@dataclass(frozen=True)
class SaltAndPepper:
    """x_noisy = low or high, each with probability `fraction` / 2, else x, for each element on its own.

    Parameters
    ----------
    fraction : float in [0, 1]
    low, high : float
        Pepper and salt: the ends of the range of x.

    Raises
    ------
    TypeError, ValueError
        If fraction is not in [0, 1], or low is not below high.

    Example
    -------
    >>> import numpy as np
    >>> noisy = SaltAndPepper(0.2)(np.full((100, 100), 0.5), np.random.default_rng(0))
    >>> [bool(abs((noisy == v).mean() - share) < 0.01) for v, share in ((0, 0.1), (0.5, 0.8), (1, 0.1))]
    [True, True, True]
    """

    fraction: float = 0.25
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        as_real(self.fraction, "SaltAndPepper", "fraction", low=0, high=1)
        _check_rising((self.low, self.high), "SaltAndPepper", "(low, high)")

    def __call__(self, x: ArrayLike, rng: RandomState) -> Array:
        x, rng = _taken(x, rng, "SaltAndPepper")
        u = rng.random(x.shape)
        noisy = np.where(u < self.fraction, x.dtype.type(self.high), x)
        return np.where(u < self.fraction / 2, x.dtype.type(self.low), noisy)


def _taken(x: ArrayLike, rng: RandomState, who: str) -> tuple[Array, np.random.Generator]:
    """x as a floating array and rng as a generator, so that lists, whole numbers and seeds serve as well."""
    numbers = as_numbers(x, who, "x")
    return numbers.astype(np.result_type(numbers, np.float32), copy=False), as_generator(rng, who)


def _check_rising(pair: tuple[float, float], who: str, name: str) -> None:
    try:
        low, high = pair
    except (TypeError, ValueError) as error:
        raise ValueError(f"{who} expected {name} as two numbers, got {pair!r}: pass (0, 1), for example.") from error
    if as_real(low, who, name) >= as_real(high, who, name):
        raise ValueError(f"{who} expected {name} as two rising numbers, got {pair!r}: put the smaller one first.")


CORRUPTIONS: dict[str, Callable[[], Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepper,
}
