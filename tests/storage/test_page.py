"""A page is one file with the model in it: its size, its errors, and what it says of any model."""

import re

import numpy as np
import pytest
from explorer import QUICK, Scaler, X, Y, follow, parts
from helpers import FAMILY, NAMES, Frame, every_layer
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npae
from npae.storage import page as pages
from npae.storage.formulas import noise_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.html"


# --- what is in a page -----------------------------------------------------------------------------------------------


MODELS = {name: lambda make=make: make(**QUICK) for name, make in FAMILY.items()}
MODELS |= {"every layer": lambda: every_layer(6, float), "PCA": lambda: npae.PCA(2)}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_steps_of_a_page_give_the_numbers_that_it_must_reproduce(name, weights, path):
    model = MODELS[name]().fit(X)
    model.export(path, X, labels=Y, weights=weights)
    page, array = parts(path)
    (frame,), x = page["frames"], array(page["examples"]).astype(float)[: pages.TESTED]
    z = follow(frame["f"], x, array)
    np.testing.assert_allclose(z, array(page["self_test"]["z"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        follow(frame["g"], z, array), array(page["self_test"]["x_hat"]), rtol=1e-5, atol=1e-6
    )  # and with weights of float32 they are the model's own
    if weights == "float32":
        np.testing.assert_allclose(z, model.encode(x), rtol=1e-5, atol=1e-6)
        assert page["errors"]["page"] == pytest.approx(page["errors"]["model"], rel=1e-5)
    assert page["errors"]["model"] == pytest.approx(model.reconstruction_error(X).mean())
    assert page["samples"] == isinstance(model, npae.VAE)
    assert (page["noise"] is not None) == isinstance(model, npae.DAE)


def test_an_export_leaves_the_model_as_it_was(path):
    for model in (npae.AE(**QUICK).fit(X), npae.PCA(2).fit(X)):
        before = model.encode(X), model.reconstruct(X)
        model.export(path, X, weights="int8")
        np.testing.assert_array_equal(model.encode(X), before[0])
        np.testing.assert_array_equal(model.reconstruct(X), before[1])


finite = st.floats(-1e3, 1e3, width=32).map(lambda w: w if abs(w) > 1e-30 else 0.0)  # s keeps its digits


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=finite))
@example(np.zeros((2, 2), np.float32))
def test_each_weight_in_eight_bits_is_at_most_half_a_step_away(W):
    q, s = pages.quantised(W)
    assert q.dtype == np.int8
    assert s.shape == W.shape[1:]
    assert (np.abs(W - q * s) <= s / 2 * (1 + 1e-5)).all()
    assert (np.abs(q).max(axis=0) == np.where(s > 0, 127, 0)).all()


def test_eight_bits_make_a_page_four_times_smaller_and_cost_less_than_a_hundredth(tmp_path):
    X_train, X_test = npae.datasets.digits()
    ae = npae.AE((256,), 2, loss="bce", epochs=1, random_state=0).fit(X_train[:2000])
    bytes_of = {}
    for weights in ("float32", "int8"):
        path = tmp_path / f"{weights}.html"
        ae.export(path, X_test, image_shape=(28, 28), weights=weights)
        page, _ = parts(path)
        bytes_of[weights] = path.stat().st_size
    assert bytes_of["int8"] <= 700_000
    assert bytes_of["float32"] - bytes_of["int8"] >= 0.74 * 4 * 402_432 * 4 / 3  # base64 of the matrices, nearly
    assert page["errors"]["page"] <= 1.01 * page["errors"]["model"]
    assert page["errors"]["rows"] == 2000


def test_images_of_bytes_are_stored_as_bytes_and_nothing_is_lost(path):
    images = np.random.default_rng(0).integers(0, 256, (50, 6)).astype(np.float32) / np.float32(255)
    npae.AE(**QUICK).fit(images).export(path, images, image_shape=(2, 3))
    page, array = parts(path)
    assert page["examples"]["dtype"] == "uint8"
    np.testing.assert_array_equal(array(page["examples"]) / np.float32(255), images[: pages.EXAMPLES])
    assert page["image_shape"] == [2, 3]
    assert page["ranges"]["low"] == images.min()
    npae.AE(**QUICK).fit(X).export(path, X, image_shape=(2, 3))
    page, array = parts(path)
    np.testing.assert_array_equal(array(page["examples"]), X[: pages.EXAMPLES].astype(np.float32))


