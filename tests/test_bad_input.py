"""Nonsense is refused before any work: what was expected, what came, what to do; and nothing changes."""

import numpy as np
import pytest

import npae

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


def test_a_masked_array_without_masked_values_is_an_array():
    codes = [npae.AE(**QUICK).fit(x).encode(x) for x in (X, np.ma.masked_array(X))]
    np.testing.assert_array_equal(*codes)


def sharing():
    """Two layers with one parameter: a way to tie weights that does not work."""
    first, second = npae.Dense(6, 6, rng=0), npae.Dense(6, 6, rng=1)
    second.W = first.W
    return first, second


def test_layers_that_share_a_parameter_are_refused():
    first, second = sharing()
    refuses(lambda: npae.Sequential(first, second), ValueError, "each parameter once", "Parameter('W'", "its own")
    encoder, decoder = npae.Sequential(first), npae.Sequential(second)
    ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1)
    refuses(lambda: ae.fit(X), ValueError, "each parameter once", "twice", "its own")
    assert not hasattr(ae, "network_")


def test_a_parameter_that_is_shared_afterwards_is_refused_by_the_fit():
    class Late(npae.Dense):
        def forward(self, x):
            self.W = partner.W  # only now
            return super().forward(x)

        def __deepcopy__(self, memo):
            return self

    partner = npae.Dense(6, 6, rng=0, dtype=float)
    partner.__class__ = type("Kept", (npae.Dense,), {"__deepcopy__": lambda self, memo: self})
    ae = npae.AE(encoder=npae.Sequential(partner), decoder=npae.Sequential(Late(6, 6, rng=1, dtype=float)), epochs=1)
    refuses(lambda: ae.fit(X), ValueError, "flatten", "each parameter once", "its own")


def refuses(call, error, *parts):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in (*parts, "expected", "got"):
        assert part in message, f"{part!r} is not in: {message}"


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


@pytest.mark.parametrize("make", [npae.AE, npae.DAE, npae.PCA])
def test_nothing_works_before_the_fit(make):
    model = make()
    calls = [model.encode, model.decode, model.reconstruct, model.transform, model.inverse_transform, model.score]
    if make is not npae.PCA:
        calls += [model.objective, lambda A: npae.check_gradients(model, A)]
    calls.append(lambda A: npae.save(model, "never-written.npz"))
    for call in calls:
        refuses(
            lambda call=call: call(X), RuntimeError, f"{make.__name__} expected to be fitted", "no fit", "call fit(X)"
        )


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


