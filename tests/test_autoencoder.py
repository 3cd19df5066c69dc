"""The estimators: what they learn, and how they behave in a program."""

import copy
import pickle

import numpy as np
import pytest
from helpers import table

import npae

pytestmark = pytest.mark.usefixtures("backend")


QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 2, "batch_size": 16, "random_state": 0}


# --- what it must be able to learn --------------------------------------------------------------------


def test_a_linear_autoencoder_reaches_the_pca_subspace_and_never_beats_it():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((8, 8)))
    X = rng.standard_normal((200, 8)) * [3, 2.5, 2, 0.5, 0.4, 0.3, 0.2, 0.1] @ rotation + 1.0
    pca = npae.PCA(3).fit(X)
    best = -pca.score(X)
    angles = []
    for epochs in (0, 500, 3000):
        optimizer = npae.Adam(npae.Cosine(0.03))
        linear = npae.AE(
            hidden=(), latent_dim=3, optimizer=optimizer, epochs=epochs, batch_size=200, random_state=0
        ).fit(X)
        ours = -linear.score(X)
        assert ours >= best * (1 - 1e-12)
        V, _ = np.linalg.qr(linear.decoder_.layers[-1].W.value.T)
        cosines = np.linalg.svd(pca.components_ @ V)[1]
        angles.append(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())
    assert ours <= best * 1.01
    assert angles[0] > 30 > 1 > angles[1] > 5 * angles[2]


@pytest.mark.parametrize(
    ("loss", "output"), [("mse", "linear"), ("bce", "linear"), (npae.SSIM((28, 28)), "sigmoid")], ids=str
)
def test_twenty_digits_can_be_learned_by_heart(loss, output):
    X = npae.datasets.digits()[0][:20]
    ae = npae.AE(
        hidden=(64,), latent_dim=20, loss=loss, output=output,
        optimizer=npae.Adam(npae.Cosine(0.01)), epochs=400, batch_size=20, random_state=0,
    ).fit(X)  # fmt: skip
    floor = npae.BCE()(np.log((X + 1e-12) / (1 - X + 1e-12)), X)[0] if loss == "bce" else 0.0
    begin, end = ae.history_.loss[0] - floor, -ae.score(X) - floor
    assert end < 0.03 * begin
    if loss != npae.SSIM((28, 28)):  # SSIM may be pleased with what squared error is not
        assert np.square(ae.reconstruct(X) - X).sum(axis=1).mean() < 0.01 * np.square(X).sum(axis=1).mean()


def test_a_denoising_autoencoder_cleans_what_it_was_not_trained_on():
    X, X_test = (part[:1500] for part in npae.datasets.digits())
    noise = npae.GaussianNoise(0.5, clip=(0, 1))
    dae = npae.DAE(
        hidden=(64,), latent_dim=32, activation="elu", output="sigmoid", corruption=noise,
        optimizer=npae.Adam(3e-3), epochs=8, batch_size=32, random_state=0,
    ).fit(X)  # fmt: skip
    noisy = noise(X_test, np.random.default_rng(1))
    before, after = (np.square(A - X_test).mean() for A in (noisy, dae.denoise(noisy)))
    assert after < before / 3


def test_the_denoising_loss_compares_with_the_clean_x():
    X = table()
    offset = npae.DAE(**QUICK, corruption=lambda x, rng: x + 10.0)
    offset.set_params(epochs=150, optimizer=npae.Adam(0.01)).fit(X)
    assert abs(offset.reconstruct(X + 10.0) - X).mean() < 0.15
    inputs, target = offset.objective(X, np.random.default_rng(0))[2:]
    np.testing.assert_allclose(inputs, X + 10.0)
    np.testing.assert_array_equal(target, X)


