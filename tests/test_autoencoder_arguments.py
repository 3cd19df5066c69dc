"""AE, DAE and PCA refuse a bad argument of the constructor or of fit, and keep what they learned."""

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, settings
from hypothesis import strategies as st
from nonsense import (
    FITTED,
    FLAGS,
    FRACTIONS,
    NO_PATH,
    NONE,
    NOT_FINITE,
    QUICK,
    SEEDS,
    THINGS,
    WORDS,
    X,
    no_choice,
    no_count,
    no_flag,
    no_real,
    no_table,
    refuses_nonsense,
    said,
)

import npae


def sharing():
    """Two layers with one parameter: a way to tie weights that does not work."""
    first, second = npae.Dense(6, 6, rng=0), npae.Dense(6, 6, rng=1)
    second.W = first.W
    return first, second


@pytest.mark.usefixtures("backend")
def test_layers_that_share_a_parameter_are_refused():
    first, second = sharing()
    refuses(lambda: npae.Sequential(first, second), ValueError, "each parameter once", "Parameter('W'", "its own")
    encoder, decoder = npae.Sequential(first), npae.Sequential(second)
    ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1)
    refuses(lambda: ae.fit(X), ValueError, "each parameter once", "twice", "its own")
    assert not hasattr(ae, "network_")


@pytest.mark.usefixtures("backend")
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
    ({"validation_fraction": 0.0}, ValueError, "validation_fraction as a share in (0, 1)", "0.0"),
    ({"validation_fraction": 1}, ValueError, "validation_fraction as a share in (0, 1)", "1"),
    ({"validation_fraction": "0.1"}, TypeError, "validation_fraction as a real number", "'0.1'"),
    ({"validation_fraction": 0.99}, ValueError, "rows to learn from besides those held out", "12 rows"),
    ({"encoder": "narrow", "decoder": "wide"}, TypeError, "both as Sequential", "'narrow'"),
    ({"random_state": -1}, ValueError, "random_state >= 0", "-1"),
    ({"hidden": iter([5])}, TypeError, "hidden as widths to keep", "iterator"),
    ({"random_state": np.random.Generator(np.random.RandomState(0)._bit_generator)}, TypeError, "spawn", "MT19937"),
    ({"random_state": "seed"}, TypeError, "random_state as a whole number", "'seed'"),
    ({"encoder": npae.Sequential(npae.Dense(6, 2, rng=0))}, TypeError, "both as Sequential", "None"),
    ({"decoder": npae.Dense(2, 6, rng=0)}, TypeError, "both as Sequential", "Dense(2, 6)"),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "error", "wanted", "came"), BAD_ARGUMENTS, ids=lambda v: str(v)[:40])
@pytest.mark.usefixtures("backend")
def test_a_bad_argument_is_refused_by_fit_and_keeps_what_was_learned(argument, error, wanted, came):
    model = npae.AE(**QUICK).fit(X)
    learned = model.encode(X)
    model.set_params(**argument)
    refuses(lambda: model.fit(X), error, "AE" if "SSIM" not in repr(argument) else "SSIM", wanted, came)
    np.testing.assert_array_equal(model.encode(X), learned)


@pytest.mark.usefixtures("backend")
def test_rows_are_held_out_of_a_table_only_and_not_beside_validation_data():
    model = npae.AE(**QUICK, validation_fraction=0.25).fit(X)
    learned = model.encode(X)
    refuses(lambda: model.fit(iter([X])), ValueError, "no validation_fraction with an iterable", "0.25", "pass")
    refuses(lambda: model.fit(X, validation=X), ValueError, "validation= or validation_fraction", "both", "leave one")
    np.testing.assert_array_equal(model.encode(X), learned)


@pytest.mark.parametrize(
    ("corruption", "error", "parts"),
    [
        ("poisson", ValueError, ("corruption as one of", "'poisson'", "choose")),
        (0.5, ValueError, ("corruption as one of", "0.5", "choose")),
        (npae.GaussianNoise, ValueError, ("corruption as one of", "GaussianNoise", "as an object")),
        (lambda x, rng: x * np.nan, ValueError, ("finite numbers", "NaN or infinity", "let it return")),
        (lambda x, rng: x[:, :3], ValueError, ("return numbers of shape", "(4, 3)", "of the shape of its argument")),
        (lambda x, rng: x.astype(str), ValueError, ("return numbers of shape", "<U", "of the shape of its argument")),
    ],
    ids=["unknown", "number", "a class", "NaN", "narrow", "strings"],
)
@pytest.mark.usefixtures("backend")
def test_a_bad_corruption_is_refused(corruption, error, parts):
    dae = npae.DAE(**QUICK).fit(X)
    learned = dae.encode(X)
    refuses(lambda: dae.set_params(corruption=corruption).fit(X), error, *parts)
    np.testing.assert_array_equal(dae.encode(X), learned)


