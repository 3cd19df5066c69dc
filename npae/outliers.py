"""Outliers: rows that a model of the other rows gives back badly.

An autoencoder learns what the rows of a table have in common. A row that lacks it is reconstructed with a large error,
without anybody having said what an outlier looks like (Hawkins, He, Williams and Baxter, 2002, "Outlier detection using
replicator neural networks"). The training table holds outliers, too, and the network learns from them. Three remedies,
none of which needs labels:

    noise           A denoising autoencoder that sees half of the numbers must predict the others from them. However
                    long it trains, it cannot copy an odd row (Vincent et al., 2008).
    trimming        After each fit, the rows with the largest errors are left out of the next one, as in robust
                    regression (Rousseeuw and Van Driessen, 2006, "Computing LTS regression for large data sets").
    an ensemble     The errors of several fits with different seeds are averaged: what is common to them stays, what
                    chance has put into one goes (Chen et al., 2017, "Outlier detection with autoencoder ensembles").
"""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from npae.corruptions import MaskingNoise
from npae.denoising import DAE
from npae.estimator import Base, Estimator
from npae.estimator.arguments import as_count, as_flag, as_generator, as_real
from npae.estimator.dataframes import column_names, warn_caller
from npae.estimator.validation import as_table, check_finite
from npae.kernels.arrays import Array, ArrayLike, RandomState
from npae.optimizers import Adam, Cosine

Self = TypeVar("Self", bound="OutlierDetector")