def test_every_epoch_shows_every_row_once_and_in_a_new_order():
    X, batches = table(), []

    def watching(x, rng):
        batches.append(x.copy())
        return x

    npae.DAE(**QUICK, corruption=watching).fit(X)
    assert [len(batch) for batch in batches] == 2 * [16, 16, 16, 12]
    first, second = np.vstack(batches[:4]), np.vstack(batches[4:])
    for epoch in (first, second):
        np.testing.assert_array_equal(np.unique(epoch, axis=0), np.unique(X, axis=0))
        assert (epoch != X).any()
    assert (first != second).any()


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
def test_each_batch_has_noise_of_its_own_whatever_epoch_it_is_of(corruption):
    X = np.full((40, 6), 0.5)  # rows that are all the same: what differs is the noise
    still = QUICK | {"optimizer": npae.SGD(0.0), "batch_size": 20, "corruption": corruption}
    one, two = npae.DAE(**still).fit(X[:20]).history_.loss  # a batch in each of two epochs
    assert one != two
    (both,) = npae.DAE(**(still | {"epochs": 1})).fit(X).history_.loss  # two batches in one
    assert both == pytest.approx((one + two) / 2, rel=1e-12)


def test_noise_is_drawn_afresh_for_every_batch():
    seen = []

    def watching(x, rng):
        seen.append(rng.standard_normal(3))
        return x

    npae.DAE(**QUICK, corruption=watching).fit(table())
    assert len(seen) == 8  # 2 epochs of 4 batches
    assert len({draw[0] for draw in seen}) == 8


# --- the interface ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_dtypes_and_names(make, dtype):
    X = table(dtype=dtype)
    model = make(**QUICK)
    assert model.fit(X) is model
    Z = model.encode(X)
    assert (Z.shape, Z.dtype) == ((60, 2), dtype)
    assert (model.decode(Z).shape, model.decode(Z).dtype) == ((60, 6), dtype)
    np.testing.assert_array_equal(model.transform(X), Z)
    np.testing.assert_array_equal(model.inverse_transform(Z), model.reconstruct(X))
    np.testing.assert_array_equal(make(**QUICK).fit_transform(X), Z)
    assert model.n_features_in_ == 6
    assert len(model.history_.loss) == len(model.history_.seconds) == 2
    assert model.score(X) < 0
    assert all(p.value.dtype == dtype for p in model.network_.parameters())


def test_all_parameters_are_views_of_one_vector():
    parameters = npae.AE(**QUICK).fit(table()).network_.parameters()
    base = parameters[0].value.base
    assert base.ndim == 1
    assert all(p.value.base is base for p in parameters)
    assert all(p.grad.base is parameters[0].grad.base for p in parameters)


def test_bce_reconstructs_probabilities_and_scores_logits():
    X = table()
    ae = npae.AE(**QUICK, loss="bce").fit(X)
    Z = ae.encode(X)
    logits = ae.decoder_.forward(Z)
    np.testing.assert_allclose(ae.decode(Z), 1 / (1 + np.exp(-logits)), rtol=1e-12)
    assert ae.score(X) == pytest.approx(-npae.BCE()(logits, X)[0], rel=1e-12)
    same = npae.AE(**QUICK, loss="bce", output="sigmoid").fit(X)
    np.testing.assert_array_equal(same.encode(X), Z)


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_the_seed_fixes_every_bit_and_fit_starts_anew(make):
    X = table()
    first = make(**QUICK).fit(X)
    codes = first.encode(X)
    np.testing.assert_array_equal(make(**QUICK).fit(X).encode(X), codes)
    np.testing.assert_array_equal(first.fit(X).encode(X), codes)
    assert not np.array_equal(make(**(QUICK | {"random_state": 1})).fit(X).encode(X), codes)
    assert not np.array_equal(make(**(QUICK | {"random_state": None})).fit(X).encode(X), codes)


