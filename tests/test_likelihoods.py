"""Likelihoods: -log p(x|z) of a whole row in nats."""

import numpy as np
import pytest
from helpers import batches, check, like, numbers, refuses, table
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.likelihoods import linear_noise

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("loss", [npae.Bernoulli(), npae.Gaussian(0.3)], ids=repr)
@pytest.mark.parametrize("method", ["central", "complex"])
@given(data=st.data(), x=batches())
def test_the_gradient_of_a_likelihood(loss, method, data, x):
    target = data.draw(like(x, numbers(0, 1)))
    check(loss, x, f"{type(loss).__name__}, {method}", method=method, target=target)


def test_bernoulli_is_the_probability_of_each_row_under_independent_elements():
    rng = np.random.default_rng(0)
    logits, x = rng.normal(size=(4, 6)), rng.integers(0, 2, (4, 6)).astype(float)
    p = 1 / (1 + np.exp(-logits))
    likelihood = np.prod(np.where(x == 1, p, 1 - p), axis=1)
    assert npae.Bernoulli()(logits, x)[0] == pytest.approx(-np.log(likelihood).mean(), rel=1e-12)


def test_gaussian_is_the_density_of_each_row():
    rng = np.random.default_rng(0)
    x_hat, x = rng.normal(size=(2, 4, 6))
    density = np.prod(np.exp(-((x - x_hat) ** 2) / (2 * 0.3**2)) / (0.3 * np.sqrt(2 * np.pi)), axis=1)
    assert npae.Gaussian(0.3)(x_hat, x)[0] == pytest.approx(-np.log(density).mean(), rel=1e-12)


@pytest.mark.parametrize("loss", [npae.Bernoulli(), npae.Gaussian(0.3)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_value_is_a_mean_over_rows_and_may_be_weighted(loss, dtype):
    rng = np.random.default_rng(0)
    x_hat, x = rng.random((2, 5, 6)).astype(dtype)
    weight = np.arange(5.0)
    rows = [loss(x_hat[[i]], x[[i]])[0] for i in range(5)]
    assert loss(x_hat, x)[0] == pytest.approx(np.mean(rows), rel=1e-6)
    value, grad = loss(x_hat, x, sample_weight=weight)
    assert value == pytest.approx(np.average(rows, weights=weight), rel=1e-6)
    assert grad.dtype == dtype


def test_the_noise_of_the_best_linear_code_is_the_mean_of_the_variances_that_it_leaves():
    """Tipping and Bishop, 1999, equation 8."""
    X = np.random.default_rng(0).normal(size=(50_000, 4)) * [3, 2, 0.5, 0.4] + 7
    assert linear_noise(X, 2) == pytest.approx(np.sqrt((0.5**2 + 0.4**2) / 2), rel=0.02)


def test_data_in_a_plane_keep_a_tenth_of_their_deviation_as_noise():
    X = table()[:, :1] * np.ones(4)
    assert linear_noise(X, 3) == pytest.approx(0.1 * X.std(), rel=1e-6)
    assert linear_noise(X, 4) == pytest.approx(0.1 * X.std(), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    [
        (lambda: npae.Gaussian(0), ValueError, ("Gaussian", "std", "0")),
        (lambda: npae.Gaussian("wide"), TypeError, ("Gaussian", "std as a real number", "'wide'")),
        (lambda: npae.Gaussian()([[1.0]], [[1.0]]), ValueError, ("Gaussian", "std", "None", "Gaussian(0.1)")),
        (lambda: npae.Bernoulli()([[1.0]], [[2.0]]), ValueError, ("targets in [0, 1]", "2")),
    ],
)
def test_bad_arguments_are_refused(call, error, parts):
    refuses(call, error, *parts)
