"""Optimizers take the steps that their papers define."""

import math

import numpy as np
import pytest
from helpers import numbers
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.optimizers import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("backend")

GRADS = st.lists(numbers(-10, 10).filter(lambda g: abs(g) > 1e-3), min_size=1, max_size=8)


def run(optimizer, w, grads, total_steps=None):
    """The values of one weight under a sequence of gradients."""
    p = npae.Parameter(np.array([float(w)]), "w")
    state = optimizer.init([p], total_steps=total_steps)
    path = []
    for g in grads:
        p.grad[:] = g
        optimizer.step([p], state)
        path.append(p.value.item())
    assert state.step == len(grads)
    return path


@given(
    w=numbers(),
    grads=GRADS,
    rate=numbers(1e-4, 1),
    beta1=numbers(0, 0.95),
    beta2=numbers(0.5, 0.999),
    eps=numbers(1e-8, 0.1),
    decay=numbers(0, 0.5),
)
def test_adam_follows_the_papers_algorithm(w, grads, rate, beta1, beta2, eps, decay):
    expected, m, v = [], 0.0, 0.0
    value = w
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        value = value - rate * (m_hat / (math.sqrt(v_hat) + eps) + decay * value)
        expected.append(value)
    adam = npae.Adam(rate, beta1=beta1, beta2=beta2, eps=eps, weight_decay=decay)
    np.testing.assert_allclose(run(adam, w, grads), expected, rtol=1e-10, atol=1e-12)


@given(g=numbers(-1e6, 1e6).filter(lambda g: abs(g) > 1e-3), rate=numbers(1e-5, 1))
def test_adams_first_step_has_the_size_of_the_learning_rate(g, rate):
    step = run(npae.Adam(rate), 0.0, [g])[0]
    assert step == pytest.approx(-math.copysign(rate, g), rel=1e-4)


@given(w=numbers(), grads=GRADS, rate=numbers(1e-4, 1), momentum=numbers(0.1, 0.95), nesterov=st.booleans())
def test_sgd_with_momentum_follows_its_definition(w, grads, rate, momentum, nesterov):
    expected, value, velocity = [], w, 0.0
    for g in grads:
        velocity = momentum * velocity + g
        value = value - rate * (g + momentum * velocity if nesterov else velocity)
        expected.append(value)
    got = run(npae.SGD(rate, momentum=momentum, nesterov=nesterov), w, grads)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@given(w=numbers(), g=numbers(), rate=numbers(1e-4, 1))
def test_plain_sgd_walks_down_the_gradient(w, g, rate):
    assert run(npae.SGD(rate), w, [g])[0] == pytest.approx(w - rate * g, rel=1e-12, abs=1e-12)


def test_the_defaults_are_those_that_the_paper_and_the_docstrings_give():
    assert npae.Adam() == npae.Adam(0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0)
    assert npae.SGD() == npae.SGD(0.01, momentum=0.0, nesterov=False)


@pytest.mark.parametrize(
    "optimizer",
    [npae.SGD(0.1), npae.SGD(0.02, momentum=0.9), npae.SGD(0.02, momentum=0.9, nesterov=True), npae.Adam(0.1)],
)
def test_every_optimizer_finds_the_bottom_of_a_bowl(optimizer):
    p = npae.Parameter(np.array([3.0, -2.0]), "w")
    state = optimizer.init([p])
    for _ in range(500):
        p.grad[:] = 2 * (p.value - [1.0, 1.0]) * [1.0, 3.0]
        optimizer.step([p], state)
    np.testing.assert_allclose(p.value, [1, 1], atol=1e-3)


def test_parameters_of_any_number_and_shape_take_their_own_steps():
    rng, adam = np.random.default_rng(0), npae.Adam(0.1, weight_decay=0.1)
    parameters = [npae.Parameter(rng.standard_normal(shape), "p") for shape in ((3, 4), (5,), (1, 1))]
    alone = [npae.Parameter(p.value.copy(), "p") for p in parameters]
    state, states = adam.init(parameters), [adam.init([p]) for p in alone]
    for _ in range(3):
        for p, q, s in zip(parameters, alone, states, strict=True):
            p.grad[...] = q.grad[...] = rng.standard_normal(p.value.shape)
            adam.step([q], s)
        adam.step(parameters, state)
    for p, q in zip(parameters, alone, strict=True):
        np.testing.assert_array_equal(p.value, q.value)


@given(start=numbers(0, 1), end=numbers(0, 1), share=numbers(0, 1))
def test_the_cosine_runs_from_start_to_end_and_is_halfway_in_the_middle(start, end, share):
    rate = npae.Cosine(start, end)
    assert rate(0.0) == pytest.approx(start, abs=1e-15)
    assert rate(1.0) == pytest.approx(end, abs=1e-15)
    assert rate(0.5) == pytest.approx((start + end) / 2, abs=1e-15)
    assert rate(share) + rate(1 - share) == pytest.approx(start + end, abs=1e-14)
    assert rate(0.25) == pytest.approx(end + (start - end) * (2 + math.sqrt(2)) / 4, abs=1e-14)


def test_a_schedule_sets_the_rate_of_each_step_from_first_to_last():
    rates = -np.diff([0.0, *run(npae.SGD(npae.Cosine(0.8, 0.2)), 0.0, [1.0] * 5, total_steps=5)])
    np.testing.assert_allclose(rates, [npae.Cosine(0.8, 0.2)(s) for s in (0, 0.25, 0.5, 0.75, 1)], rtol=1e-12)
    constant = run(npae.SGD(npae.Constant(0.5)), 0.0, [1.0, 1.0])
    assert constant == [-0.5, -1.0]


def test_a_schedule_stays_at_its_end_and_begins_at_its_start():
    rate = npae.Cosine(0.8, 0.2)
    np.testing.assert_allclose(run(npae.SGD(rate), 0.0, [-1.0] * 4, total_steps=2), np.cumsum([0.8, 0.2, 0.2, 0.2]))
    assert run(npae.SGD(rate), 0.0, [-1.0], total_steps=1) == [0.8]


def test_a_schedule_needs_the_number_of_steps():
    with pytest.raises(ValueError, match="expected total_steps"):
        npae.Adam(npae.Cosine(0.1)).init([npae.Parameter(np.zeros(2), "w")])


def test_each_name_leads_to_its_optimizer():
    assert {"sgd": npae.SGD, "adam": npae.Adam} == OPTIMIZERS
