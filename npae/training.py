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

A network that learns its training data by heart gets worse on others. With `patience` training stops when the
validation loss has not fallen for so many epochs, and the weights with which it was least come back (Prechelt, 1998,
"Early stopping - but when?").

Next: `autoencoder.py`, which wraps this loop in `fit`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from npae import kernels
from npae.arrays import Array
from npae.batches import Batches
from npae.blocks import evaluate, only_kernels
from npae.corruptions import Corruption, KeyedNoise, corrupt, draw_key
from npae.history import Training
from npae.optimizers import State
from npae.parameter import Parameter, flatten

Step = Callable[[Array, "Array | None"], float]


def train(
    training: Training,
    batches: Batches,
    *,
    epochs: int,
    corruption: Corruption | None = None,
    validation: tuple[Array, Array] | None = None,
    patience: int | None = None,
    after_epoch: Callable[[], bool] = lambda: False,
) -> None:
    """Teach the network to give back the rows of `batches`, until the history has `epochs` entries. All in place.

    Parameters
    ----------
    corruption : callable (x, rng) -> x_noisy, optional
        Applied afresh to every batch on its way in.
    validation : (inputs, targets), optional
        Evaluated after every epoch.
    patience : int, optional
        How many epochs to wait for a lower validation loss; at the end the best weights come back.
    after_epoch : callable () -> bool, optional
        Called when the history has an epoch's entry; True ends training.

    Raises
    ------
    RuntimeError
        If the loss or a parameter stops being finite. Ctrl-C raises nothing: training ends there, and
        the history says so. What `after_epoch` raises comes through.
    """
    history, vector = training.history, flatten(training.network.parameters())
    if training.last is not None:
        vector.value[:], training.last = training.last, None
    step = _steps(training, vector, batches, corruption)
    history.stopped = ""
    try:
        while len(history.loss) < epochs and not history.stopped:
            training.whole, started = False, time.perf_counter()
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # divergence is reported
                mean, held_out, rate = _epoch(step, training, vector, batches, validation)
            history.add(mean, held_out, rate, time.perf_counter() - started)
            if patience is not None:
                training.keep_the_best(vector.value, patience)
            training.whole = True
            if after_epoch() and not history.stopped:
                history.stopped = f"by a callback after epoch {len(history.loss)}"
    except KeyboardInterrupt:
        history.drop_unfinished()
        history.stopped = f"interrupted in epoch {len(history.loss) + (not training.whole)}"
    finally:
        if training.best is not None:
            training.last, vector.value[:] = vector.value.copy(), training.best


def _epoch(
    step: Step, training: Training, vector: Parameter, batches: Batches, validation: tuple[Array, Array] | None
) -> tuple[float, float | None, float]:
    """One pass over the data: the mean loss over all rows, the validation loss, and the last learning rate."""
    total, n, rate = 0.0, 0, 0.0
    for item, weight in batches.epoch(training.shuffle_rng):
        rate = training.optimizer.rate(training.state)
        value = step(item, weight)
        if not math.isfinite(value):
            raise training.diverged(f"a loss of {value}", rate)
        total, n = total + value * len(item), n + len(item)
    if n == 0:
        raise ValueError("training expected batches in every epoch, got none: let __iter__ begin anew each time.")
    if not np.isfinite(vector.value).all():
        raise training.diverged("a parameter that is not finite", rate)
    held_out = None if validation is None else evaluate(training.network, training.loss, *validation)
    if held_out is not None and not math.isfinite(held_out):
        raise training.diverged(f"a validation loss of {held_out}", rate)
    return total / n, held_out, rate


def _steps(training: Training, vector: Parameter, batches: Batches, corruption: Corruption | None) -> Step:
    """A function of a batch's item that trains the network on its rows and returns the loss."""
    network, loss, optimizer = training.network, training.loss, training.optimizer
    parameters, state = [vector], training.state
    noise = corruption if isinstance(corruption, KeyedNoise) and only_kernels(corruption) else None
    key = np.zeros(1, np.uint64)
    repeated: dict[int, tuple[Array, Array | None, Callable[[], Array]]] = {}  # for a full batch, and for the last
    repeatable = only_kernels(network, loss, optimizer) and corruption is noise

    def on(item: Array, weight: Array | None, downhill: Callable[[list[Parameter], State], None]) -> Array:
        x = batches.rows(item)
        x_in = x
        if noise is not None:
            x_in = noise.apply(x, key)
        elif corruption is not None:
            x_in = corrupt(corruption, x, training.noise_rng)
        x_hat = network.forward(x_in)
        value, grad = loss.value_and_gradient(x_hat, x, weight)
        network.backward_parameters(grad)
        downhill(parameters, state)
        return value

    def step(item: Array, weight: Array | None) -> float:
        if noise is not None:
            key[:] = draw_key(training.noise_rng)
        if not repeatable or (len(item) not in repeated and len(repeated) == 2):
            return float(on(item, weight, optimizer.step))
        if len(item) not in repeated:
            place, w = batches.place(item), None if weight is None else np.empty_like(weight)
            repeated[len(item)] = place, w, kernels.recorded(lambda: on(place, w, optimizer.apply))
        place, w, again = repeated[len(item)]
        place[:] = item
        if w is not None:
            w[:] = weight
        optimizer.prepare(state)
        return float(again())

    return step
