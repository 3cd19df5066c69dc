"""Every gradient equals what finite differences and, where possible, the complex step give.

    pytest tests/test_gradients.py -x

Break a backward pass and run this: the first failure names the smallest part that is wrong. Each test checks the
gradient by the input and by every parameter, against a random cotangent or through a loss, on both backends.
"""

import numpy as np
import pytest
from helpers import (
    ACTIVATIONS,
    FAMILY,
    SMOOTH,
    Drawn,
    batches,
    check,
    keep_off_kinks,
    like,
    networks,
    numbers,
    off_zero,
    scatter,
    seeds,
    tied,
)
from hypothesis import example, given
from hypothesis import strategies as st

import npae

pytestmark = pytest.mark.usefixtures("backend")
UNIT = numbers(0.0, 1.0)


def named(classes):
    return pytest.mark.parametrize("activation", classes, ids=lambda c: c.__name__)


# --- one batch each: the first failure within a second -----------------------------------------------------------

PARTS = {
    "Dense": npae.Dense(4, 3, dtype=np.float64, rng=0),
    **{kind.__name__: kind() for kind in ACTIVATIONS},
    **{type(loss).__name__: loss for loss in (npae.MSE(), npae.BCE(), npae.SSIM((2, 2), window=2, k1=0.3, k2=0.3))},
    "TiedDense": tied(),
    "TopK": npae.TopK(2),
    "WinnerTakeAll": Drawn(npae.WinnerTakeAll(0.5)),
    "NestedDropout": Drawn(npae.NestedDropout()),
    "GaussianCode": Drawn(npae.GaussianCode(2)),
    "Sequential": npae.Sequential(
        npae.Dense(4, 5, dtype=float, rng=1), npae.Tanh(), npae.Dense(5, 3, dtype=float, rng=2)
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_one_batch(part):
    rng = np.random.default_rng(0)
    x, target = rng.uniform(0.1, 1, (3, 4)) * rng.choice([-1, 1], (3, 4)), rng.random((3, 4))
    check(PARTS[part], x, "one batch", **({"target": target} if isinstance(PARTS[part], npae.Loss) else {}))


# --- layers --------------------------------------------------------------------------------------------------------


@given(x=batches(), n_out=st.integers(1, 6), seed=seeds())
def test_dense(x, n_out, seed):
    layer = npae.Dense(x.shape[1], n_out, dtype=np.float64, rng=seed)
    scatter(layer, np.random.default_rng(seed))
    check(layer, x, "Dense", random_state=seed)


@given(x=batches(), n_out=st.integers(1, 6), seed=seeds())
def test_dense_by_complex_step(x, n_out, seed):
    check(npae.Dense(x.shape[1], n_out, dtype=np.float64, rng=seed), x, "Dense, complex step", method="complex")


@given(x=batches(), n_out=st.integers(1, 6), seed=seeds())
def test_dense_without_the_input_gradient(x, n_out, seed):
    rng = np.random.default_rng(seed)
    layer, grad_y = npae.Dense(x.shape[1], n_out, dtype=np.float64, rng=rng), rng.standard_normal((len(x), n_out))
    layer.forward(x)
    layer.backward_parameters(grad_y)
    np.testing.assert_allclose(layer.W.grad, x.T @ grad_y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.b.grad, grad_y.sum(axis=0), rtol=1e-12, atol=1e-12)


# --- activations ---------------------------------------------------------------------------------------------------


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


# --- losses --------------------------------------------------------------------------------------------------------


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
    # Larger constants than Wang's: with his, flat windows make f bend too much within the step.
    loss = npae.SSIM((height, width), window=window, sigma=sigma, k1=0.3, k2=0.3)
    check(loss, x, "SSIM, drawn images", target=data.draw(like(x, UNIT)))


@given(data=st.data(), x=batches(elements=numbers(0.05, 0.95)))
def test_losses_under_weights(data, x):
    """Rows of weight 0 included."""
    weights = np.array(data.draw(st.lists(st.just(0.0) | numbers(0.1, 3), min_size=len(x), max_size=len(x))))
    weights[data.draw(st.integers(0, len(x) - 1))] = 1.0
    target = data.draw(like(x, numbers(0.05, 0.95)))
    for loss in (npae.MSE(), npae.BCE(), npae.SSIM((1, x.shape[1]), window=1, k1=0.3, k2=0.3)):

        class Weighted(npae.Loss):
            offset = loss.offset

            def value_and_gradient(self, prediction, target, loss=loss):
                return loss(prediction, target, sample_weight=weights)

        check(Weighted(), x, f"{type(loss).__name__} under weights", target=target)


# --- networks ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("loss", [npae.MSE(), npae.BCE(), npae.SSIM((2, 2), window=2, k1=0.3, k2=0.3)])
@given(data=st.data())
def test_network_under_a_loss(loss, data):
    network = data.draw(networks(n_out=4))
    x = data.draw(batches(width=network.n_in))
    keep_off_kinks(network, x)
    target = data.draw(batches(width=4, rows=st.just(len(x)), elements=UNIT))
    check(network, x, f"network under {type(loss).__name__}", loss=loss, target=target)


# --- whole autoencoders --------------------------------------------------------------------------------------------


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


def move_off_kinks(ae, x, seed, noise=None):
    """Change the biases: they begin at zero, and a unit whose inputs are all zero would be on its kink."""
    rng = np.random.default_rng(seed)
    for p in ae.network_.parameters():
        if p.value.ndim == 1:
            p.value += rng.uniform(-0.5, 0.5, p.value.shape)
    keep_off_kinks(ae.network_, x, noise)


@pytest.mark.parametrize("loss", LOSSES)
@given(x=batches(width=4, elements=UNIT), shape=st.fixed_dictionaries(SHAPES))
def test_autoencoder_before_and_after_training(loss, x, shape):
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


@pytest.mark.parametrize("name", FAMILY)
@given(x=batches(width=4, elements=numbers(0.05, 0.95)), shape=st.fixed_dictionaries(SHAPES))
def test_every_autoencoder_with_its_noise_held_still(name, x, shape):
    shape = {name: value for name, value in shape.items() if name != "activation"} | {"latent_dim": 2}
    if "winner" in name:
        x = x + 0.003 * np.sqrt(np.arange(len(x)))[:, None]  # between equal rows nobody wins
    model = FAMILY[name](**shape, optimizer=npae.Adam(0.05)).fit(x)
    whole, _, inputs, _ = model.objective(x, np.random.default_rng(0).spawn(1)[0])
    move_off_kinks(model, inputs, shape["random_state"], getattr(whole, "noise", None))  # of a code, or none
    check(model, x, f"{name}, {'trained' if shape['epochs'] else 'at the start'}", random_state=0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", [npae.AE, npae.DAE], ids=lambda c: c.__name__)
@given(
    x=batches(width=4, elements=UNIT), shape=st.fixed_dictionaries(SHAPES), smooth=st.sampled_from(["tanh", "sigmoid"])
)
def test_autoencoder_by_complex_step(loss, model, x, shape, smooth):
    trained = model(**(shape | {"activation": smooth}), **LOSSES[loss], optimizer=npae.Adam(0.05)).fit(x)
    check(trained, x, f"{model.__name__} under {loss}, complex step", method="complex")
