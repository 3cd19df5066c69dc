"""Odd but legal data: a result or a clear error, never a silent NaN."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npae

QUICK = {"hidden": (4,), "latent_dim": 2, "epochs": 3, "batch_size": 4, "random_state": 0}
rng = np.random.default_rng(0)
DATA = {
    "constant": np.full((9, 4), 0.3),
    "all zero": np.zeros((9, 4)),
    "one constant feature": np.c_[rng.random((9, 3)), np.ones(9)],
    "one row": rng.random((1, 4)),
    "one column": rng.random((9, 1)),
    "one number": np.ones((1, 1)),
    "less than a batch": rng.random((3, 4)),
    "rows twice": np.repeat(rng.random((2, 4)), 5, axis=0),
    "denormal": np.full((9, 4), 1e-310) * rng.random((9, 4)),
    "least float32": np.full((9, 4), 1e-45),
    "tiny": rng.random((9, 4)) * 1e-30,
    "huge": rng.standard_normal((9, 4)) * 1e30,
    "near the end of float32": rng.choice([-3e38, 3e38], (9, 4)),
    "huge beside small": np.c_[rng.random((9, 3)), rng.random(9) * 1e30],
}
MODELS = {
    "AE": lambda **more: npae.AE(**QUICK, **more),
    "AE, plain SGD": lambda **more: npae.AE(**QUICK, optimizer="sgd", **more),
    "AE, linear": lambda **more: npae.AE(**(QUICK | {"hidden": ()}), **more),
    "AE, sigmoid": lambda **more: npae.AE(**QUICK, output="sigmoid", activation="tanh", **more),
    "DAE": lambda **more: npae.DAE(**QUICK, **more),
    "PCA": lambda **more: npae.PCA(1, **more),
}


FITTED = {
    dtype: {name: model(dtype=dtype).fit(DATA["less than a batch"]) for name, model in MODELS.items()}
    for dtype in (np.float32, np.float64)
}


def finite_or_refused(call):
    """What the call returns, all finite; None where it says that the numbers left the range."""
    try:
        result = call()
    except RuntimeError as error:
        if not re.search("expected .* got .*: scale the data", str(error)):
            raise
        return None
    assert np.isfinite(result).all()
    return result


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", DATA)
def test_odd_but_legal_data_give_numbers_or_a_clear_error(case, name, dtype):
    X = DATA[case].astype(dtype)
    model = MODELS[name]()
    try:
        model.fit(X)
    except RuntimeError as error:
        if ("scale the data" if name == "PCA" else "it diverged. Lower the learning rate") not in str(error):
            raise
        assert np.abs(X).max() >= 1e19
        assert not hasattr(model, "n_features_in_")
        return
    Z = finite_or_refused(lambda: model.encode(X))
    finite_or_refused(lambda: model.reconstruct(X))
    finite_or_refused(lambda: np.float64(model.score(X)))
    if Z is not None:
        finite_or_refused(lambda: model.decode(Z))
    if name == "PCA":
        finite_or_refused(lambda: model.explained_variance_)
    else:
        assert np.isfinite(model.history_.loss).all()
        assert all(np.isfinite(p.value).all() for p in model.network_.parameters())
    if np.abs(X).max() < 1e19:
        assert Z is not None


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=30)
def test_a_fitted_model_never_returns_what_is_not_a_number(dtype, data):
    bits = 32 if dtype == np.float32 else 64
    X = data.draw(hnp.arrays(dtype, (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False, width=bits)))
    for name, fitted in FITTED[dtype].items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            finite_or_refused(lambda m=fitted: m.encode(X))
            finite_or_refused(lambda m=fitted: m.reconstruct(X))
            finite_or_refused(lambda m=fitted: np.float64(m.score(X)))
            finite_or_refused(lambda m=fitted, k=1 if name == "PCA" else 2: m.decode(X[:, :k]))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("row", [0, 300, 599])
def test_a_result_of_many_rows_that_left_the_range_is_refused_wherever_it_stands(row):
    X = rng.random((600, 4), np.float32)
    model = MODELS["AE, linear"]().fit(X)
    assert model.reconstruct(X).shape == (600, 4)
    for p in model.network_.parameters():
        p.value[...] = 10.0
    X[row] = 3e38
    for verb in (model.encode, model.reconstruct, model.score):
        with pytest.raises(RuntimeError, match=r"AE expected numbers within .*, got .*: scale the data"):
            verb(X)


@pytest.mark.usefixtures("backend")
def test_results_of_which_the_sum_alone_leaves_the_range_are_returned():
    ae = npae.AE(encoder=npae.Sequential(npae.Tanh()), decoder=npae.Sequential(npae.Dense(4, 4)), epochs=0)
    ae.fit(rng.random((9, 4), np.float32)).decoder_.layers[0].W.value[...] = np.eye(4)
    for n in (3, 300):
        Z = np.full((n, 4), 3e38, np.float32)
        np.testing.assert_array_equal(ae.decode(Z), Z)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", ["AE", "AE, linear", "DAE", "PCA"])
def test_a_million_features_of_two_rows(name):
    X = rng.random((2, 10**6), np.float32)
    model = MODELS[name]().fit(X)
    assert model.reconstruct(X).shape == (2, 10**6)
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.score(X))


def test_batches_larger_than_the_data_are_one_batch():
    X = rng.random((5, 4))
    codes = [npae.AE(**(QUICK | {"batch_size": size})).fit(X).encode(X) for size in (5, 6, 10**12)]
    np.testing.assert_array_equal(codes[1], codes[0])
    np.testing.assert_array_equal(codes[2], codes[0])
