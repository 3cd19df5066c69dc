"""The estimators among scikit-learn's tools: its own checks pass, and none of it is needed.

The first half runs without scikit-learn; the second is skipped where that is not installed.
"""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import npae

CHECKOUT = Path(npae.__file__).parent.parent

X = np.random.default_rng(0).random((60, 3)) @ np.random.default_rng(1).random((3, 6))  # three causes of six columns
QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 2, "batch_size": 16, "random_state": 0}
MODELS = {
    "AE": lambda: npae.AE(**QUICK),
    "DAE": lambda: npae.DAE(**QUICK, corruption=npae.MaskingNoise(0.2)),
    "PCA": lambda: npae.PCA(2),
}
each_model = pytest.mark.parametrize("name", MODELS)


class Frame:
    """The least that has column names, as a DataFrame does."""

    def __init__(self, table, columns):
        self.table, self.columns = table, columns

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.table, dtype=dtype)


NAMES = ["height", "width", "depth", "mass", "charge", "spin"]


def refuses(call, error, *parts):
    with pytest.raises(error) as caught:
        call()
    for part in (*parts, "expected", "got"):
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


# --- parameters -------------------------------------------------------------------------------------------


def test_the_fields_of_recipes_can_be_read_and_set_by_name():
    adam = npae.Adam(npae.Cosine(0.1))
    dae = npae.DAE(optimizer=adam, corruption=npae.GaussianNoise(0.5))
    deep = dae.get_params()
    assert deep["optimizer"] is adam
    assert (deep["optimizer__beta1"], deep["optimizer__learning_rate__start"]) == (0.9, 0.1)
    assert deep["corruption__std"] == 0.5
    assert not [name for name in dae.get_params(deep=False) if "__" in name]
    dae.set_params(optimizer__learning_rate__start=0.3, optimizer__beta1=0.8, corruption__std=0.1, latent_dim=5)
    assert dae.optimizer == npae.Adam(npae.Cosine(0.3), beta1=0.8)
    assert (dae.corruption, dae.latent_dim) == (npae.GaussianNoise(0.1), 5)
    assert adam == npae.Adam(npae.Cosine(0.1))


def test_what_get_params_tells_set_params_takes_whatever_stood_there():
    told = npae.DAE(optimizer=npae.SGD(npae.Cosine(0.1), momentum=0.9, nesterov=True), loss=npae.BCE()).get_params()
    for other in (npae.DAE(), npae.DAE(optimizer=npae.Adam()), npae.DAE(optimizer=npae.SGD(0.1), loss=npae.MSE())):
        assert other.set_params(**told).get_params() == told


@dataclasses.dataclass
class Counting:
    """A corruption of one's own, which counts its calls."""

    std: float
    calls: int = dataclasses.field(default=0, init=False)

    def __call__(self, x, rng):
        self.calls += 1
        return x + self.std * rng.standard_normal(x.shape)


def test_only_what_a_recipe_is_made_with_is_a_parameter():
    dae = npae.DAE(corruption=Counting(0.1), optimizer=npae.Adam)
    assert {name for name in dae.get_params() if "__" in name} == {"corruption__std"}
    first = dae.corruption
    assert dae.set_params(corruption__std=0.2).corruption == Counting(0.2)
    assert first == Counting(0.1)


class Extended(npae.AE):
    """With a constructor of its own, as scikit-learn's users write it."""

    def __init__(self, hidden=(8,), *, extra=1.0, latent_dim=2, **others):
        super().__init__(hidden, latent_dim, **others)
        self.extra = extra


class Alone(npae.AE):
    def __init__(self, extra=None):
        super().__init__((8,), 2, epochs=1)
        self.extra = extra


def test_a_subclass_has_the_parameters_of_its_own_constructor():
    model = Extended(extra=5, random_state=0)
    assert set(model.get_params(deep=False)) == {*npae.AE().get_params(deep=False), "extra"}
    assert (model.get_params()["extra"], model.get_params()["latent_dim"]) == (5, 2)
    assert repr(model) == "Extended(random_state=0, extra=5)"
    assert model.set_params(extra=7, batch_size=3).extra == 7
    assert list(Alone(3).get_params()) == ["extra"]
    assert repr(Alone(3)) == "Alone(extra=3)"
    with pytest.raises(ValueError, match=r"names among \['extra'\], got \['epochs'\]"):
        Alone().set_params(epochs=3)
    assert Extended(epochs=1).fit(X).encode(X).shape == (60, 2)


