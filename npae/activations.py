"""Activations: functions of one number, applied to each element, that make a network more than one linear map.

Two Dense layers in a row are one Dense layer: (x W + b) V + c = x (W V) + (b V + c). With a nonlinear function between
them, wide enough layers approximate any continuous function (Cybenko, 1989, "Approximation by superpositions of a
sigmoidal function"; Leshno et al., 1993, for any function that is not a polynomial).

The derivative of each activation here can be computed from its output y alone, so forward keeps only y:

    y = f(x)                        forward
    grad_x = grad_y · f'(x)         backward, element by element: the Jacobian is diagonal

Next: `losses.py`, which gives the first grad_y.
"""

from __future__ import annotations

import numpy as np

from npae.estimator.arguments import as_real
from npae.estimator.validation import as_gradient, as_input
from npae.kernels import kernel
from npae.kernels.arrays import Array, ArrayLike
from npae.layers import Layer


class Activation(Layer):
    """An element-wise function y_ij = f(x_ij) whose derivative is a function of y.

    A subclass defines `function` and `chain`. forward keeps the y it returns: do not change that array before backward
    has run.

    Example
    -------
    >>> import numpy as np
    >>> class Exponential(Activation):
    ...     def function(self, x): return np.exp(x)
    ...     def chain(self, grad_y, y): return grad_y * y
    >>> Exponential().forward([[0.0, 1.0]]).round(3).tolist()
    [[1.0, 2.718]]
    """

    init = "glorot"  # initial weights of a Dense before it
    kinked = False  # whether f has a kink at 0
    _y: Array | None = None

    def forward(self, x: ArrayLike) -> Array:
        """y = f(x), element by element."""
        self._y = y = self.function(as_input(x, type(self).__name__))
        return y

    def backward(self, grad_y: Array) -> Array:
        """grad_x = grad_y · f'(x)."""
        y, grad_y = as_gradient(grad_y, self._y, type(self).__name__)
        return self.chain(grad_y, y)

    def branches(self) -> list[Array]:
        return [self._y > 0] if self.kinked and self._y is not None else []

    def function(self, x: Array) -> Array:
        """f(x)."""
        raise NotImplementedError

    def chain(self, grad_y: Array, y: Array) -> Array:
        """grad_y · f'(x), with f' written in terms of y."""
        raise NotImplementedError

    def second_derivative(self, y: Array) -> Array:
        """f''(x), written in terms of y: needed by a penalty on derivatives. Here 0, as that of a straight piece."""
        return np.zeros_like(y)


@kernel
def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@kernel
def relu_backward(grad_y: Array, y: Array) -> Array:
    return grad_y * (y > 0)


class ReLU(Activation):
    """y = max(x, 0);  dy/dx = 1 where y > 0, else 0 (also at the kink x = 0).

    Source: Nair and Hinton, 2010, "Rectified linear units improve restricted Boltzmann machines".

    Example
    -------
    >>> ReLU().forward([[-1.0, 2.0]]).tolist()
    [[0.0, 2.0]]
    """

    init, kinked = "he", True

    def function(self, x: Array) -> Array:
        return relu(x)

    def chain(self, grad_y: Array, y: Array) -> Array:
        return relu_backward(grad_y, y)


@kernel
def leaky_relu(x: Array, slope: float) -> Array:
    return np.where(x > 0, x, slope * x)


@kernel
def leaky_relu_backward(grad_y: Array, y: Array, slope: float) -> Array:
    return np.where(y > 0, grad_y, slope * grad_y)


