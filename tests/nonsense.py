"""Nonsense for every kind of argument, drawn at random, and the assertion that it is refused and changes nothing."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npae

X = np.random.default_rng(0).random((12, 6))
QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 1, "batch_size": 4, "random_state": 0}


WORDS = st.text(max_size=5) | st.binary(max_size=5)
THINGS = st.sampled_from(
    [object(), object, len, {}, {"a": 1}, set(), [], [1, 2], (), (1, 2), ..., 1j, np.ones(2), [None]]
)


NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf, np.float32("nan")])
NONE, FLAGS = st.none(), st.booleans() | st.sampled_from([np.True_, np.False_])
FRACTIONS = st.floats(-5, 5).filter(lambda v: v != int(v)) | st.sampled_from([1.0, np.float64(2)])


def no_count(at_least=1, none=False):
    """Values that are not whole numbers >= `at_least`."""
    few = st.integers(-(10**30), at_least - 1) | st.integers(-5, at_least - 1).map(np.int64)
    return (WORDS | THINGS | NOT_FINITE | FLAGS | FRACTIONS | few) | (st.nothing() if none else NONE)


def no_real(low=-np.inf, high=np.inf, ends=False):
    """Values that are not numbers in [low, high]; with `ends`, the bounds are excluded as well."""
    odd = WORDS | THINGS | NOT_FINITE | FLAGS | NONE
    if low > -np.inf:
        odd |= st.floats(max_value=low, exclude_max=not ends, allow_nan=False)
    if high < np.inf:
        odd |= st.floats(min_value=high, exclude_min=not ends, allow_nan=False)
    return odd


def no_choice(*names, none=False):
    """Values that are neither one of the names nor an object of the kind."""
    others = (
        WORDS.filter(lambda word: word not in names) | FRACTIONS | NOT_FINITE | THINGS.filter(lambda v: v is not len)
    )
    return others | (st.nothing() if none else NONE | FLAGS)


def no_flag(none=False):
    return WORDS | THINGS | NOT_FINITE | st.integers(2, 9) | FRACTIONS | (st.nothing() if none else NONE)


def shapes(rank, least=1):
    return st.tuples(*[st.integers(least, 4)] * rank)


@st.composite
def no_table(draw, width=None, width_known=True):
    """Values that are not (n, width) tables of finite numbers with n >= 1; None means any width >= 1."""
    kind = draw(st.sampled_from(["rank", "empty", "width", "dtype", "not finite", "thing"]))
    columns = width or draw(st.integers(1, 4))
    if kind == "width" and width is not None:
        other = draw(st.integers(1, 9).filter(lambda w: w != width))
        return np.ones((draw(st.integers(1, 4)), other), draw(st.sampled_from([np.float32, np.float64, np.int8])))
    if kind == "empty":
        return np.ones(draw(st.sampled_from([(0, columns), (3, 0), (0, 0)])))
    if kind == "dtype":
        dtype = draw(st.sampled_from(["U3", "S3", "c8", "c16", "M8[D]", "m8[s]", "O", "V4"]))
        shape = draw(st.integers(1, 4)), columns
        return np.full(shape, None) if dtype == "O" else np.zeros(shape, dtype)
    if kind == "not finite":
        table = np.ones((draw(st.integers(1, 4)), columns), draw(st.sampled_from([np.float16, np.float32, np.float64])))
        table[draw(st.integers(0, len(table) - 1)), draw(st.integers(0, columns - 1))] = draw(NOT_FINITE)
        return table
    if kind == "rank" or kind == "width":
        return draw(hnp.arrays(np.float64, shapes(0) | shapes(1) | shapes(3) | shapes(4), elements=st.floats(0, 1)))
    return draw(WORDS | THINGS | NOT_FINITE | FRACTIONS | NONE | st.just([[1.0], [1.0, 2.0]]))


def no_batch(width=None):
    """Values that a layer refuses; it accepts empty, complex and infinite batches."""

    def taken(x):
        is_number = isinstance(x, np.ndarray) and x.dtype.kind in "fiubc"
        return is_number and x.ndim == 2 and width in (None, x.shape[1])

    return no_table(width).filter(lambda x: not taken(x))


def no_row(width=None):
    """Values that are not finite numbers of shape (width,), width >= 1."""

    def taken(x):
        if isinstance(x, np.ndarray):
            numbers = x.ndim == 1 and x.dtype.kind in "fiub"
        else:
            numbers = isinstance(x, list | tuple) and all(isinstance(v, int | float) for v in x)
        return numbers and len(x) > 0 and width in (None, len(x)) and np.isfinite(x).all()

    return no_table(width).filter(lambda x: not taken(x))


def said(strategy):
    """The same values without None, which selects the default."""
    return strategy.filter(lambda v: v is not None)


def no_pair():
    return no_choice(none=True).filter(lambda v: not isinstance(v, list | tuple)) | st.just((2, 1))


def fitted(make=npae.AE, **more):
    return make(**(QUICK | more)).fit(X)


FITTED = {"AE": fitted(), "DAE": fitted(npae.DAE), "VAE": fitted(npae.VAE), "PCA": npae.PCA(2).fit(X)}
SEEDS = no_count(0, none=True)
DENSE, RELU = npae.Dense(6, 2, rng=0, dtype=np.float64), npae.ReLU()
NO_PATH = NOT_FINITE | FRACTIONS | NONE | THINGS | st.just("a\0b")


def fingerprint():
    """The bytes of everything that a refused call could have changed."""
    learned = [pair for m in FITTED.values() for pair in vars(m).items()]
    return (
        [(name, v.tobytes() if hasattr(v, "tobytes") else repr(v)) for name, v in learned],
        [p.value.tobytes() for m in FITTED.values() if hasattr(m, "network_") for p in m.network_.parameters()],
        DENSE.W.value.tobytes(), npae.backend_name(),
    )  # fmt: skip


def refuses_nonsense(call, value):
    """Assert that call(value) raises TypeError or ValueError with a message of three parts, and changes nothing."""
    before = fingerprint()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError)) as refused:
            call(value)
    assert re.search(r"expected .+\bgot .*: .{8}", str(refused.value), re.DOTALL), str(refused.value)
    assert fingerprint() == before
