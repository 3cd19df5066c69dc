"""What the tests share: strategies for arrays and networks, the check of gradients, and small trainings."""

import copy
import os
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npae

HAVE_NUMBA = find_spec("numba") is not None and os.environ.get("NPAE_BACKEND") != "numpy"
TALLY = {}  # kind of gradient -> (reports, derivatives, worst error, tolerance)

ACTIVATIONS = [npae.ReLU, npae.LeakyReLU, npae.ELU, npae.Sigmoid, npae.Tanh, npae.Identity]
SMOOTH = [npae.Sigmoid, npae.Tanh, npae.Identity]
KINK_MARGIN = 1e-3  # a hundred steps of the finite difference


def numbers(low=-3.0, high=3.0):
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def off_zero(low=KINK_MARGIN, high=3.0):
    """Numbers of either sign that a small step does not carry across zero."""
    return numbers(low, high) | numbers(-high, -low)


def table(n=60, d=6, seed=0, dtype=np.float64):
    """Correlated columns in [0, 1]: three hidden causes and a little noise."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3)) @ rng.random((3, d)) + 0.05 * rng.random((n, d))
    return (X / X.max()).astype(dtype)


def batches(width=None, elements=None, rows=None):
    """Float64 arrays (n, d), one row and one column included."""
    shape = st.tuples(
        st.integers(1, 4) if rows is None else rows, st.integers(1, 6) if width is None else st.just(width)
    )
    return shape.flatmap(
        lambda s: hnp.arrays(np.float64, s, elements=numbers() if elements is None else elements, fill=st.nothing())
    )


def like(x, elements):
    return hnp.arrays(np.float64, x.shape, elements=elements, fill=st.nothing())


def seeds():
    return st.integers(0, 2**32 - 1)


# --- small estimators ------------------------------------------------------------------------------------

X = np.random.default_rng(0).random((60, 3)) @ np.random.default_rng(1).random((3, 6))  # three causes of six columns
NAMES = ["height", "width", "depth", "mass", "charge", "spin"]
QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 2, "batch_size": 16, "random_state": 0}
UNFITTED = {
    "AE": lambda: npae.AE(**QUICK),
    "DAE": lambda: npae.DAE(**QUICK, corruption=npae.MaskingNoise(0.2)),
    "VAE": lambda: npae.VAE(**QUICK),
    "PCA": lambda: npae.PCA(2),
}
each_model = pytest.mark.parametrize("name", UNFITTED)

# Every member of the family, and some of their combinations.
FAMILY = {
    "AE, L1": lambda **more: npae.AE(**more, penalty=npae.L1(0.1)),
    "AE, KL": lambda **more: npae.AE(**more, code="sigmoid", penalty=npae.KLSparsity(0.2, 0.1)),
    "AE, contractive": lambda **more: npae.AE(**more, activation="tanh", penalty=npae.Contractive(0.1)),
    "AE, top 1": lambda **more: npae.AE(**more, code=npae.TopK(1), activation="elu"),
    "AE, winner takes all": lambda **more: npae.AE(**more, code=npae.WinnerTakeAll(0.3), activation="elu"),
    "AE, ordered": lambda **more: npae.AE(**more, code=npae.NestedDropout()),
    "AE, tied": lambda **more: npae.AE(**more, tied=True, loss="bce"),
    "DAE, ordered, contractive, tied": lambda **more: npae.DAE(
        **more, activation="elu", code=npae.NestedDropout(0.5), penalty=npae.Contractive(0.1), tied=True
    ),
    "VAE": lambda **more: npae.VAE(**more, activation="tanh", loss=npae.Gaussian(0.5)),
    "VAE, BCE": lambda **more: npae.VAE(**more, loss="bce", beta=2.0),
}


def every_layer(d, dtype=np.float32):
    """A model of own networks with the activations, and the layers of codes, that FAMILY leaves out."""
    new = partial(npae.Dense, dtype=dtype)
    f = [new(d, 7, rng=0), npae.LeakyReLU(0.2), new(7, 7, rng=1), npae.ELU(0.7), npae.TopK(6)]
    g = [new(7, 7, rng=2), npae.Tanh(), npae.Identity(), npae.Sequential(new(7, d, rng=3), npae.ReLU())]
    return npae.AE(encoder=npae.Sequential(*f), decoder=npae.Sequential(*g), epochs=1)


class Frame:
    """The least that has column names, as a DataFrame does."""

    def __init__(self, table, columns):
        self.table, self.columns = table, columns

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.table, dtype=dtype)


def refuses(call, error, *parts):
    """Assert that call() raises `error` with a message that has these parts, "expected" and "got"."""
    with pytest.raises(error) as caught:
        call()
    for part in (*parts, "expected", "got"):
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def scatter(network, rng):
    """Random weights and biases, so that no unit sits exactly on its kink as it would with zero biases."""
    for p in network.parameters():
        p.value[...] = rng.uniform(0.2, 1.2, p.value.shape) * rng.choice([-1.0, 1.0], p.value.shape)


def keep_off_kinks(network, x, noise=None):
    """Reject the example if any element lies within KINK_MARGIN of a kink; `noise` draws the code, if it is random."""
    for layer in flat_layers(network):
        if layer.branches() or isinstance(layer, npae.ReLU | npae.LeakyReLU | npae.ELU):
            assume(np.abs(x).min() > KINK_MARGIN)
        x = layer.draw(x, copy.deepcopy(noise)) if noise and hasattr(layer, "draw") else layer.forward(x)


def flat_layers(network):
    return (
        [leaf for layer in network.layers for leaf in flat_layers(layer)] if hasattr(network, "layers") else [network]
    )


@st.composite
def networks(draw, n_in=None, n_out=None, activations=ACTIVATIONS, max_depth=3):
    """Dense layers of drawn widths with drawn activations between them; float64."""
    depth = draw(st.integers(1, max_depth))
    widths = draw(st.lists(st.integers(1, 5), min_size=depth + 1, max_size=depth + 1))
    widths[0] = n_in or widths[0]
    widths[-1] = n_out or widths[-1]
    rng = np.random.default_rng(draw(seeds()))
    layers = []
    for a, b in pairwise(widths):
        layers.append(npae.Dense(a, b, dtype=np.float64, rng=rng))
        layers.append(draw(st.sampled_from(activations))())
    network = npae.Sequential(*layers[: -1 if draw(st.booleans()) else None])
    scatter(network, rng)
    return network


def check(model, x, kind, **options):
    """Every derivative of the model, compared; the gradients must be right and no element left out."""
    report = npae.check_gradients(model, x, max_elements=None, verbose=False, **options)
    reports, elements, worst, _ = TALLY.get(kind, (0, 0, 0.0, 0.0))
    certain = [c.error for c in report.comparisons if c.doubt <= report.tolerance * c.size]
    elements += sum(c.checked for c in report.comparisons)
    TALLY[kind] = reports + 1, elements, max(worst, *certain, 0.0), report.tolerance
    assert report.passed, f"\n{report}"
    assert report.kinks == 0, f"an element lay on a kink\n{report}"
    return report


class Drawn(npae.Layer):
    """A stochastic layer whose noise is held still: every forward pass draws the same."""

    def __init__(self, layer, seed=0):
        self.layer, self.seed = layer, seed

    def forward(self, x):
        return self.layer.draw(x, np.random.default_rng(self.seed))

    def backward(self, grad_y):
        return self.layer.backward(grad_y)


class Penalised:
    """A penalty as a loss of z: the gradient that it returns is compared."""

    def __init__(self, penalty, weight=None):
        self.penalty, self.weight = penalty, weight

    def value_and_gradient(self, prediction, target):
        return self.penalty.value_and_gradient(prediction, weight=self.weight)

    def __call__(self, prediction, target):
        return self.value_and_gradient(prediction, target)


def tied(n_in=4, n_code=3, seed=0):
    """A Dense and the TiedDense that uses its weights."""
    encoder, decoder = npae.Dense(n_in, n_code, dtype=float, rng=seed), npae.TiedDense(n_code, n_in, dtype=float)
    decoder.tie(encoder)
    return npae.Sequential(encoder, decoder)


# --- training ----------------------------------------------------------------------------------------------


def learned(model):
    """Everything that training has made and that resuming depends on, except the seconds."""
    t = model.training_
    rngs = [copy.deepcopy(rng) for rng in (t.shuffle_rng, t.noise_rng, t.validation_rng)]
    arrays = [p.value for p in t.network.parameters()] + [m for moments in t.state.moments for m in moments]
    arrays += [a for a in (t.best, t.last) if a is not None]
    h = t.history
    return [a.tobytes() for a in arrays], [rng.random() for rng in rngs], (t.state.step, t.state.total_steps), (
        h.loss, h.validation_loss, h.learning_rate, h.best_epoch, h.stopped
    )  # fmt: skip


def stop_after(last):
    """A callback that ends training after that epoch."""
    return lambda model, epoch, logs: epoch == last


def halved(x, rng):
    """A corruption that is a plain function."""
    return x * (rng.random(x.shape) < 0.5)


def with_weight_sizes(*sizes, epochs, patience=3):
    """A model, and arguments of fit: after epoch i all weights are sizes[i]. The validation loss is lowest at 0."""
    encoder, decoder = (npae.Sequential(npae.Dense(*widths, dtype=np.float64)) for widths in ((6, 2), (2, 6)))

    def resize(model, epoch, logs):
        for p in model.network_.parameters():
            p.value[...] = sizes[min(epoch, len(sizes) - 1)]

    for p in encoder.parameters() + decoder.parameters():
        p.value[...] = sizes[0]
    model = npae.AE(encoder=encoder, decoder=decoder, epochs=epochs, patience=patience, optimizer=npae.SGD(0.0))
    return model, {"validation": np.zeros((3, 6)), "callbacks": resize}


def all_zero(model):
    return all((p.value == 0).all() for p in model.network_.parameters())


class Batches:
    """An iterable of batches that begins again each time, as if read from files."""

    def __init__(self, *batches):
        self.batches, self.started = batches, 0

    def __iter__(self):
        self.started += 1
        yield from self.batches
