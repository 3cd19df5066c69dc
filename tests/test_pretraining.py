"""Greedy pretraining: each layer is an autoencoder of the layer below, and together they begin a deep one."""

import numpy as np
import pytest
from helpers import refuses, table

import npae

pytestmark = pytest.mark.usefixtures("backend")
DEEP = {"hidden": (5, 4), "latent_dim": 2, "activation": "tanh", "optimizer": npae.Adam(0.01), "random_state": 0}


def test_its_networks_have_the_layers_of_the_model():
    model = npae.AE(**DEEP, output="sigmoid", epochs=0)
    encoder, decoder = npae.pretrain(model, table())
    whole = model.fit(table())
    assert repr((encoder, decoder)) == repr((whole.encoder_, whole.decoder_))
    assert not hasattr(npae.AE(**DEEP), "training_")


def test_each_layer_is_an_autoencoder_of_the_codes_of_the_layer_below():
    X = table()
    encoder, decoder = npae.pretrain(npae.AE(**DEEP, epochs=200), X)
    H = X
    for i in (0, 2, 4):  # Dense, Tanh, Dense, Tanh, Dense
        f = npae.Sequential(*encoder.layers[i : i + 2])
        g = npae.Sequential(*decoder.layers[4 - i : 6 - i])
        restored = g.forward(f.forward(H))
        assert np.square(restored - H).mean() < 0.15 * H.var(axis=0).mean() + 1e-3
        H = f.forward(H)


def test_an_autoencoder_starts_from_the_pretrained_weights():
    X, start = table(200), {"epochs": 0, "random_state": 0}
    encoder, decoder = npae.pretrain(npae.AE(**DEEP, epochs=60), X)
    pretrained = npae.AE(encoder=encoder, decoder=decoder, **start).fit(X)
    assert pretrained.score(X) > 3 * npae.AE(**DEEP, epochs=0).fit(X).score(X)
    np.testing.assert_array_equal(pretrained.encode(X), encoder.forward(X))
    tuned = npae.AE(encoder=encoder, decoder=decoder, epochs=60, random_state=0).fit(X)
    assert tuned.score(X) > pretrained.score(X)


def test_the_first_layer_has_the_loss_of_the_model_and_the_last_its_code_and_penalty():
    model = npae.DAE(**DEEP, corruption="masking", loss="bce", code="sigmoid", penalty="kl", tied=True, epochs=3)
    encoder, decoder = npae.pretrain(model, table())
    assert repr(encoder.layers[-1]) == "Sigmoid()"
    assert repr(decoder.layers[-1]) == "TiedDense(5, 6)"  # logits
    ae = npae.AE(encoder=encoder, decoder=decoder, loss="bce", epochs=2).fit(table())
    assert ae.decoder_.layers[-1].W is ae.encoder_.layers[0].W


def test_pretrained_tied_networks_come_back_from_a_file(tmp_path):
    encoder, decoder = npae.pretrain(npae.AE(**DEEP, tied=True, epochs=2), table())
    ae = npae.AE(encoder=encoder, decoder=decoder, epochs=2, random_state=0).fit(table())
    npae.save(ae, tmp_path / "ae.npz")
    twin = npae.load(tmp_path / "ae.npz")
    np.testing.assert_array_equal(twin.encode(table()), ae.encode(table()))
    np.testing.assert_array_equal(twin.fit(table()).encode(table()), ae.encode(table()))


def test_one_seed_fixes_every_bit_and_the_model_is_not_changed():
    model = npae.AE(**DEEP, epochs=2)
    before = repr(model)
    first, second = (npae.pretrain(model, table())[0].forward(table()) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert repr(model) == before
    assert not hasattr(model, "encoder_")


def test_no_warning_blames_the_model_for_the_width_or_the_codes_of_one_layer(recwarn):
    wide = {"hidden": (8, 7), "latent_dim": 2, "activation": "sigmoid", "epochs": 1}
    X = table() + np.where(np.arange(6) < 3, 100, 0).astype(np.float32)  # saturates, so that the codes hardly vary
    encoder, decoder = npae.pretrain(npae.AE(**wide), X)
    assert not recwarn
    with pytest.warns(UserWarning, match="Scale X first"):
        npae.AE(encoder=encoder, decoder=decoder, epochs=1).fit(X)


def test_what_cannot_be_pretrained_is_refused():
    encoder, decoder = npae.pretrain(npae.AE(**DEEP, epochs=0), table())
    own = npae.AE(encoder=encoder, decoder=decoder)
    for wrong in (own, npae.VAE(), npae.PCA(), npae.AE, None):
        refuses(lambda wrong=wrong: npae.pretrain(wrong, table()), TypeError, "pretrain", "AE or a DAE", "`hidden`")
    refuses(lambda: npae.pretrain(npae.AE(**DEEP), table() * np.nan), ValueError, "pretrain", "finite X", "nan")
    refuses(lambda: npae.pretrain(npae.AE(**DEEP | {"hidden": (0,)}), table()), ValueError, ">= 1", "0")
