"""The history of a fit, and early stopping by its validation loss."""

import numpy as np
import pytest
from helpers import all_zero, learned, table, with_weight_sizes

import npae
from npae.fitting import TrainingState

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 10, "batch_size": 16, "random_state": 0}
X, V = table(), table(20, seed=1)


def test_last_returns_every_number_of_the_last_epoch():
    history = npae.History()
    assert history.last() == {"epoch": 0}
    history.add(3.0, 4.0, 0.1, 0.5)
    history.add(1.0, 2.0, 0.05, 0.25)
    logs = {"epoch": 2, "loss": 1.0, "validation_loss": 2.0, "learning_rate": 0.05, "seconds": 0.25}
    assert history.last() == logs
    plain = npae.History()
    plain.add(3.0, None, 0.1, 0.5)
    assert plain.last() == {"epoch": 1, "loss": 3.0, "learning_rate": 0.1, "seconds": 0.5}


def test_an_interrupt_within_an_entry_leaves_complete_epochs():
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


# --- early stopping ------------------------------------------------------------------------------------------------


def test_the_best_parameters_are_a_copy_of_those_at_the_lowest_validation_loss():
    state, parameters = TrainingState(*[None] * 7), np.zeros(2)
    for epoch, loss in enumerate([3.0, 1.0, 2.0, 1.0], start=1):
        parameters[:] = epoch
        state.history.add(0.0, loss, 0.1, 0.0)
        state.keep_best(parameters, patience=2)
        assert (state.history.stopped != "") == (epoch == 4)
    assert state.history.best_epoch == 2
    assert state.best.tolist() == [2, 2]


@pytest.mark.usefixtures("backend")
def test_training_stops_when_the_validation_loss_no_longer_falls_and_the_best_weights_come_back():
    ae, watched = with_weight_sizes(9, 3, 0, 1, 2, 3, 4, 5, 6, epochs=50)
    ae.fit(X, **watched)
    losses = ae.history_.validation_loss
    assert ae.history_.best_epoch == 3
    assert losses[2] == min(losses)
    assert len(losses) == 6
    assert ae.history_.stopped == "no lower validation loss in 3 epochs after epoch 3"
    assert -ae.score(np.zeros((3, 6))) == losses[2] == 0
    assert all_zero(ae)


def test_the_best_weights_come_back_after_all_epochs_too():
    ae, watched = with_weight_sizes(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched)
    assert (ae.history_.best_epoch, ae.history_.stopped) == (3, "")
    assert all_zero(ae)


def test_the_best_weights_come_back_when_a_callback_raises():
    def breaks(model, epoch, logs):
        if epoch == 4:
            raise ZeroDivisionError

    ae, watched = with_weight_sizes(9, 3, 0, 1, 2, epochs=5)
    with pytest.raises(ZeroDivisionError):
        ae.fit(X, validation=watched["validation"], callbacks=[watched["callbacks"], breaks])
    assert all_zero(ae)


def test_a_model_that_improves_is_trained_to_the_end():
    ae = npae.AE(**QUICK, patience=1, optimizer=npae.SGD(1e-4)).fit(X, validation=V)
    assert ae.history_.best_epoch == 10
    plain = npae.AE(**QUICK, optimizer=npae.SGD(1e-4)).fit(X, validation=V)
    np.testing.assert_array_equal(ae.encode(X), plain.encode(X))
    assert plain.history_.best_epoch is None


@pytest.mark.filterwarnings("ignore:.* expected a code:UserWarning")  # it is meant to overfit
def test_early_stopping_beats_training_to_the_end_on_an_overfitting_model():
    small = X[:6] + np.random.default_rng(2).normal(0, 0.2, (6, 6))
    overfit = {"hidden": (50,), "latent_dim": 6, "epochs": 300, "batch_size": 6, "random_state": 0}
    to_the_end = npae.AE(**overfit, optimizer=npae.Adam(0.01)).fit(small)
    stopped = npae.AE(**overfit, optimizer=npae.Adam(0.01), patience=20).fit(small, validation=V)
    assert stopped.score(V) > to_the_end.score(V)
    assert len(stopped.history_.loss) == stopped.history_.best_epoch + 20 < 300


def test_partial_fit_after_early_stopping_continues_from_the_best_weights():
    ae, watched = with_weight_sizes(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched).partial_fit(X)
    assert all_zero(ae)
    ae.set_params(optimizer=npae.SGD(0.1)).partial_fit(X)
    assert not all_zero(ae)


def test_patience_starts_over_after_epochs_without_it():
    ae, watched = with_weight_sizes(9, 3, 0, 1, 2, epochs=5)
    ae.fit(X, **watched)
    ae.set_params(patience=None, epochs=6).fit(X, **watched, resume=True)
    ae.set_params(patience=3, epochs=8).fit(X, **watched, resume=True)
    assert (ae.history_.best_epoch, len(ae.history_.loss), ae.history_.stopped) == (7, 8, "")
    assert ae.training_.best is not None


def test_patience_needs_validation_data_in_every_epoch():
    with pytest.raises(ValueError, match=r"expected validation data .* got some epochs without: pass fit"):
        npae.AE(**QUICK, patience=2).fit(X)
    ae = npae.AE(**QUICK).fit(X)
    before = learned(ae)
    with pytest.raises(ValueError, match="expected validation data in every epoch"):
        ae.set_params(epochs=12).fit(X, validation=V, resume=True)
    assert learned(ae) == before
    for patience, error in ((0, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="patience"):
            npae.AE(**QUICK, patience=patience).fit(X, validation=V)
