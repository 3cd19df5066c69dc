"""Nonsense drawn at random, for every argument there is: refused at once, in three parts, and nothing changes."""

import inspect
import re
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npae

X = np.random.default_rng(0).random((12, 6))
QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 1, "batch_size": 4, "random_state": 0}

# --- what is drawn ------------------------------------------------------------------------------------------------

WORDS = st.text(max_size=5) | st.binary(max_size=5)
THINGS = st.sampled_from(
    [object(), object, len, {}, {"a": 1}, set(), [], [1, 2], (), (1, 2), ..., 1j, np.ones(2), [None]]
)
NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf, np.float32("nan")])
NONE, FLAGS = st.none(), st.booleans() | st.sampled_from([np.True_, np.False_])
FRACTIONS = st.floats(-5, 5).filter(lambda v: v != int(v)) | st.sampled_from([1.0, np.float64(2)])


def no_count(at_least=1, none=False):
    """What is not a whole number from `at_least` on."""
    few = st.integers(-(10**30), at_least - 1) | st.integers(-5, at_least - 1).map(np.int64)
    return (WORDS | THINGS | NOT_FINITE | FLAGS | FRACTIONS | few) | (st.nothing() if none else NONE)


def no_real(low=-np.inf, high=np.inf, ends=False):
    """What is not a number in [low, high], or, with `ends`, strictly between."""
    odd = WORDS | THINGS | NOT_FINITE | FLAGS | NONE
    if low > -np.inf:
        odd |= st.floats(max_value=low, exclude_max=not ends, allow_nan=False)
    if high < np.inf:
        odd |= st.floats(min_value=high, exclude_min=not ends, allow_nan=False)
    return odd


def no_choice(*names, none=False):
    """Neither one of the names nor an object of the kind."""
    others = (
        WORDS.filter(lambda word: word not in names) | FRACTIONS | NOT_FINITE | THINGS.filter(lambda v: v is not len)
    )
    return others | (st.nothing() if none else NONE | FLAGS)


def no_flag(none=False):
    return WORDS | THINGS | NOT_FINITE | st.integers(2, 9) | FRACTIONS | (st.nothing() if none else NONE)


def shapes(rank, least=1):
    return st.tuples(*[st.integers(least, 4)] * rank)


@st.composite
def no_table(draw, width=None, width_known=True):
    """What is no (n, width) table of finite numbers, n >= 1; of any width >= 1 where it is None."""
    kind = draw(st.sampled_from(["rank", "empty", "width", "dtype", "not finite", "thing"]))
    columns = width or draw(st.integers(1, 4))
    if kind == "width" and width is not None:
        other = draw(st.integers(1, 9).filter(lambda w: w != width))
        return np.ones((draw(st.integers(1, 4)), other), draw(st.sampled_from([np.float32, np.float64, np.int8])))
    if kind == "empty":
        return np.ones(draw(st.sampled_from([(0, columns), (3, 0), (0, 0)])))
    if kind == "dtype":
        dtype = draw(st.sampled_from(["U3", "S3", "c8", "c16", "M8[D]", "m8[s]", "O", "V4"]))
        shape = draw(st.integers(1, 4)), columns
        return np.full(shape, None) if dtype == "O" else np.zeros(shape, dtype)
    if kind == "not finite":
        table = np.ones((draw(st.integers(1, 4)), columns), draw(st.sampled_from([np.float16, np.float32, np.float64])))
        table[draw(st.integers(0, len(table) - 1)), draw(st.integers(0, columns - 1))] = draw(NOT_FINITE)
        return table
    if kind == "rank" or kind == "width":
        return draw(hnp.arrays(np.float64, shapes(0) | shapes(1) | shapes(3) | shapes(4), elements=st.floats(0, 1)))
    return draw(WORDS | THINGS | NOT_FINITE | FRACTIONS | NONE | st.just([[1.0], [1.0, 2.0]]))


def no_batch(width=None):
    """What a layer refuses: it takes empty, complex and infinite batches."""

    def taken(x):
        is_number = isinstance(x, np.ndarray) and x.dtype.kind in "fiubc"
        return is_number and x.ndim == 2 and width in (None, x.shape[1])

    return no_table(width).filter(lambda x: not taken(x))


def no_row(width=None):
    """What is no (width,) of finite numbers, width >= 1."""

    def taken(x):
        if isinstance(x, np.ndarray):
            numbers = x.ndim == 1 and x.dtype.kind in "fiub"
        else:
            numbers = isinstance(x, list | tuple) and all(isinstance(v, int | float) for v in x)
        return numbers and len(x) > 0 and width in (None, len(x)) and np.isfinite(x).all()

    return no_table(width).filter(lambda x: not taken(x))


def said(strategy):
    """Nothing that means: as usual."""
    return strategy.filter(lambda v: v is not None)


def no_pair():
    return no_choice(none=True).filter(lambda v: not isinstance(v, list | tuple)) | st.just((2, 1))


# --- every argument of every public function ------------------------------------------------------------------------


def layer_input(layer):
    return lambda x: layer.forward(x)


