"""A rectifier within the store of a product gives the same bits as a kernel of its own."""

import itertools

import numpy as np
import pytest
from helpers import HAVE_NUMBA
from kernel_helpers import both_dtypes, needs_numba

import npae
from npae.activations import leaky_relu, leaky_relu_backward, relu, relu_backward
from npae.kernels import recorded
from npae.layers import column_sums, dense, matmul

if HAVE_NUMBA:
    from npae.kernels.numba_backend import recording

pytestmark = needs_numba

RECTIFIERS = {
    "relu": (relu, relu_backward),
    "leaky": (lambda x: leaky_relu(x, 0.1), lambda grad_y, y: leaky_relu_backward(grad_y, y, 0.1)),
}
SHAPES = [(2, 1, 1), (5, 7, 3), (13, 330, 33), (40, 700, 50), (64, 30, 256)]


@pytest.fixture
def kernels_of(monkeypatch):
    """A function that records a step and returns (kernels in it, kernels that a replay runs, replay)."""
    npae.use_backend("numba")
    made = []

    class Recording(recording.Recording):
        def rewrite(self, results):
            before = len(self.calls)
            super().rewrite(results)
            made.append((before, len(self.calls)))

    monkeypatch.setattr(recording, "Recording", Recording)

    def record(step):
        replay = recorded(step)
        replay()
        replay()
        return *made.pop(), replay

    return record


def special(rng, shape, dtype):
    """Random numbers, with zeros of both signs, NaN and infinities among them."""
    a = rng.standard_normal(shape).astype(dtype)
    a.flat[:: max(1, a.size // 7)] = rng.permutation([0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e-30] * 2)[
        : len(a.flat[:: max(1, a.size // 7)])
    ]
    return a


@both_dtypes
@pytest.mark.parametrize("rectifier", RECTIFIERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rectifiers_after_products_give_the_same_bits_in_the_products_store(rectifier, shape, dtype, kernels_of):
    f, f_backward = RECTIFIERS[rectifier]
    (N, d, m), rng = shape, np.random.default_rng(0)
    x, W, b = (rng.standard_normal(s).astype(dtype) for s in ((N, d), (d, m), (m,)))
    grad, V, sums = (
        rng.standard_normal((N, 9)).astype(dtype),
        rng.standard_normal((m, 9)).astype(dtype),
        np.empty(m, dtype),
    )

    def step():
        y = f(dense(x, W, b))
        grad_x = f_backward(matmul(grad, V.T), y)
        column_sums(grad_x, sums)
        return grad_x, y

    before, after, replay = kernels_of(step)
    assert (before, after) == (5, 3)
    with np.errstate(all="ignore"):
        for fill in (rng.standard_normal, lambda s: special(rng, s, dtype)):
            x[...], b[...], grad[...] = fill(x.shape), fill(b.shape), fill(grad.shape)
            expected = [a.copy() for a in step()]
            for a, e in zip(replay(), expected, strict=True):
                np.testing.assert_array_equal(a.view(np.uint8), e.view(np.uint8))


def steps():
    rng = np.random.default_rng(0)
    x, W, b, out = rng.standard_normal((20, 20)), rng.standard_normal((20, 20)), np.ones(20), np.empty((20, 20))

    def read_later():
        c = dense(x, W, b)
        y = relu(c)
        column_sums(c, out[0])
        return y

    def returned():
        c = dense(x, W, b)
        return c, relu(c)

    def something_between():
        c = dense(x, W, b)
        column_sums(x, out[0])
        return relu(c)

    def a_part():
        return relu(dense(x, W, b)[:10])

    def written_for_the_caller():
        return relu(matmul(x, W, out=out))

    def another_array():
        dense(x, W, b)
        return relu(x)

    return {
        f.__name__: (f, x)
        for f in (read_later, returned, something_between, a_part, written_for_the_caller, another_array)
    }


@pytest.mark.parametrize("name", steps())
def test_a_product_that_somebody_else_reads_keeps_its_own_result(name, kernels_of):
    step, x = steps()[name]
    before, after, replay = kernels_of(step)
    assert before == after
    x[...] = np.random.default_rng(1).standard_normal(x.shape)
    expected = step()
    expected = [np.copy(a) for a in (expected if isinstance(expected, tuple) else (expected,))]
    got = replay()
    for a, e in itertools.zip_longest(got if isinstance(got, tuple) else (got,), expected):
        np.testing.assert_array_equal(a, e)


def test_a_training_step_has_its_rectifiers_in_its_products(kernels_of, monkeypatch):
    """Two hidden layers on each side: four rectifiers forward, four back."""
    counts = []
    original = recording.Recording.rewrite

    def rewrite(self, results):
        before = len(self.calls)
        original(self, results)
        counts.append(before - len(self.calls))

    monkeypatch.setattr(recording.Recording, "rewrite", rewrite)
    X = np.random.default_rng(0).random((64, 12)).astype(np.float32)
    npae.AE(hidden=(9, 7), latent_dim=3, epochs=3, batch_size=16, random_state=0).fit(X)
    assert 8 in counts
