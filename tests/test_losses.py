"""Losses have the values that their definitions give, at ordinary arguments and at extreme ones."""

import math

import numpy as np
import pytest
from helpers import batches, like, numbers
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.losses import LOSSES

pytestmark = pytest.mark.usefixtures("backend")
UNIT = numbers(0, 1)


# --- mean squared error --------------------------------------------------------------------------------------------


@given(data=st.data(), x=batches())
def test_mse_is_the_mean_over_every_element(data, x):
    t = data.draw(like(x, numbers()))
    expected = sum((a - b) ** 2 for a, b in zip(x.flat, t.flat, strict=True)) / x.size
    assert npae.MSE()(x, t)[0] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_mean_of_float32_is_taken_in_float64():
    value, _ = npae.MSE()(np.array([[1, 0, 0]], np.float32), np.zeros((1, 3), np.float32))
    assert value == pytest.approx(1 / 3, rel=1e-15)


# --- binary cross-entropy ------------------------------------------------------------------------------------------


@given(data=st.data(), z=batches(elements=numbers(-30, 30)))
def test_bce_is_the_bernoulli_likelihood(data, z):
    t = data.draw(like(z, UNIT))
    total = 0.0
    for logit, x in zip(z.flat, t.flat, strict=True):
        log_p, log_q = -math.log1p(math.exp(-logit)), -math.log1p(math.exp(logit))  # of p and 1 - p
        total -= x * log_p + (1 - x) * log_q
    assert npae.BCE()(z, t)[0] == pytest.approx(total / z.size, rel=1e-12, abs=1e-15)


@given(x=batches(elements=UNIT))
def test_bce_is_ln_2_at_zero_logits(x):
    assert npae.BCE()(np.zeros_like(x), x)[0] == pytest.approx(math.log(2), rel=1e-15)


@given(x=batches(elements=numbers(0.01, 0.99)))
def test_bce_of_the_true_probability_is_the_entropy(x):
    entropy = -(x * np.log(x) + (1 - x) * np.log(1 - x)).mean()
    value, grad = npae.BCE()(np.log(x / (1 - x)), x)
    assert value == pytest.approx(entropy, rel=1e-12)
    assert abs(grad).max() < 1e-15


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("logit", "target", "value", "slope"),
    [
        (10_000, 1, 0, 0),
        (10_000, 0, 10_000, 1),
        (-10_000, 0, 0, 0),
        (-10_000, 1, 10_000, -1),
        (10_000, 0.25, 7_500, 0.75),
        (-10_000, 0.25, 2_500, -0.25),
    ],
)
def test_bce_is_exact_for_huge_logits(dtype, logit, target, value, slope):
    got, grad = npae.BCE()(np.array([[logit]], dtype), np.array([[target]], dtype))
    assert got == value
    assert grad.item() == slope
    assert grad.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("logit", "target"), [(40, 1), (-40, 0)])
def test_bce_of_a_nearly_certain_element_keeps_its_digits(dtype, logit, target):
    value, grad = npae.BCE()(np.array([[logit]], dtype), np.array([[target]], dtype))
    assert value == pytest.approx(math.exp(-40), rel=1e-5 if dtype == np.float32 else 1e-12, abs=0)
    assert grad.item() == pytest.approx(
        math.copysign(math.exp(-40), -logit), rel=1e-5 if dtype == np.float32 else 1e-12, abs=0
    )


def test_the_inverse_link_of_bce_is_the_sigmoid_and_of_the_others_the_identity():
    z = np.array([[-2.0, 0.0, 3.0]])
    np.testing.assert_allclose(npae.BCE().inverse_link(z), 1 / (1 + np.exp(-z)), rtol=1e-15)
    for loss in (npae.MSE(), npae.SSIM((1, 3), window=1)):
        np.testing.assert_array_equal(loss.inverse_link(z), z)


# --- structural similarity -----------------------------------------------------------------------------------------


