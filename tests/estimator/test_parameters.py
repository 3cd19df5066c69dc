"""Constructor arguments and the fields of recipes are read and set by name."""

import dataclasses

import pytest
from helpers import X, refuses
from hypothesis import given
from hypothesis import strategies as st
from nonsense import NONE, NOT_FINITE, THINGS, WORDS

import npae


def test_the_fields_of_recipes_can_be_read_and_set_by_name():
    adam = npae.Adam(npae.Cosine(0.1))
    dae = npae.DAE(optimizer=adam, corruption=npae.GaussianNoise(0.5))
    deep = dae.get_params()
    assert deep["optimizer"] is adam
    assert (deep["optimizer__beta1"], deep["optimizer__learning_rate__start"]) == (0.9, 0.1)
    assert deep["corruption__std"] == 0.5
    assert not [name for name in dae.get_params(deep=False) if "__" in name]
    dae.set_params(optimizer__learning_rate__start=0.3, optimizer__beta1=0.8, corruption__std=0.1, latent_dim=5)
    assert dae.optimizer == npae.Adam(npae.Cosine(0.3), beta1=0.8)
    assert (dae.corruption, dae.latent_dim) == (npae.GaussianNoise(0.1), 5)
    assert adam == npae.Adam(npae.Cosine(0.1))


def test_what_get_params_tells_set_params_takes_whatever_stood_there():
    told = npae.DAE(optimizer=npae.SGD(npae.Cosine(0.1), momentum=0.9, nesterov=True), loss=npae.BCE()).get_params()
    for other in (npae.DAE(), npae.DAE(optimizer=npae.Adam()), npae.DAE(optimizer=npae.SGD(0.1), loss=npae.MSE())):
        assert other.set_params(**told).get_params() == told


@dataclasses.dataclass
class Counting:
    """A corruption of one's own, which counts its calls."""

    std: float
    calls: int = dataclasses.field(default=0, init=False)

    def __call__(self, x, rng):
        self.calls += 1
        return x + self.std * rng.standard_normal(x.shape)


def test_only_what_a_recipe_is_made_with_is_a_parameter():
    dae = npae.DAE(corruption=Counting(0.1), optimizer=npae.Adam)
    assert {name for name in dae.get_params() if "__" in name} == {"corruption__std"}
    first = dae.corruption
    assert dae.set_params(corruption__std=0.2).corruption == Counting(0.2)
    assert first == Counting(0.1)


class Extended(npae.AE):
    """With a constructor of its own, as scikit-learn's users write it."""

    def __init__(self, hidden=(8,), *, extra=1.0, latent_dim=2, **others):
        super().__init__(hidden, latent_dim, **others)
        self.extra = extra


class Alone(npae.AE):
    def __init__(self, extra=None):
        super().__init__((8,), 2, epochs=1)
        self.extra = extra


def test_a_subclass_has_the_parameters_of_its_own_constructor():
    model = Extended(extra=5, random_state=0)
    assert set(model.get_params(deep=False)) == {*npae.AE().get_params(deep=False), "extra"}
    assert (model.get_params()["extra"], model.get_params()["latent_dim"]) == (5, 2)
    assert repr(model) == "Extended(random_state=0, extra=5)"
    assert model.set_params(extra=7, batch_size=3).extra == 7
    assert list(Alone(3).get_params()) == ["extra"]
    assert repr(Alone(3)) == "Alone(extra=3)"
    with pytest.raises(ValueError, match=r"names among \['extra'\], got \['epochs'\]"):
        Alone().set_params(epochs=3)
    assert Extended(epochs=1).fit(X).encode(X).shape == (60, 2)


def test_a_whole_recipe_is_set_before_its_fields():
    ae = npae.AE().set_params(optimizer__beta1=0.8, optimizer=npae.Adam(0.1))
    assert ae.optimizer == npae.Adam(0.1, beta1=0.8)


@pytest.mark.parametrize(
    ("params", "error", "parts"),
    [
        ({"latent": 3}, ValueError, ("names among", "['latent']", "spelling")),
        ({"optimizer__rate": 3}, ValueError, ("'optimizer__learning_rate'", "['optimizer__rate']", "spelling")),
        ({"optimizer__learning_rate__start": 3}, ValueError, ("names among", "learning_rate__start", "spelling")),
        ({"loss__weight": 3}, ValueError, ("names among", "['loss__weight']", "spelling")),
        ({"optimizer__learning_rate": -1.0}, ValueError, ("learning_rate", "-1.0", "choose")),
    ],
)
def test_a_parameter_that_does_not_exist_or_fit_is_refused_and_none_is_changed(params, error, parts):
    ae = npae.AE(optimizer=npae.Adam())
    before = ae.get_params()
    refuses(lambda: ae.set_params(**{"epochs": 3, "optimizer__beta1": 0.5} | params), error, *parts)
    assert ae.get_params() == before


@given(data=st.data())
def test_a_constructor_of_an_estimator_never_raises(data):
    for make in (npae.AE, npae.DAE, npae.PCA):
        nonsense = {name: data.draw(WORDS | THINGS | NOT_FINITE | NONE) for name in make().get_params()}
        model = make(**nonsense)
        assert all(getattr(model, name) is value for name, value in nonsense.items())
        assert repr(model).startswith(make.__name__)
