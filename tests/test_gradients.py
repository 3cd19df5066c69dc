"""Every gradient equals what finite differences, and where possible the complex step, say it is.

Input and parameters, against a random cotangent or through a loss, on both backends.
"""

from itertools import pairwise

import numpy as np
import pytest
from helpers import (
    ACTIVATIONS,
    SMOOTH,
    batches,
    check,
    keep_off_kinks,
    like,
    networks,
    numbers,
    off_zero,
    scatter,
    seeds,
)
from hypothesis import example, given
from hypothesis import strategies as st

import npae

pytestmark = pytest.mark.usefixtures("backend")
UNIT = numbers(0.0, 1.0)


def named(classes):
    return pytest.mark.parametrize("activation", classes, ids=lambda c: c.__name__)


# --- layers ------------------------------------------------------------------------------------


@given(x=batches(), n_out=st.integers(1, 6), seed=seeds())
def test_dense(x, n_out, seed):
    layer = npae.Dense(x.shape[1], n_out, dtype=np.float64, rng=seed)
    scatter(layer, np.random.default_rng(seed))
    check(layer, x, "Dense", random_state=seed)


@given(x=batches(), n_out=st.integers(1, 6), seed=seeds())
def test_dense_by_complex_step(x, n_out, seed):
    check(npae.Dense(x.shape[1], n_out, dtype=np.float64, rng=seed), x, "Dense, complex step", method="complex")


@named(ACTIVATIONS)
@given(x=batches(elements=off_zero()), seed=seeds())
def test_activation(activation, x, seed):
    check(activation(), x, activation.__name__, random_state=seed)


@named(SMOOTH)
@given(x=batches(elements=numbers(-30, 30)), seed=seeds())
def test_smooth_activation_by_complex_step(activation, x, seed):
    check(activation(), x, f"{activation.__name__}, complex step", method="complex", random_state=seed)


@given(x=batches(elements=off_zero()), slope=numbers(0, 1), alpha=numbers(0.1, 3), seed=seeds())
def test_activation_with_its_own_slope(x, slope, alpha, seed):
    check(npae.LeakyReLU(slope), x, "LeakyReLU, drawn slope", random_state=seed)
    check(npae.ELU(alpha), x, "ELU, drawn alpha", random_state=seed)


@given(data=st.data(), seed=seeds())
def test_sequential(data, seed):
    network = data.draw(networks())
    x = data.draw(batches(width=network.n_in))
    keep_off_kinks(network, x)
    check(network, x, "Sequential", random_state=seed)


@given(data=st.data(), seed=seeds())
def test_sequential_by_complex_step(data, seed):
    network = data.draw(networks(activations=SMOOTH))
    x = data.draw(batches(width=network.n_in))
    check(network, x, "Sequential, complex step", method="complex", random_state=seed)


# --- losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["central", "complex"])
@given(data=st.data(), x=batches())
def test_mse(method, data, x):
    check(npae.MSE(), x, f"MSE, {method}", method=method, target=data.draw(like(x, numbers())))


@pytest.mark.parametrize("method", ["central", "complex"])
@given(data=st.data(), x=batches(elements=numbers(-30, 30)))
def test_bce(method, data, x):
    check(npae.BCE(), x, f"BCE, {method}", method=method, target=data.draw(like(x, UNIT)))


@pytest.mark.parametrize("method", ["central", "complex"])
@given(height=st.integers(11, 13), width=st.integers(11, 14), rows=st.integers(1, 2), seed=seeds())
def test_ssim(method, height, width, rows, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, rows, height * width))
    check(npae.SSIM((height, width)), x, f"SSIM, {method}", method=method, target=y)


@given(
    height=st.integers(3, 5), width=st.integers(3, 5), window=st.integers(1, 3), sigma=numbers(0.3, 3), data=st.data()
)
def test_ssim_of_drawn_images_and_windows(height, width, window, sigma, data):
    images = batches(width=height * width, rows=st.integers(1, 2), elements=UNIT)
    x = data.draw(images)
    # Larger constants than Wang's: flat drawn windows would otherwise make the curvature, not the gradient, large.
    loss = npae.SSIM((height, width), window=window, sigma=sigma, k1=0.3, k2=0.3)
    check(loss, x, "SSIM, drawn images", target=data.draw(like(x, UNIT)))


