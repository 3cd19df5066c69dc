"""The outlier detector: what its scores are, what helps it against outliers among the training rows, and bad input."""

import copy
import warnings

import numpy as np
import pytest
from helpers import NAMES, Frame, refuses
from hypothesis import given, settings
from hypothesis import strategies as st
from nonsense import SEEDS, no_count, no_flag, no_real, no_table, refuses_nonsense

import npae
from npae.outliers import table_model

QUICK = npae.DAE((16,), 3, corruption=npae.MaskingNoise(0.5), epochs=5, batch_size=16, verbose=False)


def with_outliers(n=200, d=6, odd=10, seed=0):
    """A table of rank two, with noise, whose first rows have their columns in the wrong order: no number is large."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)) + 0.1 * rng.standard_normal((n, d))
    X[:odd] = X[:odd, ::-1]
    return X, np.arange(n) < odd


def auc(score, odd):
    """The share of pairs (odd, normal) in which the odd row has the lower score."""
    return (1 + np.sign(score[~odd] - score[odd][:, None])).mean() / 2


X, ODD = with_outliers()


# --- what it computes ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_is_the_mean_over_the_fits_and_the_threshold_a_quantile_of_the_training_rows(dtype):
    A = X.astype(dtype)
    detector = npae.OutlierDetector(QUICK, 0.1, n_fits=3, random_state=0)
    assert detector.fit(A) is detector
    parts = list(zip(detector.centers_, detector.scales_, detector.models_, strict=True))
    assert len(parts) == 3
    score = np.mean([model.score_samples((A - center) / scale) for center, scale, model in parts], axis=0)
    np.testing.assert_allclose(detector.score_samples(A), score, rtol=1e-6)
    assert detector.offset_ == -detector.threshold_ == pytest.approx(np.quantile(score, 0.1))
    np.testing.assert_array_equal(detector.decision_function(A), detector.score_samples(A) - detector.offset_)
    np.testing.assert_array_equal(detector.predict(A), np.where(detector.decision_function(A) < 0, -1, 1))
    assert (detector.predict(A) == -1).sum() == 20
    assert detector.centers_.dtype == detector.models_[0].network_.dtype == dtype
    np.testing.assert_array_equal(
        npae.OutlierDetector(**detector.get_params(deep=False)).fit_predict(A), detector.predict(A)
    )


def test_rows_without_a_place_in_the_pattern_are_found_though_no_number_in_them_is_large():
    detector = npae.OutlierDetector(random_state=0)
    for seed in range(3):
        A, odd = with_outliers(600, 6, 30, seed)
        squares = ((A - A.mean(axis=0)) / A.std(axis=0)) ** 2
        assert auc(detector.fit(A).score_samples(A), odd) > 0.9 > auc(-squares.mean(axis=1), odd)


def test_trimmed_rows_are_not_learned_from():
    rng = np.random.default_rng(0)
    A = np.outer(np.linspace(-1, 1, 50), [1.0, 2, 3]) + 5 + 1e-3 * rng.random((50, 3))  # on a line
    A[:5] += 3 * rng.standard_normal((5, 3))
    trimmed, plain = (npae.OutlierDetector(npae.PCA(1), 0.1, n_fits=1, trim=t).fit(A) for t in (0.2, 0.0))
    assert trimmed.reconstruction_error(A[5:]).max() < 1e-4 < 1e-2 < plain.reconstruction_error(A[5:]).max()
    assert (trimmed.predict(A) == np.where(np.arange(50) < 5, -1, 1)).all()
    np.testing.assert_allclose(plain.centers_[0], A.mean(axis=0))
    assert abs(trimmed.centers_[0] - A[5:].mean(axis=0)).max() < 1
    assert trimmed.models_[0].n_features_in_ == 3


def test_scores_do_not_depend_on_the_units_of_the_columns():
    A = X * [1, 10, 100, 0.1, 1e6, 1] + [0, 5, -100, 0, 1e7, 3]
    for model in (QUICK, npae.PCA(2)):
        ours, theirs = (npae.OutlierDetector(model, n_fits=2, random_state=0).fit(T).score_samples(T) for T in (X, A))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    raw = npae.OutlierDetector(npae.PCA(2), n_fits=1, scale=False).fit(A)
    assert not raw.centers_.any()
    assert (raw.scales_ == 1).all()
    assert raw.threshold_ > 1


def test_a_constant_column_is_not_scaled_and_a_change_in_it_is_noticed():
    A = np.c_[X, np.full(200, 0.1)]
    detector = npae.OutlierDetector(npae.PCA(2), n_fits=1).fit(A)
    assert detector.scales_[0, 6] == 1
    changed = A[50:51].copy()
    changed[0, 6] = 9
    assert detector.predict(changed) == -1
    assert detector.reconstruction_error(changed, per_feature=True)[0].argmax() == 6


def test_the_errors_of_the_features_add_up_to_the_score_and_say_where_a_row_is_odd():
    detector = npae.OutlierDetector(QUICK, n_fits=2, random_state=0).fit(X)
    by_feature = detector.reconstruction_error(X, per_feature=True)
    assert by_feature.shape == X.shape
    np.testing.assert_allclose(by_feature.mean(axis=1), -detector.score_samples(X), rtol=1e-9)
    np.testing.assert_allclose(detector.reconstruction_error(X), -detector.score_samples(X), rtol=1e-12)
    broken = X[100:101].copy()
    broken[0, 4] += 10 * X[:, 4].std()
    assert detector.reconstruction_error(broken, per_feature=True)[0].argmax() == 4


# --- its models ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("backend")
def test_one_seed_fixes_all_fits_and_each_fit_has_its_own():
    first, again, other = (
        npae.OutlierDetector(QUICK, n_fits=2, random_state=seed).fit(X).score_samples(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    by_model = npae.OutlierDetector(copy.copy(QUICK).set_params(random_state=0), n_fits=2).fit(X)
    np.testing.assert_array_equal(by_model.score_samples(X), first)
    assert by_model.models_[0].random_state != by_model.models_[1].random_state
    rng = np.random.default_rng(0)
    moving = npae.OutlierDetector(QUICK, n_fits=1, random_state=rng)
    assert (moving.fit(X).score_samples(X) != moving.fit(X).score_samples(X)).any()


@pytest.mark.parametrize("model", [npae.AE((9,), 2, epochs=2), QUICK, npae.PCA(2)], ids=lambda m: type(m).__name__)
def test_copies_of_the_model_are_fitted_and_it_stays_as_it_is(model):
    before = repr(model)
    detector = npae.OutlierDetector(model, n_fits=2, random_state=0).fit(X)
    assert repr(model) == before
    assert not [name for name in vars(model) if name.endswith("_")]
    assert detector.model is model
    assert [type(one) for one in detector.models_] == [type(model)] * 2
    assert detector.set_params(model__dtype=np.float32).model is not model
    assert detector.fit(X).models_[0]._dtype == np.float32


def test_the_default_is_a_denoising_autoencoder_as_wide_as_the_table_asks():
    assert [table_model(d).latent_dim for d in (1, 2, 6, 30, 784)] == [1, 1, 3, 15, 32]
    detector = npae.OutlierDetector(n_fits=1, random_state=0).fit(X)
    assert repr(detector.models_[0]).startswith("DAE(hidden=(64,), latent_dim=3, ")
    assert detector.model is None


def test_a_model_that_gives_every_row_back_is_warned_of():
    with pytest.warns(UserWarning, match=r"got PCA\(\), which gives every row back: .* rounding noise") as caught:
        npae.OutlierDetector(npae.PCA(), n_fits=1).fit(X)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="rounding noise"):
        npae.OutlierDetector(npae.PCA(6), n_fits=1).fit(X.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        npae.OutlierDetector(npae.PCA(0.99), n_fits=1).fit(X)
        npae.OutlierDetector(npae.PCA(), n_fits=1).fit(np.ones((9, 3)))  # nothing varies


@pytest.mark.parametrize("model", [None, npae.AE((9,), 2, epochs=2, loss=npae.MSE()), npae.PCA(0.9)], ids=str)
def test_a_saved_detector_comes_back_bit_for_bit(model, tmp_path):
    detector = npae.OutlierDetector(model, n_fits=2, random_state=0).fit(Frame(X, NAMES))
    npae.save(detector, tmp_path / "detector.npz")
    twin = npae.load(tmp_path / "detector.npz")
    assert repr(twin) == repr(detector)
    np.testing.assert_array_equal(twin.score_samples(Frame(X, NAMES)), detector.score_samples(Frame(X, NAMES)))
    assert (twin.offset_, twin.feature_names_in_.tolist()) == (detector.offset_, NAMES)
    npae.save(twin, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "detector.npz").read_bytes()
    np.testing.assert_array_equal(twin.fit(X).score_samples(X), detector.fit(X).score_samples(X))


SPOILED = {
    "no models": (lambda d: d.models_.clear(), "models_ is not a list of models"),
    "a model of another table": (lambda d: d.models_.__setitem__(0, npae.PCA(1).fit(X[:, :5])), "5 columns"),
    "a model of numbers": (lambda d: d.models_.__setitem__(0, 7), "models_ is not a list of models"),
    "a model with a weight of NaN": (lambda d: d.models_[0].components_.fill(np.nan), "not all finite"),
    "centers too few": (lambda d: setattr(d, "centers_", d.centers_[:1]), "centers_ has shape"),
    "scales of another dtype": (lambda d: setattr(d, "scales_", d.scales_.astype("f4")), "dtype float32 instead"),
    "no threshold": (lambda d: setattr(d, "offset_", np.nan), "offset_ is nan"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILED)
def test_a_detector_whose_parts_do_not_fit_together_is_not_saved(kind, tmp_path):
    detector = npae.OutlierDetector(npae.PCA(2), n_fits=2).fit(X)
    spoil, match = SPOILED[kind]
    spoil(detector)
    with pytest.raises(ValueError, match=rf"save expected a model as fit leaves it, got .*{match}"):
        npae.save(detector, tmp_path / "detector.npz")


# --- bad input -----------------------------------------------------------------------------------------------------

BAD = [
    ({"model": npae.PCA}, TypeError, "model as an AE, DAE, PCA or None", "PCA"),
    ({"model": npae.OutlierDetector()}, TypeError, "model as an AE, DAE, PCA or None", "OutlierDetector()"),
    ({"model": npae.PCA(9)}, ValueError, "n_components <= min(n, d) = 6", "9"),
    ({"contamination": 0.0}, ValueError, "contamination finite and in (0, 0.5]", "0.0"),
    ({"contamination": 0.6}, ValueError, "contamination finite and in (0, 0.5]", "0.6"),
    ({"contamination": "auto"}, TypeError, "contamination as a real number", "'auto'"),
    ({"trim": 0.51}, ValueError, "trim finite and in [0, 0.5]", "0.51"),
    ({"n_fits": 0}, ValueError, "n_fits >= 1", "0"),
    ({"scale": "yes"}, TypeError, "scale as True or False", "'yes'"),
    ({"random_state": -1}, ValueError, "random_state >= 0", "-1"),
]


@pytest.mark.parametrize(("argument", "error", "wanted", "came"), BAD, ids=lambda v: str(v)[:40])
def test_a_bad_argument_is_refused_and_changes_nothing(argument, error, wanted, came):
    detector = npae.OutlierDetector(npae.PCA(2), n_fits=1).fit(X)
    scores = detector.score_samples(X)
    refuses(lambda: detector.set_params(**argument).fit(X), error, wanted, came)
    np.testing.assert_array_equal(detector.score_samples(X), scores)


FITTED = npae.OutlierDetector(npae.PCA(2), n_fits=1).fit(X)


def fit_with(**arguments):
    npae.OutlierDetector(**{"model": npae.PCA(2), "n_fits": 1} | arguments).fit(X)


CALLS = {
    "fit": (FITTED.fit, no_table().filter(lambda v: v is not None)),
    **{verb: (getattr(FITTED, verb), no_table(6)) for verb in (
        "score_samples", "decision_function", "predict", "reconstruction_error")},
    "contamination": (lambda v: fit_with(contamination=v), no_real(0, 0.5)),
    "trim": (lambda v: fit_with(trim=v), no_real(0, 0.5)),
    "n_fits": (lambda v: fit_with(n_fits=v), no_count()),
    "scale": (lambda v: fit_with(scale=v), no_flag()),
    "random_state": (lambda v: fit_with(random_state=v), SEEDS),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_nonsense_is_refused_in_three_parts(name, data):
    call, nonsense = CALLS[name]
    refuses_nonsense(call, data.draw(nonsense))


def test_nothing_works_before_the_fit():
    detector = npae.OutlierDetector()
    for call in (detector.score_samples, detector.decision_function, detector.predict, detector.reconstruction_error):
        refuses(lambda call=call: call(X), RuntimeError, "OutlierDetector expected to be fitted", "call fit(X)")
    refuses(lambda: npae.save(detector, "never-written.npz"), RuntimeError, "OutlierDetector expected to be fitted")


def test_columns_are_known_by_their_names():
    detector = npae.OutlierDetector(npae.PCA(2), n_fits=1).fit(Frame(X, NAMES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert detector.predict(Frame(X, NAMES)).shape == (200,)
    refuses(lambda: detector.predict(Frame(X, NAMES[::-1])), ValueError, "feature names should match")
