"""`fit` in three parts: check every argument, begin or resume a training, run it.

No argument error can occur once work has started. The training is new or a copy. The model takes it over before the
first epoch, so that callbacks see it; if an epoch fails, the model gets back everything it had.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from npae.corruptions import Corruption, corrupt
from npae.estimator.arguments import as_count, as_dtype, as_flag, as_generator, as_share, resolve
from npae.estimator.dataframes import check_names, column_names
from npae.estimator.validation import as_table
from npae.fitting.advice import advise
from npae.fitting.batches import Batches, TableBatches, as_batches
from npae.fitting.callbacks import Callback, CallbackList, as_callbacks
from npae.fitting.history import TrainingState
from npae.fitting.networks import build_network
from npae.fitting.prediction import evaluate
from npae.fitting.progress import Progress
from npae.fitting.recording import recorded_step
from npae.kernels.arrays import Array
from npae.layers import Parameter, Sequential
from npae.losses import Loss
from npae.optimizers import OPTIMIZERS, Optimizer
from npae.penalties import Penalty
from npae.training import DivergenceError, flatten, train

SAMPLE = 10_000  # rows by which a loss may be chosen
Validation: TypeAlias = tuple[Array, Array, "Array | None"]  # inputs, targets, and the weights of the rows


@dataclass
class Plan:
    """The checked arguments of one call of `fit`."""

    batches: Batches
    column_names: Array | None
    loss: Loss
    optimizer: Optimizer
    corruption: Corruption | None
    penalty: Penalty | None
    validation: Array | None
    patience: int | None
    callbacks: list[Callback]
    checkpoint: Any  # a storage.Checkpoint, or None
    verbose: bool | None
    previous: TrainingState | None  # a copy of the training to resume
    done: int  # epochs of the previous training
    epochs: int  # in all, including those done
    extra: bool  # whether the epochs of this call come on top of the model's `epochs`


def check_fit(
    model: Any,
    X: Any,
    sample_weight: Any,
    *,
    extra_epochs: int = 0,
    resume: Any = False,
    validation: Any = None,
    callbacks: Any = (),
    checkpoint: Any = None,
) -> Plan:
    """Check all arguments of the model and of fit. Change nothing; raise TypeError or ValueError.

    With `extra_epochs` the fit adds that many epochs, else it ends when `model.epochs` are done in all.
    """
    caller, fitted = type(model).__name__, vars(model)
    epochs = as_count(model.epochs, caller, "epochs", at_least=0)
    batch_size = as_count(model.batch_size, caller, "batch_size")
    patience = None if model.patience is None or extra_epochs else as_count(model.patience, caller, "patience")
    fraction = model.validation_fraction
    if fraction is not None:
        fraction = as_share(fraction, caller, "validation_fraction", advice="pass 0.1, for example, or None")
    optimizer = resolve(model.optimizer, Optimizer, OPTIMIZERS, caller, "optimizer")
    corruption, penalty = model._corruption(), model._penalty()
    callbacks = as_callbacks(callbacks, caller)
    verbose = None if model.verbose is None else as_flag(model.verbose, caller, "verbose")
    previous: TrainingState | None = (
        copy.deepcopy(fitted.get("training_")) if as_flag(resume, caller, "resume") else None
    )
    names = column_names(X, caller)
    if previous is None:
        loss, done, spec = model._loss(), 0, _spec(model, caller)
    else:
        loss, done = previous.loss, len(previous.history.loss)
        spec = {"width": model.n_features_in_, "dtype": previous.network.dtype}
        check_names(X, fitted.get("feature_names_in_"), caller)
        if type(optimizer) is not type(previous.optimizer):
            raise ValueError(
                f"resuming expected an optimizer of the class that training began with, {previous.optimizer}, got "
                f"{optimizer}: keep the class, or fit without resume."
            )
    epochs = done + extra_epochs if extra_epochs else epochs
    batches = as_batches(
        X, sample_weight, loss, caller, batch_size=batch_size, epochs=epochs - done, fraction=fraction, **spec
    )
    if previous is None:
        loss = model._loss(batches.sample(SAMPLE))
    V = None
    if validation is not None:
        if fraction is not None:
            raise ValueError(
                f"{caller} expected validation= or validation_fraction, got both ({fraction}): leave one of them out."
            )
        check_names(validation, names, caller, "validation")
        V = as_table(validation, caller, name="validation", width=batches.width, dtype=batches.dtype)
        loss.check_target(V)
    validated = V is not None or fraction is not None
    if (patience and not validated) or (validated and previous and len(previous.history.validation_loss) < done):
        raise ValueError(
            f"{caller} expected validation data in every epoch (patience={patience}), got some epochs without: "
            "pass fit(X, validation=...) from the first epoch on, or set validation_fraction."
        )
    if checkpoint is not None:
        checkpoint.check(model)
    return Plan(
        batches, names, loss, optimizer, corruption, penalty, V, patience, callbacks, checkpoint,
        verbose, previous, done, epochs, extra_epochs > 0,
    )  # fmt: skip


def begin_training(model: Any, plan: Plan) -> TrainingState:
    """A training of zero epochs: a new network, tried on an example, and the random streams of the fit."""
    rng = copy.deepcopy(as_generator(model.random_state, type(model).__name__))
    init_rng, shuffle_rng, noise_rng, validation_rng = rng.spawn(4)
    network = build_network(model, plan.batches.width, plan.batches.dtype, plan.loss, init_rng)
    example = plan.batches.example()
    evaluate(network, plan.loss, example, example, penalty=plan.penalty, rng=copy.deepcopy(rng))  # raises if unfit
    # A schedule covers the model's `epochs`, also if partial_fit runs them one by one.
    total_steps = None if plan.batches.steps is None else int(model.epochs) * plan.batches.steps
    state = plan.optimizer.init([flatten(network.parameters())], total_steps)
    return TrainingState(network, plan.loss, plan.optimizer, state, shuffle_rng, noise_rng, validation_rng)


def resume_training(plan: Plan, training: TrainingState) -> TrainingState:
    """The previous training, set up to continue with the model's optimizer: same class, possibly other values."""
    training.optimizer = plan.optimizer
    if plan.extra:
        training.last = None
    elif plan.batches.steps is not None:
        training.state.total_steps = training.state.step + (plan.epochs - plan.done) * plan.batches.steps
    if plan.patience is None:
        training.best = None
    return training


