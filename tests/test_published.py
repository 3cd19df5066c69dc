"""Published results, cut short: each is measured, goes on where it stopped, and learns from no test image."""

import sys

import numpy as np
import pytest
from helpers import check, numbers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_demos import FOLDER, load, seen  # noqa: F401

import npae

published = load(FOLDER / "published.py")
readout = sys.modules["readout"]


@pytest.fixture(scope="module")
def data():
    X, X_test, y, y_test = npae.datasets.digits(labels=True)
    return X[:600], X_test[:100], y[:600], y_test[:100]


@pytest.fixture
def run(data, tmp_path):
    pytest.importorskip("matplotlib")

    def run(*arguments, epochs=1, folder="models"):
        arguments = [*arguments, "--folder", str(tmp_path / folder)]
        arguments += ["--epochs", str(epochs)] if epochs else []
        return published.main(arguments, data=data, path=tmp_path / "picture.png")

    return run


def test_a_short_run_of_each_result_misses_its_bar_and_says_so(run, capsys, tmp_path, data, seen):  # noqa: F811
    assert run("all") == 1
    lines = capsys.readouterr().out.splitlines()
    for name, result in published.RESULTS.items():
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        value, bar = line.split()[1:3]
        assert float(bar) == result.bar
        assert name in ("contractive", "pretraining") or result.bar < float(value)
        assert result.published in line
    models = tmp_path / "models" / "test-1"
    assert (models / "published.png").read_bytes().startswith(b"\x89PNG")
    several = {"k-sparse": 2, "contractive": 9, "pretraining": 4}  # phases; kinds and seeds; units and ways to begin
    assert len(list(models.glob("*.npz"))) == len(published.RESULTS) + sum(n - 1 for n in several.values())
    assert not seen & {row.tobytes() for row in data[1]}


def test_a_held_out_part_of_the_training_images_is_looked_at_with_validate(run, data, monkeypatch, capsys):
    looked = []
    result = published.RESULTS["keras"]
    watched = published.Result(result.what, result.published, 9.0, 4, lambda study: looked.append(study) or 1.0)
    monkeypatch.setattr(published.Study, "seconds", lambda study, name: 0.0)
    monkeypatch.setattr(published, "draw", lambda *arguments: None)
    monkeypatch.setitem(published.RESULTS, "keras", watched)
    assert run("keras", "--validate") == 0
    (study,) = looked
    np.testing.assert_array_equal(study.X, data[0][:500])
    np.testing.assert_array_equal(study.X_look, data[0][500:])
    np.testing.assert_array_equal(study.y_look, data[2][500:])


@pytest.mark.parametrize("name", ["keras", "burda"])
def test_a_run_that_was_stopped_goes_on_to_the_same_figure(name, run, capsys, monkeypatch):
    run(name, epochs=4, folder="whole")
    whole = capsys.readouterr().out
    after_epoch = npae.fitting.callbacks.CallbackList.after_epoch

    def interrupted(events, history):
        after_epoch(events, history)
        if len(history.loss) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(npae.fitting.callbacks.CallbackList, "after_epoch", interrupted)
    with pytest.raises(SystemExit, match="goes on from there"):
        run(name, epochs=4)
    monkeypatch.undo()
    capsys.readouterr()
    run(name, epochs=4)
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == whole.splitlines()[1].split()[:2]


def test_a_model_with_other_settings_is_not_resumed_and_anew_forgets(run, tmp_path, data):
    study = published.Study(*data, tmp_path, epochs=2)
    first = study.fit("one", npae.AE((), 3, epochs=5, random_state=0))
    again = study.fit("one", npae.AE((), 3, epochs=5, random_state=0))
    np.testing.assert_array_equal(first.encode(data[1]), again.encode(data[1]))
    assert again.history_.seconds == first.history_.seconds  # nothing was trained
    other = study.fit("one", npae.AE((), 3, epochs=5, random_state=1))
    assert (other.encode(data[1]) != first.encode(data[1])).any()
    X, deep = data[0], npae.AE((4,), 3, epochs=1, random_state=0)
    for seed in (0, 0, 1):  # the weights to begin with, which no repr shows
        encoder, decoder = npae.pretrain(deep.set_params(random_state=seed), X)
        model = study.fit("two", npae.AE(encoder=encoder, decoder=decoder, epochs=1, random_state=0))
        fresh = npae.AE(encoder=encoder, decoder=decoder, epochs=1, random_state=0).fit(X)
        np.testing.assert_array_equal(model.encode(data[1]), fresh.encode(data[1]))
    run("keras")
    saved, long = tmp_path / "models" / "test-1" / "keras.npz", tmp_path / "models" / "test-2" / "keras.npz"
    before = saved.stat().st_mtime_ns
    run("keras", epochs=2)  # kept apart
    run("keras")
    assert saved.stat().st_mtime_ns == before
    run("vae", "--anew")
    assert saved.stat().st_mtime_ns == before
    run("keras", "--anew")
    assert saved.stat().st_mtime_ns > before
    assert long.exists()


