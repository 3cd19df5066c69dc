"""Training does not lose work: it can be stopped, watched, saved and gone on with, and the result is the same."""

import copy
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import table

import npae

pytestmark = pytest.mark.usefixtures("backend")

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 10, "batch_size": 16, "random_state": 0}
RECIPES = {
    "AE": lambda: npae.AE(**QUICK),
    "AE, schedule": lambda: npae.AE(**QUICK, optimizer=npae.Adam(npae.Cosine(0.03))),
    "AE, momentum, float32": lambda: npae.AE(
        **QUICK, optimizer=npae.SGD(npae.Cosine(0.1, 0.01), momentum=0.9), dtype=np.float32, loss="bce"
    ),
    "DAE": lambda: npae.DAE(**QUICK, corruption=npae.GaussianNoise(0.3)),
    "DAE, schedule": lambda: npae.DAE(**QUICK, corruption="masking", optimizer=npae.Adam(npae.Cosine(0.03))),
    "DAE, a function": lambda: npae.DAE(**QUICK, corruption=halved),
    "AE, patience": lambda: npae.AE(**QUICK, patience=4, optimizer=npae.Adam(0.1)),
    "DAE, patience": lambda: npae.DAE(**QUICK, patience=4, optimizer=npae.Adam(0.1)),
}
X, V = table(), table(20, seed=1)


def halved(x, rng):
    return x * (rng.random(x.shape) < 0.5)


def stop_after(last):
    return lambda model, epoch, logs: epoch == last


def everything(model):
    """All that training has made and will go on with, but the seconds."""
    t = model.training_
    rngs = [copy.deepcopy(rng) for rng in (t.shuffle_rng, t.noise_rng, t.validation_rng)]
    arrays = [p.value for p in t.network.parameters()] + [m for some in t.state.moments for m in some]
    arrays += [a for a in (t.best, t.last) if a is not None]
    h = t.history
    return [a.tobytes() for a in arrays], [rng.random() for rng in rngs], (t.state.done, t.state.steps), (
        h.loss, h.validation_loss, h.learning_rate, h.best_epoch, h.stopped
    )  # fmt: skip


def by_file(model, folder):
    npae.save(model, folder / "model.npz")
    return npae.load(folder / "model.npz")


# --- going on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("way", ["by file", "by pickle", "in place"])
def test_ten_epochs_equal_five_and_five_more_bit_for_bit(name, way, tmp_path):
    at_once = RECIPES[name]().fit(X, validation=V)
    assert len(at_once.history_.loss) == 10 or "patience" in name
    halfway = RECIPES[name]().fit(X, validation=V, callbacks=stop_after(5))
    assert len(halfway.history_.loss) == 5
    assert halfway.history_.stopped == "by a callback after epoch 5"
    if way == "by file":
        if "function" in name:
            return
        halfway = by_file(halfway, tmp_path)
    if way == "by pickle":
        halfway = pickle.loads(pickle.dumps(halfway))
    assert everything(halfway) != everything(at_once)
    halfway.fit(X, validation=V, resume=True)
    assert everything(halfway) == everything(at_once)
    np.testing.assert_array_equal(halfway.reconstruct(X), at_once.reconstruct(X))


@pytest.mark.parametrize("name", [name for name in RECIPES if "patience" not in name])
def test_as_many_passes_as_epochs_equal_a_fit(name, tmp_path):
    at_once = RECIPES[name]().fit(X)
    model = RECIPES[name]()
    for epoch in range(1, 11):
        assert model.partial_fit(X) is model
        assert len(model.history_.loss) == epoch
        if epoch == 5 and "function" not in name:
            model = by_file(model, tmp_path)
    assert everything(model) == everything(at_once)
    rate = model.history_.learning_rate[-1]
    assert model.partial_fit(X).history_.learning_rate[-1] == rate  # beyond the plan a schedule stays at its end


def test_more_epochs_than_planned_go_on_from_where_the_plan_ended():
    at_once = npae.AE(**QUICK).fit(X)
    ae = npae.AE(**(QUICK | {"epochs": 4})).fit(X)
    ae.set_params(epochs=10).fit(X, resume=True)
    assert everything(ae) == everything(at_once)
    ae.fit(X, resume=True)  # nothing is left to do
    assert everything(ae) == everything(at_once)