class Member(NamedTuple):
    """One fit of the ensemble: (x - center) / scale is what its model sees."""

    center: Array
    scale: Array
    model: Any

    def scaled(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            return (X - self.center) / self.scale


@dataclass(eq=False, repr=False)
class OutlierDetector(Base):
    """Finds the rows of a table that are unlike the others. Higher scores are more normal, as in scikit-learn.

        score(x) = mean over the fits m of model_m.score_samples((x - center_m) / scale_m)
        offset   = the quantile of the training rows' scores at `contamination`
        predict  = -1 (outlier) if score(x) < offset, else 1

    The first fit sees all rows. Each of the next `n_fits` sees the rows without the share `trim` whose scores were
    lowest so far, and scales the columns by the mean and standard deviation of these. Only these fits count.

    Parameters
    ----------
    model : AE, DAE, VAE, PCA or None
        An unfitted model; copies of it are fitted, each with another seed. None is `table_model(d)`, a denoising
        autoencoder.
    contamination : float
        The share of the training rows to call outliers, in (0, 0.5]. It sets the threshold and does not change scores.
    n_fits : int
        How many fits to average. One is enough for PCA, which has no seed.
    trim : float
        The share of the rows that is left out, in [0, 0.5]. With 0 there is no first fit that does not count.
    scale : bool
        Whether to scale the columns to mean 0 and variance 1. Leave it on unless they have one unit, as pixels have.
    random_state : int, Generator or None
        Fixes the seeds of all fits. None takes that of the model.

    Attributes
    ----------
    models_ : list of n_fits fitted models
    centers_, scales_ : array (n_fits, d)
    offset_ : float
    threshold_ : float, minus offset_
        With MSE or PCA, rows with a larger mean squared error are outliers.
    n_features_in_ : int, equal to d
    feature_names_in_ : array (d,) of str
        The names of X's columns, if X is a DataFrame with names.

    Example
    -------
    >>> import npae, numpy as np
    >>> rng = np.random.default_rng(1)
    >>> X = rng.standard_normal((600, 2)) @ rng.standard_normal((2, 6)) + 0.1 * rng.standard_normal((600, 6))
    >>> X[:5] = X[:5, ::-1]                                     # five rows with their columns in the wrong order
    >>> detector = npae.OutlierDetector(contamination=0.05, n_fits=2, random_state=0).fit(X)
    >>> int((detector.predict(X[:5]) == -1).sum()), int((detector.predict(X) == -1).sum())
    (5, 30)
    """

    model: Estimator | None = None
    contamination: float = 0.1
    _: KW_ONLY
    n_fits: int = 5
    trim: float = 0.2
    scale: bool = True
    random_state: RandomState = None

    _estimator_type: ClassVar[str | None] = "outlier_detector"

    def fit(self: Self, X: ArrayLike, y: Any = None) -> Self:
        """Learn from X (n, d), outliers included; `y` is ignored. X is copied into memory.

        Warns if the model gives every row back, as `PCA()` does: then its errors are rounding noise.

        Raises
        ------
        TypeError, ValueError
            If X is not a table of finite numbers, or an argument is not as documented. The detector is unchanged.
        RuntimeError
            If the model's training diverges.
        """
        contamination = as_real(self.contamination, "OutlierDetector", "contamination", low=0, high=0.5, without=0)
        trim = as_real(self.trim, "OutlierDetector", "trim", low=0, high=0.5)
        n_fits = as_count(self.n_fits, "OutlierDetector", "n_fits")
        scale = as_flag(self.scale, "OutlierDetector", "scale")
        if not (self.model is None or isinstance(self.model, Estimator)):
            raise TypeError(
                f"OutlierDetector expected model as an AE, DAE, PCA or None, got {self.model!r}: "
                "pass npae.PCA(0.9), for example."
            )
        names = column_names(X, "OutlierDetector")
        X = as_table(X, "OutlierDetector")
        model = table_model(X.shape[1]) if self.model is None else self.model
        seed = getattr(model, "random_state", None) if self.random_state is None else self.random_state
        rng = copy.deepcopy(as_generator(seed, "OutlierDetector")).spawn(1)[0]

        members: list[Member] = []
        scores: list[Array] = []
        kept = np.ones(len(X), bool)
        for _ in range(n_fits + (trim > 0)):
            members.append(_fit_member(model, X[kept], scale, int(rng.integers(2**32))))
            scores.append(members[-1].model.score_samples(members[-1].scaled(X)))
            mean = np.mean(scores[1:] or scores, axis=0)
            kept = mean >= np.quantile(mean, trim)
        counted = slice(1 if trim > 0 else 0, None)
        _warn_if_exact(members[-1], X)

        as_generator(self.random_state, "OutlierDetector").spawn(1)  # the caller's generator, now that all went well
        self.models_ = [member.model for member in members[counted]]
        self.centers_, self.scales_ = (np.stack([m[i] for m in members[counted]]) for i in (0, 1))
        self.offset_ = float(np.quantile(np.mean(scores[counted], axis=0), contamination))
        self._remember(X.shape[1], names)
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """The mean score of each row of X (n, d) over the fits: (n,) in float64, higher is more normal.

        Raises RuntimeError if unfitted or if numbers overflow; TypeError or ValueError if X is not (n, d) finite
        numbers. So do the methods below.
        """
        members, X = self._members(), self._table(X)
        return np.asarray(np.mean([member.model.score_samples(member.scaled(X)) for member in members], axis=0))

    def decision_function(self, X: ArrayLike) -> Array:
        """score_samples(X) - offset_: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> Array:
        """1 for each normal row of X (n, d), -1 for each outlier: (n,) of int."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X: ArrayLike, y: Any = None) -> Array:
        """fit(X), then predict(X)."""
        return self.fit(X).predict(X)

    def reconstruction_error(self, X: ArrayLike, per_feature: bool = False) -> Array:
        """The mean squared error of each row over the fits, (n,); with `per_feature` that of each number, (n, d).

        The unit is the variance of the column (with `scale`), so the errors per feature can be compared: the largest
        say why a row is an outlier.
        """
        members, X = self._members(), self._table(X)
        errors = [member.model.reconstruction_error(member.scaled(X), per_feature) for member in members]
        return np.asarray(np.mean(errors, axis=0))

    @property
    def threshold_(self) -> float:
        """-offset_."""
        return -self.offset_

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self.centers_.dtype

    def _members(self) -> list[Member]:
        return [Member(*parts) for parts in zip(self._learned("centers_"), self.scales_, self.models_, strict=True)]


def table_model(d: int) -> DAE:
    """The default model for tables of d columns: a denoising autoencoder to which half of each row is hidden.

    Since it cannot copy, its size and the number of epochs matter little.

    Example
    -------
    >>> table_model(30).latent_dim
    15
    """
    return DAE(
        hidden=(64,), latent_dim=max(1, min(32, d // 2)), corruption=MaskingNoise(0.5), optimizer=Adam(Cosine(0.01)),
        epochs=50, batch_size=32, verbose=False,
    )  # fmt: skip


def _fit_member(model: Estimator, X: Array, scale: bool, seed: int) -> Member:
    """A copy of the model, fitted to the scaled rows of X."""
    center, width = np.zeros(X.shape[1], X.dtype), np.ones(X.shape[1], X.dtype)
    if scale:
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        center = check_finite(mean, "OutlierDetector").astype(X.dtype)
        varies = check_finite(std, "OutlierDetector") > 1e-10 * np.abs(mean)  # by more than rounding
        width = np.where(varies, std, 1).astype(X.dtype)
    arguments = model.get_params(deep=False)
    if "random_state" in arguments:
        arguments["random_state"] = seed
    member = Member(center, width, type(model)(**copy.deepcopy(arguments)))
    member.model.fit(member.scaled(X))
    return member


def _warn_if_exact(member: Member, X: Array) -> None:
    """Warn if the errors are as small as rounding errors."""
    rows = member.scaled(X)
    rounding = (100 * np.finfo(member.model._dtype).eps) ** 2 * np.square(rows).mean()
    if rounding > 0 and member.model.reconstruction_error(rows).mean() <= rounding:
        warn_caller(
            f"OutlierDetector expected a model that leaves something out, got {member.model!r}, which gives every row "
            "back: its scores are rounding noise. Choose a smaller code, such as npae.PCA(0.9)."
        )