def test_a_whole_recipe_is_set_before_its_fields():
    ae = npae.AE().set_params(optimizer__beta1=0.8, optimizer=npae.Adam(0.1))
    assert ae.optimizer == npae.Adam(0.1, beta1=0.8)


@pytest.mark.parametrize(
    ("params", "error", "parts"),
    [
        ({"latent": 3}, ValueError, ("names among", "['latent']", "spelling")),
        ({"optimizer__rate": 3}, ValueError, ("'optimizer__learning_rate'", "['optimizer__rate']", "spelling")),
        ({"optimizer__learning_rate__start": 3}, ValueError, ("names among", "learning_rate__start", "spelling")),
        ({"loss__weight": 3}, ValueError, ("names among", "['loss__weight']", "spelling")),
        ({"optimizer__learning_rate": -1.0}, ValueError, ("learning_rate", "-1.0", "choose")),
    ],
)
def test_a_parameter_that_does_not_exist_or_fit_is_refused_and_none_is_changed(params, error, parts):
    ae = npae.AE(optimizer=npae.Adam())
    before = ae.get_params()
    refuses(lambda: ae.set_params(**{"epochs": 3, "optimizer__beta1": 0.5} | params), error, *parts)
    assert ae.get_params() == before


# --- copies -----------------------------------------------------------------------------------------------

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@each_model
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_does_what_the_model_does_and_is_trained_on_its_own(name, way):
    model = MODELS[name]().fit(Frame(X, NAMES))
    codes, score = model.encode(Frame(X, NAMES)), model.score(Frame(X, NAMES))
    twin = COPIES[way](model)
    assert repr(twin) == repr(model)
    assert set(vars(twin)) == set(vars(model))
    np.testing.assert_array_equal(twin.feature_names_in_, NAMES)
    np.testing.assert_array_equal(twin.encode(Frame(X, NAMES)), codes)
    assert twin.score(Frame(X, NAMES)) == score
    twin.fit(X[:30] ** 2)
    assert not np.array_equal(twin.encode(X), codes)
    np.testing.assert_array_equal(model.encode(Frame(X, NAMES)), codes)


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copys_network_is_whole(way):
    model = MODELS["DAE"]().fit(X)
    twin = COPIES[way](model)
    assert twin.network_.layers == (twin.encoder_, twin.decoder_)
    assert not any(
        np.shares_memory(p.value, q.value) for p in twin.network_.parameters() for q in model.network_.parameters()
    )
    assert npae.check_gradients(twin, X[:3], verbose=False).passed


@pytest.mark.parametrize("name", ["AE", "DAE"])
def test_a_pickle_holds_the_weights_and_nothing_of_the_last_batch(name):
    model = MODELS[name]().set_params(hidden=(50,)).fit(X)
    before = len(pickle.dumps(model))
    weights = sum(p.value.nbytes for p in model.network_.parameters())
    assert before < 3 * weights + 6000  # the optimizer's moments are as large as the weights, twice
    model.encode(np.tile(X, (100, 1))[:256])
    npae.check_gradients(model.network_, X, loss=npae.MSE(), target=X, verbose=False, max_elements=1)
    model.network_.backward(npae.MSE()(model.network_.forward(X), X)[1])
    assert len(pickle.dumps(model)) == before
    assert all(p.grad.any() for p in model.network_.parameters())
    for p in pickle.loads(pickle.dumps(model)).network_.parameters():
        assert p.grad.shape == p.value.shape
        assert not p.grad.any()


def test_a_copied_layer_asks_for_a_forward_pass_of_its_own():
    layer = npae.Sequential(npae.Dense(6, 2, rng=0), npae.Tanh())
    y = layer.forward(X)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        refuses(lambda twin=twin: twin.backward(y), RuntimeError, "forward pass")
        np.testing.assert_array_equal(twin.forward(X), y)
    layer.backward(y)


# --- names of columns -------------------------------------------------------------------------------------