@pytest.mark.parametrize("loss", [npae.MSE(), npae.BCE(), npae.SSIM((2, 2), window=2, k1=0.3, k2=0.3)])
@given(data=st.data())
def test_network_under_a_loss(loss, data):
    network = data.draw(networks(n_out=4))
    x = data.draw(batches(width=network.n_in))
    keep_off_kinks(network, x)
    target = data.draw(batches(width=4, rows=st.just(len(x)), elements=UNIT))
    check(network, x, f"network under {type(loss).__name__}", loss=loss, target=target)


# --- whole autoencoders -----------------------------------------------------------------------------

LOSSES = {
    "mse": {"loss": "mse"},
    "bce": {"loss": "bce"},
    "ssim": {"loss": npae.SSIM((2, 2), window=2, k1=0.3, k2=0.3), "output": "sigmoid"},
}
SHAPES = {
    "hidden": st.lists(st.integers(1, 5), max_size=2).map(tuple),
    "latent_dim": st.integers(1, 4),
    "activation": st.sampled_from(["relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"]),
    "epochs": st.sampled_from([0, 3]),
    "batch_size": st.integers(1, 4),
    "random_state": st.integers(0, 1000),
}


@pytest.mark.parametrize("loss", LOSSES)
@given(x=batches(width=4, elements=UNIT), shape=st.fixed_dictionaries(SHAPES))
def test_autoencoder_as_it_begins_and_after_training(loss, x, shape):
    ae = npae.AE(**shape, **LOSSES[loss], optimizer=npae.Adam(0.05)).fit(x)
    move_off_kinks(ae, x, shape["random_state"])
    check(ae, x, f"AE under {loss}, {'trained' if shape['epochs'] else 'at the start'}")


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
@pytest.mark.parametrize("loss", LOSSES)
@given(x=batches(width=4, elements=UNIT), shape=st.fixed_dictionaries(SHAPES))
@example(
    x=np.array([[0.73973186, 0.3, 0, 0.96340597], *np.zeros((3, 4))]),
    shape={
        "hidden": (2,), "latent_dim": 4, "activation": "leaky_relu", "epochs": 0, "batch_size": 1, "random_state": 512
    },
)  # fmt: skip
def test_denoising_autoencoder_with_its_noise_held_still(loss, corruption, x, shape):
    dae = npae.DAE(**shape, **LOSSES[loss], corruption=corruption, optimizer=npae.Adam(0.05)).fit(x)
    noisy = dae.objective(x, np.random.default_rng(0).spawn(1)[0]).inputs  # as the check below draws them
    move_off_kinks(dae, noisy, shape["random_state"])
    report = check(dae, x, f"DAE under {loss}, {corruption}", random_state=0)
    assert report.comparisons[0].shape == x.shape


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", [npae.AE, npae.DAE], ids=lambda c: c.__name__)
@given(
    x=batches(width=4, elements=UNIT), shape=st.fixed_dictionaries(SHAPES), smooth=st.sampled_from(["tanh", "sigmoid"])
)
def test_autoencoder_by_complex_step(loss, model, x, shape, smooth):
    trained = model(**(shape | {"activation": smooth}), **LOSSES[loss], optimizer=npae.Adam(0.05)).fit(x)
    check(trained, x, f"{model.__name__} under {loss}, complex step", method="complex")


def move_off_kinks(ae, x, seed):
    """Biases begin at zero, where a unit that sees only zeros sits on its kink: move them."""
    rng = np.random.default_rng(seed)
    for p in ae.network_.parameters():
        if p.value.ndim == 1:
            p.value += rng.uniform(-0.5, 0.5, p.value.shape)
    keep_off_kinks(ae.network_, x)


# --- the checker's own properties -------------------------------------------------------------------


def test_central_differences_are_of_second_order():
    """Halving h divides the truncation error by four, as it must if the derivative compared with is right."""
    rng = np.random.default_rng(0)
    network = npae.Sequential(
        npae.Dense(4, 5, dtype=np.float64, rng=rng), npae.Tanh(), npae.Dense(5, 3, rng=rng, dtype=np.float64)
    )
    x = rng.standard_normal((6, 4))
    errors = [
        npae.check_gradients(network, x, step=h, tolerance=1, verbose=False).error for h in (0.08, 0.04, 0.02, 0.01)
    ]
    ratios = [a / b for a, b in pairwise(errors)]
    assert all(3.9 < r < 4.1 for r in ratios), ratios


