"""`fit`: what the seed fixes, the order of rows and noise, validation, divergence; nothing changes on an error."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import learned, refuses, table

import npae
from npae.fitting.batches import split_rows

pytestmark = pytest.mark.usefixtures("backend")

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 2, "batch_size": 16, "random_state": 0}


# --- rows and noise ------------------------------------------------------------------------------------------------


def test_every_epoch_shows_every_row_once_and_in_a_new_order():
    X, batches = table(), []

    def watching(x, rng):
        batches.append(x.copy())
        return x

    npae.DAE(**QUICK, corruption=watching).fit(X)
    assert [len(batch) for batch in batches] == 2 * [16, 16, 16, 12]
    first, second = np.vstack(batches[:4]), np.vstack(batches[4:])
    for epoch in (first, second):
        np.testing.assert_array_equal(np.unique(epoch, axis=0), np.unique(X, axis=0))
        assert (epoch != X).any()
    assert (first != second).any()


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
def test_noise_differs_from_batch_to_batch_and_from_epoch_to_epoch(corruption):
    X = np.full((40, 6), 0.5)  # equal rows: only the noise differs
    still = QUICK | {"optimizer": npae.SGD(0.0), "batch_size": 20, "corruption": corruption}
    one, two = npae.DAE(**still).fit(X[:20]).history_.loss  # one batch in each of two epochs
    assert one != two
    (both,) = npae.DAE(**(still | {"epochs": 1})).fit(X).history_.loss  # two batches in one epoch
    assert both == pytest.approx((one + two) / 2, rel=1e-12)


def test_a_custom_corruption_gets_a_generator_that_moves_on():
    seen = []

    def watching(x, rng):
        seen.append(rng.standard_normal(3))
        return x

    npae.DAE(**QUICK, corruption=watching).fit(table())
    assert len(seen) == 8  # 2 epochs of 4 batches
    assert len({draw[0] for draw in seen}) == 8


def test_batches_larger_than_the_data_are_one_batch():
    X = table(5)
    codes = [npae.AE(**(QUICK | {"batch_size": size})).fit(X).encode(X) for size in (5, 6, 10**12)]
    np.testing.assert_array_equal(codes[1], codes[0])
    np.testing.assert_array_equal(codes[2], codes[0])


def test_all_parameters_are_views_of_one_vector():
    parameters = npae.AE(**QUICK).fit(table()).network_.parameters()
    base = parameters[0].value.base
    assert base.ndim == 1
    assert all(p.value.base is base for p in parameters)
    assert all(p.grad.base is parameters[0].grad.base for p in parameters)


def test_the_validation_loss_has_both_terms():
    """-log p(x|z) + Ω, as the loss of training has; the score is the first alone."""
    X, V = table(), table(20, seed=1)
    ae = npae.AE(**QUICK, penalty=npae.L1(0.5)).fit(X, validation=V)
    omega, _ = npae.L1(0.5)(ae.encode(V))
    assert ae.history_.validation_loss[-1] == pytest.approx(omega - ae.score(V), rel=1e-12)
    still = npae.AE(**QUICK | {"epochs": 1}, penalty=npae.L1(0.5), optimizer=npae.SGD(0.0)).fit(X)
    assert still.history_.loss[0] == pytest.approx(npae.L1(0.5)(still.encode(X))[0] - still.score(X), rel=1e-9)


# --- rows that are held out ----------------------------------------------------------------------------------------


def parts(model, X):
    """The rows that a fitted model has learned from and those it has validated on."""
    held_out = max(1, round(model.validation_fraction * len(X)))
    return split_rows(len(X), held_out, model.training_.split_rng())


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_held_out_share_is_validation_data_bit_for_bit(make, dtype, tmp_path):
    X = table(dtype=dtype)
    settings = QUICK | {"epochs": 12, "patience": 2, "optimizer": npae.Adam(0.1)}
    model = make(**settings, validation_fraction=0.2).fit(X)
    kept, held = parts(model, X)
    assert (len(kept), len(held)) == (48, 12)
    assert len(model.history_.validation_loss) == len(model.history_.loss) >= model.history_.best_epoch
    other = make(**settings).fit(X[kept], validation=X[held])
    assert learned(model) == learned(other)
    np.save(tmp_path / "X.npy", X)
    for same in (np.load(tmp_path / "X.npy", mmap_mode="r"), np.asfortranarray(X)):
        assert learned(make(**settings, validation_fraction=0.2).fit(same)) == learned(model)


def test_the_seed_decides_which_rows_are_held_out():
    X = table()
    first, again, other = (
        npae.AE(**QUICK | {"random_state": seed}, validation_fraction=0.2).fit(X) for seed in (0, 0, 1)
    )
    assert first.history_.validation_loss == again.history_.validation_loss
    assert parts(first, X)[1].tolist() != parts(other, X)[1].tolist()
    assert parts(first, X)[1].tolist() != list(range(12))  # not simply the first


def test_without_a_held_out_share_all_rows_are_learned_from():
    seen = []
    npae.DAE(**QUICK, corruption=lambda x, rng: seen.append(len(x)) or x).fit(table())
    assert sum(seen) == 2 * 60


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_held_out_rows_keep_their_weights(make):
    X, w = table(), np.random.default_rng(0).integers(0, 4, 60)
    model = make(**QUICK, validation_fraction=0.25).fit(X, sample_weight=w)
    kept, held = parts(model, X)
    other = make(**QUICK).fit(X[kept], sample_weight=w[kept])
    np.testing.assert_allclose(model.encode(X), other.encode(X), rtol=1e-9)
    if make is npae.AE:
        expected = -model.score(X[held], sample_weight=w[held])
        assert model.history_.validation_loss[-1] == pytest.approx(expected, rel=1e-12)
    for rows in (kept, held):
        zero = np.where(np.isin(np.arange(60), rows), 0, w)
        refuses(lambda zero=zero: model.fit(X, sample_weight=zero), ValueError, "weights above 0", "leave out")


# --- seeds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_the_seed_fixes_every_bit_and_fit_starts_over(make):
    X = table()
    first = make(**QUICK).fit(X)
    codes = first.encode(X)
    np.testing.assert_array_equal(make(**QUICK).fit(X).encode(X), codes)
    np.testing.assert_array_equal(first.fit(X).encode(X), codes)
    assert not np.array_equal(make(**(QUICK | {"random_state": 1})).fit(X).encode(X), codes)
    assert not np.array_equal(make(**(QUICK | {"random_state": None})).fit(X).encode(X), codes)


def test_a_generator_may_be_the_seed():
    X = table()
    a, b = (npae.AE(**(QUICK | {"random_state": np.random.default_rng(5)})).fit(X).encode(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_a_generator_advances_with_a_fit_but_not_with_an_error():
    X, rng = table(), np.random.default_rng(5)
    ae = npae.AE(**(QUICK | {"random_state": rng}))
    for bad in (X * np.nan, X[:0]):
        with pytest.raises(ValueError, match="expected"):
            ae.fit(bad)
    with pytest.raises(ValueError, match="hidden"):
        ae.set_params(hidden=(0,)).fit(X)
    ae.set_params(hidden=QUICK["hidden"])
    codes = ae.fit(X).encode(X)
    np.testing.assert_array_equal(
        codes, npae.AE(**(QUICK | {"random_state": np.random.default_rng(5)})).fit(X).encode(X)
    )
    assert not np.array_equal(ae.fit(X).encode(X), codes)


# --- the history ---------------------------------------------------------------------------------------------------


def test_the_first_loss_is_that_of_the_untrained_network():
    X = table()
    ae = npae.AE(**(QUICK | {"epochs": 1, "batch_size": 1000}))
    begin = npae.AE(**(QUICK | {"epochs": 0})).fit(X)
    assert ae.fit(X).history_.loss[0] == pytest.approx(-begin.score(X), rel=1e-12)


def test_a_cosine_runs_over_all_steps_and_ends_at_zero():
    rate = npae.Cosine(0.1)
    rates = npae.AE(**QUICK, optimizer=npae.Adam(rate)).fit(table()).history_.learning_rate
    assert rates == [rate(3 / 7), 0]  # the fourth and the eighth of eight steps


def test_validation_loss_is_recorded_and_falls():
    X, V = table(), table(seed=1)
    history = npae.AE(**(QUICK | {"epochs": 30})).fit(X, validation=V).history_
    assert len(history.validation_loss) == 30
    assert history.validation_loss[-1] < history.validation_loss[0]
    ae = npae.AE(**QUICK).fit(X, validation=V)
    assert ae.history_.validation_loss[-1] == pytest.approx(-ae.score(V), rel=1e-12)


def test_a_denoising_autoencoder_is_validated_under_the_same_noise_in_every_epoch():
    X = table()
    still = npae.DAE(**(QUICK | {"epochs": 3}), optimizer=npae.SGD(0.0)).fit(X, validation=X)
    losses = still.history_.validation_loss
    assert losses[0] == losses[1] == losses[2]
    assert losses[0] != pytest.approx(-still.score(X), rel=1e-3)


def test_validation_data_do_not_change_what_is_learned():
    X = table()
    plain, watched = npae.DAE(**QUICK).fit(X), npae.DAE(**QUICK).fit(X, validation=table(seed=1))
    np.testing.assert_array_equal(plain.encode(X), watched.encode(X))


# --- divergence ----------------------------------------------------------------------------------------------------


def test_divergence_names_the_epoch_and_remedies_and_keeps_the_earlier_fit():
    X = table()
    ae = npae.AE(**QUICK).fit(X)
    before = ae.encode(X)
    wild = npae.SGD(1e30)
    with pytest.raises(RuntimeError, match=r"in epoch \d+: it diverged. Lower the learning rate \(now 1e\+30\)"):
        ae.set_params(optimizer=wild, epochs=50).fit(X)
    np.testing.assert_array_equal(ae.encode(X), before)


def test_a_validation_loss_that_is_not_finite_is_noticed():
    far = np.full((3, 6), 1e30, np.float32)
    with pytest.raises(RuntimeError, match="a validation loss of inf in epoch 1"):
        npae.AE(**QUICK).fit(table(dtype=np.float32), validation=far)


def test_parameters_that_the_last_step_made_infinite_are_noticed():
    with pytest.raises(RuntimeError, match="a parameter that is not finite in epoch 1"):
        npae.AE(**(QUICK | {"epochs": 1, "batch_size": 1000, "dtype": np.float32}), optimizer=npae.SGD(1e300)).fit(
            table()
        )


# --- Ctrl-C --------------------------------------------------------------------------------------------------------


class Interrupting(npae.MaskingNoise):
    """Raises KeyboardInterrupt in the third batch."""

    calls = 0

    def __call__(self, x, rng):
        type(self).calls += 1
        if type(self).calls == 3:
            raise KeyboardInterrupt
        return super().__call__(x, rng)


def test_ctrl_c_ends_the_fit_with_a_usable_model(capsys):
    Interrupting.calls = 0
    X = table()
    dae = npae.DAE(**(QUICK | {"batch_size": 30, "epochs": 50, "verbose": True}), corruption=Interrupting()).fit(X)
    assert dae.history_.stopped == "interrupted in epoch 2"
    assert len(dae.history_.loss) == 1
    assert np.isfinite(dae.reconstruct(X)).all()
    assert "interrupted in epoch 2: the model keeps what it has learned" in capsys.readouterr().err


LONG_FIT = """
import numpy as np, npae, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with SIGINT ignored
X = np.random.default_rng(0).random((500, 20))
ae = npae.AE(hidden=(30,), latent_dim=4, epochs=1_000_000, random_state=0, verbose=True).fit(X)
assert np.isfinite(ae.reconstruct(X)).all() and len(ae.history_.loss) == len(ae.history_.seconds) >= 1
print(npae.backend_name(), ae.history_.stopped)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a POSIX signal")
def test_a_real_ctrl_c_ends_a_real_fit(backend):
    environment = os.environ | {"NPAE_BACKEND": backend, "PYTHONPATH": str(Path(npae.__file__).parent.parent)}
    command = [sys.executable, "-c", LONG_FIT]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as fit:
        for line in fit.stderr:
            if line.startswith("epoch 20/"):
                break
        fit.send_signal(signal.SIGINT)
        out, err = fit.communicate(timeout=60)
    assert fit.returncode == 0, err
    assert out.startswith(f"{backend} interrupted in epoch ")
