"""The tests are tested: the code is broken on purpose, and a property that holds for the right code must fail.

Each fault replaces a piece of one function's source, on the plain backend; the piece must occur in it exactly
once, so that a fault cannot rot away unnoticed.
"""

import __future__

import inspect
import sys
import textwrap

import numpy as np
import pytest
import test_autoencoder
import test_corruptions
import test_gradients
import test_losses
import test_noise
import test_optimizers
import test_pca

import npae
from npae import (
    corruptions,
    gradcheck,
    initializers,
    layers,
    losses,
    optimizers,
    parameter,
    pca,
    schedules,
    training,
)
from npae.kernels import numpy_backend


def plant(monkeypatch, owner, name, old, new):
    """Put `new` in the place of `old` in the source of owner.name, or owner[name]."""
    function = owner[name] if isinstance(owner, dict) else vars(owner)[name]
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {name}"
    namespace = dict(vars(sys.modules[function.__module__]))
    code = compile(source.replace(old, new), f"<{name}, broken>", "exec", __future__.annotations.compiler_flag)
    exec(code, namespace)
    (monkeypatch.setitem if isinstance(owner, dict) else monkeypatch.setattr)(owner, name, namespace[name])


class Caught(BaseException):
    """A property failed. Hypothesis lets it through at once, where it would take seconds to shrink the example."""


def at_once(detector, monkeypatch):
    if not hasattr(detector, "hypothesis"):
        return detector
    inner = detector.hypothesis.inner_test

    def run(*args, **kwargs):
        try:
            inner(*args, **kwargs)
        except (AssertionError, ValueError, RuntimeError) as failure:
            raise Caught from failure

    monkeypatch.setattr(detector.hypothesis, "inner_test", run)
    return detector


# --- the properties that must catch them ------------------------------------------------------------------


