"""What training leaves behind: how it went, and all that is needed to go on with it.

A side room of the reading path, used by `training.py`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from npae.arrays import Array
from npae.layers import Sequential
from npae.losses import Loss
from npae.optimizers import Optimizer, State


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
        What the epoch took.
    best_epoch : int or None
        With `patience`, the epoch (from 1) after which the validation loss was least.
    stopped : str
        Empty if all epochs were run, else why not.

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

    def last(self) -> dict[str, float]:
        """The last epoch: its number (from 1), loss, learning_rate, seconds and, if it has one, validation_loss."""
        if not self.loss:
            return {"epoch": 0}
        logs = {"epoch": len(self.loss), "loss": self.loss[-1]}
        if len(self.validation_loss) == len(self.loss):
            logs["validation_loss"] = self.validation_loss[-1]
        return logs | {"learning_rate": self.learning_rate[-1], "seconds": self.seconds[-1]}


@dataclass
class Training:
    """A network and all that its next epoch depends on besides data and recipes: enough to go on, bit for bit.

    Attributes
    ----------
    network, loss, optimizer
    state : State
        The optimizer's.
    shuffle_rng, noise_rng, validation_rng : Generator
        The last is where the noise on the validation data begins; it never moves on.
    history : History
    best : Array or None
        With `patience`, all parameters in one vector as they were when the validation loss was least.
    last : Array or None
        The parameters of the last epoch, while the network has the best.
    whole : bool
        Whether the last epoch came to its end.
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
    whole: bool = True

    def fixed_rng(self) -> np.random.Generator:
        """The generator of the noise on validation data, at its beginning each time."""
        return copy.deepcopy(self.validation_rng)

    def keep_the_best(self, parameters: Array, patience: int) -> None:
        """Keep a copy of all parameters if the last epoch is the best so far, else say when patience is over."""
        history = self.history
        epoch, best = len(history.loss), history.best_epoch
        if best is None or self.best is None or history.validation_loss[-1] < history.validation_loss[best - 1]:
            history.best_epoch, self.best = epoch, parameters.copy()
        elif epoch - best >= patience:
            history.stopped = f"no lower validation loss in {patience} epochs after epoch {best}"

    def diverged(self, what: str, rate: float) -> RuntimeError:
        """The error that says so."""
        epoch = len(self.history.loss) + 1
        return RuntimeError(
            f"training expected a finite loss, got {what} in epoch {epoch}: it diverged. Lower the learning rate "
            f"(now {rate:g}), scale the data to around [0, 1] or unit variance, or bound the output with 'sigmoid'."
        )

    def resumed(self, optimizer: Optimizer) -> Training:
        """This training, to be gone on with by `optimizer`, whose numbers may be others, but not its kind."""
        if type(optimizer) is not type(self.optimizer):
            raise ValueError(
                f"resuming expected the optimizer that training began with, {self.optimizer}, got {optimizer}: "
                "keep its kind, or fit anew."
            )
        self.optimizer = optimizer
        return self
