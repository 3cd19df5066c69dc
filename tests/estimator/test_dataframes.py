"""Column names are remembered, compared and given to codes; a missing library is named."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import NAMES, UNFITTED, Frame, X, each_model, refuses

import npae


@each_model
def test_the_names_of_the_columns_are_remembered_until_the_next_fit(name):
    model = UNFITTED[name]().fit(Frame(X, NAMES))
    assert model.feature_names_in_.dtype == object
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    np.testing.assert_array_equal(model.encode(Frame(X, NAMES)), UNFITTED[name]().fit(X).encode(X))
    assert not hasattr(model.fit(X), "feature_names_in_")
    assert not hasattr(model.fit(Frame(X, range(6))), "feature_names_in_")
    assert not hasattr(model.fit(Frame(X, [("a", i) for i in range(6)])), "feature_names_in_")


@each_model
def test_columns_of_other_names_or_in_another_order_are_refused(name):
    model = UNFITTED[name]().fit(Frame(X, NAMES))
    calls = [model.transform, model.encode, model.reconstruct, model.score]
    calls += [lambda V: model.fit(Frame(X, NAMES), validation=V)] if name != "PCA" else [model.transform]
    for call in calls:
        refuses(lambda call=call: call(Frame(X, NAMES[::-1])), ValueError, "same order as they were in fit", "Select")
        refuses(lambda call=call: call(Frame(X[:, :5], NAMES[:5])), ValueError, "yet now missing:\n- spin\n", "Select")
        refuses(
            lambda call=call: call(Frame(X, [*"abcdef"])),
            ValueError,
            "unseen at fit time:\n- a\n",
            "- e\n- ...\nFeature",
        )
    refuses(lambda: model.fit(Frame(X, [*NAMES[:5], 5])), TypeError, "all named by text", "['int', 'str']", "astype")
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)


@each_model
def test_names_on_one_side_alone_are_warned_of_at_the_callers_line(name):
    named, bare = UNFITTED[name]().fit(Frame(X, NAMES)), UNFITTED[name]().fit(X)
    for method in ("transform", "encode", "reconstruct", "score"):
        for model, table, message in (
            (named, X, f"X does not have valid feature names, but {name} was fitted with"),
            (bare, Frame(X, NAMES), f"X has feature names, but {name} was fitted without"),
        ):
            with pytest.warns(UserWarning, match=message) as caught:
                getattr(model, method)(table)
            assert [Path(w.filename) for w in caught] == [Path(__file__)]


@each_model
def test_no_warning_where_both_sides_have_names_or_none(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (X, Frame(X, NAMES), Frame(X, range(6))):
            model = UNFITTED[name]().fit(table)
            model.transform(table)
            model.score(table)
            model.inverse_transform(model.transform(table))


@each_model
def test_codes_have_names_after_the_class(name):
    model = UNFITTED[name]()
    refuses(model.get_feature_names_out, RuntimeError, "fitted first", "call fit(X)")
    out = model.fit(Frame(X, NAMES)).get_feature_names_out()
    assert out.dtype == object
    assert out.tolist() == [f"{name.lower()}0", f"{name.lower()}1"]
    assert model.get_feature_names_out(NAMES).tolist() == out.tolist()
    refuses(
        lambda: model.get_feature_names_out(NAMES[:2]), ValueError, "number of features (6), got shape (2,)", "pass"
    )
    refuses(lambda: model.get_feature_names_out(NAMES[::-1]), ValueError, "not equal to feature_names_in_", "leave")
    assert model.fit(X).get_feature_names_out(NAMES[::-1]).tolist() == out.tolist()


def test_own_networks_that_only_bend_have_names_for_their_codes_too():
    dense = npae.Sequential(npae.Dense(6, 6, rng=0))
    bend = npae.Sequential(npae.Tanh())
    for encoder, decoder in ((dense, bend), (bend, dense)):
        ae = npae.AE(encoder=encoder, decoder=decoder, epochs=1).fit(X)
        assert len(ae.get_feature_names_out()) == ae.encode(X).shape[1] == 6


@each_model
def test_names_are_saved_and_loaded(name, tmp_path):
    model = UNFITTED[name]().fit(Frame(X, NAMES))
    npae.save(model, tmp_path / "model.npz")
    twin = npae.load(tmp_path / "model.npz")
    assert twin.feature_names_in_.dtype == object
    np.testing.assert_array_equal(twin.feature_names_in_, NAMES)
    np.testing.assert_array_equal(twin.encode(Frame(X, NAMES)), model.encode(Frame(X, NAMES)))


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    model = npae.PCA(2).fit(X)
    refuses(
        lambda: model.set_output(transform="polars"), ImportError, "PCA.set_output", "no such package", "pip install"
    )
    refuses(lambda: model.set_output(transform="xarray"), ValueError, "('default', 'pandas', 'polars')", "'xarray'")
    assert isinstance(model.set_output().transform(X), np.ndarray)
