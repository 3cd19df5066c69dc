"""A row of weight 2 counts as two rows, and a row of weight 0 as none."""

import numpy as np
import pytest
from helpers import batches, like, numbers, table
from hypothesis import given
from hypothesis import strategies as st

import npae

X = table(30)
TIMES = np.random.default_rng(3).integers(0, 4, 30)
REPEATED = np.repeat(X, TIMES, axis=0)
FULL = {"hidden": (7,), "latent_dim": 2, "epochs": 30, "batch_size": 1000, "random_state": 0}
SSIM = npae.SSIM((2, 3), window=2)
LOSSES = {"mse": "linear", "bce": "linear", SSIM: "sigmoid"}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_weights_equal_repeated_rows_in_a_full_batch(loss):
    def model():
        return npae.AE(**FULL, loss=loss, output=LOSSES[loss])

    weighted = model().fit(X, sample_weight=TIMES)
    repeated = model().fit(REPEATED)
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X), rtol=1e-7, atol=1e-9)
    assert weighted.history_.loss == pytest.approx(repeated.history_.loss, rel=1e-9)
    assert not np.allclose(weighted.encode(X), model().fit(X).encode(X), rtol=1e-2)
    assert weighted.score(X, sample_weight=TIMES) == pytest.approx(weighted.score(REPEATED), rel=1e-12)
    assert weighted.score(X, sample_weight=TIMES) != pytest.approx(weighted.score(X), rel=1e-3)


@pytest.mark.usefixtures("backend")
def test_a_dae_is_taught_by_weights_where_noise_is_the_same_for_equal_rows():
    def model():
        return npae.DAE(**FULL, corruption=lambda x, rng: x * 0.5)

    weighted, repeated = model().fit(X, sample_weight=TIMES), model().fit(REPEATED)
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X), rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("backend")
def test_only_the_proportions_of_weights_count():
    codes = [npae.AE(**FULL).fit(X, sample_weight=w).encode(X) for w in (TIMES, TIMES * 1e-6, np.float32(TIMES * 64))]
    np.testing.assert_allclose(codes[1], codes[0], rtol=1e-7)
    np.testing.assert_allclose(codes[2], codes[0], rtol=1e-7)
    ones = npae.AE(**FULL).fit(X, sample_weight=np.ones(30))
    np.testing.assert_allclose(ones.encode(X), npae.AE(**FULL).fit(X).encode(X), rtol=1e-7)


@pytest.mark.usefixtures("backend")
def test_minibatches_share_out_the_weighted_loss():
    still = npae.AE(**(FULL | {"batch_size": 7, "epochs": 1}), optimizer=npae.SGD(0.0)).fit(X, sample_weight=TIMES)
    assert still.history_.loss[0] == pytest.approx(-still.score(X, sample_weight=TIMES), rel=1e-12)
    once = npae.AE(**(FULL | {"batch_size": 7, "epochs": 1})).partial_fit(X, sample_weight=TIMES)
    fitted = npae.AE(**(FULL | {"batch_size": 7, "epochs": 1})).fit(X, sample_weight=TIMES)
    np.testing.assert_array_equal(once.encode(X), fitted.encode(X))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_do_not_change_the_dtype(dtype):
    ae = npae.AE(**FULL).fit(X.astype(dtype), sample_weight=TIMES)
    assert ae.encode(X).dtype == dtype
    assert all(p.value.dtype == dtype for p in ae.network_.parameters())


def test_a_score_over_many_rows_is_weighted_row_by_row():
    many, w = table(2000, seed=2), np.random.default_rng(0).random(2000)
    ae = npae.AE(**FULL).fit(X)
    by_hand = np.average(np.square(ae.reconstruct(many) - many).mean(axis=1), weights=w)
    assert -ae.score(many, sample_weight=w) == pytest.approx(by_hand, rel=1e-12)


@given(data=st.data(), x=batches(elements=numbers(0.01, 0.99)))
def test_the_loss_of_a_batch_is_the_mean_of_its_rows(data, x):
    target = data.draw(like(x, numbers(0.01, 0.99)))
    for loss in (npae.MSE(), npae.BCE(), npae.SSIM((1, x.shape[1]), window=1)):
        rows = loss.rows(x, target)
        assert rows.shape == (len(x),)
        assert rows.dtype == np.float64
        assert rows.mean() == pytest.approx(loss(x, target)[0], rel=1e-12, abs=1e-15)
        assert rows[-1] == pytest.approx(loss(x[-1:], target[-1:])[0], rel=1e-12, abs=1e-15)


class Absolute(npae.MSE):
    """Of a user who knows of no weights, and inherits from a loss that takes some."""

    def value_and_gradient(self, prediction, target):
        return np.mean(abs(prediction - target)), np.sign(prediction - target) / target.size


@pytest.mark.usefixtures("backend")
def test_a_loss_of_your_own_is_weighted_row_by_row():
    x, t = np.random.default_rng(0).random((2, 30, 6))
    value, grad = Absolute()(x, t, sample_weight=TIMES)
    assert value == pytest.approx(np.average(abs(x - t).mean(axis=1), weights=TIMES), rel=1e-12)
    np.testing.assert_allclose(grad, np.sign(x - t) * TIMES[:, None] / TIMES.mean() / t.size, rtol=1e-12)
    weighted = npae.AE(**FULL | {"epochs": 3}, loss=Absolute()).fit(X, sample_weight=TIMES)
    repeated = npae.AE(**FULL | {"epochs": 3}, loss=Absolute()).fit(REPEATED)
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X), rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("loss", [npae.MSE(), npae.BCE()], ids=repr)
def test_weighted_steps_are_recorded_as_others_are(loss, monkeypatch):
    """Batch after batch with weights of its own, the short last one included."""
    settings = FULL | {"batch_size": 7, "epochs": 3, "loss": loss}
    recorded = npae.AE(**settings).fit(X, sample_weight=TIMES)
    monkeypatch.setattr(npae.training, "only_kernels", lambda *parts: False)
    plain = npae.AE(**settings).fit(X, sample_weight=TIMES)
    np.testing.assert_array_equal(recorded.encode(X), plain.encode(X))
    assert recorded.history_.loss == plain.history_.loss


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