def ssim_by_its_definition(x, y, window=11, sigma=1.5, c1=0.01**2, c2=0.03**2):
    """Wang et al. 2004, equations 13 to 16, one window at a time."""
    offsets = np.arange(window) - (window - 1) / 2
    w = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    w /= w.sum()
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            mu_a, mu_b = (w * a).sum(), (w * b).sum()
            var_a, var_b = (w * (a - mu_a) ** 2).sum(), (w * (b - mu_b) ** 2).sum()
            cov = (w * (a - mu_a) * (b - mu_b)).sum()
            values.append((2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


@given(height=st.integers(11, 16), width=st.integers(11, 16), seed=st.integers(0, 2**32 - 1))
def test_ssim_is_what_wang_et_al_define(height, width, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, 2, height, width))
    y = 0.5 * x + 0.5 * y
    expected = np.mean([ssim_by_its_definition(a, b) for a, b in zip(x, y, strict=True)])
    value, _ = npae.SSIM((height, width))(x.reshape(2, -1), y.reshape(2, -1))
    assert 1 - value == pytest.approx(expected, rel=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_ssim_is_symmetric_bounded_and_zero_only_for_equal_images(seed):
    x, y = np.random.default_rng(seed).random((2, 3, 144))
    loss = npae.SSIM((12, 12))
    assert loss(x, y)[0] == pytest.approx(loss(y, x)[0], rel=1e-12)
    assert 0 < loss(x, y)[0] < 2
    assert loss(x, x)[0] == pytest.approx(0, abs=1e-14)
    assert abs(loss(x, x)[1]).max() < 1e-14


@given(unit=numbers(0.1, 300), seed=st.integers(0, 2**32 - 1))
def test_ssim_is_the_same_in_every_unit(unit, seed):
    x, y = np.random.default_rng(seed).random((2, 2, 144))
    y[0, 0] = 1.0
    value, grad = npae.SSIM((12, 12))(x, y)
    scaled, scaled_grad = npae.SSIM((12, 12), data_range=unit)(unit * x, unit * y)
    assert scaled == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(unit * scaled_grad, grad, rtol=1e-7, atol=1e-12)
    with pytest.raises(ValueError, match="expected targets in"):
        npae.SSIM((12, 12), data_range=0.9 * unit)(unit * x, unit * y)


def test_the_ssim_loss_of_a_real_digit_grows_with_noise():
    digit = npae.datasets.digits()[1][:1].astype(np.float64)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(digit.shape)
    values = [npae.SSIM((28, 28))(np.clip(digit + s * noise, 0, 1), digit)[0] for s in (0.0, 0.1, 0.3, 0.5)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0, abs=1e-14)
    assert values[-1] > 0.5


def test_ssim_is_computed_in_float64_for_any_dtype():
    rng = np.random.default_rng(1)
    x, y = (0.5 + 1e-3 * rng.random((2, 1, 144))).astype(np.float32)  # a small variance and a large mean
    narrow, wide = npae.SSIM((12, 12))(x, y), npae.SSIM((12, 12))(x.astype(float), y.astype(float))
    assert narrow[0] == wide[0]
    assert narrow[1].dtype == np.float32
    np.testing.assert_array_equal(narrow[1], wide[1].astype(np.float32))


# --- every loss ----------------------------------------------------------------------------------------------------


@given(data=st.data(), x=batches())
def test_float32_agrees_with_float64(data, x):
    t = data.draw(like(x, UNIT))
    for loss in (npae.MSE(), npae.BCE()):
        wide, narrow = loss(x, t), loss(x.astype(np.float32), t.astype(np.float32))
        assert narrow[0] == pytest.approx(wide[0], rel=1e-5, abs=1e-6)
        assert narrow[1].dtype == np.float32
        np.testing.assert_allclose(narrow[1], wide[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [npae.MSE(), npae.BCE(), npae.SSIM((2, 2), window=2)])
def test_a_loss_is_a_mean_so_doubling_the_rows_changes_nothing(loss):
    x, t = np.random.default_rng(0).random((2, 3, 4))
    value, grad = loss(x, t)
    twice, grads = loss(np.vstack([x, x]), np.vstack([t, t]))
    assert twice == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(grads, np.vstack([grad, grad]) / 2, rtol=1e-12)


@given(data=st.data(), x=batches(elements=numbers(0.01, 0.99)))
def test_the_loss_of_a_batch_is_the_weighted_mean_of_the_losses_of_its_rows(data, x):
    target = data.draw(like(x, numbers(0.01, 0.99)))
    weights = np.array(data.draw(st.lists(numbers(0.1, 3), min_size=len(x), max_size=len(x))))
    for loss in (npae.MSE(), npae.BCE(), npae.SSIM((1, x.shape[1]), window=1)):
        rows = [loss(x[i : i + 1], target[i : i + 1])[0] for i in range(len(x))]
        assert loss(x, target)[0] == pytest.approx(np.mean(rows), rel=1e-12, abs=1e-15)
        weighted = loss(x, target, sample_weight=weights)[0]
        assert weighted == pytest.approx(np.average(rows, weights=weights), rel=1e-12, abs=1e-15)


class AbsoluteError(npae.MSE):
    """A loss without an argument `weight`, derived from one that has it."""

    def value_and_gradient(self, prediction, target):
        return np.mean(abs(prediction - target)), np.sign(prediction - target) / target.size


def test_a_custom_loss_without_weights_is_weighted_row_by_row():
    rng = np.random.default_rng(0)
    (x, t), w = rng.random((2, 30, 6)), rng.integers(0, 4, 30)
    value, grad = AbsoluteError()(x, t, sample_weight=w)
    assert value == pytest.approx(np.average(abs(x - t).mean(axis=1), weights=w), rel=1e-12)
    np.testing.assert_allclose(grad, np.sign(x - t) * w[:, None] / w.mean() / t.size, rtol=1e-12)


@given(data=st.data(), x=batches(elements=numbers(-30, 30)))
def test_the_loss_by_row_is_that_of_each_row_alone(data, x):
    target = data.draw(like(x, numbers(0.01, 0.99)))
    for loss in (npae.MSE(), npae.BCE(), npae.SSIM((1, x.shape[1]), window=1), AbsoluteError(), Shifted()):
        rows = [loss(x[i : i + 1], target[i : i + 1])[0] for i in range(len(x))]
        for dtype, near in ((np.float64, 1e-12), (np.float32, 1e-5)):
            by_row = loss._by_row(x.astype(dtype), target.astype(dtype))
            assert (by_row.shape, by_row.dtype) == ((len(x), 1), np.float64)
            np.testing.assert_allclose(by_row[:, 0], rows, rtol=near, atol=near)


class Shifted(npae.BCE):
    """A loss that changes the value of one that has a formula by row."""

    def value_and_gradient(self, prediction, target, weight=None):
        value, grad = super().value_and_gradient(prediction, target, weight)
        return value + 1, grad


def test_bce_by_row_keeps_its_digits_at_huge_logits():
    z, t = np.array([[1e4], [-1e4], [1e4], [40.0]]), np.array([[1.0], [1.0], [0.25], [1.0]])
    np.testing.assert_allclose(npae.BCE()._by_row(z, t)[:, 0], [0, 1e4, 7500, math.exp(-40)], rtol=1e-12)


def test_no_public_method_of_a_loss_would_take_probabilities_for_logits_row_by_row():
    """BCE cannot tell them apart, so the loss of each row comes from `score_samples`, which takes the data alone."""
    assert {n for n in dir(npae.BCE) if not n.startswith("_")} == {
        "check_target", "inverse_link", "offset", "unit", "value_and_gradient"
    }  # fmt: skip


def test_each_name_leads_to_its_loss():
    assert LOSSES == {"mse": npae.MSE, "bce": npae.BCE, "ssim": npae.SSIM}
