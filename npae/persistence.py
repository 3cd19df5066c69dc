"""Saving and loading: one `.npz` file with a JSON header, never pickle.

The header says what the object is: its class, its constructor arguments and what it has learned, each as
plain JSON, with a name such as "array3" where an array belongs. So a file is data, and loading it runs
nothing. What stood at the path before is lost only once the new file is whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
import zlib
from typing import Any

import numpy as np

from npae.activations import ACTIVATIONS, ELU, LeakyReLU
from npae.arrays import Array
from npae.corruptions import CORRUPTIONS
from npae.estimator import Estimator
from npae.files import write_whole
from npae.history import History, Training
from npae.layers import Dense, Layer, Sequential
from npae.losses import LOSSES
from npae.optimizers import OPTIMIZERS, State
from npae.schedules import Constant, Cosine
from npae.validation import as_path

FORMAT_VERSION = 1

_recipes: list[Any] = [
    *LOSSES.values(),
    *OPTIMIZERS.values(),
    *CORRUPTIONS.values(),
    Constant,
    Cosine,
    History,
    State,
    Training,
]
_RECIPES: dict[str, Any] = {c.__name__: c for c in _recipes}
_ACTIVATIONS: dict[str, Any] = {c.__name__: c for c in ACTIVATIONS.values()}


def save(model: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to `path`, whole or not at all.

    Raises
    ------
    TypeError
        If the model is not an AE, DAE or PCA, or holds what a file cannot: a function of yours, a generator.
    RuntimeError
        If it has not been fitted.
    OSError
        If the file cannot be written; a file that stood there is then untouched.

    Example
    -------
    >>> import numpy as np, os, tempfile
    >>> pca = PCA(1).fit(np.arange(6.0).reshape(3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(pca, os.path.join(folder, "pca.npz"))
    ...     load(os.path.join(folder, "pca.npz"))
    PCA(n_components=1)
    """
    if type(model).__name__ not in Estimator.kinds or type(model) is not Estimator.kinds[type(model).__name__]:
        raise TypeError(f"save expected a fitted AE, DAE or PCA, got {type(model).__name__}: pass one of these.")
    path = as_path(path, "save")
    text, arrays = packed(model)
    write_whole(path, lambda stream: np.savez(stream, header=text, **arrays))  # type: ignore[arg-type]


def check_savable(model: Estimator) -> None:
    for name, value in model.get_params().items():
        _pack(value, name, {})


def packed(model: Estimator) -> tuple[Array, dict[str, Array]]:
    model._learned("n_features_in_")
    arrays: dict[str, Array] = {}
    learned = model._kept()
    header = {
        "format": "npae",
        "version": FORMAT_VERSION,
        "class": type(model).__name__,
        "parameters": {k: _pack(v, k, arrays) for k, v in model.get_params(deep=False).items()},
        "learned": {k: _pack(v, k, arrays) for k, v in learned.items()},
    }
    return np.frombuffer(json.dumps(header).encode(), np.uint8), arrays


def load(path: str | os.PathLike[str]) -> Any:
    """The model that `save` wrote to `path`.

    Raises
    ------
    ValueError
        If the file is not one that this version of npae can read; the message says why.
    OSError
        If there is no such file or it cannot be read.
    """
    path = as_path(path, "load")
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != "npae":
            raise ValueError(f"the format {header['format']!r}")
        if header["version"] != FORMAT_VERSION:
            raise ValueError(f"format version {header['version']}, while this npae reads {FORMAT_VERSION}")
        model = Estimator.kinds[header["class"]](**{k: _unpack(v, arrays) for k, v in header["parameters"].items()})
        for name, value in header["learned"].items():
            setattr(model, name, _unpack(value, arrays))
        return model._woken()
    except (ValueError, TypeError, KeyError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"load expected a file written by npae.save, got {os.fspath(path)!r} with a fault "
            f"({type(error).__name__}: {error}): save the model again, or check that this is the right file."
        ) from error


def _pack(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """`value` as JSON; arrays go into `arrays` and leave their names behind."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(v, name, arrays) for v in value]}
    if isinstance(value, np.random.Generator):
        return {"Generator": [json.dumps(value.bit_generator.state)]}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return {"names": value.tolist()}
    if isinstance(value, np.ndarray):
        key = f"array{len(arrays)}"
        arrays[key] = value
        return {"array": key}
    if name == "dtype" or isinstance(value, np.dtype):
        return {"dtype": np.dtype(value).name}
    if type(value) is Sequential:
        return {"Sequential": [_pack(layer, name, arrays) for layer in value.layers]}
    if type(value) is Dense:
        return {"Dense": [_pack(p.value, name, arrays) for p in value.parameters()]}
    if _ACTIVATIONS.get(type(value).__name__) is type(value):
        number = {LeakyReLU: "slope", ELU: "alpha"}.get(type(value))
        return {type(value).__name__: [getattr(value, number)] if number else []}
    if _RECIPES.get(type(value).__name__) is type(value):
        fields = {f.name: _pack(getattr(value, f.name), name, arrays) for f in dataclasses.fields(value)}
        return {type(value).__name__: fields}
    mend = f"change it first, for example with model.set_params({name}=...)."
    if name.endswith("_"):
        mend = "it was learned with an object of yours, so keep the model with pickle or the weights with np.savez."
    raise TypeError(
        f"save expected {name} to be npae's own or plain data, got {value!r}, which a file cannot hold: {mend}"
    )


def _unpack(value: Any, arrays: dict[str, Array]) -> Any:
    """The inverse of `_pack`."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "dtype":
        return np.dtype(content)
    if kind == "names":
        return np.array(content, dtype=object)
    if kind in _RECIPES:
        return _RECIPES[kind](**{k: _unpack(v, arrays) for k, v in content.items()})
    items = [_unpack(v, arrays) for v in content]
    if kind == "Generator":
        g = np.random.default_rng()
        g.bit_generator.state = json.loads(items[0])
        return g
    if kind == "list":
        return items
    if kind == "tuple":
        return tuple(items)
    if kind == "Sequential":
        return Sequential(*items)
    if kind == "Dense":
        return _dense(*items)
    layer: Layer = _ACTIVATIONS[kind](*items)
    return layer


def _dense(W: Array, b: Array) -> Dense:
    layer = Dense(*W.shape, dtype=W.dtype)
    if b.shape != layer.b.value.shape or b.dtype != W.dtype:
        raise ValueError(f"a bias of shape {b.shape} for weights of shape {W.shape}")
    layer.W.value, layer.b.value = W, b
    return layer
