"""A bad argument of any public function is refused: what was expected, what came, what to do."""

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, settings
from hypothesis import strategies as st
from nonsense import (
    DENSE,
    FITTED,
    FLAGS,
    FRACTIONS,
    NO_PATH,
    NONE,
    NOT_FINITE,
    SEEDS,
    THINGS,
    WORDS,
    X,
    no_batch,
    no_choice,
    no_count,
    no_flag,
    no_pair,
    no_real,
    no_table,
    refuses_nonsense,
    said,
)

import npae
from npae.estimator.arguments import as_dtype, as_flag, resolve

BAD_CALLS = {
    "Dense, negative": (lambda: npae.Dense(-1, 3), ValueError, "n_in >= 1", "-1"),
    "Dense, zero": (lambda: npae.Dense(3, 0), ValueError, "n_out >= 1", "0"),
    "Dense, fraction": (lambda: npae.Dense(3.5, 2), TypeError, "whole number", "3.5"),
    "Dense, init": (lambda: npae.Dense(3, 2, init="ones"), ValueError, "init 'glorot' or 'he'", "'ones'"),
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
    "Adam, steps": (lambda: npae.Adam().init([], total_steps=-1), ValueError, "total_steps >= 0", "-1"),
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
    "save, not a model": (lambda: npae.save({}, "never-written.npz"), TypeError, "a model of npae's", "dict"),
}  # fmt: skip


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_says_what_was_expected_and_what_came(case):
    call, error, wanted, came = BAD_CALLS[case]
    refuses(call, error, wanted, came)


@pytest.mark.parametrize("value", [1, 0, True, False, np.True_, np.False_])
def test_a_flag_becomes_a_bool(value):
    assert as_flag(value, "f", "flag") is bool(value)


@pytest.mark.parametrize("value", ["float32", "f4", "<f4", np.float32, np.dtype("f4"), "float64", float, np.float64])
def test_a_dtype_may_be_named_in_any_way(value):
    assert as_dtype(value, "f") == np.dtype(value)


def test_a_choice_is_kept_or_made_from_its_name():
    made = resolve("tanh", npae.Activation, {"tanh": npae.Tanh}, "f", "activation")
    assert isinstance(made, npae.Tanh)
    assert resolve(made, npae.Activation, {}, "f", "activation") is made


# --- nonsense, drawn at random -------------------------------------------------------------------------------


def parameter():
    return npae.Parameter(np.ones(3), "w")


STATE = npae.Adam().init([npae.Parameter(np.ones(3), "w")])
RELU = npae.ReLU()
NETWORK = npae.Sequential(DENSE, npae.Tanh())
LEARNING_RATES = no_real(0)
BATCH = no_batch(6)


DTYPES = no_choice("f", "d", "f4", "f8", none=True)