@each_model
def test_the_names_of_the_columns_are_remembered_until_the_next_fit(name):
    model = MODELS[name]().fit(Frame(X, NAMES))
    assert model.feature_names_in_.dtype == object
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    np.testing.assert_array_equal(model.encode(Frame(X, NAMES)), MODELS[name]().fit(X).encode(X))
    assert not hasattr(model.fit(X), "feature_names_in_")
    assert not hasattr(model.fit(Frame(X, range(6))), "feature_names_in_")
    assert not hasattr(model.fit(Frame(X, [("a", i) for i in range(6)])), "feature_names_in_")


@each_model
def test_columns_of_other_names_or_in_another_order_are_refused(name):
    model = MODELS[name]().fit(Frame(X, NAMES))
    calls = [model.transform, model.encode, model.reconstruct, model.score]
    calls += [lambda V: model.fit(Frame(X, NAMES), validation=V)] if name != "PCA" else [model.transform]
    for call in calls:
        refuses(lambda call=call: call(Frame(X, NAMES[::-1])), ValueError, "same order as they were in fit", "Select")
        refuses(lambda call=call: call(Frame(X[:, :5], NAMES[:5])), ValueError, "yet now missing:\n- spin\n", "Select")
        refuses(
            lambda call=call: call(Frame(X, [*"abcdef"])),
            ValueError,
            "unseen at fit time:\n- a\n",
            "- e\n- ...\nFeature",
        )
    refuses(lambda: model.fit(Frame(X, [*NAMES[:5], 5])), TypeError, "all named by text", "['int', 'str']", "astype")
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)


@each_model
def test_names_on_one_side_alone_are_warned_of_at_the_callers_line(name):
    named, bare = MODELS[name]().fit(Frame(X, NAMES)), MODELS[name]().fit(X)
    for method in ("transform", "encode", "reconstruct", "score"):
        for model, table, message in (
            (named, X, f"X does not have valid feature names, but {name} was fitted with"),
            (bare, Frame(X, NAMES), f"X has feature names, but {name} was fitted without"),
        ):
            with pytest.warns(UserWarning, match=message) as caught:
                getattr(model, method)(table)
            assert [Path(w.filename) for w in caught] == [Path(__file__)]


@each_model
def test_no_warning_where_both_sides_have_names_or_none(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (X, Frame(X, NAMES), Frame(X, range(6))):
            model = MODELS[name]().fit(table)
            model.transform(table)
            model.score(table)
            model.inverse_transform(model.transform(table))


@each_model
def test_codes_have_names_after_the_class(name):
    model = MODELS[name]()
    refuses(model.get_feature_names_out, RuntimeError, "fitted first", "call fit(X)")
    out = model.fit(Frame(X, NAMES)).get_feature_names_out()
    assert out.dtype == object
    assert out.tolist() == [f"{name.lower()}0", f"{name.lower()}1"]
    assert model.get_feature_names_out(NAMES).tolist() == out.tolist()
    refuses(
        lambda: model.get_feature_names_out(NAMES[:2]), ValueError, "number of features (6), got shape (2,)", "pass"
    )
    refuses(lambda: model.get_feature_names_out(NAMES[::-1]), ValueError, "not equal to feature_names_in_", "leave")
    assert model.fit(X).get_feature_names_out(NAMES[::-1]).tolist() == out.tolist()


def test_own_networks_that_only_bend_have_names_for_their_codes_too():
    dense = npae.Sequential(npae.Dense(6, 6, rng=0))
    bend = npae.Sequential(npae.Tanh())
    for encoder, decoder in ((dense, bend), (bend, dense)):
        ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1).fit(X)
        assert len(ae.get_feature_names_out()) == ae.encode(X).shape[1] == 6


@each_model
def test_names_are_saved_and_loaded(name, tmp_path):
    model = MODELS[name]().fit(Frame(X, NAMES))
    npae.save(model, tmp_path / "model.npz")
    twin = npae.load(tmp_path / "model.npz")
    assert twin.feature_names_in_.dtype == object
    np.testing.assert_array_equal(twin.feature_names_in_, NAMES)
    np.testing.assert_array_equal(twin.encode(Frame(X, NAMES)), model.encode(Frame(X, NAMES)))