def test_a_kink_within_the_step_is_left_out_and_counted():
    report = npae.check_gradients(npae.ReLU(), [[0.0, 1.0, 1e-7, -2.0]], verbose=False)
    assert report.passed
    assert report.kinks == 2
    assert report.comparisons[0].checked == 2


def test_kinks_of_inner_layers_are_left_out_as_well():
    report = npae.check_gradients(npae.Sequential(npae.Tanh(), npae.Sequential(npae.ReLU())), [[0.0, 1.0]])
    assert report.passed
    assert report.kinks == 1


def test_nothing_compared_is_not_a_pass():
    assert not npae.check_gradients(npae.ReLU(), [[0.0, 0.0]], verbose=False).passed


def test_the_report_names_the_worst_element(capsys):
    class Wrong(npae.Tanh):
        def backward(self, grad_y):
            grad = super().backward(grad_y)
            grad[1, 2] *= 1.001
            return grad

    report = npae.check_gradients(Wrong(), np.full((2, 3), 0.3))
    printed = capsys.readouterr().out
    assert not report.passed
    assert report.worst.index == (1, 2)
    assert "gradients of Wrong: WRONG" in printed
    assert "worst input[1, 2]: analytic" in printed
    a, n = report.worst.analytic, report.worst.numeric
    assert a / n == pytest.approx(1.001, rel=1e-6)
    layer = Wrong()
    layer.forward(np.full((2, 3), 0.3))
    largest = np.abs(layer.backward(np.random.default_rng(0).spawn(1)[0].standard_normal((2, 3)))).max()
    assert report.worst.size == pytest.approx(largest, rel=1e-9)
    assert report.error == pytest.approx(abs(a - n) / largest, rel=1e-9)


def wrong_by(fault):
    """A layer whose gradient is that of Tanh, put through `fault`."""

    class Wrong(npae.Tanh):
        def backward(self, grad_y):
            return fault(super().backward(grad_y))

    return Wrong()


@pytest.mark.parametrize(
    "fault",
    [
        lambda g: -g,
        lambda g: g[::-1],
        lambda g: g[:, ::-1],
        lambda g: g + 0.01,
        lambda g: np.where(g == g[1, 2], np.nan, g),
    ],
    ids=["a sign", "rows swapped", "columns swapped", "a constant", "NaN"],
)
def test_a_wrong_gradient_is_refused(fault):
    assert not npae.check_gradients(wrong_by(fault), np.full((2, 3), 0.3), verbose=False).passed


@pytest.mark.parametrize(("method", "digits"), [("central", 7), ("complex", 12)])
def test_a_gradient_may_be_wrong_after_so_many_digits_and_not_before(method, digits):
    x = np.zeros((4, 5))
    for fault, right in ((10 * 10.0**-digits, False), (0.1 * 10.0**-digits, True)):
        layer = wrong_by(lambda g, fault=fault: g * (1 + fault))
        assert npae.check_gradients(layer, x, method=method, verbose=False).passed == right


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1, 255, 1000, 1e6])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_right_gradients_pass_in_any_unit_and_wrong_ones_do_not(unit, activation):
    """Digits as they come, with pixels up to 255, and in other units: the loss is up to 10^12 times as large."""
    X = npae.datasets.digits()[0][:100] * unit
    ae = npae.AE(hidden=(20,), latent_dim=5, activation=activation, epochs=1, random_state=0).fit(X)
    options = {"max_elements": 60, "verbose": False}
    assert npae.check_gradients(ae, X[:6], **options).passed

    class Wrong(npae.MSE):
        def value_and_gradient(self, prediction, target):
            value, grad = super().value_and_gradient(prediction, target)
            return value, 1.01 * grad

    ae.loss_ = Wrong()
    assert not npae.check_gradients(ae, X[:6], **options).passed


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (0.0, False), (1.001, False)])
def test_derivatives_of_a_mean_over_millions_of_elements_are_not_too_small_to_be_wrong(factor, right):
    """Each is near 10^-8, which is 0 to a fixed tolerance of 10^-7."""

    class Scaled(npae.MSE):
        def value_and_gradient(self, prediction, target):
            value, grad = super().value_and_gradient(prediction, target)
            return value, factor * grad

    x, target = np.random.default_rng(0).random((2, 30_000, 784), np.float32)
    report = npae.check_gradients(Scaled(), x, target=target, max_elements=2, verbose=False)
    assert report.worst.size < 1e-7
    assert report.passed == right


