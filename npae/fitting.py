"""Fitting: from a model's arguments and its data to a training, and what happens between two epochs of it.

All arguments are checked before any work starts. Training runs on what is new or a copy, which the model takes as its
own before the first epoch, so that callbacks see it; if training fails within an epoch, the model has back what it had.

A side room of the reading path: what `autoencoder.py` calls `fit`, for those who want to know.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from npae.batches import Batches, batches_of
from npae.corruptions import corrupt
from npae.estimator.arguments import as_count, as_dtype, as_flag, as_generator, as_path, resolve
from npae.estimator.dataframes import check_names, column_names
from npae.estimator.validation import as_table
from npae.history import Training
from npae.layers import Sequential
from npae.losses import LOSSES, Loss
from npae.optimizers import OPTIMIZERS, Optimizer
from npae.parameter import flatten
from npae.persistence import check_savable, save
from npae.progress import Progress
from npae.training import train

Callback: TypeAlias = "Callable[[Any, int, dict[str, float]], object]"
"""Called as callback(model, epoch, logs); True ends training."""


def learn(
    model: Any,
    X: Any,
    sample_weight: Any,
    *,
    epochs: int | None,
    resume: bool,
    validation: Any = None,
    callbacks: Any = (),
    checkpoint: Any = None,
    checkpoint_every: Any = 1,
) -> None:
    """Train an `AE` for that many more epochs, or, where that is None, until `model.epochs` are done in all."""
    caller, before = type(model).__name__, dict(vars(model))
    planned = as_count(model.epochs, caller, "epochs", at_least=0)
    batch_size = as_count(model.batch_size, caller, "batch_size")
    patience = None if model.patience is None or epochs else as_count(model.patience, caller, "patience")
    optimizer = resolve(model.optimizer, Optimizer, OPTIMIZERS, caller, "optimizer")
    corruption = model._corruption()
    watchers, (path, every) = as_callbacks(callbacks, caller), as_checkpoint(checkpoint, checkpoint_every, caller)

    verbose = None if model.verbose is None else as_flag(model.verbose, caller, "verbose")

    old: Training | None = copy.deepcopy(before.get("training_")) if as_flag(resume, caller, "resume") else None
    loss = old.loss if old else resolve(model.loss, Loss, LOSSES, caller, "loss")
    done = len(old.history.loss) if old else 0
    until = done + epochs if epochs else planned
    names = column_names(X, caller)
    if old:
        check_names(X, before.get("feature_names_in_"), caller)
    form = {"width": model.n_features_in_, "dtype": old.network.dtype} if old else _form(model, caller)
    batches = batches_of(X, sample_weight, loss, caller, batch_size=batch_size, passes=until - done, **form)
    V = None
    if validation is not None:
        check_names(validation, names, caller, "validation")
        V = as_table(validation, caller, name="validation", width=batches.width, dtype=batches.dtype)
        loss.check_target(V)
    if (patience and V is None) or (V is not None and old and len(old.history.validation_loss) < done):
        raise ValueError(
            f"{caller} expected validation data in every epoch (patience={patience}), got some epochs without: "
            "pass fit(X, validation=...) from the first epoch on."
        )
    training = old.resumed(optimizer) if old else _begun(model, batches, loss, optimizer, planned)
    if old and not epochs and batches.steps is not None:
        training.state.steps = training.state.done + (until - done) * batches.steps
    training.best = training.best if patience else None
    training.last = training.last if not epochs else None
    held_out = None
    if V is not None:
        held_out = (corrupt(corruption, V, training.fixed_rng()) if corruption else V, V)
    if path is not None:
        check_savable(model)
    if not old:
        as_generator(model.random_state, caller).spawn(4)  # advance the caller's generator after all validation

    model._adopt(training)
    model._remember(batches.width, names)
    watch = Watch(model, training, Progress(until, verbose, done), watchers, path, every)
    try:
        train(
            training, batches, epochs=until, corruption=corruption, validation=held_out, patience=patience,
            after_epoch=watch,
        )  # fmt: skip
    except BaseException:
        if not training.whole:
            vars(model).clear()
            vars(model).update(before)
        raise
    if path is not None and training.whole and (patience or len(training.history.loss) % every):
        save(model, path)  # as it is now: with the best weights, or after an epoch between two checkpoints
    if training.history.stopped:
        watch.progress.stopped(f"{training.history.stopped}: the model keeps what it has learned")


def _form(model: Any, caller: str) -> dict[str, Any]:
    """What X must be: of any width and dtype, unless `dtype` or networks of your own say more."""
    dtype, width = None if model.dtype is None else as_dtype(model.dtype, caller), None
    if isinstance(model.encoder, Sequential):
        own = model.encoder.parameters()
        width, dtype = model.encoder.n_in, own[0].value.dtype if dtype is None and own else dtype
    return {"width": width, "dtype": dtype}


def _begun(model: Any, batches: Batches, loss: Loss, optimizer: Optimizer, epochs: int) -> Training:
    """A training that has done no epoch, of a new network, tried on an example."""
    rng = copy.deepcopy(as_generator(model.random_state, type(model).__name__))
    init_rng, shuffle_rng, noise_rng, validation_rng = rng.spawn(4)
    network = model._build(batches.width, batches.dtype, loss, init_rng)
    example = batches.example()
    with np.errstate(over="ignore", invalid="ignore"):
        loss.value_and_gradient(network.forward(example), example)  # a misfit between them shows here
    steps = None if batches.steps is None else epochs * batches.steps
    state = optimizer.init([flatten(network.parameters())], steps)
    return Training(network, loss, optimizer, state, shuffle_rng, noise_rng, validation_rng)


@dataclass
class Watch:
    """What happens after each epoch: a line about it, the checkpoint, then the callbacks.

    So whatever a callback does, the file has the epoch that the callback was told of.
    """

    model: Any
    training: Training
    progress: Progress
    callbacks: list[Callback]
    checkpoint: str | None
    every: int

    def __call__(self) -> bool:
        logs = self.training.history.last()
        epoch = int(logs["epoch"])
        self.progress.epoch(epoch, logs["loss"], logs.get("validation_loss"))
        if self.checkpoint is not None and epoch % self.every == 0:
            save(self.model, self.checkpoint)
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


def as_checkpoint(path: Any, every: Any, caller: str) -> tuple[str | None, int]:
    """Where to save and how often, once the folder is known to be there."""
    every = as_count(every, caller, "checkpoint_every")
    if path is None:
        return None, every
    path = as_path(path, caller, "checkpoint")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise ValueError(
            f"{caller} expected checkpoint as a file in a folder that exists, got {path!r}: make the folder first."
        )
    return path, every
