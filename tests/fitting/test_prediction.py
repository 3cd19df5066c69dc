"""Predictions and scores of many rows are those of each row, and finite, or an error says why."""

import re
import warnings

import numpy as np
import pytest
from helpers import table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npae
from npae.fitting import prediction

pytestmark = pytest.mark.usefixtures("backend")

NARROW = {"hidden": (7,), "latent_dim": 2, "epochs": 2, "batch_size": 16, "random_state": 0}
QUICK = {"hidden": (4,), "latent_dim": 2, "epochs": 3, "batch_size": 4, "random_state": 0}


# --- many rows -----------------------------------------------------------------------------------------------------


def test_rows_beyond_one_block_have_the_codes_they_have_alone():
    X = table(2500)
    ae = npae.AE(**QUICK).fit(X[:100])
    one_by_one = np.vstack([ae.encode(X[i : i + 1]) for i in range(2500)])
    # BLAS may sum a block in another order than a row; where terms cancel, fewer digits agree.
    np.testing.assert_allclose(ae.encode(X), one_by_one, rtol=1e-10, atol=1e-14 * abs(one_by_one).max())


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_a_score_is_minus_the_mean_loss_over_all_clean_rows_of_all_blocks(make):
    X = table(1300)
    X[1280:] *= 5  # larger errors in the last, short block
    ae = make(**QUICK).fit(X[:60])
    assert ae.score(X) == pytest.approx(-np.square(ae.reconstruct(X) - X).mean(), rel=1e-12)


def test_a_score_over_many_rows_is_weighted_row_by_row():
    many, w = table(2000, seed=2), np.random.default_rng(0).random(2000)
    ae = npae.AE(**NARROW).fit(table(30))
    by_hand = np.average(np.square(ae.reconstruct(many) - many).mean(axis=1), weights=w)
    assert -ae.score(many, sample_weight=w) == pytest.approx(by_hand, rel=1e-12)


class AbsoluteError(npae.Loss):
    def value_and_gradient(self, prediction, target):
        return np.mean(abs(prediction - target)), np.sign(prediction - target) / target.size


