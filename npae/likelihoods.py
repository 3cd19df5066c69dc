"""Likelihoods: -log p(x|z) of a whole row, in nats, for models in which it is weighed against something else.

`losses` are means over elements, which is convenient where the loss stands alone. A variational autoencoder adds it to
a divergence, and both must be in one unit. So these are sums over the d elements of a row, and means over rows alone:

    Bernoulli     d · BCE                                       x in [0, 1]
    Gaussian      d · (MSE / 2 std² + log(std √(2π)))           x real

Next: `optimizers.py`, which steps down the gradient of either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from npae.estimator.arguments import as_real
from npae.kernels.arrays import Array
from npae.layers import add
from npae.losses import BCE, MSE, bce, bce_rows, mse, mse_rows


@dataclass(frozen=True)
class Bernoulli(BCE):
    """-log p(x|z) of a whole row in nats, with independent elements of probability p = sigmoid(logit).

        L = mean_n Σ_j [ -x_nj log p_nj - (1 - x_nj) log(1 - p_nj) ]          d times `BCE`

    Example
    -------
    >>> value, grad = Bernoulli()([[0.0, 0.0]], [[1.0, 0.0]])
    >>> math.isclose(value, 2 * math.log(2)), grad.tolist()
    (True, [[-0.5, 0.5]])
    """

    unit = "in nats per row"

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        return bce(prediction, target, weight, scale=target.shape[1])

    def _by_row(self, output: Array, target: Array) -> Array:
        return bce_rows(output, target, target.shape[1])


@dataclass(frozen=True)
class Gaussian(MSE):
    """-log p(x|z) of a whole row in nats, with p(x|z) = N(x_hat, std² I).

        L = mean_n [ |x_n - x_hat_n|² / (2 std²) + d log(std √(2π)) ]

    Parameters
    ----------
    std : float or None
        The standard deviation of x around x_hat, in the units of x: finer detail than this is not worth a code. None
        lets fit take that of probabilistic PCA with as many directions, which is what the best linear code leaves over.

    Raises
    ------
    TypeError, ValueError
        If std is not > 0.

    Example
    -------
    >>> value, grad = Gaussian(0.5)([[1.0, 3.0]], [[0.0, 1.0]])
    >>> round(value - 2 * math.log(0.5 * math.sqrt(2 * math.pi)), 6), grad.tolist()
    (10.0, [[4.0, 8.0]])
    """

    unit = "in nats per row"

    std: float | None = None

    def __post_init__(self) -> None:
        if self.std is not None:
            as_real(self.std, "Gaussian", "std", low=0, without=0)

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        std, d = self._std(), target.shape[1]
        value, grad = mse(prediction, target, weight, scale=d / (2 * std * std))
        return add(value, _constant(d, std)), grad

    def _by_row(self, output: Array, target: Array) -> Array:
        std, d = self._std(), target.shape[1]
        return mse_rows(output, target, d / (2 * std * std), _constant(d, std).item())

    def _std(self) -> float:
        if self.std is None:
            raise ValueError("Gaussian expected std, which a VAE's fit would set, got None: pass Gaussian(0.1), say.")
        return self.std


@lru_cache(maxsize=32)
def _constant(d: int, std: float) -> Array:
    """d log(std √(2π)), as one and the same array each time."""
    return np.array(d * math.log(std * math.sqrt(2 * math.pi)))


def linear_noise(X: Array, k: int) -> float:
    """The noise that k linear directions leave: std² is the mean of the d - k smallest variances of X.

    It is the maximum-likelihood std of p(x) = N(mean, W Wᵀ + std² I), W (d, k). Never less than a tenth of the data's
    own standard deviation: X may lie in a plane.

    Source: Tipping and Bishop, 1999, "Probabilistic principal component analysis", equation 8.
    """
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    variances = np.linalg.eigvalsh(centred.T @ centred / len(X))
    left = max(0.0, float(variances[: X.shape[1] - k].mean())) if k < X.shape[1] else 0.0
    return math.sqrt(max(left, 1e-2 * float(variances.mean()), float(np.finfo(np.float32).tiny)))


LIKELIHOODS: dict[str, type[Gaussian] | type[Bernoulli]] = {"mse": Gaussian, "bce": Bernoulli}
