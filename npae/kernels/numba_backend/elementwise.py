"""Activations, losses and the optimizers' steps: loops over flat arrays, in blocks that fit the first-level cache.

Inner loops are plain and left to the vectoriser, which needs them free of calls and of numbers of another
precision, and counted from 0 (numba must know that an index is not negative, which would count from the end): hence
slices, constants of the arrays' own dtype, `exponential` instead of `math.exp`, and the choice of the
activation outside the loop. ELU, sigmoid and tanh share one compiled function, since each would cost a third of
a second to compile; the rectifiers have one of their own, so that a network of these compiles no exponential.
"""

from __future__ import annotations

import math

import numpy as np

from npae.arrays import Array
from npae.kernels.numba_backend.compile import (
    Kernel,
    double_out,
    doubles,
    inner,
    integer,
    number,
    reordered,
    vector,
    vector_out,
)
from npae.kernels.numba_backend.exponential import exp_of_minus, expm1_of_minus
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.scratch import scratch

BLOCK = 4096  # elements in a task: 16 kB of float32, half a first-level cache
LANES = BLOCK // 64  # sums that a block is first brought to
STRIP = 256  # columns in a task of column_sums
ROWS = 256  # of which it takes the sum before that is added to the others

ELU, SIGMOID, TANH = range(3)

# Cycles that a task takes, about: a job is shared if all of its tasks take long enough to repay that (see `pool`).
LIGHT, STEP, CURVED, LIKELIHOOD, SIMILARITY = BLOCK // 2, 2 * BLOCK, 2 * BLOCK, 4 * BLOCK, 60 * BLOCK


# --- activations -----------------------------------------------------------------------------------


@inner
def _rectify_block(leaky: int, slope: float, x: Array, y: Array, block: int) -> None:
    zero, slope = x.dtype.type(0), x.dtype.type(slope)
    start, stop = block * BLOCK, (block + 1) * BLOCK
    x, y = x[start:stop], y[start:stop]
    if leaky:
        for i in range(x.size):
            y[i] = x[i] if x[i] > zero else slope * x[i]
    else:  # apart, since 0 · infinity is not 0
        for i in range(x.size):
            y[i] = zero if x[i] < zero else x[i]


