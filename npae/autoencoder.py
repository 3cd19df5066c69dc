"""The autoencoder: a network that must give back its input, through a code too small to copy it.

    z = f(x)            the encoder: d numbers become a code of k
    x_hat = g(z)        the decoder: the code becomes d numbers again
    L = -log p(x|z)     the loss: how unlikely x is, given the decoder's output (see `losses`)

To restore x, f must keep in z what the data have in common (Hinton and Salakhutdinov, 2006, "Reducing the
dimensionality of data with neural networks", Science 313, 504-507).

That is one way to keep f and g from copying x. `training` lists the others, which limit what the code may say, or what
f may see. They combine: `AE` takes a layer for the code and a penalty, `DAE` takes noise besides.

Next: `denoising.py`, where f sees less than x.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from npae.activations import ACTIVATIONS, Activation
from npae.codes import StochasticLayer, TopK
from npae.corruptions import Corruption, corrupt
from npae.estimator import Estimator
from npae.estimator.arguments import as_flag, as_generator, resolve
from npae.estimator.validation import as_table, check_finite, normalized_weights
from npae.fitting.callbacks import Callback
from npae.fitting.fit import begin_training, check_fit, resume_training, run_training
from npae.fitting.history import TrainingState
from npae.fitting.objective import Objective, Regularised
from npae.fitting.prediction import evaluate, losses_by_row, predict_in_batches
from npae.kernels.arrays import Array, ArrayLike, RandomState
from npae.layers import Layer, Sequential
from npae.losses import LOSSES, Loss
from npae.optimizers import Optimizer
from npae.penalties import PENALTIES, Penalty
from npae.storage import Checkpoint, Formulas, export_network, export_page, network_formulas
from npae.tied import tie

Self = TypeVar("Self", bound="Autoencoder")


@dataclass(eq=False, repr=False)
class Autoencoder(Estimator, savable=False):
    """What all autoencoders here have in common: the networks f and g, and the training of both.

    A subclass says what it minimises: `_loss`, `_penalty`, and what comes between x and z: `_corruption`, `_code`.
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
    validation_fraction: float | None = None
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
        """Learn from X (n, d), from the beginning unless `resume`; `y` is ignored.

        Parameters
        ----------
        X : array (n, d), memory map, or iterable of arrays (m, d)
            All rows, or an object that yields batches, one step each, and can be iterated over once an epoch. Memory
            maps and iterables are never in memory as a whole. A map gives the same bits as an array, unless it is
            larger than 1 GiB: then its rows are shuffled in blocks (see `fitting.batches`).
        sample_weight : array (n,), optional
            L = sum_i w_i L_i / sum_i w_i: a row of weight 2 counts as two rows.
        validation : array (m, d), optional
            Evaluated after every epoch, into `history_.validation_loss`. A `DAE` sees it with the same noise each time.
            Not together with `validation_fraction`.
        callbacks : function (model, epoch, logs), or several
            Called after every epoch with this model, the epoch's number (from 1) and `history_.last()`. True ends the
            fit.
        checkpoint : path, optional
            File to `npae.save` the model to after every `checkpoint_every` epochs, and at the end.
        resume : bool
            Continue the last fit, or that of a loaded model, until `epochs` are done in all. The result is bit for bit
            that of a fit without a stop. Network and loss are those of the last fit.

        Warns, before training, of a code that can copy x and of columns without a common scale (see `fitting.advice`).
        Returns self. Ctrl-C ends the fit early and leaves a usable model; so does an exception in a callback.

        Raises
        ------
        TypeError, ValueError
            If an argument of fit or of the constructor is not as documented. The model is unchanged.
        RuntimeError
            If training diverges. The model keeps what an earlier fit has learned.
        OSError
            If a checkpoint cannot be written. The previous file and the model are intact.
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
        """Train for one more epoch, on X. On the same X, `epochs` calls equal one `fit`.

        Arguments, result and errors are those of `fit`.
        """
        plan = check_fit(self, X, sample_weight, extra_epochs=1, resume=True)
        training = resume_training(plan, plan.previous) if plan.previous else begin_training(self, plan)
        run_training(self, plan, training)
        return self

    def _set_state(self, training: TrainingState) -> None:
        """Make this the model of a training."""
        self.training_, self.loss_, self.history_ = training, training.loss, training.history
        self.network_ = training.network
        layers: Any = training.network.layers
        self.encoder_, self.decoder_ = layers[0], layers[-1]

    def encode(self, X: ArrayLike) -> Array:
        """z = f(x), shape (n, latent_dim). A memory map is read block by block, here and in the methods below.

        Raises RuntimeError if unfitted or if numbers overflow, like the methods below; TypeError or ValueError if X is
        not (n, d) finite numbers.
        """
        network: Sequential = self._learned("network_")
        f = network.layers[0] if len(network.layers) == 2 else Sequential(*network.layers[:-1])
        X = self._table(X, keep_memmap=True, finite=False)
        return predict_in_batches(f.forward, X, self._dtype, type(self).__name__, f)

    def decode(self, Z: ArrayLike) -> Array:
        """x_hat = g(z), shape (n, d); with BCE its sigmoid, the probability of each element.

        Raises RuntimeError if unfitted; TypeError or ValueError if Z is not (n, latent_dim) finite numbers.
        """
        decoder: Sequential = self._learned("decoder_")
        caller, loss, dtype = type(self).__name__, self.loss_, self._dtype
        Z = as_table(Z, caller, name="Z", width=self._n_features_out, dtype=dtype, keep_memmap=True, finite=False)
        return predict_in_batches(
            lambda z: loss.inverse_link(decoder.forward(z)), Z, dtype, caller, decoder, loss, name="Z"
        )

    def reconstruct(self, X: ArrayLike) -> Array:
        """x_hat = decode(encode(x)) for every row of X (n, d), in one pass.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers.
        """
        network: Sequential = self._learned("network_")
        X, loss = self._table(X, keep_memmap=True, finite=False), self.loss_
        return predict_in_batches(
            lambda x: loss.inverse_link(network.forward(x)), X, self._dtype, type(self).__name__, network, loss
        )

    def score(self, X: ArrayLike, y: Any = None, *, sample_weight: ArrayLike | None = None) -> float:
        """Minus the loss between X (n, d) and its reconstruction: higher is better. `y` is ignored.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not (n, d) finite numbers in the loss's range.
        """
        network: Sequential = self._learned("network_")
        X, caller = self._table(X, keep_memmap=True), type(self).__name__
        self.loss_.check_target(X)
        weight = None if sample_weight is None else normalized_weights(sample_weight, len(X), caller)
        return -check_finite(evaluate(network, self.loss_, X, X, weight), caller)

    def score_samples(self, X: ArrayLike) -> Array:
        """Minus the loss between each row of X and its reconstruction, (n,) in float64. Raises as `score` does."""
        network: Sequential = self._learned("network_")
        X = self._table(X, keep_memmap=True)
        self.loss_.check_target(X)
        return -check_finite(losses_by_row(network, self.loss_, X, X), type(self).__name__)

    def objective(self, X: ArrayLike, rng: RandomState = None) -> Objective:
        """The L that fit minimises on X, in parts: for `check_gradients` and for your own training loop.

        `rng` draws the noise of the inputs and of the code. With a penalty or a stochastic code the network is a
        `fitting.objective.Regularised`, which is its own loss.

        Raises RuntimeError if unfitted; TypeError or ValueError if X is not as in fit.
        """
        network: Sequential = self._learned("network_")
        X, corruption, penalty = self._table(X), self._corruption(), self._penalty()
        self.loss_.check_target(X)
        rng = as_generator(rng, type(self).__name__)
        inputs = X if corruption is None else corrupt(corruption, X, rng)
        if penalty is None and len(network.layers) == 2:
            return Objective(network, self.loss_, inputs, X)
        whole = Regularised(network, self.loss_, penalty, rng)
        return Objective(whole, whole, inputs, X)

    def _export(self, path: str, X: ArrayLike | None, page: dict[str, Any] | None) -> None:
        if page is not None:
            return export_page(path, self, X, **page)
        return export_network(path, self.network_, self.loss_, denoises=self._corruption() is not None)

    def _formulas(self) -> Formulas:
        return network_formulas(self.network_, self.loss_, self._corruption())

    def _after_load(self) -> None:
        self._set_state(self.training_)
        tie(self.encoder_, self.decoder_)
        if isinstance(self.encoder, Sequential) and isinstance(self.decoder, Sequential):
            tie(self.encoder, self.decoder)

    def _loss(self, rows: Array | None = None) -> Loss:
        """The loss of a fit, which may depend on some of the rows."""
        return resolve(self.loss, Loss, LOSSES, type(self).__name__, "loss")

    def _corruption(self) -> Corruption | None:
        return None

    def _code(self) -> Layer | None:
        return None

    def _penalty(self) -> Penalty | None:
        return None

    def _tied(self) -> bool:
        return False

    def _limits_code(self) -> bool:
        """Whether anything besides its size keeps the code from copying x: else fit warns if the code is wide."""
        limits = isinstance(self._code(), StochasticLayer | TopK)
        return limits or self._corruption() is not None or self._penalty() is not None

    @property
    def _n_features_out(self) -> int:
        return self.decoder_.n_in or self.encoder_.n_out or self.n_features_in_  # layers without a width keep that of X

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self.network_.dtype


@dataclass(eq=False, repr=False)
class AE(Autoencoder):
    """Autoencoder: z = f(x), x_hat = g(z), trained so that x_hat is close to x.

    f is Dense layers of the widths d, *hidden, latent_dim with an activation between them. g is its mirror image. The
    code is linear by default. With `hidden=()` and MSE this is a linear autoencoder, which converges to PCA's subspace.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers, from the data to the code.
    latent_dim : int
        k, the size of the code.
    activation : "relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear" or Activation
        Between the layers.
    output : "linear", "sigmoid", "tanh", ... or Activation
        After the last layer. BCE applies the sigmoid itself, so with BCE "linear" and "sigmoid" mean the same, and
        nothing else is allowed.
    loss : "mse", "bce" or Loss
        BCE and SSIM need data in [0, 1].
    optimizer : "adam", "sgd" or Optimizer
        An object sets the learning rate: `Adam(Cosine(3e-3))`.
    epochs, batch_size : int
        Passes over the data (0 leaves the initial network), rows per step.
    patience : int or None
        Early stopping: stop after so many epochs without a lower validation loss, and restore the best weights
        (Prechelt, 1998, "Early stopping - but when?"). It needs `validation_fraction`, or `validation` in fit.
    validation_fraction : float or None
        A share of the rows, in (0, 1), that fit holds out and validates on, with their weights if there are any. The
        seed decides which: the same for the same number of rows, so resuming holds out the same again. They are copied
        into memory. In a Pipeline they pass through the steps before, such as a scaler.
    code : "linear", "sigmoid", ..., or a layer
        After the last layer of f: an activation, `TopK(k)`, `WinnerTakeAll(rate)`, `NestedDropout()` (see `codes`).
    penalty : "l1", "kl", "contractive", Penalty or None
        Ω(z, f), which training adds to the loss (see `penalties`). `score` leaves it out.
    tied : bool
        The decoder uses the encoder's weights, transposed (see `tied`).
    encoder, decoder : Sequential, optional
        Your own networks, both or none, instead of `hidden`, `latent_dim`, `activation`, `output` and `tied`. fit
        trains copies of them, starting from their weights.
    dtype : float32, float64 or None
        None keeps the dtype of X (float32 for small integers) or of your own networks.
    random_state : int, Generator or None
        Fixes initial weights, shuffling and noise: the same seed gives the same bits.
    verbose : bool or None
        True prints each epoch, False prints nothing, None prints on a terminal only.

    Attributes
    ----------
    encoder_, decoder_ : Sequential
        f and g. With BCE, g returns logits, and `decode` their sigmoid.
    network_ : Sequential
        g(f(x)).
    loss_ : Loss
    history_ : History
    training_ : TrainingState
        Everything that `partial_fit` and `resume` continue from.
    n_features_in_ : int
        d.
    feature_names_in_ : array (d,) of str
        The column names of X, if X is a DataFrame that has them.

    Example
    -------
    >>> import npae, numpy as np
    >>> t = np.linspace(0, 6, 200)
    >>> X = np.stack([np.cos(t), np.sin(t), t / 6], axis=1)     # a curve in space: one number a point
    >>> ae = npae.AE(hidden=(32,), latent_dim=1, activation="tanh", optimizer=npae.Adam(0.01), epochs=100,
    ...              batch_size=20, random_state=0).fit(X)
    >>> ae.encode(X).shape, ae.reconstruct(X).shape
    ((200, 1), (200, 3))
    >>> ae.score(X) > -0.002, npae.PCA(1).fit(X).score(X) > -0.1   # a straight line cannot follow the curve
    (True, False)
    """

    _: KW_ONLY
    code: str | Layer = "linear"
    penalty: str | Penalty | None = None
    tied: bool = False

    def _code(self) -> Layer:
        if isinstance(self.code, Layer):
            return self.code
        return resolve(self.code, Activation, ACTIVATIONS, type(self).__name__, "code")

    def _penalty(self) -> Penalty | None:
        if self.penalty is None:
            return None
        return resolve(self.penalty, Penalty, PENALTIES, type(self).__name__, "penalty")

    def _tied(self) -> bool:
        return as_flag(self.tied, type(self).__name__, "tied")
