"""The estimators among scikit-learn's tools: its checks pass, and its pipelines, searches and outputs work."""

import pickle

import numpy as np
import pytest
from helpers import NAMES, QUICK, UNFITTED, X, each_model, refuses

import npae

# A check that cannot hold stands here with its reason; none is skipped.
UNEQUAL_NOISE = "noise is drawn for every element: a row that stands in the table twice is seen under two of them"


NOISY = {"check_sample_weight_equivalence_on_dense_data": UNEQUAL_NOISE}
EXPECTED_FAILURES = {"AE": {}, "DAE": NOISY, "VAE": NOISY, "PCA": {}, "OutlierDetector": {}}


CHECKED = {
    "AE": lambda: npae.AE(),
    "DAE": lambda: npae.DAE(),
    "VAE": lambda: npae.VAE(),
    "PCA": lambda: npae.PCA(),
    "AE of objects": lambda: npae.AE((5,), 2, loss=npae.MSE(), optimizer=npae.Adam(npae.Cosine(0.01)), epochs=2),
    "AE, sparse and tied": lambda: npae.AE((5,), 3, code="sigmoid", penalty="kl", tied=True, epochs=2),
    "DAE in float32": lambda: npae.DAE((5,), 2, corruption=npae.GaussianNoise(0.1), epochs=2, dtype="float32"),
    "PCA of two": lambda: npae.PCA(2),
    "PCA of a share": lambda: npae.PCA(0.9),
    "OutlierDetector": lambda: npae.OutlierDetector(n_fits=1, random_state=0),
    "OutlierDetector of AE": lambda: npae.OutlierDetector(npae.AE((5,), 1, epochs=5), 0.2, n_fits=2, random_state=0),
    "OutlierDetector of PCA": lambda: npae.OutlierDetector(npae.PCA(1), n_fits=1),
}


# What scikit-learn asks of its own transformers, but `check_estimator` does not ask of ours.
FURTHER_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


@pytest.fixture
def sklearn(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else its check of array namespaces is skipped
    return pytest.importorskip("sklearn", minversion="1.6")


@pytest.mark.parametrize("case", CHECKED)
@pytest.mark.filterwarnings("ignore::UserWarning")  # that no estimator of ours inherits from BaseEstimator
def test_scikit_learns_checks_pass(sklearn, case):
    from sklearn.utils.estimator_checks import check_estimator

    expected = EXPECTED_FAILURES[case.replace(",", "").split()[0]]
    results = check_estimator(CHECKED[case](), expected_failed_checks=expected, on_fail=None, on_skip=None)
    by = {status: {} for status in ("passed", "failed", "skipped", "xfail")}
    for result in results:
        by[result["status"]][result["check_name"]] = result["exception"]
    assert not by["failed"]
    assert not by["skipped"]
    assert set(by["xfail"]) == set(expected)
    assert len(by["passed"]) > 40


@each_model
@pytest.mark.parametrize("check", FURTHER_CHECKS)
@pytest.mark.filterwarnings("ignore:X :UserWarning")  # names on one side alone
def test_scikit_learns_further_checks_pass(sklearn, name, check):
    from sklearn.utils import estimator_checks

    for library in ("pandas", "polars"):
        if library in check:
            pytest.importorskip(library)
    getattr(estimator_checks, check)(name, UNFITTED[name]())


@each_model
def test_an_unfitted_model_raises_scikit_learns_error_too(sklearn, name):
    from sklearn.exceptions import NotFittedError

    for error in (NotFittedError, RuntimeError):
        refuses(lambda: UNFITTED[name]().transform(X), error, f"{name} expected to be fitted first", "call fit(X)")
    with pytest.raises(NotFittedError) as caught:
        UNFITTED[name]().encode(X)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(twin, NotFittedError)
    assert isinstance(twin, RuntimeError)
    assert str(twin) == str(caught.value)


@each_model
def test_clone_takes_the_parameters_and_the_output_but_nothing_learned(sklearn, name):
    pytest.importorskip("pandas")
    model = UNFITTED[name]().set_output(transform="pandas").fit(X)
    twin = sklearn.base.clone(model)
    assert twin.get_params() == model.get_params()
    assert not [attribute for attribute in vars(twin) if attribute.endswith("_")]
    np.testing.assert_array_equal(twin.fit(X).encode(X), model.encode(X))
    assert twin.transform(X).columns.tolist() == [f"{name.lower()}0", f"{name.lower()}1"]
    twin.set_output(transform="default")
    assert not isinstance(model.transform(X), np.ndarray)


def test_an_argument_that_fit_will_refuse_hinders_nothing_before(sklearn):
    odd = npae.AE(dtype="wide")
    assert sklearn.utils.get_tags(odd).transformer_tags
    assert sklearn.base.clone(odd).dtype == "wide"
    refuses(lambda: odd.fit(X), ValueError, "dtype float32 or float64", "'wide'")


def test_clone_copies_own_networks(sklearn):
    own = npae.AE(
        encoder=npae.Sequential(npae.Dense(6, 2, rng=0)), decoder=npae.Sequential(npae.Dense(2, 6, rng=1)), epochs=1
    )
    twin = sklearn.base.clone(own)
    assert twin.encoder is not own.encoder
    np.testing.assert_array_equal(twin.encoder.forward(X), own.encoder.forward(X))


@each_model
def test_a_pipeline_goes_there_and_back(sklearn, name):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = UNFITTED[name]()
    pipeline = make_pipeline(StandardScaler(), model).fit(X)
    scaled = StandardScaler().fit_transform(X)
    Z = pipeline.transform(X)
    np.testing.assert_array_equal(Z, model.encode(scaled))
    expected = model.reconstruct(scaled) * X.std(axis=0) + X.mean(axis=0)
    np.testing.assert_allclose(pipeline.inverse_transform(Z), expected, rtol=1e-9)
    assert pipeline.score(X) == model.score(scaled)
    assert pipeline.get_feature_names_out().tolist() == [f"{name.lower()}0", f"{name.lower()}1"]
    assert name in pipeline._repr_html_()


def test_a_pipeline_passes_fits_arguments_on(sklearn):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weights = np.arange(60) % 4
    last = make_pipeline(StandardScaler(), npae.PCA(2)).fit(X, pca__sample_weight=weights)[-1]
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_array_equal(last.components_, npae.PCA(2).fit(scaled, sample_weight=weights).components_)
    middle = make_pipeline(npae.AE(**QUICK), StandardScaler()).fit(X, ae__validation=X[:9])[0]
    assert len(middle.history_.validation_loss) == 2


def test_in_a_pipeline_rows_are_held_out_after_scaling(sklearn):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    raw = X * [1, 10, 100, 1, 10, 100] + 50
    early = QUICK | {"epochs": 50, "patience": 2, "validation_fraction": 0.2}
    ae = make_pipeline(StandardScaler(), npae.AE(**early, optimizer=npae.Adam(0.1))).fit(raw)[-1]
    alone = npae.AE(**early, optimizer=npae.Adam(0.1)).fit(StandardScaler().fit_transform(raw))
    assert ae.history_.validation_loss == alone.history_.validation_loss
    assert ae.history_.best_epoch < len(ae.history_.validation_loss) < 50
    assert max(ae.history_.validation_loss) < 5  # of unscaled rows it would be in the thousands


def test_a_grid_search_finds_the_size_of_the_code_and_the_rate(sklearn):
    from sklearn.model_selection import GridSearchCV

    ae = npae.AE(**QUICK | {"epochs": 30}, optimizer=npae.Adam())
    search = GridSearchCV(ae, {"latent_dim": [1, 3], "optimizer__learning_rate": [1e-6, 1e-2]}, cv=3).fit(X)
    assert search.best_params_ == {"latent_dim": 3, "optimizer__learning_rate": 1e-2}
    assert search.best_estimator_.encode(X).shape == (60, 3)
    assert GridSearchCV(npae.PCA(), {"n_components": [1, 2, 3]}, cv=3).fit(X).best_params_ == {"n_components": 3}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95, 0.999])