def test_changed_batches_hold_each_row_once_and_differ_from_epoch_to_epoch():
    X = np.arange(10.0)[:, None]
    batches = published.Changed(X, 4, lambda x, rng: x + rng.random())
    first, second = list(batches), list(batches)
    assert [len(x) for x in first] == [4, 3, 3]
    for epoch in (first, second):
        assert sorted(np.floor(np.concatenate(epoch)[:, 0])) == list(range(10))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    batches.epoch = 1
    np.testing.assert_array_equal(np.concatenate(list(batches)), np.concatenate(second))


def test_grey_becomes_black_or_white_with_its_probability():
    x = np.tile(np.array([0, 0.25, 1], np.float32), (20_000, 1))
    drawn = published.black_and_white(x, np.random.default_rng(0))
    assert set(np.unique(drawn)) == {0, 1}
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 0.25, 1], atol=0.02)


def test_shifted_images_are_the_same_images_elsewhere():
    x = np.zeros((999, 28, 28))
    x[:, 14, 14], x[:, 10, 11] = 1, 2
    y = published.shifted(x.reshape(999, 784), np.random.default_rng(0)).reshape(x.shape)
    moves = np.argwhere(y == 1)[:, 1:] - 14
    for image, before, move in zip(y, x, moves, strict=True):
        np.testing.assert_array_equal(image, np.roll(before, move, axis=(0, 1)))
    assert {tuple(move) for move in moves} == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)}


@pytest.mark.parametrize(("errors", "value"), [((1, 2, 3), 2 / 3), ((1, 3, 2), 3 / 2), ((3, 1, 4), 3)])
def test_the_order_of_three_kinds_is_judged_by_their_means_over_three_seeds(
    errors, value, data, tmp_path, monkeypatch, capsys
):
    planted = iter(np.repeat(errors, 3) + np.tile([-0.1, 0.1, 0.0], 3))
    monkeypatch.setattr(published, "read_out", lambda encode, study, **options: next(planted))
    study = published.Study(*data, tmp_path, epochs=1)
    assert published.contractive(study) == pytest.approx(value)
    assert study.seconds("contractive") == sum(sum(history.seconds) for history in study.histories.values()) > 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["contractive", "denoising", "plain"]


def test_pretraining_has_as_many_epochs_as_none_and_both_are_drawn(data, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    trained = []
    monkeypatch.setattr(
        npae, "pretrain", lambda model, X, fit=npae.pretrain: trained.append(model.epochs) or fit(model, X)
    )
    study = published.Study(*[part[:50] for part in data], tmp_path)
    published.pretraining(study)
    drawn = []
    monkeypatch.setattr(published.plots, "save", lambda fig, path: drawn.extend(fig.axes))
    published.draw(tmp_path, None)
    kinds = [text.get_text() for text in drawn[0].get_legend().get_texts()]
    assert kinds == ["elu with", "elu without", "sigmoid with", "sigmoid without"]
    assert [len(line.get_xdata()) for line in drawn[0].lines] == [15, 20, 15, 20]
    epochs = {name: len(history.loss) for name, history in study.histories.items()}
    for activation in ("elu", "sigmoid"):
        layers = trained.pop(0)
        assert layers > 0
        assert epochs[f"pretraining.{activation} with"] + layers == epochs[f"pretraining.{activation} without"]


# --- the read-out ----------------------------------------------------------------------------------------------------


@given(
    logits=hnp.arrays(float, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=numbers(-5, 5)), data=st.data()
)
def test_the_cross_entropy_of_a_read_out(logits, data):
    kinds = data.draw(st.lists(st.integers(0, logits.shape[1] - 1), min_size=len(logits), max_size=len(logits)))
    target = np.eye(logits.shape[1])[kinds]
    value, _ = readout.CrossEntropy()(logits, target)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert value == pytest.approx(-np.log((p * target).sum(axis=1)).mean())
    check(readout.CrossEntropy(), logits, "CrossEntropy of a read-out", target=target)


def test_a_read_out_tells_apart_what_a_line_separates_and_nothing_else():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((600, 5)).astype(np.float32)
    y = (Z[:, 0] > Z[:, 1]).astype(int) + 2 * (Z[:, 2] > 0)
    fast = {"classes": 4, "learning_rate": 0.3, "decay": 0.0}
    assert readout.error(Z[:400], y[:400], Z[400:], y[400:], **fast) < 0.05
    assert readout.error(Z[:400], y[:400], Z[400:], rng.permutation(y[400:]), **fast) > 0.5
