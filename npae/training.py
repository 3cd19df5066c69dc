"""Training: show the network a few examples, see how wrong it is, step downhill; again, until it has learned.

One pass over the data is an epoch. Each epoch shuffles the rows and cuts them into minibatches, whose gradient is
that of all data but for noise, at a small share of the price (Bottou, 2010, "Large-scale machine learning with
stochastic gradient descent"):

    x_in  = corrupt(x)                      (nothing, for a plain autoencoder)
    x_hat = network.forward(x_in)
    L, g  = loss(x_hat, x)                  compared with the clean x
    network.backward_parameters(g)          sets the gradient of every parameter
    optimizer.step(parameters, state)

These are the same kernels on arrays of the same shapes thousands of times over. So they are recorded once, in
buffers that stay, and then repeated without the Python between them (`kernels.recorded`), wherever
all parts of the step are known to consist of kernels alone (`only_kernels`).

Next: `autoencoder.py`, which wraps this loop in `fit`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from npae import kernels
from npae.arrays import Array
from npae.blocks import evaluate, only_kernels
from npae.corruptions import Corruption, KeyedNoise, draw_key
from npae.layers import Layer
from npae.losses import Loss
from npae.optimizers import Optimizer, State
from npae.parameter import Parameter, flatten
from npae.progress import Progress


@dataclass
class History:
    """How training went, a number for each whole epoch.

    Attributes
    ----------
    loss : list of float
        The mean loss over the epoch's batches, while the network was learning from them.
    validation_loss : list of float
        The loss on the validation data after the epoch; empty without validation data.
    learning_rate : list of float
        The rate of the epoch's last step.
    seconds : list of float
        How long the epoch took.
    stopped : str
        Why training ended early; empty if it did not.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = ""

    def add(self, loss: float, validation_loss: float | None, learning_rate: float, seconds: float) -> None:
        """One more epoch is over."""
        self.loss.append(loss)
        if validation_loss is not None:
            self.validation_loss.append(validation_loss)
        self.learning_rate.append(learning_rate)
        self.seconds.append(seconds)

    def drop_unfinished(self) -> None:
        """Forget what an interrupted `add` has left: `seconds` comes last, so an epoch that has it is whole."""
        for numbers in (self.loss, self.validation_loss, self.learning_rate):
            del numbers[len(self.seconds) :]


def train(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    X: Array,
    *,
    epochs: int,
    batch_size: int,
    shuffle_rng: np.random.Generator,
    noise_rng: np.random.Generator,
    corruption: Corruption | None = None,
    validation: tuple[Array, Array] | None = None,
    progress: Progress,
) -> History:
    """Fit `network` to give back the rows of X, in place, and return how it went.

    Parameters
    ----------
    X : array (n, d)
        Clean data in the network's dtype; read, never written.
    corruption : callable (x, rng) -> x_noisy, optional
        Applied afresh to every batch on its way in.
    validation : (inputs, targets), optional
        Evaluated after every epoch.

    Raises
    ------
    RuntimeError
        If the loss or a parameter stops being finite. Ctrl-C raises nothing: training ends there, and
        the history says so.
    """
    parameters = [flatten(network.parameters())]
    state = optimizer.init(parameters, steps=epochs * math.ceil(len(X) / batch_size))
    step = _steps(network, loss, optimizer, parameters, state, X, noise_rng, corruption)
    history = History()
    epoch, rate = 0, 0.0
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # divergence is reported below
            for epoch in range(1, epochs + 1):
                started, total = time.perf_counter(), 0.0
                order = shuffle_rng.permutation(len(X))
                for first in range(0, len(X), batch_size):
                    rows = order[first : first + batch_size]
                    rate = optimizer.rate(state)
                    value = step(rows)
                    if not math.isfinite(value):
                        raise _diverged(f"a loss of {value}", epoch, rate)
                    total += value * len(rows)
                if not np.isfinite(parameters[0].value).all():
                    raise _diverged("a parameter that is not finite", epoch, rate)
                held_out = None if validation is None else evaluate(network, loss, *validation)
                if held_out is not None and not math.isfinite(held_out):
                    raise _diverged(f"a validation loss of {held_out}", epoch, rate)
                history.add(total / len(X), held_out, rate, time.perf_counter() - started)
                progress.epoch(epoch, history.loss[-1], held_out)
    except KeyboardInterrupt:
        history.drop_unfinished()
        history.stopped = f"interrupted in epoch {epoch}"
        progress.stopped(f"{history.stopped}: the model keeps what it has learned")
    return history


def _steps(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    parameters: list[Parameter],
    state: State,
    X: Array,
    noise_rng: np.random.Generator,
    corruption: Corruption | None,
) -> Callable[[Array], float]:
    """A function of row numbers that trains the network on these rows of X and returns the loss."""
    kernel = kernels.of(X, parameters[0].value)
    noise = corruption if isinstance(corruption, KeyedNoise) and only_kernels(corruption) else None
    key = np.zeros(1, np.uint64)
    repeated: dict[int, tuple[Array, Callable[[], Array]]] = {}  # for a full batch, and for what is left at the end
    repeatable = only_kernels(network, loss, optimizer) and corruption is noise

    def on(rows: Array, downhill: Callable[[list[Parameter], State], None]) -> Array:
        x = kernel.take(X, rows)
        x_in = x
        if noise is not None:
            x_in = noise.apply(x, key)
        elif corruption is not None:
            x_in = corrupt(corruption, x, noise_rng)
        x_hat = network.forward(x_in)
        value, grad = loss.value_and_gradient(x_hat, x)
        network.backward_parameters(grad)
        downhill(parameters, state)
        return value

    def step(rows: Array) -> float:
        if noise is not None:
            key[:] = draw_key(noise_rng)
        if not repeatable:
            return float(on(rows, optimizer.step))
        if len(rows) not in repeated:
            place = np.empty(len(rows), np.int64)
            repeated[len(rows)] = place, kernel.recorded(lambda: on(place, optimizer.apply))
        place, again = repeated[len(rows)]
        place[:] = rows
        optimizer.prepare(state)
        return float(again())

    return step


def corrupt(corruption: Corruption, x: Array, rng: np.random.Generator) -> Array:
    """corruption(x, rng), held to its contract: x unchanged, the result of x's shape and dtype."""
    x = x.view()
    x.flags.writeable = False
    noisy = np.asarray(corruption(x, rng))
    if noisy.shape != x.shape or noisy.dtype.kind not in "fiub":
        raise ValueError(
            f"corruption expected to return numbers of shape {x.shape}, got {noisy.dtype} of shape {noisy.shape}: "
            f"let {corruption!r} return a noisy array shaped like its argument."
        )
    noisy = noisy.astype(x.dtype, copy=False)
    if not np.isfinite(noisy).all():
        raise ValueError(
            f"corruption expected to return finite numbers, got NaN or infinity from {corruption!r}: "
            "let it return values that the network can take."
        )
    return noisy


def _diverged(what: str, epoch: int, rate: float) -> RuntimeError:
    return RuntimeError(
        f"training expected a finite loss, got {what} in epoch {epoch}: it diverged. Lower the learning rate "
        f"(now {rate:g}), scale the data to around [0, 1] or unit variance, or bound the output with 'sigmoid'."
    )
