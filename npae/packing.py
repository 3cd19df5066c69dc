"""Packing: what a model is made of as plain JSON, with its arrays beside it, and back again.

    None, True, 2, 0.5, "adam", [...]    themselves
    (1, 2)                               {"tuple": [1, 2]}
    infinity                             {"float": "inf"}
    an array                             {"array": "network.0.0.W"}, the place where it stands
    an object array of strings           {"strings": [...]}
    Adam(0.01)                           {"Adam": {"learning_rate": 0.01, ...}}
    Sequential(Dense(3, 2), ELU())       {"Sequential": [{"Dense": [W, b]}, {"ELU": [1.0]}]}
    a generator                          {"Generator": {"state": ..., "seed_sequence": ...}}
    a generator or record met before     {"same as": "history_"}

Nothing else is made from a file, whatever it asks for. A dataclass that files are to hold is added to `RECIPES` if it
never changes and its constructor checks its arguments, else to `RECORDS`: their fields are held to their annotations.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from npae.activations import ACTIVATIONS
from npae.archive import DTYPES, NAME
from npae.arrays import Array
from npae.corruptions import CORRUPTIONS
from npae.history import History, Training
from npae.layers import Dense, Sequential
from npae.losses import LOSSES
from npae.optimizers import OPTIMIZERS, State
from npae.parameter import Parameter
from npae.schedules import Constant, Cosine

_recipes: list[Any] = [*LOSSES.values(), *OPTIMIZERS.values(), *CORRUPTIONS.values(), Constant, Cosine]
_records: list[Any] = [History, State, Training]
RECIPES: dict[str, Any] = {c.__name__: c for c in _recipes}
RECORDS: dict[str, Any] = {c.__name__: c for c in _records}


_ACTIVATIONS: dict[str, Any] = {c.__name__: c for c in ACTIVATIONS.values()}
_NUMBERS = {"LeakyReLU": ["slope"], "ELU": ["alpha"]}
_BIT_GENERATORS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]
_LARGEST_POOL = 64  # of a seed sequence, which makes it in time that grows with the square
_LARGEST = 10**4000  # integer: Python reads no more than 4300 digits


class Packer:
    """Turns values into JSON; `arrays` gathers the arrays among them.

    Example
    -------
    >>> import numpy as np
    >>> packer = Packer()
    >>> packer.pack((np.zeros(3), Cosine(0.1), 7), "mine_")
    {'tuple': [{'array': 'mine.0'}, {'Cosine': {'start': 0.1, 'end': 0.0}}, 7]}
    >>> packer.arrays
    {'mine.0': array([0., 0., 0.])}
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self._met: dict[int, str] = {}

    def pack(self, value: Any, where: str) -> Any:
        """`value`, which stands at `where` in the model, as JSON.

        Raises TypeError if it is, or holds, what a file cannot.
        """
        if isinstance(value, np.bool_ | np.integer | np.floating):
            value = value.item()
        kind = type(value).__name__
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int) and abs(value) < _LARGEST:
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, list):
            return self._items(value, where)
        if isinstance(value, tuple):
            return {"tuple": self._items(value, where)}
        if isinstance(value, dict) and all(isinstance(k, str) for k in value):
            return {"dict": {k: self.pack(v, inside(where, k)) for k, v in value.items()}}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if _is_dtype(value):
            return {"dtype": np.dtype(value).name}
        if type(value) is Dense:
            return {kind: [self._array(p.value, inside(where, name)) for p, name in ((value.W, "W"), (value.b, "b"))]}
        if _ACTIVATIONS.get(kind) is type(value):
            return {kind: [getattr(value, name) for name in _NUMBERS.get(kind, ())]}
        if RECIPES.get(kind) is type(value):
            return {kind: self._fields(value, where)}
        changes = RECORDS.get(kind) is type(value) or type(value) is Sequential
        if changes or (type(value) is np.random.Generator and can_describe(value)):
            if id(value) in self._met:  # it changes as it is used, and must stay one object
                return {"same as": self._met[id(value)]}
            self._met[id(value)] = where
            if kind == "Sequential":
                return {kind: self._items(value.layers, where)}
            if kind in RECORDS:
                return {kind: self._fields(value, where)}
            return {kind: {k: self.pack(v, inside(where, k)) for k, v in described(value).items()}}
        raise _refused(value, where)

    def _items(self, values: Iterable[Any], where: str) -> list[Any]:
        return [self.pack(value, inside(where, i)) for i, value in enumerate(values)]

    def _fields(self, value: Any, where: str) -> dict[str, Any]:
        return {f.name: self.pack(getattr(value, f.name), inside(where, f.name)) for f in dataclasses.fields(value)}

    def _array(self, a: Array, where: str) -> dict[str, Any]:
        if a.dtype == object and a.ndim == 1 and all(isinstance(s, str) for s in a):
            return {"strings": [str(s) for s in a]}
        if a.dtype.name not in DTYPES or not NAME.fullmatch(where) or where in self.arrays:
            raise _refused(a, where)
        self.arrays[where] = a
        return {"array": where}


