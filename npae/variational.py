"""The variational autoencoder: the code is a distribution, and the model can be asked how likely an image is.

    p(z) = N(0, I)          p(x|z) = the loss's distribution around g(z)          p(x) = ∫ p(x|z) p(z) dz

g turns random codes into data. To learn it one needs the z that x came from, and f guesses: q(z|x) = N(μ, diag σ²) with
(μ, log σ²) = f(x). For any q, Jensen's inequality gives the evidence lower bound (ELBO)

    log p(x) = log E_q [p(x|z) p(z) / q(z|x)] >= E_q [log p(x|z)] - KL(q(z|x) ‖ p(z))

and training raises it by both networks at once. The difference is KL(q(z|x) ‖ p(z|x)): how well f guesses.

Both terms are sums over a whole row, in nats. A mean over pixels in the first would weaken it d times against the
second, and the code would say nothing. So the losses here are those of `likelihoods`, of rows and not of elements.

Sources: Kingma and Welling, 2014, "Auto-encoding variational Bayes"; Rezende, Mohamed and Wierstra, 2014, "Stochastic
backpropagation"; Burda, Grosse and Salakhutdinov, 2016, "Importance weighted autoencoders".

Next: `pretraining.py`, which trains a deep network layer by layer.
"""

from __future__ import annotations

import zlib
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from npae.autoencoder import Autoencoder
from npae.codes import GaussianCode
from npae.estimator.arguments import as_count, as_generator, as_real
from npae.estimator.validation import as_weights, check_finite
from npae.fitting.prediction import losses_by_row, predict_in_batches
from npae.kernels.arrays import Array, ArrayLike, RandomState
from npae.likelihoods import LIKELIHOODS, Bernoulli, Gaussian, linear_noise
from npae.losses import Loss
from npae.penalties import GaussianKL, divergences

DRAWS = 4  # of the bound
ROWS_AT_ONCE = 2**12  # decoded codes of the importance-sampled likelihood


def noise_of_rows(x: Array, k: int) -> Array:
    """(DRAWS, N, k) normal numbers for the rows of x (N, d): the same ones for the same row, in any company."""
    rngs = (np.random.default_rng(zlib.crc32(row.tobytes())) for row in x)
    return np.stack([rng.standard_normal((DRAWS, k)) for rng in rngs], axis=1).astype(x.dtype)


