"""The base classes of AE, DAE, PCA and OutlierDetector: scikit-learn's conventions, without scikit-learn.

An estimator is a dataclass whose fields are its constructor's arguments. The constructor only stores them, so that they
can be read, changed and copied (`get_params`, `set_params`, `sklearn.base.clone`, grid search). `fit` validates them,
learns, and stores the results in attributes that end in an underscore. `transform` is another name for `encode`,
`inverse_transform` for `decode`.

Only `__sklearn_tags__`, which scikit-learn calls, imports scikit-learn. Where it is loaded already, its output setting
is followed and an unfitted model raises its error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from npae.estimator.arguments import as_dtype, as_flag, as_path
from npae.estimator.dataframes import NamedRows, check_names, library, output_of, to_dataframe
from npae.estimator.parameters import changed, constructor_defaults, with_fields
from npae.estimator.validation import as_table, check_finite
from npae.kernels.arrays import Array, ArrayLike

AnyBase = TypeVar("AnyBase", bound="Base")
Self = TypeVar("Self", bound="Estimator")

_NUMBERS_AT_A_TIME = 2**22  # of the rows whose errors are computed: memory stays small


@dataclasses.dataclass(eq=False, repr=False)
class Base:
    """Parameters by name, and what every fitted model keeps."""

    kinds: ClassVar[dict[str, type[Base]]] = {}  # the classes that a file may name
    _estimator_type: ClassVar[str | None] = None  # for scikit-learn

    def __init_subclass__(cls, savable: bool = True) -> None:
        if savable and cls.__module__.startswith("npae.") and cls.__module__ != __name__:
            Base.kinds[cls.__name__] = cls

    @property
    def _dtype(self) -> np.dtype[Any]:
        """The dtype in which a fitted model computes."""
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; with `deep` also their fields, such as `optimizer__learning_rate`."""
        own = {name: getattr(self, name) for name in constructor_defaults(type(self))}
        return with_fields(own) if deep else own

    def set_params(self: AnyBase, **params: Any) -> AnyBase:
        """Change constructor arguments by name: `latent_dim=8`, or a field, `optimizer__learning_rate=0.01`.

        To change a field makes a new object; the one that was passed in stays unchanged.

        Raises ValueError for an unknown name, or the error of a constructor that refuses a value. Then nothing changes.
        """
        after, unknown = changed(self.get_params(deep=False), params)
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.set_params expected names among {sorted(self.get_params())}, "
                f"got {sorted(unknown)}: check the spelling."
            )
        for name, value in after.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """The properties that scikit-learn reads before it uses an estimator in a pipeline or a search."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=self._estimator_type, target_tags=TargetTags(required=False))

    def _remember(self, n_features: int, names: Array | None) -> None:
        """Store the number of columns of X, and their names if it has any; called at the end of fit."""
        self.n_features_in_ = n_features
        vars(self).pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names

    def _table(self, X: ArrayLike, *, keep_memmap: bool = False, finite: bool = True) -> Array:
        """X as a table in the model's dtype, with the names and the number of columns of fit (see `as_table`)."""
        caller, width = type(self).__name__, self.n_features_in_
        check_names(X, vars(self).get("feature_names_in_"), caller)
        return as_table(X, caller, width=width, dtype=self._dtype, keep_memmap=keep_memmap, finite=finite)

    def _learned(self, attribute: str) -> Any:
        """A fitted attribute; RuntimeError before the first fit."""
        if attribute not in vars(self):
            raise not_fitted(f"{type(self).__name__} expected to be fitted first, got no fit so far: call fit(X).")
        return vars(self)[attribute]

    def _after_load(self) -> None:
        """Recompute derived attributes after loading."""

    def __repr__(self) -> str:
        values = [(name, getattr(self, name), default) for name, default in constructor_defaults(type(self)).items()]
        given = [f"{name}={value!r}" for name, value, default in values if repr(value) != repr(default)]
        return f"{type(self).__name__}({', '.join(given)})"


