"""The losses: value and gradient in one pass.

A task sums its elements in order, and the last task of a kernel adds these sums in order. So the value does not depend
on the number of threads. With weights, a task is several rows instead of a block; `scale` is the factor of the gradient
that all elements of a row or block share. `size` divides the sums: the number of elements over the caller's `scale`.
"""

from __future__ import annotations

import math

import numpy as np

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import (
    CompiledLoop,
    double,
    double_out,
    doubles,
    inner,
    reordered,
    scalar,
    vector,
    vector_out,
)
from npae.kernels.numba_backend.elementwise import BLOCK, LIGHT, block_count
from npae.kernels.numba_backend.exponential import exp_of_minus
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.twins import check_alike, flat, twin

CROSS_ENTROPY, SIMILARITY = 4 * BLOCK, 60 * BLOCK  # cycles of a block, roughly
LANES = BLOCK // 64  # partial sums of a block of cross-entropies


@inner
def mean_of_sums(sums: Array, size: float, value: Array, task: int) -> None:
    total = 0.0
    for i in range(sums.size):
        total += sums[i]
    value[()] = total / size


# --- mean squared error --------------------------------------------------------------------------------------


@reordered
def _squared_errors(prediction: Array, target: Array, grad: Array, scale: float) -> float:
    """The sum of squared errors; grad = 2 scale · error."""
    double = grad.dtype.type(2 * scale)
    total = 0.0
    for i in range(grad.size):
        error = prediction[i] - target[i]
        total += np.float64(error * error)
        grad[i] = error * double
    return total


@inner
def _mse_block(prediction: Array, target: Array, size: float, grad: Array, sums: Array, block: int) -> None:
    i, j = block * BLOCK, (block + 1) * BLOCK
    sums[block] = _squared_errors(prediction[i:j], target[i:j], grad[i:j], 1 / size)


@CompiledLoop(vector, vector, double, vector_out, doubles, double_out)
def mse_loop(
    context: int, prediction: Array, target: Array, size: float, grad: Array, sums: Array, value: Array
) -> None:
    parallel_for(context, sums.size, LIGHT, _mse_block, (prediction, target, size, grad, sums))
    parallel_for(context, 1, 0, mean_of_sums, (sums, size, value))


@inner
def _mse_rows(
    prediction: Array, target: Array, weight: Array, size: float, grad: Array, sums: Array, task: int
) -> None:
    columns, rows = prediction.size // weight.size, (weight.size + sums.size - 1) // sums.size
    total = 0.0
    for row in range(task * rows, min(weight.size, (task + 1) * rows)):
        i, j, w = row * columns, (row + 1) * columns, np.float64(weight[row])
        total += w * _squared_errors(prediction[i:j], target[i:j], grad[i:j], w / size)
    sums[task] = total


@CompiledLoop(vector, vector, vector, double, vector_out, doubles, double_out)
def weighted_mse_loop(
    context: int, prediction: Array, target: Array, weight: Array, size: float, grad: Array, sums: Array, value: Array
) -> None:
    """The number of weights is the number of rows."""
    parallel_for(context, sums.size, LIGHT, _mse_rows, (prediction, target, weight, size, grad, sums))
    parallel_for(context, 1, 0, mean_of_sums, (sums, size, value))


@twin
def mse(prediction: Array, target: Array, weight: Array | None = None, scale: float = 1.0) -> tuple[Array, Array]:
    return _mean_loss(mse_loop, weighted_mse_loop, prediction, target, weight, scale)


