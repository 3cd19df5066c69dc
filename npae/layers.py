"""Layers: differentiable maps, each with its forward pass and, directly under it, its backward pass.

A layer takes a batch x of shape (N, n_in), one example a row, and returns y of shape (N, n_out). For
training it must also answer: if the loss changes by grad_y when y changes, by how much does it change
with x, and with the layer's own parameters? That is the chain rule, and `backward` applies it:

    forward(x)        -> y           and keeps what backward will need
    backward(grad_y)  -> grad_x      and sets .grad of every parameter, grad_y being dL/dy

A `Sequential` runs layers one after the other, and backwards in the opposite order. This is all of
backpropagation (Rumelhart, Hinton and Williams, 1986, "Learning representations by back-propagating errors").

`Dense` learns; what stands between two of them, and bends, is in `activations.py`. The loops over numbers live in
`kernels`; `kernels/numpy_backend.py` shows each in a line or two of NumPy.

Next: `losses.py`, where the first grad_y comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npae import kernels
from npae.arrays import Array, ArrayLike
from npae.estimator.arguments import as_count, as_dtype, as_generator
from npae.estimator.validation import as_gradient, as_input
from npae.initializers import INITIALIZERS
from npae.parameter import Parameter, check_distinct


class Layer:
    """A differentiable map. Subclass it with `forward` and `backward`; `parameters` where it learns.

    Attributes
    ----------
    n_in, n_out : int or None
        The widths of x and y; None for a layer that takes any width and keeps it.

    Example
    -------
    >>> class Doubled(Layer):
    ...     def forward(self, x): return 2 * x
    ...     def backward(self, grad_y): return 2 * grad_y
    >>> Sequential(Dense(3, 2, rng=0), Doubled())
    Sequential(Dense(3, 2), Doubled())
    """

    only_kernels = False  # see `blocks.only_kernels`
    n_in: int | None = None
    n_out: int | None = None

    def forward(self, x: Array) -> Array:
        """y = f(x), for x of shape (N, n_in)."""
        raise NotImplementedError

    def backward(self, grad_y: Array) -> Array:
        """dL/dx from dL/dy; sets, and does not add to, the `.grad` of every parameter.

        Raises RuntimeError if no forward pass came before.
        """
        raise NotImplementedError

    def backward_parameters(self, grad_y: Array) -> None:
        """The part of `backward` that sets the parameters' gradients: a first layer needs no dL/dx."""
        self.backward(grad_y)

    def parameters(self) -> list[Parameter]:
        """What the layer learns, in a fixed order."""
        return []

    def branches(self) -> list[Array]:
        """On which side of its kink each element was in the last forward pass; empty for a smooth map."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        """What a copy and a pickle take along: all but the memory of the last batch."""
        return {name: value for name, value in vars(self).items() if name not in ("_x", "_y")}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Dense(Layer):
    """y = x W + b: every output is a weighted sum of all inputs.

    Shapes: x (N, n_in), W (n_in, n_out), b (n_out,), y (N, n_out). forward keeps x, not a copy: leave that
    array as it is until backward has run.

    Parameters
    ----------
    n_in, n_out : int
        The widths of x and y, at least 1.
    init : "glorot" or "he"
        How W begins (see `initializers`); b begins at zero.
    dtype : float32 or float64
    rng : Generator, seed or None
        Draws W; None takes fresh entropy.

    Raises
    ------
    TypeError, ValueError
        If a width is not a whole number >= 1, or init or dtype is not one of the above.

    Example
    -------
    >>> import numpy as np
    >>> layer = Dense(3, 2, dtype=np.float64, rng=0)
    >>> y = layer.forward(np.ones((4, 3)))
    >>> grad_x = layer.backward(np.ones((4, 2)))
    >>> y.shape, grad_x.shape, layer.b.grad.tolist()
    ((4, 2), (4, 3), [4.0, 4.0])
    """

    only_kernels = True
    _x: Array | None = None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        init: str = "glorot",
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.n_in = as_count(n_in, "Dense", "n_in")
        self.n_out = as_count(n_out, "Dense", "n_out")
        if not isinstance(init, str) or init not in INITIALIZERS:
            raise ValueError(f"Dense expected init as one of {sorted(INITIALIZERS)}, got {init!r}: choose one.")
        W = INITIALIZERS[init](as_generator(rng, "Dense"), self.n_in, self.n_out, as_dtype(dtype, "Dense"))
        self.W = Parameter(W, "W")
        self.b = Parameter(np.zeros(self.n_out, W.dtype), "b")

    def forward(self, x: ArrayLike) -> Array:
        """y = x W + b."""
        W, b = self.W.value, self.b.value
        self._x = x = as_input(x, "Dense", width=self.n_in, dtype=W.dtype)
        return kernels.of(x, W).dense(x, W, b)

    def backward(self, grad_y: Array) -> Array:
        """From y_ij = sum_k x_ik W_kj + b_j:  grad_W = xᵀ grad_y,  grad_b = sum_i grad_y_i,  grad_x = grad_y Wᵀ."""
        W = self.W.value
        x, grad_y = as_gradient(grad_y, self._x, "Dense", W.shape[1])
        self.backward_parameters(grad_y)
        return kernels.of(x, grad_y, W).matmul(grad_y, W.T)

    def backward_parameters(self, grad_y: Array) -> None:
        """grad_W and grad_b alone."""
        W, b = self.W, self.b
        x, grad_y = as_gradient(grad_y, self._x, "Dense", W.value.shape[1])
        kernel = kernels.of(x, grad_y, W.value)
        kernel.matmul(x.T, grad_y, out=W.grad)
        kernel.column_sums(grad_y, out=b.grad)

    def parameters(self) -> list[Parameter]:
        return [self.W, self.b]

    def __repr__(self) -> str:
        return f"Dense({self.n_in}, {self.n_out})"


class Sequential(Layer):
    """y = f_n(... f_2(f_1(x))): layers one after the other, itself a layer.

    The chain rule runs through them from the last to the first. The place of a layer goes before the
    names of its parameters: "0.W" is the W of the first.

    Raises
    ------
    TypeError, ValueError
        If there is no layer, one is not a `Layer`, one stands twice (it would forget its first
        input), two share a parameter (whose gradient would be that of one alone), or a width does not fit the one
        before it.

    Example
    -------
    >>> from npae import ReLU
    >>> encoder = Sequential(Dense(784, 128, rng=0), ReLU(), Dense(128, 32, rng=1))
    >>> encoder
    Sequential(Dense(784, 128), ReLU(), Dense(128, 32))
    >>> [p.name for p in encoder.parameters()]
    ['0.W', '0.b', '2.W', '2.b']
    """

    only_kernels = True

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("Sequential expected at least one layer, got none: pass layers in order.")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential expected layers, got {layer!r}: pass objects such as Dense(3, 2).")
        inner = [part for layer in layers for part in parts(layer)]
        if len({id(part) for part in inner}) != len(inner):
            raise ValueError("Sequential expected each layer once, got one twice: build a new layer for each place.")
        check_distinct([p for layer in layers for p in layer.parameters()], "Sequential")
        width: int | None = None
        for layer in layers:
            if None not in (width, layer.n_in) and layer.n_in != width:
                raise ValueError(
                    f"Sequential expected {layer!r} to take the {width} outputs of the layer before it, "
                    f"got {layer.n_in} inputs: make the widths equal."
                )
            width = width if layer.n_out is None else layer.n_out
        self.layers = layers
        self.n_in = next((layer.n_in for layer in layers if layer.n_in is not None), None)
        self.n_out = width
        _name(self, "")

    @property
    def last(self) -> Layer:
        """The layer whose output is the network's: the last, or the last of that where it is a `Sequential`."""
        last = self.layers[-1]
        return last.last if isinstance(last, Sequential) else last

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the first parameter; float32 if there is none."""
        return next((p.value.dtype for layer in self.layers for p in layer.parameters()), np.dtype(np.float32))

    def forward(self, x: Array) -> Array:
        """y = f_n(... f_2(f_1(x)))."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad_y: Array) -> Array:
        """grad_x = f_1'(... f_n'(grad_y)): the same layers, last to first."""
        for layer in reversed(self.layers):
            grad_y = layer.backward(grad_y)
        return grad_y

    def backward_parameters(self, grad_y: Array) -> None:
        """The same, up to the gradients of the first layer's parameters."""
        for layer in reversed(self.layers[1:]):
            grad_y = layer.backward(grad_y)
        self.layers[0].backward_parameters(grad_y)

    def parameters(self) -> list[Parameter]:
        return [p for layer in self.layers for p in layer.parameters()]

    def branches(self) -> list[Array]:
        return [sides for layer in self.layers for sides in layer.branches()]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def _name(layer: Layer, prefix: str) -> None:
    """Name every parameter after its place: "1.0.W" is the W of the first layer of the second."""
    if isinstance(layer, Sequential):
        for i, inner in enumerate(layer.layers):
            _name(inner, f"{prefix}{i}.")
    else:
        for p in layer.parameters():
            p.name = prefix + p.name.rpartition(".")[2]


def parts(layer: Layer) -> Iterator[Layer]:
    """The layer itself, and all that it is made of."""
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from parts(inner)
