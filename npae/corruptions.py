"""Corruptions: noise that turns a clean x into the x_noisy that a denoising autoencoder sees.

A corruption is called as `corruption(x, rng) -> x_noisy`. It draws fresh noise from `rng` at every call, returns a new
floating-point array of the shape of x, and does not change x. Any function of that form will do.

The random numbers of the corruptions here are a function of a key and of the element's place. So one generator gives
the same noise on every backend, in every dtype and for any number of threads.

Source: Vincent, Larochelle, Lajoie, Bengio and Manzagol, 2010, "Stacked denoising autoencoders", section 3.3.

Next: `tied.py`, a decoder that shares the encoder's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from npae.estimator.arguments import as_generator, as_pair_of, as_real
from npae.estimator.validation import as_numbers
from npae.kernels import kernel, recomputed
from npae.kernels.arrays import Array, ArrayLike, RandomState

Corruption: TypeAlias = "Callable[[Array, np.random.Generator], Array]"
Key: TypeAlias = "NDArray[np.uint64]"
"""A uint64 of shape (1,), which determines a stream of random words."""


def philox(key: Key, n: int) -> Array:
    """The first n words of 32 bits of the random stream of `key`.

    The words 4c, 4c + 1, 4c + 2, 4c + 3 are Philox4x32-10 of the counter c: ten rounds of

        (x0, x1, x2, x3) <- (high(M1 x2) ^ x1 ^ k0, low(M1 x2), high(M0 x0) ^ x3 ^ k1, low(M0 x0))

    from (low(c), high(c), 0, 0). high and low are the halves of 64 bits. The two halves k0, k1 of the key grow by W0
    and W1 after each round. No word depends on another, so any thread can compute any word.

    Source: Salmon, Moraes, Dror and Shaw, 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter = np.arange(-(-n // 4), dtype=np.uint64)
    x0, x1 = counter & low, counter >> half
    x2 = x3 = np.zeros_like(counter)
    k0, k1 = key & low, key >> half
    for _ in range(10):
        p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1, x2, x3 = (p1 >> half) ^ x1 ^ k0, p1 & low, (p0 >> half) ^ x3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack([x0, x1, x2, x3], axis=1).astype(np.uint32).ravel()[:n]


def normals(key: Key, n: int) -> Array:
    """n standard normal numbers in float64; the words 2i and 2i + 1 make the numbers 2i and 2i + 1.

        r = sqrt(-2 log u),  u = (word_2i >> 9 + 1/2) 2^-23 in (0, 1),  a = 2 pi word_(2i+1) 2^-32
        r cos a,  r sin a

    Source: Box and Muller, 1958, "A note on the generation of random normal deviates".
    """
    words = philox(key, n + n % 2).reshape(-1, 2)
    r = np.sqrt(-2 * np.log(((words[:, 0] >> 9) + 0.5) * 2.0**-23))
    a = words[:, 1] * (2 * np.pi * 2.0**-32)
    return np.stack([r * np.cos(a), r * np.sin(a)], axis=1).ravel()[:n]


class KeyedNoise:
    """A corruption whose noise is a function of x and a key. A subclass defines `apply`."""

    def __call__(self, x: ArrayLike, rng: RandomState) -> Array:
        """x_noisy, with fresh noise.

        Raises TypeError or ValueError if x is not real numbers, or rng is not a generator, a seed or None.
        """
        caller = type(self).__name__
        numbers, generator = as_numbers(x, caller, "x"), as_generator(rng, caller)
        key = recomputed(lambda: [generator.integers(2**64, dtype=np.uint64)])
        return self.apply(numbers.astype(np.result_type(numbers, np.float32), copy=False), key)

    def apply(self, x: Array, key: Key) -> Array:
        """x_noisy for a floating-point x and a key."""
        raise NotImplementedError


@kernel
def gaussian_noise(x: Array, key: Key, std: float, low: float, high: float) -> Array:
    noisy = x + std * normals(key, x.size).reshape(x.shape)
    return np.clip(noisy, low, high).astype(x.dtype)


@dataclass(frozen=True)
class GaussianNoise(KeyedNoise):
    """x_noisy = x + std · e with e ~ N(0, 1) for each element, clipped to `clip` if given.

    Parameters
    ----------
    std : float >= 0
        In the units of x.
    clip : (low, high) or None
        The range of legal values, such as (0, 1) for images.

    Raises
    ------
    TypeError, ValueError
        If std is negative, or clip is not two numbers in rising order.

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

    def apply(self, x: Array, key: Key) -> Array:
        low, high = (-np.inf, np.inf) if self.clip is None else self.clip
        return gaussian_noise(x, key, self.std, low, high)


@kernel
def masking_noise(x: Array, key: Key, fraction: float) -> Array:
    words = philox(key, x.size).reshape(x.shape)
    return np.where(words < np.floor(fraction * 2.0**32), x.dtype.type(0), x)


@dataclass(frozen=True)
class MaskingNoise(KeyedNoise):
    """x_noisy = 0 with probability `fraction`, else x, independently for each element.

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

    def apply(self, x: Array, key: Key) -> Array:
        return masking_noise(x, key, self.fraction)


@kernel
def salt_and_pepper(x: Array, key: Key, fraction: float, low: float, high: float) -> Array:
    words = philox(key, x.size).reshape(x.shape)
    salted = np.where(words < np.floor(fraction * 2.0**32), x.dtype.type(high), x)
    return np.where(words < np.floor(fraction * 2.0**31), x.dtype.type(low), salted)


@dataclass(frozen=True)
class SaltAndPepper(KeyedNoise):
    """x_noisy = low or high, each with probability `fraction` / 2, else x, independently for each element.

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
    >>> [bool(abs((noisy == v).mean() - p) < 0.01) for v, p in ((0, 0.1), (0.5, 0.8), (1, 0.1))]
    [True, True, True]
    """

    fraction: float = 0.25
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        as_real(self.fraction, "SaltAndPepper", "fraction", low=0, high=1)
        _check_rising((self.low, self.high), "SaltAndPepper", "(low, high)")

    def apply(self, x: Array, key: Key) -> Array:
        return salt_and_pepper(x, key, self.fraction, self.low, self.high)


def corrupt(corruption: Corruption, x: Array, rng: np.random.Generator) -> Array:
    """corruption(x, rng). Raises ValueError if the result is not finite numbers of the shape of x; protects x."""
    x = x.view()
    x.flags.writeable = False
    noisy = np.asarray(corruption(x, rng))
    if noisy.shape != x.shape or noisy.dtype.kind not in "fiub":
        raise ValueError(
            f"corruption expected to return numbers of shape {x.shape}, got {noisy.dtype} of shape {noisy.shape}: "
            f"let {corruption!r} return a noisy array of the shape of its argument."
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
