"""A recorded step computes the same bits as a plain one; weights of rows are part of it."""

import threading

import numpy as np
import pytest
from helpers import FAMILY, HAVE_NUMBA, Batches, halved, learned, table

import npae
from npae.fitting import recording

X = table(30)
REPEATS = np.random.default_rng(3).integers(0, 4, 30)
REPEATED = np.repeat(X, REPEATS, axis=0)
FULL = {"hidden": (7,), "latent_dim": 2, "epochs": 30, "batch_size": 1000, "random_state": 0}
SSIM = npae.SSIM((2, 3), window=2)
LOSSES = {"mse": "linear", "bce": "linear", SSIM: "sigmoid"}


# --- recording -----------------------------------------------------------------------------------------------------


MODELS = {
    "AE": lambda **more: npae.AE(**more),
    "AE, BCE": lambda **more: npae.AE(**more, loss="bce", activation="elu"),
    "AE, momentum and schedule": lambda **more: npae.AE(
        **more, optimizer=npae.SGD(npae.Cosine(0.1, 0.01), momentum=0.9, nesterov=True), activation="tanh"
    ),
    "AE, linear": lambda **more: npae.AE(**more, activation="linear", optimizer=npae.Adam(weight_decay=0.1)),
    "AE, float32": lambda **more: npae.AE(**more, dtype=np.float32, activation="sigmoid", output="sigmoid"),
    "DAE, Gaussian": lambda **more: npae.DAE(**more, corruption=npae.GaussianNoise(0.3, clip=(0, 1))),
    "DAE, masking": lambda **more: npae.DAE(**more, corruption="masking", optimizer=npae.Adam(npae.Cosine(0.03))),
    "DAE, salt and pepper": lambda **more: npae.DAE(**more, corruption="salt_and_pepper", activation="leaky_relu"),
    **FAMILY,
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("weight", [None, REPEATS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", MODELS)
def test_recorded_training_equals_plain_training_bit_for_bit(name, weight, monkeypatch):
    """Full batches, and the short last one, each with its own rows, noise, weights and learning rate."""
    fits, settings = [], FULL | {"batch_size": 7, "epochs": 4}
    for recordable in (recording.recordable, lambda *objects: False):
        monkeypatch.setattr(recording, "recordable", recordable)
        fits.append(MODELS[name](**settings).fit(X, sample_weight=weight))
    assert learned(fits[0]) == learned(fits[1])


def test_exactly_the_classes_of_npae_that_work_in_kernels_alone_are_recorded():
    assert {kind.__name__ for kind in recording.RECORDABLE} == {
        "Dense", "Sequential", "ReLU", "LeakyReLU", "ELU", "Sigmoid", "Tanh", "Identity", "MSE", "BCE", "SGD", "Adam",
        "GaussianNoise", "MaskingNoise", "SaltAndPepper", "NoneType", "Bernoulli", "Gaussian", "TiedDense",
        "NestedDropout", "GaussianCode", "GaussianKL",
    }  # fmt: skip


def test_a_subclass_or_a_function_anywhere_in_a_step_is_not_recorded():
    class Mine(npae.Dense):
        pass

    network = npae.Sequential(npae.Dense(3, 2), npae.Sequential(npae.Tanh()))
    assert recording.recordable(network, npae.MSE(), npae.Adam(), npae.GaussianNoise(), None)
    for other in (Mine(3, 2), npae.Sequential(npae.Sequential(Mine(3, 2))), SSIM, halved, AbsoluteError()):
        assert not recording.recordable(network, other)


@pytest.mark.usefixtures("backend")
def test_batches_of_many_lengths_leave_two_recordings(monkeypatch):
    many, made = table(400), []
    recorded = recording.recorded
    monkeypatch.setattr(recording, "recorded", lambda step: made.append(1) or recorded(step))
    npae.AE(**FULL | {"epochs": 3}).fit(Batches(*(many[: n + 1] for n in range(30))))
    assert len(made) == 2


NOISES = [npae.GaussianNoise(0.3), npae.MaskingNoise(0.2), npae.SaltAndPepper(0.2)]


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
def test_the_steps_of_a_fit_are_replayed(monkeypatch):
    """Two calls from Python for each batch size, both of them recorded, however many steps there are."""
    npae.use_backend("numba")
    calls, step = [], recording.train_step
    monkeypatch.setattr(recording, "train_step", lambda *a, **k: calls.append(1) or step(*a, **k))
    X = np.random.default_rng(0).random((130, 12)).astype(np.float32)
    arguments = {"hidden": (20,), "latent_dim": 3, "epochs": 3, "batch_size": 50}
    npae.AE(**arguments).fit(X)  # a kernel may allocate memory for all later calls
    for noise in (None, *NOISES):
        calls.clear()
        (npae.DAE(corruption=noise, **arguments) if noise else npae.AE(**arguments)).fit(X)
        assert len(calls) == 4, noise
    for name in ("AE, ordered", "AE, tied", "VAE", "VAE, BCE"):
        calls.clear()
        FAMILY[name](**arguments).fit(X)
        assert len(calls) in (4, 5), name  # a new kernel may allocate such memory first


class Doubled(npae.ReLU):
    """A layer of a user's own, with work outside of the kernels."""

    calls = 0

    def forward(self, x):
        Doubled.calls += 1
        return 2 * super().forward(x)

    def backward(self, grad_y):
        return super().backward(2 * grad_y)


@pytest.mark.usefixtures("backend")
def test_layers_of_your_own_run_at_every_step():
    X = np.random.default_rng(0).random((40, 6))
    Doubled.calls = 0
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0, dtype=float), Doubled(), npae.Dense(5, 2, rng=1, dtype=float))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=2, dtype=float))
    npae.AE(encoder=encoder, decoder=decoder, epochs=3, batch_size=10).fit(X)
    assert Doubled.calls == 1 + 3 * 4  # one trial before training, then every batch


