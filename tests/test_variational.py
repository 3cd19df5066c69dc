"""The variational autoencoder: its bound is a bound, its codes fill the prior, and it keeps every convention."""

import numpy as np
import pytest
from helpers import QUICK, learned, refuses, table

import npae
from npae.variational import DRAWS, ROWS_AT_ONCE, noise_of_rows

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(scope="module")
def digits():
    X = npae.datasets.digits()[0]
    return X[:2000], X[2000:2200]


@pytest.fixture(scope="module")
def trained(digits):
    adam = npae.Adam(npae.Cosine(3e-3))
    return npae.VAE((64,), 5, loss="bce", optimizer=adam, epochs=15, random_state=0).fit(digits[0])


# --- the bound -------------------------------------------------------------------------------------------------------


def test_a_linear_vae_reaches_the_likelihood_of_probabilistic_pca_and_not_more():
    """Tipping and Bishop, 1999: no linear model with Gaussian noise can be more likely."""
    rng, d, k = np.random.default_rng(0), 6, 2
    X = rng.normal(size=(2000, k)) @ rng.normal(size=(k, d)) + 0.5 * rng.normal(size=(2000, d)) + rng.normal(size=d)
    variances = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    noise = variances[k:].mean()
    best = -(d * np.log(2 * np.pi) + np.log(variances[:k]).sum() + (d - k) * np.log(noise) + d) / 2
    adam = npae.Adam(npae.Cosine(0.1))
    vae = npae.VAE((), k, optimizer=adam, epochs=150, batch_size=100, random_state=0).fit(X)
    assert vae.loss_.std == pytest.approx(np.sqrt(noise), rel=1e-9)
    (layer,) = vae.decoder_.layers
    covariance, r = layer.W.value.T @ layer.W.value + noise * np.eye(d), X - layer.b.value
    likelihood = -(d * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1]) / 2
    likelihood -= np.einsum("ni,ij,nj->n", r, np.linalg.inv(covariance), r).mean() / 2
    assert best - 1e-3 < likelihood <= best + 1e-9
    assert best - 0.05 < vae.score(X) < best  # the bound is tight, since the posterior is Gaussian
    estimate = vae.log_likelihood(X[:200], samples=300).mean()
    exact = -(d * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1]) / 2
    exact -= np.einsum("ni,ij,nj->n", r[:200], np.linalg.inv(covariance), r[:200]).mean() / 2
    assert estimate == pytest.approx(exact, abs=0.01)
    mu, variance = np.split(vae.encoder_.forward(X), 2, axis=1)[0], np.exp(vae.encoder_.forward(X)[:, k:])
    np.testing.assert_allclose(mu.mean(axis=0), 0, atol=0.05)  # the codes of all data together fill the prior
    np.testing.assert_allclose(mu.var(axis=0) + variance.mean(axis=0), 1, atol=0.05)


def test_the_importance_sampled_likelihood_grows_with_the_samples(trained, digits):
    X = digits[1][:60]
    once, some, many = (trained.log_likelihood(X, samples=n).mean() for n in (1, 10, 300))
    assert once < some < many
    bound = np.mean([trained.log_likelihood(X, samples=1, random_state=i).mean() for i in range(20)])
    assert bound == pytest.approx(trained.score(X), abs=1.0)
    np.testing.assert_array_equal(trained.log_likelihood(X[:3], samples=5), trained.log_likelihood(X[:3], samples=5))


def test_the_score_is_the_bound_in_nats_per_row():
    """Written out: the likelihood of a row under draws of z, minus the divergence; β does not enter."""
    X = table(10)
    vae = npae.VAE(**QUICK, loss="bce", beta=7.0).fit(X)
    H = vae.encoder_.forward(X)
    mu, log_variance = H[:, :2], H[:, 2:]
    log_p = np.zeros(10)
    for e in noise_of_rows(X, 2):
        logits = vae.decoder_.forward(mu + np.exp(log_variance / 2) * e)
        log_p += (X * logits - np.log1p(np.exp(logits))).sum(axis=1) / DRAWS
    kl = (mu**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1) / 2
    assert vae.score(X) == pytest.approx((log_p - kl).mean(), rel=1e-12)
    weight = np.arange(10.0)
    assert vae.score(X, sample_weight=weight) == pytest.approx(np.average(log_p - kl, weights=weight), rel=1e-12)


