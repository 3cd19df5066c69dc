"""Greedy pretraining: a deep autoencoder learned layer by layer, then trained as a whole.

A deep network with poor initial weights may hardly learn: its gradients shrink, or point nowhere, on their way down.
Each layer alone is a shallow autoencoder, which is easy to train:

    h_0 = x         h_l = s(h_(l-1) W_l + b_l)         layer l must give back h_(l-1) from h_l

The encoders of all layers, one after the other, and their decoders in the opposite order make a deep autoencoder that
already reconstructs. Training it as a whole from there is fine-tuning. With today's activations and initial weights
many networks no longer need it. For the one in the first paper below it made the difference, and still does if its
units are logistic: `demos/published.py pretraining` measures that, and what it costs with ELUs.

Sources: Hinton and Salakhutdinov, 2006, "Reducing the dimensionality of data with neural networks"; Vincent,
Larochelle, Lajoie, Bengio and Manzagol, 2010, "Stacked denoising autoencoders", section 3.4.

Next: `pca.py`, the linear special case, solved without training.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import Any

from npae.autoencoder import AE
from npae.estimator.arguments import as_generator
from npae.estimator.validation import as_table
from npae.kernels.arrays import ArrayLike
from npae.layers import Layer, Sequential


def pretrain(model: AE, X: ArrayLike, **fit_options: Any) -> tuple[Sequential, Sequential]:
    """Train the layers of an unfitted `AE` or `DAE` one by one on X (n, d); return (encoder, decoder).

    The model says how: its widths, activation, loss, optimizer, epochs (of each layer), batch_size, random_state, and
    for a `DAE` its corruption, which here disturbs the input of each layer. The first layer reconstructs x under the
    model's loss and output, the others reconstruct the layer below under the squared error. The model is not changed.

    Parameters
    ----------
    model : AE or DAE
        Its code and penalty take part in the training of the last layer alone.
    X : array (n, d) or memory map
    **fit_options
        Passed to each layer's fit: sample_weight.

    Returns
    -------
    encoder, decoder : Sequential
        For `AE(encoder=encoder, decoder=decoder)`, whose fit starts from their weights.

    Raises
    ------
    TypeError, ValueError
        If the model is no `AE` or brings its own networks; or as its fit would.

    Example
    -------
    >>> import npae, numpy as np
    >>> X = np.random.default_rng(0).random((100, 6))
    >>> encoder, decoder = pretrain(npae.AE(hidden=(5, 4), latent_dim=2, epochs=3, random_state=0), X)
    >>> encoder
    Sequential(Dense(6, 5), ReLU(), Dense(5, 4), ReLU(), Dense(4, 2))
    >>> ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1, random_state=0).fit(X)
    """
    if not isinstance(model, AE) or model.encoder is not None or model.decoder is not None:
        raise TypeError(
            f"pretrain expected an AE or a DAE without networks of its own, got {model!r}: pass one with `hidden` and "
            "`latent_dim`."
        )
    H = as_table(X, "pretrain", keep_memmap=True)
    widths = [*(model.hidden if isinstance(model.hidden, Iterable) else (model.hidden,)), model.latent_dim]
    rngs = as_generator(model.random_state, "pretrain").spawn(len(widths))
    below: dict[str, Any] = {"code": model.activation, "penalty": None}  # the layers whose h is the x of the next
    above: dict[str, Any] = {"output": model.activation, "loss": "mse"}  # the layers that reconstruct such an h
    encoder: list[Layer] = []
    decoder: list[Layer] = []
    for i, (width, rng) in enumerate(zip(widths, rngs, strict=True)):
        options = (below if i + 1 < len(widths) else {}) | (above if i > 0 else {})
        layer = copy.copy(model).set_params(hidden=(), latent_dim=width, random_state=rng, **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* expected (a code smaller|columns of about)")  # the model's fit tells
            layer.fit(H, **fit_options)
        encoder, decoder = [*encoder, *layer.encoder_.layers], [*layer.decoder_.layers, *decoder]
        H = layer.encode(H)
    copied_encoder, copied_decoder = copy.deepcopy((Sequential(*encoder), Sequential(*decoder)))
    return copied_encoder, copied_decoder
