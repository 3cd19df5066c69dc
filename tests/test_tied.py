"""Tied weights: the decoder uses the encoder's, transposed, and both places count in their gradient."""

import copy

import numpy as np
import pytest
from helpers import batches, check, refuses, scatter, seeds, table, tied
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.tied import tie

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("method", ["central", "complex"])
@given(x=batches(), n_code=st.integers(1, 5), seed=seeds())
def test_tied_weights_have_the_gradient_of_both_places(method, x, n_code, seed):
    network = tied(x.shape[1], n_code, seed)
    scatter(network, np.random.default_rng(seed))
    check(network, x, f"TiedDense, {method}", method=method, random_state=seed)


def test_the_decoder_of_a_tied_autoencoder_is_the_encoder_transposed_before_and_after_training():
    ae = npae.AE((5, 4), 2, tied=True, epochs=3, random_state=0)
    for _ in range(2):
        ae.fit(table())
        encoder = [layer for layer in ae.encoder_.layers if isinstance(layer, npae.Dense)]
        decoder = [layer for layer in ae.decoder_.layers if isinstance(layer, npae.TiedDense)]
        assert len(decoder) == 3
        for f, g in zip(encoder, decoder[::-1], strict=True):
            assert g.W is f.W
            x = np.ones((2, g.n_in))
            np.testing.assert_allclose(g.forward(x), x @ f.W.value.T + g.b.value, rtol=1e-12)
    assert len(ae.network_.parameters()) == 9  # three W, six b


def test_a_copy_of_a_tied_network_is_tied_to_the_copy():
    network = copy.deepcopy(tied())
    encoder, decoder = network.layers
    encoder.W.value[...] = 0
    assert not decoder.forward(np.ones((1, 3))).any()


def test_own_networks_are_tied_by_the_fit_unless_they_are_already():
    encoder = npae.Sequential(npae.Dense(6, 3, rng=0), npae.Tanh(), npae.Dense(3, 3, rng=1))
    decoder = npae.Sequential(npae.TiedDense(3, 3), npae.TiedDense(3, 6))
    ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1).fit(table())
    assert [g.W is f.W for g, f in zip(ae.decoder_.layers, ae.encoder_.layers[::-2], strict=True)] == [True, True]
    assert decoder.layers[0].source is None  # fit works on copies
    decoder.layers[0].tie(npae.Dense(3, 3, rng=2))
    kept = decoder.layers[0].source
    tie(encoder, decoder)
    assert decoder.layers[0].source is kept


def test_a_linear_tied_autoencoder_reaches_the_subspace_of_pca():
    X = table() - table().mean(axis=0)
    adam = npae.Adam(npae.Cosine(0.05))
    ae = npae.AE((), 2, tied=True, optimizer=adam, epochs=300, batch_size=60, random_state=0).fit(X)
    assert npae.PCA(2).fit(X).score(X) >= ae.score(X) > 1.01 * npae.PCA(2).fit(X).score(X)


def test_a_tied_layer_refuses_a_source_that_it_cannot_mirror():
    layer = npae.TiedDense(3, 4)
    refuses(lambda: layer.forward(np.ones((1, 3))), RuntimeError, "TiedDense", "source", "none", "tie(dense)")
    for wrong in (npae.Dense(3, 4, rng=0), npae.ReLU(), None):
        refuses(lambda wrong=wrong: layer.tie(wrong), ValueError, "TiedDense", "Dense(4, 3)", "mirrors")
    refuses(lambda: npae.TiedDense(0, 4), ValueError, "TiedDense", "n_in >= 1")
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0), npae.Dense(5, 3, rng=1))
    refuses(lambda: tie(encoder, npae.Sequential(npae.TiedDense(3, 6))), ValueError, "each of the encoder's 2", "1")
    refuses(lambda: npae.AE(tied="yes").fit(table()), TypeError, "AE", "tied as True or False", "'yes'")