@pytest.mark.usefixtures("backend")
def test_a_corruption_that_would_write_into_clean_data_is_stopped():
    def writing(x, rng):
        x += 1
        return x

    with pytest.raises(ValueError, match="read-only"):
        npae.DAE(**QUICK, corruption=writing).fit(X)


@pytest.mark.usefixtures("backend")
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


@pytest.mark.usefixtures("backend")
def test_own_networks_must_leave_the_sigmoid_to_bce():
    encoder = npae.Sequential(npae.Dense(6, 2, rng=0))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=0), npae.Sigmoid())
    ae = npae.AE(encoder=encoder, decoder=decoder, loss="bce", epochs=1)
    refuses(lambda: ae.fit(X), ValueError, "ends in logits", "Sigmoid()", "leave that out")
    ae.set_params(decoder=npae.Sequential(npae.Dense(2, 6, rng=0))).fit(X)


# --- nonsense, drawn at random -------------------------------------------------------------------------------


def fit_with(model, **arguments):
    """Set what the constructor would have been given, fit, and put it back."""
    before = {name: getattr(model, name) for name in arguments}
    try:
        model.set_params(**arguments).fit(X)
    finally:
        model.set_params(**before)


def no_share(v):
    """Whether v is not a float in (0, 1)."""
    return not (isinstance(v, float) and 0 < v < 1)


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
    "validation_fraction": said(no_real(0, 1, ends=True)),
    "encoder": no_choice(none=True),
    "decoder": no_choice(none=True),
    "dtype": no_choice("f", "d", "f4", "f8", none=True),
    "random_state": SEEDS,
    "verbose": no_flag(none=True),
    "code": no_choice("relu", "leaky_relu", "elu", "sigmoid", "tanh", "linear"),
    "penalty": no_choice("l1", "kl", "contractive", none=True),
    "tied": no_flag(),
}


CALLS = {
    **{f"AE({name}=)": (lambda v, name=name: fit_with(FITTED["AE"], **{name: v}), s) for name, s in ARGUMENTS.items()},
    "DAE(corruption=)": (
        lambda v: fit_with(FITTED["DAE"], corruption=v),
        no_choice("gaussian", "masking", "salt_and_pepper").filter(lambda v: not callable(v) or isinstance(v, type)),
    ),
    "VAE(loss=)": (lambda v: fit_with(FITTED["VAE"], loss=v), no_choice("mse", "bce")),
    "VAE(beta=)": (lambda v: fit_with(FITTED["VAE"], beta=v), no_real(0)),
    "VAE(latent_dim=)": (lambda v: fit_with(FITTED["VAE"], latent_dim=v), no_count()),
    "VAE.sample(n=)": (FITTED["VAE"].sample, no_count()),
    "VAE.sample(random_state=)": (lambda v: FITTED["VAE"].sample(1, v), SEEDS),
    "VAE.log_likelihood": (FITTED["VAE"].log_likelihood, no_table(6)),
    "VAE.log_likelihood(samples=)": (lambda v: FITTED["VAE"].log_likelihood(X, v), no_count()),
    "PCA(n_components=)": (
        lambda v: fit_with(FITTED["PCA"], n_components=v), no_count(none=True).filter(no_share) | st.integers(7)),
    **{
        f"{name}.{verb}": (lambda v, m=FITTED[name], verb=verb: getattr(m, verb)(v), no_table(width))
        for name in FITTED
        for verb, width in {
            "fit": None, "encode": 6, "decode": 2, "reconstruct": 6, "transform": 6, "inverse_transform": 2, "score": 6,
            "fit_transform": None, "score_samples": 6, "reconstruction_error": 6,
            **({"partial_fit": 6, "objective": 6} if name != "PCA" else {}),
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
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=settings().max_examples // 2)  # there are many calls
@given(data=st.data())
def test_nonsense_is_refused_in_three_parts_and_changes_nothing(name, data):
    call, nonsense = CALLS[name]
    refuses_nonsense(call, data.draw(nonsense))
