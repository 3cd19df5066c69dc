"""Activations have the values and the derivatives that their definitions give, for every size of x."""

import math

import numpy as np
import pytest
from helpers import ACTIVATIONS as KINDS
from helpers import batches, numbers
from hypothesis import given

import npae
from npae.activations import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("backend")

LAYERS = [npae.ReLU(), npae.LeakyReLU(0.1), npae.ELU(1.5), npae.Sigmoid(), npae.Tanh(), npae.Identity()]
DEFINITIONS = {
    npae.ReLU: lambda x: x if x > 0 else 0.0,
    npae.LeakyReLU: lambda x: x if x > 0 else 0.1 * x,
    npae.ELU: lambda x: x if x > 0 else 1.5 * (math.exp(x) - 1),
    npae.Sigmoid: lambda x: 1 / (1 + math.exp(-x)),
    npae.Tanh: math.tanh,
    npae.Identity: lambda x: x,
}


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@given(x=batches(elements=numbers(-30, 30)))
def test_each_activation_is_its_definition_element_by_element(layer, x):
    expected = [[DEFINITIONS[type(layer)](v) for v in row] for row in x.tolist()]
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-12, atol=1e-15)


def test_the_default_slope_is_a_hundredth_and_the_default_alpha_one():
    assert (npae.LeakyReLU().slope, npae.ELU().alpha) == (0.01, 1.0)


def test_at_the_kink_the_derivative_is_that_of_the_left_side():
    x, ones = np.zeros((1, 1)), np.ones((1, 1))
    for layer, slope in ((npae.ReLU(), 0.0), (npae.LeakyReLU(0.1), 0.1), (npae.ELU(1.5), 1.5)):
        layer.forward(x)
        assert layer.backward(ones).item() == slope


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_huge_numbers_overflow_nowhere(layer, dtype):
    x = np.array([[-1e30, -1e4, 1e4, 1e30]], dtype)
    with np.errstate(all="raise", under="ignore"):
        y = layer.forward(x)
        grad_x = layer.backward(np.ones_like(x))
    assert y.dtype == grad_x.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(grad_x).all()


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_results_share_no_memory_with_arguments(layer):
    x, grad_y = np.ones((2, 3)), np.ones((2, 3))
    y = layer.forward(x)
    grad_x = layer.backward(grad_y)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(grad_x, grad_y)
    assert not np.shares_memory(grad_x, y)


def test_branches_tell_on_which_side_of_the_kink_each_element_was():
    x = np.array([[-1.0, 0.0, 2.0]])
    for layer in LAYERS:
        layer.forward(x)
        sides = [side.tolist() for side in layer.branches()]
        assert sides == ([[[False, False, True]]] if layer.kinked else [])
    assert [layer.kinked for layer in LAYERS] == [True, True, True, False, False, False]
    network = npae.Sequential(npae.Tanh(), npae.Sequential(npae.ReLU(), npae.ELU()))
    network.forward(x)
    assert len(network.branches()) == 2


def test_each_name_leads_to_its_activation():
    assert list(ACTIVATIONS) == ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"]
    assert list(ACTIVATIONS.values()) == KINDS
