"""Losses: one number that says how far a reconstruction is from its target, and its gradient.

Let the decoder's output parametrise a distribution p(x|z). Making the data likely means minimising

    L = -log p(x|z)

and the choice of p is the choice of a loss (Bishop, 2006, "Pattern Recognition and Machine Learning", 5.2):

    p Gaussian around the output      ->  squared error         MSE
    p Bernoulli, output its log-odds  ->  binary cross-entropy  BCE

`SSIM` is no likelihood: it measures what an eye notices, the local structure of an image.

A loss is called `loss(prediction, target, sample_weight=None) -> (value, grad_prediction)`: value and gradient come
out of one call under one normaliser, so they cannot drift apart. The value is the mean over every element (n · d),
for SSIM over every window; weights make it a weighted mean over the rows. `link` turns the network's output
into x_hat: sigmoid for BCE, whose outputs are log-odds, else nothing.

Next: `optimizers.py`, which walks down the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from npae import kernels
from npae.arrays import Array, ArrayLike
from npae.estimator.arguments import as_count, as_image_shape, as_real
from npae.estimator.validation import as_pair, check_range, normalized_weights
from npae.weights import weighted_by_row


class Loss:
    """What a loss is: called, it checks its arguments; `value_and_gradient` computes. Subclass the latter.

    Example
    -------
    >>> class MeanAbsoluteError(Loss):
    ...     def value_and_gradient(self, prediction, target):
    ...         return np.mean(abs(prediction - target)), np.sign(prediction - target) / target.size
    >>> MeanAbsoluteError()([[1.0, 3.0]], [[0.0, 1.0]])
    (1.5, array([[0.5, 0.5]]))
    """

    only_kernels = False  # see `blocks.only_kernels`
    offset = 0.0  # what the value is subtracted from, if anything: it is rounded relative to that (see `gradcheck`)

    def __init_subclass__(cls) -> None:
        cls.value_and_gradient = weighted_by_row(cls.value_and_gradient)  # type: ignore[method-assign]

    def __call__(
        self, prediction: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]:
        """(L, dL/dprediction) for two arrays of shape (n, d); with weights (n,), L = sum_i w_i L_i / sum_i w_i.

        Raises
        ------
        TypeError, ValueError
            If an array is empty or not numeric, shapes differ, the target is out of range, or a weight is negative.
        """
        p, t = as_pair(prediction, target, type(self).__name__)
        self.check_target(t)
        w = None if sample_weight is None else normalized_weights(sample_weight, len(p), type(self).__name__)
        value, grad = self.value_and_gradient(p, t, None if w is None else w.astype(t.dtype))
        return np.asarray(value).item(), grad

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        """The same for arguments that are known to be good, as inside training; the value as an array of shape ().

        With `weight` (n,) of the same dtype, L = mean_i w_i L_i. A loss of your own need not take it (see `weights`).
        """
        raise NotImplementedError

    def rows(self, prediction: Array, target: Array) -> Array:
        """The loss of each row alone, (n,) in float64: its mean is the value."""
        pairs = zip(prediction[:, None], target[:, None], strict=True)
        return np.array([float(self.value_and_gradient(p, t)[0]) for p, t in pairs])

    def check_target(self, target: Array) -> None:
        """Raise ValueError if the loss is not defined for this target."""

    def link(self, prediction: Array) -> Array:
        """x_hat from the network's output: the mean of p(x|z)."""
        return prediction


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error: L = mean (x_hat - x)²,  dL/dx_hat = 2 (x_hat - x) / (n d).

    It is -log p(x|z) for p = N(x_hat, s² I) of fixed variance, up to a factor and a constant:
    -log p = |x - x_hat|² / 2s² + const.

    Example
    -------
    >>> value, grad = MSE()([[1.0, 3.0]], [[0.0, 1.0]])
    >>> value, grad.tolist()
    (2.5, [[1.0, 2.0]])
    """

    only_kernels = True

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        return kernels.of(prediction, target).mse(prediction, target, weight)


@dataclass(frozen=True)
class BCE(Loss):
    """Binary cross-entropy on logits z: L = mean [ -x log p - (1 - x) log(1 - p) ] with p = sigmoid(z).

    It is -log p(x|z) for independent Bernoulli elements of probability p, in nats per element. Targets lie
    in [0, 1]; for targets strictly between, its least value is their entropy and not 0.

    It takes logits because there L = mean [ log(1 + exp(z)) - x z ], which is exact however large |z| is,
    and the gradient is simply dL/dz = (sigmoid(z) - x) / (n d).

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

    only_kernels = True

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        return kernels.of(prediction, target).bce(prediction, target, weight)

    def check_target(self, target: Array) -> None:
        check_range(target, 1.0, "BCE")

    def link(self, prediction: Array) -> Array:
        """p = sigmoid(z), the probability that an element is 1."""
        return kernels.of(prediction).sigmoid(prediction)


