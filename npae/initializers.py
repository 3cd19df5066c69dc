"""How weights begin: random, and scaled so that a signal keeps its size through many layers.

If x has n_in independent elements of variance 1 and W has variance s², each element of x W has variance
n_in s². Glorot and Bengio (2010) balance this against the same count on the way back, s² = 2 / (n_in + n_out);
He et al. (2015) note that a ReLU throws half of the signal away and take s² = 2 / n_in. Biases begin at zero.

Next: `layers.py`, whose `Dense` takes one of these by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npae.arrays import Array

Initializer: TypeAlias = "Callable[[np.random.Generator, int, int, DTypeLike], Array]"


def he(rng: np.random.Generator, n_in: int, n_out: int, dtype: DTypeLike = np.float32) -> Array:
    """W (n_in, n_out) drawn from a normal distribution of mean 0 and variance 2 / n_in, for ReLU and its kin.

    Source: He, Zhang, Ren and Sun, 2015, "Delving deep into rectifiers", equation 10.

    Example
    -------
    >>> W = he(np.random.default_rng(0), 500, 400)
    >>> W.shape, bool(abs(W.var() - 2 / 500) < 1e-4)
    ((500, 400), True)
    """
    return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out)).astype(dtype)


def glorot(rng: np.random.Generator, n_in: int, n_out: int, dtype: DTypeLike = np.float32) -> Array:
    """W (n_in, n_out) uniform in [-a, a], a = sqrt(6 / (n_in + n_out)): variance 2 / (n_in + n_out).

    Source: Glorot and Bengio, 2010, "Understanding the difficulty of training deep feedforward neural
    networks", equation 16.

    Example
    -------
    >>> W = glorot(np.random.default_rng(0), 500, 400)
    >>> W.shape, bool(abs(W).max() <= np.sqrt(6 / 900))
    ((500, 400), True)
    """
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out)).astype(dtype)


INITIALIZERS: dict[str, Initializer] = {"he": he, "glorot": glorot}
