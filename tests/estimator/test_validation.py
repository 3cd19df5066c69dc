"""Tables, batches, targets and weights are checked before any work; any layout of numbers is accepted."""

import numpy as np
import pytest
from helpers import NAMES, UNFITTED, Frame, each_model, refuses
from helpers import X as SAMPLE

import npae
from npae.estimator.validation import as_table, normalized_weights
from npae.kernels.arrays import mapped

pytestmark = pytest.mark.usefixtures("backend")


X = np.random.default_rng(0).random((12, 6))
QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 1, "batch_size": 4, "random_state": 0}


def spoiled(value):
    bad = X.copy()
    bad[3, 1] = value
    return bad


# What comes in as X, the error, and a piece of each of its three parts.
BAD_TABLES = {
    "wrong rank, one axis": (X[0], ValueError, "shape (n, ", "(6,)", "np.reshape("),
    "wrong rank, three axes": (X.reshape(3, 4, 6), ValueError, "shape (n, ", "(3, 4, 6)", "flatten"),
    "a number": (3.0, ValueError, "shape (n, ", "()", "np.reshape("),
    "no rows": (X[:0], ValueError, "at least one row", "(0, ", "pass some data"),
    "no columns": (X[:, :0], ValueError, "(n, ", "(12, 0)", "pass some data"),
    "NaN": (spoiled(np.nan), ValueError, "finite", "nan at row 3, column 1", "remove or fill"),
    "infinity": (spoiled(np.inf), ValueError, "finite", "inf at row 3, column 1", "remove or fill"),
    "minus infinity": (spoiled(-np.inf), ValueError, "finite", "-inf at row 3", "remove or fill"),
    "masked values": (
        np.ma.masked_array(X, np.eye(12, 6) * [1, 1, 0, 0, 0, 0]),
        ValueError,
        "masked",
        "2 of",
        "filled",
    ),
    "strings": ([["a"] * 6] * 2, TypeError, "real numbers", "dtype <U1", "convert"),
    "objects": (np.array([[None] * 6] * 2), TypeError, "real numbers", "dtype object", "convert"),
    "complex": (X + 1j, ValueError, "real numbers", "complex128", "real and the imaginary parts as columns"),
    "dates": (np.array([["2020-01-01"] * 6], dtype="M8[D]"), TypeError, "real numbers", "datetime64", "convert"),
    "ragged rows": ([[1.0, 2.0], [3.0]], ValueError, "rectangular", "unequal", "same number of values"),
    "nothing": (None, TypeError, "real numbers", "object", "convert"),
}


WRONG_WIDTH = (X[:, :5], ValueError, "shape (n, 6)", "(12, 5)", "6 columns")


def state(model):
    return {k: (v.tobytes() if isinstance(v, np.ndarray) else repr(v)) for k, v in vars(model).items()}, [
        (p.value.tobytes(), p.grad.tobytes())
        for p in (model.network_.parameters() if hasattr(model, "network_") else [])
    ]


MODELS = {
    "AE": lambda: npae.AE(**QUICK).fit(X),
    "DAE": lambda: npae.DAE(**QUICK).fit(X),
    "PCA": lambda: npae.PCA(2).fit(X),
}


def test_a_masked_array_without_masked_values_is_an_array():
    codes = [npae.AE(**QUICK).fit(x).encode(x) for x in (X, np.ma.masked_array(X))]
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize("case", BAD_TABLES)
@pytest.mark.parametrize("name", MODELS)
def test_a_bad_table_is_refused_everywhere_and_changes_nothing(name, case):
    model, (bad, *expected) = MODELS[name](), BAD_TABLES[case]
    before = state(model)
    calls = [model.fit, model.encode, model.reconstruct, model.transform, model.score]
    calls.append(lambda Z: model.decode(Z[:, :2] if isinstance(Z, np.ndarray) and Z.shape[1:] == (6,) else Z))
    calls += [model.denoise] if name == "DAE" else []
    calls += [lambda V: model.fit(X, validation=V)] if name != "PCA" and bad is not None else []
    for call in calls:
        refuses(lambda call=call: call(bad), *expected)
        assert state(model) == before


