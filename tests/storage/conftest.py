"""Files of three models, which together hold every kind of value that a file can."""

import numpy as np
import pytest
from forgery import X

import npae


@pytest.fixture(scope="session")
def wholes(tmp_path_factory):
    pca = npae.PCA(2).fit(X)
    pca.feature_names_in_ = np.array(list("abcdef"), object)
    encoder = npae.Sequential(npae.Dense(6, 3, dtype=np.float64, rng=0), npae.ELU(0.7))
    decoder = npae.Sequential(npae.LeakyReLU(0.2), npae.Dense(3, 6, dtype=np.float64, rng=1))
    ae = npae.AE(
        encoder=encoder, decoder=decoder, epochs=1, loss=npae.SSIM((2, 3), window=2), patience=1,
        optimizer=npae.Adam(npae.Cosine(0.1)), random_state=np.random.Generator(np.random.Philox(3)),
    ).fit(X, validation=X)  # fmt: skip
    ae.training_.noise_rng = np.random.Generator(np.random.MT19937(1))
    dae = npae.DAE((4,), 2, epochs=1, corruption=npae.GaussianNoise(0.1, clip=(0, 1)), dtype=np.float32, random_state=0)
    files = {}
    for name, model in {"PCA": pca, "AE": ae, "DAE": dae.fit(X)}.items():
        path = tmp_path_factory.mktemp("wholes") / "model.npz"
        npae.save(model, path)
        files[name] = path.read_bytes()
    return files


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "model.npz"
