"""The usual shape of an autoencoder: widths that narrow to the code, and their mirror image.

    encoder   d -> hidden... -> latent_dim         decoder   latent_dim -> ...hidden -> d

with an activation between the layers, a linear code, and whatever the data want at the output (Hinton and
Salakhutdinov, 2006, figure 1).

Next: `training.py` teaches such a network, `autoencoder.py` puts both together.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npae.activations import ACTIVATIONS, Activation, Identity
from npae.estimator.arguments import as_count, resolve
from npae.layers import Dense, Layer, Sequential


def mirrored(
    n_features: int,
    hidden: Iterable[int] | int,
    latent_dim: int,
    activation: str | Activation,
    output: str | Activation,
    *,
    dtype: DTypeLike,
    rng: np.random.Generator,
    caller: str = "mirrored",
) -> Sequential:
    """Sequential(encoder, decoder) for data of `n_features` columns.

    Raises TypeError or ValueError if a width is not a whole number >= 1 or an activation is unknown.

    Example
    -------
    >>> import numpy as np
    >>> mirrored(784, (128,), 32, "relu", "sigmoid", dtype=np.float32, rng=np.random.default_rng(0)).layers[1]
    Sequential(Dense(32, 128), ReLU(), Dense(128, 784), Sigmoid())
    """
    if isinstance(hidden, Iterator):  # the next fit would find it empty
        raise TypeError(f"{caller} expected hidden as widths to keep, got {hidden!r}: pass a tuple.")
    inner: Any = hidden if isinstance(hidden, Iterable) else (hidden,)
    widths = [n_features, *(as_count(h, caller, "each width in hidden") for h in inner)]
    widths.append(as_count(latent_dim, caller, "latent_dim"))
    between = resolve(activation, Activation, ACTIVATIONS, caller, "activation")
    last = resolve(output, Activation, ACTIVATIONS, caller, "output")
    encoder = _stack(widths, between, dtype, rng)
    decoder = _stack(widths[::-1], between, dtype, rng)
    if not isinstance(last, Identity):
        decoder.append(copy.deepcopy(last))
    return Sequential(Sequential(*encoder), Sequential(*decoder))


def copied(encoder: Any, decoder: Any, n_features: int, *, dtype: DTypeLike, caller: str = "copied") -> Sequential:
    """Sequential(encoder, decoder) of copies in the given dtype, once the two are known to fit the data.

    Raises TypeError or ValueError if they are not two `Sequential`s, or do not fit.
    """
    if not (isinstance(encoder, Sequential) and isinstance(decoder, Sequential)):
        raise TypeError(
            f"{caller} expected encoder and decoder both as Sequential, got {encoder!r} and {decoder!r}: "
            "pass both or none."
        )
    network = Sequential(*copy.deepcopy((encoder, decoder)))
    if network.n_out not in (n_features, None):
        raise ValueError(
            f"{caller} expected a decoder that returns the {n_features} columns of X, got {decoder!r} with "
            f"{network.n_out} outputs: make its last width {n_features}."
        )
    if not network.parameters():
        raise ValueError(f"{caller} expected layers that learn, got {network!r}: put a Dense into it.")
    for p in network.parameters():
        p.value, p.grad = p.value.astype(dtype), p.grad.astype(dtype)
    return network


def _stack(widths: Sequence[int], between: Activation, dtype: DTypeLike, rng: np.random.Generator) -> list[Layer]:
    """Dense layers of the given widths with `between` after each but the last."""
    layers: list[Layer] = []
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [Dense(n_in, n_out, init=between.init, dtype=dtype, rng=rng), copy.deepcopy(between)]
    return [*layers, Dense(widths[-2], widths[-1], dtype=dtype, rng=rng)]