def test_a_table_is_checked_to_its_last_number_however_large():
    large = np.zeros((3, 2**20), np.float32)
    large[-1, -1] = np.nan
    refuses(lambda: npae.AE(**QUICK).fit(large), ValueError, "finite", "nan at row 2, column 1048575", "remove or fill")


@pytest.mark.parametrize("name", MODELS)
def test_the_wrong_width_is_refused_after_the_fit(name):
    model = MODELS[name]()
    before = state(model)
    bad, *expected = WRONG_WIDTH
    for call in (model.encode, model.reconstruct, model.score):
        refuses(lambda call=call: call(bad), *expected)
    refuses(lambda: model.decode(X), ValueError, "Z of shape (n, 2)", "(12, 6)", "2 columns")
    if name != "PCA":
        refuses(lambda: model.fit(X, validation=bad), ValueError, "validation of shape (n, 6)", "(12, 5)", ":")
    assert state(model) == before


@pytest.mark.parametrize("loss", ["bce", npae.SSIM((2, 3), window=2)])
@pytest.mark.parametrize("bad", [X * 2 - 0.5, X - 0.5, X + 1e-3 + 1 - X.max()])
def test_targets_outside_0_to_1_are_refused_with_bce_and_ssim(loss, bad):
    model = npae.AE(**QUICK, loss=loss, output="sigmoid").fit(X)
    before = state(model)
    refuses(lambda: model.fit(bad), ValueError, "targets in [0, 1]", "values from", "rescale")
    refuses(lambda: model.fit(X, validation=bad), ValueError, "targets in [0, 1]", "values from", "rescale")
    refuses(lambda: model.score(bad), ValueError, "targets in [0, 1]", "values from", "rescale")
    assert state(model) == before
    npae_loss = npae.BCE() if loss == "bce" else loss
    refuses(lambda: npae_loss(X, bad), ValueError, "targets in [0, 1]", "values from", "rescale")
    refuses(lambda: npae_loss(X, spoiled(np.nan)), ValueError, "targets in [0, 1]", "nan", "rescale")


def test_backward_refuses_a_gradient_of_another_shape_and_keeps_the_last_one():
    for layer in (npae.Dense(6, 2, rng=0, dtype=float), npae.Tanh()):
        y = layer.forward(X)
        layer.backward(np.ones_like(y))
        before = [p.grad.copy() for p in layer.parameters()]
        refuses(lambda layer=layer: layer.backward(np.ones((12, 3))), ValueError, "grad_y of shape (12,", "(12, 3)")
        assert all(np.array_equal(p.grad, g) for p, g in zip(layer.parameters(), before, strict=True))


@each_model
def test_numbers_in_object_arrays_are_numbers(name):
    model = UNFITTED[name]()
    np.testing.assert_array_equal(
        model.fit(SAMPLE.astype(object)).encode(SAMPLE.astype(object)), UNFITTED[name]().fit(SAMPLE).encode(SAMPLE)
    )
    for odd, reason in (({"foo": "bar"}, "not 'dict'"), ("1.5", "'1.5'"), (None, "NoneType"), (10**400, "too large")):
        bad = SAMPLE.astype(object)
        bad[3, 1] = odd
        refuses(lambda bad=bad: model.fit(bad), TypeError, "real numbers", "dtype object", reason, "convert")


@each_model
def test_sparse_tables_are_refused_by_name(name):
    class csr_array(Frame):
        def toarray(self):
            return self.table

    refuses(
        lambda: UNFITTED[name]().fit(csr_array(SAMPLE, NAMES)), TypeError, "dense", "sparse csr_array", "X.toarray()"
    )


