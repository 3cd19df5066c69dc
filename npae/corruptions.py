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

from npae import kernels
from npae.arrays import Array, ArrayLike, RandomState
from npae.estimator.arguments import as_generator, as_pair_of, as_real
from npae.estimator.validation import as_numbers

Corruption: TypeAlias = "Callable[[Array, np.random.Generator], Array]"


class KeyedNoise:
    """Noise that is a function of x and one key: `rng` draws the key, and `apply` the noise that it stands for.

    The noise of an element depends on the key and the element's place alone, so the same generator gives the
    same noise on any backend, in any dtype, and for any number of threads.
    """

    only_kernels = False  # see `blocks.only_kernels`

    def __call__(self, x: ArrayLike, rng: RandomState) -> Array:
        """x_noisy, with fresh noise.

        Raises TypeError or ValueError if x holds no real numbers or rng is no generator, seed or None.
        """
        numbers = as_numbers(x, type(self).__name__, "x")
        numbers = numbers.astype(np.result_type(numbers, np.float32), copy=False)
        return self.apply(numbers, draw_key(as_generator(rng, type(self).__name__)))

    def apply(self, x: Array, key: Array) -> Array:
        """x_noisy for a floating x and a key: uint64 of shape (1,)."""
        raise NotImplementedError


def draw_key(rng: np.random.Generator) -> Array:
    """A fresh key for `KeyedNoise.apply`."""
    return rng.integers(2**64, size=1, dtype=np.uint64)


@dataclass(frozen=True)
class GaussianNoise(KeyedNoise):
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

    only_kernels = True

    std: float = 0.5
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        as_real(self.std, "GaussianNoise", "std", low=0)
        if self.clip is not None:
            _check_rising(self.clip, "GaussianNoise", "clip")

    def apply(self, x: Array, key: Array) -> Array:
        low, high = (-np.inf, np.inf) if self.clip is None else self.clip
        return kernels.of(x).gaussian_noise(x, key, self.std, low, high)


@dataclass(frozen=True)
class MaskingNoise(KeyedNoise):
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

    only_kernels = True

    fraction: float = 0.25

    def __post_init__(self) -> None:
        as_real(self.fraction, "MaskingNoise", "fraction", low=0, high=1)

    def apply(self, x: Array, key: Array) -> Array:
        return kernels.of(x).masking_noise(x, key, self.fraction)


@dataclass(frozen=True)
class SaltAndPepper(KeyedNoise):
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

    only_kernels = True

    fraction: float = 0.25
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        as_real(self.fraction, "SaltAndPepper", "fraction", low=0, high=1)
        _check_rising((self.low, self.high), "SaltAndPepper", "(low, high)")

    def apply(self, x: Array, key: Array) -> Array:
        return kernels.of(x).salt_and_pepper(x, key, self.fraction, self.low, self.high)


def corrupt(corruption: Corruption, x: Array, rng: np.random.Generator) -> Array:
    """corruption(x, rng), held to its contract: x unchanged, the result of x's shape and dtype."""
    x = x.view()
    x.flags.writeable = False
    noisy = np.asarray(corruption(x, rng))
    if noisy.shape != x.shape or noisy.dtype.kind not in "fiub":
        raise ValueError(
            f"corruption expected to return numbers of shape {x.shape}, got {noisy.dtype} of shape {noisy.shape}: "
            f"let {corruption!r} return a noisy array shaped like its argument."
        )
    noisy = noisy.astype(x.dtype, copy=False)
    if not np.isfinite(noisy).all():
        raise ValueError(
            f"corruption expected to return finite numbers, got NaN or infinity from {corruption!r}: "
            "let it return values that the network can take."
        )
    return noisy


def _check_rising(pair: tuple[float, float], caller: str, name: str) -> None:
    low, high = as_pair_of(pair, caller, name, "two numbers", "(0, 1)")
    if as_real(low, caller, name) >= as_real(high, caller, name):
        raise ValueError(f"{caller} expected {name} as two rising numbers, got {pair!r}: put the smaller one first.")


CORRUPTIONS: dict[str, Callable[[], Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepper,
}
