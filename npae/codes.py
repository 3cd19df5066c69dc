"""Codes: layers between encoder and decoder that limit what a code can say.

    TopK            only the k largest numbers of each code stay                       the k-sparse autoencoder
    WinnerTakeAll   each unit keeps its largest values among the rows of a batch       the winner-take-all autoencoder
    NestedDropout   training cuts each code off at a random length                     an ordered autoencoder
    GaussianCode    the encoder gives a distribution, from which training draws z      the variational autoencoder

`TopK` is an ordinary layer, the last of the encoder. The others are stochastic layers with two forward passes.
draw(h, rng) gives the z of training, which depends on chance or on the batch, forward(h) the fixed z of `encode`.
backward belongs to the last of these.

Next: `penalties.py`, which constrain a code by a term of the loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npae.corruptions import Key, normals
from npae.estimator.arguments import as_count, as_real
from npae.estimator.validation import as_gradient, as_input
from npae.kernels import kernel, recomputed
from npae.kernels.arrays import Array, ArrayLike
from npae.layers import Layer


@kernel
def multiply(a: Array, b: Array) -> Array:
    """c = a · b, element by element."""
    return a * b


class TopK(Layer):
    """y_ij = x_ij if it is among the k largest of row i, else 0: the code keeps its k largest numbers.

    Each input chooses the k units that describe it, so a large code stays sparse: at most k of its numbers are not 0.
    Of equal numbers the first ones are kept. The gradient passes through the k numbers alone.

    Source: Makhzani and Frey, 2013, "k-sparse autoencoders", section 2; Gao et al., 2024, "Scaling and evaluating
    sparse autoencoders", section 2.3, where a ReLU follows.

    Raises
    ------
    TypeError, ValueError
        If k is not a whole number >= 1, or x has fewer than k columns.

    Example
    -------
    >>> TopK(2).forward([[3.0, 1.0, -1.0, 2.0]]).tolist()
    [[3.0, 0.0, 0.0, 2.0]]
    """

    _kept: Any = None

    def __init__(self, k: int) -> None:
        self.k = as_count(k, "TopK", "k")

    def forward(self, x: ArrayLike) -> Array:
        """y = x at the k largest numbers of each row, else 0."""
        x = as_input(x, "TopK")
        if x.shape[1] < self.k:
            raise ValueError(f"TopK expected at least k = {self.k} columns, got {x.shape[1]}: choose a smaller k.")
        smallest = np.partition(x.real, -self.k, axis=1)[:, [-self.k]]  # of those that stay
        above, equal = x.real > smallest, x.real == smallest
        left = self.k - above.sum(axis=1, keepdims=True)
        self._kept = (above | (equal & (equal.cumsum(axis=1) <= left))).astype(x.dtype)
        return np.where(self._kept, x, 0)

    def backward(self, grad_y: Array) -> Array:
        """grad_x = grad_y where x was kept, else 0."""
        kept, grad_y = as_gradient(grad_y, self._kept, "TopK")
        return multiply(grad_y, kept)

    def branches(self) -> list[Array]:
        return [] if self._kept is None else [self._kept != 0]

    def __repr__(self) -> str:
        return f"TopK({self.k})"


class StochasticLayer(Layer):
    """A layer that training passes by z = draw(h, rng), random or dependent on the batch, and use by z = forward(h).

    Example
    -------
    >>> import numpy as np
    >>> class Doubled(StochasticLayer):
    ...     '''z = h or 2 h.'''
    ...     def draw(self, h, rng): self.factor = rng.integers(1, 3); return self.factor * h
    ...     def forward(self, h): self.factor = 1.5; return 1.5 * h
    ...     def backward(self, grad_z): return self.factor * grad_z
    >>> Doubled().forward(np.ones((1, 2))).tolist()
    [[1.5, 1.5]]
    """

    def draw(self, h: Array, rng: np.random.Generator) -> Array:
        """z, random: h (N, n_in) -> z (N, n_out)."""
        raise NotImplementedError


class WinnerTakeAll(StochasticLayer):
    """z_ij = h_ij if it is positive and among the rate · N largest of column j, else 0, for a batch of N rows.

    `TopK` limits how many units describe a row, and some units may never be used. This limits how many rows a unit
    describes: each unit takes its own share of every batch, so all of them learn. forward, for use after training,
    keeps whatever is positive. A unit's share is rounded, and is at least one row; of equal values all are kept.

    Source: Makhzani and Frey, 2015, "Winner-take-all autoencoders", section 2 (lifetime sparsity).

    Raises
    ------
    TypeError, ValueError
        If rate is not in (0, 1].

    Example
    -------
    >>> import numpy as np
    >>> h = np.array([[1.0, 5.0], [2.0, -1.0], [3.0, 4.0], [4.0, -2.0]])
    >>> WinnerTakeAll(0.25).draw(h, np.random.default_rng(0)).tolist()
    [[0.0, 5.0], [0.0, 0.0], [0.0, 0.0], [4.0, 0.0]]
    """

    _kept: Any = None

    def __init__(self, rate: float) -> None:
        self.rate = as_real(rate, "WinnerTakeAll", "rate", low=0, high=1, without=0)

    def draw(self, h: Array, rng: np.random.Generator) -> Array:
        """z = h at the positive winners of each column, else 0. `rng` is not used."""
        h = as_input(h, "WinnerTakeAll")
        winners = max(1, round(self.rate * len(h)))
        smallest = np.partition(h.real, -winners, axis=0)[-winners]
        return self._keep(h, (h.real >= smallest) & (h.real > 0))

    def forward(self, h: ArrayLike) -> Array:
        """z = max(h, 0)."""
        h = as_input(h, "WinnerTakeAll")
        return self._keep(h, h.real > 0)

    def _keep(self, h: Array, kept: NDArray[np.bool_]) -> Array:
        self._kept = kept.astype(h.dtype)
        return np.where(kept, h, 0)

    def backward(self, grad_z: Array) -> Array:
        """grad_h = grad_z where h was kept, else 0."""
        kept, grad_z = as_gradient(grad_z, self._kept, "WinnerTakeAll")
        return multiply(grad_z, kept)

    def branches(self) -> list[Array]:
        return [] if self._kept is None else [self._kept != 0]

    def __repr__(self) -> str:
        return f"WinnerTakeAll({self.rate})"


class NestedDropout(StochasticLayer):
    """z_j = h_j for j <= b, else 0, with a random length b for each row: the first numbers must say the most.

    A number is used only together with all numbers before it. So the first learns what serves best alone, the second
    what is best beside it, and so on. A linear autoencoder finds PCA's directions in PCA's order, and not any basis of
    their plane. A trained code can be cut off anywhere: `Z[:, b:] = 0` before `decode`. forward cuts nothing.

        p(b) = 1 / n                                        rate None: every length from 1 to n is as likely
        p(b) = rate^(b - 1) (1 - rate),  p(n) = rate^(n-1)  else: after each number, stop with probability 1 - rate

    Source: Rippel, Gelbart and Adams, 2014, "Learning ordered representations with nested dropout", sections 2 and 3.

    Raises
    ------
    TypeError, ValueError
        If rate is not in (0, 1).

    Example
    -------
    >>> import numpy as np
    >>> z = NestedDropout().draw(np.ones((1000, 4)), np.random.default_rng(0))
    >>> (abs(z.mean(axis=0) - [1, 0.75, 0.5, 0.25]) < 0.05).tolist()
    [True, True, True, True]
    """

    _kept: Any = None

    def __init__(self, rate: float | None = None) -> None:
        self.rate = None if rate is None else as_real(rate, "NestedDropout", "rate", low=0, high=1, without=0)
        if self.rate == 1:
            raise ValueError("NestedDropout expected rate below 1, got 1: nothing would be cut off.")

    def draw(self, h: Array, rng: np.random.Generator) -> Array:
        """z = h · mask, a mask of b ones and then zeros in each row."""
        h = as_input(h, "NestedDropout")
        self._kept = mask = recomputed(lambda: self.masks(h.shape, rng).astype(h.real.dtype))
        return multiply(h, mask)

    def masks(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
        """(N, n): in each row b ones, then zeros."""
        N, n = shape
        lengths = rng.integers(1, n + 1, N) if self.rate is None else np.minimum(n, rng.geometric(1 - self.rate, N))
        mask: NDArray[np.bool_] = np.arange(n) < lengths[:, None]
        return mask

    def forward(self, h: ArrayLike) -> Array:
        """z = h: a whole code."""
        h = as_input(h, "NestedDropout")
        self._kept = np.ones(h.shape, h.dtype)
        return h

    def backward(self, grad_z: Array) -> Array:
        """grad_h = grad_z · mask."""
        kept, grad_z = as_gradient(grad_z, self._kept, "NestedDropout")
        return multiply(grad_z, kept)

    def __repr__(self) -> str:
        return f"NestedDropout({'' if self.rate is None else self.rate})"


@kernel
def gaussian_code(h: Array, key: Key) -> tuple[Array, Array]:
    k = h.shape[1] // 2
    mu, log_variance = h[:, :k], h[:, k:]
    noise = normals(key, mu.size).reshape(mu.shape).astype(h.real.dtype)
    return mu + np.exp(log_variance / 2) * noise, noise


@kernel
def gaussian_code_backward(grad_z: Array, h: Array, noise: Array) -> Array:
    """dz/dmu = 1, and dz/dlog σ² = noise · dσ/dlog σ² = noise · σ / 2."""
    log_variance = h[:, h.shape[1] // 2 :]
    return np.hstack([grad_z, grad_z * noise * np.exp(log_variance / 2) / 2])


class GaussianCode(StochasticLayer):
    """z = μ + σ ε with ε ~ N(0, I): a draw from q(z|x) = N(μ, diag σ²), whose h = (μ, log σ²) the encoder gives.

    Shapes: h (N, 2k), z (N, k). forward gives the mean, z = μ. The randomness is in ε alone, which does not depend on
    the encoder, so z has a gradient by μ and σ (the reparametrisation trick). log σ² may be any real number.

    Source: Kingma and Welling, 2014, "Auto-encoding variational Bayes", section 2.4.

    Raises
    ------
    TypeError, ValueError
        If k is not a whole number >= 1.

    Example
    -------
    >>> import numpy as np
    >>> h = np.tile([5.0, np.log(0.25)], (10_000, 1))     # μ = 5, σ = 1/2
    >>> z = GaussianCode(1).draw(h, np.random.default_rng(0))
    >>> bool(abs(z.mean() - 5) < 0.02), bool(abs(z.std() - 0.5) < 0.02)
    (True, True)
    """

    _x: Any = None
    _noise: Any = None

    def __init__(self, k: int) -> None:
        self.k = self.n_out = as_count(k, "GaussianCode", "k")
        self.n_in = 2 * self.k

    def draw(self, h: Array, rng: np.random.Generator) -> Array:
        """z = μ + σ ε."""
        self._x = h = as_input(h, "GaussianCode", width=self.n_in)
        key = recomputed(lambda: [rng.integers(2**64, dtype=np.uint64)])
        z, self._noise = gaussian_code(h, key)
        return z

    def forward(self, h: ArrayLike) -> Array:
        """z = μ."""
        self._x = h = as_input(h, "GaussianCode", width=self.n_in)
        self._noise = np.zeros((len(h), self.k), h.real.dtype)
        return h[:, : self.k]

    def backward(self, grad_z: Array) -> Array:
        """grad_mu = grad_z,  grad_log_variance = grad_z · ε σ / 2."""
        noise, grad_z = as_gradient(grad_z, self._noise, "GaussianCode")
        return gaussian_code_backward(grad_z, self._x, noise)

    def __repr__(self) -> str:
        return f"GaussianCode({self.k})"