@pytest.mark.usefixtures("backend")
def test_an_optimizer_of_your_own_takes_every_step():
    class Counting(npae.Adam):
        taken = 0

        def step(self, parameters, state):
            Counting.taken += 1
            super().step(parameters, state)

    X = np.random.default_rng(0).random((40, 6))
    arguments = {"hidden": (5,), "latent_dim": 2, "epochs": 3, "batch_size": 10, "random_state": 0}
    counted, plain = (npae.AE(optimizer=o, **arguments).fit(X).encode(X) for o in (Counting(), npae.Adam()))
    assert Counting.taken == 12
    np.testing.assert_array_equal(counted, plain)


def test_two_threads_fit_on_numpy_as_well():
    npae.use_backend("numpy")
    X, results = np.random.default_rng(0).random((50, 6)), {}

    def work(i):
        results[i] = npae.AE(hidden=(5,), latent_dim=2, epochs=2, random_state=0).fit(X).reconstruct(X)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(results[0], results[1])


# --- weights of rows -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_weights_equal_repeated_rows_in_a_full_batch(loss):
    def model():
        return npae.AE(**FULL, loss=loss, output=LOSSES[loss])

    weighted = model().fit(X, sample_weight=REPEATS)
    repeated = model().fit(REPEATED)
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X), rtol=1e-7, atol=1e-9)
    assert weighted.history_.loss == pytest.approx(repeated.history_.loss, rel=1e-9)
    assert not np.allclose(weighted.encode(X), model().fit(X).encode(X), rtol=1e-2)
    assert weighted.score(X, sample_weight=REPEATS) == pytest.approx(weighted.score(REPEATED), rel=1e-12)
    assert weighted.score(X, sample_weight=REPEATS) != pytest.approx(weighted.score(X), rel=1e-3)


