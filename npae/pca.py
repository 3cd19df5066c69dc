"""Principal component analysis: the best linear autoencoder, found without training.

Among all ways to squeeze x into k numbers linearly and to return from them, least squared error is reached
by projecting onto the k directions of largest variance:

    z = (x - mean) Vᵀ          x_hat = z V + mean          V (k, d), orthonormal rows

V holds the first right singular vectors of the centred data. A linear autoencoder trained with MSE ends in
the same subspace, though in no particular basis of it (Baldi and Hornik, 1989, "Neural networks and principal
component analysis: learning from examples without local minima").
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from npae.arrays import Array, ArrayLike
from npae.estimator import Estimator
from npae.exporting import export_pca
from npae.validation import as_count, as_table


@dataclass(eq=False, repr=False)
class PCA(Estimator):
    """z = (x - mean) Vᵀ,  x_hat = z V + mean, with V the directions of largest variance.

    Parameters
    ----------
    n_components : int or None
        The size k of the code; None keeps min(n, d).

    Attributes
    ----------
    components_ : array (k, d)
        V; the largest entry of each row is positive.
    mean_ : array (d,)
    explained_variance_, explained_variance_ratio_ : array (k,)
        The variance along each component (divided by n - 1), and its share of the whole.
    n_features_in_ : int
        d.

    Source: Pearson, 1901, "On lines and planes of closest fit to systems of points in space".

    Example
    -------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    >>> pca = PCA(1).fit(X)
    >>> np.allclose(pca.reconstruct(X), X), pca.explained_variance_ratio_.round(6).tolist()
    (True, [1.0])
    """

    n_components: int | None = None

    def fit(self, X: ArrayLike, y: Any = None) -> PCA:
        """Find the mean and the components of X (n, d); `y` is ignored.

        Raises
        ------
        TypeError, ValueError
            If X is not a table of finite numbers, or n_components not in 1..min(n, d).
        """
        X = as_table(X, "PCA")
        most = min(X.shape)
        k = most if self.n_components is None else as_count(self.n_components, "PCA", "n_components")
        if k > most:
            raise ValueError(
                f"PCA expected n_components <= min(n, d) = {most} for X of shape {X.shape}, got {k}: "
                "ask for fewer components or pass more data."
            )
        mean = X.mean(axis=0, dtype=np.float64)
        # X - mean = Q R with orthonormal Q, so R alone has the singular values and the V of X - mean.
        R = np.linalg.qr(X - mean, mode="r")
        _, singular_values, V = np.linalg.svd(R, full_matrices=False)
        V *= np.sign(V[np.arange(len(V)), np.abs(V).argmax(axis=1)])[:, None]
        variance = singular_values**2 / max(1, len(X) - 1)
        whole = variance.sum()
        self.mean_ = mean.astype(X.dtype)
        self.components_ = V[:k].astype(X.dtype)
        self.explained_variance_ = variance[:k].astype(X.dtype)
        self.explained_variance_ratio_ = (variance[:k] / whole if whole > 0 else np.zeros(k)).astype(X.dtype)
        self.n_features_in_ = X.shape[1]
        return self

    def encode(self, X: ArrayLike) -> Array:
        """z = (x - mean) Vᵀ, shape (n, k).

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers.
        """
        V: Array = self._learned("components_")
        Z: Array = (as_table(X, "PCA", width=self.n_features_in_, dtype=V.dtype) - self.mean_) @ V.T
        return Z

    def decode(self, Z: ArrayLike) -> Array:
        """x_hat = z V + mean, shape (n, d).

        Raises RuntimeError if unfitted; TypeError or ValueError if Z is not (n, k) finite numbers.
        """
        V: Array = self._learned("components_")
        X_hat: Array = as_table(Z, "PCA", name="Z", width=len(V), dtype=V.dtype) @ V + self.mean_
        return X_hat

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Minus the mean squared reconstruction error of X: higher is better. `y` is ignored."""
        V: Array = self._learned("components_")
        X = as_table(X, "PCA", width=self.n_features_in_, dtype=V.dtype)
        return -float(np.square(self.reconstruct(X) - X).mean(dtype=np.float64))

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write `encode`, `decode` and `reconstruct` as one Python file that needs NumPy alone.

        Raises RuntimeError if unfitted, OSError if it cannot be written.

        Example
        -------
        >>> import numpy as np, os, runpy, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     PCA(2).fit(np.eye(4)).export(os.path.join(folder, "pca.py"))
        ...     runpy.run_path(os.path.join(folder, "pca.py"))["encode"](np.eye(4)).shape
        (4, 2)
        """
        export_pca(path, self._learned("mean_"), self.components_)
