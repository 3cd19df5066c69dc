"""Parameters by name: constructor arguments, and the fields of those that are dataclasses.

Losses, optimizers, schedules and corruptions are frozen dataclasses, called recipes here. Their fields are named

    name__field             optimizer__learning_rate, for a model with optimizer=Adam(...)
    name__field__field      optimizer__learning_rate__start, if that rate is a Cosine(...)

as in scikit-learn's grid search. To change a field makes a new recipe, whose constructor checks the value.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any


def with_fields(values: dict[str, Any]) -> dict[str, Any]:
    """`values`, and the fields of each recipe among them as name__field, at any depth.

    Example
    -------
    >>> from npae import Adam, Cosine
    >>> sorted(with_fields({"optimizer": Adam(Cosine(0.1)), "epochs": 5}))[:4]
    ['epochs', 'optimizer', 'optimizer__beta1', 'optimizer__beta2']
    """
    deep = dict(values)
    for name, value in values.items():
        deep |= {f"{name}__{inner}": v for inner, v in with_fields(_fields(value)).items()}
    return deep


def changed(values: dict[str, Any], changes: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`values` after the changes, a whole recipe before its fields; and the names that do not exist.

    Example
    -------
    >>> from npae import SGD
    >>> changed({"optimizer": SGD(0.1)}, {"optimizer__momentum": 0.9, "optimizer__beta": 1})
    ({'optimizer': SGD(learning_rate=0.1, momentum=0.0, nesterov=False)}, ['optimizer__beta'])
    """
    own = {name: value for name, value in changes.items() if "__" not in name}
    after = values | own
    unknown = [name for name in own if name not in values]
    for name in sorted({key.partition("__")[0] for key in changes if key not in own}):
        inner = {key.partition("__")[2]: value for key, value in changes.items() if key.startswith(f"{name}__")}
        fields, missing = changed(_fields(after.get(name)), inner)
        unknown += [f"{name}__{key}" for key in missing]
        if not missing:
            after[name] = dataclasses.replace(after[name], **fields)
    return after, unknown


def constructor_defaults(kind: type[Any]) -> dict[str, Any]:
    """The arguments of a class's constructor and their defaults; **others are those of the next class.

    Example
    -------
    >>> class Scaled:
    ...     def __init__(self, factor=2.0): self.factor = factor
    >>> constructor_defaults(Scaled)
    {'factor': 2.0}
    """
    defaults: dict[str, Any] = {}
    for owner in kind.__mro__:
        if "__init__" in vars(owner) and owner is not object:
            arguments = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
            named = {a.name: a.default for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)}
            defaults = named | defaults
            if not any(a.kind is a.VAR_KEYWORD for a in arguments):
                break
    return defaults


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a recipe by name; {} for any other value."""
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return {}
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
