"""What happens after each epoch: a line about it, then the checkpoint, then the user's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from npae.fitting.history import History
from npae.fitting.progress import Progress

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
