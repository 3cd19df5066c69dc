"""Saving and loading models: whole, checked, and bit for bit.

    {"format": "npae", "version": 3, "class": "AE",
     "parameters": {"hidden": {"tuple": [128]}, "latent_dim": 32, ...},
     "learned": {"n_features_in_": 784, "training_": {"TrainingState": {"network": ..., "history": ..., ...}}},
     "arrays": {"training.network.0.0.W": {"dtype": "float32", "shape": [784, 128]}, ...}}

`load` builds the model, checks that all its parts fit together, and describes it again. If that description is not
the file's header, it refuses the file: nothing in a header can be ignored or misread.
"""

from __future__ import annotations

import math
import os
import types
import typing
from typing import Any

import numpy as np

from npae.codes import StochasticLayer
from npae.estimator import Base, Estimator
from npae.estimator.arguments import as_path
from npae.fitting import TrainingState
from npae.kernels.arrays import Array
from npae.layers import Parameter, Sequential
from npae.losses import SSIM
from npae.storage import archive
from npae.storage.files import atomic_write
from npae.storage.serialize import DERIVED, build_model, deserialize, learned, serialize
from npae.training import flatten


def save(model: Base, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to `path`: the whole file, or nothing.

    Raises
    ------
    TypeError
        If the model is not one of npae's, or holds an object that a file cannot, such as a function.
    ValueError
        If its parts do not fit together, or a weight is not finite.
    RuntimeError
        If it has not been fitted.
    OSError
        If the file cannot be written. An older file at `path` is kept.

    Example
    -------
    >>> import npae, numpy as np, os, tempfile
    >>> pca = npae.PCA(1).fit(np.arange(6.0).reshape(3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(pca, os.path.join(folder, "pca.npz"))
    ...     load(os.path.join(folder, "pca.npz"))
    PCA(n_components=1)
    """
    _check_kind(model, "pass a fitted one")
    model._learned("n_features_in_")
    path = as_path(path, "save")
    contents, arrays = _describe(model)
    try:
        _check(model)
    except Exception as error:
        raise ValueError(
            f"save expected a model as fit leaves it, got a changed one ({_fault(error)}): undo that, or fit again."
        ) from error
    atomic_write(path, lambda stream: archive.write(stream, contents, arrays))


def check_savable(model: Base) -> None:
    """Raise TypeError if `save` would, once the model is fitted: a checkpoint must not fail after an epoch of work."""
    _check_kind(model, "leave the checkpoint out")
    _parameters(model, {})


def load(path: str | os.PathLike[str]) -> Any:
    """The model that `save` wrote to `path`.

    Any file may be given. `load` runs nothing in it, and refuses each that `save` would not write. It takes a few
    times the memory of the file's arrays, and up to 60 times that of its header, which has at most 16 MiB.

    Raises
    ------
    ValueError
        If this version of npae cannot read the file; the message says why.
    OSError
        If there is no such file, or it cannot be read.

    Example
    -------
    >>> import npae, numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     npae.save(npae.AE((), 1, epochs=2).fit(np.eye(3)), os.path.join(folder, "ae.npz"))
    ...     len(load(os.path.join(folder, "ae.npz")).partial_fit(np.eye(3)).history_.loss)
    3
    """
    try:
        path = os.fspath(path)
        return _rebuild(*archive.read(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # malformed input may raise any of them
        raise ValueError(
            f"load expected a file written by npae.save, got {path!r:.500} ({_fault(error)}): "
            "save the model again, or check that this is the right file."
        ) from error


def _describe(model: Base) -> tuple[dict[str, Any], dict[str, Array]]:
    """A model as JSON and arrays."""
    arrays: dict[str, Array] = {}
    contents = {
        "class": type(model).__name__,
        "parameters": _parameters(model, arrays),
        "learned": {k: serialize(v, k.removesuffix("_"), arrays) for k, v in learned(model).items()},
    }
    return contents, arrays


def _parameters(model: Base, arrays: dict[str, Array]) -> dict[str, Any]:
    """The constructor's arguments as JSON."""
    return {k: serialize(v, f"parameters.{k}", arrays) for k, v in model.get_params(deep=False).items()}


def _rebuild(header: bytes, contents: dict[str, Any], arrays: dict[str, Array]) -> Base:
    """The model that a file describes."""
    if contents["class"] not in Base.kinds:
        raise ValueError(f"the class {contents['class']!r:.200} is unknown")
    parts = [{k: deserialize(v, arrays) for k, v in contents[part].items()} for part in ("parameters", "learned")]
    model = build_model(contents["class"], *parts)
    _check(model)
    for one in (model, *vars(model).get("models_", ())):
        if "training_" in vars(one):
            _check_state(vars(one)["training_"])
    if archive.header_text(*_describe(model)) != header:
        raise ValueError("the header differs from the one that npae.save writes for its model")
    return model


def _check_kind(model: Any, advice: str) -> None:
    if Base.kinds.get(type(model).__name__) is not type(model):
        raise TypeError(f"save expected a model of npae's, such as an AE, got {type(model).__name__}: {advice}.")


def _fault(error: BaseException) -> str:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{kind}{error}"[:500]


def _check(model: Base) -> None:
    """Raise unless all that `encode`, `decode` and `score` rely on is there and fits together."""
    learned = vars(model)
    d, names = learned["n_features_in_"], learned.get("feature_names_in_")
    if type(d) is not int:
        raise ValueError(f"n_features_in_ is {d!r:.200}")
    if names is not None and (names.shape, names.dtype) != ((d,), np.dtype(object)):
        raise ValueError(f"feature_names_in_ has shape {names.shape} for {d} features")
    if "training_" in learned:
        _check_training(learned, d)
    elif not isinstance(model, Estimator):
        _check_members(learned, d)
    else:
        k, dtype = len(learned["components_"]), learned["components_"].dtype
        shapes = {"components_": (k, d), "mean_": (d,), "explained_variance_": (k,), "explained_variance_ratio_": (k,)}
        for name, shape in shapes.items():
            _check_array(learned[name], name, shape, dtype)


def _check_members(learned: dict[str, Any], d: int) -> None:
    """Raise unless models_ are fitted models of d features, each with a center and a scale."""
    models, centers = learned["models_"], learned["centers_"]
    if not (type(models) is list and models and all(isinstance(model, Estimator) for model in models)):
        raise ValueError("models_ is not a list of models")
    for model in models:
        _check(model)
        if model.n_features_in_ != d:
            raise ValueError(f"a model of {model.n_features_in_} columns is in a detector for {d} features")
    for name in ("centers_", "scales_"):
        _check_array(learned[name], name, (len(models), d), centers.dtype)
    if not (type(learned["offset_"]) is float and math.isfinite(learned["offset_"])):
        raise ValueError(f"offset_ is {learned['offset_']!r:.200}")


def _check_training(learned: dict[str, Any], d: int) -> None:
    """Raise unless training_ is what it says, the other attributes are parts of it, and all fit d features."""
    training: TrainingState = learned["training_"]
    _check_fields(training)
    _check_fields(training.state)
    _check_fields(training.history)
    network, loss, history = training.network, training.loss, training.history
    encoder, *codes, decoder = network.layers
    parts = dict(zip(DERIVED, (network, encoder, decoder, loss, history), strict=True))
    for name, part in parts.items():
        if learned[name] is not part:
            raise ValueError(f"{name} is not that of training_")
    if not (isinstance(encoder, Sequential) and isinstance(decoder, Sequential)):
        raise ValueError("network_ is not an encoder and a decoder")
    if len(codes) > 1 or not all(isinstance(code, StochasticLayer) for code in codes):
        raise ValueError("network_ has another layer than a stochastic code between encoder and decoder")
    if not (network.n_in == d == network.n_out):
        raise ValueError(f"network_ leads from {network.n_in} to {network.n_out} columns for {d} features")
    for p in network.parameters():
        _check_array(p.value, f"network_ {p.name}", p.value.shape, network.dtype)
    if isinstance(loss, SSIM) and math.prod(loss.image_shape) != d:
        raise ValueError(f"loss_ compares images of shape {loss.image_shape} for {d} features")
    epochs, validated = len(history.loss), len(history.validation_loss)
    if not validated <= epochs == len(history.learning_rate) == len(history.seconds):
        raise ValueError("an epoch of history_ lacks a number")
    if history.best_epoch is not None and not 1 <= history.best_epoch <= validated:
        raise ValueError(f"history_ has the best epoch {history.best_epoch} of {validated}")


def _check_state(training: TrainingState) -> None:
    """Raise unless the optimizer's arrays are as long as the network's vector: kernels do not check it."""
    vector = flatten(training.network.parameters()).value
    state, fresh = training.state, training.optimizer.init([Parameter(vector, "parameters")], 1)
    if [len(moments) for moments in state.moments] != [len(moments) for moments in fresh.moments]:
        raise ValueError(f"training_ has moments that are not those of {training.optimizer}")
    for a in (*state.moments[0], training.best, training.last):
        if a is not None:
            _check_array(a, "training_", vector.shape, vector.dtype)


def _check_array(a: Array, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if a.shape != shape or 0 in shape or a.dtype != dtype or dtype.kind != "f":
        raise ValueError(f"{name} has shape {a.shape} and dtype {a.dtype} instead of {shape} and {dtype}")
    if not np.isfinite(a).all():
        raise ValueError(f"{name} is not all finite")


def _check_fields(record: Any) -> None:
    """Raise unless the fields of a dataclass have the types of their annotations."""
    for name, hint in typing.get_type_hints(type(record)).items():
        if not _has_type(getattr(record, name), hint):
            raise ValueError(f"{type(record).__name__}.{name} has another type than {hint}")


def _has_type(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint == Array:  # its origin depends on the version of NumPy
        return isinstance(value, np.ndarray)
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, one) for one in inner)
    if origin in (int, float):
        return isinstance(value, int | origin) and not isinstance(value, bool)
    if origin in (list, tuple):  # list[X] or tuple[X, ...]
        return isinstance(value, origin) and all(_has_type(v, inner[0]) for v in value)
    return isinstance(value, origin)
