"""A saved model comes back bit for bit; a model or a file whose parts do not fit together is refused."""

import dataclasses
import json
import os
from functools import partial

import numpy as np
import pytest
from changes import HISTORY, LOSS, NETWORK, TRAINING, W, b, both, with_array, with_text, with_value
from forgery import X, described, forge, parts, refused, refuses
from helpers import FAMILY

import npae
from npae.storage import archive, check_savable

QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 2, "batch_size": 8, "random_state": 0}


def own_networks():
    encoder = npae.Sequential(npae.Dense(6, 5, rng=0), npae.LeakyReLU(0.3), npae.Dense(5, 2, rng=1))
    decoder = npae.Sequential(npae.Dense(2, 4, rng=2), npae.ELU(0.7), npae.Dense(4, 6, rng=3), npae.Sigmoid())
    return {"encoder": encoder, "decoder": decoder, "epochs": 2, "random_state": 0}


MODELS = {
    "AE": lambda: npae.AE(**QUICK),
    "AE, bce, float32": lambda: npae.AE(**QUICK, loss="bce", dtype="float32"),
    "AE, ssim": lambda: npae.AE(**QUICK, loss=npae.SSIM((2, 3), window=2), output=npae.Sigmoid()),
    "AE, schedule": lambda: npae.AE(**QUICK, optimizer=npae.SGD(npae.Cosine(0.1), momentum=0.9, nesterov=True)),
    "AE, own networks": lambda: npae.AE(**own_networks()),
    "AE, widths in an array": lambda: npae.AE(**QUICK | {"hidden": np.array([5, 4]), "latent_dim": np.int64(2)}),
    "AE, own networks, one inside another": lambda: npae.AE(
        encoder=npae.Sequential(npae.Sequential(npae.Dense(6, 3, rng=0)), npae.Tanh()),
        decoder=npae.Sequential(npae.Identity(), npae.Dense(3, 6, rng=1)), epochs=1, random_state=0),
    "AE, dtype a type": lambda: npae.AE(**QUICK, dtype=float),
    "DAE": lambda: npae.DAE(**QUICK, corruption=npae.GaussianNoise(0.2, clip=(0, 1)), activation="elu"),
    "DAE, by name": lambda: npae.DAE(**QUICK, corruption="salt_and_pepper", activation=npae.LeakyReLU(0.2)),
    "DAE, a list for a tuple": lambda: npae.DAE(**QUICK | {"hidden": [5]}, corruption=npae.GaussianNoise(clip=[0, 1])),
    **{name: partial(make, **QUICK) for name, make in FAMILY.items()},
    "PCA": lambda: npae.PCA(3),
    "PCA, float32": lambda: npae.PCA(np.int64(2)),
}  # fmt: skip


def data_for(name):
    return X.astype(np.float32) if name == "PCA, float32" else X


def there_and_back(model, path):
    npae.save(model, path)
    return npae.load(path)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_bit_for_bit(name, tmp_path):
    data = data_for(name)
    model = MODELS[name]().fit(data)
    twin = there_and_back(model, tmp_path / "model.npz")
    assert type(twin) is type(model)
    assert described(twin) == described(model)
    for use in ("encode", "reconstruct"):
        ours, theirs = getattr(twin, use)(data), getattr(model, use)(data)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert twin.score(data) == model.score(data)
    np.testing.assert_array_equal(twin.fit(data).encode(data), model.encode(data))  # PCA's parameters, too
    if "array" not in name and "type" not in name and name != "PCA, float32":  # which come back as plain numbers
        assert repr(twin.get_params()) == repr(model.get_params())


