"""PCA reconstructs with the least squared error, weighs rows, and keeps the directions in which the data vary."""

import pickle

import numpy as np
import pytest
from helpers import refuses, table

import npae

X = np.random.default_rng(0).random((60, 3)) @ np.random.default_rng(1).random((3, 6))  # three causes of six columns


def test_pca_reconstructs_with_the_least_squared_error():
    X = table(50, 7)
    centred = X - X.mean(axis=0)
    singular_values = np.linalg.svd(centred)[1]
    for k in (1, 3, 7):
        pca = npae.PCA(k).fit(X)
        assert -pca.score(X) == pytest.approx((singular_values[k:] ** 2).sum() / X.size, abs=1e-15)
        assert np.square(pca.reconstruct(X) - X).mean() == pytest.approx(-pca.score(X), abs=1e-15)
        np.testing.assert_allclose(pca.components_ @ pca.components_.T, np.eye(k), atol=1e-12)
        np.testing.assert_allclose(pca.explained_variance_, np.linalg.eigvalsh(np.cov(X.T))[::-1][:k], rtol=1e-9)
        np.testing.assert_allclose(pca.encode(X), centred @ pca.components_.T, atol=1e-12)
        np.testing.assert_allclose(pca.encode(X).var(axis=0, ddof=1), pca.explained_variance_, rtol=1e-9)
    assert npae.PCA().fit(X).explained_variance_ratio_.sum() == pytest.approx(1)


def test_the_mean_of_the_scores_of_the_rows_is_pcas_score():
    X = table(50, 7)
    for dtype in (np.float32, np.float64):
        pca = npae.PCA(2).fit(X.astype(dtype))
        rows = pca.score_samples(X)
        assert rows.mean() == pytest.approx(pca.score(X), rel=1e-12)
        np.testing.assert_allclose(rows, -np.square(X - pca.reconstruct(X)).mean(axis=1), rtol=1e-4)


def test_pca_points_components_to_their_largest_entry_and_gives_their_share_of_the_whole_variance():
    for seed in range(5):
        X = table(50, 7, seed)
        pca = npae.PCA(3).fit(X)
        V = pca.components_
        assert (V[np.arange(3), abs(V).argmax(axis=1)] > 0).all()
        share = pca.explained_variance_ / X.var(axis=0, ddof=1).sum()
        np.testing.assert_allclose(pca.explained_variance_ratio_, share, rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 4), (3, 5), (5, 3), (6, 1)])
def test_pca_of_any_shape(shape):
    X = np.random.default_rng(0).standard_normal(shape)
    k = max(1, min(shape[0] - 1, shape[1]))  # n points lie in a plane of n - 1 directions
    pca = npae.PCA().fit(X)
    assert pca.components_.shape == (k, shape[1])
    np.testing.assert_allclose(pca.reconstruct(X), X, atol=1e-12)
    assert np.isfinite(pca.explained_variance_ratio_).all()


def test_pca_on_the_bundled_digits_has_the_known_error():
    X_train, X_test = npae.datasets.digits()
    X_hat = npae.PCA(32).fit(X_train).reconstruct(X_test)
    assert X_hat.dtype == np.float32
    assert np.square(X_hat - X_test).sum(axis=1).mean() == pytest.approx(13.75, abs=0.01)
    assert np.square(X_hat.clip(0, 1) - X_test).sum(axis=1).mean() == pytest.approx(12.50, abs=0.01)


def test_pca_keeps_the_directions_in_which_the_data_vary():
    assert npae.PCA().fit(X).components_.shape == (3, 6)
    assert npae.PCA().fit(X.astype(np.float32) + np.float32(1000)).components_.shape[0] >= 3
    assert npae.PCA().fit(X + 1e6).components_.shape == (3, 6)
    assert npae.PCA().fit(np.full((9, 6), 0.1)).components_.shape == (1, 6)
    assert npae.PCA(6).fit(X).components_.shape == (6, 6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99, np.float32(0.75)])
def test_a_share_of_the_variance_keeps_the_fewest_components_that_explain_more(share):
    A = table(80, 12) * np.arange(1, 13)
    pca = npae.PCA(share).fit(A)
    k = pca.n_components_
    explained = np.cumsum(npae.PCA(12).fit(A).explained_variance_ratio_)
    assert explained[k - 1] > share
    assert k == 1 or explained[k - 2] <= share
    assert pca.components_.shape == (k, 12)
    np.testing.assert_array_equal(pca.encode(A), npae.PCA(k).fit(A).encode(A))


def test_a_share_counts_rows_by_their_weights_and_one_component_is_the_least():
    assert npae.PCA(0.999).fit(np.full((9, 6), 0.1)).n_components_ == 1
    assert npae.PCA(1 - 1e-16).fit(X).n_components_ <= 6
    line, plane = np.zeros((2, 10, 3))
    line[:, 0], plane[:, 1:] = np.arange(10), np.random.default_rng(0).standard_normal((10, 2))
    both = np.vstack([line, plane])
    assert npae.PCA(0.95).fit(both).n_components_ > 1
    assert npae.PCA(0.95).fit(both, sample_weight=np.repeat([1, 0], 10)).n_components_ == 1