def test_where_f_bends_within_the_step_the_difference_is_not_trusted_to_that_digit():
    x = np.full((1, 1), 0.3)
    report = npae.check_gradients(npae.Tanh(), x, step=1e-2, verbose=False)
    assert report.passed
    assert report.error > report.tolerance
    assert not npae.check_gradients(wrong_by(lambda g: g * 1.001), x, step=1e-2, verbose=False).passed


@given(data=st.data(), x=batches(elements=numbers(0.05, 0.95)))
def test_losses_under_weights(data, x):
    """Right gradients under weights of rows, zero weights included, whose value is that of `rows`."""
    weights = np.array(data.draw(st.lists(st.just(0.0) | numbers(0.1, 3), min_size=len(x), max_size=len(x))))
    weights[data.draw(st.integers(0, len(x) - 1))] = 1.0
    target = data.draw(like(x, numbers(0.05, 0.95)))
    for loss in (npae.MSE(), npae.BCE(), npae.SSIM((1, x.shape[1]), window=1, k1=0.3, k2=0.3)):
        value, grad = loss(x, target, sample_weight=weights)
        assert value == pytest.approx(np.average(loss.rows(x, target), weights=weights), rel=1e-12, abs=1e-15)
        assert grad.shape == x.shape

        class Weighted(npae.Loss):
            offset = loss.offset

            def value_and_gradient(self, prediction, target, loss=loss):
                return loss(prediction, target, sample_weight=weights)

        check(Weighted(), x, f"{type(loss).__name__} under weights", target=target)


def test_one_wrong_parameter_is_enough():
    class Wrong(npae.Dense):
        def backward_parameters(self, grad_y):
            super().backward_parameters(grad_y)
            self.b.grad *= 1.1

    report = npae.check_gradients(Wrong(3, 2, rng=0), np.ones((4, 3)), verbose=False)
    assert not report.passed
    assert report.worst.name == "b"
    assert [c.error < 1e-7 for c in report.comparisons] == [True, True, False]


@pytest.mark.parametrize("seed", [0, 5])
def test_an_x_drawn_with_the_checkers_own_seed_hides_nothing(seed):
    """Were v the very numbers of x, v > 0 would be y > 0, and this fault would pass."""

    class WrongMask(npae.ReLU):
        def _chain(self, grad_y, y):
            return grad_y * (grad_y > 0)

    x = np.random.default_rng(seed).standard_normal((4, 5))
    assert npae.check_gradients(npae.ReLU(), x, random_state=seed, verbose=False).passed
    assert not npae.check_gradients(WrongMask(), x, random_state=seed, verbose=False).passed


def test_the_model_is_left_as_it_was():
    ae = npae.AE(hidden=(3,), latent_dim=2, epochs=1, random_state=0).fit(np.random.default_rng(0).random((8, 4)))
    before = [(p.value.copy(), p.grad.copy(), p.value.dtype) for p in ae.network_.parameters()]
    npae.check_gradients(ae, np.random.default_rng(1).random((3, 4)), verbose=False)
    for p, (value, grad, dtype) in zip(ae.network_.parameters(), before, strict=True):
        assert p.value.dtype == dtype
        assert np.array_equal(p.value, value)
        assert np.array_equal(p.grad, grad)


def test_at_most_max_elements_of_each_array_are_compared():
    report = npae.check_gradients(npae.Dense(30, 20, rng=0), np.ones((2, 30)), max_elements=7, verbose=False)
    assert [c.checked for c in report.comparisons] == [7, 7, 7]


def test_the_elements_that_are_compared_come_from_the_whole_array():
    for half in (slice(0, 15), slice(15, 30)):

        def halved(g, half=half):
            g[half] *= 0.5
            return g

        assert not npae.check_gradients(wrong_by(halved), np.ones((30, 4)), max_elements=20, verbose=False).passed


def test_backward_parameters_is_backward_without_the_input_gradient():
    rng = np.random.default_rng(0)
    network = npae.Sequential(
        npae.Sequential(npae.Dense(5, 4, dtype=float, rng=rng), npae.Tanh()), npae.Dense(4, 3, dtype=float, rng=rng)
    )
    x, grad_y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    network.forward(x)
    network.backward(grad_y)
    expected = [p.grad.copy() for p in network.parameters()]
    for p in network.parameters():
        p.grad[...] = np.nan
    network.forward(x)
    assert network.backward_parameters(grad_y) is None
    for p, grad in zip(network.parameters(), expected, strict=True):
        np.testing.assert_array_equal(p.grad, grad)
