"""Losses: one number for the distance of a reconstruction from its target, and its gradient.

Let the decoder's output parametrise a distribution p(x|z). Making the data likely means minimising

    L = -log p(x|z)

and the choice of p is the choice of a loss (Bishop, 2006, "Pattern Recognition and Machine Learning", 5.2):

    p Gaussian around the output      ->  squared error         MSE
    p Bernoulli, output its log-odds  ->  binary cross-entropy  BCE

`SSIM` is not a likelihood. It measures the local structure of an image, which the eye notices.

A loss is called as `loss(prediction, target, sample_weight=None) -> (value, grad_prediction)`. One call computes value
and gradient under one normaliser, so they cannot drift apart. The value is the mean over all N·d elements, for
SSIM over all windows. `inverse_link` maps the network's output to x_hat: the sigmoid for BCE, else the identity.

Next: `likelihoods.py`, where the loss is that of a whole row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from inspect import signature
from typing import Any

import numpy as np

from npae.activations import sigmoid
from npae.estimator.arguments import as_count, as_image_shape, as_real
from npae.estimator.validation import as_pair, check_range, normalized_weights
from npae.kernels import kernel
from npae.kernels.arrays import Array, ArrayLike


class Loss:
    """The contract of a loss: calling it checks the arguments, `value_and_gradient` computes. Subclass the latter.

    Example
    -------
    >>> class MeanAbsoluteError(Loss):
    ...     def value_and_gradient(self, prediction, target):
    ...         return np.mean(abs(prediction - target)), np.sign(prediction - target) / target.size
    >>> MeanAbsoluteError()([[1.0, 3.0]], [[0.0, 1.0]])
    (1.5, array([[0.5, 0.5]]))
    """

    offset = 0.0  # a constant that the value is subtracted from: rounding errors are relative to it
    unit = "per element"

    def __init_subclass__(cls) -> None:
        if "weight" not in signature(cls.value_and_gradient).parameters:
            cls.value_and_gradient = _weighted_by_row(cls.value_and_gradient)  # type: ignore[method-assign]
        if "value_and_gradient" in vars(cls) and "_by_row" not in vars(cls):
            cls._by_row = Loss._by_row  # type: ignore[method-assign]  # not that of a base class with another formula

    def __call__(
        self, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]:
        """(L, dL/dprediction) for arrays of shape (N, d). With sample_weight w (N,), L = sum_i w_i L_i / sum_i w_i.

        Raises
        ------
        TypeError, ValueError
            If the arrays are not numeric, differ in shape or are empty, if the target is out of range, or if the
            weights are not N finite numbers >= 0 with a positive sum.
        """
        caller = type(self).__name__
        p, t = as_pair(prediction, target, caller)
        self.check_target(t)
        w = None if sample_weight is None else normalized_weights(sample_weight, len(p), caller).astype(t.dtype)
        value, grad = self.value_and_gradient(p, t, w)
        return np.asarray(value).item(), grad

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        """The same without checks, as training calls it. The value is an array of shape ().

        `weight` (N,) has mean 1 over all rows, so L = mean_i w_i L_i. A subclass may leave this argument out.
        """
        raise NotImplementedError

    def _by_row(self, output: Array, target: Array) -> Array:
        """The loss of each row alone, (N, 1) in float64, without checks; a subclass may have a faster formula.

        `output` is what the network returns, for BCE logits, and never a reconstruction: BCE cannot tell probabilities
        from logits. So this method is not public; `score_samples(X)` of a model takes the data alone.
        """
        pairs = zip(output[:, None], target[:, None], strict=True)
        return np.array([self.value_and_gradient(one, x)[0] for one, x in pairs], np.float64)[:, None]

    def check_target(self, target: Array) -> None:
        """Raise ValueError if the loss is not defined for this target."""

    def inverse_link(self, prediction: Array) -> Array:
        """x_hat from the network's output: the mean of p(x|z)."""
        return prediction