def test_each_row_draws_normal_noise_of_its_own():
    X = np.random.default_rng(0).random((2000, 3))
    noise = noise_of_rows(X, 2)
    assert noise.shape == (DRAWS, 2000, 2)
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.03
    np.testing.assert_array_equal(noise_of_rows(X[[5, 9]], 2), noise[:, [5, 9]])


def test_the_history_holds_the_loss_with_beta():
    X, still = table(64), npae.SGD(0.0)
    losses = [
        npae.VAE(**QUICK | {"batch_size": 64}, beta=beta, loss="bce", optimizer=still).fit(X).history_.loss[0]
        for beta in (0.0, 1.0, 3.0)
    ]
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-9)
    assert losses[1] > losses[0]


def test_the_validation_loss_is_the_same_bound_under_the_same_noise_in_each_epoch():
    X, still = table(300), npae.SGD(0.0)
    vae = npae.VAE(**QUICK | {"epochs": 3}, optimizer=still, loss="bce").fit(X, validation=X)
    first, *others = vae.history_.validation_loss
    assert others == [first, first]
    assert first == pytest.approx(-vae.score(X), rel=0.05)


# --- codes and samples -----------------------------------------------------------------------------------------------


def test_codes_and_reconstructions_are_those_of_the_mean(trained, digits):
    X = digits[1]
    H = trained.encoder_.forward(X)
    np.testing.assert_allclose(trained.encode(X), H[:, :5], rtol=1e-5, atol=1e-5)
    assert trained.encode(X).flags.c_contiguous
    np.testing.assert_array_equal(trained.encode(X), trained.transform(X))
    np.testing.assert_allclose(trained.reconstruct(X), trained.decode(trained.encode(X)), rtol=1e-4, atol=1e-5)


def test_samples_are_decoded_codes_from_the_prior(trained):
    images = trained.sample(50, random_state=3)
    assert images.shape == (50, 784)
    assert 0 <= images.min() <= images.max() <= 1
    codes = np.random.default_rng(3).standard_normal((50, 5)).astype(np.float32)
    np.testing.assert_array_equal(images, trained.decode(codes))


def test_more_beta_makes_codes_say_less():
    X, kl = table(300), []
    settings = {"optimizer": npae.Adam(0.01), "epochs": 40, "random_state": 0}
    for beta in (0.1, 10.0):
        vae = npae.VAE((8,), 2, loss=npae.Gaussian(0.1), beta=beta, **settings).fit(X)
        kl.append(npae.GaussianKL()(vae.encoder_.forward(X))[0])
    assert kl[1] < kl[0] / 2


def test_the_noise_of_real_valued_data_comes_from_the_data():
    X = table(400)
    vae = npae.VAE(**QUICK).fit(X)
    assert 0.01 < vae.loss_.std < X.std()
    assert npae.VAE(**QUICK, loss=npae.Gaussian(0.3)).fit(X).loss_ == npae.Gaussian(0.3)
    again = npae.VAE(**QUICK | {"epochs": 4}).fit(X).partial_fit(10 * X)  # which does not change the loss
    assert again.loss_.std == vae.loss_.std


def test_own_networks_end_in_two_numbers_for_each_number_of_the_code():
    encoder, decoder = npae.Sequential(npae.Dense(6, 4, rng=0)), npae.Sequential(npae.Dense(2, 6, rng=1))
    vae = npae.VAE(latent_dim=2, encoder=encoder, decoder=decoder, epochs=1).fit(table())
    assert vae.encode(table()).shape == (60, 2)
    wrong = npae.VAE(latent_dim=3, encoder=encoder, decoder=decoder, epochs=1)
    refuses(lambda: wrong.fit(table()), ValueError, "GaussianCode(3)", "4 outputs")


# --- conventions ---------------------------------------------------------------------------------------------------


