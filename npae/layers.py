"""Layers: differentiable maps, each with its forward pass and, directly below it, its backward pass.

A layer maps a batch x of shape (N, n_in), one example a row, to y of shape (N, n_out). Training needs a second map,
from the loss's gradient by y to its gradients by x and by the layer's parameters. This is the chain rule:

    forward(x)        -> y           keeps what backward needs
    backward(grad_y)  -> grad_x      sets .grad of every parameter;  grad_y is dL/dy

`Sequential` runs layers one after the other, and backward in the opposite order. That is all of backpropagation
(Rumelhart, Hinton and Williams, 1986, "Learning representations by back-propagating errors").

Next: `activations.py`, the nonlinear layers between two `Dense` layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npae.estimator.arguments import as_count, as_dtype, as_generator
from npae.estimator.validation import as_gradient, as_input
from npae.kernels import kernel
from npae.kernels.arrays import Array, ArrayLike


@kernel
def dense(x: Array, W: Array, b: Array) -> Array:
    """y = x W + b: x (N, n_in), W (n_in, n_out), b (n_out,) added to every row -> y (N, n_out)."""
    y: Array = x @ W
    y += b
    return y


@kernel
def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """c = a b: (M, K), (K, N) -> (M, N). `a.T` and `b.T` are views: nothing is copied."""
    return np.matmul(a, b, out=out)


@kernel
def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """c = a + b, element by element, for arrays of one shape."""
    return np.add(a, b, out=out)


@kernel
def column_sums(a: Array, out: Array) -> None:
    """out_j = sum_i a_ij: (N, M) -> (M,). A sum of many rows needs float64: in float32, 2^24 + 1 is 2^24."""
    out[...] = np.sum(a, axis=0, dtype=np.promote_types(a.dtype, np.float64))


# --- parameters --------------------------------------------------------------------------------------------------


class Parameter:
    """A learned array, `value`, and the gradient of the loss by it, `grad`, of the same shape and dtype.

    `name` is its place: "W" in a layer, "0.W" in the first layer of a `Sequential`. `grad` is zero until the first
    backward pass. `pending` holds gradients that reach the parameter along other ways than its layer's output, one for
    each way; the layer's next backward pass adds them. Raises TypeError if the value is not a floating-point array.

    Example
    -------
    >>> import numpy as np
    >>> Parameter(np.ones((2, 3)), "W")
    Parameter('W', (2, 3), float64)
    """

    def __init__(self, value: Array, name: str) -> None:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc":
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"Parameter expected value as a floating array, got {kind}: pass np.zeros(3), for example.")
        self.value = value
        self.grad = np.zeros_like(value)
        self.name = name
        self.pending: dict[Any, Array] = {}

    def add_pending(self) -> None:
        """Add the pending gradients to `grad`."""
        while self.pending:
            add(self.grad, self.pending.popitem()[1], out=self.grad)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles leave out the gradient."""
        return type(self), (self.value, self.name)

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {self.value.shape}, {self.value.dtype})"


def check_distinct(parameters: Sequence[Parameter], caller: str) -> None:
    """Raise ValueError if a parameter occurs twice: each backward pass would overwrite the other's gradient."""
    for i, p in enumerate(parameters):
        if any(p is q for q in parameters[:i]):
            raise ValueError(
                f"{caller} expected each parameter once, got {p!r} twice: layers cannot share a parameter. "
                "Give every layer its own."
            )


# --- layers ------------------------------------------------------------------------------------------------------


