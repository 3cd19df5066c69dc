"""Codes: the k largest numbers, a random length, a draw from a Gaussian; each with its gradient."""

import numpy as np
import pytest
from helpers import Drawn, batches, check, numbers, refuses, seeds, table
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.corruptions import normals

pytestmark = pytest.mark.usefixtures("backend")


# --- the k largest ---------------------------------------------------------------------------------------------------


@given(x=batches(), data=st.data())
def test_top_k_keeps_the_k_largest_numbers_of_each_row_and_their_places(x, data):
    k = data.draw(st.integers(1, x.shape[1]))
    y = npae.TopK(k).forward(x)
    for given_row, kept_row in zip(x, y, strict=True):
        order = sorted(range(len(given_row)), key=lambda j: (-given_row[j], j))[:k]
        assert kept_row.tolist() == [value if j in order else 0 for j, value in enumerate(given_row)]


@given(x=batches(elements=numbers(-3, 3)), data=st.data(), seed=seeds())
def test_top_k(x, data, seed):
    k = data.draw(st.integers(1, x.shape[1]))
    x = np.argsort(np.argsort(x, axis=1), axis=1) + 0.1 * x  # no two numbers of a row are close
    check(npae.TopK(k), x, "TopK", random_state=seed)


def test_a_k_sparse_code_has_k_numbers_in_training_and_afterwards():
    ae = npae.AE((8,), 6, code=npae.TopK(2), epochs=3, random_state=0).fit(table())
    assert ((ae.encode(table()) != 0).sum(axis=1) == 2).all()


def test_top_k_refuses_what_it_cannot_keep():
    refuses(lambda: npae.TopK(0), ValueError, "TopK", "k >= 1", "0")
    refuses(lambda: npae.TopK(2.5), TypeError, "TopK", "whole number", "2.5")
    refuses(lambda: npae.TopK(4).forward(np.ones((2, 3))), ValueError, "TopK", "k = 4 columns", "3", "smaller k")
    refuses(lambda: npae.AE((5,), 3, code=npae.TopK(4)).fit(table()), ValueError, "TopK", "k = 4 columns", "3")
    refuses(lambda: npae.TopK(1).backward(np.ones((2, 3))), RuntimeError, "TopK.backward", "forward pass", "none")


# --- the largest of each column --------------------------------------------------------------------------------------


@given(h=batches(), rate=st.floats(0.01, 1), seed=seeds())
def test_winner_take_all_keeps_the_positive_winners_of_each_column(h, rate, seed):
    h = np.argsort(np.argsort(h, axis=0), axis=0) + np.random.default_rng(seed).uniform(-3, 0.5)  # no two are equal
    z = npae.WinnerTakeAll(rate).draw(h, np.random.default_rng(0))
    winners = max(1, round(rate * len(h)))
    for given_column, kept_column in zip(h.T, z.T, strict=True):
        largest = sorted(given_column)[-winners:]
        assert kept_column.tolist() == [v if v in largest and v > 0 else 0 for v in given_column]


def test_winner_take_all_lets_every_unit_learn_and_keeps_what_is_positive_afterwards():
    code = npae.WinnerTakeAll(0.1)
    ae = npae.AE((), 6, code=code, epochs=5, batch_size=20, random_state=0).fit(table())
    h = ae.encoder_.forward(table())
    np.testing.assert_array_equal(ae.encode(table()), np.maximum(h, 0))
    h = np.random.default_rng(0).standard_normal((20, 6))
    assert ((code.draw(h, None) > 0).sum(axis=0) == 2).all()
    np.testing.assert_array_equal(code.backward(np.ones((20, 6))), code.draw(h, None) > 0)


@given(h=batches(elements=numbers(-3, 3)), rate=st.floats(0.1, 1), seed=seeds())
def test_winner_take_all(h, rate, seed):
    h = np.argsort(np.argsort(h, axis=0), axis=0) - 0.7 + 0.1 * np.tanh(h)  # no two are close, none is near 0
    check(Drawn(npae.WinnerTakeAll(rate)), h, "WinnerTakeAll", random_state=seed)


def test_winner_take_all_refuses_shares_that_are_none():
    refuses(lambda: npae.WinnerTakeAll(0), ValueError, "WinnerTakeAll", "rate", "0")
    refuses(lambda: npae.WinnerTakeAll(1.5), ValueError, "WinnerTakeAll", "rate", "1.5")
    refuses(lambda: npae.WinnerTakeAll(0.5).backward(np.ones((2, 3))), RuntimeError, "WinnerTakeAll.backward", "none")


# --- a random length -------------------------------------------------------------------------------------------------


