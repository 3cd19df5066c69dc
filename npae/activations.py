"""Activations: functions of one number, applied to each element, that make a network more than one linear map.

Dense after Dense is only another Dense: (x W + b) V + c = x (W V) + (b V + c). With a bend between them, layers can
follow any continuous function as closely as one likes, if they are wide enough (Cybenko, 1989, "Approximation by
superpositions of a sigmoidal function"; Leshno et al., 1993, for any that is no polynomial).

Each of those here has a derivative that can be told from its own output, dy/dx = f'(x) as a function of y, so that
forward keeps y alone:

    y = f(x)                        forward
    grad_x = grad_y · f'(x)         backward, element by element: the Jacobian is diagonal

A side room of the reading path: read one class and you have read them all. Back to `layers.py`, or on to `losses.py`.
"""

from __future__ import annotations

from npae import kernels
from npae.arrays import Array, ArrayLike
from npae.estimator.arguments import as_real
from npae.estimator.validation import as_gradient, as_input
from npae.layers import Layer


class Activation(Layer):
    """A function applied to each element, y_ij = f(x_ij), whose derivative is a function of y.

    forward keeps the y that it returns: leave that array as it is until backward has run. Subclass it with both.

    Example
    -------
    >>> import numpy as np
    >>> class Exponential(Activation):
    ...     def _f(self, x): return np.exp(x)
    ...     def _chain(self, grad_y, y): return grad_y * y
    >>> Exponential().forward([[0.0, 1.0]]).round(3).tolist()
    [[1.0, 2.718]]
    """

    init = "glorot"  # how a Dense before it should begin
    kinked = False
    _y: Array | None = None

    def forward(self, x: ArrayLike) -> Array:
        """y = f(x), element by element."""
        self._y = y = self._f(as_input(x, type(self).__name__))
        return y

    def backward(self, grad_y: Array) -> Array:
        """grad_x = grad_y · f'(x), with f' written in terms of y."""
        y, grad_y = as_gradient(grad_y, self._y, type(self).__name__)
        return self._chain(grad_y, y)

    def branches(self) -> list[Array]:
        return [self._y > 0] if self.kinked and self._y is not None else []

    def _f(self, x: Array) -> Array:
        raise NotImplementedError

    def _chain(self, grad_y: Array, y: Array) -> Array:
        raise NotImplementedError


class ReLU(Activation):
    """y = max(x, 0);  dy/dx = 1 where y > 0, else 0 (also at the kink x = 0).

    Source: Nair and Hinton, 2010, "Rectified linear units improve restricted Boltzmann machines".

    Example
    -------
    >>> ReLU().forward([[-1.0, 2.0]]).tolist()
    [[0.0, 2.0]]
    """

    only_kernels = True

    init = "he"
    kinked = True

    def _f(self, x: Array) -> Array:
        return kernels.of(x).relu(x)

    def _chain(self, grad_y: Array, y: Array) -> Array:
        return kernels.of(grad_y, y).relu_backward(grad_y, y)


class LeakyReLU(Activation):
    """y = x where x > 0, else slope · x;  dy/dx = 1 where y > 0, else slope. The slope is in [0, 1].

    Source: Maas, Hannun and Ng, 2013, "Rectifier nonlinearities improve neural network acoustic models".

    Example
    -------
    >>> LeakyReLU(0.1).forward([[-1.0, 2.0]]).tolist()
    [[-0.1, 2.0]]
    """

    only_kernels = True

    init = "he"
    kinked = True

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = as_real(slope, "LeakyReLU", "slope", low=0, high=1)

    def _f(self, x: Array) -> Array:
        return kernels.of(x).leaky_relu(x, self.slope)

    def _chain(self, grad_y: Array, y: Array) -> Array:
        return kernels.of(grad_y, y).leaky_relu_backward(grad_y, y, self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class ELU(Activation):
    """y = x where x > 0, else alpha (exp(x) - 1);  dy/dx = 1 where y > 0, else y + alpha. alpha > 0.

    Source: Clevert, Unterthiner and Hochreiter, 2016, "Fast and accurate deep network learning by ELUs".

    Example
    -------
    >>> ELU().forward([[-50.0, 2.0]]).tolist()
    [[-1.0, 2.0]]
    """

    only_kernels = True

    init = "he"
    kinked = True

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = as_real(alpha, "ELU", "alpha", low=0, without=0)

    def _f(self, x: Array) -> Array:
        return kernels.of(x).elu(x, self.alpha)

    def _chain(self, grad_y: Array, y: Array) -> Array:
        return kernels.of(grad_y, y).elu_backward(grad_y, y, self.alpha)

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), in (0, 1);  dy/dx = y (1 - y).

    Example
    -------
    >>> Sigmoid().forward([[0.0, 1000.0]]).tolist()
    [[0.5, 1.0]]
    """

    only_kernels = True

    def _f(self, x: Array) -> Array:
        return kernels.of(x).sigmoid(x)

    def _chain(self, grad_y: Array, y: Array) -> Array:
        return kernels.of(grad_y, y).sigmoid_backward(grad_y, y)


class Tanh(Activation):
    """y = tanh(x), in (-1, 1);  dy/dx = 1 - y².

    Example
    -------
    >>> Tanh().forward([[0.0, 1000.0]]).tolist()
    [[0.0, 1.0]]
    """

    only_kernels = True

    def _f(self, x: Array) -> Array:
        return kernels.of(x).tanh(x)

    def _chain(self, grad_y: Array, y: Array) -> Array:
        return kernels.of(grad_y, y).tanh_backward(grad_y, y)


class Identity(Activation):
    """y = x;  dy/dx = 1.

    Example
    -------
    >>> Identity().forward([[-1.0, 2.0]]).tolist()
    [[-1.0, 2.0]]
    """

    only_kernels = True

    def _f(self, x: Array) -> Array:
        return kernels.of(x).copy(x)  # what forward returns is the caller's own

    def _chain(self, grad_y: Array, y: Array) -> Array:
        return kernels.of(grad_y).copy(grad_y)


ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "linear": Identity,
}