# --- dtypes, objects, errors ------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dtype_stays_what_it_is(name, dtype):
    A = X.astype(dtype)
    model = MODELS[name]()
    Z = model.fit_transform(A)
    results = [
        Z,
        model.encode(A),
        model.transform(A),
        model.decode(Z),
        model.inverse_transform(Z),
        model.reconstruct(A),
    ]
    assert [a.dtype for a in results] == [dtype] * 6
    learned = [v for v in vars(model).values() if isinstance(v, np.ndarray)]
    learned += [p.value for p in model.network_.parameters()] if name != "PCA" else []
    assert {a.dtype for a in learned} == {np.dtype(dtype)}


@each_model
@pytest.mark.parametrize("dtype", [np.float32, "float64"])
def test_the_argument_fixes_the_dtype_for_all_data(name, dtype):
    model = MODELS[name]().set_params(dtype=dtype)
    for A in (X.astype(np.float32), X, (X * 100).astype(int)):
        Z = model.fit_transform(A)
        for result in (Z, model.encode(X), model.encode(X.astype(np.float32)), model.decode(Z.astype(np.float64))):
            assert result.dtype == dtype
    refuses(lambda: model.set_params(dtype=int).fit(X), ValueError, f"{name} expected dtype float32 or float64", "int")


@each_model
def test_numbers_in_object_arrays_are_numbers(name):
    model = MODELS[name]()
    np.testing.assert_array_equal(model.fit(X.astype(object)).encode(X.astype(object)), MODELS[name]().fit(X).encode(X))
    for odd, reason in (({"foo": "bar"}, "not 'dict'"), ("1.5", "'1.5'"), (None, "NoneType"), (10**400, "too large")):
        bad = X.astype(object)
        bad[3, 1] = odd
        refuses(lambda bad=bad: model.fit(bad), TypeError, "real numbers", "dtype object", reason, "convert")


@each_model
def test_sparse_tables_are_refused_by_name(name):
    class csr_array(Frame):
        def toarray(self):
            return self.table

    refuses(lambda: MODELS[name]().fit(csr_array(X, NAMES)), TypeError, "dense", "sparse csr_array", "X.toarray()")


ALONE = """
import sys
import numpy as np, npae
X = np.random.default_rng(0).random((9, 4))
for model in (npae.AE(epochs=1), npae.DAE(epochs=1), npae.PCA()):
    model.set_output(transform="default").fit_transform(X)
    model.get_feature_names_out()
    try: type(model)().encode(X)
    except RuntimeError as error: assert type(error) is RuntimeError
print(*{name.split(".")[0] for name in sys.modules} & {"sklearn", "scipy", "pandas", "polars", "joblib"})
"""


def test_neither_scikit_learn_nor_pandas_is_imported():
    environment = os.environ | {"NPAE_BACKEND": "numpy", "PYTHONPATH": str(CHECKOUT)}  # numba brings scipy
    done = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    model = npae.PCA(2).fit(X)
    refuses(
        lambda: model.set_output(transform="polars"), ImportError, "PCA.set_output", "no such package", "pip install"
    )
    refuses(lambda: model.set_output(transform="xarray"), ValueError, "('default', 'pandas', 'polars')", "'xarray'")
    assert isinstance(model.set_output().transform(X), np.ndarray)


# --- where scikit-learn is installed ----------------------------------------------------------------------

# A check that cannot hold stands here with its reason; none is skipped.
UNEQUAL_NOISE = "noise is drawn for every element: a row that stands in the table twice is seen under two of them"
EXPECTED_FAILURES = {"AE": {}, "DAE": {"check_sample_weight_equivalence_on_dense_data": UNEQUAL_NOISE}, "PCA": {}}

