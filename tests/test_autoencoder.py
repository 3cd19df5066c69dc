"""AE and DAE: what they learn, and how they behave in a program."""

import copy
import pickle

import numpy as np
import pytest
from helpers import table

import npae

pytestmark = pytest.mark.usefixtures("backend")

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 2, "batch_size": 16, "random_state": 0}


# --- what they learn -----------------------------------------------------------------------------------------------


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
def test_an_autoencoder_overfits_twenty_digits(loss, output):
    X = npae.datasets.digits()[0][:20]
    ae = npae.AE(
        hidden=(64,), latent_dim=20, loss=loss, output=output,
        optimizer=npae.Adam(npae.Cosine(0.01)), epochs=400, batch_size=20, random_state=0,
    ).fit(X)  # fmt: skip
    floor = npae.BCE()(np.log((X + 1e-12) / (1 - X + 1e-12)), X)[0] if loss == "bce" else 0.0
    begin, end = ae.history_.loss[0] - floor, -ae.score(X) - floor
    assert end < 0.03 * begin
    if loss != npae.SSIM((28, 28)):  # a low SSIM loss does not imply a low squared error
        assert np.square(ae.reconstruct(X) - X).sum(axis=1).mean() < 0.01 * np.square(X).sum(axis=1).mean()


def test_a_denoising_autoencoder_cleans_unseen_digits():
    X, X_test = (part[:1500] for part in npae.datasets.digits())
    noise = npae.GaussianNoise(0.5, clip=(0, 1))
    dae = npae.DAE(
        hidden=(64,), latent_dim=32, activation="elu", output="sigmoid", corruption=noise,
        optimizer=npae.Adam(3e-3), epochs=8, batch_size=32, random_state=0,
    ).fit(X)  # fmt: skip
    noisy = noise(X_test, np.random.default_rng(1))
    before, after = (np.square(A - X_test).mean() for A in (noisy, dae.denoise(noisy)))
    assert after < before / 3


def test_the_target_of_a_denoising_autoencoder_is_the_clean_x():
    X = table()
    offset = npae.DAE(**QUICK, corruption=lambda x, rng: x + 10.0)
    offset.set_params(epochs=150, optimizer=npae.Adam(0.01)).fit(X)
    assert abs(offset.reconstruct(X + 10.0) - X).mean() < 0.15
    inputs, target = offset.objective(X, np.random.default_rng(0))[2:]
    np.testing.assert_allclose(inputs, X + 10.0)
    np.testing.assert_array_equal(target, X)


# --- the interface -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_have_the_shapes_and_the_dtype_of_the_data(make, dtype):
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


def test_bce_reconstructs_probabilities_and_scores_logits():
    X = table()
    ae = npae.AE(**QUICK, loss="bce").fit(X)
    Z = ae.encode(X)
    logits = ae.decoder_.forward(Z)
    np.testing.assert_allclose(ae.decode(Z), 1 / (1 + np.exp(-logits)), rtol=1e-12)
    assert ae.score(X) == pytest.approx(-npae.BCE()(logits, X)[0], rel=1e-12)
    same = npae.AE(**QUICK, loss="bce", output="sigmoid").fit(X)
    np.testing.assert_array_equal(same.encode(X), Z)


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


def test_a_model_can_be_copied_pickled_and_trained_again():
    X = table()
    dae = npae.DAE(**QUICK).fit(X)
    for twin in (copy.deepcopy(dae), pickle.loads(pickle.dumps(dae))):
        np.testing.assert_array_equal(twin.encode(X), dae.encode(X))
        np.testing.assert_array_equal(twin.fit(X).encode(X), dae.encode(X))


def test_every_name_may_be_an_object():
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


def test_the_objective_of_an_autoencoder_is_minus_its_score():
    ae = npae.AE(**QUICK).fit(table())
    network, loss, inputs, target = ae.objective(table())
    assert loss(network.forward(inputs), target)[0] == pytest.approx(-ae.score(table()), rel=1e-12)
