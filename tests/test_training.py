"""The training step is the algorithm of the textbook; the loop runs it over all batches."""

import numpy as np
import pytest
from helpers import table

import npae
from npae.training import DivergenceError, flatten, train, train_step

pytestmark = pytest.mark.usefixtures("backend")


def networks(width=5):
    encoder = npae.Sequential(npae.Dense(6, width, rng=0, dtype=np.float64), npae.Tanh())
    return encoder, npae.Dense(5, 6, rng=1, dtype=np.float64)


def parameters_of(encoder, decoder):
    return encoder.parameters() + decoder.parameters()


# --- one step --------------------------------------------------------------------------------------------------------


CODES = {
    "the code itself": None, "an ordered code": npae.NestedDropout(), "a Gaussian code": npae.GaussianCode(5),
}  # fmt: skip
PENALTIES = [None, npae.L1(0.3), npae.Contractive(0.2)]


@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 8)], ids=["plain", "weighted"])
@pytest.mark.parametrize("corruption", [None, npae.GaussianNoise(0.3)], ids=["clean", "noisy"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_a_step_goes_down_the_gradient_of_minus_log_p_plus_omega(corruption, weight, code, penalty):
    """With the noisy input, the clean target, and z drawn as the code says."""
    x, sgd, loss, code = table(8), npae.SGD(0.1), npae.MSE(), CODES[code]
    encoder, decoder = networks(10 if isinstance(code, npae.GaussianCode) else 5)
    parameters = parameters_of(encoder, decoder)

    def objective():
        rng = np.random.default_rng(5)
        x_in = x if corruption is None else corruption(x, rng)
        h = encoder.forward(x_in)
        z = h if code is None else code.draw(h, rng)
        omega = 0.0 if penalty is None else penalty.value_and_gradient(h, encoder, x_in, weight)[0]
        return float(loss.value_and_gradient(decoder.forward(z), x, weight)[0] + omega)

    before, value = [p.value.copy() for p in parameters], objective()
    gradients = []
    for p in parameters:  # by central differences
        gradients.append(np.zeros(p.value.shape))
        for i in np.ndindex(p.value.shape):
            w = p.value[i]
            p.value[i] = w + 1e-5
            above = objective()
            p.value[i] = w - 1e-5
            gradients[-1][i] = (above - objective()) / 2e-5
            p.value[i] = w
    state, options = sgd.init(parameters), {"corruption": corruption, "code": code, "penalty": penalty}
    rng = np.random.default_rng(5)
    returned = train_step(encoder, decoder, loss, sgd, parameters, state, x, rng=rng, weight=weight, **options)
    assert float(returned) == pytest.approx(value, rel=1e-12)
    assert state.step == 1
    for p, w, g in zip(parameters, before, gradients, strict=True):
        np.testing.assert_allclose(p.value, w - 0.1 * g, rtol=0, atol=1e-9)


def test_a_corruption_without_a_generator_draws_fresh_noise():
    seen = []

    def corruption(x, rng):
        seen.append(rng.standard_normal(3))
        return x

    encoder, decoder, sgd = npae.Dense(6, 2, rng=0), npae.Dense(2, 6, rng=1), npae.SGD(0.1)
    parameters = encoder.parameters() + decoder.parameters()
    x, state = np.ones((4, 6), np.float32), sgd.init(parameters)
    for _ in range(2):
        train_step(encoder, decoder, npae.MSE(), sgd, parameters, state, x, corruption=corruption)
    assert len(seen) == 2
    assert (seen[0] != seen[1]).all()


def test_steps_on_one_batch_learn_it():
    x, adam = table(8), npae.Adam(0.01)
    encoder, decoder = networks()
    vector = [flatten(parameters_of(encoder, decoder))]
    state = adam.init(vector)
    losses = [float(train_step(encoder, decoder, npae.MSE(), adam, vector, state, x)) for _ in range(300)]
    assert losses[-1] < losses[0] / 50


# --- the loop --------------------------------------------------------------------------------------------------------


def test_an_epochs_loss_is_the_mean_over_its_rows_not_over_its_batches():
    batches = [(np.zeros((3, 1)), None), (np.zeros((1, 1)), None)]
    values = iter([1.0, 5.0, 2.0, 2.0])
    assert list(train(lambda batch, weight: next(values), lambda: batches, 2)) == [2.0, 2.0]


def test_every_batch_and_its_weights_reach_the_step_in_order():
    seen, batches = [], [(np.full((2, 1), i), np.full(2, 10 * i)) for i in range(3)]
    for _ in train(lambda batch, weight: seen.append((batch[0, 0], weight[0])) or 0.0, lambda: iter(batches), 2):
        pass
    assert seen == 2 * [(0, 0), (1, 10), (2, 20)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_ends_training(value):
    with pytest.raises(DivergenceError, match="a loss of"):
        list(train(lambda batch, weight: value, lambda: [(np.zeros((3, 1)), None)], 1))


def test_an_epoch_without_batches_is_refused():
    with pytest.raises(ValueError, match="expected batches in every epoch, got none"):
        list(train(lambda batch, weight: 0.0, list, 1))


# --- one vector ------------------------------------------------------------------------------------------------------


def test_a_step_on_the_vector_is_a_step_of_every_weight():
    layer = npae.Dense(3, 2, rng=0)
    values = layer.W.value.copy()
    flat = flatten(layer.parameters())
    np.testing.assert_array_equal(layer.W.value, values)
    layer.forward(np.ones((4, 3)))
    layer.backward(np.ones((4, 2)))
    assert sorted(flat.grad) == [0.0] * (flat.grad.size - 8) + [4.0] * 8
    flat.value[:] = 7
    assert (layer.W.value == 7).all()
    assert (layer.b.value == 7).all()


def test_the_vector_takes_the_same_step_as_its_parameters():
    rng = np.random.default_rng(0)
    apart = [npae.Parameter(rng.standard_normal(shape), "p") for shape in ((3, 4), (4,), (5000, 3))]
    grads = [rng.standard_normal(p.value.shape) for p in apart]
    together = [npae.Parameter(p.value.copy(), "p") for p in apart]
    flat, adam = [flatten(together)], npae.Adam(0.01, weight_decay=0.1)
    state, flat_state = adam.init(apart), adam.init(flat)
    for _ in range(3):
        for p, q, g in zip(apart, together, grads, strict=True):
            p.grad[...], q.grad[...] = g, g
        adam.step(apart, state)
        adam.step(flat, flat_state)
    for p, q in zip(apart, together, strict=True):
        np.testing.assert_array_equal(p.value, q.value)


@pytest.mark.parametrize("optimizer", [npae.Adam(0.01, weight_decay=0.1), npae.SGD(0.1, momentum=0.9)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_begin_on_cache_lines_and_the_padding_between_them_stays_zero(optimizer, dtype):
    together = [npae.Parameter(np.ones(shape, dtype), "p") for shape in ((5, 7), (7,), (400, 3))]
    flat = flatten(together)
    state = optimizer.init([flat])
    for _ in range(3):
        for p in together:
            p.grad[...] = 1
        optimizer.step([flat], state)
    for array in (flat.value, flat.grad, *state.moments[0]):
        assert array.ctypes.data % 64 == 0
    for p in together:
        assert p.value.ctypes.data % 64 == 0
        assert p.grad.ctypes.data % 64 == 0
        assert p.value.base is not None
        assert (p.value < 1).all()
    assert np.count_nonzero(flat.value) == np.count_nonzero(flat.grad) == 5 * 7 + 7 + 400 * 3


def test_parameters_of_two_dtypes_or_none_at_all_cannot_form_a_vector():
    parameters = [npae.Parameter(np.ones(2, dtype), "p") for dtype in (np.float32, np.float64)]
    for wrong, message in ((parameters, "one dtype"), ([], "no parameters"), (parameters[:1] * 2, "parameter once")):
        with pytest.raises(ValueError, match=message):
            flatten(wrong)