CALLS = {
    "Parameter(value=)": (
        lambda v: npae.Parameter(v, "w"),
        WORDS | NOT_FINITE | NONE | FRACTIONS | FLAGS | THINGS.filter(lambda v: not isinstance(v, np.ndarray))),
    "Dense(n_in=)": (lambda v: npae.Dense(v, 2), no_count()),
    "Dense(n_out=)": (lambda v: npae.Dense(2, v), no_count()),
    "Dense(init=)": (lambda v: npae.Dense(2, 2, init=v), no_choice("he", "glorot")),
    "Dense(dtype=)": (lambda v: npae.Dense(2, 2, dtype=v), DTYPES | NONE),
    "Dense(rng=)": (lambda v: npae.Dense(2, 2, rng=v), SEEDS),
    "Dense.forward": (DENSE.forward, BATCH),
    "Dense.backward": (lambda v: DENSE.forward(X) is None or DENSE.backward(v), no_table(2)),
    "ReLU.forward": (npae.ReLU().forward, no_batch()),
    "ReLU.backward": (lambda v: RELU.forward(X) is None or RELU.backward(v), no_table(6)),
    "Sequential": (lambda v: npae.Sequential(v), no_choice()),
    "Sequential.forward": (npae.Sequential(DENSE).forward, BATCH),
    "Sequential.backward": (lambda v: NETWORK.forward(X) is None or NETWORK.backward(v), no_table(2)),
    "LeakyReLU(slope=)": (npae.LeakyReLU, no_real(0, 1)),
    "ELU(alpha=)": (npae.ELU, no_real(0)),
    "MSE(prediction)": (lambda v: npae.MSE()(v, X), no_table(6)),
    "MSE(target)": (lambda v: npae.MSE()(X, v), no_table(6)),
    "BCE(target)": (lambda v: npae.BCE()(X, v), no_table(6) | st.just(X + 1)),
    "SSIM(image_shape=)": (npae.SSIM, no_choice()),
    "SSIM(window=)": (lambda v: npae.SSIM((28, 28), window=v), no_count() | st.integers(29)),
    **{
        f"SSIM({name}=)": (lambda v, name=name: npae.SSIM((28, 28), **{name: v}), no_real(0, ends=True))
        for name in ("sigma", "k1", "k2", "data_range")
    },
    "SGD(learning_rate=)": (npae.SGD, LEARNING_RATES),
    "SGD(momentum=)": (lambda v: npae.SGD(momentum=v), no_real(0) | st.floats(1)),
    "SGD(nesterov=)": (lambda v: npae.SGD(momentum=0.9, nesterov=v), no_flag()),
    "Adam(learning_rate=)": (npae.Adam, LEARNING_RATES),
    "Adam(beta1=)": (lambda v: npae.Adam(beta1=v), no_real(0) | st.floats(1)),
    "Adam(beta2=)": (lambda v: npae.Adam(beta2=v), no_real(0) | st.floats(1)),
    "Adam(eps=)": (lambda v: npae.Adam(eps=v), no_real(0, ends=True)),
    "Adam(weight_decay=)": (lambda v: npae.Adam(weight_decay=v), no_real(0)),
    "Adam.init(parameters)": (npae.Adam().init, WORDS.filter(len) | NOT_FINITE | NONE | st.just([1]) | FRACTIONS),
    "Adam.init(steps=)": (lambda v: npae.Adam().init([parameter()], v), no_count(0, none=True)),
    "Adam.step(state)": (lambda v: npae.Adam().step([parameter()], v), WORDS | NOT_FINITE | NONE | THINGS),
    "Adam.step(parameters)": (lambda v: npae.Adam().step(v, STATE), no_choice()),
    "Constant(rate=)": (npae.Constant, no_real(0)),
    "Cosine(start=)": (npae.Cosine, no_real(0)),
    "Cosine(end=)": (lambda v: npae.Cosine(1, v), no_real(0)),
    "GaussianNoise(std=)": (npae.GaussianNoise, no_real(0)),
    "GaussianNoise(clip=)": (
        lambda v: npae.GaussianNoise(clip=v), no_pair()),
    "GaussianNoise(x)": (
        lambda v: npae.GaussianNoise()(v, 0),
        WORDS | NONE | THINGS.filter(lambda v: np.asarray(v).dtype.kind not in "fiub")),
    "GaussianNoise(rng)": (lambda v: npae.GaussianNoise()(X, v), SEEDS),
    "MaskingNoise(fraction=)": (npae.MaskingNoise, no_real(0, 1)),
    "SaltAndPepper(fraction=)": (npae.SaltAndPepper, no_real(0, 1)),
    "SaltAndPepper(low=)": (lambda v: npae.SaltAndPepper(low=v), no_real(high=1, ends=True)),
    "SaltAndPepper(high=)": (lambda v: npae.SaltAndPepper(high=v), no_real(low=0, ends=True)),
    "Gaussian(std=)": (npae.Gaussian, said(no_real(0, ends=True))),
    "L1(weight=)": (npae.L1, no_real(0)),
    "L1(z)": (npae.L1(), no_table()),
    "L1(sample_weight=)": (lambda v: npae.L1()(X, sample_weight=v), said(no_table())),
    "KLSparsity(rho=)": (npae.KLSparsity, no_real(0, 1, ends=True)),
    "KLSparsity(weight=)": (lambda v: npae.KLSparsity(weight=v), no_real(0)),
    "KLSparsity(z)": (npae.KLSparsity(), no_table() | st.just(X + 1)),
    "Contractive(weight=)": (npae.Contractive, no_real(0)),
    "Contractive(f)": (lambda v: npae.Contractive()(X, v, X), no_choice()),
    "GaussianKL(beta=)": (npae.GaussianKL, no_real(0)),
    "GaussianKL(z)": (npae.GaussianKL(), no_table() | st.just(X[:, :5])),
    "TopK(k=)": (npae.TopK, no_count()),
    "TopK.forward": (npae.TopK(1).forward, no_batch()),
    "WinnerTakeAll(rate=)": (npae.WinnerTakeAll, no_real(0, 1)),
    "WinnerTakeAll.forward": (npae.WinnerTakeAll(0.5).forward, no_batch()),
    "NestedDropout(rate=)": (npae.NestedDropout, said(no_real(0, 1, ends=True))),
    "GaussianCode(k=)": (npae.GaussianCode, no_count()),
    "GaussianCode.forward": (npae.GaussianCode(3).forward, BATCH),
    "TiedDense(n_in=)": (lambda v: npae.TiedDense(v, 2), no_count()),
    "TiedDense.tie": (npae.TiedDense(2, 6).tie, no_choice()),
    "check_gradients(model)": (lambda v: npae.check_gradients(v, X, verbose=False), no_choice()),
    "check_gradients(x)": (lambda v: npae.check_gradients(DENSE, v, verbose=False), no_table(6)),
    "check_gradients(target=)": (
        lambda v: npae.check_gradients(npae.MSE(), X, target=v, verbose=False), no_table(6)),
    "check_gradients(loss=)": (
        lambda v: npae.check_gradients(DENSE, X, loss=v, target=X[:, :2], verbose=False), no_choice()),
    "check_gradients(method=)": (
        lambda v: npae.check_gradients(DENSE, X, method=v, verbose=False), no_choice("central", "complex")),
    "check_gradients(step=)": (
        lambda v: npae.check_gradients(DENSE, X, step=v, verbose=False), said(no_real(0, ends=True))),
    "check_gradients(tolerance=)": (
        lambda v: npae.check_gradients(DENSE, X, tolerance=v, verbose=False), said(no_real(0))),
    "check_gradients(max_elements=)": (
        lambda v: npae.check_gradients(DENSE, X, max_elements=v, verbose=False), no_count(none=True)),
    "check_gradients(random_state=)": (
        lambda v: npae.check_gradients(DENSE, X, random_state=v, verbose=False), SEEDS),
    "check_gradients(verbose=)": (lambda v: npae.check_gradients(DENSE, X, verbose=v), no_flag()),
    "digits(labels=)": (npae.datasets.digits, no_flag()),
    "mnist(labels=)": (npae.datasets.mnist, no_flag()),
    "save(model)": (lambda v: npae.save(v, "never-written.npz"), no_choice()),
    "save(path)": (lambda v: npae.save(FITTED["PCA"], v), NO_PATH),
    "load(path)": (npae.load, NO_PATH),
    "use_backend": (npae.use_backend, no_choice("numpy", "numba")),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=settings().max_examples // 2)  # there are many calls
@given(data=st.data())
def test_nonsense_is_refused_in_three_parts_and_changes_nothing(name, data):
    call, nonsense = CALLS[name]
    refuses_nonsense(call, data.draw(nonsense))
