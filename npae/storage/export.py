"""Exporting: a trained model as one Python file, which needs NumPy but not npae.

A trained autoencoder is a few lines: a product, a sum and an activation for each layer. `export_network` writes
these lines, and the weights below them:

    def encode(X):
        x = rows(X, "X", 784)
        x = x @ W1 + b1
        x = np.maximum(x, 0)
        x = x @ W2 + b2
        return x
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

from npae.activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.codes import GaussianCode, NestedDropout, TopK, WinnerTakeAll
from npae.estimator.arguments import as_path
from npae.kernels.arrays import Array
from npae.layers import Dense, Layer, Sequential
from npae.losses import BCE, Loss
from npae.storage.files import atomic_write
from npae.tied import TiedDense

_FORMULAS: dict[type[Layer], list[str]] = {
    ReLU: ["x = np.maximum(x, 0)"],
    LeakyReLU: ["x = np.where(x > 0, x, {0.slope!r} * x)"],
    ELU: ["x = np.where(x > 0, x, {0.alpha!r} * np.expm1(np.minimum(x, 0)))"],
    Sigmoid: ["e = np.exp(-np.abs(x))  # cannot overflow", "x = np.where(x > 0, 1, e) / (1 + e)"],
    Tanh: ["x = np.tanh(x)"],
    Identity: [],
    TopK: [
        "kept = np.argsort(-x, axis=1, kind='stable')[:, :{0.k}]",
        "y = np.zeros_like(x)",
        "np.put_along_axis(y, kept, np.take_along_axis(x, kept, axis=1), axis=1)",
        "x = y",
    ],
    WinnerTakeAll: ["x = np.maximum(x, 0)"],
    NestedDropout: [],
    GaussianCode: ["x = x[:, :{0.k}]  # the mean"],
}

_FILE = '''"""{title}, trained with npae and exported: this file needs NumPy alone.

    import {module}

    Z = {module}.encode(X)  # (n, {d}) -> (n, {k})
    X_hat = {module}.decode(Z)  # (n, {k}) -> (n, {d})

X holds one example a row, scaled as the training data. All functions compute in {dtype}.
"""

import base64

import numpy as np


def encode(X):
    """The codes (n, {k}) of the rows of X (n, {d})."""
    x = rows(X, "X", {d})
{encode}


def decode(Z):
    """The reconstructions (n, {d}) of the codes Z (n, {k})."""
    x = rows(Z, "Z", {k})
{decode}


def reconstruct(X):
    """X (n, {d}), encoded and decoded."""
    return decode(encode(X))
{denoise}

def rows(X, name, width):
    """A copy of X in {dtype}, once its shape is known to be (n, width)."""
    X = np.array(X, dtype=np.{dtype})
    if X.ndim != 2 or X.shape[1] != width:
        got = f"got {{X.shape}}: pass one example a row."
        raise ValueError(f"expected {{name}} of shape (n, {{width}}), {{got}}")
    return X


# The weights: base64 of {dtype}, little-endian.
WEIGHTS = """
{text}"""
numbers = np.frombuffer(base64.b64decode(WEIGHTS), "{descr}")
{names}
'''

_DENOISE = '''

def denoise(X_noisy):
    """The reconstructions of the noisy rows of X_noisy (n, {d})."""
    return reconstruct(X_noisy)
'''


def export_network(path: str | os.PathLike[str], network: Sequential, loss: Loss, *, denoises: bool) -> None:
    """Write z = f(x) and x_hat = g(z), through the loss's output function, to `path`; `network` is Sequential(f, g).

    Raises
    ------
    TypeError, ValueError
        If a layer or the loss's output function is not one of npae's, or `path` does not name a file.
    OSError
        If the file cannot be written. An older file at `path` is kept.
    """
    path, (f, g) = as_path(path, "export"), halves(network, loss)
    encoder, *_, decoder = network.layers
    d, k = network.n_in, decoder.n_in or encoder.n_out
    arrays: dict[str, Array] = {}
    _write(
        path, arrays, d=d, k=k, encode=_body(f, arrays), decode=_body(g, arrays),
        title="A denoising autoencoder" if denoises else "An autoencoder",
        denoise=_DENOISE.format(d=d) if denoises else "",
    )  # fmt: skip


def export_pca(path: str | os.PathLike[str], mean: Array, V: Array) -> None:
    """Write z = (x - mean) Vᵀ and x_hat = z V + mean to `path`.

    Raises TypeError or ValueError if `path` does not name a file, OSError if it cannot be written.
    """
    _write(
        as_path(path, "export"), {"V": V, "mean": mean}, d=V.shape[1], k=V.shape[0],
        encode="    return (x - mean) @ V.T", decode="    return x @ V + mean",
        title="A principal component analysis", denoise="",
    )  # fmt: skip


def halves(network: Sequential, loss: Loss) -> tuple[list[Layer], list[Layer]]:
    """The layers of z = f(x) and those of x_hat = g(z), of which the last is the loss's output function.

    Raises TypeError if a layer or the output function is not one of npae's.
    """
    link = type(loss).inverse_link
    if link not in (Loss.inverse_link, BCE.inverse_link):
        raise TypeError(
            f"export expected a loss whose inverse_link is that of MSE or BCE, got {loss!r}: "
            "train with one of these, or keep the model with pickle."
        )
    *encoder, decoder = network.layers
    f = [leaf for layer in encoder for leaf in _leaves(layer)]
    return f, [*_leaves(decoder), *([Sigmoid()] if link is BCE.inverse_link else [])]


def _leaves(layer: Layer) -> Iterator[Layer]:
    """The layers in the order of the forward pass, all of them npae's own."""
    if type(layer) is Sequential:
        for inner in layer.layers:
            yield from _leaves(inner)
    elif type(layer) in (Dense, TiedDense) or type(layer) in _FORMULAS:
        yield layer
    else:
        raise TypeError(
            f"export expected layers of npae's own, whose formulas it knows, got a {type(layer).__name__}: "
            "keep a model with other layers with pickle."
        )


def _body(layers: list[Layer], arrays: dict[str, Array]) -> str:
    """The lines that apply the layers to x; their weights are added to `arrays`."""
    lines = []
    for layer in layers:
        if isinstance(layer, Dense | TiedDense):
            i = sum(name.startswith("b") for name in arrays) + 1
            W = f"W{i}"
            if isinstance(layer, TiedDense):
                W = next(name for name, a in arrays.items() if a is layer.W.value) + ".T"
            else:
                arrays[W] = layer.W.value
            arrays[f"b{i}"] = layer.b.value
            lines.append(f"x = x @ {W} + b{i}")
        else:
            lines += [line.format(layer) for line in _FORMULAS[type(layer)]]
    return "\n".join(f"    {line}" for line in [*lines, "return x"])


def _write(path: str, arrays: dict[str, Array], **parts: Any) -> None:
    """Fill in the template."""
    stem = os.path.splitext(os.path.basename(path))[0]
    dtype = next(iter(arrays.values())).dtype
    little = dtype.newbyteorder("<")
    text = base64.encodebytes(b"".join(a.astype(little).tobytes() for a in arrays.values())).decode("ascii")
    names, first = [], 0
    for name, a in arrays.items():
        names.append(f"{name} = numbers[{first}:{first + a.size}]" + (f".reshape{a.shape}" if a.ndim > 1 else ""))
        first += a.size
    source = _FILE.format(
        **parts, dtype=dtype.name, descr=little.str, names="\n".join(names), text=text,
        module=stem if stem.isidentifier() and stem.isascii() else "model",
    )  # fmt: skip
    atomic_write(path, lambda stream: stream.write(source.encode("utf-8")))