# A constructor argument of AE that fit must refuse, the error, and pieces of the message.
BAD_ARGUMENTS = [
    ({"hidden": (-3,)}, ValueError, "each width in hidden >= 1", "-3"),
    ({"hidden": (0,)}, ValueError, "each width in hidden >= 1", "0"),
    ({"hidden": (2.5,)}, TypeError, "whole number", "2.5"),
    ({"hidden": "many"}, TypeError, "whole number", "'m'"),
    ({"hidden": None}, TypeError, "whole number", "None"),
    ({"latent_dim": 0}, ValueError, "latent_dim >= 1", "0"),
    ({"latent_dim": -1}, ValueError, "latent_dim >= 1", "-1"),
    ({"latent_dim": 2.0}, TypeError, "latent_dim as a whole number", "2.0"),
    ({"latent_dim": True}, TypeError, "latent_dim as a whole number", "True"),
    ({"epochs": -1}, ValueError, "epochs >= 0", "-1"),
    ({"epochs": "ten"}, TypeError, "epochs as a whole number", "'ten'"),
    ({"batch_size": 0}, ValueError, "batch_size >= 1", "0"),
    ({"batch_size": None}, TypeError, "batch_size as a whole number", "None"),
    ({"activation": "rleu"}, ValueError, "activation as one of", "'rleu'"),
    ({"activation": npae.ReLU}, TypeError, "activation as one of", "ReLU"),
    ({"output": "softmax"}, ValueError, "output as one of", "'softmax'"),
    ({"output": "tanh", "loss": "bce"}, ValueError, "ends in logits for BCE", "Tanh()"),
    ({"loss": "mae"}, ValueError, "loss as one of ['bce', 'mse', 'ssim']", "'mae'"),
    ({"loss": "ssim"}, ValueError, "loss 'ssim' with its arguments", "SSIM"),
    ({"loss": len}, TypeError, "loss as one of", "len"),
    ({"loss": npae.SSIM((11, 11))}, ValueError, "rows of 11 x 11 = 121 pixels", "6"),
    ({"optimizer": "adamw"}, ValueError, "optimizer as one of", "'adamw'"),
    ({"optimizer": 0.01}, TypeError, "optimizer as one of", "0.01"),
    ({"dtype": np.int32}, ValueError, "dtype float32 or float64", "int32"),
    ({"dtype": "float16"}, ValueError, "dtype float32 or float64", "float16"),
    ({"dtype": "wide"}, ValueError, "dtype float32 or float64", "'wide'"),
    ({"encoder": "narrow", "decoder": "wide"}, TypeError, "both as Sequential", "'narrow'"),
    ({"random_state": -1}, ValueError, "random_state >= 0", "-1"),
    ({"hidden": iter([5])}, TypeError, "hidden as widths to keep", "iterator"),
    ({"random_state": np.random.Generator(np.random.RandomState(0)._bit_generator)}, TypeError, "spawn", "MT19937"),
    ({"random_state": "seed"}, TypeError, "random_state as a whole number", "'seed'"),
    ({"encoder": npae.Sequential(npae.Dense(6, 2, rng=0))}, TypeError, "both as Sequential", "None"),
    ({"decoder": npae.Dense(2, 6, rng=0)}, TypeError, "both as Sequential", "Dense(2, 6)"),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "error", "wanted", "came"), BAD_ARGUMENTS, ids=lambda v: str(v)[:40])
def test_a_bad_argument_is_refused_by_fit_and_keeps_what_was_learned(argument, error, wanted, came):
    model = npae.AE(**QUICK).fit(X)
    learned = model.encode(X)
    model.set_params(**argument)
    refuses(lambda: model.fit(X), error, "AE" if "SSIM" not in repr(argument) else "SSIM", wanted, came)
    np.testing.assert_array_equal(model.encode(X), learned)


@pytest.mark.parametrize(
    ("corruption", "error", "parts"),
    [
        ("poisson", ValueError, ("corruption as one of", "'poisson'", "choose")),
        (0.5, ValueError, ("corruption as one of", "0.5", "choose")),
        (npae.GaussianNoise, ValueError, ("corruption as one of", "GaussianNoise", "as an object")),
        (lambda x, rng: x * np.nan, ValueError, ("finite numbers", "NaN or infinity", "let it return")),
        (lambda x, rng: x[:, :3], ValueError, ("return numbers of shape", "(4, 3)", "shaped like its argument")),
        (lambda x, rng: x.astype(str), ValueError, ("return numbers of shape", "<U", "shaped like its argument")),
    ],
    ids=["unknown", "number", "a class", "NaN", "narrow", "strings"],
)
def test_a_bad_corruption_is_refused(corruption, error, parts):
    dae = npae.DAE(**QUICK).fit(X)
    learned = dae.encode(X)
    refuses(lambda: dae.set_params(corruption=corruption).fit(X), error, *parts)
    np.testing.assert_array_equal(dae.encode(X), learned)


def test_a_corruption_that_would_write_into_clean_data_is_stopped():
    def writing(x, rng):
        x += 1
        return x

    with pytest.raises(ValueError, match="read-only"):
        npae.DAE(**QUICK, corruption=writing).fit(X)


