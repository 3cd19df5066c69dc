"""Callbacks, checkpoints and the progress line: what happens after each epoch."""

import os

import numpy as np
import pytest
from helpers import all_zero, learned, stop_after, table, with_weight_sizes

import npae

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 10, "batch_size": 16, "random_state": 0}
X, V = table(), table(20, seed=1)


# --- callbacks -----------------------------------------------------------------------------------------------------


def test_a_callback_is_told_the_model_the_epoch_and_its_numbers():
    told = []

    def callback(model, epoch, logs):
        told.append((epoch, logs, model.score(V)))

    ae = npae.AE(**(QUICK | {"epochs": 3})).fit(X, validation=V, callbacks=[callback])
    h = ae.history_
    assert [epoch for epoch, *_ in told] == [1, 2, 3]
    for i, (epoch, logs, score) in enumerate(told):
        assert logs == {
            "epoch": epoch, "loss": h.loss[i], "validation_loss": h.validation_loss[i],
            "learning_rate": h.learning_rate[i], "seconds": h.seconds[i],
        }  # fmt: skip
        assert -score == pytest.approx(h.validation_loss[i], rel=1e-12)
    assert told[0][2] != told[1][2]


def test_a_callback_ends_training_with_true_and_with_nothing_else():
    for answer, epochs in ((True, 2), (np.True_, 2), (1, 10), ("stop", 10), (None, 10), (False, 10)):
        ae = npae.AE(**QUICK).fit(X, callbacks=lambda model, epoch, logs, a=answer: a if epoch == 2 else None)
        assert len(ae.history_.loss) == epochs
    asked = []
    first, second = (lambda *told, n=n: asked.append(n) or n == 1 for n in (1, 2))
    npae.AE(**QUICK).fit(X, callbacks=[first, second])
    assert asked == [1, 2]  # both run, although the first returned True


def test_a_callback_that_changes_its_logs_changes_nothing_else():
    ae = npae.AE(**(QUICK | {"epochs": 2}))
    ae.fit(X, callbacks=[lambda model, epoch, logs: logs.clear(), lambda model, epoch, logs: logs["loss"]])
    assert len(ae.history_.loss) == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_a_callback_leaves_a_usable_model_of_that_epoch(error):
    def callback(model, epoch, logs):
        if epoch == 3:
            raise error

    for earlier in (False, True):
        ae = npae.AE(**QUICK)
        if earlier:
            ae.fit(V)
        if error is KeyboardInterrupt:
            ae.fit(X, callbacks=callback)
            assert ae.history_.stopped == "interrupted in epoch 3"
        else:
            with pytest.raises(error):
                ae.fit(X, callbacks=callback)
        three = npae.AE(**QUICK).fit(X, callbacks=stop_after(3))
        assert learned(ae)[:2] == learned(three)[:2]
        assert ae.n_features_in_ == 6
        assert learned(ae.fit(X, resume=True)) == learned(npae.AE(**QUICK).fit(X))


@pytest.mark.parametrize("bad", [3, "print", [print, None], npae.AE, [npae.AE]])
def test_callbacks_that_are_not_functions_are_refused(bad):
    ae = npae.AE(**QUICK)
    with pytest.raises(
        TypeError, match=r"AE expected callbacks as functions \(model, epoch, logs\), got .*: pass a list"
    ):
        ae.fit(X, callbacks=bad)
    assert not hasattr(ae, "training_")


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_written_every_few_epochs_and_at_the_end(tmp_path):
    path, saved = tmp_path / "ae.npz", []

    def callback(model, epoch, logs):
        saved.append(len(npae.load(path).history_.loss) if path.exists() else 0)

    ae = npae.AE(**QUICK).fit(X, checkpoint=path, checkpoint_every=4, callbacks=callback)
    assert saved == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8]
    assert learned(npae.load(path)) == learned(ae)
    ae.fit(X, checkpoint=path, checkpoint_every=4, callbacks=stop_after(6))
    assert learned(npae.load(path)) == learned(ae)
    assert [p.name for p in tmp_path.iterdir()] == ["ae.npz"]


