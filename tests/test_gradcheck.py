"""The gradient checker itself: it passes right gradients in any unit, refuses wrong ones, and says where they are."""

from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from helpers import refuses

import npae

pytestmark = pytest.mark.usefixtures("backend")


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


def test_nothing_compared_is_not_a_pass(capsys):
    report = npae.check_gradients(npae.ReLU(), [[0.0, 0.0]])
    assert not report.passed
    assert np.isnan(report.error)
    assert "0 of 2 checked" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_a_gradient_that_is_no_number_is_refused_even_where_the_derivative_is_zero(wrong):
    report = npae.check_gradients(wrong_by(lambda g: g * 0 + wrong), [[100.0]], verbose=False)
    assert not report.passed
    assert report.error == np.inf
    assert "WRONG" in str(report)


@pytest.mark.parametrize(("fault", "relation"), [(0.0, "<="), (1e-3, ">")])
@pytest.mark.parametrize(("method", "tolerance"), [("central", "1e-07"), ("complex", "1e-12"), ("central", "1e-05")])
def test_the_report_compares_the_worst_error_with_its_tolerance(fault, relation, method, tolerance):
    options = {"method": method, "tolerance": float(tolerance), "verbose": False}
    report = npae.check_gradients(wrong_by(lambda g: g * (1 + fault)), np.full((2, 3), 0.3), **options)
    first, *_, last = str(report).splitlines()
    assert first == f"gradients of Wrong: {'WRONG' if fault else 'ok'}, tolerance {tolerance}"
    assert f"error {report.error:.1e} {relation} tolerance {tolerance} + doubt" in last


def test_the_summary_of_a_test_run_shows_each_tolerance_beside_the_worst_error(monkeypatch, pytestconfig):
    class Terminal:
        lines: ClassVar[list] = []
        section = write_line = lines.append

    conftest = pytestconfig.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))
    monkeypatch.setattr(conftest, "TALLY", {"tanh": (3, 40, 2e-9, 1e-7), "tanh, complex": (1, 5, 1e-15, 1e-12)})
    conftest.pytest_terminal_summary(Terminal)
    _, central, complex_step = Terminal.lines
    assert "worst error 2.0e-09, tolerance 1e-07" in central
    assert "worst error 1.0e-15, tolerance 1e-12" in complex_step


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


@pytest.mark.once
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


def test_the_step_grows_with_the_number_that_it_moves():
    """With a step of 1e-5 the rounding of numbers near 10^6 would hide an error of 1e-5."""

    class Wrong(npae.Identity):
        def backward(self, grad_y):
            return super().backward(grad_y) * (1 + 1e-5)

    x = np.full((2, 3), 1e6)
    assert npae.check_gradients(npae.Identity(), x, verbose=False).passed
    assert not npae.check_gradients(Wrong(), x, verbose=False).passed


def test_where_f_bends_within_the_step_the_difference_is_not_trusted_to_that_digit():
    x = np.full((1, 1), 0.3)
    report = npae.check_gradients(npae.Tanh(), x, step=1e-2, verbose=False)
    assert report.passed
    assert report.error > report.tolerance
    assert not npae.check_gradients(wrong_by(lambda g: g * 1.001), x, step=1e-2, verbose=False).passed


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
        def chain(self, grad_y, y):
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


X = np.random.default_rng(0).random((12, 6))
BAD_CALLS = {
    "method": (lambda: npae.check_gradients(npae.ReLU(), X, method="fd"), ValueError, "method", "'fd'"),
    "step": (lambda: npae.check_gradients(npae.ReLU(), X, step=0), ValueError, "step", "0.0"),
    "max_elements": (
        lambda: npae.check_gradients(npae.ReLU(), X, max_elements=0), ValueError, "max_elements >= 1", "0"),
    "not a model": (lambda: npae.check_gradients(len, X), TypeError, "a layer, a loss or", "builtin"),
    "no target": (lambda: npae.check_gradients(npae.MSE(), X), ValueError, "its target together", "NoneType"),
    "no loss": (lambda: npae.check_gradients(npae.ReLU(), X, target=X), ValueError, "together", "loss None"),
    "a name": (
        lambda: npae.check_gradients(npae.ReLU(), X, loss="mse", target=X), TypeError, "npae.MSE()", "'mse'"),
    "target of strings": (
        lambda: npae.check_gradients(npae.MSE(), X, target=X.astype(str)), TypeError, "target as real", "<U"),
    "two losses": (
        lambda: npae.check_gradients(npae.AE((5,), 2, epochs=1).fit(X), X, loss=npae.MSE(), target=X),
        ValueError, "no loss", "got one"),
    "NaN": (lambda: npae.check_gradients(npae.ReLU(), X * np.nan), ValueError, "finite x", "nan"),
    "empty": (lambda: npae.check_gradients(npae.ReLU(), X[:0]), ValueError, "at least one row", "(0, 6)"),
    "kinks": (
        lambda: npae.check_gradients(npae.ReLU(), X, method="complex"), ValueError, "an analytic model", "kinks"),
    "strings": (lambda: npae.check_gradients(npae.ReLU(), [["a"]]), TypeError, "real numbers", "<U1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_is_refused(case):
    call, error, wanted, came = BAD_CALLS[case]
    refuses(call, error, wanted, came)
