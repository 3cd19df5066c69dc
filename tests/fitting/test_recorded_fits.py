"""Fits whose steps are recorded equal fits whose steps are not, and steps with work of the user's are not recorded."""

import threading

import numpy as np
import pytest
from helpers import HAVE_NUMBA

import npae
import npae.fitting.recording


@pytest.fixture
def numba():
    npae.use_backend("numba")


def same_fits(monkeypatch, **arguments):
    """The parameters after a fit whose steps are recorded, and after one whose steps are not."""
    X = np.random.default_rng(0).random((130, 12)).astype(np.float32)
    kind = npae.DAE if "corruption" in arguments else npae.AE
    outcomes = []
    for can_record in (True, False):
        with monkeypatch.context() as patched:
            if not can_record:
                patched.setattr(npae.fitting.recording, "recordable", lambda *parts: False)
            model = kind(hidden=(20,), latent_dim=3, epochs=3, batch_size=50, random_state=0, **arguments).fit(X)
        outcomes.append(np.concatenate([p.value.ravel() for p in model.network_.parameters()]))
    return outcomes


OPTIMIZERS = [npae.Adam(npae.Cosine(0.01), weight_decay=0.1), npae.SGD(0.1, momentum=0.9, nesterov=True)]
NOISES = [npae.GaussianNoise(0.3), npae.MaskingNoise(0.2), npae.SaltAndPepper(0.2)]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_recorded_step_is_the_step_itself(monkeypatch, activation, loss, optimizer):
    replayed, plain = same_fits(monkeypatch, activation=activation, loss=loss, optimizer=optimizer)
    np.testing.assert_array_equal(replayed, plain)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_a_recorded_step_draws_fresh_noise(monkeypatch, noise):
    replayed, plain = same_fits(monkeypatch, corruption=noise)
    np.testing.assert_array_equal(replayed, plain)


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
@pytest.mark.usefixtures("numba")
def test_the_steps_of_a_fit_are_replayed(monkeypatch):
    """Two calls from Python for each batch size, both of them recorded, however many steps there are."""
    calls, step = [], npae.fitting.recording.train_step
    monkeypatch.setattr(npae.fitting.recording, "train_step", lambda *a, **k: calls.append(1) or step(*a, **k))
    X = np.random.default_rng(0).random((130, 12)).astype(np.float32)
    for noise in (None, *NOISES):
        calls.clear()
        arguments = {"hidden": (20,), "latent_dim": 3, "epochs": 3, "batch_size": 50}
        (npae.DAE(corruption=noise, **arguments) if noise else npae.AE(**arguments)).fit(X)
        assert len(calls) == 4, noise


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
