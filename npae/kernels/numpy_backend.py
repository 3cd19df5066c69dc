"""The kernels in plain NumPy. They are the specification: a faster twin must return the same numbers.

Every function returns new arrays unless it has an `out`, and changes nothing but `out` (and, in
`adam`, the three arrays it says). Arguments have been validated by the caller: arrays of one
floating dtype with matching shapes. Where a formula is analytic its kernel also accepts complex
arrays, so that a complex step can differentiate it to machine precision (see `gradcheck`). A twin
may take numbers below the smallest normal one (1.2e-38 in float32, 2.2e-308 in float64) for zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from npae.arrays import Array

Result = TypeVar("Result")

name = "numpy"


def describe() -> dict[str, Any]:
    """What `backend_info` adds to the name."""
    return {"numpy": np.__version__}


def after_fork() -> None:
    """Nothing to make ready in a forked child."""


def recorded(step: Callable[[], Result], unchanged: Callable[[], bool]) -> Callable[[], Result]:
    """The step itself: nothing would be gained by a recording of it."""
    return step


def cancel_recording() -> None:
    """Nothing is recorded here."""


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
    """s_j = sum_i a_ij, (N, M) -> (M,), summed in float64: in float32 a sum of 2^24 and 1 is 2^24."""
    total: Array = np.sum(a, axis=0, dtype=np.promote_types(a.dtype, np.float64)).astype(a.dtype)
    if out is None:
        return total
    out[...] = total
    return out


def take(a: Array, rows: Array) -> Array:
    """c_ij = a_(rows_i) j: a minibatch."""
    c: Array = a[rows]
    return c


def copy(a: Array, out: Array | None = None) -> Array:
    """c = a."""
    if out is None:
        return a.copy()
    out[...] = a
    return out


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


# --- losses: the value, an array of shape () in float64, and its gradient, under one normaliser ---------
#
# With a weight w_i for each row i, (N,), the value is mean_ij w_i L_ij, and the gradient of row i w_i times as large.


def mse(prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """L = mean (p - t)²,  dL/dp = 2 (p - t) / size."""
    error = prediction - target
    return _weighted(error * error, error * (2 / error.size), weight)


def bce(logits: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """L = mean [ log(1 + exp(z)) - t z ],  dL/dz = (sigmoid(z) - t) / size.

    With e = exp(-|z|), log(1 + exp(z)) - t z = |z| · (1 - t if z > 0 else t) + log(1 + e):
    no term is negative, so nothing cancels, and e <= 1, so nothing overflows.
    """
    positive = logits.real > 0
    magnitude = np.where(positive, logits, -logits)
    e = np.exp(-magnitude)
    cost = magnitude * np.where(positive, 1 - target, target) + np.log1p(e)
    return _weighted(cost, (np.where(positive, 1, e) / (1 + e) - target) / target.size, weight)


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


def _weighted(cost: Array, grad: Array, weight: Array | None) -> tuple[Array, Array]:
    if weight is not None:
        cost, grad = cost * weight[:, None], grad * weight[:, None]
    return np.asarray(cost.mean(dtype=np.promote_types(cost.dtype, np.float64))), grad


# --- the optimizers' steps ---------------------------------------------------------------------------


def sgd(value: Array, grad: Array, v: Array, numbers: Array) -> None:
    """One step of gradient descent; `value` and `v` change in place. `numbers` are rate, momentum and nesterov (0, 1).

    v <- momentum v + g
    value <- value - rate · v           or, with nesterov,  value - rate · (g + momentum v)
    """
    rate, momentum, nesterov = numbers.tolist()
    v *= momentum
    v += grad
    value -= rate * (grad + momentum * v if nesterov else v)


def adam(value: Array, grad: Array, m: Array, v: Array, numbers: Array) -> None:
    """One Adam step on flat vectors; `value`, `m` and `v` change in place.

        m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g²
        value <- value - rate · (m / correction1) / (sqrt(v / correction2) + eps) - decay · value

    correction = 1 - beta^t undoes the pull of m and v towards the zeros they started from.
    `numbers` are rate, beta1, beta2, eps, correction1, correction2, decay, in float64.
    """
    rate, beta1, beta2, eps, correction1, correction2, decay = numbers.tolist()
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    direction = (m / correction1) / (np.sqrt(v / correction2) + eps)
    value -= rate * direction + decay * value


# --- noise: random numbers that are a function of a key and a place ----------------------------------------


def philox(key: Array, n: int) -> Array:
    """The first n words of 32 bits of the stream that `key`, a uint64 of shape (1,), stands for.

    The words 4c, 4c + 1, 4c + 2, 4c + 3 are Philox4x32-10 of the counter c: ten rounds of

        (x0, x1, x2, x3) <- (high(M1 x2) ^ x1 ^ k0, low(M1 x2), high(M0 x0) ^ x3 ^ k1, low(M0 x0))

    from (low(c), high(c), 0, 0), where high and low are the halves of 64 bits and the two halves of the key
    grow by W0 and W1 after each round. No word depends on another, so any thread can compute any of them.

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


def normals(key: Array, n: int) -> Array:
    """n numbers of the standard normal distribution, in float64: words 2i and 2i + 1 make numbers 2i and 2i + 1.

        r = sqrt(-2 log u),  u = (word_2i >> 9 + 1/2) 2^-23 in (0, 1),  a = 2 pi word_(2i+1) 2^-32
        r cos a,  r sin a

    Source: Box and Muller, 1958, "A note on the generation of random normal deviates".
    """
    words = philox(key, n + n % 2).reshape(-1, 2)
    r = np.sqrt(-2 * np.log(((words[:, 0] >> 9) + 0.5) * 2.0**-23))
    a = words[:, 1] * (2 * np.pi * 2.0**-32)
    return np.stack([r * np.cos(a), r * np.sin(a)], axis=1).ravel()[:n]


def gaussian_noise(x: Array, key: Array, std: float, low: float, high: float) -> Array:
    """x + std · e, within [low, high], with e the first x.size normals of the key."""
    noisy = x + std * normals(key, x.size).reshape(x.shape)
    return np.clip(noisy, low, high).astype(x.dtype)


def masking_noise(x: Array, key: Array, fraction: float) -> Array:
    """0 where an element's word is below fraction · 2^32, else x."""
    return salt_and_pepper(x, key, fraction, 0, 0)


def salt_and_pepper(x: Array, key: Array, fraction: float, low: float, high: float) -> Array:
    """low where an element's word is below fraction / 2 · 2^32, else high where it is below fraction · 2^32, else x."""
    words = philox(key, x.size).reshape(x.shape)
    salted = np.where(words < np.floor(fraction * 2.0**32), x.dtype.type(high), x)
    return np.where(words < np.floor(fraction * 2.0**31), x.dtype.type(low), salted)