def test_a_resumed_schedule_reaches_its_end_with_the_last_epoch():
    ae = npae.AE(**(QUICK | {"epochs": 4}), optimizer=npae.Adam(npae.Cosine(0.1))).fit(X, callbacks=stop_after(2))
    rates = ae.set_params(epochs=8).fit(X, resume=True).history_.learning_rate
    assert len(rates) == 8
    assert rates[2] > rates[-2] > rates[-1] == 0


def test_partial_fit_takes_other_rows_each_time_and_learns_from_them():
    parts = np.split(table(600), 10)
    ae = npae.AE(**QUICK, optimizer=npae.Adam(0.01))
    errors = [-ae.partial_fit(part).score(table(600)) for _ in range(5) for part in parts]
    assert len(ae.history_.loss) == 50
    assert errors[-1] < errors[0] / 50


def test_fit_starts_anew_and_resume_without_a_fit_begins():
    once = npae.AE(**QUICK).fit(X)
    assert everything(npae.AE(**QUICK).fit(X, resume=True)) == everything(once)
    assert everything(npae.AE(**QUICK).partial_fit(X).fit(X)) == everything(once)


def test_going_on_leaves_a_copy_as_it_was():
    ae = npae.AE(**QUICK).fit(X)
    shallow, before = copy.copy(ae), everything(ae)
    ae.partial_fit(X)
    assert everything(shallow) == before != everything(ae)


def test_the_optimizer_may_change_its_numbers_but_not_its_kind():
    ae = npae.AE(**QUICK).fit(X)
    before = everything(ae)
    with pytest.raises(ValueError, match=r"resuming expected the optimizer .* Adam.* got SGD.*: keep its kind"):
        ae.set_params(optimizer="sgd").partial_fit(X)
    assert everything(ae) == before
    assert ae.set_params(optimizer=npae.Adam(0.5)).partial_fit(X).history_.learning_rate[-1] == 0.5


@pytest.mark.parametrize("go_on", ["partial_fit", "resume"])
def test_going_on_that_diverges_loses_nothing(go_on):
    ae = npae.AE(**QUICK).fit(X)
    before = everything(ae)
    ae.set_params(optimizer=npae.Adam(1e300), epochs=20)
    with pytest.raises(RuntimeError, match="in epoch 11: it diverged"):
        ae.partial_fit(X) if go_on == "partial_fit" else ae.fit(X, resume=True)
    assert everything(ae) == before
    assert np.isfinite(ae.reconstruct(X)).all()


def test_going_on_with_rows_of_another_width_is_refused():
    ae = npae.AE(**QUICK).fit(X)
    before = everything(ae)
    for go_on in (ae.partial_fit, lambda rows: ae.fit(rows, resume=True)):
        with pytest.raises(ValueError, match=r"expected X of shape \(n, 6\), got \(60, 5\)"):
            go_on(X[:, :5])
    assert everything(ae) == before


# --- early stopping -----------------------------------------------------------------------------------------------


def sized(*sizes, epochs, patience=3):
    """A model, and a callback, that have weights of these sizes in the epochs 1, 2, ...; zeros are best with 0."""
    encoder, decoder = (npae.Sequential(npae.Dense(*widths, dtype=np.float64)) for widths in ((6, 2), (2, 6)))

    def resize(model, epoch, logs):
        for p in model.network_.parameters():
            p.value[...] = sizes[min(epoch, len(sizes) - 1)]

    for p in encoder.parameters() + decoder.parameters():
        p.value[...] = sizes[0]
    own = {"encoder": encoder, "decoder": decoder, "epochs": epochs, "patience": patience}
    return npae.AE(**own, optimizer=npae.SGD(0.0)), {"validation": np.zeros((3, 6)), "callbacks": resize}


def all_zero(model):
    return all((p.value == 0).all() for p in model.network_.parameters())


def test_training_stops_when_the_validation_loss_no_longer_falls_and_the_best_weights_come_back():
    ae, watched = sized(9, 3, 0, 1, 2, 3, 4, 5, 6, epochs=50)
    ae.fit(X, **watched)
    losses = ae.history_.validation_loss
    assert ae.history_.best_epoch == 3
    assert losses[2] == min(losses)
    assert len(losses) == 6
    assert ae.history_.stopped == "no lower validation loss in 3 epochs after epoch 3"
    assert -ae.score(np.zeros((3, 6))) == losses[2] == 0
    assert all_zero(ae)


def test_the_best_weights_come_back_after_all_epochs_too():
    ae, watched = sized(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched)
    assert (ae.history_.best_epoch, ae.history_.stopped) == (3, "")
    assert all_zero(ae)