@Kernel(integer, number, vector, vector_out)
def rectify(context: int, leaky: int, slope: float, x: Array, y: Array) -> None:
    """y = x where x > 0, else slope · x if leaky, else 0."""
    parallel_for(context, (x.size + BLOCK - 1) // BLOCK, LIGHT, _rectify_block, (leaky, slope, x, y))


@inner
def _saturate_block(code: int, alpha: float, x: Array, y: Array, block: int) -> None:
    zero, one, alpha = x.dtype.type(0), x.dtype.type(1), x.dtype.type(alpha)
    start, stop = block * BLOCK, (block + 1) * BLOCK
    x, y = x[start:stop], y[start:stop]
    if code == ELU:
        for i in range(x.size):
            below = alpha * expm1_of_minus(zero if x[i] > zero else -x[i])
            y[i] = x[i] if x[i] > zero else below
    elif code == SIGMOID:
        for i in range(x.size):
            e = exp_of_minus(abs(x[i]))
            y[i] = (e if x[i] < zero else one) / (one + e)
    else:
        for i in range(x.size):
            m = zero - expm1_of_minus(abs(x[i] + x[i]))  # tanh |x| = (1 - exp(-2|x|)) / (1 + exp(-2|x|))
            y[i] = (-m if x[i] < zero else m) / (one + one - m)


@Kernel(integer, number, vector, vector_out)
def saturate(context: int, code: int, alpha: float, x: Array, y: Array) -> None:
    """The activations that level off: y = f(x), for the codes ELU, SIGMOID, TANH."""
    parallel_for(context, (x.size + BLOCK - 1) // BLOCK, CURVED, _saturate_block, (code, alpha, x, y))


@inner
def _rectify_backward_block(slope: float, grad_y: Array, y: Array, grad_x: Array, block: int) -> None:
    zero, one, slope = y.dtype.type(0), y.dtype.type(1), y.dtype.type(slope)
    start, stop = block * BLOCK, (block + 1) * BLOCK
    grad_y, y, grad_x = grad_y[start:stop], y[start:stop], grad_x[start:stop]
    for i in range(y.size):
        grad_x[i] = grad_y[i] * (one if y[i] > zero else slope)


@Kernel(number, vector, vector, vector_out)
def rectify_backward(context: int, slope: float, grad_y: Array, y: Array, grad_x: Array) -> None:
    """grad_x = grad_y where y > 0, else slope · grad_y."""
    parallel_for(context, (y.size + BLOCK - 1) // BLOCK, LIGHT, _rectify_backward_block, (slope, grad_y, y, grad_x))


@inner
def _saturate_backward_block(code: int, alpha: float, grad_y: Array, y: Array, grad_x: Array, block: int) -> None:
    zero, one, alpha = y.dtype.type(0), y.dtype.type(1), y.dtype.type(alpha)
    start, stop = block * BLOCK, (block + 1) * BLOCK
    grad_y, y, grad_x = grad_y[start:stop], y[start:stop], grad_x[start:stop]
    if code == ELU:
        for i in range(y.size):
            grad_x[i] = grad_y[i] * (one if y[i] > zero else y[i] + alpha)
    elif code == SIGMOID:
        for i in range(y.size):
            grad_x[i] = grad_y[i] * y[i] * (one - y[i])
    else:
        for i in range(y.size):
            grad_x[i] = grad_y[i] * (one - y[i] * y[i])


@Kernel(integer, number, vector, vector, vector_out)
def saturate_backward(context: int, code: int, alpha: float, grad_y: Array, y: Array, grad_x: Array) -> None:
    """grad_x = grad_y · f'(x), with f' in terms of y = f(x)."""
    parallel_for(
        context, (y.size + BLOCK - 1) // BLOCK, LIGHT, _saturate_backward_block, (code, alpha, grad_y, y, grad_x)
    )


# --- losses ----------------------------------------------------------------------------------------


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
def mse(context: int, prediction: Array, target: Array, grad: Array, sums: Array, value: Array) -> None:
    parallel_for(context, sums.size, LIGHT, _mse_block, (prediction, target, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, prediction.size, value))


@Kernel(vector, vector, vector_out, doubles, double_out)
def bce(context: int, logits: Array, target: Array, grad: Array, sums: Array, value: Array) -> None:
    parallel_for(context, sums.size, LIKELIHOOD, _bce_block, (logits, target, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, logits.size, value))


@Kernel(vector, vector, vector, vector_out, doubles, double_out)
def weighted_mse(
    context: int, prediction: Array, target: Array, weight: Array, grad: Array, sums: Array, value: Array
) -> None:
    """The same where row i of as many as there are weights counts weight_i times."""
    parallel_for(context, sums.size, LIGHT, _mse_rows, (prediction, target, weight, grad, sums))
    parallel_for(context, 1, 0, _mean, (sums, prediction.size, value))


@Kernel(vector, vector, vector, vector_out, doubles, double_out)
def weighted_bce(
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
def ssim_map(context, c1, c2, mu_x, mu_y, xx, yy, xy, s, d_mu_x, d_xx, d_xy):
    parallel_for(
        context,
        (s.size + BLOCK - 1) // BLOCK,
        SIMILARITY,
        _ssim_block,
        (c1, c2, mu_x, mu_y, xx, yy, xy, s, d_mu_x, d_xx, d_xy),
    )


# --- sums over columns, and the optimizers' steps ------------------------------------------------------


@inner
def _column_sums_strip(a: Array, columns: int, total: Array, strip: int) -> None:
    """ROWS rows at a time are summed in the dtype of a, and these sums in float64: a million rows cost no digits."""
    first, last = strip * STRIP, min(columns, (strip + 1) * STRIP)
    total = total[first:last]
    part, sums = scratch(STRIP, a)[: total.size], scratch(STRIP, 0.0)[: total.size]
    for j in range(total.size):
        sums[j] = 0.0
    for start in range(0, a.size, ROWS * columns):
        for j in range(part.size):
            part[j] = 0
        for row in range(start, min(a.size, start + ROWS * columns), columns):
            a_row = a[row + first : row + last]
            for j in range(part.size):
                part[j] += a_row[j]
        for j in range(part.size):
            sums[j] += np.float64(part[j])
    for j in range(total.size):
        total[j] = sums[j]


@Kernel(vector, integer, vector_out)
def column_sums(context: int, a: Array, columns: int, total: Array) -> None:
    """total_j = sum_i a_ij, for a in rows of `columns`."""
    parallel_for(
        context, (columns + STRIP - 1) // STRIP, a.size // columns * STRIP // 3, _column_sums_strip, (a, columns, total)
    )


@inner
def _sgd_block(numbers: Array, value: Array, grad: Array, v: Array, block: int) -> None:
    rate, momentum, nesterov = value.dtype.type(numbers[0]), value.dtype.type(numbers[1]), numbers[2] != 0
    start, stop = block * BLOCK, (block + 1) * BLOCK
    value, grad, v = value[start:stop], grad[start:stop], v[start:stop]
    for i in range(value.size):
        v[i] = momentum * v[i] + grad[i]
        value[i] -= rate * (grad[i] + momentum * v[i] if nesterov else v[i])


@Kernel(doubles, vector_out, vector, vector_out)
def sgd(context: int, numbers: Array, value: Array, grad: Array, v: Array) -> None:
    """numbers: the learning rate, momentum, nesterov."""
    parallel_for(context, (value.size + BLOCK - 1) // BLOCK, STEP, _sgd_block, (numbers, value, grad, v))


@inner
def _adam_block(numbers: Array, value: Array, grad: Array, m: Array, v: Array, block: int) -> None:
    real = value.dtype.type
    rate, beta1, rest1 = real(numbers[0]), real(numbers[1]), real(1 - numbers[1])
    beta2, rest2, eps = real(numbers[2]), real(1 - numbers[2]), real(numbers[3])
    per_correction1, per_correction2, decay = real(1 / numbers[4]), real(1 / numbers[5]), real(numbers[6])
    start, stop = block * BLOCK, (block + 1) * BLOCK
    value, grad, m, v = value[start:stop], grad[start:stop], m[start:stop], v[start:stop]
    for i in range(value.size):
        m[i] = beta1 * m[i] + rest1 * grad[i]
        v[i] = beta2 * v[i] + rest2 * grad[i] * grad[i]
        direction = m[i] * per_correction1 / (math.sqrt(v[i] * per_correction2) + eps)
        value[i] -= rate * direction + decay * value[i]


@Kernel(doubles, vector_out, vector, vector_out, vector_out)
def adam(context: int, numbers: Array, value: Array, grad: Array, m: Array, v: Array) -> None:
    """numbers: the learning rate, beta1, beta2, eps, the two corrections, the decay; in float64, for 1 - beta2."""
    parallel_for(context, (value.size + BLOCK - 1) // BLOCK, STEP, _adam_block, (numbers, value, grad, m, v))
