"""The steps of the optimizers, in place. `npae/optimizers.py` defines the scalars of each."""

from __future__ import annotations

import math

import numpy as np

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.compile import CompiledLoop, doubles, inner, vector, vector_out
from npae.kernels.numba_backend.elementwise import BLOCK, block_count
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.twins import check_alike, flat, twin

STEP = 2 * BLOCK  # cycles of a block, roughly


@inner
def _sgd_block(scalars: Array, value: Array, grad: Array, v: Array, block: int) -> None:
    rate, momentum, nesterov = value.dtype.type(scalars[0]), value.dtype.type(scalars[1]), scalars[2] != 0
    start, stop = block * BLOCK, (block + 1) * BLOCK
    value, grad, v = value[start:stop], grad[start:stop], v[start:stop]
    for i in range(value.size):
        v[i] = momentum * v[i] + grad[i]
        value[i] -= rate * (grad[i] + momentum * v[i] if nesterov else v[i])


@CompiledLoop(doubles, vector_out, vector, vector_out)
def sgd_loop(context: int, scalars: Array, value: Array, grad: Array, v: Array) -> None:
    """scalars: the learning rate, momentum, nesterov."""
    parallel_for(context, block_count(value.size), STEP, _sgd_block, (scalars, value, grad, v))


@twin
def sgd(value: Array, grad: Array, v: Array, scalars: Array) -> None:
    _check_step("sgd", grad, (value, v), scalars, 3)
    run(sgd_loop, value.dtype, scalars, value.reshape(-1), flat(grad), v.reshape(-1))


@inner
def _adam_block(scalars: Array, value: Array, grad: Array, m: Array, v: Array, block: int) -> None:
    """1 - beta2 is taken in float64: near 1, float32 has too few digits for it."""
    real = value.dtype.type
    rate, beta1, one_minus_beta1 = real(scalars[0]), real(scalars[1]), real(1 - scalars[1])
    beta2, one_minus_beta2, eps = real(scalars[2]), real(1 - scalars[2]), real(scalars[3])
    per_correction1, per_correction2, decay = real(1 / scalars[4]), real(1 / scalars[5]), real(scalars[6])
    start, stop = block * BLOCK, (block + 1) * BLOCK
    value, grad, m, v = value[start:stop], grad[start:stop], m[start:stop], v[start:stop]
    for i in range(value.size):
        m[i] = beta1 * m[i] + one_minus_beta1 * grad[i]
        v[i] = beta2 * v[i] + one_minus_beta2 * grad[i] * grad[i]
        direction = m[i] * per_correction1 / (math.sqrt(v[i] * per_correction2) + eps)
        value[i] -= rate * direction + decay * value[i]


@CompiledLoop(doubles, vector_out, vector, vector_out, vector_out)
def adam_loop(context: int, scalars: Array, value: Array, grad: Array, m: Array, v: Array) -> None:
    """scalars: the learning rate, beta1, beta2, eps, the two bias corrections, the decay."""
    parallel_for(context, block_count(value.size), STEP, _adam_block, (scalars, value, grad, m, v))


@twin
def adam(value: Array, grad: Array, m: Array, v: Array, scalars: Array) -> None:
    _check_step("adam", grad, (value, m, v), scalars, 7)
    run(adam_loop, value.dtype, scalars, value.reshape(-1), flat(grad), m.reshape(-1), v.reshape(-1))


def _check_step(caller: str, grad: Array, in_place: tuple[Array, ...], scalars: Array, count: int) -> None:
    """Raise ValueError unless a step can change the arrays in place."""
    check_alike(grad, *in_place)
    if not all(a.flags.c_contiguous and a.flags.writeable for a in in_place):
        raise ValueError(f"{caller} expected contiguous writable arrays to change in place: pass copies.")
    if scalars.shape != (count,) or scalars.dtype != np.float64:
        raise ValueError(f"{caller} expected {count} scalars in float64, got {scalars.shape} in {scalars.dtype}.")