def run_training(model: Any, plan: Plan, training: TrainingState) -> None:
    """Train until `plan.epochs` are done, or until early stopping, a callback or Ctrl-C ends it."""
    before, V, weight = dict(vars(model)), plan.validation, None
    if isinstance(plan.batches, TableBatches) and plan.batches.held_out:
        V, weight = plan.batches.hold_out(training.split_rng())
    if plan.previous is None and plan.epochs > 0:
        advise(model, training.network, plan.loss, plan.batches)
    V_in = V if V is None or plan.corruption is None else corrupt(plan.corruption, V, training.validation_noise_rng())
    if plan.previous is None:
        as_generator(model.random_state, type(model).__name__).spawn(4)  # the caller's generator, after all checks
    model._set_state(training)
    model._remember(plan.batches.width, plan.column_names)
    events = CallbackList(model, Progress(plan.epochs, plan.verbose, plan.done), plan.checkpoint, plan.callbacks)
    try:
        _run_epochs(plan, training, None if V is None or V_in is None else (V_in, V, weight), events)
    except BaseException:
        if not training.epoch_complete:
            vars(model).clear()
            vars(model).update(before)
        raise
    if plan.checkpoint is not None and training.epoch_complete:
        plan.checkpoint.at_end(model, len(training.history.loss), always=plan.patience is not None)
    if training.history.stopped:
        events.progress.stopped(f"{training.history.stopped}: the model keeps what it has learned")


def _run_epochs(plan: Plan, training: TrainingState, validation: Validation | None, events: CallbackList) -> None:
    history, vector = training.history, flatten(training.network.parameters())
    if training.last is not None:
        vector.value[:], training.last = training.last, None
    step = recorded_step(training, vector, plan.batches, plan.corruption, plan.penalty)

    def batches() -> Iterator[tuple[Array, Array | None]]:
        training.epoch_complete = False
        return plan.batches.epoch(training.shuffle_rng)

    history.stopped = ""
    try:
        started = time.perf_counter()
        for loss in train(step, batches, plan.epochs - plan.done):
            validation_loss = _validate(training, vector, plan.penalty, validation)
            history.add(loss, validation_loss, _last_rate(training), time.perf_counter() - started)
            if plan.patience is not None:
                training.keep_best(vector.value, plan.patience)
            training.epoch_complete = True
            if events.after_epoch(history) and not history.stopped:
                history.stopped = f"by a callback after epoch {len(history.loss)}"
            if history.stopped:
                break
            started = time.perf_counter()
    except DivergenceError as error:
        raise DivergenceError(
            f"training expected a finite loss, got {error} in epoch {len(history.loss) + 1}: it diverged. Lower the "
            f"learning rate (now {_last_rate(training):g}), scale the data to around [0, 1] or unit variance, or bound "
            "the output with 'sigmoid'."
        ) from None
    except KeyboardInterrupt:
        history.drop_unfinished()
        history.stopped = f"interrupted in epoch {len(history.loss) + (not training.epoch_complete)}"
    finally:
        if training.best is not None:
            training.last, vector.value[:] = vector.value.copy(), training.best


def _validate(
    training: TrainingState, vector: Parameter, penalty: Penalty | None, validation: Validation | None
) -> float | None:
    """L on the validation data, if there are any. Raises DivergenceError if it or a parameter is not finite."""
    if not np.isfinite(vector.value).all():
        raise DivergenceError("a parameter that is not finite")
    if validation is None:
        return None
    rng = training.validation_noise_rng().spawn(2)[1]  # other noise than that of the inputs
    loss = evaluate(training.network, training.loss, *validation, penalty=penalty, rng=rng)
    if not np.isfinite(loss):
        raise DivergenceError(f"a validation loss of {loss}")
    return loss


def _last_rate(training: TrainingState) -> float:
    """The learning rate of the last step."""
    return training.optimizer.rate(replace(training.state, step=max(0, training.state.step - 1)))


def _spec(model: Any, caller: str) -> dict[str, Any]:
    """The width and dtype that X must have: any, unless `dtype` or networks given by the user fix them."""
    dtype, width = None if model.dtype is None else as_dtype(model.dtype, caller), None
    if isinstance(model.encoder, Sequential):
        own = model.encoder.parameters()
        width, dtype = model.encoder.n_in, own[0].value.dtype if dtype is None and own else dtype
    return {"width": width, "dtype": dtype}
