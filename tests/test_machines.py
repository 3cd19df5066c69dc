"""Machines differ: whatever vectors, cache folders and memory they have, the compiled kernels work."""

import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers import HAVE_NUMBA

import npae

needs_numba = pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")

PRODUCTS = """
import numpy as np, npae
from npae.kernels import numba_backend as kernels
from npae.kernels.numba_backend import products
rng = np.random.default_rng(0)
for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12))[:{dtypes}]:
    for M, K, N in [(1, 1, 1), (7, 9, 11), (33, 65, 64), (37, 300, 19), (128, 256, 256)]:
        a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((N, K)).astype(dtype)
        for left in (a, np.asfortranarray(a)):
            for right in (b.T, np.ascontiguousarray(b.T)):
                difference = kernels.matmul(left, right) - a.astype(float) @ b.T.astype(float)
                assert abs(difference).max() < tolerance * (1 + K)
npae.use_backend("numba")
stats = products._product[np.dtype(np.float32)].stats
print(npae.backend_info()["vector_bytes"], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


EVERY_KERNEL = """
import hashlib, numpy as np
from npae.kernels import numba_backend as kernels
rng, digests = np.random.default_rng(0), []
x, y, v, m = rng.standard_normal((4, 70, 90)).astype(np.float32)
key, adam = np.array([7], np.uint64), np.array([1e-3, 0.9, 0.999, 1e-8, 0.1, 0.1, 1e-2])
sgd, v = np.array([0.1, 0.9, 1.0]), abs(v)
for result in (
    kernels.dense(x, y.T, x[0, :70]), kernels.matmul(x.T, y), kernels.column_sums(x), kernels.relu(x),
    kernels.leaky_relu(x, 0.1), kernels.elu(x, 1.0), kernels.sigmoid(x), kernels.tanh(x), kernels.relu_backward(x, y),
    kernels.elu_backward(x, y, 1.0), kernels.sigmoid_backward(x, y), kernels.tanh_backward(x, y), *kernels.mse(x, y),
    *kernels.bce(x, y), *kernels.ssim_map(x, y, v, m * m, x * y, 0.1, 0.1), kernels.gaussian_noise(x, key, 0.5, 0, 1),
    kernels.masking_noise(x, key, 0.5), kernels.take(x, np.arange(9)),
    kernels.adam(x, y, m, v, adam), x, m, v, kernels.sgd(x, y, m, sgd), x, m,
):
    digests.append(hashlib.sha256(np.ascontiguousarray(result)).hexdigest()[:8] if result is not None else "-")
