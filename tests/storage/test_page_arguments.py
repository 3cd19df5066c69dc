"""What `export` refuses for a page, before anything is written."""

import os

import numpy as np
import pytest
from explorer import QUICK, Scaler, X, Y
from helpers import refuses

import npae


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.html"


class Swish(npae.ReLU):
    pass


def test_arguments_that_do_not_fit_are_refused_and_the_old_file_is_kept(path):
    path.write_text("old")
    ae = npae.AE(**QUICK).fit(X)
    for error, part, arguments in (
        (TypeError, "rows to show", {"X": None}),
        (ValueError, r"of shape (n, 6)", {"X": X[:, :5]}),
        (ValueError, "weights as one of", {"weights": "int4"}),
        (ValueError, "weights as one of", {"weights": 8}),
        (ValueError, "labels of shape (60,)", {"labels": Y[:3]}),
        (ValueError, "12 kinds", {"labels": np.arange(60)}),
        (ValueError, "NaN", {"labels": np.full(60, np.nan)}),
        (TypeError, "labels of one kind", {"labels": np.array(["a", 1] * 30, object)}),
        (ValueError, "6 pixels", {"image_shape": (2, 2)}),
        (ValueError, "image_shape", {"image_shape": 6}),
        (ValueError, "leave out one", {"image_shape": (2, 3), "units": list("abcdef")}),
        (ValueError, "image_shape or scaler", {"image_shape": (2, 3), "scaler": Scaler(1, 0)}),
        (TypeError, "scaler fitted on 6 columns", {"scaler": "standard"}),
        (TypeError, "scaler fitted on 6 columns", {"scaler": Scaler(np.ones(5), 0)}),
        (ValueError, "multiplies each column", {"scaler": npae.PCA(6).fit(X)}),
        (ValueError, "multiplies each column", {"scaler": Scaler(1, np.nan)}),
        (ValueError, "names as 6 texts", {"names": ["a"]}),
        (ValueError, "units as 6 texts", {"units": "metres"}),
        (ValueError, "names as 6 texts", {"names": range(6)}),
    ):
        refuses(lambda arguments=arguments: ae.export(path, **{"X": X, **arguments}), error, part)
    own = npae.Sequential(npae.Dense(2, 6, rng=0), Swish())
    model = npae.AE(encoder=npae.Sequential(npae.Dense(6, 2, rng=0)), decoder=own, epochs=1).fit(X)
    refuses(lambda: model.export(path, X), TypeError, "layers of npae's own", "Swish")
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["model.html"]


def test_what_a_page_shows_is_refused_with_another_ending(tmp_path):
    ae = npae.AE(**QUICK).fit(X)
    for more in ({"X": X}, {"labels": Y}, {"image_shape": (2, 3)}, {"weights": "int8"}, {"kept": npae.KeepWeights()}):
        refuses(lambda more=more: ae.export(tmp_path / "model.py", **more), ValueError, "ends in .html", *more)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [npae.AE, npae.DAE, npae.VAE, npae.PCA])
def test_there_is_no_page_before_the_fit(make, path):
    with pytest.raises(RuntimeError, match=f"{make.__name__} expected to be fitted"):
        make().export(path, X)


def test_a_page_that_fails_midway_leaves_the_old_one(path, monkeypatch):
    def full(place):
        raise OSError(28, "No space left on device")

    npae.PCA(1).fit(X).export(path, X)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        npae.PCA(2).fit(X).export(path, X)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["model.html"]


def test_weights_that_were_kept_elsewhere_are_refused(path):
    ae, kept = npae.AE(**QUICK).fit(X), npae.KeepWeights()
    refuses(lambda: ae.export(path, X, kept=[1]), TypeError, "as a KeepWeights")
    refuses(lambda: ae.export(path, X, kept=kept), ValueError, "of its own fit")
    npae.AE(**QUICK | {"latent_dim": 3}).fit(X, callbacks=kept)
    refuses(lambda: ae.export(path, X, kept=kept), ValueError, "of its own fit")
    refuses(lambda: npae.PCA(2).fit(X).export(path, X, kept=kept), TypeError, "PCA")