def test_nested_dropout_cuts_each_code_off_at_a_length_of_its_own():
    h = np.arange(1.0, 5.0) * np.ones((10_000, 1))
    z = npae.NestedDropout().draw(h, np.random.default_rng(0))
    lengths = (z != 0).sum(axis=1)
    np.testing.assert_array_equal(z, np.where(np.arange(4) < lengths[:, None], h, 0))
    np.testing.assert_allclose(np.bincount(lengths, minlength=5)[1:] / 10_000, 0.25, atol=0.02)


def test_with_a_rate_its_lengths_are_geometric_and_end_at_the_whole_code():
    lengths = npae.NestedDropout(0.5).masks((40_000, 4), np.random.default_rng(0)).sum(axis=1)
    np.testing.assert_allclose(np.bincount(lengths)[1:] / 40_000, [1 / 2, 1 / 4, 1 / 8, 1 / 8], atol=0.01)


@pytest.mark.parametrize("method", ["central", "complex"])
@given(x=batches(), rate=st.none() | numbers(0.1, 0.9), seed=seeds())
def test_nested_dropout_with_its_lengths_held_still(method, x, rate, seed):
    check(Drawn(npae.NestedDropout(rate), seed), x, f"NestedDropout, {method}", method=method, random_state=seed)


def test_an_ordered_code_is_whole_outside_of_training():
    layer, h = npae.NestedDropout(), np.ones((50, 6))
    assert layer.draw(h, np.random.default_rng(0)).min() == 0
    np.testing.assert_array_equal(layer.forward(h), h)
    np.testing.assert_array_equal(layer.backward(h), h)
    ae = npae.AE((5,), 4, code=layer, epochs=2, random_state=0).fit(table())
    np.testing.assert_array_equal(ae.encode(table()), ae.encoder_.forward(table()))
    np.testing.assert_array_equal(ae.encode(table()), ae.encode(table()))


def test_a_linear_autoencoder_with_nested_dropout_finds_the_axes_of_pca_in_their_order():
    """Without it, it finds their plane alone (Rippel, Gelbart and Adams, 2014, section 3)."""
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    X = rng.normal(size=(1000, 8)) * [4, 3, 2, 1.4, 0.5, 0.4, 0.3, 0.2] @ turned.T
    axes = npae.PCA(4).fit(X).components_

    def degrees(code):
        adam = npae.Adam(npae.Cosine(0.03))
        ae = npae.AE((), 4, code=code, optimizer=adam, epochs=500, batch_size=100, random_state=0).fit(X)
        W = ae.decoder_.layers[0].W.value
        return np.degrees(np.arccos(abs((W * axes).sum(axis=1)) / np.linalg.norm(W, axis=1)))

    assert degrees(npae.NestedDropout(0.6)).max() < 1
    assert degrees("linear").max() > 10


@pytest.mark.parametrize("rate", [0, 1, -0.5, np.nan])
def test_a_rate_that_is_no_probability_is_refused(rate):
    refuses(lambda: npae.NestedDropout(rate), ValueError, "NestedDropout", "rate")


# --- a draw from a Gaussian ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gaussian_code_is_its_mean_plus_its_deviation_times_normal_noise(dtype):
    rng = np.random.default_rng(0)
    mu, log_variance = rng.normal(size=(2, 300, 5)).astype(dtype)
    z = npae.GaussianCode(5).draw(np.hstack([mu, log_variance]), np.random.default_rng(3))
    key = np.random.default_rng(3).integers(2**64, size=1, dtype=np.uint64)
    expected = mu + np.exp(log_variance / 2) * normals(key, 1500).reshape(300, 5)
    assert z.dtype == dtype
    np.testing.assert_allclose(z, expected, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-5)
    assert abs(normals(key, 1500).std() - 1) < 0.05


@pytest.mark.parametrize("method", ["central", "complex"])
@given(mu=batches(), seed=seeds())
def test_gaussian_code_with_its_noise_held_still(method, mu, seed):
    h = np.hstack([mu, np.random.default_rng(seed).uniform(-4, 2, mu.shape)])
    check(Drawn(npae.GaussianCode(mu.shape[1]), seed), h, f"GaussianCode, {method}", method=method, random_state=seed)
    npae.GaussianCode(mu.shape[1]).forward(h)
    check(npae.GaussianCode(mu.shape[1]), h, "GaussianCode, its mean", random_state=seed)


def test_a_gaussian_code_needs_a_mean_and_a_variance_for_each_number():
    refuses(lambda: npae.GaussianCode(0), ValueError, "GaussianCode", "k >= 1")
    refuses(lambda: npae.GaussianCode(3).forward(np.ones((2, 5))), ValueError, "GaussianCode", "(n, 6)", "(2, 5)")
    refuses(lambda: npae.GaussianCode(1).backward(np.ones((2, 1))), RuntimeError, "GaussianCode.backward", "none")