def test_a_generator_may_stand_for_the_seed():
    X = table()
    a, b = (npae.AE(**(QUICK | {"random_state": np.random.default_rng(5)})).fit(X).encode(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_a_generator_moves_on_with_a_fit_but_not_with_a_refusal():
    X, rng = table(), np.random.default_rng(5)
    ae = npae.AE(**(QUICK | {"random_state": rng}))
    for bad in (X * np.nan, X[:0]):
        with pytest.raises(ValueError, match="expected"):
            ae.fit(bad)
    with pytest.raises(ValueError, match="hidden"):
        ae.set_params(hidden=(0,)).fit(X)
    ae.set_params(hidden=QUICK["hidden"])
    codes = ae.fit(X).encode(X)
    np.testing.assert_array_equal(
        codes, npae.AE(**(QUICK | {"random_state": np.random.default_rng(5)})).fit(X).encode(X)
    )
    assert not np.array_equal(ae.fit(X).encode(X), codes)


def test_the_constructor_only_stores_and_parameters_can_be_read_and_set():
    nonsense = npae.AE(hidden=-3, latent_dim="two", loss=object, epochs=None)
    assert nonsense.hidden == -3
    dae = npae.DAE(hidden=(5, 4), corruption=npae.MaskingNoise(0.2))
    parameters = dae.get_params(deep=False)
    assert parameters["hidden"] == (5, 4)
    assert type(dae)(**parameters).get_params(deep=False) == parameters
    assert dae.set_params(latent_dim=3, epochs=1) is dae
    assert dae.latent_dim == 3
    assert repr(dae) == "DAE(hidden=(5, 4), latent_dim=3, epochs=1, corruption=MaskingNoise(fraction=0.2))"
    assert set(npae.AE().get_params()) == set(npae.DAE().get_params()) - {"corruption"}
    assert npae.AE().get_params() == {k: v for k, v in npae.DAE().get_params().items() if k != "corruption"}


def test_validation_loss_is_recorded_and_falls():
    X, V = table(), table(seed=1)
    history = npae.AE(**(QUICK | {"epochs": 30})).fit(X, validation=V).history_
    assert len(history.validation_loss) == 30
    assert history.validation_loss[-1] < history.validation_loss[0]
    ae = npae.AE(**QUICK).fit(X, validation=V)
    assert ae.history_.validation_loss[-1] == pytest.approx(-ae.score(V), rel=1e-12)


def test_a_denoising_autoencoder_is_validated_under_noise_that_stays_the_same():
    X = table()
    still = npae.DAE(**(QUICK | {"epochs": 3}), optimizer=npae.SGD(0.0)).fit(X, validation=X)
    losses = still.history_.validation_loss
    assert losses[0] == losses[1] == losses[2]
    assert losses[0] != pytest.approx(-still.score(X), rel=1e-3)


def test_validation_data_do_not_change_what_is_learned():
    X = table()
    plain, watched = npae.DAE(**QUICK).fit(X), npae.DAE(**QUICK).fit(X, validation=table(seed=1))
    np.testing.assert_array_equal(plain.encode(X), watched.encode(X))


def test_the_first_loss_is_that_of_the_network_as_it_begins():
    X = table()
    ae = npae.AE(**(QUICK | {"epochs": 1, "batch_size": 1000}))
    begin = npae.AE(**(QUICK | {"epochs": 0})).fit(X)
    assert ae.fit(X).history_.loss[0] == pytest.approx(-begin.score(X), rel=1e-12)


def test_a_cosine_runs_over_all_steps_and_ends_at_zero():
    rate = npae.Cosine(0.1)
    rates = npae.AE(**QUICK, optimizer=npae.Adam(rate)).fit(table()).history_.learning_rate
    assert rates == [rate(3 / 7), 0]  # the fourth and the eighth of eight steps


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_a_score_is_minus_the_mean_loss_over_all_clean_rows_however_many_blocks_they_fill(make):
    X = table(600)
    X[512:] *= 5  # harder than those of the whole blocks before them
    ae = make(**QUICK).fit(X[:60])
    assert ae.score(X) == pytest.approx(-np.square(ae.reconstruct(X) - X).mean(), rel=1e-12)


def test_more_rows_than_fit_in_one_block_give_the_same_codes():
    X = table(2500)
    ae = npae.AE(**QUICK).fit(X[:100])
    one_by_one = np.vstack([ae.encode(X[i : i + 1]) for i in range(2500)])
    # A BLAS may sum a block in another order than a row, and where the terms cancel only their own digits are left.
    np.testing.assert_allclose(ae.encode(X), one_by_one, rtol=1e-10, atol=1e-14 * abs(one_by_one).max())


# --- your own networks --------------------------------------------------------------------------------


def own_networks(dtype=np.float64):
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0, dtype=dtype), npae.ELU(), npae.Dense(5, 2, rng=1, dtype=dtype))
    decoder = npae.Sequential(npae.Dense(2, 6, rng=2, dtype=dtype), npae.Sigmoid())
    return encoder, decoder


