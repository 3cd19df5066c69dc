"""DataFrames: the names that a table's columns bring along, and codes as a DataFrame with names of their own.

A network knows columns by their place alone, so the first column must mean the same in every table. Names tell:

    fit(X)           keeps the names of X's columns as `feature_names_in_`
    transform(X)     refuses columns of other names or in another order, and warns where only one of the two has names

A table has names where it has `columns` and all of them are text, as in pandas and polars. Neither is needed:
they are loaded when a DataFrame is asked for. The rules and the wording are scikit-learn's.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from npae.kernels.arrays import Array

OUTPUTS = ("default", "pandas", "polars")

_NAMES_SHOWN = 5


def column_names(X: Any, caller: str) -> Array | None:
    """The names of the columns of X, an object array of text; None where it has none.

    Raises TypeError if some columns are named by text and others are not.

    Example
    -------
    >>> import numpy as np
    >>> print(column_names(np.zeros((3, 2)), "AE"))
    None
    """
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = np.asarray(columns, dtype=object)
    text = [isinstance(name, str) for name in names.flat]
    if names.ndim != 1 or not any(text):
        return None
    if not all(text):
        kinds = sorted({type(name).__name__ for name in names})
        raise TypeError(
            f"{caller} expected columns that are all named by text, or none, got names of types {kinds}. Feature names "
            "are only supported if all input features have string names: convert them with X.columns.astype(str)."
        )
    return names


def check_names(X: Any, fitted: Array | None, caller: str, name: str = "X") -> None:
    """Compare the columns of X with the names that `fit` has seen; a side without names is warned of.

    Raises ValueError if both have names and these differ.
    """
    names = column_names(X, caller)
    if names is None and fitted is None:
        return
    if fitted is None:
        _warn(f"{name} has feature names, but {caller} was fitted without feature names")
    elif names is None:
        _warn(f"{name} does not have valid feature names, but {caller} was fitted with feature names")
    elif not np.array_equal(names, fitted):
        raise ValueError(
            f"{caller} expected {name} with the columns of the fit, got others. "
            "The feature names should match those that were passed during fit.\n"
            + _differences(set(names), set(fitted))
            + f"Select them by name, with {name}[model.feature_names_in_]."
        )


def _warn(message: str) -> None:
    """Warn at the line outside npae from which the call came."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("npae."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _differences(given: set[str], fitted: set[str]) -> str:
    """What is in one set and not in the other, a name a line."""
    unseen, missing = sorted(given - fitted), sorted(fitted - given)
    if not (unseen or missing):
        return "Feature names must be in the same order as they were in fit.\n"
    lines = []
    for title, names in (("unseen at fit time", unseen), ("seen at fit time, yet now missing", missing)):
        if names:
            lines += [f"Feature names {title}:", *(f"- {name}" for name in names[:_NAMES_SHOWN])]
            lines += ["- ..."] if len(names) > _NAMES_SHOWN else []
    return "\n".join(lines) + "\n"


def output_of(config: Mapping[str, str]) -> str:
    """What `transform` is to return: as `set_output` says, or else scikit-learn's global setting where it is loaded."""
    sklearn = sys.modules.get("sklearn")
    if "transform" in config or sklearn is None:
        return config.get("transform", "default")
    output: str = sklearn.get_config()["transform_output"]
    return output


def library(output: str, caller: str) -> Any:
    """The module that makes DataFrames of the kind `output`; None for "default", which is arrays.

    Raises ValueError for an unknown kind, ImportError if the library is not installed.
    """
    if not isinstance(output, str) or output not in OUTPUTS:
        raise ValueError(f"{caller} expected the output as one of {OUTPUTS}, got {output!r}: choose one of these.")
    if output == "default":
        return None
    try:
        return importlib.import_module(output)
    except ImportError as error:
        raise ImportError(
            f"{caller} expected {output} for its DataFrames, got no such package: "
            f"pip install {output}, or ask for transform='default'."
        ) from error


def to_dataframe(Z: Array, X: Any, names: Array, output: str, caller: str) -> Any:
    """Z as a DataFrame of the kind `output` with the given column names, and with the index of X where it has one."""
    frames = library(output, caller)
    if frames is None:
        return Z
    if output == "polars":
        return frames.DataFrame(Z, schema=list(names), orient="row")
    return frames.DataFrame(Z, columns=names, index=X.index if isinstance(X, frames.DataFrame) else None)
