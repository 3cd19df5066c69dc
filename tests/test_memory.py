"""Memory: a fit on a file needs little of it."""

import tracemalloc

import numpy as np
import pytest

import npae


@pytest.mark.once
def test_data_on_disk_train_in_little_memory(backend, tmp_path):
    """100 MB in a memory map; what Python and NumPy allocate meanwhile is a small part of it."""
    X = np.memmap(tmp_path / "X", dtype=np.float32, mode="w+", shape=(64_000, 400))
    ae = npae.AE(hidden=(16,), latent_dim=4, epochs=1, batch_size=256, random_state=0)
    ae.fit(X[:512])  # whatever is compiled and imported at first use
    np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=X.dtype, shape=X.shape).flush()
    tracemalloc.start()
    ae.fit(np.load(tmp_path / "X.npy", mmap_mode="r"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6, f"{peak / 1e6:.0f} MB"
