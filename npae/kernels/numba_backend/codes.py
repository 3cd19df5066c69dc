"""Gaussian codes: a draw from q(z|x), its gradient, and the divergence of q from N(0, I).

h holds the means and log-variances of N rows, (N, 2k). A task is a few rows; z and h are divided alike.
"""

from __future__ import annotations

import numpy as np

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import (
    CompiledLoop,
    double,
    double_out,
    doubles,
    inner,
    integer,
    vector,
    vector_out,
    words,
)
from npae.kernels.numba_backend.elementwise import BLOCK, block_count
from npae.kernels.numba_backend.exponential import exp_of_minus
from npae.kernels.numba_backend.losses import mean_of_sums
from npae.kernels.numba_backend.noise import CYCLES, check_key, normals_block
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.twins import check_alike, flat, twin

ELEMENTS = BLOCK // 4  # of z in a task, at least
EXPONENTIALS = 4 * ELEMENTS  # cycles of a task, roughly
EQUAL = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}  # instead of weights


@inner
def rows_per_task(k: int) -> int:
    return (ELEMENTS + k - 1) // k


@inner
def _draw_task(k: int, h: Array, noise: Array, z: Array, task: int) -> None:
    zero, one, half = z.dtype.type(0), z.dtype.type(1), z.dtype.type(0.5)
    rows = rows_per_task(k)
    for row in range(task * rows, min(z.size // k, (task + 1) * rows)):
        mu, log_variance = h[2 * row * k : (2 * row + 1) * k], h[(2 * row + 1) * k : (2 * row + 2) * k]
        e, z_row = noise[row * k : (row + 1) * k], z[row * k : (row + 1) * k]
        for j in range(z_row.size):
            log_sigma = half * log_variance[j]
            small = exp_of_minus(abs(log_sigma))
            z_row[j] = mu[j] + (small if log_sigma < zero else one / small) * e[j]


@CompiledLoop(integer, words, vector, vector_out, vector_out)
def draw_loop(context: int, k: int, key: Array, h: Array, noise: Array, z: Array) -> None:
    """noise = normal numbers, and z = μ + σ · noise for h = (μ, log σ²)."""
    parallel_for(context, block_count(noise.size), CYCLES, normals_block, (key, noise))
    rows = rows_per_task(k)
    parallel_for(context, (z.size // k + rows - 1) // rows, EXPONENTIALS, _draw_task, (k, h, noise, z))


@inner
def _draw_backward_task(k: int, grad_z: Array, h: Array, noise: Array, grad_h: Array, task: int) -> None:
    zero, one, half = h.dtype.type(0), h.dtype.type(1), h.dtype.type(0.5)
    rows = rows_per_task(k)
    for row in range(task * rows, min(grad_z.size // k, (task + 1) * rows)):
        log_variance = h[(2 * row + 1) * k : (2 * row + 2) * k]
        g, e = grad_z[row * k : (row + 1) * k], noise[row * k : (row + 1) * k]
        grad_mu, grad_log = grad_h[2 * row * k : (2 * row + 1) * k], grad_h[(2 * row + 1) * k : (2 * row + 2) * k]
        for j in range(g.size):
            log_sigma = half * log_variance[j]
            small = exp_of_minus(abs(log_sigma))
            grad_mu[j] = g[j]
            grad_log[j] = half * g[j] * e[j] * (small if log_sigma < zero else one / small)


@CompiledLoop(integer, vector, vector, vector, vector_out)
def draw_backward_loop(context: int, k: int, grad_z: Array, h: Array, noise: Array, grad_h: Array) -> None:
    """grad_h = (grad_z, grad_z · noise · σ / 2)."""
    rows = rows_per_task(k)
    arguments = (k, grad_z, h, noise, grad_h)
    parallel_for(context, (grad_z.size // k + rows - 1) // rows, EXPONENTIALS, _draw_backward_task, arguments)


@inner
def _kl_task(k: int, beta: float, h: Array, weight: Array, grad: Array, sums: Array, task: int) -> None:
    zero, one, half = h.dtype.type(0), h.dtype.type(1), h.dtype.type(0.5)
    rows, n = rows_per_task(k), h.size // (2 * k)
    total = 0.0
    for row in range(task * rows, min(n, (task + 1) * rows)):
        w = beta / n * (np.float64(weight[row]) if weight.size else 1.0)
        share = h.dtype.type(w)
        mu, log_variance = h[2 * row * k : (2 * row + 1) * k], h[(2 * row + 1) * k : (2 * row + 2) * k]
        grad_mu, grad_log = grad[2 * row * k : (2 * row + 1) * k], grad[(2 * row + 1) * k : (2 * row + 2) * k]
        for j in range(mu.size):
            small = exp_of_minus(abs(log_variance[j]))
            variance = small if log_variance[j] < zero else one / small
            total += w * np.float64(half * (mu[j] * mu[j] + (variance - one - log_variance[j])))
            grad_mu[j] = share * mu[j]
            grad_log[j] = half * share * (variance - one)
    sums[task] = total


@CompiledLoop(integer, double, vector, vector, vector_out, doubles, double_out)
def kl_loop(context: int, k: int, beta: float, h: Array, weight: Array, grad: Array, sums: Array, value: Array) -> None:
    """The weighted mean over rows of β KL(N(μ, σ²) ‖ N(0, I)), and its gradient by h; no weights are an empty array."""
    parallel_for(context, sums.size, EXPONENTIALS, _kl_task, (k, beta, h, weight, grad, sums))
    parallel_for(context, 1, 0, mean_of_sums, (sums, 1, value))


def _size_of_code(h: Array, *arrays: Array) -> int:
    """k for h (N, 2k). Raise ValueError unless the other arrays are (N, k), aligned and of the dtype of h."""
    n, width = h.shape if h.ndim == 2 else (0, 0)
    expected = np.broadcast_to(h.dtype.type(0), (n, width // 2))
    if width % 2 or width == 0:
        raise ValueError(f"a Gaussian code expected h of shape (N, 2k), got {h.shape}.")
    check_alike(expected, *arrays)
    return width // 2


@twin
def gaussian_code(h: Array, key: Array) -> tuple[Array, Array]:
    k = _size_of_code(h)
    check_key(key)
    z, noise = aligned((len(h), k), h.dtype), aligned((len(h), k), h.dtype)
    run(draw_loop, h.dtype, k, key, flat(h), noise.reshape(-1), z.reshape(-1))
    return z, noise


@twin
def gaussian_code_backward(grad_z: Array, h: Array, noise: Array) -> Array:
    k = _size_of_code(h, grad_z, noise)
    grad_h = aligned(h.shape, h.dtype)
    run(draw_backward_loop, h.dtype, k, flat(grad_z), flat(h), flat(noise), grad_h.reshape(-1))
    return grad_h


@twin
def gaussian_kl(h: Array, beta: float, weight: Array | None = None) -> tuple[Array, Array]:
    k = _size_of_code(h)
    if weight is not None and (weight.shape != h.shape[:1] or weight.dtype != h.dtype):
        raise ValueError(
            f"gaussian_kl expected a weight for each row of {h.shape} in {h.dtype}, got {weight.shape} in "
            f"{weight.dtype}."
        )
    grad, value, rows = aligned(h.shape, h.dtype), np.empty(()), -(-ELEMENTS // k)
    weights = EQUAL[h.dtype] if weight is None else flat(weight)
    run(kl_loop, h.dtype, k, beta, flat(h), weights, grad.reshape(-1), np.empty(-(-len(h) // rows)), value)
    return value, grad