CHECKED = {
    "AE": lambda: npae.AE(),
    "DAE": lambda: npae.DAE(),
    "PCA": lambda: npae.PCA(),
    "AE of objects": lambda: npae.AE((5,), 2, loss=npae.MSE(), optimizer=npae.Adam(npae.Cosine(0.01)), epochs=2),
    "DAE in float32": lambda: npae.DAE((5,), 2, corruption=npae.GaussianNoise(0.1), epochs=2, dtype="float32"),
    "PCA of two": lambda: npae.PCA(2),
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

    expected = EXPECTED_FAILURES[case.split()[0]]
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
    getattr(estimator_checks, check)(name, MODELS[name]())


@each_model
def test_an_unfitted_model_raises_scikit_learns_error_too(sklearn, name):
    from sklearn.exceptions import NotFittedError

    for error in (NotFittedError, RuntimeError):
        refuses(lambda: MODELS[name]().transform(X), error, f"{name} expected to be fitted first", "call fit(X)")
    with pytest.raises(NotFittedError) as caught:
        MODELS[name]().encode(X)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(twin, NotFittedError)
    assert isinstance(twin, RuntimeError)
    assert str(twin) == str(caught.value)


@each_model
def test_clone_takes_the_parameters_and_the_output_but_nothing_learned(sklearn, name):
    pytest.importorskip("pandas")
    model = MODELS[name]().set_output(transform="pandas").fit(X)
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

    model = MODELS[name]()
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


def test_a_grid_search_finds_the_size_of_the_code_and_the_rate(sklearn):
    from sklearn.model_selection import GridSearchCV

    ae = npae.AE(**QUICK | {"epochs": 30}, optimizer=npae.Adam())
    search = GridSearchCV(ae, {"latent_dim": [1, 3], "optimizer__learning_rate": [1e-6, 1e-2]}, cv=3).fit(X)
    assert search.best_params_ == {"latent_dim": 3, "optimizer__learning_rate": 1e-2}
    assert search.best_estimator_.encode(X).shape == (60, 3)
    assert GridSearchCV(npae.PCA(), {"n_components": [1, 2, 3]}, cv=3).fit(X).best_params_ == {"n_components": 3}


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


def test_clone_keeps_what_a_subclass_adds(sklearn):
    assert sklearn.base.clone(Extended(extra=5, epochs=3)).get_params()["extra"] == 5
    assert sklearn.base.clone(Alone(extra=6)).extra == 6


@each_model
def test_cross_validation_scores_are_those_of_the_folds(sklearn, name):
    from sklearn.model_selection import cross_val_score

    scores = cross_val_score(MODELS[name](), X, cv=3)
    folds = [(np.r_[20:60], np.r_[:20]), (np.r_[:20, 40:60], np.r_[20:40]), (np.r_[:40], np.r_[40:60])]
    np.testing.assert_array_equal(scores, [MODELS[name]().fit(X[fit]).score(X[test]) for fit, test in folds])


def test_a_feature_union_and_a_column_transformer_put_codes_side_by_side(sklearn):
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion

    union = FeatureUnion([(name, MODELS[name]()) for name in MODELS]).fit(X)
    np.testing.assert_array_equal(union.transform(X), np.hstack([MODELS[name]().fit(X).encode(X) for name in MODELS]))
    assert union.get_feature_names_out()[[0, 3, 5]].tolist() == ["AE__ae0", "DAE__dae1", "PCA__pca1"]
    columns = ColumnTransformer([("few", npae.PCA(1), [0, 1, 2])], remainder="passthrough").fit(X)
    assert columns.transform(X).shape == (60, 4)
    assert columns.get_feature_names_out()[:2].tolist() == ["few__pca0", "remainder__x3"]


@each_model
def test_pandas_in_pandas_out(sklearn, name):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=NAMES, index=[f"row {i}" for i in range(60)])
    model = MODELS[name]().fit(frame)
    assert isinstance(model.transform(frame), np.ndarray)
    codes = model.set_output(transform="pandas").transform(frame)
    assert codes.index.equals(frame.index)
    assert codes.columns.tolist() == [f"{name.lower()}0", f"{name.lower()}1"]
    np.testing.assert_array_equal(codes.to_numpy(), model.encode(frame))
    assert isinstance(model.encode(frame), np.ndarray)
    assert isinstance(model.inverse_transform(codes), np.ndarray)
    pandas.testing.assert_frame_equal(MODELS[name]().set_output(transform="pandas").fit_transform(frame), codes)
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
    model = MODELS[name]().set_output(transform="polars").fit(frame)
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    codes = model.transform(frame)
    assert codes.columns == [f"{name.lower()}0", f"{name.lower()}1"]
    np.testing.assert_array_equal(codes.to_numpy(), model.encode(frame))
    assert codes.equals(model.fit_transform(frame))


@each_model
def test_scikit_learns_global_output_is_honoured_and_ones_own_comes_first(sklearn, name):
    pandas = pytest.importorskip("pandas")
    model = MODELS[name]().fit(X)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(model.transform(X), pandas.DataFrame)
        assert isinstance(model.set_output(transform="default").transform(X), np.ndarray)
    assert isinstance(MODELS[name]().fit_transform(X), np.ndarray)
