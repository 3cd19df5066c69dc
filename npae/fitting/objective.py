"""What training minimises, as a function from x to one number: for `check_gradients`, and for a loop of your own.

Of a plain autoencoder that is loss(network.forward(inputs), target). With a stochastic code or a penalty, L depends on
h as well, so the network's output is x_hat and h, side by side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np

from npae.codes import StochasticLayer
from npae.kernels.arrays import Array
from npae.layers import Layer, Parameter, Sequential
from npae.losses import Loss
from npae.penalties import Penalty


class Objective(NamedTuple):
    """What training minimises: loss(network.forward(inputs), target)."""

    network: Layer
    loss: Callable[[Array, Array], tuple[float | Array, Array]]
    inputs: Array
    target: Array


class Regularised(Layer):
    """The network of a model with a stochastic code or a penalty, and, when it is called, its loss: to be checked.

    forward gives y = [x_hat | h], so that L = -log p(x|z) + Ω is a function of y: a call (y, target) gives L and dL/dy.
    Every forward pass draws the same code: `noise` stays in its state.
    """

    def __init__(self, network: Sequential, loss: Loss, penalty: Penalty | None, noise: np.random.Generator) -> None:
        self.network, self.loss, self.penalty, self.noise = network, loss, penalty, noise

    def forward(self, x: Array) -> Array:
        """[x_hat | h], shape (N, d + the width of h)."""
        encoder, *code, decoder = self.network.layers
        self.x, self.h = x, encoder.forward(x)
        z = cast(StochasticLayer, code[0]).draw(self.h, copy.deepcopy(self.noise)) if code else self.h
        return np.hstack([decoder.forward(z), self.h])

    def __call__(self, y: Array, target: Array) -> tuple[Array, Array]:
        """(L, dL/dy)."""
        d = y.shape[1] - self.h.shape[1]
        value, grad_x_hat = self.loss.value_and_gradient(y[:, :d], target)
        grad_h = np.zeros_like(self.h)
        if self.penalty is not None:
            omega, grad_h = self.penalty.value_and_gradient(y[:, d:], self.network.layers[0], self.x)
            value = value + omega
        return value, np.hstack([grad_x_hat, grad_h])

    def backward(self, grad_y: Array) -> Array | None:  # type: ignore[override]
        """dL/dx, and the gradient by each parameter. None instead of dL/dx if Ω depends on x besides through h."""
        encoder, *code, decoder = self.network.layers
        through_h = not any(p.pending for p in encoder.parameters())
        d = grad_y.shape[1] - self.h.shape[1]
        grad_h = decoder.backward(grad_y[:, :d])
        for layer in code:
            grad_h = layer.backward(grad_h)
        grad_x = encoder.backward(grad_h + grad_y[:, d:])
        return grad_x if through_h else None

    def parameters(self) -> list[Parameter]:
        return self.network.parameters()

    def branches(self) -> list[Array]:
        return self.network.branches()
