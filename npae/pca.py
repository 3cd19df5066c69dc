"""Principal component analysis: the best linear autoencoder, found without training.

    z = (x - mean) Vᵀ          x_hat = z V + mean          V (k, d), orthonormal rows

The rows of V are the first right singular vectors of the centred data, X - mean = U S Vᵀ. Along a unit vector v the
data have the squared length

    |(X - mean) v|² = sum_j s_j² (v_jᵀ v)²

which is largest for v = v_1, then, among all v orthogonal to v_1, for v_2, and so on. By Pythagoras |x - mean|² =
|x_hat - mean|² + |x - x_hat|², so the directions that keep the most length leave the least squared error (Eckart and
Young, 1936). A linear autoencoder trained with MSE ends in the same subspace, in no particular basis of it (Baldi and
Hornik, 1989, "Neural networks and principal component analysis: learning from examples without local minima").
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npae.estimator import Estimator
from npae.estimator.arguments import as_count, as_dtype, as_share
from npae.estimator.dataframes import column_names
from npae.estimator.validation import as_table, as_weights, check_finite
from npae.kernels.arrays import Array, ArrayLike
from npae.storage import Formulas, export_page, export_pca, pca_formulas


@dataclass(eq=False, repr=False)
class PCA(Estimator):
    """z = (x - mean) Vᵀ,  x_hat = z V + mean, with V the directions of largest variance.

    Parameters
    ----------
    n_components : int, float or None
        The size k of the code, at most min(n, d). A float in (0, 1) is a share of the variance: k is the least number
        of components that explain more than it. None keeps each direction in which the data vary by more than
        rounding. Then the reconstruction error is rounding noise, too, and says nothing about a row.
    dtype : float32, float64 or None
        None keeps that of X (float32 for small integers).

    Attributes
    ----------
    components_ : array (k, d)
        V; the largest entry of each row is positive.
    n_components_ : int
        k.
    mean_ : array (d,)
    explained_variance_, explained_variance_ratio_ : array (k,)
        The variance along each component (divided by n - 1), and its share of the total variance.
    n_features_in_ : int, equal to d
    feature_names_in_ : array (d,) of str
        The names of X's columns, if X is a DataFrame with names.

    Source: Pearson, 1901, "On lines and planes of closest fit to systems of points in space".

    Example
    -------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    >>> pca = PCA(1).fit(X)
    >>> np.allclose(pca.reconstruct(X), X), pca.explained_variance_ratio_.round(6).tolist()
    (True, [1.0])
    >>> PCA(0.95).fit(X).n_components_
    1
    """

    n_components: int | float | None = None
    _: KW_ONLY
    dtype: DTypeLike | None = None

    def fit(self, X: ArrayLike, y: Any = None, *, sample_weight: ArrayLike | None = None) -> PCA:
        """Find the mean and the components of X (n, d); `y` is ignored.

        Parameters
        ----------
        sample_weight : array (n,), optional
            How often each row counts: 2 equals the row given twice, 0 leaves it out. With weights w

                mean = sum w x / sum w,     variance = sum w ((x - mean) vᵀ)² / max(1, sum w - 1)

        Raises
        ------
        TypeError, ValueError
            If X is not a table of finite numbers, n_components is neither in 1..min(n, d) nor a float in (0, 1), or
            sample_weight is not n finite numbers >= 0, one of them positive. Rows of weight 0 do not count in n.
        """
        names = column_names(X, "PCA")
        X = as_table(X, "PCA", dtype=None if self.dtype is None else as_dtype(self.dtype, "PCA"))
        w = None if sample_weight is None else as_weights(sample_weight, len(X), "PCA")
        if w is not None:
            X, w = X[w > 0], w[w > 0]
        most, share = min(X.shape), None
        if isinstance(self.n_components, float | np.floating):
            advice = "pass an int for so many components, or None for all"
            share = as_share(self.n_components, "PCA", "n_components", advice=advice)
        counted = self.n_components is not None and share is None
        k = as_count(self.n_components, "PCA", "n_components") if counted else most
        if k > most:
            raise ValueError(f"PCA expected n_components <= min(n, d) = {most}, got {k}: take fewer or pass more data.")
        n = float(len(X)) if w is None else w.sum()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = check_finite(X.mean(axis=0, dtype=np.float64) if w is None else np.average(X, 0, w), "PCA")
            centred = check_finite((X - mean) if w is None else np.sqrt(w)[:, None] * (X - mean), "PCA")
            R = np.linalg.qr(centred, mode="r")  # centred = Q R with orthonormal Q, so R has its s and V
            _, s, V = np.linalg.svd(R, full_matrices=False)
            V *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(axis=1)])[:, None]
            if self.n_components is None:  # directions without variance are arbitrary
                rounding = np.hypot(s[0], np.sqrt(n) * np.linalg.norm(mean)) * np.finfo(np.float64).eps
                k = max(1, int((s > max(X.shape) * rounding).sum()))
            variance = s**2 / max(1.0, n - 1)
            if share is not None:
                explained = np.cumsum(variance) / (variance.sum() or 1.0)
                k = min(most, int((explained <= share).sum()) + 1) if variance.any() else 1
            self.explained_variance_ = check_finite(variance[:k].astype(X.dtype), "PCA")
        self.explained_variance_ratio_ = (variance[:k] / (variance.sum() or 1.0)).astype(X.dtype)
        self.mean_, self.components_ = mean.astype(X.dtype), V[:k].astype(X.dtype)
        self._remember(X.shape[1], names)
        return self

    def encode(self, X: ArrayLike) -> Array:
        """z = (x - mean) Vᵀ, shape (n, k).

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers.
        """
        V, X = self._learned("components_"), self._table(X)
        with np.errstate(over="ignore", invalid="ignore"):
            return check_finite((X - self.mean_) @ V.T, "PCA")

    def decode(self, Z: ArrayLike) -> Array:
        """x_hat = z V + mean, shape (n, d).

        Raises RuntimeError if unfitted; TypeError or ValueError if Z is not (n, k) finite numbers.
        """
        V: Array = self._learned("components_")
        Z = as_table(Z, "PCA", name="Z", width=len(V), dtype=V.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            return check_finite(Z @ V + self.mean_, "PCA")

    def score(self, X: ArrayLike, y: Any = None, *, sample_weight: ArrayLike | None = None) -> float:
        """Minus the mean squared reconstruction error of X: higher is better; `y` is ignored.

        0 up to rounding if no direction is left out, as by `PCA()`. `sample_weight` (n,) says how often each row counts
        in the mean. Raises as `encode` and `fit` do.
        """
        self._learned("components_")
        X = self._table(X, keep_memmap=True)
        w = None if sample_weight is None else as_weights(sample_weight, len(X), "PCA")
        return -float(np.average(self._errors(X), weights=w))

    def score_samples(self, X: ArrayLike) -> Array:
        """Minus the mean squared error of each row of X (n, d): (n,) in float64; rounding noise if no direction is left
        out, as by `PCA()`. Raises as `encode` does.
        """
        return -self.reconstruction_error(X)

    def _export(self, path: str, X: ArrayLike | None, page: dict[str, Any] | None) -> None:
        if page is not None:
            return export_page(path, self, X, **page)
        return export_pca(path, self.mean_, self.components_)

    def _formulas(self) -> Formulas:
        return pca_formulas(self.mean_, self.components_)

    @property
    def n_components_(self) -> int:
        """k, the number of components."""
        return len(self.components_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self.components_.dtype