def test_a_table_has_names_units_and_ranges(path):
    frame = Frame(X, NAMES)
    ae = npae.AE(**QUICK).fit(frame)
    ae.export(path, frame, units=["m", "m", "m", "kg", "C", ""])
    page, _ = parts(path)
    assert page["names"] == NAMES
    assert page["units"][3] == "kg"
    for name, of in (("low", X.min), ("high", X.max), ("std", X.std)):
        np.testing.assert_allclose(page["ranges"][name], of(axis=0))
    npae.PCA(2).fit(X).export(path, X)
    assert parts(path)[0]["names"] == ["x1", "x2", "x3", "x4", "x5", "x6"]
    npae.PCA(2).fit(X).export(path, X, names=NAMES)
    assert parts(path)[0]["names"] == NAMES
    with pytest.warns(UserWarning, match="without feature names"):
        npae.PCA(2).fit(X).export(path, frame)
    assert parts(path)[0]["names"] == NAMES


def test_a_table_shows_its_numbers_as_they_were_before_a_scaler(path):
    a, c = np.array([2.0, 5, -1, 1e4, 1, 1e-3]), np.arange(6.0)
    scaler = Scaler(a, c)
    npae.PCA(2).fit(scaler.transform(X)).export(path, scaler.transform(X), scaler=scaler)
    page, array = parts(path)
    np.testing.assert_allclose(page["a"], a)
    np.testing.assert_allclose(page["c"], c)
    before = array(page["examples"]) * page["a"] + page["c"]
    rounding = 6 * 2.0**-24  # of (u - c) / a in float32, for |u - c| up to 6
    np.testing.assert_allclose(before, X[: pages.EXAMPLES], rtol=0, atol=rounding)
    npae.PCA(2).fit(X).export(path, X)
    page, _ = parts(path)
    assert (page["a"], page["c"]) == ([1] * 6, [0] * 6)


def test_the_numbers_of_a_code_are_ordered_by_their_variance(path):
    ae = npae.AE(**QUICK | {"latent_dim": 4}).fit(X)
    ae.export(path, X)
    page, array = parts(path)
    Z = ae.encode(X)
    assert page["order"] == np.argsort(-Z.var(axis=0)).tolist()
    np.testing.assert_allclose(page["code"]["low"], Z.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(page["code"]["std"], Z.std(axis=0), atol=1e-6)
    centre, D = np.array(page["centre"]), np.array(page["D"])
    np.testing.assert_allclose(D.T @ D, np.eye(2), atol=1e-12)
    along = array(page["frames"][0]["points"])
    np.testing.assert_allclose(along, (Z - centre) @ D, atol=1e-6)
    largest = npae.PCA(2).fit(Z).explained_variance_
    np.testing.assert_allclose(along.var(axis=0, ddof=1), largest, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 2])
def test_codes_of_one_or_two_numbers_lie_on_the_map_as_they_are(k, path):
    pca = npae.PCA(k).fit(X)
    pca.export(path, X)
    page, array = parts(path)
    p = array(page["frames"][0]["points"])
    np.testing.assert_allclose(p[:, :k], pca.encode(X), atol=1e-6)
    assert np.ptp(p, axis=0).min() > 0


def test_examples_show_each_label_in_turn_and_many_rows_are_thinned_out(path):
    many = np.random.default_rng(1).random((5001, 6))
    labels = np.where(np.arange(5001) < 5000, "usual", "rare")
    npae.PCA(2).fit(many).export(path, many, labels=labels)
    page, array = parts(path)
    assert page["labels"] == ["rare", "usual"]
    assert page["errors"]["rows"] == pages.ROWS == len(array(page["label_of"]))
    assert page["example_labels"][:3] == [0, 1, 1]
    np.testing.assert_allclose(array(page["examples"])[0], many[5000], rtol=1e-6)


