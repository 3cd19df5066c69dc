"""Penalties: each is what its equation says, and so is its gradient."""

import numpy as np
import pytest
from helpers import Penalised, batches, check, keep_off_kinks, networks, numbers, off_zero, refuses, seeds, table
from hypothesis import given
from hypothesis import strategies as st

import npae

pytestmark = pytest.mark.usefixtures("backend")
Z = np.random.default_rng(0).uniform(0.05, 0.95, (12, 3))
WEIGHT = np.arange(12.0)


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@given(data=st.data(), z=batches(elements=off_zero()))
def test_penalties_of_z(weighted, data, z):
    w = np.array(data.draw(st.lists(numbers(0.1, 3), min_size=len(z), max_size=len(z)))) if weighted else None
    kind = "weighted" if weighted else "plain"
    check(Penalised(npae.L1(0.7), w), z, f"L1, {kind}", target=z)
    check(
        Penalised(npae.GaussianKL(0.7), w), np.hstack([z, z[:, ::-1]]), f"GaussianKL, {kind}", target=np.hstack([z, z])
    )
    inside = 1 / (1 + np.exp(-z / 2)) / (1 if w is None else 1.2 * max(1, w.max()))  # a weighted mean, too, is inside
    check(Penalised(npae.KLSparsity(0.2, 0.7), w), inside, f"KLSparsity, {kind}", target=z)


@pytest.mark.parametrize("weighted", [False, True])
@given(data=st.data(), seed=seeds())
def test_the_contractive_penalty_by_every_parameter_of_an_encoder(weighted, data, seed):
    """Its gradient by z is 0: all of it is pending at the parameters, which the next backward pass adds."""
    rng = np.random.default_rng(seed)
    network = data.draw(networks())
    x = data.draw(batches(width=network.n_in, elements=numbers(-0.5, 0.5)))  # the slope 1 - y² of a saturated tanh
    keep_off_kinks(network, x)  # has too few digits for a difference of two values
    w = rng.uniform(0.1, 2, len(x)) if weighted else None
    penalty = npae.Contractive(0.7)

    class Value(npae.Layer):
        """Ω as a layer: (1, 1)."""

        parameters, branches = network.parameters, network.branches

        def forward(self, x):
            z = network.forward(x)
            self.value, self.grad = penalty.value_and_gradient(z, network, x, w)
            return np.reshape(self.value, (1, 1))

        def backward(self, grad_y):
            assert not self.grad.any()
            network.backward(self.grad)
            return  # the gradient by x is not computed

        def __deepcopy__(self, memo):
            return self

    check(Value(), x, "Contractive", loss=lambda y, _: (y[0, 0], np.ones((1, 1))), target=np.zeros((1, 1)))


# --- values ----------------------------------------------------------------------------------------------------------


def test_l1_is_the_mean_size_of_a_number_of_the_code():
    assert npae.L1(0.5)(-Z)[0] == pytest.approx(0.5 * Z.mean(), rel=1e-12)


def test_kl_sparsity_compares_how_active_a_unit_is_with_how_active_it_should_be():
    rho, active = 0.1, Z.mean(axis=0)
    kl = rho * np.log(rho / active) + (1 - rho) * np.log((1 - rho) / (1 - active))
    assert npae.KLSparsity(0.1, 2.0)(Z)[0] == pytest.approx(2 * kl.sum(), rel=1e-12)
    as_wanted = Z - active + rho + 0.5
    assert npae.KLSparsity(0.6, 2.0)(as_wanted.clip(0, 1))[0] == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("z", [0.0, 1.0])
def test_kl_sparsity_of_a_unit_that_is_never_or_always_active_is_finite(z):
    value, grad = npae.KLSparsity()(np.full((4, 2), z))
    assert np.isfinite(value)
    assert (np.sign(grad) == (1 if z else -1)).all()


def jacobians(f, x, k):
    """(N, k, d): the derivatives of each number of the code, by one backward pass for each."""
    rows = []
    for j in range(k):
        f.forward(x)
        rows.append(f.backward(np.tile(np.eye(k)[j], (len(x), 1))))
    return np.stack(rows, axis=1)


@given(data=st.data())
def test_contractive_is_the_mean_squared_size_of_the_jacobian(data):
    f = data.draw(networks())
    x = data.draw(batches(width=f.n_in))
    weight = np.linspace(1, 2, len(x))
    z = f.forward(x)
    squares = np.square(jacobians(f, x, z.shape[1])).sum(axis=(1, 2))
    value, grad = npae.Contractive(0.3)(z, f, x, sample_weight=weight)
    assert value == pytest.approx(0.3 * np.average(squares, weights=weight), rel=1e-9, abs=1e-300)
    assert not grad.any()


def test_a_contractive_autoencoder_has_a_smaller_jacobian():
    X, sizes = table(), []
    for weight in (0, 1.0):
        ae = npae.AE((8,), 3, activation="tanh", penalty=npae.Contractive(weight), epochs=60, random_state=0).fit(X)
        sizes.append(np.square(jacobians(ae.encoder_, X, 3)).sum())
    assert sizes[1] < sizes[0] / 2


