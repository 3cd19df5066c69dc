"""The network of a fit: built from the arguments, or a copy of the user's own."""

import numpy as np
import pytest
from helpers import table

import npae

pytestmark = pytest.mark.usefixtures("backend")


def test_the_decoder_has_the_widths_of_the_encoder_in_reverse():
    ae = npae.AE(hidden=(5, 4, 3), latent_dim=2, activation="tanh", epochs=0).fit(table())
    assert repr(ae.encoder_) == "Sequential(Dense(6, 5), Tanh(), Dense(5, 4), Tanh(), Dense(4, 3), Tanh(), Dense(3, 2))"
    assert repr(ae.decoder_) == "Sequential(Dense(2, 3), Tanh(), Dense(3, 4), Tanh(), Dense(4, 5), Tanh(), Dense(5, 6))"


@pytest.mark.parametrize(
    ("activation", "gain"), [("relu", 2), ("leaky_relu", 2), ("elu", 2), ("sigmoid", 1), ("tanh", 1), ("linear", 1)]
)
def test_the_activation_after_a_layer_decides_its_initial_weights(activation, gain):
    n = 200  # the widths are all the same: He's variance is 2 / n, Glorot's 1 / n
    ae = npae.AE(hidden=(n,), latent_dim=n, activation=activation, epochs=0, random_state=0).fit(np.ones((1, n)))
    weights = [p.value for p in ae.network_.parameters() if p.name.endswith("W")]
    bent, code, bent_too, output = (n * W.var() for W in weights)
    assert [bent, code, bent_too, output] == pytest.approx([gain, 1, gain, 1], rel=0.05)
    assert all(abs(W.mean()) < 5 * W.std() / n for W in weights)
    assert all((p.value == 0).all() for p in ae.network_.parameters() if p.name.endswith("b"))


def test_every_layer_and_every_seed_has_its_own_initial_weights():
    X = np.ones((1, 6))
    same = {"hidden": (6,), "latent_dim": 6, "epochs": 0}
    seeds = [npae.AE(**same, random_state=seed).fit(X).network_.parameters() for seed in (0, 1)]
    weights = [p.value.tobytes() for parameters in seeds for p in parameters if p.name.endswith("W")]
    assert len(set(weights)) == 8


# --- your own networks ---------------------------------------------------------------------------------------------


def own_networks(dtype=np.float64):
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0, dtype=dtype), npae.ELU(), npae.Dense(5, 2, rng=1, dtype=dtype))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=2, dtype=dtype), npae.Sigmoid())
    return encoder, decoder


def test_own_networks_are_trained_as_copies_that_start_from_their_weights():
    X = table()
    encoder, decoder = own_networks()
    before = [p.value.copy() for p in encoder.parameters() + decoder.parameters()]
    at_start = npae.AE(encoder=encoder, decoder=decoder, epochs=0).fit(X)
    np.testing.assert_array_equal(at_start.encode(X), encoder.forward(X))
    ae = npae.AE(encoder=encoder, decoder=decoder, epochs=40, batch_size=16, random_state=0).fit(X)
    assert ae.score(X) > at_start.score(X)
    for p, value in zip(encoder.parameters() + decoder.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.value, value)
    np.testing.assert_array_equal(ae.fit(X).encode(X), ae.fit(X).encode(X))
    assert npae.check_gradients(ae, X[:3], verbose=False).passed


def test_own_networks_decide_the_dtype_unless_it_is_given():
    encoder, decoder = own_networks(np.float32)
    own = npae.DAE(encoder=encoder, decoder=decoder, epochs=1)
    assert own.fit(table()).encode(table()).dtype == np.float32
    assert own.set_params(dtype=np.float64).fit(table()).encode(table()).dtype == np.float64


def test_own_networks_that_do_not_fit_the_data_or_each_other_are_refused():
    def model(n_in, code_out, code_in, n_out, **options):
        encoder, decoder = npae.Dense(n_in, code_out, rng=0), npae.Dense(code_in, n_out, rng=0)
        return npae.AE(encoder=npae.Sequential(encoder), decoder=npae.Sequential(decoder), epochs=1, **options)

    for ae, message in (
        (model(5, 2, 2, 6), r"X of shape \(n, 5\), got \(60, 6\)"),
        (model(6, 2, 2, 5), "returns the 6 columns of X"),
        (model(6, 2, 3, 6), "take the 2 outputs"),
        (npae.AE(encoder=npae.Sequential(npae.Tanh()), decoder=npae.Sequential(npae.Tanh())), "layers that learn"),
    ):
        with pytest.raises(ValueError, match=message):
            ae.fit(table())
        assert not hasattr(ae, "network_")


def test_a_network_for_bce_ends_in_logits():
    encoder, decoder = own_networks()
    ae = npae.AE(encoder=encoder, decoder=decoder, loss="bce", epochs=1)
    with pytest.raises(ValueError, match="ends in logits"):
        ae.fit(table())
    with pytest.raises(ValueError, match="ends in logits"):
        npae.AE(output="tanh", loss="bce").fit(table())
    built = npae.AE(output="sigmoid", loss="bce", epochs=0).fit(table())
    assert isinstance(built.decoder_.layers[-1], npae.Dense)


def shared():
    """Two layers that share one parameter: a way to tie weights that cannot work."""
    first, second = npae.Dense(6, 6, rng=0), npae.Dense(6, 6, rng=1)
    second.W = first.W
    return npae.Sequential(first), npae.Sequential(second)


def test_networks_that_share_a_parameter_are_refused():
    encoder, decoder = shared()
    ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1)
    with pytest.raises(ValueError, match="each parameter once"):
        ae.fit(table())
    assert not hasattr(ae, "network_")
