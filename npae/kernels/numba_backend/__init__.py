"""The kernels compiled by numba, on all cores: the twin of `numpy_backend`, which says what each means.

    tile          the innermost loop of a matrix product, as LLVM instructions for vector registers
    products      matrices cut into tiles
    copies        minibatches, and rows that do not collide in the cache
    scratch       memory that a task has for itself
    exponential   exp without a call, so that loops around it become vector instructions
    elementwise   activations, losses, Adam
    noise         random numbers that do not depend on the number of threads
    atomics       what threads need and numba does not offer
    pool          the threads that share the work
    parallel      loops shared among them, and recordings that repeat a training step
    compile       how a function becomes machine code

The same bits come out for any number of threads: work is cut into tasks without regard to who does
them, and sums are taken within a task in order, then over the tasks in order.

This file is where arrays come in. Shapes, dtypes and layouts are checked here, before a compiled loop is
entered, which checks nothing. This folder is all that imports numba; `kernels._load` imports it when first needed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite.binding import llvm_version_info

from npae.arrays import Array, aligned
from npae.kernels.numba_backend import copies, elementwise, noise, products, tile
from npae.kernels.numba_backend.parallel import cancel_recording, recorded, run
from npae.kernels.numba_backend.pool import pool, threads

__all__ = ["after_fork", "cancel_recording", "describe", "recorded"]

name = "numba"


def describe() -> dict[str, Any]:
    """What `backend_info` adds to the name."""
    processor, _ = tile.host()
    shape = tile.SHAPE
    return {
        "numba": numba.__version__,
        "llvm": ".".join(map(str, llvm_version_info)),
        "threads": threads(),
        "processor": processor,
        "vector_bytes": shape.bytes,
        "tile": f"{shape.heights[0]} x {shape.vectors} vectors",
    }


def after_fork() -> None:
    pool.reset()


# --- products ----------------------------------------------------------------------------------


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    return _multiply(a, b, None, out)


def dense(x: Array, W: Array, b: Array) -> Array:
    if b.shape != W.shape[1:]:
        raise ValueError(f"dense expected b of shape {W.shape[1:]}, got {b.shape}.")
    return _multiply(x, W, b, None)


def _multiply(a: Array, b: Array, bias: Array | None, out: Array | None) -> Array:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"matmul expected shapes (M, K) and (K, N), got {a.shape} and {b.shape}.")
    dtype, shape = a.dtype, (a.shape[0], b.shape[1])
    if out is not None and (out.shape != shape or out.dtype != dtype):
        raise ValueError(f"matmul expected out of shape {shape} and {dtype}, got {out.shape} and {out.dtype}.")
    c = out if out is not None and _writable_in_place(out, a, b) else aligned(shape, dtype)
    if c.size and a.size:
        products.product(a, b, _row_of_zeros(shape[1], dtype) if bias is None else _flat(bias), c)
    else:
        cancel_recording()
        c[...] = 0 if bias is None else bias
    if out is None or out is c:
        return c
    cancel_recording()
    out[...] = c
    return out


def _writable_in_place(c: Array, a: Array, b: Array) -> bool:
    flags = c.flags
    in_rows = flags.c_contiguous or c.shape[1] < 2 or c.strides[1] == c.itemsize
    return in_rows and flags.writeable and not np.may_share_memory(c, a) and not np.may_share_memory(c, b)


_zeros: dict[Any, Array] = {}


def _row_of_zeros(n: int, dtype: Any) -> Array:
    row = _zeros.get(dtype)
    if row is None or row.size < n:
        row = _zeros[dtype] = np.zeros(n, dtype)
    return row


def column_sums(a: Array, out: Array | None = None) -> Array:
    if out is not None and (out.shape != a.shape[1:] or out.dtype != a.dtype):
        raise ValueError(
            f"column_sums expected out of shape {a.shape[1:]} and {a.dtype}, got {out.shape}, {out.dtype}."
        )
    flat, columns = _flat(a), a.shape[1]
    if columns == 0:
        return np.empty(0, a.dtype) if out is None else out
    if out is not None and out.flags.c_contiguous and out.flags.writeable and not np.may_share_memory(out, a):
        run(elementwise.column_sums[a.dtype], flat, columns, out)
        return out
    total = np.empty(columns, a.dtype)
    run(elementwise.column_sums[a.dtype], flat, columns, total)
    if out is None:
        return total
    cancel_recording()
    out[...] = total
    return out


def take(a: Array, rows: Array) -> Array:
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= len(a)):
        raise IndexError(f"take expected rows in [0, {len(a)}), got some from {rows.min()} to {rows.max()}.")
    if a.strides[1] != a.itemsize:
        cancel_recording()
        return np.ascontiguousarray(a[rows])
    c = aligned((rows.size, a.shape[1]), a.dtype)
    if c.size:
        copies.take(a, rows, c)
    return c


def copy(a: Array, out: Array | None = None) -> Array:
    a = _contiguous(a)
    c = aligned(a.shape, a.dtype) if out is None else out
    if c.shape != a.shape or c.dtype != a.dtype or not c.flags.c_contiguous or not c.flags.writeable:
        raise ValueError(f"copy expected a contiguous writable out of shape {a.shape} and {a.dtype}, got {c.shape}.")
    if c.size:
        copies.take(a, copies.ALL, c)
    return c


# --- activations -----------------------------------------------------------------------------------


def _rectified(x: Array, leaky: bool, slope: float) -> Array:
    y = aligned(x.shape, x.dtype)
    run(elementwise.rectify[x.dtype], leaky, slope, _flat(x), y.reshape(-1))
    return y


def _saturated(code: int, x: Array, alpha: float = 0.0) -> Array:
    y = aligned(x.shape, x.dtype)
    run(elementwise.saturate[x.dtype], code, alpha, _flat(x), y.reshape(-1))
    return y


def _rectified_backward(grad_y: Array, y: Array, slope: float) -> Array:
    _same_shape(grad_y, y)
    grad_x = aligned(y.shape, y.dtype)
    run(elementwise.rectify_backward[y.dtype], slope, _flat(grad_y), _flat(y), grad_x.reshape(-1))
    return grad_x


def _saturated_backward(code: int, grad_y: Array, y: Array, alpha: float = 0.0) -> Array:
    _same_shape(grad_y, y)
    grad_x = aligned(y.shape, y.dtype)
    run(
        elementwise.saturate_backward[y.dtype],
        code,
        alpha,
        _flat(grad_y),
        _flat(y),
        grad_x.reshape(-1),
    )
    return grad_x


def relu(x: Array) -> Array:
    return _rectified(x, False, 0.0)


def relu_backward(grad_y: Array, y: Array) -> Array:
    return _rectified_backward(grad_y, y, 0.0)


def leaky_relu(x: Array, slope: float) -> Array:
    return _rectified(x, True, slope)


def leaky_relu_backward(grad_y: Array, y: Array, slope: float) -> Array:
    return _rectified_backward(grad_y, y, slope)


def elu(x: Array, alpha: float) -> Array:
    return _saturated(elementwise.ELU, x, alpha)


def elu_backward(grad_y: Array, y: Array, alpha: float) -> Array:
    return _saturated_backward(elementwise.ELU, grad_y, y, alpha)


def sigmoid(x: Array) -> Array:
    return _saturated(elementwise.SIGMOID, x)


def sigmoid_backward(grad_y: Array, y: Array) -> Array:
    return _saturated_backward(elementwise.SIGMOID, grad_y, y)


def tanh(x: Array) -> Array:
    return _saturated(elementwise.TANH, x)


def tanh_backward(grad_y: Array, y: Array) -> Array:
    return _saturated_backward(elementwise.TANH, grad_y, y)


# --- losses ------------------------------------------------------------------------------------------


def mse(prediction: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    return _mean_loss(elementwise.mse, elementwise.weighted_mse, prediction, target, weight)


def bce(logits: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    return _mean_loss(elementwise.bce, elementwise.weighted_bce, logits, target, weight)


def _mean_loss(
    plain: Any, weighted: Any, prediction: Array, target: Array, weight: Array | None
) -> tuple[Array, Array]:
    _same_shape(prediction, target)
    grad, value = aligned(prediction.shape, prediction.dtype), np.empty(())
    p, t, g = _flat(prediction), _flat(target), grad.reshape(-1)
    if weight is None:
        run(plain[grad.dtype], p, t, g, np.empty(_blocks(prediction)), value)
        return value, grad
    if weight.shape != prediction.shape[:1] or weight.dtype != grad.dtype or 0 in prediction.shape:
        raise ValueError(
            f"loss expected a weight for each row of {prediction.shape} in {grad.dtype}, got {weight.shape} in "
            f"{weight.dtype}."
        )
    rows = max(1, elementwise.BLOCK // prediction.shape[1])
    run(weighted[grad.dtype], p, t, _flat(weight), g, np.empty(-(-weight.size // rows)), value)
    return value, grad


def ssim_map(
    mu_x: Array, mu_y: Array, xx: Array, yy: Array, xy: Array, c1: float, c2: float
) -> tuple[Array, Array, Array, Array]:
    _same_shape(mu_x, mu_y, xx, yy, xy)
    results = tuple(aligned(mu_x.shape, mu_x.dtype) for _ in range(4))
    inputs = (_flat(a) for a in (mu_x, mu_y, xx, yy, xy))
    outputs = (a.reshape(-1) for a in results)
    run(elementwise.ssim_map[mu_x.dtype], c1, c2, *inputs, *outputs)
    s, d_mu_x, d_xx, d_xy = results
    return s, d_mu_x, d_xx, d_xy


# --- the optimizers' steps ----------------------------------------------------------------------------


def sgd(value: Array, grad: Array, v: Array, numbers: Array) -> None:
    _check_step("sgd", grad, (value, v), numbers, 3)
    run(elementwise.sgd[value.dtype], numbers, value.reshape(-1), _flat(grad), v.reshape(-1))


def adam(value: Array, grad: Array, m: Array, v: Array, numbers: Array) -> None:
    _check_step("adam", grad, (value, m, v), numbers, 7)
    run(
        elementwise.adam[value.dtype],
        numbers,
        value.reshape(-1),
        _flat(grad),
        m.reshape(-1),
        v.reshape(-1),
    )


def _check_step(who: str, grad: Array, in_place: tuple[Array, ...], numbers: Array, count: int) -> None:
    _same_shape(grad, *in_place)
    if not all(a.flags.c_contiguous and a.flags.writeable for a in in_place):
        raise ValueError(f"{who} expected contiguous writable arrays to change in place: pass copies.")
    if numbers.shape != (count,) or numbers.dtype != np.float64:
        raise ValueError(f"{who} expected {count} numbers in float64, got {numbers.shape} in {numbers.dtype}.")


# --- noise --------------------------------------------------------------------------------------------


def gaussian_noise(x: Array, key: Array, std: float, low: float, high: float) -> Array:
    return _corrupt(noise.GAUSSIAN, x, key, std, low, high)


def masking_noise(x: Array, key: Array, fraction: float) -> Array:
    return _corrupt(noise.MASKING, x, key, fraction, 0.0, 0.0)


def salt_and_pepper(x: Array, key: Array, fraction: float, low: float, high: float) -> Array:
    return _corrupt(noise.SALT_AND_PEPPER, x, key, fraction, low, high)


def _corrupt(code: int, x: Array, key: Array, amount: float, low: float, high: float) -> Array:
    if key.shape != (1,) or key.dtype != np.uint64:
        raise ValueError(f"noise expected its key as uint64 of shape (1,), got {key.dtype} of shape {key.shape}.")
    y = aligned(x.shape, x.dtype)
    run(noise.corrupt[x.dtype], code, amount, low, high, key, _flat(x), y.reshape(-1))
    return y


# --- how arrays are handed to compiled loops ---------------------------------------------------------


def _blocks(a: Array) -> int:
    """How many tasks the elements of `a` make."""
    return -(-a.size // elementwise.BLOCK)


def _flat(a: Array) -> Array:
    """`a` as one contiguous vector."""
    return _contiguous(a).reshape(-1)


def _contiguous(a: Array) -> Array:
    """`a`, or if it is not contiguous a copy, which no replay repeats."""
    if not a.flags.c_contiguous:
        cancel_recording()
    return np.ascontiguousarray(a)


def _same_shape(*arrays: Array) -> None:
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError(f"kernel expected arrays of one shape, got {[a.shape for a in arrays]}.")