class Unpacker:
    """Turns JSON back into values, and gives each of `arrays` out once.

    What it reads may be anything. Where that is not what a `Packer` writes, it raises whatever comes of it, or makes
    something from which a `Packer` would write something else.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = dict(arrays)
        self._met: dict[str, Any] = {}

    def unpack(self, value: Any, where: str) -> Any:
        """The value that stands at `where`."""
        if isinstance(value, list):
            return self._items(value, where)
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            raise ValueError(f"{where} of {len(value)} kinds at once")
        ((kind, content),) = value.items()
        if kind == "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]
        if kind == "tuple":
            return tuple(self._items(content, where))
        if kind == "dict":
            return self._parts(content, where)
        if kind == "array":
            if where not in self.arrays:
                raise ValueError(f"{where} without its array")
            return self.arrays.pop(where)
        if kind == "strings":
            return np.array([*map(str, content), None], object)[:-1]  # one axis, however many there are
        if kind == "dtype":
            return np.dtype(DTYPES[DTYPES.index(content)])
        if kind == "same as":
            return self._met[content]
        if kind == "Dense":
            W, b = content
            return _dense(self.unpack(W, inside(where, "W")), self.unpack(b, inside(where, "b")), where)
        if kind in _ACTIVATIONS:
            return _ACTIVATIONS[kind](*content)
        if kind in RECIPES:
            return RECIPES[kind](**self._parts(content, where))
        if kind == "Sequential":
            made: Any = Sequential(*self._items(content, where))
        elif kind in RECORDS:
            made = RECORDS[kind](**self._parts(content, where))
            _check_fields(made, where)
        elif kind == "Generator":
            made = rebuilt(**self._parts(content, where))
        else:
            raise ValueError(f"{where} of the unknown kind {kind!r:.200}")
        self._met[where] = made
        return made

    def _items(self, values: Any, where: str) -> list[Any]:
        if not isinstance(values, list):
            raise ValueError(f"{where} without its items")
        return [self.unpack(value, inside(where, i)) for i, value in enumerate(values)]

    def _parts(self, values: Any, where: str) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise ValueError(f"{where} without its parts")
        return {k: self.unpack(v, inside(where, k)) for k, v in values.items()}


def inside(where: str, part: str | int) -> str:
    """The place of a part: "network_" and 0 make "network.0"."""
    return f"{where.removesuffix('_')}.{part}"


def _refused(value: Any, where: str) -> TypeError:
    name = where.removeprefix("parameters.").partition(".")[0]
    mend = f"change it first, for example with model.set_params({name}=...)."
    if name == where.partition(".")[0]:
        name = name.removesuffix("_") + "_"
        mend = "it was learned with an object of yours, so keep the model with pickle or the weights with np.savez."
    got = f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"{value!r:.500}"
    return TypeError(
        f"save expected {name} to be npae's own or plain data, got {got}, which a file cannot hold: {mend}"
    )


def _is_dtype(value: Any) -> bool:
    """Whether it says float32 or the like, in whatever way NumPy takes."""
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, int | float | np.number)):
        return np.dtype(value).name in DTYPES and np.dtype(value).isnative
    return False


def _dense(W: Array, b: Array, where: str) -> Dense:
    """The layer of these weights, without drawing others first."""
    if not (W.ndim == 2 and b.shape == W.shape[1:] and 0 not in W.shape and W.dtype == b.dtype and W.dtype.kind == "f"):
        raise ValueError(f"{where} with a bias {b.dtype} {b.shape} for weights {W.dtype} {W.shape}")
    layer = Dense(1, 1, dtype=W.dtype, rng=0)
    layer.n_in, layer.n_out = W.shape
    layer.W, layer.b = Parameter(W, "W"), Parameter(b, "b")
    return layer


# --- records: their fields are of the types that they are annotated with ---------------------------------------


def _check_fields(record: Any, where: str) -> None:
    kinds = typing.get_type_hints(type(record))
    for f in dataclasses.fields(record):
        if not _is(getattr(record, f.name), kinds[f.name]):
            raise ValueError(f"{inside(where, f.name)} of another type than {f.type}")


def _is(value: Any, kind: Any) -> bool:
    if kind == Array:  # an alias, of which each NumPy makes something else
        return isinstance(value, np.ndarray)
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_is(v, one) for one in inner for v in value)
    if origin is tuple and inner[1:] == (...,):
        return isinstance(value, tuple) and all(_is(v, inner[0]) for v in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_is, value, inner))
    if origin in (int, float):
        return isinstance(value, int | origin) and not isinstance(value, bool)
    return isinstance(value, origin)


# --- generators: later draws and later spawns are the same ---------------------------------------------------


def can_describe(generator: np.random.Generator) -> bool:
    """Whether it is one of NumPy's, as a seed makes them."""
    bits = generator.bit_generator
    seeds = bits.seed_seq
    return (
        any(type(bits) is getattr(np.random, name) for name in _BIT_GENERATORS)
        and type(seeds) is np.random.SeedSequence
        and seeds.pool_size <= _LARGEST_POOL
    )


def described(generator: np.random.Generator) -> dict[str, Any]:
    """The arguments with which `rebuilt` makes a generator that goes on like this one."""
    bits = generator.bit_generator
    seeds: Any = bits.seed_seq
    return {"state": bits.state, "seed_sequence": seeds.state}


def rebuilt(state: dict[str, Any], seed_sequence: dict[str, Any]) -> np.random.Generator:
    """A generator that draws and spawns what the described one would have.

    NumPy takes any position in its buffers, and reads there; so positions are checked here.
    """
    if state["bit_generator"] not in _BIT_GENERATORS:
        raise ValueError(f"the unknown bit generator {state['bit_generator']!r:.200}")
    position, last = state.get("buffer_pos", 0), 4  # of Philox
    if state["bit_generator"] == "MT19937":
        position, last = state["state"]["pos"], 624
    if type(position) is not int or not 0 <= position <= last:
        raise ValueError(f"a generator at the position {position!r:.200} of {last}")
    if not seed_sequence["pool_size"] <= _LARGEST_POOL:
        raise ValueError(f"a seed sequence with a pool of {seed_sequence['pool_size']}")
    bits = getattr(np.random, state["bit_generator"])(np.random.SeedSequence(**seed_sequence))
    bits.state = state
    return np.random.Generator(bits)
