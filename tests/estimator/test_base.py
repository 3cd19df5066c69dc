"""What all estimators share: copies, pickles, dtypes, and no work before the fit."""

import copy
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import NAMES, QUICK, UNFITTED, Frame, X, each_model, refuses

import npae
from npae.estimator import base

CHECKOUT = Path(npae.__file__).parent.parent


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@each_model
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_does_what_the_model_does_and_is_trained_on_its_own(name, way):
    model = UNFITTED[name]().fit(Frame(X, NAMES))
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
    model = UNFITTED["DAE"]().fit(X)
    twin = COPIES[way](model)
    assert twin.network_.layers == (twin.encoder_, twin.decoder_)
    assert not any(
        np.shares_memory(p.value, q.value) for p in twin.network_.parameters() for q in model.network_.parameters()
    )
    assert npae.check_gradients(twin, X[:3], verbose=False).passed


@pytest.mark.parametrize("name", ["AE", "DAE"])
def test_a_pickle_holds_the_weights_and_nothing_of_the_last_batch(name):
    model = UNFITTED[name]().set_params(hidden=(50,)).fit(X)
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


@each_model
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dtype_stays_what_it_is(name, dtype):
    A = X.astype(dtype)
    model = UNFITTED[name]()
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
    model = UNFITTED[name]().set_params(dtype=dtype)
    for A in (X.astype(np.float32), X, (X * 100).astype(int)):
        Z = model.fit_transform(A)
        for result in (Z, model.encode(X), model.encode(X.astype(np.float32)), model.decode(Z.astype(np.float64))):
            assert result.dtype == dtype
    refuses(lambda: model.set_params(dtype=int).fit(X), ValueError, f"{name} expected dtype float32 or float64", "int")


@each_model
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_reconstruction_error_is_the_squared_distance_to_the_reconstruction(name, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "_NUMBERS_AT_A_TIME", 7 * 6)  # chunks of seven rows
    model, rows = UNFITTED[name]().fit(X.astype(dtype)), np.vstack([X, X**2]).astype(dtype)
    squares = (rows - model.reconstruct(rows)) ** 2
    np.save(tmp_path / "rows.npy", rows)
    for data in (rows, np.load(tmp_path / "rows.npy", mmap_mode="r"), rows.astype(np.float64)):
        errors, by_feature = model.reconstruction_error(data), model.reconstruction_error(data, per_feature=True)
        assert (errors.shape, errors.dtype) == ((120,), np.float64)
        assert (by_feature.shape, by_feature.dtype) == ((120, 6), dtype)
        np.testing.assert_allclose(errors, squares.mean(axis=1), rtol=1e-4)
        np.testing.assert_allclose(by_feature, squares, rtol=1e-4, atol=1e-9)
    refuses(lambda: model.reconstruction_error(X, per_feature="all"), TypeError, name, "per_feature", "'all'")


def test_under_bce_the_error_is_that_of_the_probabilities_and_the_score_that_of_the_logits():
    A = X / X.max()
    ae = npae.AE(**QUICK, loss="bce").fit(A)
    logits, p = ae.network_.forward(A), ae.reconstruct(A)
    np.testing.assert_allclose(ae.reconstruction_error(A), ((A - p) ** 2).mean(axis=1), rtol=1e-9)
    entropy = -(A * np.log(p) + (1 - A) * np.log(1 - p)).mean(axis=1)
    np.testing.assert_allclose(ae.score_samples(A), -entropy, rtol=1e-9)
    np.testing.assert_allclose(ae.score_samples(A), [-npae.BCE()(logits[i, None], A[i, None])[0] for i in range(60)])


@each_model
def test_columns_with_names_are_checked_once_for_all_rows(name, monkeypatch):
    monkeypatch.setattr(base, "_NUMBERS_AT_A_TIME", 7 * 6)
    named = UNFITTED[name]().fit(Frame(X, NAMES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_name = named.reconstruction_error(Frame(X, NAMES)), named.score_samples(Frame(X, NAMES))
    for verb, expected in zip((named.reconstruction_error, named.score_samples), by_name, strict=True):
        with pytest.warns(UserWarning, match="X does not have valid feature names") as caught:
            np.testing.assert_array_equal(verb(X), expected)
        assert len(caught) == 1
        refuses(lambda verb=verb: verb(Frame(X, NAMES[::-1])), ValueError, "feature names should match")


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


@pytest.mark.parametrize("make", [npae.AE, npae.DAE, npae.PCA])
def test_nothing_works_before_the_fit(make):
    model = make()
    calls = [model.encode, model.decode, model.reconstruct, model.transform, model.inverse_transform, model.score]
    calls += [model.score_samples, model.reconstruction_error]
    if make is not npae.PCA:
        calls += [model.objective, lambda A: npae.check_gradients(model, A)]
    calls.append(lambda A: npae.save(model, "never-written.npz"))
    for call in calls:
        refuses(
            lambda call=call: call(X), RuntimeError, f"{make.__name__} expected to be fitted", "no fit", "call fit(X)"
        )
