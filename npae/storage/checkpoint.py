"""Checkpoints: the model, saved every few epochs while it trains."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from npae.estimator.arguments import as_count, as_path
from npae.storage.models import check_savable, save


@dataclass
class Checkpoint:
    """Saves a model to `path` after every `every` epochs, and at the end."""

    path: str
    every: int

    @classmethod
    def at(cls, path: Any, every: Any, caller: str) -> Checkpoint | None:
        """The checkpoint for these arguments of `fit`; None without a path.

        Raises TypeError or ValueError if `path` is not a file in a folder that exists, or `every` is not >= 1.
        """
        every = as_count(every, caller, "checkpoint_every")
        if path is None:
            return None
        path = as_path(path, caller, "checkpoint")
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise ValueError(
                f"{caller} expected checkpoint as a file in a folder that exists, got {path!r}: make the folder first."
            )
        return cls(path, every)

    def check(self, model: Any) -> None:
        """Raise TypeError if the model cannot be saved."""
        check_savable(model)

    def after_epoch(self, model: Any, epoch: int) -> None:
        """Save the model if it is this epoch's turn."""
        if epoch % self.every == 0:
            save(model, self.path)

    def at_end(self, model: Any, epoch: int, *, always: bool) -> None:
        """Save the model unless the last epoch's file holds it. With `always`: it may have changed since."""
        if always or epoch % self.every:
            save(model, self.path)
