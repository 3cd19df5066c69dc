"""`fit` warns of a code that can copy x and of a table without a scale, once, and of nothing else."""

import warnings

import numpy as np
import pytest
from helpers import Batches, table

import npae
from npae.fitting.advice import unscaled

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 1, "batch_size": 16, "random_state": 0}
COPY, SCALE = "AE expected a code smaller than the 6 columns of X, got latent_dim=", "columns of about one scale"
X = table()
NORMAL = np.random.default_rng(0).standard_normal((200, 6))


def warned(call):
    """The messages of the warnings of call(), each of which must point at this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all((w.category, w.filename) == (UserWarning, __file__) for w in caught)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("sizes", [{"latent_dim": 6}, {"latent_dim": 32}, {"latent_dim": 6, "hidden": (9, 6)}])
def test_a_code_that_can_copy_is_warned_of_once_a_fit(sizes):
    ae = npae.AE(**QUICK | sizes)
    for _ in range(2):
        (message,) = warned(lambda: ae.fit(X))
        assert message.startswith(f"{COPY}{sizes['latent_dim']} ")
    assert not warned(lambda: ae.partial_fit(X))
    assert not warned(lambda: ae.set_params(epochs=3).fit(X, resume=True))
    assert len(warned(lambda: npae.AE(**QUICK | sizes).partial_fit(X))) == 1


def test_a_code_that_cannot_copy_is_not_warned_of():
    class Penalised(npae.AE):
        def _limits_code(self):
            return True

    own = {"encoder": npae.Sequential(npae.Dense(6, 9, rng=0)), "decoder": npae.Sequential(npae.Dense(9, 6, rng=0))}
    models = [
        npae.AE(**QUICK),
        npae.AE(**QUICK | {"latent_dim": 5}),
        npae.AE(**QUICK | {"latent_dim": 32, "hidden": 5}),
    ]
    models += [npae.DAE(**QUICK | {"latent_dim": 32}), npae.AE(**QUICK | own), Penalised(**QUICK | {"latent_dim": 32})]
    models += [npae.AE(**QUICK | {"latent_dim": 32, "epochs": 0})]  # nothing is learned
    for model in models:
        assert not warned(lambda model=model: model.fit(X))


@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("kind", ["array", "float32", "memory map", "iterable"])
def test_columns_without_a_common_scale_are_warned_of(make, kind, tmp_path):
    A = NORMAL * [1, 1, 1, 1, 300, 1]
    if kind == "memory map":
        np.save(tmp_path / "A.npy", A)
        A = np.load(tmp_path / "A.npy", mmap_mode="r")
    A = {"float32": A.astype(np.float32), "iterable": Batches(A[:100], A[100:])}.get(kind, A)
    (message,) = warned(lambda: make(**QUICK).fit(A))
    assert SCALE in message
    assert "in column 4 " in message
    assert "StandardScaler" in message


@pytest.mark.parametrize(
    ("A", "trouble"),
    [
        (NORMAL, ""),
        (NORMAL * 1e6, ""),  # one factor for all columns does no harm
        (NORMAL * [1, 2, 5, 10, 20, 50], ""),
        (NORMAL + 5, ""),
        (np.full((9, 6), 1e6), ""),  # constant columns cannot be scaled
        (np.c_[NORMAL, np.full(200, 1e6)], ""),
        (NORMAL[:1] * [1, 1, 1, 1, 1, 1e6], ""),
        (NORMAL * [1, 1, 1, 1, 1, 200], "column 5 "),
        (NORMAL + 30, "standard deviations from zero"),
        (NORMAL * 10 + [2000, 0, 0, 0, 0, 0], "standard deviations from zero"),
    ],
)
def test_what_counts_as_unscaled(A, trouble):
    assert (trouble in unscaled(A)) if trouble else unscaled(A) == ""


def test_images_are_not_warned_of_in_any_range():
    digits = npae.datasets.digits()[0][:500]
    for images in (digits, digits * 255, (digits * 255).astype(np.uint8), 1 - digits):
        assert not warned(lambda images=images: npae.AE((32,), 8, epochs=1, random_state=0).fit(images))


def test_a_loss_of_its_own_range_is_not_warned_of():
    tiny = X * [1, 1, 1, 1, 1, 1e-4] * 1e-3 + [0, 0, 0, 0, 0.9, 0]
    assert not warned(lambda: npae.AE(**QUICK, loss="bce").fit(tiny))
    assert len(warned(lambda: npae.AE(**QUICK).fit(tiny))) == 1


def test_a_warning_that_is_an_error_changes_nothing():
    ae = npae.AE(**QUICK).fit(X)
    codes = ae.encode(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=COPY):
            ae.set_params(latent_dim=6).fit(X)
    np.testing.assert_array_equal(ae.encode(X), codes)