def test_without_a_direction_left_out_the_error_is_rounding_noise():
    for dtype in (np.float32, np.float64):
        A = X.astype(dtype)
        assert npae.PCA().fit(A).reconstruction_error(A).max() < (100 * np.finfo(dtype).eps) ** 2 * np.square(A).mean()
        assert npae.PCA(2).fit(A).reconstruction_error(A).mean() > 1e-5


@pytest.mark.parametrize(
    ("n_components", "error", "wanted", "came"),
    [
        (0, ValueError, "n_components >= 1", "0"),
        (7, ValueError, "n_components <= min(n, d) = 6", "7"),
        (0.0, ValueError, "n_components as a share in (0, 1)", "0.0"),
        (1.0, ValueError, "n_components as a share in (0, 1)", "1.0"),
        (np.float32(2.5), ValueError, "n_components as a share in (0, 1)", "2.5"),
        (float("nan"), ValueError, "n_components finite", "nan"),
        ("mle", TypeError, "n_components as a whole number", "'mle'"),
    ],
)
def test_a_bad_number_of_components_is_refused(n_components, error, wanted, came):
    refuses(lambda: npae.PCA(n_components).fit(X), error, "PCA", wanted, came)


# --- weights of rows --------------------------------------------------------------------------------------

COUNTS = np.random.default_rng(2).integers(0, 4, 60)


@pytest.mark.parametrize("k", [1, 3, None])
def test_a_weight_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out(k):
    offset = X + 10.0
    weighted, repeated = npae.PCA(k).fit(offset, sample_weight=COUNTS), npae.PCA(k).fit(offset.repeat(COUNTS, axis=0))
    for learned in ("mean_", "components_", "explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(weighted, learned), getattr(repeated, learned), rtol=1e-9, atol=1e-12)
    other = X[::-1] ** 2
    expected = repeated.score(other.repeat(COUNTS, axis=0))
    assert weighted.score(other, sample_weight=COUNTS) == pytest.approx(expected, rel=1e-12)
    assert weighted.score(other) != pytest.approx(expected, rel=1e-3)


def test_weights_of_one_change_nothing():
    plain, weighted = npae.PCA(2).fit(X), npae.PCA(2).fit(X, sample_weight=[1] * 60)
    np.testing.assert_allclose(weighted.encode(X), plain.encode(X), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(weighted.explained_variance_, plain.explained_variance_, rtol=1e-12)
    assert weighted.score(X, sample_weight=np.full(60, 0.1)) == pytest.approx(plain.score(X), rel=1e-12)


def test_only_rows_that_count_limit_the_number_of_components():
    few = np.zeros(60)
    few[:2] = 0.5
    assert npae.PCA(2).fit(X, sample_weight=few).components_.shape == (2, 6)
    refuses(
        lambda: npae.PCA(3).fit(X, sample_weight=few), ValueError, "n_components <= min(n, d) = 2", "3", "pass more"
    )


BAD_WEIGHTS = [
    (np.ones(59), ValueError, "shape (n,) = (60,)", "(59,)", "one weight"),
    (np.ones((60, 1)), ValueError, "shape (n,) = (60,)", "(60, 1)", "one weight"),
    (1.0, ValueError, "shape (n,) = (60,)", "()", "one weight"),
    (np.where(np.arange(60) == 7, -1.0, 1), ValueError, ">= 0", "-1.0 at row 7", "weight 0"),
    (np.where(np.arange(60) == 7, np.nan, 1), ValueError, "finite", "nan at row 7", "weight 0"),
    (np.where(np.arange(60) == 7, np.inf, 1), ValueError, "finite", "inf at row 7", "weight 0"),
    (np.zeros(60), ValueError, "not all zero", "a sum of 0.0", "above 0"),
    (np.full(60, 1e308), ValueError, "finite sum", "a sum of inf", "above 0"),
    (["heavy"] * 60, TypeError, "sample_weight as real numbers", "<U5", "convert"),
]


@pytest.mark.parametrize(("weights", "error", "wanted", "came", "hint"), BAD_WEIGHTS, ids=lambda v: str(v)[:20])
def test_bad_weights_are_refused_and_change_nothing(weights, error, wanted, came, hint):
    pca = npae.PCA(2).fit(X)
    before = pickle.dumps(pca)
    refuses(lambda: pca.fit(X**2, sample_weight=weights), error, "PCA", wanted, came, hint)
    refuses(lambda: pca.score(X, sample_weight=weights), error, "PCA", wanted, came, hint)
    assert pickle.dumps(pca) == before