def test_a_model_that_improves_is_trained_to_the_end():
    ae = npae.AE(**QUICK, patience=1, optimizer=npae.SGD(1e-4)).fit(X, validation=V)
    assert ae.history_.best_epoch == 10
    plain = npae.AE(**QUICK, optimizer=npae.SGD(1e-4)).fit(X, validation=V)
    np.testing.assert_array_equal(ae.encode(X), plain.encode(X))
    assert plain.history_.best_epoch is None


def test_early_stopping_keeps_an_overfitting_model_from_the_worst():
    small = X[:6] + np.random.default_rng(2).normal(0, 0.2, (6, 6))
    overfit = {"hidden": (50,), "latent_dim": 6, "epochs": 300, "batch_size": 6, "random_state": 0}
    to_the_end = npae.AE(**overfit, optimizer=npae.Adam(0.01)).fit(small)
    stopped = npae.AE(**overfit, optimizer=npae.Adam(0.01), patience=20).fit(small, validation=V)
    assert stopped.score(V) > to_the_end.score(V)
    assert len(stopped.history_.loss) == stopped.history_.best_epoch + 20 < 300


def test_a_pass_after_early_stopping_goes_on_from_the_best_weights():
    ae, watched = sized(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched).partial_fit(X)
    assert all_zero(ae)
    ae.set_params(optimizer=npae.SGD(0.1)).partial_fit(X)
    assert not all_zero(ae)


def test_patience_begins_anew_after_epochs_without_it():
    ae, watched = sized(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched)
    ae.set_params(patience=None, epochs=6).fit(X, **watched, resume=True)
    ae.set_params(patience=3, epochs=8).fit(X, **watched, resume=True)
    assert (ae.history_.best_epoch, len(ae.history_.loss), ae.history_.stopped) == (7, 8, "")
    assert ae.training_.best is not None


def test_patience_needs_validation_data_in_every_epoch():
    with pytest.raises(ValueError, match=r"expected validation data .* got some epochs without: pass fit"):
        npae.AE(**QUICK, patience=2).fit(X)
    ae = npae.AE(**QUICK).fit(X)
    before = everything(ae)
    with pytest.raises(ValueError, match="expected validation data in every epoch"):
        ae.set_params(epochs=12).fit(X, validation=V, resume=True)
    assert everything(ae) == before
    for patience, error in ((0, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="patience"):
            npae.AE(**QUICK, patience=patience).fit(X, validation=V)


# --- callbacks ------------------------------------------------------------------------------------------------------


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
    assert "validation_loss" not in npae.AE(**QUICK).fit(X).history_.last()
    assert npae.History().last() == {"epoch": 0}


def test_a_callback_ends_training_with_true_and_with_nothing_else():
    for answer, epochs in ((True, 2), (np.True_, 2), (1, 10), ("stop", 10), (None, 10), (False, 10)):
        ae = npae.AE(**QUICK).fit(X, callbacks=lambda model, epoch, logs, a=answer: a if epoch == 2 else None)
        assert len(ae.history_.loss) == epochs
    asked = []
    first, second = (lambda *told, n=n: asked.append(n) or n == 1 for n in (1, 2))
    npae.AE(**QUICK).fit(X, callbacks=[first, second])
    assert asked == [1, 2]  # all are asked, though the first says stop


def test_what_a_callback_does_to_its_logs_stays_there():
    ae = npae.AE(**(QUICK | {"epochs": 2}))
    ae.fit(X, callbacks=[lambda model, epoch, logs: logs.clear(), lambda model, epoch, logs: logs["loss"]])
    assert len(ae.history_.loss) == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_whatever_a_callback_raises_leaves_a_usable_model_of_that_epoch(error):
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
        assert everything(ae)[:2] == everything(three)[:2]
        assert ae.n_features_in_ == 6
        assert everything(ae.fit(X, resume=True)) == everything(npae.AE(**QUICK).fit(X))


def test_the_best_weights_come_back_when_a_callback_raises():
    def breaks(model, epoch, logs):
        if epoch == 4:
            raise ZeroDivisionError

    ae, watched = sized(9, 3, 0, 1, 2, epochs=5)
    with pytest.raises(ZeroDivisionError):
        ae.fit(X, validation=watched["validation"], callbacks=[watched["callbacks"], breaks])
    assert all_zero(ae)


@pytest.mark.parametrize("bad", [3, "print", [print, None], npae.AE, [npae.AE]])
def test_what_is_no_function_is_no_callback(bad):
    ae = npae.AE(**QUICK)
    with pytest.raises(
        TypeError, match=r"AE expected callbacks as functions \(model, epoch, logs\), got .*: pass a list"
    ):
        ae.fit(X, callbacks=bad)
    assert not hasattr(ae, "training_")


# --- checkpoints ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_written_every_few_epochs_and_at_the_end(tmp_path):
    path, saved = tmp_path / "ae.npz", []

    def callback(model, epoch, logs):
        saved.append(len(npae.load(path).history_.loss) if path.exists() else 0)

    ae = npae.AE(**QUICK).fit(X, checkpoint=path, checkpoint_every=4, callbacks=callback)
    assert saved == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8]
    assert everything(npae.load(path)) == everything(ae)
    ae.fit(X, checkpoint=path, checkpoint_every=4, callbacks=stop_after(6))
    assert everything(npae.load(path)) == everything(ae)
    assert [p.name for p in tmp_path.iterdir()] == ["ae.npz"]


