"""The losses: value and gradient in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import (
    Kernel,
    double_out,
    doubles,
    inner,
    number,
    reordered,
    vector,
    vector_out,
)
from npae.kernels.numba_backend.elementwise import BLOCK, LIGHT, LIKELIHOOD, SIMILARITY
from npae.kernels.numba_backend.exponential import exp_of_minus
from npae.kernels.numba_backend.parallel import parallel_for, run
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.twins import check_same_shape, flat, twin

LANES = BLOCK // 64  # partial sums that a block is first reduced to


# A stretch is a block, or with weights a part of a row, all of whose elements have the same `scale`.


@reordered
def _mse_stretch(prediction: Array, target: Array, grad: Array, scale: float) -> float:
    """The sum of squared errors; grad = 2 scale · error."""
    double = grad.dtype.type(2 * scale)
    total = 0.0
    for i in range(grad.size):
        error = prediction[i] - target[i]
        total += np.float64(error * error)
        grad[i] = error * double
    return total


@inner
def _sum_with_log1p(terms: Array, e: Array, size: int) -> float:
    """The sum of t + log(1 + e) over `size` terms t and e in [0, 1], with a logarithm for the last 1 or 8 only.

    The second half of them is added to the first, and so on, which keeps rounding errors small. For the logarithms that
    is log(1 + p) + log(1 + q) = log(1 + (p + q + p q)): so written no digits of a small p are lost. `size` is a
    multiple of LANES, at most BLOCK = 64 LANES: 64 factors of at most 2 do not overflow in float32, nor 512 in float64.
    """
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
def _bce_stretch(logits: Array, target: Array, grad: Array, scale: float) -> float:
    """The sum of the cross-entropies of at most BLOCK elements; grad = scale (sigmoid(logit) - target)."""
    zero, one, scale = grad.dtype.type(0), grad.dtype.type(1), grad.dtype.type(scale)
    terms, e = scratch(BLOCK, grad), scratch(BLOCK, grad)
    for i in range(grad.size):
        magnitude = abs(logits[i])
        e_i = exp_of_minus(magnitude)
        terms[i] = magnitude * (one - target[i] if logits[i] > zero else target[i])
        e[i] = e_i
        grad[i] = ((one if logits[i] > zero else e_i) / (one + e_i) - target[i]) * scale
    size = (grad.size + LANES - 1) // LANES * LANES
    for i in range(grad.size, size):
        terms[i], e[i] = zero, zero
    return _sum_with_log1p(terms, e, size)


@inner
def _mse_block(prediction: Array, target: Array, grad: Array, sums: Array, block: int) -> None:
    i, j = block * BLOCK, (block + 1) * BLOCK
    sums[block] = _mse_stretch(prediction[i:j], target[i:j], grad[i:j], 1 / prediction.size)


@inner
def _bce_block(logits: Array, target: Array, grad: Array, sums: Array, block: int) -> None:
    i, j = block * BLOCK, (block + 1) * BLOCK
    sums[block] = _bce_stretch(logits[i:j], target[i:j], grad[i:j], 1 / logits.size)


@inner
def _mse_rows(prediction: Array, target: Array, weight: Array, grad: Array, sums: Array, task: int) -> None:
    columns, rows = prediction.size // weight.size, (weight.size + sums.size - 1) // sums.size
    total = 0.0
    for row in range(task * rows, min(weight.size, (task + 1) * rows)):
        i, j, w = row * columns, (row + 1) * columns, np.float64(weight[row])
        total += w * _mse_stretch(prediction[i:j], target[i:j], grad[i:j], w / prediction.size)
    sums[task] = total


@inner
def _bce_rows(logits: Array, target: Array, weight: Array, grad: Array, sums: Array, task: int) -> None:
    columns, rows = logits.size // weight.size, (weight.size + sums.size - 1) // sums.size
    total = 0.0
    for row in range(task * rows, min(weight.size, (task + 1) * rows)):
        w = np.float64(weight[row])
        for i in range(row * columns, (row + 1) * columns, BLOCK):
            j = min(i + BLOCK, (row + 1) * columns)
            total += w * _bce_stretch(logits[i:j], target[i:j], grad[i:j], w / logits.size)
    sums[task] = total


@inner
def _mean(sums: Array, size: int, value: Array, task: int) -> None:
    total = 0.0
    for i in range(sums.size):
        total += sums[i]
    value[()] = total / size


@Kernel(vector, vector, vector_out, doubles, double_out)
def _mse(context: int, prediction: Array, target: Array, grad: Array, sums: Array, value: Array) -> None:
    parallel_for(context, sums.size, LIGHT, _mse_block, (prediction, target, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, prediction.size, value))


@Kernel(vector, vector, vector_out, doubles, double_out)
def _bce(context: int, logits: Array, target: Array, grad: Array, sums: Array, value: Array) -> None:
    parallel_for(context, sums.size, LIKELIHOOD, _bce_block, (logits, target, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, logits.size, value))


@Kernel(vector, vector, vector, vector_out, doubles, double_out)
def _weighted_mse(
    context: int, prediction: Array, target: Array, weight: Array, grad: Array, sums: Array, value: Array
) -> None:
    """The same where row i of as many as there are weights counts weight_i times."""
    parallel_for(context, sums.size, LIGHT, _mse_rows, (prediction, target, weight, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, prediction.size, value))


@Kernel(vector, vector, vector, vector_out, doubles, double_out)
def _weighted_bce(
    context: int, logits: Array, target: Array, weight: Array, grad: Array, sums: Array, value: Array
) -> None:
    parallel_for(context, sums.size, LIKELIHOOD, _bce_rows, (logits, target, weight, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, logits.size, value))


@inner
def _ssim_block(c1, c2, mu_x, mu_y, xx, yy, xy, s, d_mu_x, d_xx, d_xy, block):
    for i in range(block * BLOCK, min(s.size, (block + 1) * BLOCK)):
        mean_above = 2 * mu_x[i] * mu_y[i] + c1
        mean_below = mu_x[i] * mu_x[i] + mu_y[i] * mu_y[i] + c1
        structure_above = 2 * (xy[i] - mu_x[i] * mu_y[i]) + c2
        structure_below = (xx[i] - mu_x[i] * mu_x[i]) + (yy[i] - mu_y[i] * mu_y[i]) + c2
        below = mean_below * structure_below
        s[i] = mean_above * structure_above / below
        d_xx[i] = -s[i] / structure_below
        d_xy[i] = 2 * mean_above / below
        d_mu_x[i] = (
            2 * mu_y[i] * structure_above / below
            - 2 * mu_x[i] * s[i] / mean_below
            - mu_y[i] * d_xy[i]
            - 2 * mu_x[i] * d_xx[i]
        )


@Kernel(number, number, *[vector] * 5, *[vector_out] * 4)
def _ssim_map(context, c1, c2, mu_x, mu_y, xx, yy, xy, s, d_mu_x, d_xx, d_xy):
    parallel_for(
        context,
        (s.size + BLOCK - 1) // BLOCK,
        SIMILARITY,
        _ssim_block,
        (c1, c2, mu_x, mu_y, xx, yy, xy, s, d_mu_x, d_xx, d_xy),
    )


# --- the twins ---------------------------------------------------------------------------------


@twin
def mse(prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    return _mean_loss(_mse, _weighted_mse, prediction, target, weight)


@twin
def bce(logits: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    return _mean_loss(_bce, _weighted_bce, logits, target, weight)


def _mean_loss(
    plain: Any, weighted: Any, prediction: Array, target: Array, weight: Array | None
) -> tuple[Array, Array]:
    check_same_shape(prediction, target)
    grad, value = aligned(prediction.shape, prediction.dtype), np.empty(())
    p, t, g = flat(prediction), flat(target), grad.reshape(-1)
    if weight is None:
        run(plain[grad.dtype], p, t, g, np.empty(-(-prediction.size // BLOCK)), value)
        return value, grad
    if weight.shape != prediction.shape[:1] or weight.dtype != grad.dtype or 0 in prediction.shape:
        raise ValueError(
            f"loss expected a weight for each row of {prediction.shape} in {grad.dtype}, got {weight.shape} in "
            f"{weight.dtype}."
        )
    rows = max(1, BLOCK // prediction.shape[1])
    run(weighted[grad.dtype], p, t, flat(weight), g, np.empty(-(-weight.size // rows)), value)
    return value, grad


@twin
def ssim_map(
    mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
) -> tuple[Array, Array, Array, Array]:
    check_same_shape(mu_x, mu_y, xx, yy, xy)
    results = tuple(aligned(mu_x.shape, mu_x.dtype) for _ in range(4))
    inputs = (flat(a) for a in (mu_x, mu_y, xx, yy, xy))
    outputs = (a.reshape(-1) for a in results)
    run(_ssim_map[mu_x.dtype], c1, c2, *inputs, *outputs)
    s, d_mu_x, d_xx, d_xy = results
    return s, d_mu_x, d_xx, d_xy