def test_the_noise_of_a_dae_is_that_of_its_training():
    assert noise_of(npae.GaussianNoise(0.3, clip=(0, 1))) == {
        "kind": "gaussian", "level": 0.3, "most": 0.6, "low": 0, "high": 1,
    }  # fmt: skip
    assert noise_of(npae.MaskingNoise(0.2)) == {"kind": "masking", "level": 0.2, "most": 1}
    ends = {"kind": "salt_and_pepper", "level": 0.1, "most": 1, "low": -1, "high": 2}
    assert noise_of(npae.SaltAndPepper(0.1, -1, 2)) == ends


class Own(npae.GaussianNoise):
    pass


@pytest.mark.parametrize("own", [Own(0.3), lambda x, rng: x])
def test_a_corruption_of_ones_own_has_no_slider(own, path):
    npae.DAE(**QUICK, corruption=own).fit(X).export(path, X)
    page, _ = parts(path)
    assert page["noise"] is None
    assert page["title"] == "A denoising autoencoder"


# --- kept epochs -----------------------------------------------------------------------------------------------------


def test_kept_epochs_are_the_frames_and_the_model_is_the_last(path):
    kept = npae.KeepWeights(every=2)
    ae = npae.AE(**QUICK | {"epochs": 5}).fit(X, callbacks=kept)
    ae.export(path, X, kept=kept)
    page, array = parts(path)
    assert [frame["epoch"] for frame in page["frames"]] == [2, 4, 5]
    assert [frame["loss"] for frame in page["frames"]] == [ae.history_.loss[i] for i in (1, 3, 4)]
    then = npae.AE(**QUICK | {"epochs": 2}).fit(X)
    x = array(page["examples"]).astype(float)
    np.testing.assert_allclose(follow(page["frames"][0]["f"], x, array), then.encode(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(page["frames"][0]["points"]), then.encode(X), atol=1e-5)
    np.testing.assert_allclose(follow(page["frames"][2]["f"], x, array), ae.encode(x), rtol=1e-5, atol=1e-6)
    assert kept.weights[0].size == sum(p.value.size for p in ae.network_.parameters())


def test_a_kept_last_epoch_is_not_written_twice(path):
    kept = npae.KeepWeights()
    ae = npae.AE(**QUICK, tied=True).fit(X, callbacks=kept)
    ae.export(path, X, kept=kept, weights="int8")
    assert [frame["epoch"] for frame in parts(path)[0]["frames"]] == [1, 2]


# --- the text of a page ----------------------------------------------------------------------------------------------

ODD = [
    "</script><script>alert(1)</script>",
    "<!--",
    "\"quotes\" 'and' \\",
    "{{script}}",
    "数字 ελληνικά עברית",
    "\u2028&amp;",
]


def test_no_text_of_the_data_becomes_a_part_of_the_page(path):
    npae.PCA(2).fit(X).export(path, X, labels=np.array(ODD)[np.arange(60) % 6], names=ODD, units=ODD)
    page, _ = parts(path)
    assert page["labels"] == sorted(ODD)
    assert page["names"] == page["units"] == ODD
    plain = path.with_name("plain.html")
    npae.PCA(2).fit(X).export(plain, X)
    tags = [re.findall(r"<[a-z/!][^>]*>", p.read_text(encoding="utf-8")) for p in (path, plain)]
    assert tags[0] == tags[1]


def test_a_page_asks_for_nothing_and_runs_no_script_but_its_own(path):
    npae.PCA(2).fit(X).export(path, X)
    text = path.read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'sha256-" in text
    assert "{{" not in text
    assert not re.findall(r"https?://|\bfetch\(|XMLHttpRequest|\beval\(|innerHTML|import\b.*from", text)
    assert set(re.findall(r'\b(?:src|href)="[^"]*"', text)) == {'href="data:,"'}


@pytest.mark.parametrize("name", ["explorer.js", "explorer.html"])
def test_the_sources_of_a_page_have_lines_that_can_be_read(name):
    source = (pages.Path(pages.__file__).parent / name).read_text(encoding="utf-8")
    assert max(map(len, source.splitlines())) <= 120
    assert "\t" not in source
    assert name != "explorer.js" or "</" not in source
