"""What is saved comes back, bit for bit; what cannot be saved or loaded says why."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    "AE, widths in an array": lambda: npae.AE(**QUICK | {"hidden": np.array([5, 4]), "latent_dim": np.int64(2)}),
    "AE, own networks, one inside another": lambda: npae.AE(
        encoder=npae.Sequential(npae.Sequential(npae.Dense(6, 3, rng=0)), npae.Tanh()),
        decoder=npae.Sequential(npae.Identity(), npae.Dense(3, 6, rng=1)), epochs=1, random_state=0),
    "DAE": lambda: npae.DAE(**QUICK, corruption=npae.GaussianNoise(0.2, clip=(0, 1)), activation="elu"),
    "DAE, by name": lambda: npae.DAE(**QUICK, corruption="salt_and_pepper", activation=npae.LeakyReLU(0.2)),
    "DAE, a list for a tuple": lambda: npae.DAE(**QUICK | {"hidden": [5]}, corruption=npae.GaussianNoise(clip=[0, 1])),
    "AE, dtype a type": lambda: npae.AE(**QUICK, dtype=float),
    "PCA": lambda: npae.PCA(3),
    "PCA, float32": lambda: npae.PCA(np.int64(2)),
}  # fmt: skip


def data_for(name):
    return X.astype(np.float32) if name == "PCA, float32" else X


def fitted(name):
    return MODELS[name]().fit(data_for(name))


def dtype_of(model):
    """However it was spelled."""
    return {} if getattr(model, "dtype", None) is None else {"dtype": np.dtype(model.dtype)}


def back(model, path):
    npae.save(model, path)
    return npae.load(path)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_bit_for_bit(name, tmp_path):
    model, data = fitted(name), data_for(name)
    twin = back(model, tmp_path / "model.npz")
    assert type(twin) is type(model)
    if "array" not in name and name != "PCA, float32":
        assert repr(twin.set_params(**dtype_of(twin)).get_params()) == repr(
            model.set_params(**dtype_of(model)).get_params()
        )
    for use in ("encode", "reconstruct"):
        ours, theirs = getattr(twin, use)(data), getattr(model, use)(data)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert twin.score(data) == model.score(data)
    if "PCA" in name:
        np.testing.assert_array_equal(twin.explained_variance_ratio_, model.explained_variance_ratio_)
    else:
        assert twin.history_ == model.history_
        assert twin.encoder_ is twin.network_.layers[0]
        assert twin.decoder_ is twin.network_.layers[1]
        assert len({id(p.value.base) for p in twin.network_.parameters()}) == 1
        assert [p.name for p in twin.network_.parameters()] == [p.name for p in model.network_.parameters()]
        np.testing.assert_array_equal(twin.fit(X).encode(X), model.encode(X))


@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_makes_the_same_file_and_so_does_what_was_loaded(name, tmp_path):
    model = fitted(name)
    npae.save(model, tmp_path / "one.npz")
    npae.save(model, tmp_path / "two.npz")
    back(model, tmp_path / "three.npz").score(data_for(name))  # using a model changes nothing in its file
    npae.save(npae.load(tmp_path / "three.npz"), tmp_path / "four.npz")
    files = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) == 1


def test_the_file_is_plain_numpy_and_json_with_names_that_tell(tmp_path):
    model = npae.AE(**QUICK).fit(X)
    npae.save(model, tmp_path / "ae.npz")
    with np.load(tmp_path / "ae.npz", allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    header = json.loads(arrays.pop("header").tobytes())
    assert len(arrays.pop("sha256")) == 32
    assert (header["format"], header["version"], header["class"]) == ("npae", 2, "AE")
    assert header["parameters"]["latent_dim"] == 2
    assert header["learned"]["history_"]["History"] == dataclasses.asdict(model.history_)
    weights = [f"network.{p.name}" for p in model.network_.parameters()]
    assert list(arrays)[: len(weights)] == weights
    assert all(name.startswith("training.state") for name in list(arrays)[len(weights) :])
    assert header["arrays"] == {k: {"dtype": a.dtype.name, "shape": list(a.shape)} for k, a in arrays.items()}
    for p in model.network_.parameters():
        np.testing.assert_array_equal(arrays[f"network.{p.name}"], p.value)

    npae.save(npae.PCA(2).fit(X), tmp_path / "pca.npz")
    with np.load(tmp_path / "pca.npz") as data:
        assert {"components_", "mean_", "explained_variance_"} < set(data.files)


# --- generators ----------------------------------------------------------------------------------------------

BITS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def same_future(a, b):
    """Draws of each width, spawned generators, and theirs."""
    for _ in range(2):
        for draw in (
            lambda g: g.integers(2**32, size=3, dtype=np.uint32),
            lambda g: g.random(5),
            lambda g: g.standard_normal(700),
        ):
            np.testing.assert_array_equal(draw(a), draw(b))
        a, b = a.spawn(3)[1], b.spawn(3)[1]


@given(
    st.sampled_from(BITS), st.integers(0, 2**130) | st.lists(st.integers(0, 2**40), max_size=3),
    st.integers(0, 700), st.integers(0, 3), st.booleans(), st.sampled_from([4, 5, 16]),
)  # fmt: skip
def test_a_generator_goes_on_where_it_was(tmp_path_factory, bits, seed, drawn, spawned, halves, pool):
    generator = np.random.Generator(getattr(np.random, bits)(np.random.SeedSequence(seed, pool_size=pool)))
    generator = generator.spawn(1)[0] if halves else generator
    generator.integers(2**32, size=drawn, dtype=np.uint32)  # an odd number leaves half a draw behind
    generator.spawn(spawned)
    model = npae.PCA(2).fit(X)
    model.generator_ = generator
    twin = back(model, tmp_path_factory.getbasetemp() / "generator.npz")
    assert twin.generator_.bit_generator.seed_seq.state == generator.bit_generator.seed_seq.state
    same_future(twin.generator_, generator)


@pytest.mark.parametrize("bits", BITS)
def test_a_model_with_a_generator_for_its_seed_trains_on_alike(bits, tmp_path):
    model = npae.AE(**QUICK | {"random_state": np.random.Generator(getattr(np.random, bits)(5))}).fit(X)
    twin = back(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(twin.fit(X).encode(X), model.fit(X).encode(X))
    same_future(twin.random_state, model.random_state)


class Seeds(np.random.SeedSequence):
    """Somebody's own."""


