"""The activations, forward and backward.

ELU, sigmoid and tanh share one compiled loop, since each would take a third of a second to compile. ReLU and leaky ReLU
share another, so that a network of these compiles no exponential.
"""

from __future__ import annotations

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import CompiledLoop, inner, integer, scalar, vector, vector_out
from npae.kernels.numba_backend.elementwise import BLOCK, LIGHT, block_count
from npae.kernels.numba_backend.exponential import exp_of_minus, expm1_of_minus
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.twins import check_alike, flat, twin

EXPONENTIAL = 2 * BLOCK  # cycles of a block with an exponential for each element, roughly
ELU, SIGMOID, TANH = range(3)

# --- ReLU and leaky ReLU -------------------------------------------------------------------------------------


@inner
def _rectify_block(leaky: int, slope: float, x: Array, y: Array, block: int) -> None:
    zero, slope = x.dtype.type(0), x.dtype.type(slope)
    start, stop = block * BLOCK, (block + 1) * BLOCK
    x, y = x[start:stop], y[start:stop]
    if leaky:
        for i in range(x.size):
            y[i] = x[i] if x[i] > zero else slope * x[i]
    else:  # not leaky with slope 0, since 0 · infinity is NaN
        for i in range(x.size):
            y[i] = zero if x[i] < zero else x[i]


@CompiledLoop(integer, scalar, vector, vector_out)
def rectify_loop(context: int, leaky: int, slope: float, x: Array, y: Array) -> None:
    """y = x where x > 0, else slope · x if leaky, else 0."""
    parallel_for(context, block_count(x.size), LIGHT, _rectify_block, (leaky, slope, x, y))


@inner
def _rectify_backward_block(slope: float, grad_y: Array, y: Array, grad_x: Array, block: int) -> None:
    zero, one, slope = y.dtype.type(0), y.dtype.type(1), y.dtype.type(slope)
    start, stop = block * BLOCK, (block + 1) * BLOCK
    grad_y, y, grad_x = grad_y[start:stop], y[start:stop], grad_x[start:stop]
    for i in range(y.size):
        grad_x[i] = grad_y[i] * (one if y[i] > zero else slope)


@CompiledLoop(scalar, vector, vector, vector_out)
def rectify_backward_loop(context: int, slope: float, grad_y: Array, y: Array, grad_x: Array) -> None:
    """grad_x = grad_y where y > 0, else slope · grad_y."""
    parallel_for(context, block_count(y.size), LIGHT, _rectify_backward_block, (slope, grad_y, y, grad_x))


def _rectify(x: Array, leaky: bool, slope: float) -> Array:
    y = aligned(x.shape, x.dtype)
    run(rectify_loop, x.dtype, leaky, slope, flat(x), y.reshape(-1))
    return y


def _rectify_backward(grad_y: Array, y: Array, slope: float) -> Array:
    check_alike(grad_y, y)
    grad_x = aligned(y.shape, y.dtype)
    run(rectify_backward_loop, y.dtype, slope, flat(grad_y), flat(y), grad_x.reshape(-1))
    return grad_x


@twin
def relu(x: Array) -> Array:
    return _rectify(x, False, 0.0)


@twin
def relu_backward(grad_y: Array, y: Array) -> Array:
    return _rectify_backward(grad_y, y, 0.0)


@twin
def leaky_relu(x: Array, slope: float) -> Array:
    return _rectify(x, True, slope)


@twin
def leaky_relu_backward(grad_y: Array, y: Array, slope: float) -> Array:
    return _rectify_backward(grad_y, y, slope)


# --- ELU, sigmoid and tanh -----------------------------------------------------------------------------------


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


@CompiledLoop(integer, scalar, vector, vector_out)
def saturate_loop(context: int, code: int, alpha: float, x: Array, y: Array) -> None:
    """y = f(x), for the codes ELU, SIGMOID, TANH: the activations that saturate."""
    parallel_for(context, block_count(x.size), EXPONENTIAL, _saturate_block, (code, alpha, x, y))


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


@CompiledLoop(integer, scalar, vector, vector, vector_out)
def saturate_backward_loop(context: int, code: int, alpha: float, grad_y: Array, y: Array, grad_x: Array) -> None:
    """grad_x = grad_y · f'(x), with f' in terms of y = f(x)."""
    arguments = (code, alpha, grad_y, y, grad_x)
    parallel_for(context, block_count(y.size), LIGHT, _saturate_backward_block, arguments)


def _saturate(code: int, x: Array, alpha: float = 0.0) -> Array:
    y = aligned(x.shape, x.dtype)
    run(saturate_loop, x.dtype, code, alpha, flat(x), y.reshape(-1))
    return y


def _saturate_backward(code: int, grad_y: Array, y: Array, alpha: float = 0.0) -> Array:
    check_alike(grad_y, y)
    grad_x = aligned(y.shape, y.dtype)
    run(saturate_backward_loop, y.dtype, code, alpha, flat(grad_y), flat(y), grad_x.reshape(-1))
    return grad_x


@twin
def elu(x: Array, alpha: float) -> Array:
    return _saturate(ELU, x, alpha)


@twin
def elu_backward(grad_y: Array, y: Array, alpha: float) -> Array:
    return _saturate_backward(ELU, grad_y, y, alpha)


@twin
def sigmoid(x: Array) -> Array:
    return _saturate(SIGMOID, x)


@twin
def sigmoid_backward(grad_y: Array, y: Array) -> Array:
    return _saturate_backward(SIGMOID, grad_y, y)


@twin
def tanh(x: Array) -> Array:
    return _saturate(TANH, x)


@twin
def tanh_backward(grad_y: Array, y: Array) -> Array:
    return _saturate_backward(TANH, grad_y, y)
