"""Batches of tables, memory maps and iterables: every row once an epoch, in constant memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import Batches, table
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.fitting import batches

QUICK = {"hidden": (7,), "latent_dim": 2, "epochs": 3, "batch_size": 16, "random_state": 0}


def same_weights(a, b):
    pairs = zip(a.network_.parameters(), b.network_.parameters(), strict=True)
    return all(np.array_equal(p.value, q.value) for p, q in pairs)


# --- the order -----------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 500), batch_size=st.integers(1, 600), block=st.integers(1, 600), seed=st.integers(0, 2**32))
def test_every_row_comes_once_an_epoch_in_whole_batches(n, batch_size, block, seed):
    drawn = list(batches.shuffled_batches(n, batch_size, block, np.random.default_rng(seed)))
    assert sorted(np.concatenate(drawn).tolist()) == list(range(n))
    assert all(len(rows) == batch_size for rows in drawn[:-1])
    assert 1 <= len(drawn[-1]) <= batch_size


def test_the_rows_of_a_table_are_one_permutation():
    rows = np.concatenate(list(batches.shuffled_batches(1000, 64, 1000, np.random.default_rng(0))))
    np.testing.assert_array_equal(rows, np.random.default_rng(0).permutation(1000))


def test_blocks_are_shuffled_and_so_are_the_rows_of_each_pool():
    n, block = 20_000, 50
    rows = np.concatenate(list(batches.shuffled_batches(n, 100, block, np.random.default_rng(0))))
    first_pool = rows[: block * batches.POOL] // block
    assert len(set(first_pool.tolist())) == batches.POOL  # as many blocks as a pool holds
    assert first_pool.max() - first_pool.min() > n / block / 2  # and they come from all over the file
    assert (np.diff(first_pool) == 0).mean() < 0.1  # and their rows are mixed
    assert abs(np.corrcoef(rows, np.arange(n))[0, 1]) < 0.3


@pytest.mark.usefixtures("backend")
def test_a_batch_is_the_rows_asked_for():
    X, rows = table(50), np.array([7, 0, 49, 7])
    np.testing.assert_array_equal(batches.take(X, rows), X[rows])


# --- memory maps ---------------------------------------------------------------------------------------------------


def memory_map(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, ">f4"])
def test_a_fit_on_a_memory_map_equals_the_fit_on_the_table(make, dtype, tmp_path):
    X = (table(200) * 200).astype(dtype)
    X_map = memory_map(X, tmp_path)
    assert same_weights(make(**QUICK).fit(X_map), make(**QUICK).fit(X))
    assert same_weights(make(**QUICK).fit(X_map[::-1][:150]), make(**QUICK).fit(X[::-1][:150].copy()))
    transposed = np.lib.format.open_memmap(tmp_path / "T.npy", "w+", X.dtype, X.shape, fortran_order=True)
    transposed[...] = X
    assert same_weights(make(**QUICK).fit(transposed), make(**QUICK).fit(X))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_fit_on_a_memory_map_above_a_block_equals_the_fit_on_the_table(dtype, tmp_path):
    """joblib passes arrays above 1 MB to other processes as memory maps."""
    X = (table(3000, 400) * 200).astype(dtype)
    assert X.nbytes > batches.BLOCK
    assert same_weights(npae.AE(**QUICK).fit(memory_map(X, tmp_path)), npae.AE(**QUICK).fit(X))


@pytest.mark.usefixtures("backend")
def test_a_memory_map_of_many_blocks_is_read_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "LARGE", 600 * 6 * 8 - 1)
    monkeypatch.setattr(batches, "BLOCK", 10 * 6 * 8)
    monkeypatch.setattr(batches, "POOL", 2)
    X = table(600)
    X_map, seen = memory_map(X, tmp_path), []

    def watching(x, rng):
        seen.append(x.copy())
        return x

    settings = QUICK | {"epochs": 2, "batch_size": 20}
    dae = npae.DAE(**settings, corruption=watching).fit(X_map)
    for epoch in (seen[:30], seen[30:]):
        rows = np.concatenate(epoch)
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X, axis=0))
        where = [np.flatnonzero((row == X).all(axis=1))[0] // 10 for row in rows]
        assert all(len(set(where[i : i + 20])) <= 2 for i in range(0, 600, 20))
    assert not np.array_equal(np.concatenate(seen[:30]), np.concatenate(seen[30:]))
    assert np.isfinite(dae.reconstruct(X_map)).all()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [(np.nan, ValueError, "finite X, got nan at row 599, column 5"), (2.0, ValueError, r"targets in \[0, 1\]")],
)
def test_a_memory_map_is_checked_before_any_work(spoil, error, message, tmp_path):
    X = table(600)
    X[-1, -1] = spoil
    ae = npae.AE(**QUICK, loss="bce")
    with pytest.raises(error, match=message):
        ae.fit(memory_map(X, tmp_path))
    assert not hasattr(ae, "training_")
    with pytest.raises(ValueError, match="finite X, got inf"):
        npae.AE(**QUICK, dtype=np.float32).fit(memory_map(table(5) * 1e300, tmp_path))


def test_a_memory_map_is_never_written(tmp_path):
    np.save(tmp_path / "X.npy", table(50))
    X_map = np.load(tmp_path / "X.npy", mmap_mode="r+")
    npae.DAE(**QUICK).fit(X_map)
    np.testing.assert_array_equal(X_map, table(50))


WITHIN_LIMITS = """
import resource, sys, numpy as np, npae
X = np.load(sys.argv[1], mmap_mode="r")
small = np.zeros((512, 784), np.float32)
npae.AE(hidden=(16,), latent_dim=4, epochs=1, batch_size=256).fit(small).score(small)  # compiles
ae = npae.AE(hidden=(16,), latent_dim=4, epochs=1, batch_size=256, dtype=np.float32, random_state=0)
def batches():
    for first in range(0, len(X), 256):
        yield X[first : first + 256]
own = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()  # data and stack
resource.setrlimit(resource.RLIMIT_DATA, (own + 32 * 2**20,) * 2)
ae.fit(batches() if sys.argv[2] == "iterable" else X)
print(len(ae.history_.loss), X.nbytes, *ae.encode(X).shape, ae.score(X) <= 0)
"""


@pytest.mark.once
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux' limits")
@pytest.mark.parametrize("source", ["memory map", "iterable"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_data_larger_than_the_memory_limit_are_learned_and_encoded_within_it(source, dtype, tmp_path):
    shape = (128 * 2**20 // 784 // 4, 784)  # 128 MB as float32, with 32 to work in: a file of holes
    np.lib.format.open_memmap(tmp_path / "X.npy", "w+", dtype, shape)
    done = subprocess.run(
        [sys.executable, "-c", WITHIN_LIMITS, str(tmp_path / "X.npy"), source],
        capture_output=True, text=True, check=False, cwd=Path(npae.__file__).parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows, size = str(shape[0]), str(shape[0] * shape[1] * np.dtype(dtype).itemsize)
    assert done.stdout.split() == ["1", size, rows, "4", "True"]


# --- iterables -----------------------------------------------------------------------------------------------------


class Counted(Batches):
    def __len__(self):
        return len(self.batches)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("make", [npae.AE, npae.DAE])
def test_batches_are_taken_as_they_come_one_step_each(make):
    X, seen = table(50), []

    def watching(x, rng):
        seen.append(x.copy())
        return x

    source = Batches(X[:20], X[20:23], X[23:].tolist())
    npae.DAE(**QUICK, corruption=watching).fit(source)
    assert [len(x) for x in seen] == [20, 3, 27] * 3
    np.testing.assert_array_equal(np.concatenate(seen), np.tile(X, (3, 1)))
    assert source.started == 3
    model = make(**QUICK, dtype=np.float32).fit(source)
    assert model.encode(X).dtype == np.float32
    assert model.n_features_in_ == 6


@pytest.mark.usefixtures("backend")
def test_a_fit_on_full_batches_of_an_iterable_equals_the_fit_on_the_table():
    X = table(40)
    settings = QUICK | {"batch_size": 40, "epochs": 20}
    ae, twin = npae.AE(**settings).fit(Batches(X)), npae.AE(**settings).fit(X)
    np.testing.assert_allclose(ae.encode(X), twin.encode(X), rtol=1e-9)
    assert ae.history_.loss == pytest.approx(twin.history_.loss, rel=1e-12)


def test_a_generator_is_enough_for_one_epoch_only():
    X = table(50)
    once = npae.AE(**(QUICK | {"epochs": 1})).fit(x for x in (X[:20], X[20:]))
    assert len(once.history_.loss) == 1
    assert len(once.partial_fit(x for x in (X[:20], X[20:])).history_.loss) == 2
    ae = npae.AE(**QUICK)
    for used_up in ((x for x in (X,)), map(np.asarray, [X]), zip(X, X, strict=True)):
        with pytest.raises(TypeError, match=r"AE expected an iterable of batches .* 3 times, .* got .* pass an object"):
            ae.fit(used_up)
    assert not hasattr(ae, "training_")


def test_a_schedule_needs_to_know_how_many_batches_there_are():
    X = table(50)
    ae = npae.AE(**QUICK, optimizer=npae.Adam(npae.Cosine(0.1)))
    with pytest.raises(ValueError, match=r"total_steps for Cosine.* got None: .* __len__"):
        ae.fit(Batches(X[:25], X[25:]))
    rates = ae.fit(Counted(X[:25], X[25:])).history_.learning_rate
    assert rates[-1] == 0 < rates[1]


@pytest.mark.parametrize(
    ("piece", "error", "message"),
    [
        (np.ones((5, 5)), ValueError, r"AE expected batch 2 of shape \(n, 6\), got \(5, 5\)"),
        (np.full((5, 6), np.nan), ValueError, "AE expected finite batch 2, got nan"),
        (np.full((5, 6), 2.0), ValueError, r"BCE expected targets in \[0, 1\]"),
        ([["a"] * 6], TypeError, "AE expected batch 2 as real numbers"),
        (np.ones((0, 6)), ValueError, "AE expected batch 2 .* at least one row"),
    ],
    ids=["narrow", "NaN", "range", "strings", "empty"],
)
def test_a_bad_batch_ends_the_fit_and_keeps_what_was_learned_before(piece, error, message):
    X = table(20)
    ae = npae.AE(**QUICK, loss="bce")
    for earlier in (False, True):
        if earlier:
            ae.fit(X)
        before = dict(vars(ae))
        with pytest.raises(error, match=message):
            ae.fit(Batches(X, piece))
        assert vars(ae) == before
        codes = ae.encode(X) if earlier else None
        with pytest.raises(error, match=message):
            ae.partial_fit(Batches(X, piece))
        if earlier:
            np.testing.assert_array_equal(ae.encode(X), codes)


class Exhausted:
    """Not an iterator, but empty after one epoch."""

    def __init__(self, *batches):
        self.batches = iter(batches)

    def __iter__(self):
        yield from self.batches


def test_an_iterable_without_batches_is_refused():
    ae = npae.AE(**QUICK)
    with pytest.raises(ValueError, match="AE expected at least one batch, got none"):
        ae.fit(Batches())
    with pytest.raises(ValueError, match=r"expected batches in every epoch, got none: let __iter__ begin again"):
        ae.fit(Exhausted(table(20)))
    with pytest.raises(ValueError, match="no sample_weight with an iterable"):
        ae.fit(Batches(table(20)), sample_weight=np.ones(20))
    with pytest.raises(ValueError, match=r"batch 1 of shape \(n, d\), got \(\)"):
        ae.fit({1.0, 2.0})
    assert not hasattr(ae, "training_")