def test_the_divergence_of_gaussians_is_what_monte_carlo_finds():
    """KL(q ‖ p) = E_q [log q(z) - log p(z)]."""
    rng = np.random.default_rng(0)
    mu, log_variance = rng.normal(size=(1, 4)), rng.uniform(-2, 1, (1, 4))
    z = mu + np.exp(log_variance / 2) * rng.standard_normal((400_000, 4))
    log_q = -((z - mu) ** 2) / (2 * np.exp(log_variance)) - log_variance / 2
    log_p = -(z**2) / 2
    drawn = (log_q - log_p).sum(axis=1)
    value, _ = npae.GaussianKL()(np.hstack([mu, log_variance]))
    assert abs(drawn.mean() - value) < 4 * drawn.std() / np.sqrt(len(drawn))
    assert drawn.std() / np.sqrt(len(drawn)) < 0.01


@pytest.mark.parametrize("penalty", [npae.L1(0.3), npae.KLSparsity(0.2, 0.3), npae.GaussianKL(0.3)], ids=repr)
def test_a_weight_counts_a_row_as_so_many_rows(penalty):
    z = np.hstack([Z, Z])
    repeated = np.repeat(z, WEIGHT.astype(int), axis=0)
    assert penalty(z, sample_weight=WEIGHT)[0] == pytest.approx(penalty(repeated)[0], rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("penalty", [npae.L1(), npae.KLSparsity(), npae.GaussianKL()], ids=repr)
def test_the_gradient_has_the_dtype_of_the_code(penalty, dtype):
    _, grad = penalty(np.hstack([Z, Z]).astype(dtype))
    assert grad.dtype == dtype
    assert grad.shape == (12, 6)


def test_a_sparse_code_has_fewer_active_numbers():
    X = table(200)
    codes = [
        npae.AE((), 8, code="relu", penalty=penalty, optimizer=npae.Adam(0.01), epochs=60, random_state=0)
        .fit(X)
        .encode(X)
        for penalty in (None, npae.L1(0.3))
    ]
    assert (codes[1] > 1e-3).mean() < 0.8 * (codes[0] > 1e-3).mean()


def test_kl_sparsity_makes_each_unit_as_active_as_wanted():
    X = table(200)
    ae = npae.AE((), 8, code="sigmoid", penalty=npae.KLSparsity(0.1, 1.0), optimizer=npae.Adam(0.03), epochs=60).fit(X)
    np.testing.assert_allclose(ae.encode(X).mean(axis=0), 0.1, atol=0.03)


@pytest.mark.parametrize(
    ("units", "options"),
    [(64, {"code": npae.TopK(4)}), (80, {"code": "relu", "penalty": npae.L1(0.8)})],
    ids=["top k", "l1"],
)
def test_a_sparse_code_recovers_the_dictionary_that_made_the_data(units, options):
    """Each row is the sum of about 3 of 64 random directions in 32 dimensions."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(64, 32))
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    X = ((rng.random((6000, 64)) < 3 / 64) * rng.uniform(0.5, 1.5, (6000, 64)) @ true).astype(np.float32)
    adam = npae.Adam(npae.Cosine(1e-2))
    ae = npae.AE((), units, tied=True, optimizer=adam, epochs=50, random_state=0, **options).fit(X)
    learned = ae.encoder_.layers[0].W.value.T
    learned = learned / np.linalg.norm(learned, axis=1, keepdims=True)
    assert (true @ learned.T).max(axis=1).mean() >= 0.96


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "parts"),
    [
        (lambda: npae.L1(-1), ValueError, ("L1", "weight", "-1")),
        (lambda: npae.L1("much"), TypeError, ("L1", "weight as a real number", "'much'")),
        (lambda: npae.KLSparsity(0), ValueError, ("KLSparsity", "rho", "0")),
        (lambda: npae.KLSparsity(1), ValueError, ("KLSparsity", "rho below 1", "1")),
        (lambda: npae.KLSparsity(0.1, -2), ValueError, ("KLSparsity", "weight", "-2")),
        (lambda: npae.KLSparsity()([[1.5]]), ValueError, ("codes in [0, 1]", "1.5", "sigmoid")),
        (lambda: npae.Contractive(-1), ValueError, ("Contractive", "weight", "-1")),
        (lambda: npae.Contractive()([[1.0]]), ValueError, ("Contractive", "input x", "None", "f.forward(x)")),
        (lambda: npae.Contractive()([[1.0]], npae.TopK(1), [[1.0]]), ValueError, ("Dense layers", "TopK(1)")),
        (lambda: npae.GaussianKL(-1), ValueError, ("GaussianKL", "beta", "-1")),
        (lambda: npae.L1()([[np.nan]]), ValueError, ("L1", "finite z", "nan")),
        (lambda: npae.L1()([[1.0]], sample_weight=[1, 2]), ValueError, ("L1", "sample_weight of shape", "(2,)")),
        (lambda: npae.AE(penalty="l3").fit(Z), ValueError, ("AE", "penalty as one of", "'l3'")),
        (lambda: npae.AE(penalty=npae.L1).fit(Z), TypeError, ("AE", "penalty as one of", "L1")),
        (lambda: npae.AE(penalty="kl").fit(-9 * Z), ValueError, ("codes in [0, 1]", "sigmoid")),
        (lambda: npae.AE(penalty="contractive", code=npae.TopK(1)).fit(Z), ValueError, ("Dense layers", "TopK(1)")),
        (lambda: npae.AE(code="softmax").fit(Z), ValueError, ("AE", "code as one of", "'softmax'")),
        (lambda: npae.AE(code=0.5).fit(Z), TypeError, ("AE", "code as one of", "0.5")),
    ],
)  # fmt: skip
def test_what_a_penalty_cannot_take_is_refused_with_advice(make, error, parts):
    refuses(make, error, *parts)