print(*digests)
"""


def run(program, environment, package=None):
    package = Path(npae.__file__).parent.parent if package is None else package
    environment = os.environ | {"PYTHONPATH": str(package)} | environment
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=package, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_numba
@pytest.mark.skipif(sys.platform == "darwin", reason="names of x86 processors")
@pytest.mark.parametrize(("name", "features", "width"), [("haswell", "+avx2,+fma", 32), ("x86-64", "+sse2", 16)])
def test_the_tile_follows_the_features_of_the_host(name, features, width):
    import platform

    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("names of x86 processors")
    environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    assert run(PRODUCTS.format(dtypes=2), environment)[0] == str(width)


@needs_numba
def test_every_kind_of_host_has_a_tile():
    from npae.kernels.numba_backend.tile import shape_for

    assert shape_for("+sse2,+avx,+avx2,+avx512f").bytes == 64
    assert shape_for("+sse2,+avx,+avx2,-avx512f").bytes == 32
    assert shape_for("+neon").bytes == 16
    assert shape_for("").bytes == 16
    for features in ("+avx512f", "+avx2", "+neon", ""):
        shape = shape_for(features)
        registers = 32 if features in ("+avx512f", "+neon") else 16
        assert shape.heights[0] * shape.vectors + shape.vectors + 1 <= registers
        assert shape.heights[-1] == 1
        assert list(shape.heights) == sorted(set(shape.heights), reverse=True)


@needs_numba
def test_the_instructions_that_the_docstring_shows_are_those_that_are_emitted():
    from llvmlite import ir

    from npae.kernels.numba_backend import tile

    text = str(tile.emit_tile(ir.Module(), ir.FloatType(), tile.Shape(8, 1, (1,)), 1)).replace('"', "")
    loop = text[text.index("loop:") : text.index("after:")]
    shown = tile.__doc__[tile.__doc__.index("loop:") : tile.__doc__.index("Two loads")]
    assert shown.split() == loop.split()


@needs_numba
@pytest.mark.parametrize("kernel", ["adam", "bce", "mse", "saturate", "rectify", "corrupt"])
def test_loops_with_divisions_and_roots_become_vectors(kernel):
    """What costs ten times the time if it is lost: no check in the middle of a loop, no call, no other precision."""
    import platform

    import numba
    from numba import types

    from npae.kernels.numba_backend import compile, elementwise, noise

    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("looks for the instructions of x86")
    of = getattr(noise if kernel == "corrupt" else elementwise, kernel)
    signature = types.void(types.intp, *(argument(types.float32) for argument in of.arguments))
    compiled = numba.njit(signature, **compile.OPTIONS)(of.function)
    assembly = compiled.inspect_asm(compiled.signatures[0])
    assert re.search(r"(mul|add|div|max|blendv?|cmp\w*|and\w*)ps\s.*%[xyz]mm", assembly), "no packed arithmetic"
    if kernel in ("adam", "bce", "saturate"):
        assert re.search(r"v?divps\s.*%[xyz]mm", assembly), "divisions are made one by one"
    if kernel in ("adam", "corrupt"):
        assert re.search(r"v?sqrtps\s.*%[xyz]mm", assembly), "roots are taken one by one"


# --- the cache of compiled kernels -----------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path):
    """A copy of the package without anything compiled."""
    shutil.copytree(
        Path(npae.__file__).parent, tmp_path / "site" / "npae", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "site"


def nowhere(tmp_path):
    """An environment whose folder for caches is a file."""
    (tmp_path / "file").write_text("no folder")
    blocked = str(tmp_path / "file" / "caches")
    return {"XDG_CACHE_HOME": blocked, "HOME": blocked, "LOCALAPPDATA": blocked}


@needs_numba
def test_an_install_that_cannot_be_written_to_works_without_a_cache(install, tmp_path):
    (install / "npae" / "kernels" / "numba_backend" / "__pycache__").write_text("no folder")
    for _ in range(2):
        _, hits, _ = run(PRODUCTS.format(dtypes=1), nowhere(tmp_path), install)
        assert hits == "0"


@needs_numba
def test_what_is_compiled_is_kept_until_a_file_changes(install, tmp_path):
    program = PRODUCTS.format(dtypes=1)
    assert run(program, nowhere(tmp_path), install)[1:] == ["0", "1"]
    assert run(program, nowhere(tmp_path), install)[1:] == ["1", "0"]
    tile = install / "npae" / "kernels" / "numba_backend" / "tile.py"
    tile.write_text(tile.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert run(program, nowhere(tmp_path), install)[1:] == ["0", "1"]


@needs_numba
def test_the_process_that_compiles_and_those_that_load_get_the_same_bits(install, tmp_path):
    compiling, loading = (run(EVERY_KERNEL, nowhere(tmp_path), install) for _ in range(2))
    assert compiling == loading


@needs_numba
@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "cut in half"])
def test_damaged_cache_files_do_no_harm(install, tmp_path, damage):
    program = PRODUCTS.format(dtypes=1)
    run(program, nowhere(tmp_path), install)
    files = list(install.rglob("*.nb[ic]"))
    assert len(files) >= 4
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if damage is None else damage)
    run(program, nowhere(tmp_path), install)


@needs_numba
def test_several_processes_may_fill_the_cache_of_one_install_at_once(install, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(install)} | nowhere(tmp_path)
    command = [sys.executable, "-c", PRODUCTS.format(dtypes=1)]
    started = [
        subprocess.Popen(command, env=environment, cwd=install, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in started:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


NOT_COMPILED = """
import warnings, numpy as np, npae
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ae = npae.AE((4,), 2, epochs=2, random_state=0).fit(np.random.default_rng(0).random((20, 6)))
assert ["NUMBA_DISABLE_JIT" in str(w.message) for w in caught] == [True], caught
try: npae.use_backend("numba")
except ImportError as error: assert "unset it" in str(error)
print(npae.backend_name())
"""


@needs_numba
def test_where_numba_must_not_compile_numpy_computes():
    environment = {"NUMBA_DISABLE_JIT": "1", "NPAE_BACKEND": ""}
    assert run(NOT_COMPILED, environment) == ["numpy"]


# --- numbers too small to be normal ---------------------------------------------------------------------------


@needs_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [10, 100_000])  # on this thread alone, and on all
def test_means_of_weights_that_learn_no_more_decay_to_zero(dtype, size):
    """A few numbers below the normal would stay for ever, and cost a hundred times as much."""
    import platform

    from npae.kernels import numba_backend

    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("other processors compute with them as fast")
    weights, none, v = np.ones(size, dtype), np.zeros(size, dtype), np.ones(size, dtype)
    m = np.full(size, 100 * np.finfo(dtype).tiny)
    numbers = np.array([0.001, 0.9, 0.999, 1e-8, 0.1, 0.001, 0.0])
    for _ in range(100):
        assert not ((m != 0) & (m < np.finfo(dtype).tiny)).any()
        numba_backend.adam(weights, none, m, v, numbers)
    assert not m.any()


@needs_numba
def test_the_calling_thread_computes_with_tiny_numbers_as_before():
    from npae.kernels import numba_backend

    tiny = np.full(100_000, np.finfo(np.float32).tiny)
    for size in (10, tiny.size):
        numba_backend.sigmoid(tiny[:size])
        assert (tiny / 4 * 4 == tiny).all()


# --- memory ---------------------------------------------------------------------------------------------------


def test_data_on_disk_train_in_little_memory(backend, tmp_path):
    """100 MB in a memory map; what Python and NumPy allocate meanwhile is a small part of it."""
    X = np.memmap(tmp_path / "X", dtype=np.float32, mode="w+", shape=(64_000, 400))
    ae = npae.AE(hidden=(16,), latent_dim=4, epochs=1, batch_size=256, random_state=0)
    ae.fit(X[:512])  # whatever is compiled and imported at first use
    tracemalloc.start()
    ae.fit(np.load(_saved(tmp_path, X), mmap_mode="r"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6, f"{peak / 1e6:.0f} MB"


def _saved(folder, X):
    path = folder / "X.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=X.dtype, shape=X.shape).flush()
    return path