def test_own_networks_that_do_not_fit_the_data_are_refused():
    def ae(n_in, code_out, code_in, n_out):
        dense = [npae.Dense(n_in, code_out, rng=0), npae.Dense(code_in, n_out, rng=0)]
        return npae.AE(encoder=npae.Sequential(dense[0]), decoder=npae.Sequential(dense[1]), epochs=1)

    refuses(lambda: ae(5, 2, 2, 6).fit(X), ValueError, "X of shape (n, 5)", "(12, 6)", "5 columns")
    refuses(
        lambda: ae(6, 2, 2, 5).fit(X), ValueError, "returns the 6 columns of X", "5 outputs", "make its last width 6"
    )
    bent = npae.AE(encoder=npae.Sequential(npae.Dense(6, 5, rng=0)), decoder=npae.Sequential(npae.Tanh()))
    refuses(lambda: bent.fit(X), ValueError, "returns the 6 columns of X", "5 outputs", "make its last width 6")
    empty = npae.AE(encoder=npae.Sequential(npae.Tanh()), decoder=npae.Sequential(npae.Tanh()))
    refuses(lambda: empty.fit(X), ValueError, "layers that learn", "Tanh()", "put a Dense into it")
    refuses(lambda: ae(6, 2, 3, 6).fit(X), ValueError, "take the 2 outputs", "3 inputs", "make the widths equal")


def test_own_networks_must_leave_the_sigmoid_to_bce():
    encoder = npae.Sequential(npae.Dense(6, 2, rng=0))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=0), npae.Sigmoid())
    ae = npae.AE(encoder=encoder, decoder=decoder, loss="bce", epochs=1)
    refuses(lambda: ae.fit(X), ValueError, "ends in logits", "Sigmoid()", "leave that out")
    ae.set_params(decoder=npae.Sequential(npae.Dense(2, 6, rng=0))).fit(X)