@pytest.mark.usefixtures("backend")
def test_weights_equal_repeated_rows_in_a_dae_with_equal_noise_for_equal_rows():
    def model():
        return npae.DAE(**FULL, corruption=lambda x, rng: x * 0.5)

    weighted, repeated = model().fit(X, sample_weight=REPEATS), model().fit(REPEATED)
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X), rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("backend")
def test_only_the_proportions_of_weights_count():
    scaled = (REPEATS, REPEATS * 1e-6, np.float32(REPEATS * 64))
    codes = [npae.AE(**FULL).fit(X, sample_weight=w).encode(X) for w in scaled]
    np.testing.assert_allclose(codes[1], codes[0], rtol=1e-7)
    np.testing.assert_allclose(codes[2], codes[0], rtol=1e-7)
    ones = npae.AE(**FULL).fit(X, sample_weight=np.ones(30))
    np.testing.assert_allclose(ones.encode(X), npae.AE(**FULL).fit(X).encode(X), rtol=1e-7)


@pytest.mark.usefixtures("backend")
def test_the_losses_of_minibatches_add_up_to_the_weighted_loss():
    still = npae.AE(**(FULL | {"batch_size": 7, "epochs": 1}), optimizer=npae.SGD(0.0)).fit(X, sample_weight=REPEATS)
    assert still.history_.loss[0] == pytest.approx(-still.score(X, sample_weight=REPEATS), rel=1e-12)
    once = npae.AE(**(FULL | {"batch_size": 7, "epochs": 1})).partial_fit(X, sample_weight=REPEATS)
    fitted = npae.AE(**(FULL | {"batch_size": 7, "epochs": 1})).fit(X, sample_weight=REPEATS)
    np.testing.assert_array_equal(once.encode(X), fitted.encode(X))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_do_not_change_the_dtype(dtype):
    ae = npae.AE(**FULL).fit(X.astype(dtype), sample_weight=REPEATS)
    assert ae.encode(X).dtype == dtype
    assert all(p.value.dtype == dtype for p in ae.network_.parameters())


class AbsoluteError(npae.MSE):
    """A loss without an argument `weight`, derived from one that has it."""

    def value_and_gradient(self, prediction, target):
        return np.mean(abs(prediction - target)), np.sign(prediction - target) / target.size


@pytest.mark.usefixtures("backend")
def test_weights_equal_repeated_rows_under_a_custom_loss():
    weighted = npae.AE(**FULL | {"epochs": 3}, loss=AbsoluteError()).fit(X, sample_weight=REPEATS)
    repeated = npae.AE(**FULL | {"epochs": 3}, loss=AbsoluteError()).fit(REPEATED)
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X), rtol=1e-7, atol=1e-9)


BAD = {
    "too few": (np.ones(29), ValueError, r"sample_weight of shape \(n,\) = \(30,\), got \(29,\)"),
    "a column": (np.ones((30, 1)), ValueError, r"sample_weight of shape \(n,\) = \(30,\), got \(30, 1\)"),
    "a number": (2.0, ValueError, r"sample_weight of shape \(n,\) = \(30,\), got \(\)"),
    "negative": (np.r_[np.ones(29), -1], ValueError, "finite sample_weight >= 0, got -1.0 at row 29"),
    "all zero": (np.zeros(30), ValueError, "sample_weight not all zero and of finite sum, got a sum of 0"),
    "NaN": (np.r_[np.ones(29), np.nan], ValueError, "finite sample_weight >= 0, got nan at row 29"),
    "infinite": (np.r_[np.ones(29), np.inf], ValueError, "finite sample_weight >= 0, got inf at row 29"),
    "strings": (["a"] * 30, TypeError, "sample_weight as real numbers, got dtype <U1"),
    "complex": (np.ones(30) * 1j, ValueError, "sample_weight as real numbers, got dtype complex128"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_weights_are_refused_before_any_work(case):
    weights, error, message = BAD[case]
    ae = npae.AE(**FULL).fit(X)
    before = ae.encode(X)
    for call in (ae.fit, ae.partial_fit, ae.score):
        with pytest.raises(error, match=f"AE expected {message}"):
            call(X, sample_weight=weights)
    np.testing.assert_array_equal(ae.encode(X), before)
