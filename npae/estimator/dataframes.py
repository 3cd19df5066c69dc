"""DataFrames: the names of a table's columns, and codes as a DataFrame with column names of their own.

A network identifies columns by position, so a column must mean the same in every table. Names guard that:

    fit(X)           keeps the column names of X as `feature_names_in_`
    transform(X)     raises if the names or their order differ, and warns if only one of the two tables has names

A table has names if it has `columns` and all of them are text, as in pandas and polars. Both libraries are optional and
are imported when a DataFrame is asked for. The rules and messages are scikit-learn's.
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
    """The names of the columns of X, an object array of text, or None.

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
    kinds = {type(name).__name__ for name in names.flat}
    text = [isinstance(name, str) for name in names.flat]
    if names.ndim != 1 or not any(text):
        return None
    if not all(text):
        raise TypeError(
            f"{caller} expected columns that are all named by text, or none, got names of types {sorted(kinds)}. "
            "Feature names are only supported if all input features have string names: use X.columns.astype(str)."
        )
    return names


def check_names(X: Any, fitted: Array | None, caller: str, name: str = "X") -> None:
    """Compare the column names of X with those of fit; warn if only one of the two has names.

    Raises ValueError if both have names and these differ.
    """
    names = column_names(X, caller)
    if names is None and fitted is None:
        return
    if fitted is None:
        warn_caller(f"{name} has feature names, but {caller} was fitted without feature names")
    elif names is None:
        warn_caller(f"{name} does not have valid feature names, but {caller} was fitted with feature names")
    elif not np.array_equal(names, fitted):
        raise ValueError(
            f"{caller} expected {name} with the columns of the fit, got others. "
            "The feature names should match those that were passed during fit.\n"
            + _differences(set(names), set(fitted))
            + f"Select them by name, with {name}[model.feature_names_in_]."
        )


class NamedRows(np.ndarray):
    """Rows of a table that has been checked, with the column names of the fit, so that no check warns twice."""

    columns: Array | None = None

    @classmethod
    def of(cls, rows: Array, names: Array | None) -> NamedRows:
        """A view of the rows."""
        named = rows.view(cls)
        named.columns = names
        return named


def warn_caller(message: str) -> None:
    """Warn at the line outside npae that made the call."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("npae."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _differences(given: set[str], fitted: set[str]) -> str:
    """The names that are in one set only, one a line."""
    if given == fitted:
        return "Feature names must be in the same order as they were in fit.\n"
    lines = []
    for title, names in (("unseen at fit time", given - fitted), ("seen at fit time, yet now missing", fitted - given)):
        if names:
            lines += [f"Feature names {title}:", *(f"- {name}" for name in sorted(names)[:_NAMES_SHOWN])]
            lines += ["- ..."] if len(names) > _NAMES_SHOWN else []
    return "\n".join(lines) + "\n"


def output_of(config: Mapping[str, str]) -> str:
    """The output of `transform`: that of `set_output`, or scikit-learn's global setting if scikit-learn is loaded."""
    sklearn = sys.modules.get("sklearn")
    everywhere = {} if sklearn is None else {"transform": sklearn.get_config()["transform_output"]}
    output: str = ({"transform": "default"} | everywhere | dict(config))["transform"]
    return output


def library(output: str, caller: str) -> Any:
    """The module that makes DataFrames of the kind `output`; None for "default", which is arrays.

    Raises ValueError for an unknown kind, ImportError if the library is not installed.
    """
    if not isinstance(output, str) or output not in OUTPUTS:
        raise ValueError(f"{caller} expected the output as one of {OUTPUTS}, got {output!r}: choose one of these.")
    try:
        return None if output == "default" else importlib.import_module(output)
    except ImportError as error:
        raise ImportError(
            f"{caller} expected {output} for its DataFrames, got no such package: "
            f"pip install {output}, or ask for transform='default'."
        ) from error


def to_dataframe(Z: Array, X: Any, names: Array, output: str, caller: str) -> Any:
    """Z as a DataFrame of the kind `output` with these column names, and the index of X if it has one."""
    module = library(output, caller)
    if output == "polars":
        return module.DataFrame(Z, schema=list(names), orient="row")
    return module.DataFrame(Z, columns=names, index=X.index if isinstance(X, module.DataFrame) else None)