def _mean_loss(
    loop: CompiledLoop,
    weighted_loop: CompiledLoop,
    prediction: Array,
    target: Array,
    weight: Array | None,
    scale: float,
) -> tuple[Array, Array]:
    """scale times the value and the gradient of a loss, by `weighted_loop` if there are weights."""
    check_alike(prediction, target)
    grad, value, size = aligned(prediction.shape, prediction.dtype), np.empty(()), prediction.size / scale
    p, t, g = flat(prediction), flat(target), grad.reshape(-1)
    if weight is None:
        run(loop, grad.dtype, p, t, size, g, np.empty(-(-prediction.size // BLOCK)), value)
        return value, grad
    if weight.shape != prediction.shape[:1] or weight.dtype != grad.dtype or 0 in prediction.shape:
        raise ValueError(
            f"loss expected a weight for each row of {prediction.shape} in {grad.dtype}, got {weight.shape} in "
            f"{weight.dtype}."
        )
    rows = max(1, BLOCK // prediction.shape[1])
    run(weighted_loop, grad.dtype, p, t, flat(weight), size, g, np.empty(-(-weight.size // rows)), value)
    return value, grad


# --- binary cross-entropy ------------------------------------------------------------------------------------


@inner
def _cross_entropies(logits: Array, target: Array, grad: Array, scale: float) -> float:
    """The sum of the cross-entropies of at most BLOCK elements; grad = scale (sigmoid(logit) - target)."""
    zero, one, scale = grad.dtype.type(0), grad.dtype.type(1), grad.dtype.type(scale)
    terms, e = scratch(BLOCK, grad), scratch(BLOCK, grad)
    for i in range(grad.size):
        magnitude, miss = abs(logits[i]), (one - target[i] if logits[i] > zero else target[i])
        e_i = exp_of_minus(magnitude)
        terms[i] = magnitude * miss
        e[i] = e_i
        grad[i] = (miss - e_i / (one + e_i)) * (scale if logits[i] > zero else -scale)
    size = (grad.size + LANES - 1) // LANES * LANES
    for i in range(grad.size, size):
        terms[i], e[i] = zero, zero
    return _sum_with_log1p(terms, e, size)


# The sum over terms t and e in [0, 1] of t + log(1 + e), by adding the second half to the first again and again, which
# keeps rounding errors small. Only the last 1 or 8 need a logarithm, since
#
#     log(1 + p) + log(1 + q) = log(1 + (p + q + p q)),
#
# which keeps the digits of a small p. `size` is a multiple of LANES, at most BLOCK = 64 LANES: a product of 64 factors
# of at most 2 does not overflow in float32, nor one of 512 in float64.
@inner
def _sum_with_log1p(terms: Array, e: Array, size: int) -> float:
    last = 1 if size <= 512 else 8
    while size > LANES:
        half = (size // LANES + 1) // 2 * LANES
        more_terms, more_e = terms[half:size], e[half:size]
        for i in range(more_e.size):
            terms[i] += more_terms[i]
            e[i] += more_e[i] + e[i] * more_e[i]
        size = half
    t, p = scratch(LANES, 0.0), scratch(LANES, 0.0)
    for i in range(LANES):
        t[i], p[i] = np.float64(terms[i]), np.float64(e[i])
    lanes = LANES
    while lanes > last:
        lanes //= 2
        for i in range(lanes):
            t[i] += t[lanes + i]
            p[i] += p[lanes + i] + p[i] * p[lanes + i]
    total = 0.0
    for i in range(lanes):
        total += t[i] + math.log1p(p[i])
    return total


@inner
def _bce_block(logits: Array, target: Array, size: float, grad: Array, sums: Array, block: int) -> None:
    i, j = block * BLOCK, (block + 1) * BLOCK
    sums[block] = _cross_entropies(logits[i:j], target[i:j], grad[i:j], 1 / size)


@CompiledLoop(vector, vector, double, vector_out, doubles, double_out)
def bce_loop(context: int, logits: Array, target: Array, size: float, grad: Array, sums: Array, value: Array) -> None:
    parallel_for(context, sums.size, CROSS_ENTROPY, _bce_block, (logits, target, size, grad, sums))
    parallel_for(context, 1, 0, mean_of_sums, (sums, size, value))


@inner
def _bce_rows(logits: Array, target: Array, weight: Array, size: float, grad: Array, sums: Array, task: int) -> None:
    columns, rows = logits.size // weight.size, (weight.size + sums.size - 1) // sums.size
    total = 0.0
    for row in range(task * rows, min(weight.size, (task + 1) * rows)):
        w = np.float64(weight[row])
        for i in range(row * columns, (row + 1) * columns, BLOCK):
            j = min(i + BLOCK, (row + 1) * columns)
            total += w * _cross_entropies(logits[i:j], target[i:j], grad[i:j], w / size)
    sums[task] = total


@CompiledLoop(vector, vector, vector, double, vector_out, doubles, double_out)
def weighted_bce_loop(
    context: int, logits: Array, target: Array, weight: Array, size: float, grad: Array, sums: Array, value: Array
) -> None:
    """The number of weights is the number of rows."""
    parallel_for(context, sums.size, CROSS_ENTROPY, _bce_rows, (logits, target, weight, size, grad, sums))
    parallel_for(context, 1, 0, mean_of_sums, (sums, size, value))


@twin
def bce(logits: Array, target: Array, weight: Array | None = None, scale: float = 1.0) -> tuple[Array, Array]:
    return _mean_loss(bce_loop, weighted_bce_loop, logits, target, weight, scale)


# --- the loss of each row alone ------------------------------------------------------------------------------


@inner
def _mse_row(prediction: Array, target: Array, scale: float, constant: float, losses: Array, row: int) -> None:
    columns = prediction.size // losses.size
    total, unused = 0.0, scratch(BLOCK, prediction)
    for i in range(row * columns, (row + 1) * columns, BLOCK):
        j = min(i + BLOCK, (row + 1) * columns)
        total += _squared_errors(prediction[i:j], target[i:j], unused[: j - i], 1.0)
    losses[row] = scale * total / columns + constant


@inner
def _bce_row(logits: Array, target: Array, scale: float, losses: Array, row: int) -> None:
    columns = logits.size // losses.size
    total, unused = 0.0, scratch(BLOCK, logits)
    for i in range(row * columns, (row + 1) * columns, BLOCK):
        j = min(i + BLOCK, (row + 1) * columns)
        total += _cross_entropies(logits[i:j], target[i:j], unused[: j - i], 1.0)
    losses[row] = scale * total / columns


@CompiledLoop(vector, vector, double, double, doubles)
def mse_rows_loop(context: int, prediction: Array, target: Array, scale: float, constant: float, losses: Array) -> None:
    cycles = prediction.size // losses.size * LIGHT // BLOCK
    parallel_for(context, losses.size, cycles, _mse_row, (prediction, target, scale, constant, losses))


@CompiledLoop(vector, vector, double, doubles)
def bce_rows_loop(context: int, logits: Array, target: Array, scale: float, losses: Array) -> None:
    cycles = logits.size // losses.size * CROSS_ENTROPY // BLOCK
    parallel_for(context, losses.size, cycles, _bce_row, (logits, target, scale, losses))


@twin
def mse_rows(prediction: Array, target: Array, scale: float = 1.0, constant: float = 0.0) -> Array:
    _check_rows(prediction, target)
    losses = np.empty((len(prediction), 1))
    run(mse_rows_loop, prediction.dtype, flat(prediction), flat(target), scale, constant, losses.reshape(-1))
    return losses


@twin
def bce_rows(logits: Array, target: Array, scale: float = 1.0) -> Array:
    _check_rows(logits, target)
    losses = np.empty((len(logits), 1))
    run(bce_rows_loop, logits.dtype, flat(logits), flat(target), scale, losses.reshape(-1))
    return losses


def _check_rows(prediction: Array, target: Array) -> None:
    check_alike(prediction, target)
    if prediction.ndim != 2 or 0 in prediction.shape:
        raise ValueError(f"loss expected rows, got shape {prediction.shape}.")


# --- structural similarity -----------------------------------------------------------------------------------


@inner
def _ssim_block(c1, c2, mu_x, mu_y, xx, yy, xy, S, d_mu_x, d_xx, d_xy, block):
    for i in range(block * BLOCK, min(S.size, (block + 1) * BLOCK)):
        A = 2 * mu_x[i] * mu_y[i] + c1
        B = 2 * (xy[i] - mu_x[i] * mu_y[i]) + c2
        C = mu_x[i] * mu_x[i] + mu_y[i] * mu_y[i] + c1
        D = (xx[i] - mu_x[i] * mu_x[i]) + (yy[i] - mu_y[i] * mu_y[i]) + c2
        CD = C * D
        S[i] = A * B / CD
        d_xx[i] = -S[i] / D
        d_xy[i] = 2 * A / CD
        d_mu_x[i] = 2 * mu_y[i] * B / CD - 2 * mu_x[i] * S[i] / C - mu_y[i] * d_xy[i] - 2 * mu_x[i] * d_xx[i]


@CompiledLoop(scalar, scalar, *[vector] * 5, *[vector_out] * 4)
def ssim_loop(context, c1, c2, mu_x, mu_y, xx, yy, xy, S, d_mu_x, d_xx, d_xy):
    arguments = (c1, c2, mu_x, mu_y, xx, yy, xy, S, d_mu_x, d_xx, d_xy)
    parallel_for(context, block_count(S.size), SIMILARITY, _ssim_block, arguments)


@twin
def ssim_map(
    mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
) -> tuple[Array, Array, Array, Array]:
    check_alike(mu_x, mu_y, xx, yy, xy)
    S, d_mu_x, d_xx, d_xy = results = tuple(aligned(mu_x.shape, mu_x.dtype) for _ in range(4))
    run(ssim_loop, mu_x.dtype, c1, c2, *map(flat, (mu_x, mu_y, xx, yy, xy)), *(a.reshape(-1) for a in results))
    return S, d_mu_x, d_xx, d_xy