def fitted(make=npae.AE, **more):
    return make(**(QUICK | more)).fit(X)


def parameter():
    return npae.Parameter(np.ones(3), "w")


FITTED = {"AE": fitted(), "DAE": fitted(npae.DAE), "PCA": npae.PCA(2).fit(X)}
SEEDS = no_count(0, none=True)
STATE = npae.Adam().init([npae.Parameter(np.ones(3), "w")])
DENSE, RELU = npae.Dense(6, 2, rng=0, dtype=np.float64), npae.ReLU()
NETWORK = npae.Sequential(DENSE, npae.Tanh())
LEARNING_RATES = no_real(0)
BATCH = no_batch(6)
NO_PATH = NOT_FINITE | FRACTIONS | NONE | THINGS | st.just("a\0b")


def fit_with(model, **arguments):
    """Set what the constructor would have been given, fit, and put it back."""
    before = {name: getattr(model, name) for name in arguments}
    try:
        model.set_params(**arguments).fit(X)
    finally:
        model.set_params(**before)


ARGUMENTS = {
    # the constructors of estimators only store: fit refuses
    "hidden": no_count().filter(lambda v: not isinstance(v, list | tuple | set | dict | np.ndarray | str | bytes))
    | st.lists(no_count(), min_size=1, max_size=2),
    "latent_dim": no_count(),
    "activation": no_choice("relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"),
    "output": no_choice("relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"),
    "loss": no_choice("mse", "bce"),
    "optimizer": no_choice("adam", "sgd"),
    "epochs": no_count(0),
    "batch_size": no_count(),
    "patience": no_count(none=True),
    "encoder": no_choice(none=True),
    "decoder": no_choice(none=True),
    "dtype": no_choice("f", "d", "f4", "f8", none=True),
    "random_state": SEEDS,
    "verbose": no_flag(none=True),
}
CALLS = {
    **{f"AE({name}=)": (lambda v, name=name: fit_with(FITTED["AE"], **{name: v}), s) for name, s in ARGUMENTS.items()},
    "DAE(corruption=)": (
        lambda v: fit_with(FITTED["DAE"], corruption=v),
        no_choice("gaussian", "masking", "salt_and_pepper").filter(lambda v: not callable(v) or isinstance(v, type)),
    ),
    "PCA(n_components=)": (lambda v: fit_with(FITTED["PCA"], n_components=v), no_count(none=True) | st.integers(7)),
    **{
        f"{name}.{verb}": (lambda v, m=FITTED[name], verb=verb: getattr(m, verb)(v), no_table(width))
        for name in FITTED
        for verb, width in {
            "fit": None, "encode": 6, "decode": 2, "reconstruct": 6, "transform": 6, "inverse_transform": 2, "score": 6,
            "fit_transform": None, **({"partial_fit": 6, "objective": 6} if name != "PCA" else {}),
            **({"denoise": 6} if name == "DAE" else {}),
        }.items()
    },
    "AE.fit(validation=)": (
        lambda v: FITTED["AE"].fit(X, validation=v), said(no_table(6))),
    "AE.fit(sample_weight=)": (
        lambda v: FITTED["AE"].fit(X, sample_weight=v),
        said(no_table()) | st.lists(st.floats(-2, -1), min_size=12, max_size=12)),
    "AE.score(sample_weight=)": (
        lambda v: FITTED["AE"].score(X, sample_weight=v), said(no_table())),
    "PCA.fit(sample_weight=)": (
        lambda v: FITTED["PCA"].fit(X, sample_weight=v), said(no_table())),
    "AE.fit(callbacks=)": (
        lambda v: FITTED["AE"].fit(X, callbacks=v),
        WORDS.filter(len) | NOT_FINITE | FRACTIONS | NONE | st.just([None])),
    "AE.fit(checkpoint=)": (
        lambda v: FITTED["AE"].fit(X, checkpoint=v),
        NOT_FINITE | FRACTIONS | FLAGS | THINGS | st.sampled_from(["/", "/nowhere/at/all.npz", b"/", "", "a\0b"])),
    "AE.fit(checkpoint_every=)": (lambda v: FITTED["AE"].fit(X, checkpoint_every=v), no_count()),
    "AE.fit(resume=)": (lambda v: FITTED["AE"].fit(X, resume=v), no_flag()),
    "AE.objective(rng=)": (lambda v: FITTED["DAE"].objective(X, v), SEEDS),
    "AE.export": (FITTED["AE"].export, NO_PATH),
    "AE.set_output": (
        lambda v: FITTED["AE"].set_output(transform=v), said(no_choice("default", "pandas", "polars", none=True))),
    "AE.get_feature_names_out": (FITTED["AE"].get_feature_names_out, said(no_table())),
    "AE.set_params": (lambda v: FITTED["AE"].set_params(**{v: 1}), st.text(max_size=3)),
    "Parameter(value=)": (
        lambda v: npae.Parameter(v, "w"),
        WORDS | NOT_FINITE | NONE | FRACTIONS | FLAGS | THINGS.filter(lambda v: not isinstance(v, np.ndarray))),
    "Dense(n_in=)": (lambda v: npae.Dense(v, 2), no_count()),
    "Dense(n_out=)": (lambda v: npae.Dense(2, v), no_count()),
    "Dense(init=)": (lambda v: npae.Dense(2, 2, init=v), no_choice("he", "glorot")),
    "Dense(dtype=)": (lambda v: npae.Dense(2, 2, dtype=v), ARGUMENTS["dtype"] | NONE),
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

AX = None
if find_spec("matplotlib"):
    from npae import plots

    FIGURE = plots.figure(4, 3)
    AX, SHAPE, AE = FIGURE.subplots(), (2, 3), FITTED["AE"]
    NO_MODEL, NO_ROW, NO_SHAPE = no_choice(), no_row(6), no_choice()
    DRAW = {
        "image_rows": lambda ax=AX, rows={"a": X}, shape=SHAPE: plots.image_rows(rows, ax, shape),
        "reconstructions": lambda ax=AX, model=AE, X=X, shape=SHAPE: plots.reconstructions(model, X, ax, shape),
        "denoising": lambda ax=AX, model=AE, X=X, noisy=X, shape=SHAPE: plots.denoising(model, X, noisy, ax, shape),
        "interpolation": lambda ax=AX, model=AE, a=X[0], b=X[1], steps=9, shape=SHAPE: plots.interpolation(
            model, a, b, ax, steps, shape
        ),
        "filters": lambda ax=AX, model=AE, units=(0,), shape=SHAPE: plots.filters(model, ax, units, shape),
        "code": lambda ax=AX, z=(1.0,): plots.code(z, ax),
        "latent_scatter": lambda ax=AX, model=AE, X=X, labels=[0, 1] * 6: plots.latent_scatter(model, X, labels, ax),
        "latent_grid": lambda ax=AX, model=AE, X=X, n=3, shape=SHAPE: plots.latent_grid(model, X, ax, n, shape),
        "history": lambda ax=AX, model=AE: plots.history(model, ax),
        "spectrogram": lambda ax=AX, x=X[0], rate=8000: plots.spectrogram(x, ax, rate),
        "style_axes": lambda ax=AX: plots.style_axes(ax),
        "figure": lambda width=4, height=3: plots.figure(width, height),
        "save": lambda fig=FIGURE, path="never-written.png": plots.save(fig, path),
    }
    WRONG = {
        "ax": no_choice(), "model": NO_MODEL, "X": no_table(6), "noisy": no_table(6), "shape": NO_SHAPE,
        "a": NO_ROW, "b": NO_ROW, "steps": no_count(2), "n": no_count(), "rate": no_real(0, ends=True),
        "rows": no_table().filter(lambda v: not isinstance(v, dict)) | no_table(6).map(lambda v: {"a": v}),
        "units": no_count(0).filter(lambda v: not isinstance(v, list | tuple | set | dict | np.ndarray | str | bytes))
        | st.lists(no_count(0) | st.integers(5), min_size=1, max_size=2) | st.just(()),
        "z": no_row(), "x": no_row(),
        "labels": no_table(6), "width": no_real(0, ends=True), "height": no_real(0, ends=True),
        "fig": no_choice(), "path": NO_PATH | st.sampled_from(["picture", "picture.npz", ""]),
    }  # fmt: skip
    CALLS |= {
        f"plots.{name}({argument}=)": (lambda v, draw=draw, argument=argument: draw(**{argument: v}), WRONG[argument])
        for name, draw in DRAW.items()
        for argument in inspect.signature(draw).parameters
    }

    @pytest.mark.parametrize("name", [name for name in DRAW if name != "save"])
    def test_without_nonsense_it_is_drawn(name):
        assert DRAW[name]() is AX or name == "figure"
        AX.clear()


def fingerprint():
    """Everything that could have been changed."""
    learned = [pair for m in FITTED.values() for pair in vars(m).items()]
    return (
        [(name, v.tobytes() if hasattr(v, "tobytes") else repr(v)) for name, v in learned],
        [p.value.tobytes() for m in FITTED.values() if hasattr(m, "network_") for p in m.network_.parameters()],
        DENSE.W.value.tobytes(), npae.backend_name(), AX and len(AX.get_children()),
    )  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=settings().max_examples // 2)  # there are many calls
@given(data=st.data())
def test_nonsense_is_refused_in_three_parts_and_changes_nothing(name, data):
    call, nonsense = CALLS[name]
    value = data.draw(nonsense)
    before = fingerprint()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError)) as refused:
            call(value)
    assert re.search(r"expected .+\bgot .*: .{8}", str(refused.value), re.DOTALL), str(refused.value)
    assert fingerprint() == before


@given(data=st.data())
def test_a_constructor_of_an_estimator_never_raises(data):
    for make in (npae.AE, npae.DAE, npae.PCA):
        nonsense = {name: data.draw(WORDS | THINGS | NOT_FINITE | NONE) for name in make().get_params()}
        model = make(**nonsense)
        assert all(getattr(model, name) is value for name, value in nonsense.items())
        assert repr(model).startswith(make.__name__)