@dataclass(eq=False, repr=False)
class VAE(Autoencoder):
    """Variational autoencoder: (μ, log σ²) = f(x), z = μ + σ ε, x_hat = g(z), with codes that fill N(0, I).

        L = E [-log p(x|z)] + β KL(N(μ, diag σ²) ‖ N(0, I))          ε ~ N(0, I); in nats per row

    `encode` gives μ, `reconstruct` gives g(μ): both are fixed. `history_` holds L, `score` the bound on log p(x).

    Parameters
    ----------
    loss : "mse", "bce", Gaussian or Bernoulli
        p(x|z): "mse" is `Gaussian()` for real-valued data, "bce" is `Bernoulli()` for data in [0, 1].
    beta : float >= 0
        β. 1 is the bound; more makes codes independent and poor, less makes reconstructions sharp and samples poor.
    hidden, latent_dim, activation, output, optimizer, epochs, batch_size, patience, validation_fraction, encoder, \
decoder, dtype, random_state, verbose
        As for `AE`. An `encoder` of your own gives 2 · latent_dim numbers: μ, then log σ².

    Attributes
    ----------
    encoder_ : Sequential
        x -> (μ, log σ²).
    decoder_, network_, loss_, history_, training_, n_features_in_, feature_names_in_
        As for `AE`. `loss_` is a `Bernoulli`, or a `Gaussian` with its std.

    Example
    -------
    >>> import npae, numpy as np
    >>> t = np.random.default_rng(0).random(500) * 6
    >>> X = np.stack([np.cos(t), np.sin(t)], axis=1)         # a circle
    >>> vae = npae.VAE(hidden=(32,), latent_dim=2, loss=npae.Gaussian(0.1), epochs=30, random_state=0).fit(X)
    >>> vae.sample(3, random_state=0).shape
    (3, 2)
    >>> bool(vae.log_likelihood(X, samples=100).mean() > vae.score(X))     # the score is a bound from below
    True
    """

    _: KW_ONLY
    beta: float = 1.0

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """n new rows x_hat = g(z) from codes z ~ N(0, I), shape (n, d): means, without the noise of p(x|z).

        Raises RuntimeError if unfitted; TypeError or ValueError if n is not a whole number >= 1.
        """
        self._learned("network_")
        caller = type(self).__name__
        n, rng = as_count(n, caller, "n"), as_generator(random_state, caller)
        return self.decode(rng.standard_normal((n, self._n_features_out)).astype(self._dtype))

    def score(self, X: ArrayLike, y: Any = None, *, sample_weight: ArrayLike | None = None) -> float:
        """The evidence lower bound on log p(x), in nats, as a mean over the rows of X: higher is better.

        β is 1 here, whatever it was in training. The expectation is a mean over DRAWS draws of ε. Each row has its
        own, seeded by its numbers, so the score of a row depends on nothing but the row.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers in the loss's range.
        """
        bounds = self.score_samples(X)
        weight = None if sample_weight is None else as_weights(sample_weight, len(bounds), type(self).__name__)
        return float(np.average(bounds, weights=weight))

    def score_samples(self, X: ArrayLike) -> Array:
        """The bound of `score` for each row of X (n, d), (n,) in float64."""
        self._learned("network_")
        X, caller = self._table(X, keep_memmap=True), type(self).__name__
        self.loss_.check_target(X)
        H, k = self._distributions(X), self._n_features_out
        losses = divergences(H)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(X), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                x, mu, std = X[rows].astype(self._dtype), H[rows, :k], np.exp(H[rows, k:] / 2)
                for noise in noise_of_rows(x, k):
                    losses[rows] += losses_by_row(self.decoder_, self.loss_, mu + std * noise, x) / DRAWS
        return check_finite(-losses, caller)

    def log_likelihood(self, X: ArrayLike, samples: int = 1000, random_state: RandomState = 0) -> Array:
        """An estimate of log p(x) in nats for each row of X, shape (n,), by importance sampling.

            log p(x) ≈ log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x)          z_s ~ q(z|x), S = samples

        With one sample its mean is the bound of `score`. It grows with the samples, on average, and tends to log p(x)
        from below. Compare models by it rather than by the bound, which also depends on how well f guesses.

        Source: Burda, Grosse and Salakhutdinov, 2016, equation 8.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers in the loss's range,
        or samples is not a whole number >= 1.
        """
        self._learned("network_")
        caller = type(self).__name__
        samples, rng = as_count(samples, caller, "samples"), as_generator(random_state, caller)
        X = self._table(X, keep_memmap=True)
        self.loss_.check_target(X)
        H = self._distributions(X)
        result = np.empty(len(X))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for start in range(0, len(X), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                result[rows] = self._log_mean_weight(X[rows].astype(self._dtype), H[rows], samples, rng)
        return check_finite(result, caller)

    def _log_mean_weight(self, x: Array, h: Array, samples: int, rng: np.random.Generator) -> Array:
        """log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x) for each row x (n, d), of which h has (μ, log σ²)."""
        k, at_once = self._n_features_out, min(samples, ROWS_AT_ONCE // len(x))
        x, h = np.tile(x, (at_once, 1)), np.tile(h, (at_once, 1))
        mu, std, log_std = h[:, :k], np.exp(h[:, k:] / 2), h[:, k:].sum(axis=1, dtype=np.float64) / 2
        n = len(x) // at_once
        total = np.full(n, -np.inf)
        for first in range(0, samples, at_once):
            draws = min(at_once, samples - first)
            some = slice(0, draws * n)
            noise = rng.standard_normal((draws * n, k), dtype=self._dtype)
            z = mu[some] + std[some] * noise
            log_prior_over_q = (noise**2 - z**2).sum(axis=1, dtype=np.float64) / 2 + log_std[some]
            log_w = log_prior_over_q - losses_by_row(self.decoder_, self.loss_, z, x[some])
            total = np.logaddexp(total, np.logaddexp.reduce(log_w.reshape(draws, n)))
        return np.asarray(total - np.log(samples))

    def _distributions(self, X: Array) -> Array:
        """(μ, log σ²) of each row."""
        return predict_in_batches(self.encoder_.forward, X, self._dtype, type(self).__name__, self.encoder_)

    def encode(self, X: ArrayLike) -> Array:
        """μ of q(z|x), shape (n, latent_dim). Raises as `AE.encode` does."""
        return np.ascontiguousarray(super().encode(X))

    def _loss(self, rows: Array | None = None) -> Loss:
        loss = self.loss
        if isinstance(loss, str) and loss in LIKELIHOODS:
            loss = LIKELIHOODS[loss]()
        if not isinstance(loss, Gaussian | Bernoulli):
            raise ValueError(
                f"VAE expected loss as one of {sorted(LIKELIHOODS)}, a Gaussian or a Bernoulli, got {loss!r}: "
                "choose one of these, since the bound needs the likelihood of a whole row."
            )
        if isinstance(loss, Gaussian) and loss.std is None and rows is not None:
            return Gaussian(linear_noise(rows, self._code().k))
        return loss

    def _code(self) -> GaussianCode:
        return GaussianCode(as_count(self.latent_dim, "VAE", "latent_dim"))

    def _penalty(self) -> GaussianKL:
        return GaussianKL(as_real(self.beta, "VAE", "beta", low=0))

    def _after_load(self) -> None:
        super()._after_load()
        if type(self.network_.layers[1]) is not GaussianCode or type(self.loss_) not in LIKELIHOODS.values():
            raise ValueError("network_ or loss_ is not that of a VAE")
