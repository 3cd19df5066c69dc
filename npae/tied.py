"""Tied weights: the decoder uses the encoder's matrices, transposed.

    z = f(x W + b)          x_hat = z Wᵀ + c

The two halves of an autoencoder undo each other, so their weights tend to become alike. Tied weights make them equal by
construction: half the parameters, and no way for a small W and a large Wᵀ to cancel. The biases stay separate. W
occurs twice in x_hat, so its gradient is the sum of two terms, one for each place.

Source: Vincent, Larochelle, Lajoie, Bengio and Manzagol, 2010, "Stacked denoising autoencoders", section 2.2.

Next: `codes.py`, what happens to a code between encoder and decoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npae.estimator.arguments import as_count, as_dtype
from npae.estimator.validation import as_gradient, as_input
from npae.kernels.arrays import Array, ArrayLike
from npae.layers import Dense, Layer, Parameter, all_layers, column_sums, dense, matmul


class TiedDense(Layer):
    """y = x Wᵀ + b, where W (n_out, n_in) belongs to another layer, `source`, which comes before it in the network.

    Shapes: x (N, n_in), b (n_out,), y (N, n_out). Only b is its own parameter. `tie` sets the source.

    Raises
    ------
    TypeError, ValueError
        If a width is not a whole number >= 1, the dtype is not float32 or float64, or the source does not fit.
    RuntimeError
        If it is used before `tie`.

    Example
    -------
    >>> import numpy as np
    >>> encoder, decoder = Dense(3, 2, rng=0), TiedDense(2, 3)
    >>> decoder.tie(encoder)
    >>> x = np.ones((1, 3), np.float32)
    >>> bool(np.allclose(decoder.forward(encoder.forward(x)), x @ encoder.W.value @ encoder.W.value.T))
    True
    """

    _x: Array | None = None

    def __init__(self, n_in: int, n_out: int, *, dtype: DTypeLike = np.float32) -> None:
        self.n_in = as_count(n_in, "TiedDense", "n_in")
        self.n_out = as_count(n_out, "TiedDense", "n_out")
        self.b = Parameter(np.zeros(self.n_out, as_dtype(dtype, "TiedDense")), "b")
        self.source: Dense | None = None

    def tie(self, source: Dense) -> None:
        """Use the weights of `source`, a `Dense` with n_out inputs and n_in outputs."""
        if type(source) is not Dense or (source.n_in, source.n_out) != (self.n_out, self.n_in):
            raise ValueError(
                f"TiedDense expected a Dense({self.n_out}, {self.n_in}) as its source, got {source!r}: "
                "tie it to the layer of the encoder that it mirrors."
            )
        self.source = source

    @property
    def W(self) -> Parameter:
        """The parameter of the source."""
        if self.source is None:
            raise RuntimeError("TiedDense expected a source, got none so far: call tie(dense) first.")
        return self.source.W

    def forward(self, x: ArrayLike) -> Array:
        """y = x Wᵀ + b."""
        W = self.W.value
        self._x = x = as_input(x, "TiedDense", width=self.n_in, dtype=W.dtype)
        return dense(x, W.T, self.b.value)

    def backward(self, grad_y: Array) -> Array:
        """grad_x = grad_y W,  grad_b = sum_i grad_y_i,  and this layer's part of grad_W, grad_yᵀ x.

        y_ij = sum_k x_ik W_jk + b_j, so dL/dW_jk = sum_i dL/dy_ij x_ik. The source runs backward later, sets the
        gradient of W to its own part, and adds this one.
        """
        self.backward_parameters(grad_y)
        return matmul(as_gradient(grad_y, self._x, "TiedDense", self.n_out)[1], self.W.value)

    def backward_parameters(self, grad_y: Array) -> None:
        """grad_b, and the part of grad_W."""
        x, grad_y = as_gradient(grad_y, self._x, "TiedDense", self.n_out)
        self.W.pending[self] = matmul(grad_y.T, x)
        column_sums(grad_y, out=self.b.grad)

    def parameters(self) -> list[Parameter]:
        return [self.b]

    def __repr__(self) -> str:
        return f"TiedDense({self.n_in}, {self.n_out})"


def tie(encoder: Layer, decoder: Layer) -> None:
    """Tie each `TiedDense` of the decoder to the encoder's `Dense` that it mirrors: the first one to the last.

    Those that have a source keep it. Raises ValueError if the two halves do not mirror each other.
    """
    tied: list[Any] = [layer for layer in all_layers(decoder) if isinstance(layer, TiedDense)]
    sources = [layer for layer in all_layers(encoder) if isinstance(layer, Dense)]
    if any(layer.source is None for layer in tied) and len(tied) != len(sources):
        raise ValueError(
            f"tie expected a TiedDense for each of the encoder's {len(sources)} Dense layers, got {len(tied)}: "
            "let the decoder mirror the encoder."
        )
    for layer, source in zip(tied, reversed(sources), strict=False):
        if layer.source is None:
            layer.tie(source)