# --- what training keeps, and other attributes -------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [npae.Adam(), npae.SGD(momentum=0.5)])
def test_what_training_keeps_comes_back(tmp_path, optimizer):
    model = npae.AE(**QUICK, optimizer=optimizer, patience=1).fit(X, validation=X)
    twin = back(model, tmp_path / "model.npz")
    ours, theirs = twin.training_, model.training_
    assert (ours.network, ours.history) == (twin.network_, twin.history_), "one network, not two alike"
    assert (ours.loss, ours.optimizer, ours.whole) == (theirs.loss, theirs.optimizer, True)
    assert (ours.state.done, ours.state.steps) == (theirs.state.done, theirs.state.steps) == (8, 8)
    np.testing.assert_array_equal(ours.state.numbers, theirs.state.numbers)
    np.testing.assert_array_equal(ours.best, theirs.best)
    np.testing.assert_array_equal(ours.last, theirs.last)
    assert len(ours.state.moments) == 1
    assert type(ours.state.moments[0]) is tuple
    for a, b in zip(ours.state.moments[0], theirs.state.moments[0], strict=True):
        assert a.any()
        np.testing.assert_array_equal(a, b)
    for name in ("shuffle_rng", "noise_rng", "validation_rng"):
        same_future(getattr(ours, name), getattr(theirs, name))
    with np.load(tmp_path / "model.npz") as data:
        assert {"training.state.moments.0.0", "training.best", "training.last"} < set(data.files)
        header = json.loads(data["header"].tobytes())
    assert header["learned"]["history_"] == {"History": dataclasses.asdict(model.history_)}
    assert header["learned"]["training_"]["Training"]["history"] == {"same as": "history_"}


def test_names_of_features_come_back_as_objects(tmp_path):
    model = npae.PCA(2).fit(X)
    model.feature_names_in_ = np.array(["a", "Größe", "c [m]", "\ud800", "", "f"], dtype=object)
    twin = back(model, tmp_path / "model.npz")
    assert twin.feature_names_in_.dtype == object
    assert twin.feature_names_in_.tolist() == model.feature_names_in_.tolist()