def test_your_own_networks_are_trained_as_copies_that_start_from_their_weights():
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


def test_your_own_networks_decide_the_dtype_unless_you_do():
    encoder, decoder = own_networks(np.float32)
    own = npae.DAE(encoder=encoder, decoder=decoder, epochs=1)
    assert own.fit(table()).encode(table()).dtype == np.float32
    assert own.set_params(dtype=np.float64).fit(table()).encode(table()).dtype == np.float64


def test_names_of_parameters_follow_the_outermost_network():
    inner = npae.Sequential(npae.Dense(3, 2, rng=0))
    npae.Sequential(inner, npae.Tanh())
    assert [p.name for p in npae.Sequential(npae.Tanh(), inner).parameters()] == ["1.0.W", "1.0.b"]


def test_objects_may_stand_for_every_name():
    ae = npae.AE(
        hidden=5, latent_dim=2, activation=npae.LeakyReLU(0.2), output=npae.Sigmoid(), loss=npae.MSE(),
        optimizer=npae.SGD(0.1, momentum=0.9), epochs=1, batch_size=8, random_state=0,
    ).fit(table())  # fmt: skip
    assert repr(ae.encoder_) == "Sequential(Dense(6, 5), LeakyReLU(0.2), Dense(5, 2))"
    assert repr(ae.decoder_) == "Sequential(Dense(2, 5), LeakyReLU(0.2), Dense(5, 6), Sigmoid())"
    assert ae.encoder_.layers[1] is not ae.activation


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        ("relu", npae.ReLU),
        ("leaky_relu", npae.LeakyReLU),
        ("elu", npae.ELU),
        ("sigmoid", npae.Sigmoid),
        ("tanh", npae.Tanh),
        ("linear", npae.Identity),
    ],
)
def test_a_name_stands_for_the_activation_of_that_name(activation, kind):
    ae = npae.AE(**(QUICK | {"epochs": 0}), activation=activation).fit(table())
    assert type(ae.encoder_.layers[1]) is kind


@pytest.mark.parametrize(
    ("name", "corruption"),
    [("gaussian", npae.GaussianNoise()), ("masking", npae.MaskingNoise()), ("salt_and_pepper", npae.SaltAndPepper())],
)
def test_a_name_stands_for_the_corruption_of_that_name(name, corruption):
    X = table()
    noisy = npae.DAE(**QUICK, corruption=name).fit(X).objective(X, np.random.default_rng(5)).inputs
    np.testing.assert_array_equal(noisy, corruption(X, np.random.default_rng(5)))


def test_the_decoder_has_the_widths_of_the_encoder_in_reverse():
    ae = npae.AE(hidden=(5, 4, 3), latent_dim=2, activation="tanh", epochs=0).fit(table())
    assert repr(ae.encoder_) == "Sequential(Dense(6, 5), Tanh(), Dense(5, 4), Tanh(), Dense(4, 3), Tanh(), Dense(3, 2))"
    assert repr(ae.decoder_) == "Sequential(Dense(2, 3), Tanh(), Dense(3, 4), Tanh(), Dense(4, 5), Tanh(), Dense(5, 6))"


