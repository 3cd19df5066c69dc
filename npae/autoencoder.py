"""The autoencoder: a network that must give back its input, through a code too small to copy it.

    z = f(x)            the encoder: d numbers become a code of k
    x_hat = g(z)        the decoder: the code becomes d numbers again
    L = -log p(x|z)     the loss: how unlikely x is, given the decoder's output (see `losses`)

To restore x, f must keep in z what the data have in common (Hinton and Salakhutdinov, 2006, "Reducing the
dimensionality of data with neural networks", Science 313, 504-507).

A denoising autoencoder sees x_noisy = corrupt(x) and is compared with the clean x. Copying does not help it at any code
size: it must learn the structure of clean data (Vincent, Larochelle, Bengio and Manzagol, 2008, "Extracting and
composing robust features with denoising autoencoders").

Next: `pca.py`, the linear special case, solved without training.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from npae.activations import Activation
from npae.corruptions import CORRUPTIONS, Corruption, corrupt
from npae.estimator import Estimator
from npae.estimator.arguments import as_generator
from npae.estimator.validation import as_table, check_finite, normalized_weights
from npae.fitting.callbacks import Callback
from npae.fitting.fit import begin_training, check_fit, resume_training, run_training
from npae.fitting.history import TrainingState
from npae.fitting.prediction import evaluate, predict_in_batches
from npae.kernels.arrays import Array, ArrayLike, RandomState
from npae.layers import Sequential
from npae.losses import Loss
from npae.optimizers import Optimizer
from npae.storage import Checkpoint, export_network

Self = TypeVar("Self", bound="AE")


class Objective(NamedTuple):
    """What training minimises: loss(network.forward(inputs), target)."""

    network: Sequential
    loss: Loss
    inputs: Array
    target: Array


@dataclass(eq=False, repr=False)
class AE(Estimator):
    """Autoencoder: z = f(x), x_hat = g(z), trained so that x_hat is close to x.

    f is Dense layers of the widths d, *hidden, latent_dim with an activation between them, g its mirror
    image. The code itself is linear, and the output is what `output` says. With `hidden=()` and MSE it is
    a linear autoencoder, which ends where PCA does.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers, from the data to the code.
    latent_dim : int
        k, the size of the code.
    activation : "relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear" or Activation
        Between the layers.
    output : "linear", "sigmoid", "tanh", ... or Activation
        What the last layer's sums go through. With BCE the loss applies the sigmoid, so it must be
        "linear" or "sigmoid", which then mean the same.
    loss : "mse", "bce" or Loss
        BCE and SSIM want data in [0, 1].
    optimizer : "adam", "sgd" or Optimizer
        The object sets the learning rate: `Adam(Cosine(3e-3))`.
    epochs, batch_size : int
        Passes over the data (0 leaves the network as it begins), rows per step.
    patience : int or None
        Stop when the validation loss has not fallen for so many epochs; the best weights come back.
    encoder, decoder : Sequential, optional
        Your own networks, both or none, instead of `hidden`, `latent_dim`, `activation` and `output`.
        fit trains copies that start from the weights these have, and leaves these alone.
    dtype : float32, float64 or None
        None keeps that of X (float32 for small integers) or of your own networks.
    random_state : int, Generator or None
        Fixes initial weights, shuffling and noise: the same seed gives the same bits.
    verbose : bool or None
        True prints each epoch, False is silent, None prints on a terminal only.

    Attributes
    ----------
    encoder_, decoder_ : Sequential
        f and g. With BCE, g gives logits, and `decode` their sigmoid.
    network_ : Sequential
        g(f(x)).
    loss_ : Loss
    history_ : History
    training_ : Training
        What `partial_fit` and `resume` go on from.
    n_features_in_ : int
        d.
    feature_names_in_ : array (d,) of str
        The names of X's columns, where X is a DataFrame that has them.

    Example
    -------
    >>> import npae, numpy as np
    >>> t = np.linspace(0, 6, 200)
    >>> X = np.stack([np.cos(t), np.sin(t), t / 6], axis=1)     # a thread in space: one number a point
    >>> ae = npae.AE(hidden=(32,), latent_dim=1, activation="tanh", optimizer=npae.Adam(0.01), epochs=100,
    ...              batch_size=20, random_state=0).fit(X)
    >>> ae.encode(X).shape, ae.reconstruct(X).shape
    ((200, 1), (200, 3))
    >>> ae.score(X) > -0.002, npae.PCA(1).fit(X).score(X) > -0.1   # a straight line cannot follow the thread
    (True, False)
    """

    hidden: Iterable[int] | int = (128,)
    latent_dim: int = 32
    _: KW_ONLY
    activation: str | Activation = "relu"
    output: str | Activation = "linear"
    loss: str | Loss = "mse"
    optimizer: str | Optimizer = "adam"
    epochs: int = 20
    batch_size: int = 128
    patience: int | None = None
    encoder: Sequential | None = None
    decoder: Sequential | None = None
    dtype: DTypeLike | None = None
    random_state: RandomState = None
    verbose: bool | None = None

    def fit(
        self: Self,
        X: ArrayLike | Iterable[ArrayLike],
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        validation: ArrayLike | None = None,
        callbacks: Callback | Iterable[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        resume: bool = False,
    ) -> Self:
        """Learn from X (n, d), starting anew unless told to resume; `y` is ignored.

        Parameters
        ----------
        X : array (n, d), memory map, or iterable of arrays (m, d)
            All rows, or an object that yields batches, each a step, anew in every epoch. Maps and batches are not
            in memory as a whole. A map gives the same bits as an array, unless it is larger than 1 GiB: then its
            rows come in another order (see `batches`).
        sample_weight : array (n,), optional
            How often each row counts: L = sum_i w_i L_i / sum_i w_i.
        validation : array (m, d), optional
            Evaluated after every epoch into `history_.validation_loss`; a `DAE` sees it under one noise,
            drawn once.
        callbacks : function (model, epoch, logs), or several
            Called after every epoch with this model, its number (from 1) and `history_.last()`; True ends the fit.
        checkpoint : path, optional
            Where to `npae.save` the model after every `checkpoint_every` epochs, and at the end.
        resume : bool
            Go on with what the last fit has learned, or `npae.load` brought, until `epochs` are done in all, bit for
            bit as if there had been no stop. The network and its loss stay as they are.

        Returns self. Ctrl-C ends the fit early and leaves a usable model; so does what a callback raises.

        Raises
        ------
        TypeError, ValueError
            If an argument, here or of the constructor, is not as documented; nothing has been changed then.
        RuntimeError
            If training diverges; what an earlier fit has learned is kept.
        OSError
            If a checkpoint cannot be written; the file before it and the model are whole.
        """
        saver = Checkpoint.at(checkpoint, checkpoint_every, type(self).__name__)
        plan = check_fit(
            self, X, sample_weight, resume=resume, validation=validation, callbacks=callbacks, checkpoint=saver
        )
        training = resume_training(plan, plan.previous) if plan.previous else begin_training(self, plan)
        run_training(self, plan, training)
        return self

    def partial_fit(
        self: Self, X: ArrayLike | Iterable[ArrayLike], y: Any = None, *, sample_weight: ArrayLike | None = None
    ) -> Self:
        """One epoch more on X, which may be other rows each time; on the same rows, `epochs` calls equal a `fit`.

        Arguments, returns and raises what `fit` does.
        """
        plan = check_fit(self, X, sample_weight, extra_epochs=1, resume=True)
        training = resume_training(plan, plan.previous) if plan.previous else begin_training(self, plan)
        run_training(self, plan, training)
        return self

    def _set_state(self, training: TrainingState) -> None:
        """Make this the model of a training."""
        self.training_, self.loss_, self.history_ = training, training.loss, training.history
        self.network_, (self.encoder_, self.decoder_) = training.network, training.network.layers

    def encode(self, X: ArrayLike) -> Array:
        """z = f(x), shape (n, latent_dim). A memory map is read block by block, as by `decode`, `reconstruct`, `score`.

        Raises RuntimeError if unfitted, or if the numbers become too large for the dtype, as do the methods below;
        TypeError or ValueError if X is not (n, d) finite numbers.
        """
        encoder: Sequential = self._learned("encoder_")
        X = self._table(X, keep_memmap=True)
        return predict_in_batches(encoder.forward, X, self._dtype, type(self).__name__, encoder)

    def decode(self, Z: ArrayLike) -> Array:
        """x_hat = g(z), shape (n, d); with BCE its sigmoid, the probability of each element.

        Raises RuntimeError if unfitted; TypeError or ValueError if Z is not (n, latent_dim) finite numbers.
        """
        decoder: Sequential = self._learned("decoder_")
        caller, loss, dtype = type(self).__name__, self.loss_, self._dtype
        Z = as_table(Z, caller, name="Z", width=self._n_features_out, dtype=dtype, keep_memmap=True)
        return predict_in_batches(lambda z: loss.inverse_link(decoder.forward(z)), Z, dtype, caller, decoder, loss)

    def reconstruct(self, X: ArrayLike) -> Array:
        """x_hat = decode(encode(x)) for every row of X (n, d), in one pass.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers.
        """
        network: Sequential = self._learned("network_")
        X, loss = self._table(X, keep_memmap=True), self.loss_
        return predict_in_batches(
            lambda x: loss.inverse_link(network.forward(x)), X, self._dtype, type(self).__name__, network, loss
        )

    def score(self, X: ArrayLike, y: Any = None, *, sample_weight: ArrayLike | None = None) -> float:
        """Minus the loss of X (n, d) and its reconstruction: higher is better; `sample_weight` as in fit, no `y`.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers in the loss's range.
        """
        network: Sequential = self._learned("network_")
        X, caller = self._table(X, keep_memmap=True), type(self).__name__
        self.loss_.check_target(X)
        weight = None if sample_weight is None else normalized_weights(sample_weight, len(X), caller)
        return -check_finite(evaluate(network, self.loss_, X, X, weight), caller)

    def objective(self, X: ArrayLike, rng: np.random.Generator | None = None) -> Objective:
        """The terms of the loss that fit minimises on X, for `check_gradients` and for your own loop.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not as in fit.
        """
        network: Sequential = self._learned("network_")
        X = self._table(X)
        self.loss_.check_target(X)
        return Objective(network, self.loss_, X, X)

    def export(self, path: str | os.PathLike[str]) -> None:
        export_network(path, self._learned("network_"), self.loss_, denoises=isinstance(self, DAE))

    def _after_load(self) -> None:
        self._set_state(self.training_)

    def _corruption(self) -> Corruption | None:
        return None

    @property
    def _n_features_out(self) -> int:
        return self.encoder_.n_out or self.n_features_in_  # layers without a width of their own keep that of X

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self.network_.dtype


@dataclass(eq=False, repr=False)
class DAE(AE):
    """Denoising autoencoder: an `AE` that is shown corrupt(x) and compared with the clean x.

        L = loss(g(f(x_noisy)), x),  x_noisy = corruption(x, rng), drawn afresh for every batch

    Parameters
    ----------
    corruption : "gaussian", "masking", "salt_and_pepper" or callable (x, rng) -> x_noisy
        See `corruptions`. All other parameters are those of `AE`.

    Example
    -------
    >>> import npae, numpy as np
    >>> t = np.linspace(0, 6, 200)
    >>> X = np.stack([np.cos(t), np.sin(t)] * 6, axis=1)        # a circle, seen by six pairs of instruments
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

    def objective(self, X: ArrayLike, rng: np.random.Generator | None = None) -> Objective:
        """As for `AE`, with inputs corrupted as `corruption` says now, and clean targets; `rng` draws the noise."""
        network, loss, inputs, target = super().objective(X)
        corruption = self._corruption()
        return Objective(network, loss, corrupt(corruption, inputs, as_generator(rng, "DAE")), target)

    def _corruption(self) -> Corruption:
        if callable(self.corruption) and not isinstance(self.corruption, type):
            return self.corruption
        if isinstance(self.corruption, str) and self.corruption in CORRUPTIONS:
            return CORRUPTIONS[self.corruption]()
        raise ValueError(
            f"DAE expected corruption as one of {sorted(CORRUPTIONS)} or a callable (x, rng) -> x_noisy, "
            f"got {self.corruption!r}: choose one of these, as an object such as npae.MaskingNoise(0.2)."
        )
