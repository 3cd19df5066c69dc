"""What AE, DAE and PCA have in common: the verbs of scikit-learn, without scikit-learn.

An estimator is a dataclass whose fields are its constructor's arguments. The constructor only stores them, so
that they can be read, changed and copied (`get_params`, `set_params`, `sklearn.base.clone`, grid search).
`fit` validates them, learns, and keeps what it has learned in attributes that end in an underscore. `encode`
is also called `transform`, `decode` `inverse_transform`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

from npae.arrays import Array, ArrayLike

Self = TypeVar("Self", bound="Estimator")


@dataclasses.dataclass(eq=False, repr=False)
class Estimator:
    """Parameters by name, and everything that follows from `fit`, `encode` and `decode`."""

    kinds: ClassVar[dict[str, type[Estimator]]] = {}

    def __init_subclass__(cls) -> None:
        if cls.__module__.startswith("npae."):  # what a file may name
            Estimator.kinds[cls.__name__] = cls

    def fit(self: Self, X: ArrayLike, y: Any = None) -> Self:
        """Learn from the rows of X; `y` is ignored."""
        raise NotImplementedError

    def encode(self, X: ArrayLike) -> Array:
        """Codes z of the rows of X."""
        raise NotImplementedError

    def decode(self, Z: ArrayLike) -> Array:
        """Reconstructions x_hat from codes."""
        raise NotImplementedError

    def reconstruct(self, X: ArrayLike) -> Array:
        """x_hat = decode(encode(x)) for every row of X."""
        return self.decode(self.encode(X))

    def transform(self, X: ArrayLike) -> Array:
        """The same as `encode`."""
        return self.encode(X)

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """The same as `decode`."""
        return self.decode(Z)

    def fit_transform(self, X: ArrayLike, y: Any = None) -> Array:
        """fit(X), then encode(X)."""
        return self.fit(X, y).encode(X)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; `deep` is accepted for scikit-learn's sake."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def set_params(self: Self, **params: Any) -> Self:
        """Change constructor arguments by name.

        Raises ValueError for a name that the constructor does not have; then none is changed.
        """
        known = self.get_params()
        unknown = sorted(set(params) - set(known))
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.set_params expected names among {sorted(known)}, got {unknown}: "
                "check the spelling."
            )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks before it puts an estimator into a pipeline or a search; only it calls this."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        transformer = TransformerTags(preserves_dtype=["float32", "float64"])
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), transformer_tags=transformer)

    def _learned(self, attribute: str) -> Any:
        """What fit has learned under that name.

        Raises RuntimeError if there has been no fit.
        """
        try:
            return self.__dict__[attribute]
        except KeyError:
            raise RuntimeError(
                f"{type(self).__name__} expected to be fitted first, got no fit so far: call fit(X)."
            ) from None

    def _kept(self) -> dict[str, Any]:
        """What a file must keep beside the parameters: all that has been learned and does not follow from the rest."""
        return {name: value for name, value in vars(self).items() if name.endswith("_")}

    def _woken(self: Self) -> Self:
        """This model, once its attributes have been set from a file: here it sets those that follow from others."""
        return self

    def __repr__(self) -> str:
        values = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        changed = [f"{name}={value!r}" for name, value, default in values if repr(value) != repr(default)]
        return f"{type(self).__name__}({', '.join(changed)})"
