"""The kernels compiled by numba, on all cores: the twin of `numpy_backend`, which says what each means.

Two rules keep results the same bits for any number of threads: work is cut into blocks of a fixed
size, never into as many as there are threads; and sums are taken block by block, then over the
blocks in order. Outer loops are `prange` (one block a step), inner loops are plain and left to the
vectoriser. Shapes are checked before a compiled loop, which does not check its indices, is entered.

This is the only module that imports numba; `kernels._load` imports it when it is first needed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import prange

from npae.arrays import Array

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

name = "numba"

BLOCK = 4096  # elements a thread takes at a time in elementwise loops: 16 kB of float32, half an L1
PANEL = 64  # columns of b packed side by side, so that the inner loop of a product runs on one stretch
ROWS = 32  # rows of a that one step of the parallel loop takes

# The codes by which one compiled loop serves all activations: a second's compilation each is saved.
RELU, LEAKY_RELU, ELU, SIGMOID, TANH = range(5)

# Numba's portable threading layer ends the process when two Python threads enter it at once, so they
# take turns. Each turn uses all cores.
_turn = threading.Lock()


def after_fork() -> bool:
    """Make ready in a forked child, and say whether it may go on: not once OpenMP runs, which would end it."""
    global _turn
    _turn = threading.Lock()  # the parent's may have been held by a thread that the child does not have
    try:
        layer: str = numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:  # no parallel loop has run yet
        return True
    return layer != "omp"


def _compiled(parallel: bool) -> Callable[[Kernel], Kernel]:
    """`numba.njit` that may fuse a·b + c but assumes nothing else: NaN and infinity stay what they are."""

    def decorate(function: Kernel) -> Kernel:
        options: dict[str, Any] = {
            "parallel": parallel,
            "nogil": True,
            "error_model": "numpy",
            "fastmath": {"contract"},
        }
        try:
            compiled: Any = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to keep compiled code in: compile anew in each process
            compiled = numba.njit(**options)(function)
        return cast(Kernel, compiled)

    return decorate


# --- products ----------------------------------------------------------------------------------


@_compiled(parallel=False)
def _pack(b: Array, b_transposed: bool, first: int, last: int, panel: Array) -> None:
    """panel[k, j] = b[k, first + j]: columns first..last of b, side by side."""
    for k in range(panel.shape[0]):
        for j in range(first, last):
            panel[k, j - first] = b[j, k] if b_transposed else b[k, j]


@_compiled(parallel=False)
def _row_times_panel(a: Array, a_transposed: bool, i: int, panel: Array, total: Array) -> None:
    """total_j = sum_k a[i, k] panel[k, j]: row i of a, against one panel of b.

    Four k at a time, so that each total_j is loaded and stored once for four products.
    """
    for j in range(PANEL):
        total[j] = 0
    K = panel.shape[0]
    fours = K // 4 * 4
    for k in range(0, fours, 4):
        if a_transposed:
            a0, a1, a2, a3 = a[k, i], a[k + 1, i], a[k + 2, i], a[k + 3, i]
        else:
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
        for j in range(PANEL):
            total[j] += a0 * panel[k, j] + a1 * panel[k + 1, j] + a2 * panel[k + 2, j] + a3 * panel[k + 3, j]
    for k in range(fours, K):
        a0 = a[k, i] if a_transposed else a[i, k]
        for j in range(PANEL):
            total[j] += a0 * panel[k, j]


@_compiled(parallel=True)
def _product(a: Array, a_transposed: bool, b: Array, b_transposed: bool, bias: Array, panels: Array, c: Array) -> None:
    """c = a b + bias. An operand whose flag is set is stored as its transpose; an empty bias is none."""
    M, N = c.shape
    for p in prange(panels.shape[0]):
        _pack(b, b_transposed, p * PANEL, min(N, (p + 1) * PANEL), panels[p])
    for block in prange((M + ROWS - 1) // ROWS):
        total = np.empty(PANEL, c.dtype)
        for p in range(panels.shape[0]):
            first, last = p * PANEL, min(N, (p + 1) * PANEL)
            for i in range(block * ROWS, min(M, (block + 1) * ROWS)):
                _row_times_panel(a, a_transposed, i, panels[p], total)
                for j in range(first, last):
                    c[i, j] = total[j - first] + bias[j] if bias.size else total[j - first]


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    return _multiply(a, b, np.empty(0, a.dtype), out)


def dense(x: Array, W: Array, b: Array) -> Array:
    if b.shape != W.shape[1:]:
        raise ValueError(f"dense expected b of shape {W.shape[1:]}, got {b.shape}.")
    return _multiply(x, W, _plain(b), None)


def _multiply(a: Array, b: Array, bias: Array, out: Array | None) -> Array:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"matmul expected shapes (M, K) and (K, N), got {a.shape} and {b.shape}.")
    shape = (a.shape[0], b.shape[1])
    if out is not None and (out.shape != shape or out.dtype != a.dtype):
        raise ValueError(f"matmul expected out of shape {shape} and {a.dtype}, got {out.shape} and {out.dtype}.")
    direct = out is not None and out.flags.c_contiguous and out.flags.writeable
    direct = direct and not np.may_share_memory(out, a)  # b may: it is packed before c is written
    c = out if out is not None and direct else np.empty(shape, a.dtype)
    panels = np.zeros(((shape[1] + PANEL - 1) // PANEL, a.shape[1], PANEL), a.dtype)
    with _turn:
        _product(*_stored(a), *_stored(b), bias, panels, c)
    if out is not None and not direct:
        out[...] = c
        return out
    return c


def _stored(a: Array) -> tuple[Array, bool]:
    """`a` as rows that lie one after the other, and whether these are the rows of its transpose."""
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        return _plain(a.T), True
    return _plain(a), False


@_compiled(parallel=True)
def _column_sums(a: Array, total: Array) -> None:
    N, M = a.shape
    for block in prange((M + PANEL - 1) // PANEL):
        first, last = block * PANEL, min(M, (block + 1) * PANEL)
        total[first:last] = 0
        for i in range(N):
            for j in range(first, last):
                total[j] += a[i, j]


def column_sums(a: Array, out: Array | None = None) -> Array:
    total = np.empty(a.shape[1], a.dtype)
    with _turn:
        _column_sums(_plain(a), total)
    if out is None:
        return total
    out[...] = total
    return out


# --- activations -----------------------------------------------------------------------------------


@_compiled(parallel=False)
def _sigmoid_of(x: float) -> float:
    e = math.exp(-abs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


@_compiled(parallel=True)
def _activate(code: int, parameter: float, x: Array, y: Array) -> None:
    """y = f(x) on flat arrays; `parameter` is the slope of LeakyReLU, the alpha of ELU."""
    zero = parameter * 0
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        first, last = block * BLOCK, min(x.size, (block + 1) * BLOCK)
        if code == RELU:
            for i in range(first, last):
                y[i] = zero if x[i] < 0 else x[i]
        elif code == LEAKY_RELU:
            for i in range(first, last):
                y[i] = x[i] if x[i] > 0 else parameter * x[i]
        elif code == ELU:
            for i in range(first, last):
                y[i] = x[i] if x[i] > 0 else parameter * math.expm1(x[i])
        elif code == SIGMOID:
            for i in range(first, last):
                y[i] = _sigmoid_of(x[i])
        else:
            for i in range(first, last):
                y[i] = math.tanh(x[i])


@_compiled(parallel=True)
def _activate_backward(code: int, parameter: float, grad_y: Array, y: Array, grad_x: Array) -> None:
    """grad_x = grad_y · f'(x) on flat arrays, with f' in terms of y = f(x)."""
    for block in prange((y.size + BLOCK - 1) // BLOCK):
        first, last = block * BLOCK, min(y.size, (block + 1) * BLOCK)
        if code == RELU:
            for i in range(first, last):
                grad_x[i] = grad_y[i] * (y[i] > 0)
        elif code == LEAKY_RELU:
            for i in range(first, last):
                grad_x[i] = grad_y[i] if y[i] > 0 else parameter * grad_y[i]
        elif code == ELU:
            for i in range(first, last):
                grad_x[i] = grad_y[i] if y[i] > 0 else grad_y[i] * (y[i] + parameter)
        elif code == SIGMOID:
            for i in range(first, last):
                grad_x[i] = grad_y[i] * y[i] * (1 - y[i])
        else:
            for i in range(first, last):
                grad_x[i] = grad_y[i] * (1 - y[i] * y[i])


def _forward(code: int, x: Array, parameter: float = 0.0) -> Array:
    y = np.empty(x.shape, x.dtype)
    with _turn:
        _activate(code, x.dtype.type(parameter), _flat(x), y.ravel())
    return y


def _backward(code: int, grad_y: Array, y: Array, parameter: float = 0.0) -> Array:
    _same_shape(grad_y, y)
    grad_x = np.empty(y.shape, y.dtype)
    with _turn:
        _activate_backward(code, y.dtype.type(parameter), _flat(grad_y), _flat(y), grad_x.ravel())
    return grad_x


def relu(x: Array) -> Array:
    return _forward(RELU, x)


def relu_backward(grad_y: Array, y: Array) -> Array:
    return _backward(RELU, grad_y, y)


def leaky_relu(x: Array, slope: float) -> Array:
    return _forward(LEAKY_RELU, x, slope)


def leaky_relu_backward(grad_y: Array, y: Array, slope: float) -> Array:
    return _backward(LEAKY_RELU, grad_y, y, slope)


def elu(x: Array, alpha: float) -> Array:
    return _forward(ELU, x, alpha)


def elu_backward(grad_y: Array, y: Array, alpha: float) -> Array:
    return _backward(ELU, grad_y, y, alpha)


def sigmoid(x: Array) -> Array:
    return _forward(SIGMOID, x)


def sigmoid_backward(grad_y: Array, y: Array) -> Array:
    return _backward(SIGMOID, grad_y, y)


def tanh(x: Array) -> Array:
    return _forward(TANH, x)


def tanh_backward(grad_y: Array, y: Array) -> Array:
    return _backward(TANH, grad_y, y)


# --- losses ------------------------------------------------------------------------------------------


@_compiled(parallel=True)
def _mse(prediction: Array, target: Array, grad: Array, sums: Array) -> None:
    scale = grad.dtype.type(2 / prediction.size)
    for block in prange(sums.size):
        first, last = block * BLOCK, min(prediction.size, (block + 1) * BLOCK)
        total = 0.0
        for i in range(first, last):
            error = prediction[i] - target[i]
            total += np.float64(error * error)
            grad[i] = error * scale
        sums[block] = total


@_compiled(parallel=True)
def _bce(logits: Array, target: Array, grad: Array, sums: Array) -> None:
    size = grad.dtype.type(logits.size)
    for block in prange(sums.size):
        first, last = block * BLOCK, min(logits.size, (block + 1) * BLOCK)
        total = 0.0
        for i in range(first, last):
            magnitude = abs(logits[i])
            e = math.exp(-magnitude)
            wrong = 1 - target[i] if logits[i] > 0 else target[i]
            total += np.float64(magnitude * wrong + math.log1p(e))
            grad[i] = (_sigmoid_of(logits[i]) - target[i]) / size
        sums[block] = total


def mse(prediction: Array, target: Array) -> tuple[float, Array]:
    return _mean_loss(_mse, prediction, target)


def bce(logits: Array, target: Array) -> tuple[float, Array]:
    return _mean_loss(_bce, logits, target)


def _mean_loss(kernel: Callable[..., Any], prediction: Array, target: Array) -> tuple[float, Array]:
    _same_shape(prediction, target)
    grad = np.empty(prediction.shape, prediction.dtype)
    sums = np.empty(_blocks(prediction.size))
    with _turn:
        kernel(_flat(prediction), _flat(target), grad.ravel(), sums)
    return float(sums.sum()) / prediction.size, grad


@_compiled(parallel=True)
def _ssim_map(
    mu_x: Array,
    mu_y: Array,
    xx: Array,
    yy: Array,
    xy: Array,
    c1: float,
    c2: float,
    s: Array,
    d_mu_x: Array,
    d_xx: Array,
    d_xy: Array,
) -> None:
    for block in prange((s.size + BLOCK - 1) // BLOCK):
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


def ssim_map(
    mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
) -> tuple[Array, Array, Array, Array]:
    _same_shape(mu_x, mu_y, xx, yy, xy)
    s, d_mu_x, d_xx, d_xy = (np.empty(mu_x.shape, mu_x.dtype) for _ in range(4))
    constants = mu_x.dtype.type(c1), mu_x.dtype.type(c2)
    results = s.ravel(), d_mu_x.ravel(), d_xx.ravel(), d_xy.ravel()
    with _turn:
        _ssim_map(_flat(mu_x), _flat(mu_y), _flat(xx), _flat(yy), _flat(xy), *constants, *results)
    return s, d_mu_x, d_xx, d_xy


# --- the optimizer's step ----------------------------------------------------------------------------


@_compiled(parallel=True)
def _adam(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    step_size: float,
    beta1: float,
    rest1: float,
    beta2: float,
    rest2: float,
    eps: float,
    correction1: float,
    correction2: float,
    decay: float,
) -> None:
    for block in prange((value.size + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min(value.size, (block + 1) * BLOCK)):
            m[i] = beta1 * m[i] + rest1 * grad[i]
            v[i] = beta2 * v[i] + rest2 * grad[i] * grad[i]
            direction = (m[i] / correction1) / (math.sqrt(v[i] / correction2) + eps)
            value[i] -= step_size * direction + decay * value[i]


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
    _same_shape(value, grad, m, v)
    in_place = (value, m, v)
    if not all(a.flags.c_contiguous and a.flags.writeable for a in in_place):
        raise ValueError("adam expected value, m and v as contiguous writable vectors: pass copies.")
    rest1, rest2 = 1 - beta1, 1 - beta2  # in float64: float32 would keep three digits of 1 - 0.9999
    numbers = (step_size, beta1, rest1, beta2, rest2, eps, correction1, correction2, decay)
    with _turn:
        _adam(value.ravel(), _flat(grad), m.ravel(), v.ravel(), *(value.dtype.type(x) for x in numbers))


# --- how arrays are handed to compiled loops ---------------------------------------------------------


def _blocks(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK


def _plain(a: Array) -> Array:
    """`a` contiguous and writable: numba would compile every kernel anew for arrays that are not."""
    a = np.ascontiguousarray(a)
    return a if a.flags.writeable else a.copy()


def _flat(a: Array) -> Array:
    return _plain(a).ravel()


def _same_shape(*arrays: Array) -> None:
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError(f"kernel expected arrays of one shape, got {[a.shape for a in arrays]}.")
