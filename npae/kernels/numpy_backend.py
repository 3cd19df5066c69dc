"""The kernels in plain NumPy. They are the specification: a faster twin must return the same numbers.

Every function returns new arrays unless it has an `out`, and changes nothing but `out` (and, in
`adam`, the three arrays it says). Arguments have been validated by the caller: arrays of one
floating dtype with matching shapes. Where a formula is analytic its kernel also accepts complex
arrays, so that a complex step can differentiate it to machine precision (see `gradcheck`).
"""

from __future__ import annotations

import numpy as np

from npae.arrays import Array

name = "numpy"


def after_fork() -> bool:
    """Nothing to make ready in a forked child, which may go on with this backend."""
    return True


# --- products ----------------------------------------------------------------------------------


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """c = a b, (M, K) x (K, N) -> (M, N). Pass `a.T` or `b.T` for aᵀb and abᵀ: views, not copies."""
    return np.matmul(a, b, out=out)


def dense(x: Array, W: Array, b: Array) -> Array:
    """y = x W + b, with x (N, D), W (D, M), b (M,) added to every row."""
    y = x @ W
    y += b
    return y


def column_sums(a: Array, out: Array | None = None) -> Array:
    """s_j = sum_i a_ij, (N, M) -> (M,)."""
    return np.sum(a, axis=0, out=out)


# --- activations: each derivative is written in terms of the output y, which forward has kept ----


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return np.maximum(x, 0)


def relu_backward(grad_y: Array, y: Array) -> Array:
    """dy/dx = 1 where y > 0, else 0."""
    return grad_y * (y > 0)


def leaky_relu(x: Array, slope: float) -> Array:
    """y = x where x > 0, else slope · x."""
    return np.where(x > 0, x, slope * x)


def leaky_relu_backward(grad_y: Array, y: Array, slope: float) -> Array:
    """dy/dx = 1 where y > 0, else slope."""
    return np.where(y > 0, grad_y, slope * grad_y)


def elu(x: Array, alpha: float) -> Array:
    """y = x where x > 0, else alpha (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(grad_y: Array, y: Array, alpha: float) -> Array:
    """dy/dx = 1 where y > 0, else alpha exp(x) = y + alpha."""
    return np.where(y > 0, grad_y, grad_y * (y + alpha))


def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), with the exponential taken of -|x| so that it cannot overflow."""
    positive = x.real > 0
    e = np.exp(np.where(positive, -x, x))
    y: Array = np.where(positive, 1, e) / (1 + e)
    return y


def sigmoid_backward(grad_y: Array, y: Array) -> Array:
    """dy/dx = y (1 - y)."""
    grad_x: Array = grad_y * y * (1 - y)
    return grad_x


def tanh(x: Array) -> Array:
    """y = tanh(x)."""
    return np.tanh(x)


def tanh_backward(grad_y: Array, y: Array) -> Array:
    """dy/dx = 1 - y²."""
    grad_x: Array = grad_y * (1 - y * y)
    return grad_x


# --- losses: the value (summed in float64) and its gradient, under one normaliser ------------------


def mse(prediction: Array, target: Array) -> tuple[float, Array]:
    """L = mean (p - t)²,  dL/dp = 2 (p - t) / size."""
    error = prediction - target
    return _mean(error * error), error * (2 / error.size)


def bce(logits: Array, target: Array) -> tuple[float, Array]:
    """L = mean [ log(1 + exp(z)) - t z ],  dL/dz = (sigmoid(z) - t) / size.

    With e = exp(-|z|), log(1 + exp(z)) - t z = |z| · (1 - t if z > 0 else t) + log(1 + e):
    no term is negative, so nothing cancels, and e <= 1, so nothing overflows.
    """
    positive = logits.real > 0
    magnitude = np.where(positive, logits, -logits)
    e = np.exp(-magnitude)
    value = _mean(magnitude * np.where(positive, 1 - target, target) + np.log1p(e))
    return value, (np.where(positive, 1, e) / (1 + e) - target) / target.size


def ssim_map(
    mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
) -> tuple[Array, Array, Array, Array]:
    """The similarity of each pair of windows, and its derivatives by the three averages that hold x.

    mu_x, mu_y, xx, yy, xy are the local averages of x, y, x², y², x·y (all of one shape):

        S = (2 mu_x mu_y + c1) (2 cov + c2) / ((mu_x² + mu_y² + c1) (var_x + var_y + c2))

    with var_x = xx - mu_x², var_y = yy - mu_y², cov = xy - mu_x mu_y.
    Returns S, dS/dmu_x, dS/dxx, dS/dxy.
    """
    mean_above = 2 * mu_x * mu_y + c1
    mean_below = mu_x * mu_x + mu_y * mu_y + c1
    structure_above = 2 * (xy - mu_x * mu_y) + c2
    structure_below = (xx - mu_x * mu_x) + (yy - mu_y * mu_y) + c2
    below = mean_below * structure_below
    s = mean_above * structure_above / below
    d_xx = -s / structure_below
    d_xy = 2 * mean_above / below
    # mu_x stands in all four factors: in the two means, and subtracted in the covariance and variance.
    d_mu_x = 2 * mu_y * structure_above / below - 2 * mu_x * s / mean_below - mu_y * d_xy - 2 * mu_x * d_xx
    return s, d_mu_x, d_xx, d_xy


def _mean(cost: Array) -> float:
    mean: float = cost.mean(dtype=np.promote_types(cost.dtype, np.float64)).item()
    return mean


# --- the optimizer's step ---------------------------------------------------------------------------


def adam(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    step_size: float,
    beta1: float,
    beta2: float,
    eps: float,
    correction1: float,
    correction2: float,
    decay: float,
) -> None:
    """One Adam step on flat vectors; `value`, `m` and `v` change in place.

        m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g²
        value <- value - step_size · (m / correction1) / (sqrt(v / correction2) + eps) - decay · value

    correction = 1 - beta^t undoes the pull of m and v towards the zeros they started from.
    """
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    direction = (m / correction1) / (np.sqrt(v / correction2) + eps)
    value -= step_size * direction + decay * value