class Layer:
    """A differentiable map. A subclass defines `forward` and `backward`, and `parameters` if it has any.

    Attributes
    ----------
    n_in, n_out : int or None
        The widths of x and y. None for a layer that takes any width and keeps it.

    Example
    -------
    >>> class Doubled(Layer):
    ...     def forward(self, x): return 2 * x
    ...     def backward(self, grad_y): return 2 * grad_y
    >>> Sequential(Dense(3, 2, rng=0), Doubled())
    Sequential(Dense(3, 2), Doubled())
    """

    n_in: int | None = None
    n_out: int | None = None

    def forward(self, x: Array) -> Array:
        """y = f(x): x (N, n_in) -> y (N, n_out)."""
        raise NotImplementedError

    def backward(self, grad_y: Array) -> Array:
        """dL/dx from dL/dy. Sets the `.grad` of every parameter; does not add to it.

        Raises RuntimeError before the first forward pass.
        """
        raise NotImplementedError

    def backward_parameters(self, grad_y: Array) -> None:
        """`backward` without dL/dx, which the first layer of a network does not need."""
        self.backward(grad_y)

    def parameters(self) -> list[Parameter]:
        """The layer's parameters, in a fixed order."""
        return []

    def branches(self) -> list[Array]:
        """For a layer with kinks: on which side of the kink each element was in the last forward pass."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out what forward kept of the last batch."""
        return {name: value for name, value in vars(self).items() if name not in ("_x", "_y", "_kept", "_noise")}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Dense(Layer):
    """y = x W + b: each output is a weighted sum of all inputs.

    Shapes: x (N, n_in), W (n_in, n_out), b (n_out,), y (N, n_out). forward keeps x itself, not a copy: do not change
    that array before backward has run.

    Parameters
    ----------
    n_in, n_out : int
        The widths of x and y, at least 1.
    init : "glorot" or "he"
        The distribution of the initial W (see `initial_weights`). The initial b is zero.
    dtype : float32 or float64
    rng : Generator, seed or None
        Draws W. None takes fresh entropy.

    Raises
    ------
    TypeError, ValueError
        If a width is not a whole number >= 1, or init or dtype is not one of those above.

    Example
    -------
    >>> import numpy as np
    >>> layer = Dense(3, 2, dtype=np.float64, rng=0)
    >>> y = layer.forward(np.ones((4, 3)))
    >>> grad_x = layer.backward(np.ones((4, 2)))
    >>> y.shape, grad_x.shape, layer.b.grad.tolist()
    ((4, 2), (4, 3), [4.0, 4.0])
    """

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
        if not isinstance(init, str) or init not in ("glorot", "he"):
            raise ValueError(f"Dense expected init 'glorot' or 'he', got {init!r}: choose one.")
        W = initial_weights(init, as_generator(rng, "Dense"), self.n_in, self.n_out).astype(as_dtype(dtype, "Dense"))
        self.W = Parameter(W, "W")
        self.b = Parameter(np.zeros(self.n_out, W.dtype), "b")

    def forward(self, x: ArrayLike) -> Array:
        """y = x W + b."""
        W, b = self.W.value, self.b.value
        self._x = x = as_input(x, "Dense", width=self.n_in, dtype=W.dtype)
        return dense(x, W, b)

    def backward(self, grad_y: Array) -> Array:
        """grad_W = xᵀ grad_y,  grad_b = sum_i grad_y_i,  grad_x = grad_y Wᵀ.

        y_ij = sum_k x_ik W_kj + b_j, so dy_ij/dW_kj = x_ik. W_kj enters column j of every row i, and the chain rule
        sums over them: dL/dW_kj = sum_i x_ik dL/dy_ij, element kj of xᵀ grad_y. In the same way dy_ij/db_j = 1
        gives the column sums, and dy_ij/dx_ik = W_kj gives dL/dx_ik = sum_j dL/dy_ij W_kj.
        """
        W = self.W.value
        _, grad_y = as_gradient(grad_y, self._x, "Dense", W.shape[1])
        self.backward_parameters(grad_y)
        return matmul(grad_y, W.T)

    def backward_parameters(self, grad_y: Array) -> None:
        """grad_W and grad_b alone."""
        x, grad_y = as_gradient(grad_y, self._x, "Dense", self.W.value.shape[1])
        matmul(x.T, grad_y, out=self.W.grad)
        column_sums(grad_y, out=self.b.grad)
        for p in self.parameters():
            p.add_pending()

    def parameters(self) -> list[Parameter]:
        return [self.W, self.b]

    def __repr__(self) -> str:
        return f"Dense({self.n_in}, {self.n_out})"


def initial_weights(init: str, rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """W (n_in, n_out), random, with a variance that keeps the size of a signal from layer to layer.

    y_j = sum_k x_k W_kj has n_in terms. If the W_kj are independent with mean 0 and variance s², E y_j² = n_in s² E x².
    So s² = 1 / n_in keeps the size of the signal, and s² = 1 / n_out that of the gradient on its way back.

        "glorot"   s² = 2 / (n_in + n_out), between the two; uniform in [-a, a], which has variance a² / 3
        "he"       s² = 2 / n_in, normal, for a ReLU after the layer: it sets half of the signal to 0, which halves E x²

    Sources: Glorot and Bengio, 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 16; He, Zhang, Ren and Sun, 2015, "Delving deep into rectifiers", equation 10.
    """
    if init == "he":
        return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out))
    a = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-a, a, (n_in, n_out))


class Sequential(Layer):
    """y = f_n(... f_2(f_1(x))): layers one after the other, itself a layer.

    Raises
    ------
    TypeError, ValueError
        If there is no layer, one is not a `Layer`, a layer occurs twice (it would lose its first input), two layers
        share a parameter, or a width does not fit the layer before it.

    Example
    -------
    >>> from npae import ReLU
    >>> encoder = Sequential(Dense(784, 128, rng=0), ReLU(), Dense(128, 32, rng=1))
    >>> encoder
    Sequential(Dense(784, 128), ReLU(), Dense(128, 32))
    >>> [p.name for p in encoder.parameters()]
    ['0.W', '0.b', '2.W', '2.b']
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("Sequential expected at least one layer, got none: pass layers in order.")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential expected layers, got {layer!r}: pass objects such as Dense(3, 2).")
        inner = [part for layer in layers for part in all_layers(layer)]
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
        _name_parameters(self, "")

    def forward(self, x: Array) -> Array:
        """y = f_n(... f_2(f_1(x)))."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad_y: Array) -> Array:
        """grad_x = f_1'(... f_n'(grad_y)): the last layer first."""
        for layer in reversed(self.layers):
            grad_y = layer.backward(grad_y)
        return grad_y

    def backward_parameters(self, grad_y: Array) -> None:
        for layer in reversed(self.layers[1:]):
            grad_y = layer.backward(grad_y)
        self.layers[0].backward_parameters(grad_y)

    def parameters(self) -> list[Parameter]:
        return [p for layer in self.layers for p in layer.parameters()]

    def branches(self) -> list[Array]:
        return [sides for layer in self.layers for sides in layer.branches()]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the first parameter; float32 without parameters."""
        for layer in self.layers:
            for p in layer.parameters():
                return p.value.dtype
        return np.dtype(np.float32)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def all_layers(layer: Layer) -> Iterator[Layer]:
    """The layer, and all layers inside it."""
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from all_layers(inner)


def _name_parameters(layer: Layer, prefix: str) -> None:
    """Name each parameter after its place: "1.0.W" is the W of the first layer of the second."""
    if isinstance(layer, Sequential):
        for i, inner in enumerate(layer.layers):
            _name_parameters(inner, f"{prefix}{i}.")
    else:
        for p in layer.parameters():
            p.name = prefix + p.name.rpartition(".")[2]
