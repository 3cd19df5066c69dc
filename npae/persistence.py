"""Saving and loading: one `.npz` file with a JSON header, never pickle.

The header says what the model is: its class, its constructor's arguments and what it has learned (see `packing`),
and lists the arrays, which bear the names of their places (see `archive`):

    {"format": "npae", "version": 2, "class": "AE",
     "parameters": {"hidden": {"tuple": [128]}, "latent_dim": 32, ...},
     "learned": {"history_": {"History": {"loss": [0.21, ...], ...}}, "network_": ...},
     "arrays": {"network.0.0.W": {"dtype": "float32", "shape": [784, 128]}, ...}}

So a file is data, and loading it runs nothing. A loaded model is described anew, and that description must be the
file's header to the letter: whatever stands in a file is either understood or refused. What stood at the path
before is lost only once the new file is whole (see `files`).
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from npae import archive
from npae.arrays import Array
from npae.estimator import Estimator
from npae.estimator.arguments import as_path
from npae.files import write_whole
from npae.history import History, Training
from npae.layers import Sequential
from npae.losses import SSIM, Loss
from npae.packing import Packer, Unpacker
from npae.parameter import Parameter, flatten
from npae.pca import PCA

_AE = ["network_", "loss_", "history_", "training_"]
_PCA = ["components_", "mean_", "explained_variance_", "explained_variance_ratio_"]


def save(model: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to `path`, whole or not at all.

    The file can be read without npae, with NumPy's `load` and Python's `json`, as the README shows.

    Raises
    ------
    TypeError
        If the model is not an AE, DAE or PCA, or holds what a file cannot, such as a function of yours.
    ValueError
        If it is not as fit leaves one: weights that are not finite, widths that do not fit.
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
    if Estimator.kinds.get(type(model).__name__) is not type(model):
        raise TypeError(f"save expected a fitted AE, DAE or PCA, got {type(model).__name__}: pass one of these.")
    model._learned("n_features_in_")
    path = as_path(path, "save")
    contents, arrays = _described(model)
    try:
        _check(model)
    except Exception as error:
        raise ValueError(
            f"save expected a model as fit leaves it, got one with {_said(error)}: undo the change, or fit it anew."
        ) from error
    write_whole(path, lambda stream: archive.write(stream, contents, arrays))


def check_savable(model: Estimator) -> None:
    """Raise TypeError if `save` would, once the model is fitted: what it is given is known before any work."""
    if Estimator.kinds.get(type(model).__name__) is not type(model):
        raise TypeError(f"save expected an AE, DAE or PCA, got {type(model).__name__}: leave the checkpoint out.")
    packer = Packer()
    for name, value in model.get_params(deep=False).items():
        packer.pack(value, f"parameters.{name}")


def load(path: str | os.PathLike[str]) -> Any:
    """The model that `save` wrote to `path`.

    Any file may be given to it: what is not exactly what `save` writes is refused, and nothing in it is run. It takes
    a few times the memory of the file's arrays, and up to 25 times that of its header, which is 16 MiB at most. A
    digest (SHA-256) over all contents finds whatever has changed since; but anyone can compute it for contents of
    their own: it is no signature.

    Raises
    ------
    ValueError
        If the file is not one that this version of npae can read; the message says why.
    OSError
        If there is no such file or it cannot be read.

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
        return _model(*archive.read(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever comes of making sense of it
        raise ValueError(
            f"load expected a file written by npae.save, got {path!r:.500} with a fault "
            f"({_said(error)}): save the model again, or check that this is the right file."
        ) from error


def _described(model: Estimator) -> tuple[dict[str, Any], dict[str, Array]]:
    """A model as JSON and arrays."""
    packer = Packer()
    contents = {
        "class": type(model).__name__,
        "parameters": {k: packer.pack(v, f"parameters.{k}") for k, v in model.get_params(deep=False).items()},
        "learned": {k: packer.pack(v, k) for k, v in sorted(vars(model).items()) if _is_learned(k)},
    }
    return contents, packer.arrays


def _model(contents: dict[str, Any], arrays: dict[str, Array]) -> Estimator:
    """The model that is described so, if any is."""
    unpacker, kind = Unpacker(arrays), Estimator.kinds.get(contents["class"])
    if kind is None:
        raise ValueError(f"the unknown class {contents['class']!r:.200}")
    model = kind(**{k: unpacker.unpack(v, f"parameters.{k}") for k, v in contents["parameters"].items()})
    for name, value in contents["learned"].items():
        if not _is_learned(name):
            raise ValueError(f"{name!r:.200} among what it has learned")
        setattr(model, name, unpacker.unpack(value, name))
    if unpacker.arrays:
        raise ValueError(f"arrays that belong nowhere: {', '.join(unpacker.arrays):.200}")
    _check(model)
    if "training_" in vars(model):
        _check_training(vars(model)["training_"])
    model._after_load()
    if archive.header_text(*_described(model)) != archive.header_text(contents, arrays):
        raise ValueError("a header that npae.save would not write for this model")
    return model


def _is_learned(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_") and name not in ("encoder_", "decoder_")


def _said(error: BaseException) -> str:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{kind}{error}"[:500]


def _check(model: Estimator) -> None:
    """Raise unless all that `encode`, `decode` and `score` rely on is there and fits together."""
    learned = vars(model)
    missing = {"n_features_in_", *(_PCA if isinstance(model, PCA) else _AE)} - set(learned)
    if missing:
        raise ValueError(f"nothing learned under {', '.join(sorted(missing))}")
    d = learned["n_features_in_"]
    if type(d) is not int:
        raise ValueError(f"n_features_in_ = {d!r}")
    names = learned.get("feature_names_in_")
    if names is not None and (names.shape, names.dtype) != ((d,), np.dtype(object)):
        raise ValueError(f"feature_names_in_ of shape {names.shape} for {d} features")
    if isinstance(model, PCA):
        k, dtype = len(learned["components_"]), learned["components_"].dtype
        for name, shape in zip(_PCA, [(k, d), (d,), (k,), (k,)], strict=True):
            _check_array(learned[name], name, shape, dtype)
        return
    network, loss = learned["network_"], learned["loss_"]
    if not (
        isinstance(network, Sequential)
        and len(network.layers) == 2
        and all(isinstance(half, Sequential) for half in network.layers)
    ):
        raise ValueError("a network_ that is not encoder and decoder")
    if not (network.n_in == d == network.n_out):
        raise ValueError(f"a network_ from {network.n_in} to {network.n_out} for {d} features")
    for p in network.parameters():
        _check_array(p.value, f"network_ {p.name}", p.value.shape, network.dtype)
    for name, kind in (("loss_", Loss), ("history_", History), ("training_", Training)):
        if not isinstance(learned[name], kind):
            raise ValueError(f"a {name} that is none")
    if isinstance(loss, SSIM) and math.prod(loss.image_shape) != d:
        raise ValueError(f"a loss_ on images of {loss.image_shape} for {d} features")
    _check_history(learned["history_"])
    training = learned["training_"]
    if training.network is not network or training.history is not learned["history_"] or training.loss != loss:
        raise ValueError("a network_, history_ or loss_ other than that of its training_")


def _check_array(a: Array, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if a.shape != shape or 0 in shape or a.dtype != dtype or dtype.kind != "f":
        raise ValueError(f"{name} of shape {a.shape} and dtype {a.dtype}, where {shape} and {dtype} belong")
    if not np.isfinite(a).all():
        raise ValueError(f"{name} that is not all finite")


def _check_history(history: History) -> None:
    """Raise unless each epoch has all its numbers, and the best is one of them."""
    epochs, held_out = len(history.loss), len(history.validation_loss)
    if not held_out <= epochs == len(history.learning_rate) == len(history.seconds):
        raise ValueError("a history_ of which an epoch has not all its numbers")
    if history.best_epoch is not None and not 1 <= history.best_epoch <= held_out:
        raise ValueError(f"a history_ with the best epoch {history.best_epoch} of {held_out}")


def _check_training(training: Training) -> None:
    """Raise unless its state is its optimizer's, and its arrays as long as its network's: kernels rely on that."""
    vector = flatten(training.network.parameters()).value
    state, fresh = training.state, training.optimizer.init([Parameter(vector, "parameters")], steps=1)
    if [len(moments) for moments in state.moments] != [len(moments) for moments in fresh.moments]:
        raise ValueError(f"training_ with moments that are none of {training.optimizer}")
    _check_array(state.numbers, "training_", fresh.numbers.shape, fresh.numbers.dtype)
    for a in (*state.moments[0], training.best, training.last):
        if a is not None:
            _check_array(a, "training_", vector.shape, vector.dtype)
