"""How training went, and everything that resuming it needs."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from npae.kernels.arrays import Array
from npae.layers import Sequential
from npae.losses import Loss
from npae.optimizers import Optimizer, State


@dataclass
class History:
    """One number for each complete epoch.

    Attributes
    ----------
    loss : list of float
        The mean loss over the epoch's batches, measured while the network was learning from them.
    validation_loss : list of float
        The loss on the validation data after the epoch; empty without validation data.
    learning_rate : list of float
        The learning rate of the epoch's last step.
    seconds : list of float
        The duration of the epoch.
    best_epoch : int or None
        With `patience`, the epoch (from 1) with the lowest validation loss.
    stopped : str
        Why training ended early; empty if it ran all epochs.

    Example
    -------
    >>> import npae, numpy as np
    >>> npae.AE(hidden=(), latent_dim=1, epochs=3).fit(np.eye(4)).history_.last()["epoch"]
    3
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = ""

    def add(self, loss: float, validation_loss: float | None, learning_rate: float, seconds: float) -> None:
        """Add a complete epoch."""
        self.loss.append(loss)
        if validation_loss is not None:
            self.validation_loss.append(validation_loss)
        self.learning_rate.append(learning_rate)
        self.seconds.append(seconds)

    def drop_unfinished(self) -> None:
        """Remove what an interrupted `add` left: `seconds` is appended last, so its length counts complete epochs."""
        for numbers in (self.loss, self.validation_loss, self.learning_rate):
            del numbers[len(self.seconds) :]

    def last(self) -> dict[str, float]:
        """The last epoch: its number (from 1), loss, learning_rate, seconds, and validation_loss if it has one."""
        if not self.loss:
            return {"epoch": 0}
        logs = {"epoch": len(self.loss), "loss": self.loss[-1]}
        if len(self.validation_loss) == len(self.loss):
            logs["validation_loss"] = self.validation_loss[-1]
        return logs | {"learning_rate": self.learning_rate[-1], "seconds": self.seconds[-1]}


@dataclass
class TrainingState:
    """Everything the next epoch depends on besides the data and the model's arguments: resuming is exact, bit for bit.

    Attributes
    ----------
    network : Sequential
        Sequential(encoder, decoder).
    loss, optimizer
    state : State
        The optimizer's.
    shuffle_rng, noise_rng, validation_rng : Generator
        `validation_rng` never advances: the noise on the validation data is the same in every epoch.
    history : History
    best : Array or None
        With `patience`, all parameters at the lowest validation loss, as one vector.
    last : Array or None
        The parameters after the last epoch, while the network holds the best ones.
    epoch_complete : bool
        Whether the last epoch ran to its end.
    """

    network: Sequential
    loss: Loss
    optimizer: Optimizer
    state: State
    shuffle_rng: np.random.Generator
    noise_rng: np.random.Generator
    validation_rng: np.random.Generator
    history: History = field(default_factory=History)
    best: Array | None = None
    last: Array | None = None
    epoch_complete: bool = True

    def validation_noise_rng(self) -> np.random.Generator:
        """A generator that starts where the noise on the validation data starts."""
        return copy.deepcopy(self.validation_rng)

    def split_rng(self) -> np.random.Generator:
        """A generator that draws the rows to hold out: in a resumed training the same ones."""
        return self.validation_noise_rng().spawn(1)[0]

    def keep_best(self, parameters: Array, patience: int) -> None:
        """Early stopping: copy the parameters if the last epoch is the best; stop after `patience` epochs without."""
        history = self.history
        epoch, best = len(history.loss), history.best_epoch
        if best is None or self.best is None or history.validation_loss[-1] < history.validation_loss[best - 1]:
            history.best_epoch, self.best = epoch, parameters.copy()
        elif epoch - best >= patience:
            history.stopped = f"no lower validation loss in {patience} epochs after epoch {best}"
