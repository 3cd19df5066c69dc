"""The network that a fit trains: encoder and decoder, new or copied from the user's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npae.activations import ACTIVATIONS, Activation, Identity, Sigmoid
from npae.codes import StochasticLayer
from npae.estimator.arguments import as_count, resolve
from npae.layers import Dense, Layer, Sequential, all_layers
from npae.losses import BCE, Loss
from npae.tied import TiedDense, tie


def build_network(model: Any, d: int, dtype: DTypeLike, loss: Loss, rng: np.random.Generator) -> Sequential:
    """Sequential(encoder, decoder) for d columns, as the model's arguments say; a stochastic code stands between them.

    Raises TypeError or ValueError if an argument is out of range, or the network does not fit the data or the loss.
    """
    caller, code = type(model).__name__, copy.deepcopy(model._code())
    if model.encoder is not None or model.decoder is not None:
        network = copy_networks(model.encoder, model.decoder, d, dtype, caller, code)
    else:
        between = resolve(model.activation, Activation, ACTIVATIONS, caller, "activation")
        output = resolve(model.output, Activation, ACTIVATIONS, caller, "output")
        if isinstance(loss, BCE) and isinstance(output, Sigmoid):
            output = Identity()  # the loss applies the sigmoid
        if isinstance(model.hidden, Iterator):  # the next fit would find it empty
            raise TypeError(f"{caller} expected hidden as widths to keep, got {model.hidden!r}: pass a tuple.")
        hidden = model.hidden if isinstance(model.hidden, Iterable) else (model.hidden,)
        widths = [d, *(as_count(h, caller, "each width in hidden") for h in hidden)]
        widths.append(as_count(model.latent_dim, caller, "latent_dim"))
        network = build_autoencoder(widths, between, output, dtype, rng, code=code, tied=model._tied())
    *_, last = all_layers(network)
    if isinstance(loss, BCE) and isinstance(last, Activation) and not isinstance(last, Identity):
        raise ValueError(
            f"{caller} expected a network that ends in logits for BCE, which applies the sigmoid itself, got one "
            f"that ends in {last!r}: leave that out, or choose another loss."
        )
    return network


def build_autoencoder(
    widths: Sequence[int],
    between: Activation,
    output: Activation,
    dtype: DTypeLike,
    rng: np.random.Generator,
    *,
    code: Layer | None = None,
    tied: bool = False,
) -> Sequential:
    """Sequential(encoder, decoder): Dense layers of the given widths down to the code, and their mirror image.

    `between` follows each Dense but the last of each half, so the code is linear unless `code` is another layer.
    `output` comes at the end. If `tied`, the decoder's weights are those of the encoder.

    Source: Hinton and Salakhutdinov, 2006, figure 1.

    Example
    -------
    >>> from npae import ReLU
    >>> build_autoencoder([784, 128, 32], ReLU(), Sigmoid(), np.float32, np.random.default_rng(0)).layers[1]
    Sequential(Dense(32, 128), ReLU(), Dense(128, 784), Sigmoid())
    """
    code = Identity() if code is None else code

    def new(n_in: int, n_out: int, init: str) -> Layer:
        return Dense(n_in, n_out, init=init, dtype=dtype, rng=rng)

    def mirrored(n_in: int, n_out: int, init: str) -> Layer:
        return TiedDense(n_in, n_out, dtype=dtype)

    def half(widths: Sequence[int], dense: Callable[[int, int, str], Layer], last: str = "glorot") -> list[Layer]:
        layers: list[Layer] = []
        for n_in, n_out in pairwise(widths[:-1]):
            layers += [dense(n_in, n_out, between.init), copy.deepcopy(between)]
        return [*layers, dense(widths[-2], widths[-1], last)]

    encoder = half([*widths[:-1], code.n_in or widths[-1]], new, getattr(code, "init", "glorot"))
    decoder = half(widths[::-1], mirrored if tied else new)
    if not isinstance(output, Identity):
        decoder.append(copy.deepcopy(output))
    return _joined(Sequential(*encoder), code, Sequential(*decoder))


def _joined(encoder: Sequential, code: Layer, decoder: Sequential) -> Sequential:
    """Encoder and decoder in one network, tied. A stochastic code stands between them, any other ends the encoder."""
    tie(encoder, decoder)
    if isinstance(code, StochasticLayer):
        return Sequential(encoder, code, decoder)
    return Sequential(encoder if isinstance(code, Identity) else Sequential(*encoder.layers, code), decoder)


def copy_networks(
    encoder: Any, decoder: Any, d: int, dtype: DTypeLike, caller: str, code: Layer | None = None
) -> Sequential:
    """Sequential(encoder, decoder) of copies in the given dtype. Raises TypeError or ValueError if they do not fit."""
    if not (isinstance(encoder, Sequential) and isinstance(decoder, Sequential)):
        raise TypeError(
            f"{caller} expected encoder and decoder both as Sequential, got {encoder!r} and {decoder!r}: "
            "pass both or none."
        )
    encoder, decoder = copy.deepcopy((encoder, decoder))
    network = _joined(encoder, Identity() if code is None else code, decoder)
    if network.n_out not in (d, None):
        raise ValueError(
            f"{caller} expected a decoder that returns the {d} columns of X, got {decoder!r} with "
            f"{network.n_out} outputs: make its last width {d}."
        )
    if not network.parameters():
        raise ValueError(f"{caller} expected layers that learn, got {network!r}: put a Dense into it.")
    for p in network.parameters():
        p.value, p.grad = p.value.astype(dtype), p.grad.astype(dtype)
    return network