def test_a_checkpoint_at_the_end_has_the_best_weights(tmp_path):
    ae, watched = sized(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched, checkpoint=tmp_path / "ae.npz", checkpoint_every=5)
    assert all_zero(npae.load(tmp_path / "ae.npz"))


@pytest.mark.parametrize("name", ["AE, schedule", "DAE", "DAE, patience"])
def test_a_fit_that_died_goes_on_from_its_checkpoint_bit_for_bit(name, tmp_path):
    def dies(model, epoch, logs):
        if epoch == 4:
            raise MemoryError

    with pytest.raises(MemoryError):
        RECIPES[name]().fit(X, validation=V, checkpoint=tmp_path / "model.npz", checkpoint_every=3, callbacks=dies)
    twin = npae.load(tmp_path / "model.npz")
    assert len(twin.history_.loss) == 3
    assert everything(twin.fit(X, validation=V, resume=True)) == everything(RECIPES[name]().fit(X, validation=V))


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
    assert everything(ae.fit(X, resume=True)) == everything(npae.AE(**QUICK).fit(X))


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


# --- interruptions --------------------------------------------------------------------------------------


class Interrupting(npae.MaskingNoise):
    """Presses Ctrl-C in the third batch."""

    calls = 0

    def __call__(self, x, rng):
        type(self).calls += 1
        if type(self).calls == 3:
            raise KeyboardInterrupt
        return super().__call__(x, rng)


def test_ctrl_c_ends_the_fit_with_a_usable_model(capsys):
    Interrupting.calls = 0
    X = table()
    dae = npae.DAE(**(QUICK | {"batch_size": 30, "epochs": 50, "verbose": True}), corruption=Interrupting()).fit(X)
    assert dae.history_.stopped == "interrupted in epoch 2"
    assert len(dae.history_.loss) == 1
    assert np.isfinite(dae.reconstruct(X)).all()
    assert "interrupted in epoch 2: the model keeps what it has learned" in capsys.readouterr().err


def test_an_interrupt_in_the_middle_of_an_entry_leaves_whole_epochs():
    class Interrupting(list):
        def append(self, value):
            if len(self) == 1:
                raise KeyboardInterrupt
            super().append(value)

    history = npae.History(learning_rate=Interrupting())
    history.add(1.0, 2.0, 0.1, 0.5)
    with pytest.raises(KeyboardInterrupt):
        history.add(0.5, 1.0, 0.1, 0.5)
    history.drop_unfinished()
    assert (history.loss, history.validation_loss, history.learning_rate) == ([1.0], [2.0], [0.1])


LONG_FIT = """
import numpy as np, npae, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without
X = np.random.default_rng(0).random((500, 20))
ae = npae.AE(hidden=(30,), latent_dim=4, epochs=1_000_000, random_state=0, verbose=True).fit(X)
assert np.isfinite(ae.reconstruct(X)).all() and len(ae.history_.loss) == len(ae.history_.seconds) >= 1
print(npae.backend_name(), ae.history_.stopped)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a POSIX signal")
def test_a_real_ctrl_c_ends_a_real_fit(backend):
    environment = os.environ | {"NPAE_BACKEND": backend, "PYTHONPATH": str(Path(npae.__file__).parent.parent)}
    command = [sys.executable, "-c", LONG_FIT]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as fit:
        for line in fit.stderr:
            if line.startswith("epoch 20/"):
                break
        fit.send_signal(signal.SIGINT)
        out, err = fit.communicate(timeout=60)
    assert fit.returncode == 0, err
    assert out.startswith(f"{backend} interrupted in epoch ")
