"""What happens after each epoch: a line about it, then the checkpoint, then the user's callbacks.

`KeepWeights` is such a callback: it remembers the network of each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from npae.estimator.arguments import as_count
from npae.fitting.history import History
from npae.fitting.progress import Progress
from npae.kernels.arrays import Array

Callback: TypeAlias = "Callable[[Any, int, dict[str, float]], object]"
"""Called as callback(model, epoch, logs). True ends training."""


@dataclass
class CallbackList:
    """The file is written before the callbacks run, so it holds the epoch that a callback is told of."""

    model: Any
    progress: Progress
    checkpoint: Any  # a storage.Checkpoint, or None
    callbacks: list[Callback]

    def after_epoch(self, history: History) -> bool:
        """Whether a callback returned True."""
        logs = history.last()
        epoch = int(logs["epoch"])
        self.progress.epoch(epoch, logs["loss"], logs.get("validation_loss"))
        if self.checkpoint is not None:
            self.checkpoint.after_epoch(self.model, epoch)
        answers = [callback(self.model, epoch, dict(logs)) for callback in self.callbacks]
        return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)


def as_callbacks(callbacks: Any, caller: str) -> list[Callback]:
    """A list of callables, from several or from one."""
    several = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in several:
        if not callable(callback) or isinstance(callback, type):
            raise TypeError(
                f"{caller} expected callbacks as functions (model, epoch, logs), got {callback!r}: "
                "pass a list of functions."
            )
    return several


class KeepWeights:
    """A callback that keeps the network's weights after every `every` epochs, to see later how they were learned.

    `model.export("model.html", X, kept=callback)` shows them as a film. A new fit starts a new collection; a resumed
    one continues it.

    Parameters
    ----------
    every : int >= 1

    Attributes
    ----------
    epochs : list of int
    losses : list of float
        The training loss of each of these epochs.
    weights : list of arrays (p,)
        All p parameters in the order of `model.network_.parameters()`, in one vector for each of these epochs.

    Raises
    ------
    TypeError, ValueError
        If every is not a whole number >= 1.

    Example
    -------
    >>> import npae, numpy as np
    >>> kept = KeepWeights(every=2)
    >>> _ = npae.AE((), 1, epochs=5, random_state=0).fit(np.eye(4), callbacks=kept)
    >>> kept.epochs, kept.weights[0].shape
    ([2, 4], (13,))
    """

    def __init__(self, every: int = 1) -> None:
        self.every = as_count(every, "KeepWeights", "every")
        self.epochs: list[int] = []
        self.losses: list[float] = []
        self.weights: list[Array] = []

    def __call__(self, model: Any, epoch: int, logs: dict[str, float]) -> None:
        """Copy the weights if it is this epoch's turn."""
        if self.epochs and epoch <= self.epochs[-1]:
            self.epochs, self.losses, self.weights = [], [], []
        if epoch % self.every == 0:
            self.epochs.append(epoch)
            self.losses.append(float(logs["loss"]))
            self.weights.append(np.concatenate([p.value.ravel() for p in model.network_.parameters()]))

    def __repr__(self) -> str:
        return f"KeepWeights(every={self.every})"