@pytest.mark.parametrize(
    ("activation", "gain"), [("relu", 2), ("leaky_relu", 2), ("elu", 2), ("sigmoid", 1), ("tanh", 1), ("linear", 1)]
)
def test_weights_begin_as_what_comes_after_them_asks_and_biases_at_zero(activation, gain):
    n = 200  # the widths are all the same: He's variance is 2 / n, Glorot's 1 / n
    ae = npae.AE(hidden=(n,), latent_dim=n, activation=activation, epochs=0, random_state=0).fit(np.ones((1, n)))
    weights = [p.value for p in ae.network_.parameters() if p.name.endswith("W")]
    bent, code, bent_too, output = (n * W.var() for W in weights)
    assert [bent, code, bent_too, output] == pytest.approx([gain, 1, gain, 1], rel=0.05)
    assert all(abs(W.mean()) < 5 * W.std() / n for W in weights)
    assert all((p.value == 0).all() for p in ae.network_.parameters() if p.name.endswith("b"))


def test_no_two_layers_begin_alike_and_no_two_seeds():
    X = np.ones((1, 6))
    same = {"hidden": (6,), "latent_dim": 6, "epochs": 0}
    seeds = [npae.AE(**same, random_state=seed).fit(X).network_.parameters() for seed in (0, 1)]
    weights = [p.value.tobytes() for parameters in seeds for p in parameters if p.name.endswith("W")]
    assert len(set(weights)) == 8


# --- divergence ---------------------------------------------------------------------------------------


def test_divergence_names_the_epoch_and_remedies_and_keeps_the_earlier_fit():
    X = table()
    ae = npae.AE(**QUICK).fit(X)
    before = ae.encode(X)
    wild = npae.SGD(1e30)
    with pytest.raises(RuntimeError, match=r"in epoch \d+: it diverged. Lower the learning rate \(now 1e\+30\)"):
        ae.set_params(optimizer=wild, epochs=50).fit(X)
    np.testing.assert_array_equal(ae.encode(X), before)


def test_a_validation_loss_that_is_not_finite_is_noticed():
    far = np.full((3, 6), 1e30, np.float32)
    with pytest.raises(RuntimeError, match="a validation loss of inf in epoch 1"):
        npae.AE(**QUICK).fit(table(dtype=np.float32), validation=far)


def test_a_step_that_diverges_last_is_noticed_too():
    with pytest.raises(RuntimeError, match="a parameter that is not finite in epoch 1"):
        npae.AE(**(QUICK | {"epochs": 1, "batch_size": 1000, "dtype": np.float32}), optimizer=npae.SGD(1e300)).fit(
            table()
        )


def test_models_can_be_copied_and_pickled_and_trained_again():
    X = table()
    dae = npae.DAE(**QUICK).fit(X)
    for twin in (copy.deepcopy(dae), pickle.loads(pickle.dumps(dae))):
        np.testing.assert_array_equal(twin.encode(X), dae.encode(X))
        np.testing.assert_array_equal(twin.fit(X).encode(X), dae.encode(X))


# --- progress ---------------------------------------------------------------------------------------------


def test_silence_unless_asked_or_on_a_terminal(capsys, monkeypatch):
    X = table()
    npae.AE(**QUICK).fit(X)
    assert capsys.readouterr() == ("", "")
    npae.AE(**QUICK, verbose=True).fit(X, validation=X)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss 0.")
    assert "validation 0." in lines[1]
    assert lines[1].endswith("0 s left")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    npae.AE(**QUICK).fit(X)
    written = capsys.readouterr().err
    assert written.count("\r") == 2
    assert written.count("\n") == 1
    npae.AE(**QUICK, verbose=False).fit(X)
    assert capsys.readouterr().err == ""