LOSSES = ["mse", "bce", npae.SSIM((2, 3), window=2), AbsoluteError()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: str(loss)[:4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_the_mean_of_the_scores_of_the_rows_is_the_score(make, dtype, loss, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK_NUMBERS", 2000 * 6)  # two chunks of 1920 rows, the second incomplete
    X = table(2600, dtype=dtype)
    model = make(**QUICK, loss=loss).fit(X[:60])
    near = 1e-12 if dtype == np.float64 else 1e-6
    for data in (X, memory_map(X, tmp_path), X[:100], X[:1]):
        rows = model.score_samples(data)
        assert (rows.shape, rows.dtype) == ((len(data),), np.float64)
        assert rows.mean() == pytest.approx(model.score(data), rel=near)
    scores = model.score_samples(X)
    for i in (0, 1919, 1920, 2599):
        assert scores[i] == pytest.approx(model.score(X[i : i + 1]), rel=near)


@pytest.mark.parametrize("n", [1, 128, 129, 1024, 1025, 1152, 1153, 1300])
def test_block_edges_neither_lose_nor_repeat_a_row(n):
    assert (prediction.BLOCK_ROWS, prediction.FEW_ROWS) == (128, 1024)
    X, loss = table(n), npae.MSE()
    network = npae.Sequential(npae.Dense(6, 3, dtype=np.float64, rng=0), npae.Tanh(), npae.Dense(3, 6, dtype=float))
    by_row = np.vstack([network.forward(x[None]) for x in X])
    at_once = prediction.predict_in_batches(network.forward, X, X.dtype, "test", network)
    np.testing.assert_allclose(at_once, by_row, rtol=1e-10, atol=1e-14)
    weight = np.linspace(0.5, 1.5, n)
    errors = np.square(by_row - X).mean(axis=1)
    assert prediction.evaluate(network, loss, X, X) == pytest.approx(errors.mean(), rel=1e-12)
    assert prediction.evaluate(network, loss, X, X, weight) == pytest.approx((errors * weight).mean(), rel=1e-12)


# --- memory maps ---------------------------------------------------------------------------------------------------


def memory_map(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, ">f4"])
def test_a_memory_map_is_encoded_and_scored_as_the_table_is(make, dtype, tmp_path):
    X = (table(2600) * 200).astype(dtype)
    X_map, weight = memory_map(X, tmp_path), np.arange(2600.0)
    own = {"encoder": npae.Sequential(npae.Tanh()), "decoder": npae.Sequential(npae.Dense(6, 6))}
    models = [make(**NARROW, dtype=np.float32), make(**NARROW, dtype=np.float64)]
    models += [make(**NARROW | own, dtype=np.float64)]  # its encoder has no weights, so no dtype of its own
    for model in models:
        model.fit(X[:600])
        for some in (slice(None), slice(100), slice(None, None, -1), slice(3, 2599, 2)):
            ours, theirs = X_map[some], X[some]
            near = 1e-12 if model.network_.dtype == np.float64 else 1e-5  # bits may depend on where in memory X begins
            for verb in (model.encode, model.reconstruct):
                np.testing.assert_allclose(verb(ours), verb(theirs), rtol=0, atol=near * abs(verb(theirs)).max())
                assert verb(ours).dtype == model.network_.dtype
            assert model.score(ours) == pytest.approx(model.score(theirs), rel=near)
            w = weight[some]
            assert model.score(ours, sample_weight=w) == pytest.approx(model.score(theirs, sample_weight=w), rel=near)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_memory_map_of_codes_is_decoded_as_the_table_is(dtype, tmp_path):
    model, Z = npae.AE(**NARROW, dtype=np.float32).fit(table(600)), table(1300, 2).astype(dtype)
    for rows in (1300, 100):
        ours, theirs = model.decode(memory_map(Z, tmp_path)[:rows]), model.decode(Z[:rows])
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    Z[-1, -1] = np.nan
    with pytest.raises(ValueError, match="AE expected finite Z, got nan at row 1299, column 1"):
        model.decode(memory_map(Z, tmp_path))


# --- extreme data --------------------------------------------------------------------------------------------------


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
    """The result, which must be finite; None if the call raises that numbers left the range."""
    try:
        result = call()
    except RuntimeError as error:
        if not re.search("expected .* got .*: scale the data", str(error)):
            raise
        return None
    assert np.isfinite(result).all()
    return result


@pytest.mark.filterwarnings("ignore:.* expected (a code|columns):UserWarning")
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=30)
def test_a_fitted_model_returns_finite_numbers_or_an_error(dtype, data):
    bits = 32 if dtype == np.float32 else 64
    X = data.draw(hnp.arrays(dtype, (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False, width=bits)))
    for name, fitted in FITTED[dtype].items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            finite_or_refused(lambda m=fitted: m.encode(X))
            finite_or_refused(lambda m=fitted: m.reconstruct(X))
            finite_or_refused(lambda m=fitted: np.float64(m.score(X)))
            finite_or_refused(lambda m=fitted, k=1 if name == "PCA" else 2: m.decode(X[:, :k]))


@pytest.mark.parametrize("row", [0, 700, 1299])
def test_one_result_beyond_the_range_is_refused_in_any_block(row):
    X = rng.random((1300, 4), np.float32)
    model = MODELS["AE, linear"]().fit(X)
    assert model.reconstruct(X).shape == (1300, 4)
    for p in model.network_.parameters():
        p.value[...] = 10.0
    X[row] = 3e38
    for verb in (model.encode, model.reconstruct, model.score, model.score_samples, model.reconstruction_error):
        with pytest.raises(RuntimeError, match=r"AE expected numbers within .*, got .*: scale the data"):
            verb(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 700, 1299])
def test_one_number_that_is_not_finite_is_refused_in_any_block(row, bad):
    X = rng.random((1300, 4), np.float32)
    own = npae.Sequential(npae.Tanh(), Doubled())  # layers of one's own are not recorded
    for model in (npae.AE(**QUICK), npae.AE(encoder=own, decoder=npae.Sequential(npae.Dense(4, 4)), epochs=1)):
        model.fit(X)
        verbs = [model.encode, model.reconstruct, model.score, model.score_samples, model.reconstruction_error]
        for verb, name in [*((verb, "X") for verb in verbs), (model.decode, "Z")]:
            data = X.copy() if name == "X" else model.encode(X)
            data[row, 1] = bad
            with pytest.raises(ValueError, match=f"AE expected finite {name}, got {bad} at row {row}, column 1"):
                verb(data)


class Doubled(npae.Layer):
    def forward(self, x):
        assert np.isfinite(x).all()
        return 2 * x

    def backward(self, grad_y):
        return 2 * grad_y


def test_finite_results_with_an_infinite_sum_are_returned():
    ae = npae.AE(encoder=npae.Sequential(npae.Tanh()), decoder=npae.Sequential(npae.Dense(4, 4)), epochs=0)
    ae.fit(rng.random((9, 4), np.float32)).decoder_.layers[0].W.value[...] = np.eye(4)
    for n in (3, 1300):
        Z = np.full((n, 4), 3e38, np.float32)
        np.testing.assert_array_equal(ae.decode(Z), Z)


@pytest.mark.parametrize("name", ["AE", "AE, linear", "DAE", "PCA"])
def test_two_rows_of_a_million_features_are_learned(name):
    X = rng.random((2, 10**6), np.float32)
    model = MODELS[name]().fit(X)
    assert model.reconstruct(X).shape == (2, 10**6)
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.score(X))
