"""A training step that is recorded and then replayed.

Every step of a fit runs the same kernels on arrays of the same shapes. So the kernels of the first steps are recorded,
in buffers that stay, and later steps replay them without the Python in between (see `kernels.recorded`). This is
possible if every part of the step works in kernels alone, which is known of npae's own classes. A class of your own may
do anything else, so a step with one is called every time.

If you change the source of a class below: a step in which plain NumPy makes an array is noticed and not replayed, but a
change in place is not noticed. While you experiment, set NPAE_BACKEND=numpy, which records nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npae.activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from npae.codes import GaussianCode, NestedDropout
from npae.corruptions import Corruption, GaussianNoise, MaskingNoise, SaltAndPepper
from npae.fitting.batches import Batches
from npae.fitting.history import TrainingState
from npae.kernels import recorded
from npae.kernels.arrays import Array
from npae.layers import Dense, Layer, Parameter, Sequential, all_layers
from npae.likelihoods import Bernoulli, Gaussian
from npae.losses import BCE, MSE
from npae.optimizers import SGD, Adam
from npae.penalties import GaussianKL, Penalty
from npae.tied import TiedDense
from npae.training import train_step

# The exact types that work in kernels alone; a subclass may not.
RECORDABLE: set[type] = {Dense, Sequential, ReLU, LeakyReLU, ELU, Sigmoid, Tanh, Identity}
RECORDABLE |= {MSE, BCE, SGD, Adam, GaussianNoise, MaskingNoise, SaltAndPepper, type(None)}
RECORDABLE |= {Bernoulli, Gaussian, TiedDense, NestedDropout, GaussianCode, GaussianKL}


def recordable(*objects: Any) -> bool:
    """Whether all objects, and all layers inside them, work in kernels alone."""
    parts = [part for o in objects for part in (all_layers(o) if isinstance(o, Layer) else [o])]
    return all(type(part) in RECORDABLE for part in parts)


def recorded_step(
    training: TrainingState, vector: Parameter, batches: Batches, corruption: Corruption | None, penalty: Penalty | None
) -> Callable[[Array, Array | None], float]:
    """`train_step` as a function (batch, weight) -> loss that fetches the rows itself and is replayed if it can be."""
    encoder, *codes, decoder = training.network.layers
    code: Any = codes[0] if codes else None
    loss, optimizer, state, rng = training.loss, training.optimizer, training.state, training.noise_rng

    def step(batch: Array, weight: Array | None) -> Array:
        x = batches.rows(batch)
        return train_step(
            encoder, decoder, loss, optimizer, [vector], state, x,
            corruption=corruption, code=code, penalty=penalty, rng=rng, weight=weight,
        )  # fmt: skip

    can_record = recordable(training.network, loss, optimizer, corruption, penalty)
    recordings: dict[int, tuple[Array, Array | None, Callable[[], Array]]] = {}  # by the number of rows

    def record_or_replay(batch: Array, weight: Array | None) -> float:
        n = len(batch)
        if not can_record or (n not in recordings and len(recordings) == 2):  # full batches, and the last one
            return float(step(batch, weight))
        if n not in recordings:
            rows, weights = np.empty_like(batch), None if weight is None else np.empty_like(weight)
            recordings[n] = rows, weights, recorded(lambda: step(rows, weights))
        rows, weights, replay = recordings[n]
        rows[...] = batch
        if weights is not None:
            weights[...] = weight
        return float(replay())

    return record_or_replay