@dataclass(frozen=True)
class SSIM(Loss):
    """One minus the structural similarity of images: L = 1 - mean over images and windows of S.

    In each window, with local means mu, variances s² and covariance s_xy of the two images x and y,

        S = (2 mu_x mu_y + c1) (2 s_xy + c2) / ((mu_x² + mu_y² + c1) (s_x² + s_y² + c2))

    compares brightness and structure: 1 for equal windows, near 0 for unrelated ones. The averages are
    weighted by a Gaussian window, and only windows that lie wholly inside the image count. c1 = (k1 · range)²
    and c2 = (k2 · range)² keep flat windows from dividing by zero.

    An average over windows is linear, F(x) = R x Cᵀ with banded matrices R and C, so what flows back through
    it is its transpose, Rᵀ g C. The rest is the product rule, written out in the kernel `ssim_map`.
    All of it runs in float64, whatever the arguments: a variance is a small difference of large numbers.

    Parameters
    ----------
    image_shape : (height, width)
        How a row of the prediction and of the target folds into an image.
    window, sigma : int, float
        Side of the square window in pixels, and the standard deviation of its weights: 11 and 1.5.
    k1, k2 : float
        0.01 and 0.03.
    data_range : float
        The range of the targets, which must lie in [0, data_range].

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the window does not fit into the image, a row has not
        height · width elements, or a target is outside [0, data_range].

    Source: Wang, Bovik, Sheikh and Simoncelli, 2004, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13(4), equations 13 to 16.

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

    def value_and_gradient(self, prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
        height, width = self.image_shape
        if prediction.shape[1] != height * width:
            raise ValueError(
                f"SSIM expected rows of {height} x {width} = {height * width} pixels, got {prediction.shape[1]}: "
                "give image_shape the shape of your images."
            )
        R, C = (_averages(n, self.window, self.sigma) for n in (height, width))
        x = prediction.astype(np.promote_types(prediction.dtype, np.float64)).reshape(-1, height, width)
        y = target.astype(np.float64).reshape(-1, height, width)
        # Forward: local averages of x, y, x², y², xy, each (n, height - window + 1, width - window + 1).
        mu_x, mu_y, xx, yy, xy = (R @ image @ C.T for image in (x, y, x * x, y * y, x * y))
        c1, c2 = (self.k1 * self.data_range) ** 2, (self.k2 * self.data_range) ** 2
        s, d_mu_x, d_xx, d_xy = kernels.of(mu_x, mu_y).ssim_map(mu_x, mu_y, xx, yy, xy, c1, c2)
        # Backward: through each average by its transpose, then through x, x² and xy.
        back_mu_x, back_xx, back_xy = (R.T @ d @ C for d in (d_mu_x, d_xx, d_xy))
        grad = -(back_mu_x + 2 * x * back_xx + y * back_xy) / s.size
        dissimilarity = 1 - s
        if weight is not None:
            w = weight[:, None, None]
            dissimilarity, grad = dissimilarity * w, grad * w
        return np.asarray(dissimilarity.mean()), grad.reshape(prediction.shape).astype(prediction.dtype)

    def check_target(self, target: Array) -> None:
        check_range(target, self.data_range, "SSIM")


@lru_cache(maxsize=32)
def _averages(n: int, window: int, sigma: float) -> Array:
    """(n - window + 1, n): row i holds the weights of the window that begins at i; each row sums to 1."""
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    matrix = np.zeros((n - window + 1, n))
    for i in range(len(matrix)):
        matrix[i, i : i + window] = weights
    matrix.flags.writeable = False
    return matrix


LOSSES: dict[str, type[Loss]] = {"mse": MSE, "bce": BCE, "ssim": SSIM}
