"""Training: show the network a few examples, measure its error, step downhill; repeat until it has learned.

One pass over the data is an epoch. It cuts the shuffled rows into batches. The gradient of a batch is that of all data
plus noise, at a small part of the price (Bottou, 2010, "Large-scale machine learning with stochastic gradient
descent").

Every autoencoder here minimises one formula:

    L = -log p(x|z) + Ω(z, f)          z = f(x_in)

                   x_in          z                               Ω
    autoencoder    x             f(x)                            0
    denoising      corrupt(x)    f(x_in)                         0
    k-sparse       x             the k largest of f(x)           0
    winners        x             each unit's largest f(x)        0
    ordered        x             f(x), cut off at random         0
    sparse         x             f(x)                            λ mean |z|, or λ Σ KL(ρ ‖ ρ_j)
    contractive    x             f(x)                            λ |∂f/∂x|²
    variational    x             μ + σ ε, (μ, log σ²) = f(x)     KL(q(z|x) ‖ N(0, I))

`corruptions` makes x_in, `codes` makes z, `penalties` are Ω.

Next: `autoencoder.py`, whose `fit` runs this loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from npae.codes import StochasticLayer
from npae.corruptions import Corruption, corrupt
from npae.kernels.arrays import LINE, Array, aligned
from npae.layers import Layer, Parameter, add, check_distinct
from npae.losses import Loss
from npae.optimizers import Optimizer, State
from npae.penalties import Penalty


def train_step(
    encoder: Layer,
    decoder: Layer,
    loss: Loss,
    optimizer: Optimizer,
    parameters: Sequence[Parameter],
    state: State,
    x: Array,
    *,
    corruption: Corruption | None = None,
    code: StochasticLayer | None = None,
    penalty: Penalty | None = None,
    rng: np.random.Generator | None = None,
    weight: Array | None = None,
) -> Array:
    """Train on one batch x (N, d); return its L, an array of shape ().

    `state` is optimizer.init(parameters). `code` draws z from the encoder's output h; without it z = h. `rng` draws the
    noise of `corruption` and `code`; None takes fresh entropy. `weight` (N,) has one number for each row.

    Example
    -------
    >>> import numpy as np
    >>> from npae import MSE, Adam, Dense
    >>> x = np.eye(4, dtype=np.float32)
    >>> encoder, decoder, adam = Dense(4, 3, rng=0), Dense(3, 4, rng=1), Adam(0.01)
    >>> parameters = encoder.parameters() + decoder.parameters()
    >>> state = adam.init(parameters)
    >>> losses = [float(train_step(encoder, decoder, MSE(), adam, parameters, state, x)) for _ in range(200)]
    >>> losses[-1] < 0.2 * losses[0]
    True
    """
    rng = rng or np.random.default_rng()
    x_in = x if corruption is None else corrupt(corruption, x, rng)
    h = encoder.forward(x_in)
    z = h if code is None else code.draw(h, rng)
    x_hat = decoder.forward(z)
    value, grad_x_hat = loss.value_and_gradient(x_hat, x, weight)
    grad_z = decoder.backward(grad_x_hat)
    grad_h = grad_z if code is None else code.backward(grad_z)
    if penalty is not None:
        omega, grad_omega = penalty.value_and_gradient(h, encoder, x_in, weight)
        value, grad_h = add(np.asarray(value), np.asarray(omega)), add(grad_h, grad_omega)
    encoder.backward_parameters(grad_h)  # no gradient by the input is needed
    optimizer.step(parameters, state)
    return value


class DivergenceError(RuntimeError):
    """The loss or a parameter is not finite any more."""


def train(
    step: Callable[[Array, Array | None], float],
    batches: Callable[[], Iterable[tuple[Array, Array | None]]],
    epochs: int,
) -> Iterator[float]:
    """Train for a number of epochs, and yield the mean loss over all rows after each.

    `batches()` yields the batches of one epoch, in a new order each time, each with the weights of its rows or None.
    `step(batch, weight)` trains on one and returns its loss.

    Raises DivergenceError when a loss is not finite, ValueError if an epoch has no batch.
    """
    for _ in range(epochs):
        total, rows = 0.0, 0
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported below
            for batch, weight in batches():
                value = step(batch, weight)
                if not math.isfinite(value):
                    raise DivergenceError(f"a loss of {value}")
                total, rows = total + value * len(batch), rows + len(batch)
        if rows == 0:
            raise ValueError("training expected batches in every epoch, got none: let __iter__ begin again each time.")
        yield total / rows


def flatten(parameters: Sequence[Parameter]) -> Parameter:
    """Move all parameters into one vector, of which each becomes a view; return the vector as a parameter.

    Values are kept. One optimizer step on the vector, or one copy of it, then covers the whole network. Each parameter
    begins on a cache line unless all are small. Padding between parameters is zero, and so is its gradient.

    Raises ValueError if the list is empty, the dtypes differ, or a parameter occurs twice.

    Example
    -------
    >>> import numpy as np
    >>> from npae import Parameter
    >>> W, b = Parameter(np.ones((2, 3)), "W"), Parameter(np.zeros(3), "b")
    >>> flat = flatten([W, b])
    >>> flat.value[0] = 5.0
    >>> W.value[0, 0], flat.value.size
    (np.float64(5.0), 16)
    """
    dtypes = {p.value.dtype for p in parameters}
    if len(dtypes) != 1:
        raise ValueError(
            f"flatten expected parameters of one dtype, got {sorted(map(str, dtypes)) or 'no parameters'}: "
            "build every layer with the same dtype."
        )
    check_distinct(parameters, "flatten")
    dtype = dtypes.pop()
    starts = np.cumsum([0, *(-(-p.value.nbytes // LINE) * LINE // dtype.itemsize for p in parameters)]).tolist()
    flat = Parameter(aligned((starts[-1],), dtype, fill=0), "parameters")
    flat.grad = aligned((starts[-1],), dtype, fill=0)
    for p, start in zip(parameters, starts, strict=False):
        place = slice(start, start + p.value.size)
        flat.value[place] = p.value.ravel()
        p.value = flat.value[place].reshape(p.value.shape)
        p.grad = flat.grad[place].reshape(p.value.shape)
    return flat