def test_pca_keeps_as_many_components_for_a_share_of_the_variance_as_scikit_learns(sklearn, share):
    from sklearn.datasets import load_digits, load_iris, load_wine
    from sklearn.decomposition import PCA

    for load in (load_iris, load_wine, load_digits):
        data = load().data
        ours, theirs = npae.PCA(share).fit(data), PCA(share, svd_solver="full").fit(data)
        assert ours.n_components_ == theirs.n_components_
        np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-8)


def test_an_outlier_detector_works_in_a_pipeline_and_a_search(sklearn):
    from sklearn.base import is_outlier_detector
    from sklearn.datasets import load_breast_cancer
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data, benign = load_breast_cancer(return_X_y=True)
    rows = np.r_[np.flatnonzero(benign == 1), np.flatnonzero(benign == 0)[:20]]  # a twentieth is malignant
    rows = np.random.default_rng(0).permutation(rows)
    data, benign = data[rows], benign[rows]
    detector = npae.OutlierDetector(npae.PCA(0.9), n_fits=1)
    assert is_outlier_detector(detector)
    pipeline = make_pipeline(StandardScaler(), detector).fit(data)
    np.testing.assert_array_equal(pipeline.predict(data), detector.predict(StandardScaler().fit_transform(data)))
    np.testing.assert_allclose(pipeline.score_samples(data), detector.fit(data).score_samples(data), rtol=1e-6)
    search = GridSearchCV(
        detector, {"trim": [0.0, 0.2], "model__n_components": [0.5, 0.9]}, cv=2,
        scoring=lambda model, A, y: roc_auc_score(y, model.score_samples(A)),
    ).fit(data, benign)  # fmt: skip
    assert search.best_score_ > 0.8
    default = npae.OutlierDetector(random_state=0).fit(data).score_samples(data)
    assert roc_auc_score(benign, default) > 0.85


