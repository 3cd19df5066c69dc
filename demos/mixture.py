"""A mixture of Gaussians, p(z) = Σⱼ wⱼ N(z; μⱼ, Cⱼ), fitted by expectation and maximisation.

One Gaussian fits a cloud with one hump; a mixture fits a cloud with many. To draw from a mixture, draw a component
first, then a point from it. Fitting repeats two steps, neither of which makes the data less likely:

    E   rₙⱼ = wⱼ N(zₙ; μⱼ, Cⱼ) / Σᵢ wᵢ N(zₙ; μᵢ, Cᵢ)        how much point n belongs to component j
    M   wⱼ = mean of rₙⱼ,  μⱼ and Cⱼ = mean and covariance of the points, weighted with rₙⱼ

Source: Dempster, Laird and Rubin, 1977, "Maximum likelihood from incomplete data via the EM algorithm". Read beside
it: demos/06_generate.py.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Mixture:
    """Weights (k,), means (k, d) and covariances (k, d, d) of k components, and the fit's log-likelihoods.

    `log_likelihood` holds mean log p(z) over the data before each iteration, up to a constant. It never falls, except
    by the small term that keeps the covariances positive definite.
    """

    w: np.ndarray
    mu: np.ndarray
    C: np.ndarray
    log_likelihood: list

    def sample(self, n, rng):
        """Draw n points (n, d): a component, then z = μ + L e with e ~ N(0, I) and C = L Lᵀ."""
        j = rng.choice(len(self.w), n, p=self.w)
        e = rng.standard_normal((n, self.mu.shape[1]))
        return self.mu[j] + np.einsum("nab,nb->na", np.linalg.cholesky(self.C)[j], e)


def fit(Z, k, rng, iterations=20):
    """Fit k components to the rows of Z (n, d); k = 1 is the Gaussian with the mean and covariance of Z."""
    n, d = Z.shape
    some = Z[rng.choice(n, k, replace=False)]
    mixture = Mixture(np.full(k, 1 / k), some, np.array([np.cov(Z.T)] * k), [])
    for _ in range(iterations if k > 1 else 1):
        log_p = log_terms(mixture, Z)
        highest = log_p.max(axis=1, keepdims=True)  # subtracted so that no exp overflows and not all are 0
        log_sum = highest + np.log(np.exp(log_p - highest).sum(axis=1, keepdims=True))
        mixture.log_likelihood.append(float(log_sum.mean()))
        r = np.exp(log_p - log_sum)
        mixture.w, mixture.mu = r.mean(axis=0), r.T @ Z / r.sum(axis=0)[:, None]
        for j in range(k):
            away = Z - mixture.mu[j]
            mixture.C[j] = (r[:, j] * away.T) @ away / r[:, j].sum()
            mixture.C[j] += 1e-6 * np.trace(mixture.C[j]) / d * np.eye(d)  # keeps C positive definite
    return mixture


def log_terms(mixture, Z):
    """log wⱼ N(zₙ; μⱼ, Cⱼ), up to a constant, for every point and component (n, k)."""
    columns = []
    for w, mu, C in zip(mixture.w, mixture.mu, mixture.C, strict=True):
        L = np.linalg.cholesky(C)
        e = np.linalg.inv(L) @ (Z - mu).T  # N(0, I) if z is from this component
        columns.append(np.log(w) - np.square(e).sum(axis=0) / 2 - np.log(np.diagonal(L)).sum())
    return np.stack(columns, axis=1)
