"""Layers: y = x W + b and its way back, initial weights, names, and networks of layers."""

import copy
import pickle

import numpy as np
import pytest
from helpers import batches, seeds
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.kernels import KERNELS
from npae.layers import column_sums, dense, matmul

pytestmark = pytest.mark.usefixtures("backend")


# --- Dense -----------------------------------------------------------------------------------------------------------


@given(x=batches(), n_out=st.integers(1, 6), seed=seeds())
def test_dense_is_x_w_plus_b_element_by_element(x, n_out, seed):
    layer = npae.Dense(x.shape[1], n_out, dtype=np.float64, rng=seed)
    layer.b.value[...] = np.arange(n_out)
    W, b, y = layer.W.value, layer.b.value, layer.forward(x)
    expected = [[b[j] + sum(row[k] * W[k, j] for k in range(len(row))) for j in range(n_out)] for row in x]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_backward_sets_the_gradients_and_does_not_add_to_them():
    layer = npae.Dense(3, 2, rng=0)
    for _ in range(2):
        layer.forward(np.ones((4, 3)))
        layer.backward(np.ones((4, 2)))
        assert layer.b.grad.tolist() == [4, 4]
        assert layer.W.grad.tolist() == [[4, 4]] * 3


def test_backward_belongs_to_the_last_forward_pass():
    layer = npae.Dense(3, 2, rng=0, dtype=np.float64)
    layer.forward(np.zeros((4, 3)))
    layer.forward(np.ones((5, 3)))
    layer.backward(np.ones((5, 2)))
    assert layer.W.grad.tolist() == [[5, 5]] * 3


def test_a_gradient_of_another_shape_is_refused_and_changes_nothing():
    layer = npae.Dense(3, 2, rng=0, dtype=np.float64)
    with pytest.raises(RuntimeError, match="forward pass"):
        layer.backward(np.ones((4, 2)))
    layer.forward(np.ones((4, 3)))
    layer.backward(np.ones((4, 2)))
    for wrong in (np.ones((4, 3)), np.ones((3, 2)), np.ones(2)):
        with pytest.raises(ValueError, match=r"grad_y of shape \(4, 2\)"):
            layer.backward(wrong)
    assert layer.b.grad.tolist() == [4, 4]


def test_the_plain_products_and_sums_are_those_of_numpy():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((5, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    out, sums = np.empty((5, 3)), np.empty(4)
    np.testing.assert_allclose(matmul(a, b), np.einsum("ik,kj->ij", a, b), rtol=1e-12)
    assert matmul(a, b, out=out) is out
    np.testing.assert_allclose(dense(a, b, c), np.einsum("ik,kj->ij", a, b) + c, rtol=1e-12)
    column_sums(a, sums)
    np.testing.assert_allclose(sums, [sum(a[:, j]) for j in range(4)], rtol=1e-12)


def test_the_plain_column_sums_of_float32_are_added_in_float64():
    sums = np.empty(1, np.float32)
    KERNELS["column_sums"](np.array([[2.0**24], [1.0], [1.0], [1.0], [1.0]], np.float32), sums)
    assert sums[0] == 2**24 + 4


# --- initial weights -------------------------------------------------------------------------------------------------


def test_he_weights_keep_the_size_of_a_signal_before_a_relu():
    x = np.random.default_rng(0).standard_normal((1000, 300))
    layer = npae.Dense(300, 400, init="he", rng=0, dtype=np.float64)
    assert (np.maximum(layer.forward(x), 0) ** 2).mean() == pytest.approx(1, rel=0.05)
    assert layer.W.value.var() == pytest.approx(2 / 300, rel=0.05)


def test_glorot_weights_have_the_variance_of_glorot_and_bengio():
    W = npae.Dense(300, 500, init="glorot", rng=0).W.value
    assert W.var() == pytest.approx(2 / 800, rel=0.05)
    assert abs(W).max() <= np.sqrt(6 / 800)
    assert abs(W.mean()) < 5 * W.std() / np.sqrt(W.size)


def test_biases_begin_at_zero_and_weights_with_the_given_draw():
    one, same, other = (npae.Dense(20, 30, rng=seed) for seed in (0, 0, 1))
    assert not one.b.value.any()
    np.testing.assert_array_equal(one.W.value, same.W.value)
    assert not np.array_equal(one.W.value, other.W.value)
    rng = np.random.default_rng(0)
    first, second = npae.Dense(20, 30, rng=rng), npae.Dense(20, 30, rng=rng)
    assert not np.array_equal(first.W.value, second.W.value)


# --- parameters and networks -----------------------------------------------------------------------------------------


def test_copies_of_a_layer_leave_out_the_last_batch_and_the_gradients():
    layer = npae.Dense(3, 2, rng=0)
    layer.forward(np.ones((4, 3)))
    layer.backward(np.ones((4, 2)))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.W.value, layer.W.value)
        assert not twin.W.grad.any()
        with pytest.raises(RuntimeError, match="forward pass"):
            twin.backward(np.ones((4, 2)))


def test_parameters_are_named_after_their_place_in_the_outermost_network():
    inner = npae.Sequential(npae.Dense(3, 2, rng=0))
    assert [p.name for p in inner.parameters()] == ["0.W", "0.b"]
    npae.Sequential(inner, npae.Tanh())
    assert [p.name for p in npae.Sequential(npae.Tanh(), inner).parameters()] == ["1.0.W", "1.0.b"]


def test_a_network_has_the_widths_of_its_outer_layers():
    network = npae.Sequential(npae.Tanh(), npae.Dense(5, 4), npae.Sequential(npae.Dense(4, 3), npae.ReLU()))
    assert (network.n_in, network.n_out) == (5, 3)
    assert (npae.Sequential(npae.Tanh()).n_in, npae.Sequential(npae.Tanh()).n_out) == (None, None)


def test_layers_that_share_a_parameter_or_stand_twice_cannot_form_a_network():
    first, second = npae.Dense(6, 6, rng=0), npae.Dense(6, 6, rng=1)
    with pytest.raises(ValueError, match="each layer once"):
        npae.Sequential(first, npae.Sequential(first))
    second.W = first.W
    with pytest.raises(ValueError, match="each parameter once"):
        npae.Sequential(first, second)


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