def gradients_are_right():
    """A layer of each kind, a network and an autoencoder under each loss."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4))
    x[abs(x) < 0.1] = 0.1
    for kind in (npae.ReLU, npae.LeakyReLU, npae.ELU, npae.Sigmoid, npae.Tanh, npae.Identity):
        assert npae.check_gradients(kind(), x, verbose=False).passed
    network = npae.Sequential(*(npae.Dense(4, 4, dtype=float, rng=rng) for _ in range(3)))
    for p in network.parameters():
        p.value += 0.1 * rng.standard_normal(p.value.shape)
    assert npae.check_gradients(network.layers[0], x, verbose=False).passed
    assert npae.check_gradients(network, x, verbose=False).passed
    t, y = rng.random((2, 3, 4))
    for loss in (npae.MSE(), npae.BCE(), npae.SSIM((2, 2), window=2, k1=0.3, k2=0.3)):
        assert npae.check_gradients(loss, y, target=t, verbose=False).passed
        ae = npae.AE(hidden=(5,), latent_dim=2, activation="tanh", loss=loss, epochs=2, dtype=float, random_state=0)
        assert npae.check_gradients(ae.fit(t), t, verbose=False).passed


def backward_sets_and_does_not_add():
    layer = npae.Dense(3, 2, rng=0)
    for _ in range(2):
        layer.forward(np.ones((4, 3)))
        layer.backward(np.ones((4, 2)))
        assert layer.b.grad.tolist() == [4, 4]
        assert layer.W.grad.tolist() == [[4, 4]] * 3


def a_step_on_the_vector_moves_the_weights():
    layer = npae.Dense(3, 2, rng=0)
    flat = parameter.flatten(layer.parameters())
    layer.forward(np.ones((4, 3)))
    layer.backward(np.ones((4, 2)))
    assert sorted(flat.grad) == [0.0] * (flat.grad.size - 8) + [4.0] * 8
    flat.value[:] = 7
    assert (layer.W.value == 7).all()


def initial_weights_keep_the_size_of_a_signal():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 300))
    assert (
        np.maximum(x @ npae.Dense(300, 400, init="he", rng=0, dtype=float).W.value, 0) ** 2
    ).mean() == pytest.approx(1, rel=0.05)
    assert npae.Dense(300, 500, init="glorot", rng=0).W.value.var() == pytest.approx(2 / 800, rel=0.05)


gradients = gradients_are_right
mse_value = test_losses.test_mse_is_the_mean_over_every_element
bce_value = test_losses.test_bce_is_the_bernoulli_likelihood
ssim_value = test_losses.test_ssim_is_what_wang_et_al_define
adam = test_optimizers.test_adam_follows_the_papers_algorithm
sgd = test_optimizers.test_sgd_with_momentum_follows_its_definition
cosine = test_optimizers.test_the_cosine_runs_from_start_to_end_and_is_halfway_in_the_middle
clean_target = test_autoencoder.test_the_denoising_loss_compares_with_the_clean_x
K, L = numpy_backend, layers

FAULTS = {
    # layers: (where, name, right, wrong, the property that must fail)
    "W for its transpose": (L.Dense, "backward", "matmul(grad_y, W.T)", "matmul(grad_y, W)", gradients),
    "x for its transpose": (L.Dense, "backward_parameters", "matmul(x.T, grad_y, ", "matmul(grad_y.T, x, ", gradients),
    "no bias gradient": (L.Dense, "backward_parameters", "kernel.column_sums(grad_y, out=b.grad)", "pass", gradients),
    "a mean for the bias's sum": (K, "column_sums", "np.sum", "np.mean", gradients),
    "a sign in the input gradient": (L.Dense, "backward", "return kernels", "return -kernels", gradients),
    "gradients add up": (
        L.Dense, "backward_parameters", "kernel.matmul(x.T, grad_y, out=W.grad)", "W.grad += x.T @ grad_y",
        backward_sets_and_does_not_add),
    "bias forgotten": (K, "dense", "y += b", "pass", gradients),
    "backward in forward's order": (L.Sequential, "backward", "reversed(self.layers)", "self.layers", gradients),
    "a layer skipped": (L.Sequential, "backward", "reversed(self.layers)", "reversed(self.layers[1:])", gradients),
    "ReLU lets all through": (K, "relu_backward", "* (y > 0)", "", gradients),
    "LeakyReLU without leak": (K, "leaky_relu_backward", "slope * grad_y", "0 * grad_y", gradients),
    "ELU's y + alpha": (K, "elu_backward", "grad_y * (y + alpha)", "grad_y * (y + 1.1 * alpha)", gradients),
    "sigmoid's 1 - y": (K, "sigmoid_backward", "y * (1 - y)", "y * (1 + y)", gradients),
    "tanh's square": (K, "tanh_backward", "y * y", "y", gradients),
    "the first layer forgotten": (
        L.Sequential, "backward_parameters", "self.layers[0].backward_parameters(grad_y)", "pass",
        test_gradients.test_backward_parameters_is_backward_without_the_input_gradient),
    # losses
    "MSE without 1/(n d)": (K, "mse", "(2 / error.size)", "2", gradients),
    "MSE with 1/n": (K, "mse", "(2 / error.size)", "(2 / len(error))", gradients),
    "MSE without its 2": (K, "mse", "(2 / error.size)", "(1 / error.size)", gradients),
    "MSE summed over both": (K, "mse", "error * error, error * (2 / error.size)",
                             "error * error * error.size, error * 2", mse_value),
    "BCE without 1/(n d)": (K, "bce", "/ target.size", "", gradients),
    "BCE's sign": (K, "bce", "- target) /", "+ target) /", gradients),
    "BCE's log term": (K, "bce", "np.log1p(e)", "e", bce_value),
    "BCE's branch": (K, "bce", "1 - target, target", "target, 1 - target", bce_value),
    "SSIM's gradient without covariance": (K, "ssim_map", " - mu_y * d_xy", "", gradients),
    "SSIM without covariance": (K, "ssim_map", "2 * (xy - mu_x * mu_y) + c2", "c2", ssim_value),
    "SSIM's raw second moment": (K, "ssim_map", "(yy - mu_y * mu_y)", "yy", ssim_value),
    "SSIM without its mean term": (K, "ssim_map", "mean_above * structure_above / below",
                                   "structure_above / structure_below", ssim_value),
    "SSIM's d(x²) without its 2": (losses.SSIM, "value_and_gradient", "2 * x * back_xx", "x * back_xx", gradients),
    "SSIM's normaliser": (losses.SSIM, "value_and_gradient", "/ s.size", "/ prediction.size", gradients),
    "SSIM's sign": (losses.SSIM, "value_and_gradient", "grad = -(", "grad = (", gradients),
    "SSIM's window": (losses, "_averages", "(2 * sigma**2)", "sigma**2", ssim_value),
    # optimizers
    "Adam without correction of m": (optimizers.Adam, "prepare", "1 - self.beta1**t,", "1.0,", adam),
    "Adam's correction a step late": (
        optimizers.Adam, "prepare", "t = self.rate(state), state.done + 1", "t = self.rate(state), state.done + 2",
        adam),
    "Adam without correction of v": (optimizers.Adam, "prepare", "1 - self.beta2**t\n", "1.0\n", adam),
    "Adam with the betas swapped": (
        optimizers.Adam, "prepare", "self.beta1, self.beta2,", "self.beta2, self.beta1,", adam),
    "Adam without the root": (K, "adam", "np.sqrt(v / correction2)", "v / correction2", adam),
    "Adam's eps inside the root": (
        K, "adam", "np.sqrt(v / correction2) + eps", "np.sqrt(v / correction2 + eps)", adam),
    "decay forgotten": (K, "adam", "rate * direction + decay * value", "rate * direction", adam),
    "decay not scaled by the rate": (optimizers.Adam, "prepare", "rate * self.weight_decay", "self.weight_decay", adam),
    "uphill": (K, "sgd", "value -= ", "value += ", sgd),
    "velocity forgotten": (K, "sgd", "v *= momentum", "v *= 0", sgd),
    "Nesterov's look-ahead": (K, "sgd", "grad + momentum * v if", "grad + v if", sgd),
    "cosine over a whole turn": (schedules.Cosine, "__call__", "math.pi * share", "2 * math.pi * share", cosine),
    "a schedule that starts late": (
        optimizers.Optimizer, "rate", "state.done / last", "(state.done + 1) / last",
        test_optimizers.test_a_schedule_sets_the_rate_of_each_step_from_first_to_last),
    # the rest
    "gradients not in the vector": (
        parameter, "flatten", "p.grad = flat.grad[stretch].reshape(p.value.shape)", "pass",
        a_step_on_the_vector_moves_the_weights),
    "He's 2": (initializers.INITIALIZERS, "he", "2.0 / n_in", "1.0 / n_in", initial_weights_keep_the_size_of_a_signal),
    "Glorot's 6": (initializers.INITIALIZERS, "glorot", "6.0 / ", "3.0 / ", initial_weights_keep_the_size_of_a_signal),
    "a noisy target": (
        training, "_steps", "loss.value_and_gradient(x_hat, x, weight)", "loss.value_and_gradient(x_hat, x_in, weight)",
        clean_target),
    "no noise": (training, "_steps", "elif corruption is not None:", "elif False:", clean_target),
    "noise of the wrong size": (
        corruptions.GaussianNoise, "apply", "self.std, low", "self.std**2, low",
        test_corruptions.test_gaussian_noise_is_normal_with_the_given_deviation),
    "more pepper than salt": (
        K, "salt_and_pepper", "fraction * 2.0**31", "fraction / 3 * 2.0**32",
        test_corruptions.test_salt_and_pepper_come_in_equal_parts),
    "masking the rest": (
        K, "masking_noise", "key, fraction", "key, 1 - fraction",
        test_corruptions.test_masking_sets_the_given_fraction_to_zero),
    "nine rounds of Philox": (K, "philox", "range(10)", "range(9)", test_noise.test_the_stream_is_philox),
    "Philox without its key": (K, "philox", "half) ^ x1 ^ k0", "half) ^ x1", test_noise.test_the_stream_is_philox),
    "the wrong product in Philox": (
        K, "philox", "(p0 >> half) ^ x3", "(p1 >> half) ^ x3", test_noise.test_the_stream_is_philox),
    "half of Box and Muller": (
        K, "normals", "r * np.cos(a), r * np.sin(a)", "r * np.cos(a), r * np.cos(a)",
        test_noise.test_normals_cover_all_quadrants_of_box_and_muller_equally),
    "PCA without centring": (
        pca.PCA, "fit", "(X - mean) if w is None", "X if w is None",
        test_pca.test_pca_reconstructs_with_the_least_squared_error),
    "a checker that divides by h": (gradcheck, "_derivative", "/ (2 * h)", "/ h", gradients),
    "a checker that steps one way": (
        gradcheck, "_derivative", "f.at(array, index, w - h)", "f.at(array, index, w)", gradients),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, monkeypatch):
    owner, name, old, new, detector = FAULTS[fault]
    npae.use_backend("numpy")
    losses._averages.cache_clear()
    plant(monkeypatch, owner, name, old, new)
    with pytest.raises((AssertionError, ValueError, RuntimeError, Caught)):
        at_once(detector, monkeypatch)()
    losses._averages.cache_clear()


@pytest.mark.parametrize(
    "detector", {v[-1].__name__: v[-1] for v in FAULTS.values()}.values(), ids=lambda d: d.__name__
)
def test_without_a_fault_the_same_property_holds(detector):
    npae.use_backend("numpy")
    detector()