def test_a_search_may_run_in_two_processes(sklearn):
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), npae.DAE(**QUICK, corruption=npae.MaskingNoise(0.2)))
    grid = {"dae__latent_dim": [1, 2], "dae__corruption__fraction": [0.1, 0.3]}
    one, two = (GridSearchCV(pipeline, grid, cv=2, n_jobs=n).fit(X) for n in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert one.best_params_ == two.best_params_


@pytest.mark.parametrize("rows", [100, 5000])  # 5000 rows are more than 1 MB: joblib hands them over as a memory map
def test_another_process_learns_the_same_bits(sklearn, rows):
    from joblib import Parallel, delayed

    many = np.random.default_rng(0).random((rows, 60)).astype(np.float32)
    model = npae.AE(**QUICK)
    results = Parallel(n_jobs=2)(delayed(_kind_and_fit)(model, many) for _ in range(2))
    for kind, fitted in results:
        assert kind == ("memmap" if rows == 5000 else "ndarray")
        np.testing.assert_array_equal(fitted.encode(many), npae.AE(**QUICK).fit(many).encode(many))


def _kind_and_fit(model, X):
    return type(X).__name__, model.fit(X)


class Extended(npae.AE):
    def __init__(self, hidden=(8,), *, extra=1.0, **others):
        super().__init__(hidden, **others)
        self.extra = extra


class Alone(npae.AE):
    def __init__(self, extra=None):
        super().__init__((8,), 2, epochs=1)
        self.extra = extra


def test_clone_keeps_what_a_subclass_adds(sklearn):
    assert sklearn.base.clone(Extended(extra=5, epochs=3)).get_params()["extra"] == 5
    assert sklearn.base.clone(Alone(extra=6)).extra == 6


@each_model
def test_cross_validation_scores_are_those_of_the_folds(sklearn, name):
    from sklearn.model_selection import cross_val_score

    scores = cross_val_score(UNFITTED[name](), X, cv=3)
    folds = [(np.r_[20:60], np.r_[:20]), (np.r_[:20, 40:60], np.r_[20:40]), (np.r_[:40], np.r_[40:60])]
    np.testing.assert_array_equal(scores, [UNFITTED[name]().fit(X[fit]).score(X[test]) for fit, test in folds])


def test_a_feature_union_and_a_column_transformer_put_codes_side_by_side(sklearn):
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion

    union = FeatureUnion([(name, UNFITTED[name]()) for name in UNFITTED]).fit(X)
    np.testing.assert_array_equal(
        union.transform(X), np.hstack([UNFITTED[name]().fit(X).encode(X) for name in UNFITTED])
    )
    assert union.get_feature_names_out()[[0, 3, 5, 7]].tolist() == ["AE__ae0", "DAE__dae1", "VAE__vae1", "PCA__pca1"]
    columns = ColumnTransformer([("few", npae.PCA(1), [0, 1, 2])], remainder="passthrough").fit(X)
    assert columns.transform(X).shape == (60, 4)
    assert columns.get_feature_names_out()[:2].tolist() == ["few__pca0", "remainder__x3"]


@each_model
def test_pandas_in_pandas_out(sklearn, name):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=NAMES, index=[f"row {i}" for i in range(60)])
    model = UNFITTED[name]().fit(frame)
    assert isinstance(model.transform(frame), np.ndarray)
    codes = model.set_output(transform="pandas").transform(frame)
    assert codes.index.equals(frame.index)
    assert codes.columns.tolist() == [f"{name.lower()}0", f"{name.lower()}1"]
    np.testing.assert_array_equal(codes.to_numpy(), model.encode(frame))
    assert isinstance(model.encode(frame), np.ndarray)
    assert isinstance(model.inverse_transform(codes), np.ndarray)
    pandas.testing.assert_frame_equal(UNFITTED[name]().set_output(transform="pandas").fit_transform(frame), codes)
    shuffled = frame[NAMES[::-1]]
    refuses(lambda: model.transform(shuffled), ValueError, "feature names should match", "same order", "Select")
    pandas.testing.assert_frame_equal(model.transform(shuffled[model.feature_names_in_]), codes)
    for odd in (frame.astype("Float64"), frame.astype(object)):
        pandas.testing.assert_frame_equal(model.transform(odd), codes)
    refuses(lambda: model.transform(frame.astype("Float64").shift()), (TypeError, ValueError), "X")


@each_model
def test_polars_in_polars_out(sklearn, name):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(X, schema=NAMES)
    model = UNFITTED[name]().set_output(transform="polars").fit(frame)
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    codes = model.transform(frame)
    assert codes.columns == [f"{name.lower()}0", f"{name.lower()}1"]
    np.testing.assert_array_equal(codes.to_numpy(), model.encode(frame))
    assert codes.equals(model.fit_transform(frame))


@each_model
def test_scikit_learns_global_output_is_honoured_and_ones_own_comes_first(sklearn, name):
    pandas = pytest.importorskip("pandas")
    model = UNFITTED[name]().fit(X)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(model.transform(X), pandas.DataFrame)
        assert isinstance(model.set_output(transform="default").transform(X), np.ndarray)
    assert isinstance(UNFITTED[name]().fit_transform(X), np.ndarray)