# Everything else that can be called wrongly: the call, the error, pieces of the message.
BAD_CALLS = {
    "Dense, negative": (lambda: npae.Dense(-1, 3), ValueError, "n_in >= 1", "-1"),
    "Dense, zero": (lambda: npae.Dense(3, 0), ValueError, "n_out >= 1", "0"),
    "Dense, fraction": (lambda: npae.Dense(3.5, 2), TypeError, "whole number", "3.5"),
    "Dense, init": (lambda: npae.Dense(3, 2, init="ones"), ValueError, "init as one of", "'ones'"),
    "Dense, dtype": (lambda: npae.Dense(3, 2, dtype=int), ValueError, "float32 or float64", "int"),
    "Dense, rng": (lambda: npae.Dense(3, 2, rng="x"), TypeError, "whole number", "'x'"),
    "Dense, width": (lambda: npae.Dense(3, 2, rng=0).forward(X), ValueError, "x of shape (n, 3)", "(12, 6)"),
    "Dense, rank": (lambda: npae.Dense(3, 2, rng=0).forward([1, 2, 3]), ValueError, "x of shape (n, 3)", "(3,)"),
    "Dense, strings": (lambda: npae.Dense(1, 2, rng=0).forward([["a"]]), TypeError, "numbers", "<U1"),
    "ReLU, rank": (lambda: npae.ReLU().forward([1.0]), ValueError, "x of shape (n, d)", "(1,)"),
    "ReLU, strings": (lambda: npae.ReLU().forward([["a"]]), TypeError, "numbers", "<U1"),
    "Dense, backward first": (lambda: npae.Dense(3, 2, rng=0).backward(X), RuntimeError, "forward pass", "none"),
    "Sequential, backward first": (
        lambda: npae.Sequential(npae.Dense(6, 2, rng=0)).backward(X), RuntimeError, "forward pass", "none"),
    "LeakyReLU, slope": (lambda: npae.LeakyReLU(-0.1), ValueError, "slope", "-0.1"),
    "LeakyReLU, NaN": (lambda: npae.LeakyReLU(np.nan), ValueError, "slope finite", "nan"),
    "ELU, alpha": (lambda: npae.ELU(0), ValueError, "alpha finite and in (0, inf)", "0.0"),
    "ELU, text": (lambda: npae.ELU("one"), TypeError, "alpha as a real number", "'one'"),
    "Sequential, empty": (lambda: npae.Sequential(), ValueError, "at least one layer", "none"),
    "Sequential, not layers": (lambda: npae.Sequential("relu"), TypeError, "layers", "'relu'"),
    "Sequential, class": (lambda: npae.Sequential(npae.ReLU), TypeError, "layers", "ReLU"),
    "Sequential, widths": (
        lambda: npae.Sequential(npae.Dense(3, 2, rng=0), npae.ReLU(), npae.Dense(3, 2, rng=0)),
        ValueError, "take the 2 outputs", "3 inputs"),
    "Sequential, twice": (lambda: npae.Sequential(*[npae.ReLU()] * 2), ValueError, "each layer once", "twice"),
    "MSE, shapes": (lambda: npae.MSE()(X, X[:, :2]), ValueError, "one shape", "(12, 6) and (12, 2)"),
    "MSE, empty": (lambda: npae.MSE()(X[:0], X[:0]), ValueError, "n, d >= 1", "(0, 6)"),
    "MSE, strings": (lambda: npae.MSE()(X, X.astype(str)), TypeError, "target as real numbers", "<U"),
    "MSE, ragged": (lambda: npae.MSE()([[1], [1, 2]], [[1], [2]]), ValueError, "rectangular", "unequal"),
    "Dense, ragged": (lambda: npae.Dense(1, 2, rng=0).forward([[1], [1, 2]]), ValueError, "rectangular", "unequal"),
    "BCE, rank": (lambda: npae.BCE()([0.5], [0.5]), ValueError, "one shape", "(1,)"),
    "SSIM, shape": (lambda: npae.SSIM(28), ValueError, "(height, width)", "28"),
    "SSIM, colour": (lambda: npae.SSIM((28, 28, 3)), ValueError, "(height, width)", "(28, 28, 3)"),
    "SSIM, small": (lambda: npae.SSIM((28, 10)), ValueError, "at least 11 x 11", "28 x 10"),
    "SSIM, fraction": (lambda: npae.SSIM((28, 28.5)), TypeError, "whole number", "28.5"),
    "SSIM, window": (lambda: npae.SSIM((28, 28), window=0), ValueError, "window >= 1", "0"),
    "SSIM, sigma": (lambda: npae.SSIM((28, 28), sigma=0), ValueError, "sigma", "0.0"),
    "SSIM, rows": (lambda: npae.SSIM((11, 12))(X, X), ValueError, "rows of 11 x 12 = 132 pixels", "6"),
    "Adam, rate": (lambda: npae.Adam(-1e-3), ValueError, "learning_rate", "-0.001"),
    "Adam, text": (lambda: npae.Adam("fast"), TypeError, "learning_rate as a real number", "'fast'"),
    "Adam, beta1": (lambda: npae.Adam(beta1=1.0), ValueError, "beta1 finite and in [0, 1)", "1.0"),
    "Adam, beta2": (lambda: npae.Adam(beta2=-0.1), ValueError, "beta2", "-0.1"),
    "Adam, eps": (lambda: npae.Adam(eps=0), ValueError, "eps", "0.0"),
    "Adam, decay": (lambda: npae.Adam(weight_decay=-1), ValueError, "weight_decay", "-1.0"),
    "Adam, steps": (lambda: npae.Adam().init([], steps=-1), ValueError, "steps >= 0", "-1"),
    "SGD, momentum": (lambda: npae.SGD(momentum=1), ValueError, "momentum", "1.0"),
    "SGD, nesterov": (lambda: npae.SGD(nesterov=True), ValueError, "momentum > 0", "0"),
    "Cosine": (lambda: npae.Cosine(-1), ValueError, "start", "-1.0"),
    "Constant": (lambda: npae.Constant(np.inf), ValueError, "rate finite", "inf"),
    "GaussianNoise": (lambda: npae.GaussianNoise(-0.5), ValueError, "std", "-0.5"),
    "GaussianNoise, clip": (lambda: npae.GaussianNoise(0.5, clip=(1, 0)), ValueError, "rising", "(1, 0)"),
    "GaussianNoise, clip one": (lambda: npae.GaussianNoise(0.5, clip=1), ValueError, "two numbers", "1"),
    "MaskingNoise": (lambda: npae.MaskingNoise(1.5), ValueError, "fraction finite and in [0, 1]", "1.5"),
    "SaltAndPepper": (lambda: npae.SaltAndPepper(-0.1), ValueError, "fraction", "-0.1"),
    "SaltAndPepper, ends": (lambda: npae.SaltAndPepper(low=1, high=1), ValueError, "rising", "(1, 1)"),
    "set_params": (lambda: npae.AE().set_params(latent=3), ValueError, "names among", "['latent']"),
    "use_backend": (lambda: npae.use_backend("gpu"), ValueError, "one of ('numpy', 'numba')", "'gpu'"),
    "check, method": (lambda: npae.check_gradients(npae.ReLU(), X, method="fd"), ValueError, "method", "'fd'"),
    "check, step": (lambda: npae.check_gradients(npae.ReLU(), X, step=0), ValueError, "step", "0.0"),
    "check, max_elements": (
        lambda: npae.check_gradients(npae.ReLU(), X, max_elements=0), ValueError, "max_elements >= 1", "0"),
    "check, not a model": (lambda: npae.check_gradients(len, X), TypeError, "a layer, a loss or", "builtin"),
    "check, no target": (lambda: npae.check_gradients(npae.MSE(), X), ValueError, "its target together", "NoneType"),
    "check, no loss": (lambda: npae.check_gradients(npae.ReLU(), X, target=X), ValueError, "together", "loss None"),
    "check, a name": (
        lambda: npae.check_gradients(npae.ReLU(), X, loss="mse", target=X), TypeError, "npae.MSE()", "'mse'"),
    "check, target of strings": (
        lambda: npae.check_gradients(npae.MSE(), X, target=X.astype(str)), TypeError, "target as real", "<U"),
    "check, two losses": (
        lambda: npae.check_gradients(MODELS["AE"](), X, loss=npae.MSE(), target=X), ValueError, "no loss", "got one"),
    "check, NaN": (lambda: npae.check_gradients(npae.ReLU(), X * np.nan), ValueError, "finite x", "nan"),
    "check, empty": (lambda: npae.check_gradients(npae.ReLU(), X[:0]), ValueError, "at least one row", "(0, 6)"),
    "check, kinks": (
        lambda: npae.check_gradients(npae.ReLU(), X, method="complex"), ValueError, "an analytic model", "kinks"),
    "check, strings": (lambda: npae.check_gradients(npae.ReLU(), [["a"]]), TypeError, "real numbers", "<U1"),
    "save, not a model": (lambda: npae.save({}, "never-written.npz"), TypeError, "AE, DAE or PCA", "dict"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_says_what_was_expected_and_what_came(case):
    call, error, wanted, came = BAD_CALLS[case]
    refuses(call, error, wanted, came)


def test_backward_refuses_a_gradient_of_another_shape_and_keeps_the_last_one():
    for layer in (npae.Dense(6, 2, rng=0, dtype=float), npae.Tanh()):
        y = layer.forward(X)
        layer.backward(np.ones_like(y))
        before = [p.grad.copy() for p in layer.parameters()]
        refuses(lambda layer=layer: layer.backward(np.ones((12, 3))), ValueError, "grad_y of shape (12,", "(12, 3)")
        assert all(np.array_equal(p.grad, g) for p, g in zip(layer.parameters(), before, strict=True))


# --- what looks odd but is fine ----------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "X_odd",
    [np.zeros((5, 4)), np.ones((1, 4)), np.random.default_rng(0).random((5, 1)), np.full((4, 3), 1e-310)],
    ids=["constant", "one row", "one column", "denormal"],
)
def test_extreme_but_legal_data(X_odd):
    for model in (npae.AE(**QUICK), npae.DAE(**QUICK), npae.PCA(1)):
        assert np.isfinite(model.fit(X_odd).reconstruct(X_odd)).all()
