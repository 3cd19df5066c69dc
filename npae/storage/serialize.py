"""Serializing: Python values as plain JSON, with their arrays beside it, and back.

    None, True, 2, 0.5, "adam", [...]    themselves
    (1, 2)                               {"tuple": [1, 2]}
    {"a": 1}                             {"dict": {"a": 1}}
    infinity                             {"float": "inf"}
    float32                              {"dtype": "float32"}
    an array                             {"array": "training.network.0.0.W"}, its place in the model
    an object array of strings           {"strings": [...]}
    Adam(0.01)                           {"Adam": {"learning_rate": 0.01, ...}}, its constructor's arguments
    Dense, Sequential, Generator         {"Dense": {"W": ..., "b": ...}}, {"Sequential": {"0": ..., "1": ...}}, ...
    a model within a model               {"PCA": {"parameters": {"dict": ...}, "learned": {"dict": ...}}}

A file can build nothing else. Constructors check their arguments. An object that stands in two places becomes two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npae.activations import ACTIVATIONS
from npae.codes import GaussianCode, NestedDropout, TopK, WinnerTakeAll
from npae.corruptions import CORRUPTIONS
from npae.estimator import Base
from npae.estimator.parameters import constructor_defaults
from npae.fitting import History, TrainingState
from npae.kernels.arrays import Array
from npae.layers import Dense, Sequential
from npae.likelihoods import Bernoulli, Gaussian
from npae.losses import LOSSES
from npae.optimizers import OPTIMIZERS, Constant, Cosine, State
from npae.penalties import PENALTIES, GaussianKL
from npae.storage.archive import DTYPES, NAME
from npae.tied import TiedDense

DERIVED = ("network_", "encoder_", "decoder_", "loss_", "history_")  # `Estimator._after_load` sets them from training_
_LARGEST_INT = 10**4000  # Python reads integers of at most 4300 digits
_LARGEST_POOL = 64  # of a seed sequence, which takes time quadratic in its pool
_BIT_GENERATORS = {"PCG64": 0, "PCG64DXSM": 0, "SFC64": 0, "Philox": 4, "MT19937": 624}  # length of each one's buffer

_named: dict[str, Any] = {**ACTIVATIONS, **LOSSES, **OPTIMIZERS, **CORRUPTIONS, **PENALTIES}
_plain: list[Any] = [*_named.values(), Constant, Cosine, History, State, TrainingState]
_plain += [Bernoulli, Gaussian, TopK, WinnerTakeAll, NestedDropout, GaussianCode, GaussianKL]
PLAIN: dict[str, Any] = {kind.__name__: kind for kind in _plain}
"""The classes whose objects are rebuilt by `kind(**arguments)`."""


def serialize(value: Any, place: str, arrays: dict[str, Array]) -> Any:
    """`value`, which stands at `place` in a model, as JSON; its arrays are added to `arrays` by their places.

    Raises TypeError if a file cannot hold the value.

    Example
    -------
    >>> import numpy as np
    >>> arrays = {}
    >>> serialize((np.zeros(3), Cosine(0.1), 7), "mine", arrays)
    {'tuple': [{'array': 'mine.0'}, {'Cosine': {'start': 0.1, 'end': 0.0}}, 7]}
    >>> arrays
    {'mine.0': array([0., 0., 0.])}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < _LARGEST_INT):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [serialize(v, f"{place}.{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": serialize(list(value), place, arrays)}
    if _is_dtype(value):
        return {"dtype": np.dtype(value).name}
    if isinstance(value, np.ndarray):
        if value.dtype == object and value.ndim == 1 and all(isinstance(s, str) for s in value):
            return {"strings": value.tolist()}
        if value.dtype.name in DTYPES and NAME.fullmatch(place) and place not in arrays:
            arrays[place] = value
            return {"array": place}
    kind, parts = type(value), _parts(value)
    if parts is not None:
        return {kind.__name__: {k: serialize(v, f"{place}.{k}", arrays) for k, v in parts.items()}}
    raise TypeError(
        f"save expected {place.removeprefix('parameters.')} to be npae's own or plain data, got {kind.__name__}, which "
        "a file cannot hold: replace it with model.set_params, or keep the model with pickle."
    )


def deserialize(value: Any, arrays: dict[str, Array]) -> Any:
    """The value that `serialize` turned into this JSON; its arrays are taken out of `arrays`.

    Malformed input may raise any exception, or give a value that serializes differently.
    """
    if isinstance(value, list):
        return [deserialize(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays.pop(content)
    if kind == "strings":
        return np.array(content, dtype=object)
    if kind == "float":
        return float(content)
    if kind == "dtype":
        return np.dtype(DTYPES[DTYPES.index(content)])
    if kind == "tuple":
        return tuple(deserialize(content, arrays))
    build = PLAIN.get(kind) or _BUILDERS.get(kind) or (Base.kinds.get(kind) and partial(build_model, kind))
    if build is None:
        raise ValueError(f"the header asks for the unknown kind {kind!r:.200}")
    return build(**{k: deserialize(v, arrays) for k, v in content.items()})


def is_learned(name: str) -> bool:
    """Whether an attribute of a model is one that fit sets."""
    return name.endswith("_") and not name.startswith("_")


def learned(model: Base) -> dict[str, Any]:
    """What a model has learned, by name, without that which follows from its training."""
    derived = DERIVED if "training_" in vars(model) else ()
    return {k: v for k, v in sorted(vars(model).items()) if is_learned(k) and k not in derived}


def build_model(kind: str, parameters: dict[str, Any], learned: dict[str, Any]) -> Base:
    """The model of that class with these parameters, which has learned this; {} if it is unfitted."""
    model = Base.kinds[kind](**parameters)
    for name, value in learned.items():
        if not is_learned(name):
            raise ValueError(f"{name!r:.200} is not an attribute that fit sets")
        setattr(model, name, value)
    if learned:
        model._after_load()
    return model


def _parts(value: Any) -> dict[str, Any] | None:
    """The keyword arguments that rebuild an object; None if no file can hold it."""
    kind = type(value)
    if kind is dict and all(isinstance(k, str) for k in value):
        return dict(value)
    if kind is Dense:
        return {"W": value.W.value, "b": value.b.value}
    if kind is TiedDense:
        return {"n_in": value.n_in, "b": value.b.value}
    if kind is Sequential:
        return {str(i): layer for i, layer in enumerate(value.layers)}
    if PLAIN.get(kind.__name__) is kind:
        return {name: getattr(value, name) for name in constructor_defaults(kind)}
    if Base.kinds.get(kind.__name__) is kind:
        return {"parameters": value.get_params(deep=False), "learned": learned(value)}
    if kind is np.random.Generator:
        bits = value.bit_generator
        seeds: Any = bits.seed_seq
        own = any(type(bits) is getattr(np.random, name) for name in _BIT_GENERATORS)
        if own and type(seeds) is np.random.SeedSequence and seeds.pool_size <= _LARGEST_POOL:
            return {"state": bits.state, "seed_sequence": seeds.state}
    return None


def _is_dtype(value: Any) -> bool:
    """Whether `value` names a dtype that a file can hold: np.float32, np.dtype("float32"), float."""
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, int | float | np.number)):
        return np.dtype(value).name in DTYPES and np.dtype(value).isnative
    return False


def _dense(W: Array, b: Array) -> Dense:
    layer = Dense(*W.shape, dtype=W.dtype, rng=0)
    layer.W.value[:], layer.b.value[:] = W, b
    return layer


def _tied_dense(n_in: int, b: Array) -> TiedDense:
    layer = TiedDense(n_in, len(b), dtype=b.dtype)
    layer.b.value[:] = b
    return layer


def _generator(state: dict[str, Any], seed_sequence: dict[str, Any]) -> np.random.Generator:
    """A generator that draws and spawns as the saved one would have."""
    name = state["bit_generator"]
    position = state["state"]["pos"] if name == "MT19937" else state.get("buffer_pos", 0)
    if type(position) is not int or not 0 <= position <= _BIT_GENERATORS[name]:  # NumPy reads there, unchecked
        raise ValueError(f"a generator has the position {position!r:.200} in a buffer of {_BIT_GENERATORS[name]}")
    if not seed_sequence["pool_size"] <= _LARGEST_POOL:
        raise ValueError(f"a seed sequence has a pool of {seed_sequence['pool_size']}, more than {_LARGEST_POOL}")
    bits = getattr(np.random, name)(np.random.SeedSequence(**seed_sequence))
    bits.state = state
    return np.random.Generator(bits)


_BUILDERS: dict[str, Callable[..., Any]] = {
    "dict": dict, "Dense": _dense, "TiedDense": _tied_dense, "Generator": _generator,
    "Sequential": lambda **layers: Sequential(*layers.values()),
}  # fmt: skip
