"""A training that is stopped and resumed ends with the same bits as one that is not."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from helpers import FAMILY, halved, learned, stop_after, table

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
    **{name: partial(make, **QUICK) for name, make in FAMILY.items()},
}

X, V = table(), table(20, seed=1)


def by_file(model, folder):
    npae.save(model, folder / "model.npz")
    return npae.load(folder / "model.npz")


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
    assert learned(halfway) != learned(at_once)
    halfway.fit(X, validation=V, resume=True)
    assert learned(halfway) == learned(at_once)
    np.testing.assert_array_equal(halfway.reconstruct(X), at_once.reconstruct(X))


@pytest.mark.parametrize("name", ["AE, schedule", "DAE", "DAE, patience"])
def test_a_fit_that_died_resumes_from_its_checkpoint_bit_for_bit(name, tmp_path):
    def dies(model, epoch, logs):
        if epoch == 4:
            raise MemoryError

    with pytest.raises(MemoryError):
        RECIPES[name]().fit(X, validation=V, checkpoint=tmp_path / "model.npz", checkpoint_every=3, callbacks=dies)
    twin = npae.load(tmp_path / "model.npz")
    assert len(twin.history_.loss) == 3
    assert learned(twin.fit(X, validation=V, resume=True)) == learned(RECIPES[name]().fit(X, validation=V))


@pytest.mark.parametrize("name", [name for name in RECIPES if "patience" not in name])
def test_ten_calls_of_partial_fit_equal_a_fit_of_ten_epochs(name, tmp_path):
    at_once = RECIPES[name]().fit(X)
    model = RECIPES[name]()
    for epoch in range(1, 11):
        assert model.partial_fit(X) is model
        assert len(model.history_.loss) == epoch
        if epoch == 5 and "function" not in name:
            model = by_file(model, tmp_path)
    assert learned(model) == learned(at_once)
    rate = model.history_.learning_rate[-1]
    assert (
        model.partial_fit(X).history_.learning_rate[-1] == rate
    )  # after the planned steps a schedule stays at its end


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("patience", [None, 4])
def test_resuming_holds_out_the_same_rows(make, patience, tmp_path):
    def model():
        return make(**QUICK, validation_fraction=0.3, patience=patience, optimizer=npae.Adam(npae.Cosine(0.1)))

    at_once, halfway = model().fit(X), model().fit(X, callbacks=stop_after(3))
    for twin in (by_file(halfway, tmp_path), pickle.loads(pickle.dumps(halfway)), halfway):
        assert learned(twin.fit(X, resume=True)) == learned(at_once)
    if patience is None:
        by_parts = model()
        for _ in range(10):
            by_parts.partial_fit(X)
        assert learned(by_parts) == learned(at_once)


def test_rows_cannot_be_held_out_only_after_some_epochs():
    ae = npae.AE(**QUICK).fit(X)
    before = learned(ae)
    with pytest.raises(ValueError, match="expected validation data in every epoch"):
        ae.set_params(validation_fraction=0.1).partial_fit(X)
    assert learned(ae) == before


def test_epochs_beyond_the_plan_continue_from_its_end():
    at_once = npae.AE(**QUICK).fit(X)
    ae = npae.AE(**(QUICK | {"epochs": 4})).fit(X)
    ae.set_params(epochs=10).fit(X, resume=True)
    assert learned(ae) == learned(at_once)
    ae.fit(X, resume=True)  # nothing is left to do
    assert learned(ae) == learned(at_once)


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


def test_fit_starts_over_and_resume_without_a_fit_begins():
    once = npae.AE(**QUICK).fit(X)
    assert learned(npae.AE(**QUICK).fit(X, resume=True)) == learned(once)
    assert learned(npae.AE(**QUICK).partial_fit(X).fit(X)) == learned(once)


def test_resuming_does_not_change_a_shallow_copy():
    ae = npae.AE(**QUICK).fit(X)
    shallow, before = copy.copy(ae), learned(ae)
    ae.partial_fit(X)
    assert learned(shallow) == before != learned(ae)


def test_the_optimizer_may_change_its_values_but_not_its_class():
    ae = npae.AE(**QUICK).fit(X)
    before = learned(ae)
    with pytest.raises(ValueError, match=r"resuming expected an optimizer .* Adam.* got SGD.*: keep the class"):
        ae.set_params(optimizer="sgd").partial_fit(X)
    assert learned(ae) == before
    assert ae.set_params(optimizer=npae.Adam(0.5)).partial_fit(X).history_.learning_rate[-1] == 0.5


@pytest.mark.parametrize("resume", ["partial_fit", "resume"])
def test_resuming_that_diverges_loses_nothing(resume):
    ae = npae.AE(**QUICK).fit(X)
    before = learned(ae)
    ae.set_params(optimizer=npae.Adam(1e300), epochs=20)
    with pytest.raises(RuntimeError, match="in epoch 11: it diverged"):
        ae.partial_fit(X) if resume == "partial_fit" else ae.fit(X, resume=True)
    assert learned(ae) == before
    assert np.isfinite(ae.reconstruct(X)).all()


def test_resuming_with_rows_of_another_width_is_refused():
    ae = npae.AE(**QUICK).fit(X)
    before = learned(ae)
    for resume in (ae.partial_fit, lambda rows: ae.fit(rows, resume=True)):
        with pytest.raises(ValueError, match=r"expected X of shape \(n, 6\), got \(60, 5\)"):
            resume(X[:, :5])
    assert learned(ae) == before
