"""What is saved comes back, bit for bit; what cannot be saved or loaded says why."""

import json
import os

import numpy as np
import pytest

import npae

X = np.random.default_rng(0).random((30, 6))
QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 2, "batch_size": 8, "random_state": 0}


def own():
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0), npae.LeakyReLU(0.3), npae.Dense(5, 2, rng=1))
    decoder = npae.Sequential(npae.Dense(2, 4, rng=2), npae.ELU(0.7), npae.Dense(4, 6, rng=3), npae.Sigmoid())
    return {"encoder": encoder, "decoder": decoder, "epochs": 2, "random_state": 0}


MODELS = {
    "AE": lambda: npae.AE(**QUICK),
    "AE, bce, float32": lambda: npae.AE(**QUICK, loss="bce", dtype="float32"),
    "AE, ssim": lambda: npae.AE(**QUICK, loss=npae.SSIM((2, 3), window=2), output=npae.Sigmoid()),
    "AE, schedule": lambda: npae.AE(**QUICK, optimizer=npae.SGD(npae.Cosine(0.1), momentum=0.9, nesterov=True)),
    "AE, own networks": lambda: npae.AE(**own()),
    "DAE": lambda: npae.DAE(**QUICK, corruption=npae.GaussianNoise(0.2, clip=(0, 1)), activation="elu"),
    "DAE, by name": lambda: npae.DAE(**QUICK, corruption="salt_and_pepper", activation=npae.LeakyReLU(0.2)),
    "AE, dtype a type": lambda: npae.AE(**QUICK, dtype=float),
    "PCA": lambda: npae.PCA(3),
}


def dtype_of(model):
    """However it was spelled."""
    return {} if getattr(model, "dtype", None) is None else {"dtype": np.dtype(model.dtype)}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_bit_for_bit(name, tmp_path):
    model = MODELS[name]().fit(X)
    npae.save(model, tmp_path / "model.npz")
    twin = npae.load(tmp_path / "model.npz")
    assert type(twin) is type(model)
    assert repr(twin.set_params(**dtype_of(twin)).get_params()) == repr(
        model.set_params(**dtype_of(model)).get_params()
    )
    for use in ("encode", "reconstruct"):
        np.testing.assert_array_equal(getattr(twin, use)(X), getattr(model, use)(X))
    assert twin.score(X) == model.score(X)
    if name != "PCA":
        assert twin.history_ == model.history_
        assert twin.encoder_ is twin.network_.layers[0]
        assert len({id(p.value.base) for p in twin.network_.parameters()}) == 1
        np.testing.assert_array_equal(twin.fit(X).encode(X), model.encode(X))


def test_the_file_is_plain_numpy_and_json(tmp_path):
    npae.save(npae.AE(**QUICK).fit(X), tmp_path / "ae.npz")
    with np.load(tmp_path / "ae.npz", allow_pickle=False) as data:
        header = json.loads(data["header"].tobytes())
        assert header["class"] == "AE"
        assert header["parameters"]["latent_dim"] == 2
        assert all(data[name].dtype == np.float64 for name in data.files if name != "header")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (npae.DAE(**QUICK, corruption=lambda x, rng: x), "corruption"),
        (npae.AE(**(QUICK | {"random_state": np.random.default_rng(0)})), "random_state"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_and_the_old_file_stays(model, name, tmp_path):
    path = tmp_path / "model.npz"
    npae.save(npae.PCA(1).fit(X), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=rf"save expected {name} to be .* got .*set_params\({name}=\.\.\.\)"):
        npae.save(model.fit(X), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Doubled(npae.MSE):
    def value_and_gradient(self, prediction, target):
        value, grad = super().value_and_gradient(prediction, target)
        return 2 * value, 2 * grad


def test_a_model_that_learned_with_an_object_of_yours_says_how_to_keep_it(tmp_path):
    model = npae.AE(**QUICK, loss=Doubled()).fit(X)
    with pytest.raises(TypeError, match=r"change it first, for example with model.set_params\(loss=\.\.\.\)"):
        npae.save(model, tmp_path / "model.npz")
    with pytest.raises(TypeError, match="learned with an object of yours, so keep the model with pickle"):
        npae.save(model.set_params(loss="mse"), tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_file_has_the_permissions_of_any_new_file_and_keeps_those_it_had(tmp_path):
    path, model = tmp_path / "model.npz", npae.PCA(1).fit(X)
    (tmp_path / "any").touch()
    npae.save(model, path)
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode
    path.chmod(0o664)
    npae.save(model, path)
    assert path.stat().st_mode & 0o777 == 0o664


def test_a_save_that_fails_midway_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    npae.save(npae.PCA(1).fit(X), path)
    before = path.read_bytes()

    def full(stream, **arrays):
        stream.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        npae.save(npae.PCA(2).fit(X), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def broken(kind, path):
    npae.save(npae.AE(**QUICK).fit(X), path)
    whole = path.read_bytes()
    with np.load(path) as data:
        arrays = {k: data[k] for k in data.files}
    header = json.loads(arrays["header"].tobytes())
    if kind == "empty":
        return path.write_bytes(b"")
    if kind == "truncated":
        return path.write_bytes(whole[: len(whole) // 2])
    if kind == "text":
        return path.write_bytes(b"not a model")
    if kind == "a pickle":
        return np.savez(path, header=np.array([{"format": "npae"}], dtype=object))
    if kind == "an array":
        with path.open("wb") as stream:
            np.save(stream, X)
        return None
    if kind == "another npz":
        return np.savez(path, X=X)
    if kind == "missing array":
        del arrays["array0"]
    if kind == "newer":
        header["version"] = 99
    if kind == "unknown class":
        header["class"] = "VAE"
    if kind == "unknown layer":
        header["learned"]["network_"]["Sequential"][0]["Sequential"][1] = {"Swish": []}
    if kind == "misfit bias":
        arrays["array1"] = arrays["array1"][:-1]
    if kind == "not json":
        arrays["header"] = np.frombuffer(b"{", np.uint8)
    else:
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return np.savez(path, **arrays)


KINDS = [
    "empty", "truncated", "text", "a pickle", "an array", "another npz", "missing array", "newer", "unknown class",
    "unknown layer", "misfit bias", "not json",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_model_is_refused(kind, tmp_path):
    broken(kind, tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"load expected a file written by npae.save, got '.*model.npz' with a fault"):
        npae.load(tmp_path / "model.npz")


def test_a_file_that_does_not_exist_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        npae.load(tmp_path / "nowhere.npz")