VALUES = [np.inf, -np.inf, 0.1, 10**3999, [(), [{"a": (1.5, None)}]], np.float32(0.1), np.True_, "\0", {"float": "nan"}]


@pytest.mark.parametrize("i", range(len(VALUES)))
def test_any_plain_value_comes_back(i, tmp_path):
    model = npae.PCA(2).fit(X)
    model.mine_ = VALUES[i]
    twin = back(model, tmp_path / "model.npz")
    assert twin.mine_ == VALUES[i]
    assert type(twin.mine_) is type(VALUES[i].item() if isinstance(VALUES[i], np.generic) else VALUES[i])


# --- what cannot be saved --------------------------------------------------------------------------------------

REFUSED = {
    "corruption": lambda: npae.DAE(**QUICK, corruption=lambda x, rng: x),
    "random_state": lambda: npae.AE(**QUICK | {"random_state": np.random.Generator(np.random.PCG64(Seeds(0)))}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_file_cannot_hold_is_refused_and_the_old_file_stays(name, tmp_path):
    path, model = tmp_path / "model.npz", REFUSED[name]().fit(X)
    npae.save(npae.PCA(1).fit(X), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=rf"save expected {name} to be .* got .*set_params\({name}=\.\.\.\)"):
        npae.save(model, path)
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


OBJECTS = {
    "a number too long": 10**5000, "an object": object(), "keys that are no strings": {1: 2}, "a set": {1},
    "an array of objects": np.array([object()]), "complex numbers": np.array([1j]), "a class": npae.MSE,
    "a function": abs, "bytes": b"bytes", "two arrays of one name": {"x": {"y": np.zeros(2)}, "x.y": np.ones(2)},
}  # fmt: skip


@pytest.mark.parametrize("kind", OBJECTS)
def test_other_values_are_refused(kind, tmp_path):
    model = npae.PCA(2).fit(X)
    model.mine_ = OBJECTS[kind]
    with pytest.raises(TypeError, match="save expected mine_ to be npae's own or plain data"):
        npae.save(model, tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_an_attribute_that_cannot_name_an_array_is_refused(tmp_path):
    model = npae.PCA(2).fit(X)
    model.größe_ = np.zeros(2)
    with pytest.raises(TypeError, match="save expected größe_ to be"):
        npae.save(model, tmp_path / "model.npz")


def spoiled(kind):
    model = npae.PCA(2).fit(X) if kind in ("a mean too short", "names too few") else npae.AE(**QUICK).fit(X)
    if kind == "a weight that is not finite":
        model.network_.parameters()[0].value[0, 0] = np.nan
    if kind == "a mean too short":
        model.mean_ = model.mean_[:-1]
    if kind == "names too few":
        model.feature_names_in_ = np.array(["a"], object)
    if kind == "another network":
        model.network_ = npae.Sequential(npae.Dense(6, 6))
    if kind == "another width":
        model.n_features_in_ = 7
    if kind == "another history":
        model.history_ = npae.History()
    if kind == "another loss":
        model.loss_ = npae.SSIM((4, 4), window=2)
    return model


@pytest.mark.parametrize(
    "kind",
    ["a weight that is not finite", "a mean too short", "names too few", "another network", "another width",
     "another loss", "another history"],
)  # fmt: skip
def test_what_load_would_refuse_is_not_saved(kind, tmp_path):
    with pytest.raises(ValueError, match=r"save expected a model as fit leaves it, got one with .*: undo the change"):
        npae.save(spoiled(kind), tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_a_header_that_would_be_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npae.archive, "HEADER_BYTES", 4000)
    model = npae.AE(**QUICK).fit(X)
    npae.save(model, tmp_path / "model.npz")
    for numbers in (model.history_.loss, model.history_.learning_rate, model.history_.seconds):
        numbers *= 100
    with pytest.raises(ValueError, match=r"at most 4000 bytes, got .*: give columns .* or keep only the last epochs"):
        npae.save(model, tmp_path / "model.npz")
    assert len(npae.load(tmp_path / "model.npz").history_.loss) == 2
    assert os.listdir(tmp_path) == ["model.npz"]
    for numbers in (model.history_.loss, model.history_.learning_rate, model.history_.seconds):
        del numbers[:-3]
    twin = back(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(twin.partial_fit(X).encode(X), model.partial_fit(X).encode(X))
    assert len(twin.history_.loss) == 4