def test_a_checkpoint_at_the_end_has_the_best_weights(tmp_path):
    ae, watched = with_weight_sizes(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched, checkpoint=tmp_path / "ae.npz", checkpoint_every=5)
    assert all_zero(npae.load(tmp_path / "ae.npz"))


def test_a_full_disk_leaves_the_model_and_the_last_good_file(tmp_path, monkeypatch):
    path = tmp_path / "ae.npz"

    def full(model, epoch, logs):
        if epoch == 2:
            monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    ae = npae.AE(**QUICK)
    with pytest.raises(OSError, match="No space left"):
        ae.fit(X, checkpoint=path, callbacks=full)
    monkeypatch.undo()
    assert len(npae.load(path).history_.loss) == 2
    assert len(ae.history_.loss) == 3
    assert learned(ae.fit(X, resume=True)) == learned(npae.AE(**QUICK).fit(X))


def test_a_checkpoint_that_could_not_be_written_is_refused_before_any_work(tmp_path):
    calls = []
    ae = npae.DAE(**QUICK, corruption=lambda x, rng: calls.append(1) or x)
    with pytest.raises(TypeError, match="save expected corruption to be npae's own or plain data"):
        ae.fit(X, checkpoint=tmp_path / "dae.npz")
    assert not calls
    ae = npae.AE(**QUICK)
    for bad, error in ((tmp_path, ValueError), (tmp_path / "no" / "ae.npz", ValueError), (3.5, TypeError)):
        with pytest.raises(error, match=r"AE expected checkpoint as .*, got .*: (make|pass)"):
            ae.fit(X, checkpoint=bad)
    for bad, error in ((0, ValueError), (1.5, TypeError), (None, TypeError)):
        with pytest.raises(error, match="checkpoint_every"):
            ae.fit(X, checkpoint=tmp_path / "ae.npz", checkpoint_every=bad)
    assert not hasattr(ae, "training_")
    assert not list(tmp_path.iterdir())


# --- progress ------------------------------------------------------------------------------------------------------


def test_progress_is_written_on_a_terminal_or_on_request(capsys, monkeypatch):
    quick = QUICK | {"epochs": 2}
    npae.AE(**quick).fit(X)
    assert capsys.readouterr() == ("", "")
    npae.AE(**quick, verbose=True).fit(X, validation=X)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss 0.")
    assert "validation 0." in lines[1]
    assert lines[1].endswith("0 s left")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    npae.AE(**quick).fit(X)
    written = capsys.readouterr().err
    assert written.count("\r") == 2
    assert written.count("\n") == 1
    npae.AE(**quick, verbose=False).fit(X)
    assert capsys.readouterr().err == ""


# --- weights that are kept -------------------------------------------------------------------------------------------


def test_kept_weights_are_those_after_each_kept_epoch():
    kept = npae.KeepWeights(every=2)
    ae = npae.AE(**(QUICK | {"epochs": 5})).fit(X, callbacks=kept)
    assert kept.epochs == [2, 4]
    assert kept.losses == [ae.history_.loss[1], ae.history_.loss[3]]
    for epochs, vector in zip(kept.epochs, kept.weights, strict=True):
        then = npae.AE(**(QUICK | {"epochs": epochs})).fit(X).network_.parameters()
        np.testing.assert_array_equal(vector, np.concatenate([p.value.ravel() for p in then]))
    assert repr(kept) == "KeepWeights(every=2)"


def test_a_resumed_fit_goes_on_with_a_collection_and_a_new_fit_starts_another():
    kept = npae.KeepWeights()
    ae = npae.AE(**(QUICK | {"epochs": 2})).fit(X, callbacks=kept)
    ae.set_params(epochs=3).fit(X, resume=True, callbacks=kept)
    assert kept.epochs == [1, 2, 3] == list(range(1, 1 + len(kept.weights)))
    ae.fit(X, callbacks=kept)
    assert kept.epochs == [1, 2, 3] == list(range(1, 1 + len(kept.losses)))


@pytest.mark.parametrize("every", [0, 1.5, "2"])
def test_the_epochs_between_kept_ones_are_a_whole_number(every):
    with pytest.raises((TypeError, ValueError), match="KeepWeights expected every"):
        npae.KeepWeights(every=every)
