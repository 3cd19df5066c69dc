"""The denoising autoencoder: a network that must restore what noise has taken from its input.

    x_noisy = corrupt(x)          x_hat = g(f(x_noisy))          L = -log p(x|z), with the clean x

Copying does not help it at any code size: it must learn the structure of clean data, to tell it from noise (Vincent,
Larochelle, Bengio and Manzagol, 2008, "Extracting and composing robust features with denoising autoencoders").

Next: `variational.py`, where the code is a distribution.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from npae.autoencoder import AE
from npae.corruptions import CORRUPTIONS, Corruption
from npae.kernels.arrays import Array, ArrayLike


@dataclass(eq=False, repr=False)
class DAE(AE):
    """Denoising autoencoder: an `AE` that sees corrupt(x) and is compared with the clean x.

        L = loss(g(f(x_noisy)), x),  x_noisy = corruption(x, rng), with fresh noise for every batch

    Parameters
    ----------
    corruption : "gaussian", "masking", "salt_and_pepper" or callable (x, rng) -> x_noisy
        See `corruptions`. All other parameters are those of `AE`.

    Example
    -------
    >>> import npae, numpy as np
    >>> t = np.linspace(0, 6, 200)
    >>> X = np.stack([np.cos(t), np.sin(t)] * 6, axis=1)        # a circle, measured by six pairs of instruments
    >>> noise = npae.GaussianNoise(0.5)
    >>> dae = npae.DAE(hidden=(32,), latent_dim=2, corruption=noise, optimizer=npae.Adam(0.01), epochs=50,
    ...                batch_size=20, random_state=0).fit(X)
    >>> X_noisy = noise(X, np.random.default_rng(1))
    >>> bool(abs(dae.denoise(X_noisy) - X).mean() < 0.5 * abs(X_noisy - X).mean())
    True
    """

    _: KW_ONLY
    corruption: str | Corruption = "gaussian"

    def denoise(self, X_noisy: ArrayLike) -> Array:
        """x_hat = g(f(x_noisy)): the same as `reconstruct`."""
        return self.reconstruct(X_noisy)

    def _corruption(self) -> Corruption:
        if callable(self.corruption) and not isinstance(self.corruption, type):
            return self.corruption
        if isinstance(self.corruption, str) and self.corruption in CORRUPTIONS:
            return CORRUPTIONS[self.corruption]()
        raise ValueError(
            f"DAE expected corruption as one of {sorted(CORRUPTIONS)} or a callable (x, rng) -> x_noisy, "
            f"got {self.corruption!r}: choose one of these, as an object such as npae.MaskingNoise(0.2)."
        )