@pytest.mark.parametrize("scale", [1.0, 1e-310, 1e300])
def test_normalized_weights_keep_their_proportions_and_have_mean_one(scale):
    weights = normalized_weights(np.array([0.0, 1.0, 3.0, 4.0]) * scale, 4, "AE")
    np.testing.assert_allclose(weights, [0.0, 0.5, 1.5, 2.0], rtol=1e-12)
    smallest = normalized_weights([0.0, 0.0, 0.0, 5e-324], 4, "AE")  # whose own mean is rounded to 0
    np.testing.assert_array_equal(smallest, [0.0, 0.0, 0.0, 4.0])


def test_a_memory_map_is_checked_as_if_converted_and_returned_as_it_is(tmp_path):
    table = np.memmap(tmp_path / "table", np.float64, "w+", shape=(4, 3))
    table[...] = 1.0
    kept = as_table(table, "AE", dtype=np.float32, keep_memmap=True)
    assert mapped(kept)
    assert kept.dtype == np.float64
    converted = as_table(table, "AE", dtype=np.float32)
    assert not mapped(converted)
    assert converted.dtype == np.float32
    table[2, 1] = 1e300  # infinite in float32
    for keep in (True, False):
        refuses(
            lambda keep=keep: as_table(table, "AE", dtype=np.float32, keep_memmap=keep),
            ValueError, "AE expected finite X", "inf at row 2, column 1 (as float32)", "remove or fill",
        )  # fmt: skip


# --- odd but valid ------------------------------------------------------------------------------------------


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


ODD_BUT_FINE = {
    "list": X.tolist(),
    "tuple of tuples": tuple(map(tuple, X.tolist())),
    "columns first": np.asfortranarray(X),
    "every second": np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only(X),
    "big-endian": X.astype(">f8"),
    "long double": X.astype(np.longdouble),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", ODD_BUT_FINE)
def test_any_layout_of_the_same_numbers_gives_the_same_result(name, case):
    odd = ODD_BUT_FINE[case]
    before = np.array(odd)
    reference = MODELS[name]()
    model = (npae.PCA(2) if name == "PCA" else type(reference)(**QUICK)).fit(odd)
    np.testing.assert_array_equal(model.encode(odd), reference.encode(X))
    np.testing.assert_array_equal(model.reconstruct(odd), reference.reconstruct(X))
    assert model.score(odd) == reference.score(X)
    np.testing.assert_array_equal(np.array(odd), before)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.float16])
@pytest.mark.parametrize("name", MODELS)
def test_whole_numbers_and_half_floats_just_work(name, dtype):
    numbers = (X * 5).astype(dtype)
    make = npae.PCA(2) if name == "PCA" else type(MODELS[name]())(**QUICK)
    expected = np.float64 if dtype == np.int64 else np.float32
    assert make.fit(numbers).reconstruct(numbers).dtype == expected


def test_results_are_the_callers_own():
    ae = npae.AE(**QUICK, output="sigmoid").fit(X)
    first = ae.reconstruct(X)
    kept = first.copy()
    ae.encode(X)[...] = 7
    first[...] = 7
    np.testing.assert_array_equal(ae.reconstruct(X), kept)
    for layer in (npae.Identity(), npae.ReLU(), npae.Sigmoid()):
        y = layer.forward(X)
        assert not np.shares_memory(y, X)
        assert not np.shares_memory(layer.backward(y), y)


def test_layers_and_losses_take_lists():
    layer = npae.Dense(2, 1, rng=0)
    assert layer.forward([[1, 2], [3, 4]]).shape == (2, 1)
    assert layer.backward([[1], [1]]).shape == (2, 2)
    assert npae.MSE()([[1, 2]], [[1, 3]])[0] == 0.5


@pytest.mark.filterwarnings("ignore:.* expected a code:UserWarning")
@pytest.mark.parametrize(
    "X_odd",
    [np.zeros((5, 4)), np.ones((1, 4)), np.random.default_rng(0).random((5, 1)), np.full((4, 3), 1e-310)],
    ids=["constant", "one row", "one column", "denormal"],
)
def test_extreme_but_legal_data(X_odd):
    for model in (npae.AE(**QUICK), npae.DAE(**QUICK), npae.PCA(1)):
        assert np.isfinite(model.fit(X_odd).reconstruct(X_odd)).all()
