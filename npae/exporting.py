"""Exporting: a trained model as one Python file, to be read, and run where there is NumPy but no npae.

Once it is trained, an autoencoder is a few lines: a product, a sum and a bend for each layer. `export_network` writes
these lines out, and below them the numbers that they use:

    def encode(X):
        x = rows(X, "X", 784)
        x = relu(x @ W1 + b1)
        return x @ W2 + b2

The formulas are those of `kernels/numpy_backend.py`, in the dtype of the network.
"""

from __future__ import annotations

import base64
import os
import textwrap
from collections.abc import Iterator

from npae.activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.arrays import Array
from npae.estimator.arguments import as_path
from npae.files import write_whole
from npae.layers import Dense, Layer, Sequential
from npae.losses import BCE, Loss

_COLUMNS = 100

_TOP = '''"""{what}, trained with npae and written out: this file needs NumPy alone.

    import {module}

    Z = {module}.encode(X)  # (n, {d}) -> (n, {k})
    X_hat = {module}.decode(Z)  # (n, {k}) -> (n, {d})

{shape}

X holds one example a row, scaled as the data it was trained on. It computes in {dtype}.
"""

import base64

import numpy as np


def encode(X):
    """The codes (n, {k}) of the rows of X (n, {d})."""
{encode}


def decode(Z):
    """The reconstructions (n, {d}) of the codes Z (n, {k})."""
{decode}


def reconstruct(X):
    """X (n, {d}), encoded and decoded."""
    return decode(encode(X))
'''

_DENOISE = '''

def denoise(X_noisy):
    """The clean rows that X_noisy (n, {d}) seems to show."""
    return reconstruct(X_noisy)
'''

_ROWS = '''

def rows(X, name, width):
    """X as an array of {dtype}, once its shape is known to be (n, width)."""
    X = np.array(X, dtype=np.{dtype})
    if X.ndim != 2 or X.shape[1] != width:
        got = f"got {{X.shape}}: pass one example a row."
        raise ValueError(f"expected {{name}} of shape (n, {{width}}), {{got}}")
    return X
'''

_FUNCTIONS = {
    ReLU: '''

def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)
''',
    LeakyReLU: '''

def leaky_relu(x, slope):
    """x where x > 0, else slope * x."""
    return np.where(x > 0, x, slope * x)
''',
    ELU: '''

def elu(x, alpha):
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
''',
    Sigmoid: '''

def sigmoid(x):
    """1 / (1 + exp(-x)), with the exponential taken of -|x| so that it cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)
''',
}

_NUMBERS = '''

# The weights: base64 of {dtype}, little-endian.
WEIGHTS = """
{text}
"""
numbers = np.frombuffer(base64.b64decode(WEIGHTS), "{descr}")
{names}
'''


def export_network(path: str | os.PathLike[str], network: Sequential, loss: Loss, *, denoises: bool) -> None:
    """Write z = f(x) and x_hat = g(z), the loss's link included, to `path`; `network` is Sequential(f, g).

    Raises
    ------
    TypeError, ValueError
        If a layer is not one of npae's, the loss has a link of its own, or `path` is none.
    OSError
        If the file cannot be written; a file that stood there is then untouched.
    """
    path = as_path(path, "export")
    link: list[Layer] = [Sigmoid()] if type(loss).link is BCE.link else []
    if not link and type(loss).link is not Loss.link:
        raise TypeError(
            f"export expected a loss whose link is that of MSE or BCE, got {loss!r}: "
            "train with one of these, or keep the model with pickle."
        )
    encoder, decoder = network.layers
    f, g = list(_leaves(encoder)), [*_leaves(decoder), *link]
    arrays: dict[str, Array] = {}
    d, k = network.n_in, decoder.n_in or encoder.n_out
    encode = _body(f, f'rows(X, "X", {d})', arrays)
    decode = _body(g, f'rows(Z, "Z", {k})', arrays)
    functions = [source for kind, source in _FUNCTIONS.items() if kind in {type(layer) for layer in f + g}]
    _write(
        path,
        [*([_DENOISE] if denoises else []), _ROWS, *functions],
        arrays,
        what="A denoising autoencoder" if denoises else "An autoencoder",
        shape="\n".join(_listed("z", f) + _listed("x_hat", g)),
        encode=encode,
        decode=decode,
        d=d,
        k=k,
    )