class LeakyReLU(Activation):
    """y = x where x > 0, else slope · x;  dy/dx = 1 where y > 0, else slope. The slope is in [0, 1].

    Source: Maas, Hannun and Ng, 2013, "Rectifier nonlinearities improve neural network acoustic models".

    Example
    -------
    >>> LeakyReLU(0.1).forward([[-1.0, 2.0]]).tolist()
    [[-0.1, 2.0]]
    """

    init, kinked = "he", True

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = as_real(slope, "LeakyReLU", "slope", low=0, high=1)

    def function(self, x: Array) -> Array:
        return leaky_relu(x, self.slope)

    def chain(self, grad_y: Array, y: Array) -> Array:
        return leaky_relu_backward(grad_y, y, self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


@kernel
def elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@kernel
def elu_backward(grad_y: Array, y: Array, alpha: float) -> Array:
    """For x <= 0, dy/dx = alpha exp(x) = y + alpha."""
    return np.where(y > 0, grad_y, grad_y * (y + alpha))


class ELU(Activation):
    """y = x where x > 0, else alpha (exp(x) - 1);  dy/dx = 1 where y > 0, else y + alpha. alpha > 0.

    Source: Clevert, Unterthiner and Hochreiter, 2016, "Fast and accurate deep network learning by ELUs".

    Example
    -------
    >>> ELU().forward([[-50.0, 2.0]]).tolist()
    [[-1.0, 2.0]]
    """

    init, kinked = "he", True

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = as_real(alpha, "ELU", "alpha", low=0, without=0)

    def function(self, x: Array) -> Array:
        return elu(x, self.alpha)

    def chain(self, grad_y: Array, y: Array) -> Array:
        return elu_backward(grad_y, y, self.alpha)

    def second_derivative(self, y: Array) -> Array:
        """alpha exp(x) = y + alpha for x <= 0, else 0."""
        return np.where(y > 0, 0, y + self.alpha)

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


@kernel
def sigmoid(x: Array) -> Array:
    """The exponential is taken of -|x|, so it cannot overflow: for x <= 0, y = exp(x) / (1 + exp(x))."""
    positive = x.real > 0
    e = np.exp(np.where(positive, -x, x))
    y: Array = np.where(positive, 1, e) / (1 + e)
    return y


@kernel
def sigmoid_backward(grad_y: Array, y: Array) -> Array:
    grad_x: Array = grad_y * y * (1 - y)
    return grad_x


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), in (0, 1);  dy/dx = y (1 - y).

    Example
    -------
    >>> Sigmoid().forward([[0.0, 1000.0]]).tolist()
    [[0.5, 1.0]]
    """

    def function(self, x: Array) -> Array:
        return sigmoid(x)

    def chain(self, grad_y: Array, y: Array) -> Array:
        return sigmoid_backward(grad_y, y)

    def second_derivative(self, y: Array) -> Array:
        """y (1 - y) (1 - 2 y)."""
        bend: Array = y * (1 - y) * (1 - 2 * y)
        return bend


@kernel
def tanh(x: Array) -> Array:
    return np.tanh(x)


@kernel
def tanh_backward(grad_y: Array, y: Array) -> Array:
    grad_x: Array = grad_y * (1 - y * y)
    return grad_x


class Tanh(Activation):
    """y = tanh(x), in (-1, 1);  dy/dx = 1 - y².

    Example
    -------
    >>> Tanh().forward([[0.0, 1000.0]]).tolist()
    [[0.0, 1.0]]
    """

    def function(self, x: Array) -> Array:
        return tanh(x)

    def chain(self, grad_y: Array, y: Array) -> Array:
        return tanh_backward(grad_y, y)

    def second_derivative(self, y: Array) -> Array:
        """-2 y (1 - y²)."""
        bend: Array = -2 * y * (1 - y * y)
        return bend


@kernel
def copy(x: Array, out: Array | None = None) -> Array:
    if out is None:
        return x.copy()
    out[...] = x
    return out


class Identity(Activation):
    """y = x;  dy/dx = 1.

    Example
    -------
    >>> Identity().forward([[-1.0, 2.0]]).tolist()
    [[-1.0, 2.0]]
    """

    def function(self, x: Array) -> Array:
        return copy(x)  # the caller may change the result, and x stays as it is

    def chain(self, grad_y: Array, y: Array) -> Array:
        return copy(grad_y)


ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "linear": Identity,
}
