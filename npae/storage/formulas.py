"""Formulas: a model as two lists of steps, z = f(x) and x_hat = g(z), which a page in a browser can follow.

A step is a formula's name and its values, such as {"step": "dense", "W": W, "b": b} for y = x W + b. `explorer.js` has
a function of the same name for each. Arrays in a step are those of the model, not copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from npae.activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.codes import GaussianCode, NestedDropout, TopK, WinnerTakeAll
from npae.corruptions import Corruption, GaussianNoise, MaskingNoise, SaltAndPepper
from npae.kernels.arrays import Array
from npae.layers import Dense, Layer, Sequential
from npae.losses import Loss
from npae.storage.export import halves
from npae.tied import TiedDense

Step: TypeAlias = "dict[str, Any]"

_STEPS: dict[type[Layer], Callable[[Any], list[Step]]] = {
    Dense: lambda layer: [{"step": "dense", "W": layer.W.value, "b": layer.b.value}],
    TiedDense: lambda layer: [{"step": "tied", "W": layer.W.value, "b": layer.b.value}],
    ReLU: lambda layer: [{"step": "relu"}],
    LeakyReLU: lambda layer: [{"step": "leaky_relu", "slope": layer.slope}],
    ELU: lambda layer: [{"step": "elu", "alpha": layer.alpha}],
    Sigmoid: lambda layer: [{"step": "sigmoid"}],
    Tanh: lambda layer: [{"step": "tanh"}],
    Identity: lambda layer: [],
    TopK: lambda layer: [{"step": "top_k", "k": layer.k}],
    WinnerTakeAll: lambda layer: [{"step": "relu"}],
    NestedDropout: lambda layer: [],
    GaussianCode: lambda layer: [{"step": "mean", "k": layer.k}],
}


@dataclass
class Formulas:
    """z = f(x) and x_hat = g(z), and what else a page must know of a model.

    `noise` is the corruption that f was trained with, if it is one of npae's; `samples` says whether codes from N(0, I)
    mean anything.
    """

    title: str
    f: list[Step]
    g: list[Step]
    noise: dict[str, Any] | None = None
    samples: bool = False

    def matrices(self) -> list[Array]:
        """Each W (n_in, n_out) once."""
        found = {id(step["W"]): step["W"] for step in self.f + self.g if "W" in step}
        return list(found.values())


def network_formulas(network: Sequential, loss: Loss, corruption: Corruption | None) -> Formulas:
    """The steps of Sequential(f, g), or of Sequential(f, code, g), and of the loss's output function.

    Raises TypeError if a layer or the output function is not one of npae's.
    """
    f, g = halves(network, loss)
    samples = any(isinstance(layer, GaussianCode) for layer in f)
    title = "A variational autoencoder" if samples else "An autoencoder"
    return Formulas(
        title if corruption is None else "A denoising autoencoder",
        [step for layer in f for step in _STEPS[type(layer)](layer)],
        [step for layer in g for step in _STEPS[type(layer)](layer)],
        None if corruption is None else noise_of(corruption),
        samples,
    )


def pca_formulas(mean: Array, V: Array) -> Formulas:
    """z = (x - mean) Vᵀ and x_hat = z V + mean."""
    W = V.T
    f = [{"step": "subtract", "mean": mean}, {"step": "dense", "W": W, "b": np.zeros(len(V), V.dtype)}]
    return Formulas("A principal component analysis", f, [{"step": "tied", "W": W, "b": mean}])


def noise_of(corruption: Corruption) -> dict[str, Any] | None:
    """The kind of noise, its level in training and the largest to try; None for a corruption of one's own."""
    if type(corruption) is MaskingNoise:
        return {"kind": "masking", "level": corruption.fraction, "most": 1}
    if type(corruption) is SaltAndPepper:
        ends = {"low": corruption.low, "high": corruption.high}
        return {"kind": "salt_and_pepper", "level": corruption.fraction, "most": 1, **ends}
    if type(corruption) is GaussianNoise:
        low, high = corruption.clip or (None, None)
        return {"kind": "gaussian", "level": corruption.std, "most": 2 * corruption.std or 1, "low": low, "high": high}
    return None