def export_pca(path: str | os.PathLike[str], mean: Array, V: Array) -> None:
    """Write z = (x - mean) Vᵀ and x_hat = z V + mean to `path`.

    Raises TypeError or ValueError if `path` is none, OSError if the file cannot be written; a file that stood there is
    then untouched.
    """
    path = as_path(path, "export")
    k, d = V.shape
    _write(
        path,
        [_ROWS],
        {"V": V, "mean": mean},
        what="A principal component analysis",
        shape="    z     (x - mean) V.T\n    x_hat z V + mean",
        encode=f'    return (rows(X, "X", {d}) - mean) @ V.T',
        decode=f'    return rows(Z, "Z", {k}) @ V + mean',
        d=d,
        k=k,
    )


def _leaves(layer: Layer) -> Iterator[Layer]:
    """The layers in the order in which they are applied, once they are known to be npae's own."""
    if type(layer) is Sequential:
        for inner in layer.layers:
            yield from _leaves(inner)
    elif type(layer) in (Dense, Tanh, Identity, *_FUNCTIONS):
        yield layer
    else:
        raise TypeError(
            f"export expected layers of npae's own, whose formulas it knows, got a {type(layer).__name__}: "
            "keep a model with layers of yours with pickle."
        )


def _body(layers: list[Layer], x: str, arrays: dict[str, Array]) -> str:
    """The lines of a function that applies the layers to x; their weights go into `arrays`."""
    lines, y = [f"x = {x}"], "x"
    for layer in layers:
        if isinstance(layer, Dense):
            if y != "x":
                lines.append(f"x = {y}")
            i = len(arrays) // 2 + 1
            arrays[f"W{i}"], arrays[f"b{i}"] = layer.W.value, layer.b.value
            y = f"x @ W{i} + b{i}"
        elif isinstance(layer, LeakyReLU):
            y = f"leaky_relu({y}, {float(layer.slope)!r})"
        elif isinstance(layer, ELU):
            y = f"elu({y}, {float(layer.alpha)!r})"
        elif not isinstance(layer, Identity):
            y = f"{'np.tanh' if isinstance(layer, Tanh) else type(layer).__name__.lower()}({y})"
    return textwrap.indent("\n".join([*lines, f"return {y}"]), "    ")


def _listed(name: str, layers: list[Layer]) -> list[str]:
    """The layers in words, between two margins."""
    start = f"    {name:<6}"
    return textwrap.wrap(", ".join(map(repr, layers)), 88, initial_indent=start, subsequent_indent=" " * len(start))


def _write(path: str, functions: list[str], arrays: dict[str, Array], **parts: object) -> None:
    """Fill the templates in."""
    stem = os.path.splitext(os.path.basename(path))[0]
    dtype = next(iter(arrays.values())).dtype
    numbers = b"".join(a.astype(dtype.newbyteorder("<")).tobytes() for a in arrays.values())
    text = base64.b64encode(numbers).decode("ascii")
    names, first = [], 0
    for name, a in arrays.items():
        shape = f".reshape{a.shape}" if a.ndim > 1 else ""
        names.append(f"{name} = numbers[{first}:{first + a.size}]{shape}")
        first += a.size
    source = "".join([_TOP, *functions, _NUMBERS]).format(
        **parts,
        module=stem if stem.isidentifier() and stem.isascii() else "model",
        dtype=dtype.name,
        descr=dtype.newbyteorder("<").str,
        text="\n".join(text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)),
        names="\n".join(names),
    )
    write_whole(path, lambda stream: stream.write(source.encode("utf-8")))
