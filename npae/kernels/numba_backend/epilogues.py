"""Epilogues: a rectifier that follows a product becomes a part of the product's store.

A Dense layer writes c = x W + b, and a ReLU after it reads c and writes max(c, 0). On the way back a product writes
c = grad_y Wᵀ, and the ReLU multiplies it by its derivative, 1 or 0. A product can do this for each tile that it has
just stored (`rectify.py`): the result is the same to the bit, and a pass through memory and a job are saved. This is
possible if nobody else reads c, which only a recording can tell, since it knows all kernels of a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npae.kernels.arrays import Array
from npae.kernels.numba_backend.activations import rectify_backward_loop, rectify_loop
from npae.kernels.numba_backend.products import product_loop
from npae.kernels.numba_backend.recording import Call, address, rewrites
from npae.kernels.numba_backend.rectify import LEAKY, MASK, RELU


def with_epilogues(calls: list[Call], results: list[Array]) -> list[Call]:
    """The calls, with each rectifier moved into the product directly before it, if only the rectifier reads its c."""
    rewritten: list[Call] = []
    for i, call in enumerate(calls):
        c = rewritten[-1].made if rewritten and rewritten[-1].loop is product_loop else None
        others = [a for other in (*calls[: max(0, i - 1)], *calls[i + 1 :]) for a in other.arguments]
        if c is not None and _rectifies(call, c) and not _among(c, [*others, *results]):
            rewritten[-1] = _with_epilogue(rewritten[-1], call)
        else:
            rewritten.append(call)
    return rewritten


def _rectifies(call: Call, c: Array) -> bool:
    """Whether the call is a rectifier, or the derivative of one, of all of c."""
    if call.loop is not rectify_loop and call.loop is not rectify_backward_loop:
        return False
    x = call.arguments[2 if call.loop is rectify_loop else 1]
    return x.size == c.size and address(x) == address(c)


def _among(c: Array, arguments: list[Any]) -> bool:
    """Whether one of the arguments shares memory with c."""
    return any(isinstance(a, np.ndarray) and np.may_share_memory(a, c) for a in arguments)


def _with_epilogue(product: Call, rectifier: Call) -> Call:
    """The product that writes what the rectifier would make of its c."""
    a, b, start, c, *plan, _, _, _ = product.arguments
    if rectifier.loop is rectify_loop:
        leaky, slope, _, target = rectifier.arguments
        epilogue, y = LEAKY if leaky else RELU, c
    else:
        slope, _, y, target = rectifier.arguments
        epilogue, y = MASK, y.reshape(c.shape)
    target = target.reshape(c.shape)
    return product._replace(arguments=(a, b, start, target, *plan, epilogue, y, slope), made=None)


rewrites.append(with_epilogues)