@dataclasses.dataclass(eq=False, repr=False)
class Estimator(Base):
    """The methods that follow from `fit`, `encode` and `decode`."""

    def fit(self: Self, X: ArrayLike, y: Any = None) -> Self:
        """Learn from the rows of X (n, d); `y` is ignored."""
        raise NotImplementedError

    def encode(self, X: ArrayLike) -> Array:
        """The codes z (n, k) of the rows of X (n, d)."""
        raise NotImplementedError

    def decode(self, Z: ArrayLike) -> Array:
        """The reconstructions x_hat (n, d) from codes (n, k)."""
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:
        """k, the size of a fitted model's code."""
        raise NotImplementedError

    def reconstruct(self, X: ArrayLike) -> Array:
        """x_hat = decode(encode(x)) for every row of X."""
        return self.decode(self.encode(X))

    def score_samples(self, X: ArrayLike) -> Array:
        """Minus the loss of each row of X (n, d), (n,) in float64: higher is better. Its mean is `score(X)`.

        The loss is the one that the model was fitted with, for PCA the mean squared error. A memory map is read block
        by block, here and below. `PCA()`, which keeps every direction, loses nothing: its scores are rounding errors.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers in the loss's range.

        Example
        -------
        >>> import npae, numpy as np
        >>> X = np.random.default_rng(0).random((50, 6))
        >>> ae = npae.AE((), 2, loss="bce", epochs=2, random_state=0).fit(X)
        >>> ae.score_samples(X).shape, bool(np.isclose(ae.score_samples(X).mean(), ae.score(X)))
        ((50,), True)
        """
        raise NotImplementedError

    def reconstruction_error(self, X: ArrayLike, per_feature: bool = False) -> Array:
        """The squared error between X (n, d) and `reconstruct(X)`, in the units of X squared, whatever the loss.

            e_i = mean_j (x_ij - x_hat_ij)²     (n,) in float64
            e_ij = (x_ij - x_hat_ij)²           (n, d) in the model's dtype, with `per_feature`

        Large errors mark rows that differ from those of the fit; the errors per feature say in which columns.

        Raises RuntimeError if unfitted or if numbers overflow; TypeError or ValueError if X is not (n, d) finite
        numbers, or `per_feature` is not a bool.

        Example
        -------
        >>> import npae, numpy as np
        >>> pca = npae.PCA(1).fit([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
        >>> pca.reconstruction_error([[3.0, 6.0], [2.0, -1.0]]).round(6).tolist()   # on the line, and off it
        [0.0, 2.5]
        >>> pca.reconstruction_error([[2.0, -1.0]], per_feature=True).round(6).tolist()
        [[4.0, 1.0]]
        """
        self._learned("n_features_in_")
        per_feature = as_flag(per_feature, type(self).__name__, "per_feature")
        return self._errors(self._table(X, keep_memmap=True), per_feature)

    def _errors(self, X: Array, per_feature: bool = False) -> Array:
        """`reconstruction_error` of a checked table."""
        names, at_once = vars(self).get("feature_names_in_"), max(1, _NUMBERS_AT_A_TIME // X.shape[1])
        errors = np.empty(X.shape, self._dtype) if per_feature else np.empty(len(X))
        with np.errstate(over="ignore"):
            for start in range(0, len(X), at_once):
                rows = slice(start, start + at_once)
                x = np.ascontiguousarray(X[rows], self._dtype)
                squares = np.square(x - self.reconstruct(NamedRows.of(x, names)))
                errors[rows] = squares if per_feature else squares.mean(axis=1, dtype=np.float64)
        return check_finite(errors, type(self).__name__)

    def export(
        self,
        path: str | os.PathLike[str],
        X: ArrayLike | None = None,
        *,
        labels: ArrayLike | None = None,
        image_shape: tuple[int, int] | None = None,
        names: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
        scaler: Any = None,
        weights: str = "float32",
        kept: Any = None,
    ) -> None:
        """Write the model as one file that works without npae: Python source, or a page to play with.

        A path that ends in .html gives the page: it shows rows of X, their codes, reconstructions and errors, lets
        inputs and codes be changed by hand, needs a browser and no network. Any other path gives `encode`, `decode` and
        `reconstruct` in Python, which needs only NumPy; then all arguments but `path` are refused.

        Parameters
        ----------
        path : path
        X : array (n, d), for a page
            Rows to show, scaled as those of fit: held-out ones, say. Of more than 2,000 an even selection is used.
        labels : array (n,), optional
            Colours of the codes; at most twelve different labels.
        image_shape : (height, width), optional
            Each row of X is a grey image. Without it each row is a list of named numbers.
        names, units : sequences of d str, optional
            Of the columns of a table. Names are those of fit's DataFrame or of X, or x1, x2, ...
        scaler : object with inverse_transform, optional
            What made X, scikit-learn's StandardScaler, say: the table shows its numbers as they were before.
        weights : "float32" or "int8"
            int8 makes the page about four times smaller. The page shows the reconstruction error with both.
        kept : `KeepWeights`, optional
            The callback of the model's fit; its epochs become a film strip. Each adds the size of the weights.

        Raises RuntimeError if unfitted, TypeError with custom layers, TypeError or ValueError if an argument is not as
        documented, OSError if the file cannot be written.

        Example
        -------
        >>> import npae, numpy as np, os, runpy, tempfile
        >>> ae = npae.AE((), 2, epochs=1).fit(np.eye(4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ae.export(os.path.join(folder, "model.py"))
        ...     ae.export(os.path.join(folder, "model.html"), np.eye(4), labels=[0, 0, 1, 1])
        ...     runpy.run_path(os.path.join(folder, "model.py"))["encode"](np.eye(4)).shape
        (4, 2)
        """
        self._learned("n_features_in_")
        path = as_path(path, "export")
        page = {"labels": labels, "image_shape": image_shape, "names": names, "units": units,
                "scaler": scaler, "kept": kept}  # fmt: skip
        if path.lower().endswith(".html"):
            self._export(path, X, page | {"weights": weights})
            return
        given = [name for name, value in {"X": X, **page}.items() if value is not None]
        given += ["weights"] if weights != "float32" else []
        if given:
            raise ValueError(
                f"export expected a path that ends in .html with {', '.join(given)}, got {path!r}: call it "
                "model.html for a page, or leave them out for Python source."
            )
        self._export(path, None, None)

    def _export(self, path: str, X: ArrayLike | None, page: dict[str, Any] | None) -> None:
        """Write Python source, or with the arguments of a page the page."""
        raise NotImplementedError

    def transform(self, X: ArrayLike) -> Any:
        """The same as `encode`; a DataFrame if `set_output` asks for one."""
        Z, output = self.encode(X), output_of(vars(self).get("_sklearn_output_config", {}))
        if output == "default":
            return Z
        return to_dataframe(Z, X, self.get_feature_names_out(), output, type(self).__name__)

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """The same as `decode`."""
        return self.decode(Z)

    def fit_transform(self, X: ArrayLike, y: Any = None, **fit_params: Any) -> Any:
        """fit(X, **fit_params), then transform(X)."""
        return self.fit(X, y, **fit_params).transform(X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """The names of the code's columns after the class, an object array (k,): "ae0", "ae1", ...

        Raises RuntimeError if unfitted, ValueError if `input_features` differ from the column names of fit.
        """
        caller, n = type(self).__name__, self._learned("n_features_in_")
        if input_features is not None:
            names = np.asarray(input_features, dtype=object)
            if names.shape != (n,):
                raise ValueError(
                    f"{caller} expected a name for each of its {n} columns; input_features should have length equal to "
                    f"number of features ({n}), got shape {names.shape}: leave them out or pass all."
                )
            if not np.array_equal(names, vars(self).get("feature_names_in_", names)):
                raise ValueError(
                    f"{caller} expected the names of the columns of fit, got {names[:3].tolist()}...; input_features "
                    "is not equal to feature_names_in_: leave them out, or pass model.feature_names_in_."
                )
        return np.array([f"{caller.lower()}{i}" for i in range(self._n_features_out)], dtype=object)

    def set_output(self: Self, *, transform: str | None = None) -> Self:
        """Let `transform` and `fit_transform` return arrays ("default") or DataFrames ("pandas", "polars").

        `get_feature_names_out` names the columns; pandas keeps the index of X. None changes nothing. `encode` and
        `decode` always return arrays.

        Raises ValueError for another name, ImportError if the library is not installed.
        """
        if transform is not None:
            library(transform, f"{type(self).__name__}.set_output")
            self._sklearn_output_config = {"transform": transform}  # the name that `clone` copies
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import TransformerTags

        kept = ["float32", "float64"]
        with contextlib.suppress(ValueError):  # None keeps both; fit will refuse other values
            kept = [as_dtype(getattr(self, "dtype", None), type(self).__name__).name]
        tags = super().__sklearn_tags__()
        tags.transformer_tags = TransformerTags(preserves_dtype=kept)
        return tags


def not_fitted(message: str) -> RuntimeError:
    """The error of an unfitted model: a RuntimeError, and also scikit-learn's NotFittedError where that is loaded."""
    sklearn_error = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    if sklearn_error is None:
        return RuntimeError(message)
    members = {"__module__": __name__, "__reduce__": lambda error: (not_fitted, error.args)}
    error: RuntimeError = type("NotFittedError", (sklearn_error, RuntimeError), members)(message)
    return error