def _weighted_by_row(value_and_gradient: Callable[..., tuple[Array, Array]]) -> Callable[..., tuple[Array, Array]]:
    """Add the argument `weight` to a loss without it: the loss of each row is computed by a call of its own."""

    @wraps(value_and_gradient)
    def weighted(self: Any, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        value, grad = value_and_gradient(self, prediction, target)
        if weight is None:
            return value, grad
        rows = [value_and_gradient(self, p, t)[0] for p, t in zip(prediction[:, None], target[:, None], strict=True)]
        return np.asarray(np.mean(weight * np.array(rows, np.float64))), grad * weight[:, None]

    return weighted


def _weighted_mean(cost: Array, slope: Array, weight: Array | None, scale: float) -> tuple[Array, Array]:
    """(scale mean_ij w_i cost_ij in float64, its gradient scale w_i slope_ij / (N d)); without weights w_i = 1."""
    if weight is not None:
        cost, slope = cost * weight[:, None], slope * weight[:, None]
    return np.asarray(scale * cost.mean(dtype=np.promote_types(cost.dtype, np.float64))), slope * (scale / slope.size)


@kernel
def mse(prediction: Array, target: Array, weight: Array | None = None, scale: float = 1.0) -> tuple[Array, Array]:
    error = prediction - target
    return _weighted_mean(error * error, 2 * error, weight, scale)


@kernel
def mse_rows(prediction: Array, target: Array, scale: float = 1.0, constant: float = 0.0) -> Array:
    return np.asarray(scale * np.square(prediction - target).mean(axis=1, dtype=np.float64, keepdims=True) + constant)


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error: L = mean (x_hat - x)²,  dL/dx_hat = 2 (x_hat - x) / (N d).

    Up to a factor and a constant it is -log p(x|z) of p = N(x_hat, s² I) with a fixed variance:
    -log p = |x - x_hat|² / 2s² + const.

    Example
    -------
    >>> value, grad = MSE()([[1.0, 3.0]], [[0.0, 1.0]])
    >>> value, grad.tolist()
    (2.5, [[1.0, 2.0]])
    """

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        return mse(prediction, target, weight)

    def _by_row(self, output: Array, target: Array) -> Array:
        return mse_rows(output, target)


@kernel
def bce(logits: Array, target: Array, weight: Array | None = None, scale: float = 1.0) -> tuple[Array, Array]:
    """With e = exp(-|z|), and m the distance of x from the likelier of 0 and 1 (1 - x if z > 0, else x):

        log(1 + exp(z)) - x z = |z| m + log(1 + e)
        p - x                 = ±(m - e / (1 + e))              + if z > 0

    e <= 1, so nothing overflows. Nothing cancels in the value, nor in the gradient of an element that is nearly
    certain, where p itself would be rounded to 1.
    """
    positive = logits.real > 0
    magnitude = np.where(positive, logits, -logits)
    e, miss = np.exp(-magnitude), np.where(positive, 1 - target, target)
    slope = miss - e / (1 + e)
    return _weighted_mean(magnitude * miss + np.log1p(e), np.where(positive, slope, -slope), weight, scale)


@kernel
def bce_rows(logits: Array, target: Array, scale: float = 1.0) -> Array:
    magnitude = np.abs(logits)
    cost = magnitude * np.where(logits > 0, 1 - target, target) + np.log1p(np.exp(-magnitude))
    return np.asarray(scale * cost.mean(axis=1, dtype=np.float64, keepdims=True))


@dataclass(frozen=True)
class BCE(Loss):
    """Binary cross-entropy on logits z: L = mean [ -x log p - (1 - x) log(1 - p) ] with p = sigmoid(z).

    It is -log p(x|z) of independent Bernoulli elements with probability p, in nats per element. Targets lie in [0, 1].
    For targets strictly between, the minimum is their entropy and not 0.

    In terms of the logit, L = mean [ log(1 + exp(z)) - x z ], which is exact for any |z|. The gradient collapses:

        dL/dp = -x / p + (1 - x) / (1 - p) = (p - x) / (p (1 - p))        for one element
        dp/dz = p (1 - p)
        dL/dz = p - x                                                     / (N d) for the mean

    Raises
    ------
    ValueError
        If a target is outside [0, 1].

    Example
    -------
    >>> value, grad = BCE()([[0.0, 10_000.0]], [[1.0, 0.0]])
    >>> round(value, 4) == round((0.6931 + 10_000) / 2, 4), grad.tolist()
    (True, [[-0.25, 0.5]])
    """

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        return bce(prediction, target, weight)

    def _by_row(self, output: Array, target: Array) -> Array:
        return bce_rows(output, target)

    def check_target(self, target: Array) -> None:
        check_range(target, 1.0, "BCE")

    def inverse_link(self, prediction: Array) -> Array:
        """p = sigmoid(z), the probability that an element is 1."""
        return sigmoid(prediction)


@kernel
def ssim_map(
    mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
) -> tuple[Array, Array, Array, Array]:
    """S = A B / (C D) for each window, and dS/dmu_x, dS/dxx, dS/dxy: its derivatives by the averages that depend on x.

    mu_x, mu_y, xx, yy, xy are the local averages of x, y, x², y², x·y (all of one shape). The four factors are

        A = 2 mu_x mu_y + c1        B = 2 (xy - mu_x mu_y) + c2
        C = mu_x² + mu_y² + c1      D = (xx - mu_x²) + (yy - mu_y²) + c2

    By the product rule dS = S (dA/A + dB/B - dC/C - dD/D). xy occurs in B alone and xx in D alone; mu_x occurs in all.
    """
    A = 2 * mu_x * mu_y + c1
    B = 2 * (xy - mu_x * mu_y) + c2
    C = mu_x * mu_x + mu_y * mu_y + c1
    D = (xx - mu_x * mu_x) + (yy - mu_y * mu_y) + c2
    CD = C * D
    S = A * B / CD
    d_xx = -S / D
    d_xy = 2 * A / CD
    d_mu_x = 2 * mu_y * B / CD - 2 * mu_x * S / C - mu_y * d_xy - 2 * mu_x * d_xx
    return S, d_mu_x, d_xx, d_xy


@dataclass(frozen=True)
class SSIM(Loss):
    """One minus the structural similarity of images: L = 1 - mean over images and windows of S.

    In each window, with local means mu, variances s² and covariance s_xy of the two images x and y,

        S = (2 mu_x mu_y + c1) (2 s_xy + c2) / ((mu_x² + mu_y² + c1) (s_x² + s_y² + c2))

    compares brightness and structure: 1 for equal windows, near 0 for unrelated ones. A Gaussian window weights the
    averages. Only windows inside the image count. c1 = (k1 · range)² and c2 = (k2 · range)² keep flat windows from
    dividing by zero. Everything is computed in float64: a variance is a small difference of large numbers.

    The gradient is the chain rule. An average over windows is linear, F(x) = R x Cᵀ with banded matrices R and C, so
    a gradient g passes back through it as Rᵀ g C. x enters S through F(x), F(x²) and F(x y), hence

        dL/dx = -(Rᵀ dS/dmu_x C + 2 x · Rᵀ dS/dxx C + y · Rᵀ dS/dxy C) / (number of windows)

    Parameters
    ----------
    image_shape : (height, width)
        The shape of the image in each row of prediction and target, in pixels.
    window, sigma : int, float
        The side of the square window in pixels, and the standard deviation of its weights: 11 and 1.5.
    k1, k2, data_range : float
        0.01, 0.03 and 1. Targets must lie in [0, data_range].

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the window does not fit into the image, a row does not have height · width
        elements, or a target is outside [0, data_range].

    Source: Wang, Bovik, Sheikh and Simoncelli, 2004, "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing 13(4), equations 13 to 16.

    Example
    -------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).random((2, 12 * 12))
    >>> value, grad = SSIM((12, 12))(x, x)
    >>> round(abs(value), 12), bool(abs(grad).max() < 1e-12)
    (0.0, True)
    """

    offset = 1.0

    image_shape: tuple[int, int]
    window: int = 11
    sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03
    data_range: float = 1.0

    def __post_init__(self) -> None:
        height, width = shape = as_image_shape(self.image_shape, "SSIM")
        object.__setattr__(self, "image_shape", shape)
        as_count(self.window, "SSIM", "window")
        if self.window > min(shape):
            raise ValueError(
                f"SSIM expected image_shape of at least {self.window} x {self.window}, one whole window, "
                f"got {height} x {width}: use larger images or a smaller window."
            )
        for name in ("sigma", "k1", "k2", "data_range"):
            as_real(getattr(self, name), "SSIM", name, low=0, without=0)

    def _forward(self, prediction: Array, target: Array) -> tuple[Array, ...]:
        """The weights R and C of the averages, the images x and y, and `ssim_map` of all windows."""
        height, width = self.image_shape
        if prediction.shape[1] != height * width:
            raise ValueError(
                f"SSIM expected rows of {height} x {width} = {height * width} pixels, got {prediction.shape[1]}: "
                "give image_shape the shape of your images."
            )
        R, C = (_averages(n, self.window, self.sigma) for n in (height, width))
        x = prediction.astype(np.promote_types(prediction.dtype, np.float64)).reshape(-1, height, width)
        y = target.astype(np.float64).reshape(-1, height, width)
        # Local averages, each (N, height - window + 1, width - window + 1).
        mu_x, mu_y, xx, yy, xy = (R @ image @ C.T for image in (x, y, x * x, y * y, x * y))
        c1, c2 = (self.k1 * self.data_range) ** 2, (self.k2 * self.data_range) ** 2
        return R, C, x, y, *ssim_map(mu_x, mu_y, xx, yy, xy, c1, c2)

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        R, C, x, y, S, d_mu_x, d_xx, d_xy = self._forward(prediction, target)
        # Backward: through each average by its transpose, then through x, x² and x y.
        back_mu_x, back_xx, back_xy = (R.T @ d @ C for d in (d_mu_x, d_xx, d_xy))
        grad = -(back_mu_x + 2 * x * back_xx + y * back_xy) / S.size
        w = 1.0 if weight is None else weight[:, None, None]
        return np.asarray(((1 - S) * w).mean()), (grad * w).reshape(prediction.shape).astype(prediction.dtype)

    def _by_row(self, output: Array, target: Array) -> Array:
        return np.asarray(1 - self._forward(output, target)[4].mean(axis=(1, 2))[:, None])

    def check_target(self, target: Array) -> None:
        check_range(target, self.data_range, "SSIM")


@lru_cache(maxsize=32)
def _averages(n: int, window: int, sigma: float) -> Array:
    """(n - window + 1, n): row i holds the weights of the window that begins at i; each row sums to 1."""
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    matrix = np.zeros((n - window + 1, n))
    for i in range(len(matrix)):
        matrix[i, i : i + window] = weights / weights.sum()
    matrix.flags.writeable = False
    return matrix


LOSSES: dict[str, type[Loss]] = {"mse": MSE, "bce": BCE, "ssim": SSIM}