@pytest.mark.parametrize("name", [name for name in MODELS if "PCA" not in name])
def test_a_loaded_model_continues_training_bit_for_bit(name, tmp_path):
    model = MODELS[name]().fit(X)
    twin = there_and_back(model, tmp_path / "model.npz")
    assert twin.history_ == model.history_
    assert (twin.network_, twin.loss_, twin.history_) == (
        twin.training_.network, twin.training_.loss, twin.training_.history)  # fmt: skip
    assert (twin.encoder_, twin.decoder_) == (twin.network_.layers[0], twin.network_.layers[-1])
    assert len({id(p.value.base) for p in twin.network_.parameters()}) == 1, "one vector holds all parameters"
    assert [p.name for p in twin.network_.parameters()] == [p.name for p in model.network_.parameters()]
    twin.partial_fit(X)
    model.partial_fit(X)
    for ours, theirs in zip(twin.network_.parameters(), model.network_.parameters(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value)
    assert twin.history_.loss == model.history_.loss


@pytest.mark.parametrize("optimizer", [npae.Adam(), npae.SGD(momentum=0.5)])
def test_all_that_training_keeps_comes_back(tmp_path, optimizer):
    model = npae.AE(**QUICK, optimizer=optimizer, patience=1).fit(X, validation=X)
    twin = there_and_back(model, tmp_path / "model.npz")
    ours, theirs = twin.training_, model.training_
    assert (ours.optimizer, ours.epoch_complete) == (theirs.optimizer, True)
    assert (ours.state.step, ours.state.total_steps) == (theirs.state.step, theirs.state.total_steps) == (8, 8)
    assert type(ours.state.moments[0]) is tuple
    for found, kept in zip((*ours.state.moments[0], ours.best, ours.last),
                    (*theirs.state.moments[0], theirs.best, theirs.last), strict=True):  # fmt: skip
        assert found.any()
        np.testing.assert_array_equal(found, kept)
    for name in ("shuffle_rng", "noise_rng", "validation_rng"):
        assert getattr(ours, name).random() == getattr(theirs, name).random()
    with np.load(tmp_path / "model.npz") as data:
        assert {"training.state.moments.0.0", "training.best", "training.last"} < set(data.files)


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_a_model_whose_random_state_is_a_generator_trains_alike(bits, tmp_path):
    model = npae.AE(**QUICK | {"random_state": np.random.Generator(getattr(np.random, bits)(5))}).fit(X)
    twin = there_and_back(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(twin.fit(X).encode(X), model.fit(X).encode(X))
    assert twin.random_state.spawn(1)[0].random() == model.random_state.spawn(1)[0].random()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_makes_the_same_file(name, tmp_path):
    model = MODELS[name]().fit(data_for(name))
    there_and_back(model, tmp_path / "one.npz").score(data_for(name))  # using a model changes nothing in its file
    npae.save(model, tmp_path / "two.npz")
    npae.save(npae.load(tmp_path / "one.npz"), tmp_path / "three.npz")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_the_file_is_plain_numpy_and_json_with_telling_names(tmp_path):
    model = npae.AE(**QUICK).fit(X)
    npae.save(model, tmp_path / "ae.npz")
    with np.load(tmp_path / "ae.npz", allow_pickle=False) as data:
        header = json.loads(data["header.json"])
        arrays = {name: data[name] for name in header["arrays"]}
    assert (header["format"], header["version"], header["class"]) == ("npae", archive.VERSION, "AE")
    assert header["parameters"]["latent_dim"] == 2
    training = header["learned"]["training_"]["TrainingState"]
    assert training["history"]["History"] == dataclasses.asdict(model.history_)
    assert header["learned"].keys() == {"n_features_in_", "training_"}
    weights = [f"training.network.{p.name}" for p in model.network_.parameters()]
    assert list(arrays)[: len(weights)] == weights
    assert all(name.startswith("training.state") for name in list(arrays)[len(weights) :])
    for p in model.network_.parameters():
        np.testing.assert_array_equal(arrays[f"training.network.{p.name}"], p.value)
    npae.save(npae.PCA(2).fit(X), tmp_path / "pca.npz")
    with np.load(tmp_path / "pca.npz") as data:
        assert {"components", "mean", "explained_variance"} < set(data.files)


def test_names_of_features_and_attributes_of_the_users_own_come_back(tmp_path):
    model = npae.PCA(2).fit(X)
    model.feature_names_in_ = np.array(["a", "Größe", "c [m]", "\ud800", "", "f"], dtype=object)
    model.mine_ = {"when": (2024, 5), "generator": np.random.default_rng(3)}
    twin = there_and_back(model, tmp_path / "model.npz")
    assert twin.feature_names_in_.dtype == object
    assert twin.feature_names_in_.tolist() == model.feature_names_in_.tolist()
    assert twin.mine_["when"] == (2024, 5)
    assert twin.mine_["generator"].random() == model.mine_["generator"].random()


# --- models that cannot be saved -------------------------------------------------------------------------------


class Doubled(npae.MSE):
    def value_and_gradient(self, prediction, target):
        value, grad = super().value_and_gradient(prediction, target)
        return 2 * value, 2 * grad


class Mine(npae.PCA):
    pass


REFUSED = {
    "parameters": (lambda: npae.DAE(**QUICK, corruption=lambda x, rng: x).fit(X), TypeError,
                   "save expected corruption to be npae's own or plain data, got function, .*: replace it with"),
    "what it learned": (lambda: npae.AE(**QUICK, loss=Doubled()).fit(X).set_params(loss="mse"), TypeError,
                        "save expected training.loss to be .*, got Doubled, .* or keep the model with pickle"),
    "a class": (lambda: Mine(2).fit(X), TypeError, "expected a model of npae's, .* got Mine: pass a fitted one"),
    "no model": (lambda: X, TypeError, "expected a model of npae's, such as an AE, got ndarray"),
    "no fit": (lambda: npae.AE(**QUICK), RuntimeError, "AE expected to be fitted first"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_a_file_cannot_hold_is_refused_and_the_old_file_kept(kind, tmp_path):
    make, error, match = REFUSED[kind]
    npae.save(npae.PCA(1).fit(X), tmp_path / "model.npz")
    before = (tmp_path / "model.npz").read_bytes()
    with pytest.raises(error, match=match):
        npae.save(make(), tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_model_that_cannot_be_saved_is_known_before_its_fit():
    check_savable(npae.DAE(**QUICK))
    with pytest.raises(TypeError, match="save expected corruption to be"):
        check_savable(npae.DAE(**QUICK, corruption=lambda x, rng: x))
    with pytest.raises(TypeError, match="got Mine: leave the checkpoint out"):
        check_savable(Mine())


SPOILED = {
    "a weight that is not finite": ("AE", lambda m: m.network_.parameters()[0].value.fill(np.nan), "not all finite"),
    "a mean too short": ("PCA", lambda m: setattr(m, "mean_", m.mean_[:-1]), r"mean_ has shape \(5,\)"),
    "a mean of another dtype": ("PCA", lambda m: setattr(m, "mean_", m.mean_.astype("f4")), "dtype float32 instead"),
    "names too few": ("PCA", lambda m: setattr(m, "feature_names_in_", np.array(["a"], object)), "feature_names_in_"),
    "another network": ("AE", lambda m: setattr(m, "network_", npae.Sequential(npae.Dense(6, 6))), "network_ is not"),
    "another encoder": ("AE", lambda m: setattr(m, "encoder_", npae.Sequential(npae.Dense(6, 2))), "encoder_ is not"),
    "another width": ("AE", lambda m: setattr(m, "n_features_in_", 7), "from 6 to 6 columns for 7"),
    "another history": ("AE", lambda m: setattr(m, "history_", npae.History()), "history_ is not that of training_"),
    "another loss": ("AE", lambda m: setattr(m, "loss_", npae.SSIM((4, 4), window=2)), "loss_ is not that"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILED)
def test_a_model_whose_parts_do_not_fit_together_is_not_saved(kind, tmp_path):
    name, spoil, match = SPOILED[kind]
    model = MODELS[name]().fit(X)
    spoil(model)
    form = rf"save expected a model as fit leaves it, got a changed one \(.*{match}.*\): undo that"
    with pytest.raises(ValueError, match=form):
        npae.save(model, tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_a_header_that_would_be_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "HEADER_BYTES", 4000)
    model = npae.AE(**QUICK).fit(X)
    npae.save(model, tmp_path / "model.npz")
    lists = (model.history_.loss, model.history_.learning_rate, model.history_.seconds)
    for numbers in lists:
        numbers *= 100
    with pytest.raises(ValueError, match=r"at most 4000 bytes, got .*: give columns .* or keep only the last epochs"):
        npae.save(model, tmp_path / "model.npz")
    assert len(npae.load(tmp_path / "model.npz").history_.loss) == 2
    assert os.listdir(tmp_path) == ["model.npz"]
    for numbers in lists:
        del numbers[:-3]
    twin = there_and_back(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(twin.partial_fit(X).encode(X), model.partial_fit(X).encode(X))
    assert len(twin.history_.loss) == 4


# --- files whose parts do not fit together ---------------------------------------------------------------------

STATE = (*TRAINING, "state", "State")
NOTHING = {"class": "PCA", "parameters": {"n_components": 2}, "learned": {}, "arrays": {}}
test_a_model_whose_parts_do_not_fit_together_is_not_loaded = refuses({
    "an unknown class": (with_value("class", value="GAN"), "class 'GAN' is unknown"),
    "a class that is none": (with_value("class", value=[]), "unhashable"),
    "a base class": (with_value("class", value="Autoencoder"), "class 'Autoencoder' is unknown"),
    "a parameter too many": (with_value("parameters", "lr", value=1), "unexpected keyword argument 'lr'"),
    "a parameter missing": (with_text('"epochs": 1, ', ""), "header differs"),
    "a key too many": (with_value("more", value=1), "header differs"),
    "a learned method": (with_value("learned", "fit", value=1), "'fit' is not an attribute that fit sets"),
    "a learned class": (with_value("learned", "__class__", value=1), "'__class__' is not an attribute"),
    "a derived attribute": (with_value("learned", "encoder_", value=None), "header differs"),
    "nothing learned": (lambda h, a: (h | NOTHING, {}), "KeyError: 'n_features_in_'"),
    "no training": (lambda h, a: (h | NOTHING | {"learned": {"n_features_in_": 6}}, {}), "KeyError: 'components_'"),
    "another class": (lambda h, a: (h | NOTHING | {k: h[k] for k in ("learned", "arrays")}, a), "KeyError"),
    "a width in words": (with_value("learned", "n_features_in_", value="6"), "n_features_in_ is '6'"),
    "a width that does not fit": (with_value("learned", "n_features_in_", value=5), "from 6 to 6 columns for 5"),
    "names that are numbers": (
        both(with_value("learned", "feature_names_in_", value={"array": "feature_names_in"}),
             with_array("feature_names_in", np.arange(6))), "feature_names_in_ has"),
    "an encoder alone": (with_value(*NETWORK, "Sequential", "1", value={"ReLU": {}}), "not an encoder and a decoder"),
    "three networks": (with_value(*NETWORK, "Sequential", "2", value={"ReLU": {}}), "not an encoder and a decoder"),
    "no network": (with_value(*NETWORK, value=None), "'NoneType'"),
    "widths that do not fit": (with_array(W, np.zeros((5, 3))), "from 5 to 6 columns for 6"),
    "layers of two dtypes": (
        both(with_array(W, np.zeros((6, 3), "f4")), with_array(b, np.zeros(3, "f4"))), "dtype float64 instead of"),
    "an infinite weight": (with_array(b, np.array([0, np.inf, 0])), "not all finite"),
    "no loss": (with_value(*LOSS, value=None), "TrainingState.loss has another type"),
    "a loss that is none": (with_value(*LOSS, value={"Adam": {}}), "TrainingState.loss has another type"),
    "a loss on larger images": (with_value(*LOSS, "SSIM", "image_shape", value={"tuple": [9, 9]}), "compares images"),
    "a history of words": (with_value(*HISTORY, "loss", value=["x"]), "History.loss has another type"),
    "a history of flags": (with_value(*HISTORY, "loss", value=[True]), "History.loss has another type"),
    "no history": (with_value(*HISTORY[:-1], value=[]), "TrainingState.history has another type"),
    "a history stopped by a number": (with_value(*HISTORY, "stopped", value=3), "History.stopped has another type"),
    "half an epoch": (with_value(*HISTORY, "seconds", value=[]), "an epoch of history_ lacks a number"),
    "half an epoch, too": (with_value(*HISTORY, "learning_rate", value=[]), "an epoch of history_ lacks a number"),
    "validation alone": (with_value(*HISTORY, "validation_loss", value=[0.1] * 9), "an epoch of history_ lacks a"),
    "a best epoch that never was": (with_value(*HISTORY, "best_epoch", value=9), "the best epoch 9 of"),
    "a best epoch before the first": (with_value(*HISTORY, "best_epoch", value=0), "the best epoch 0 of"),
    "moments too short": (with_array("training.state.moments.0.1", np.zeros(7)), r"training_ has shape \(7,\)"),
    "moments of another optimizer": (
        with_value(*TRAINING, "optimizer", value={"SGD": {"learning_rate": 0.1}}), "moments that are not those of SGD"),
    "moments too few": (with_value(*STATE, "moments", value=[]), "moments that are not those of Adam"),
    "moments in numbers": (with_value(*STATE, "moments", value=[{"tuple": [1, 2]}]), "State.moments has another type"),
    "best weights of another dtype": (
        lambda h, a: with_array("training.best", a["training.best"].astype("f4"))(h, a), "dtype float32 instead"),
    "last weights that are too long": (
        lambda h, a: with_array("training.last", np.append(a["training.last"], 0))(h, a), "training_ has shape"),
    "best weights that are not finite": (
        lambda h, a: with_array("training.best", a["training.best"] + np.inf)(h, a), "not all finite"),
    "a step and a half": (with_value(*STATE, "step", value=1.5), "State.step has another type"),
    "no generator": (with_value(*TRAINING, "shuffle_rng", value=3), "TrainingState.shuffle_rng has another type"),
    "neither complete nor not": (
        with_value(*TRAINING, "epoch_complete", value=1), "TrainingState.epoch_complete has another type"),
})  # fmt: skip


def test_a_detector_whose_models_do_not_fit_is_refused(path):
    npae.save(npae.OutlierDetector(npae.AE(**QUICK), n_fits=2, random_state=0).fit(X), path)
    header, arrays = parts(path.read_bytes())
    first = ("learned", "models_", 0, "AE", "learned", "dict")
    training = (*first, "training_", "TrainingState")
    for change, match in [
        (with_value(*first, "fit", value=1), "'fit' is not an attribute that fit sets"),
        (with_value(*first, "n_features_in_", value=5), "from 6 to 6 columns for 5"),
        (with_value(*training, "state", "State", "moments", value=[]), "moments that are not those of Adam"),
        (with_value("learned", "models_", value=[]), "models_ is not a list of models"),
        (with_value("learned", "models_", 0, value={"Nothing": {}}), "unknown kind 'Nothing'"),
        (with_value("learned", "offset_", value=None), "offset_ is None"),
        (with_value("class", value="PCA"), "unexpected keyword argument 'model'"),
        (with_value("class", value="AE"), "unexpected keyword argument"),
        (with_array("centers", np.zeros((2, 5))), r"centers_ has shape \(2, 5\)"),
    ]:
        refused(forge(*change(header, dict(arrays))), path, match)


def test_a_pca_whose_arrays_do_not_fit_is_refused(wholes, path):
    for name in ("mean", "explained_variance", "explained_variance_ratio", "components"):
        header, arrays = parts(wholes["PCA"])
        refused(forge(*with_array(name, arrays[name][:-1])(header, arrays)), path, "instead of")
    header, arrays = parts(wholes["PCA"])
    header["learned"]["feature_names_in_"]["strings"].pop()
    refused(forge(header, arrays), path, r"feature_names_in_ has shape \(5,\)")
    header["learned"]["feature_names_in_"]["strings"].append(6)
    refused(forge(header, arrays), path, "which a file cannot hold")