def test_the_score_of_each_row_is_its_bound_and_the_score_their_mean():
    X = table(2 * ROWS_AT_ONCE + 5)
    vae = npae.VAE(**QUICK, loss="bce").fit(X[:60])
    rows = vae.score_samples(X)
    assert (rows.shape, rows.dtype) == ((len(X),), np.float64)
    assert vae.score(X) == pytest.approx(rows.mean(), rel=1e-12)
    np.testing.assert_array_equal(vae.score_samples(X), rows)
    np.testing.assert_allclose(vae.score_samples(X[:60][::-1])[::-1], rows[:60], rtol=1e-12)  # each row alone


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_memory_map_gives_the_bits_of_an_array(dtype, tmp_path):
    X = table(dtype=dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    ours, theirs = (npae.VAE(**QUICK).fit(x) for x in (mapped, X))
    assert learned(ours) == learned(theirs)
    for use in ("encode", "reconstruct", "score_samples", "log_likelihood"):
        np.testing.assert_array_equal(getattr(ours, use)(mapped), getattr(theirs, use)(X))
    assert ours.encode(X).dtype == dtype


def test_partial_fits_are_the_epochs_of_a_fit():
    X, by_epoch = table(), npae.VAE(**QUICK, loss="bce")
    for _ in range(2):
        by_epoch.partial_fit(X)
    np.testing.assert_array_equal(by_epoch.encode(X), npae.VAE(**QUICK, loss="bce").fit(X).encode(X))


def test_weights_of_rows_count_in_both_terms():
    """Two fits that draw the same noise and do not move, with and without the divergence."""
    X, w, still = table(), np.arange(60) % 3, npae.SGD(0.0)
    vae = npae.VAE(**QUICK | {"batch_size": 60, "epochs": 1}, optimizer=still, loss="bce").fit(X, sample_weight=w)
    h = vae.encoder_.forward(X)
    kl, _ = npae.GaussianKL()(h, sample_weight=w)
    plain = npae.VAE(**QUICK | {"batch_size": 60, "epochs": 1}, optimizer=still, loss="bce", beta=0.0)
    without = plain.fit(X, sample_weight=w).history_.loss[0]
    assert vae.history_.loss[0] - without == pytest.approx(kl, rel=1e-9)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"loss": "ssim"}, ValueError, ("VAE", "loss as one of ['bce', 'mse']", "'ssim'", "likelihood")),
        ({"loss": npae.MSE()}, ValueError, ("VAE", "Gaussian or a Bernoulli", "MSE()")),
        ({"beta": -1.0}, ValueError, ("VAE", "beta", "-1")),
        ({"beta": "much"}, TypeError, ("VAE", "beta as a real number", "'much'")),
        ({"latent_dim": 0}, ValueError, ("VAE", "latent_dim >= 1", "0")),
        ({"output": "sigmoid", "loss": "bce"}, None, ()),
        ({"output": "tanh", "loss": "bce"}, ValueError, ("VAE", "logits for BCE", "Tanh()")),
    ],
)
def test_a_bad_argument_is_refused_by_fit_and_keeps_what_was_learned(options, error, parts):
    vae = npae.VAE(**QUICK).fit(table())
    codes = vae.encode(table())
    vae.set_params(**options)
    if error is None:
        vae.fit(table())
    else:
        refuses(lambda: vae.fit(table()), error, *parts)
        np.testing.assert_array_equal(vae.encode(table()), codes)


def test_bad_input_of_its_own_methods_is_refused():
    vae = npae.VAE(**QUICK, loss="bce").fit(table())
    refuses(lambda: vae.sample(0), ValueError, "VAE", "n >= 1", "0")
    refuses(lambda: vae.sample(2.5), TypeError, "VAE", "n as a whole number")
    refuses(lambda: vae.sample(2, "seed"), TypeError, "VAE", "random_state")
    refuses(lambda: vae.log_likelihood(table(), samples=0), ValueError, "VAE", "samples >= 1")
    refuses(lambda: vae.log_likelihood(2 * table() + 1), ValueError, "targets in [0, 1]")
    for call in (lambda v: v.sample(1), lambda v: v.log_likelihood(table()), lambda v: v.score(table())):
        refuses(lambda call=call: call(npae.VAE()), RuntimeError, "VAE", "fitted first", "fit(X)")
