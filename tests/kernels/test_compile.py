"""Compilation: vectors of any width, loops that become vectors, and the cache of machine code."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_helpers import needs_numba, output_of

import npae

pytestmark = needs_numba
X86 = platform.machine().lower() in ("x86_64", "amd64")

PRODUCTS = """
import numpy as np, npae
from npae.kernels.numba_backend import TWINS, products
rng = np.random.default_rng(0)
for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12))[:{dtypes}]:
    for M, K, N in [(1, 1, 1), (7, 9, 11), (33, 65, 64), (37, 300, 19), (128, 256, 256)]:
        a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((N, K)).astype(dtype)
        for left in (a, np.asfortranarray(a)):
            for right in (b.T, np.ascontiguousarray(b.T)):
                difference = TWINS["matmul"](left, right) - a.astype(float) @ b.T.astype(float)
                assert abs(difference).max() < tolerance * (1 + K)
npae.use_backend("numba")
stats = products.product_loop.dispatchers[np.dtype(np.float32)].stats
print(npae.backend_info()["vector_bytes"], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""

EVERY_KERNEL = """
import hashlib, numpy as np, npae
from npae.kernels.numba_backend import TWINS
rng = np.random.default_rng(0)
x, y, v, m = rng.standard_normal((4, 70, 90)).astype(np.float32)
v, key = abs(v), np.array([7], np.uint64)
adam, sgd = np.array([1e-3, 0.9, 0.999, 1e-8, 0.1, 0.1, 1e-2]), np.array([0.1, 0.9, 1.0])
weight, total = v[:, 0].copy(), np.empty(90, np.float32)
ARGUMENTS = {
    "dense": (x, y.T, x[0, :70]), "matmul": (x.T, y), "column_sums": (x, total), "take": (x, np.arange(9)),
    "copy": (x,), "all_finite": (x,), "relu": (x,), "leaky_relu": (x, 0.1), "elu": (x, 1.0), "sigmoid": (x,),
    "tanh": (x,), "relu_backward": (x, y),
    "leaky_relu_backward": (x, y, 0.1), "elu_backward": (x, y, 1.0), "sigmoid_backward": (x, y),
    "tanh_backward": (x, y), "mse": (x, y, weight), "bce": (x, y, weight), "mse_rows": (x, y), "bce_rows": (x, y),
    "ssim_map": (x, y, v, m * m, x * y, 0.1, 0.1), "gaussian_noise": (x, key, 0.5, 0, 1),
    "masking_noise": (x, key, 0.5), "salt_and_pepper": (x, key, 0.5, 0, 1),
    "adam": (x, y, m, v, adam), "sgd": (x, y, m, sgd), "add": (x, y), "multiply": (x, y),
    "gaussian_code": (x, key), "gaussian_code_backward": (x[:, :45], x, y[:, 45:]), "gaussian_kl": (x, 0.7, weight),
}
assert set(ARGUMENTS) == set(TWINS)
for name, arguments in ARGUMENTS.items():
    calls = [arguments, arguments[:2]] if name in ("mse", "bce") else [arguments]
    for call in calls:
        result = TWINS[name](*call)
        results = [*(result if isinstance(result, tuple) else (result,)), *call]
        digest = hashlib.sha256()
        for a in results:
            digest.update(np.ascontiguousarray(a) if isinstance(a, np.ndarray) else b"")
        print(name, digest.hexdigest()[:8])
"""


# --- vectors -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "darwin" or not X86, reason="names of x86 processors")
@pytest.mark.parametrize(("name", "features", "width"), [("haswell", "+avx2,+fma", 32), ("x86-64", "+sse2", 16)])
def test_the_tile_follows_the_features_of_the_host(name, features, width):
    environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    assert output_of(PRODUCTS.format(dtypes=2), environment=environment).split()[0] == str(width)


LOOPS = ["optimizers.adam_loop", "losses.bce_loop", "losses.mse_loop", "activations.saturate_loop"]
LOOPS += ["activations.rectify_loop", "noise.corrupt_loop"]


@pytest.mark.skipif(not X86, reason="looks for the instructions of x86")
@pytest.mark.parametrize("loop", LOOPS)
def test_loops_with_divisions_and_roots_become_vectors(loop):
    """A check within the loop, a call or another precision would prevent it, and cost ten times the time."""
    import importlib

    import numba
    from numba import types

    from npae.kernels.numba_backend import compile

    module, name = loop.split(".")
    compiled_loop = getattr(importlib.import_module(f"npae.kernels.numba_backend.{module}"), name)
    signature = types.void(types.intp, *(argument(types.float32) for argument in compiled_loop.arguments))
    compiled = numba.njit(signature, **compile.OPTIONS)(compiled_loop.function)
    assembly = compiled.inspect_asm(compiled.signatures[0])
    assert re.search(r"(mul|add|div|max|blendv?|cmp\w*|and\w*)ps\s.*%[xyz]mm", assembly), "no packed arithmetic"
    if name in ("adam_loop", "bce_loop", "saturate_loop"):
        assert re.search(r"v?divps\s.*%[xyz]mm", assembly), "one division at a time"
    if name in ("adam_loop", "corrupt_loop"):
        assert re.search(r"v?sqrtps\s.*%[xyz]mm", assembly), "one root at a time"


# --- the cache -----------------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path):
    """A copy of the package without machine code."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(npae.__file__).parent, tmp_path / "site" / "npae", ignore=ignore)
    return tmp_path / "site"


@pytest.fixture
def no_user_cache(tmp_path):
    """An environment in which the user's cache folder cannot be made, since its parent is a file."""
    (tmp_path / "file").write_text("no folder")
    blocked = str(tmp_path / "file" / "caches")
    return {"XDG_CACHE_HOME": blocked, "HOME": blocked, "LOCALAPPDATA": blocked}


def hits_and_misses(install, environment):
    return output_of(PRODUCTS.format(dtypes=1), environment=environment, package=install).split()[1:]


def test_an_install_that_is_not_writable_works_without_a_cache(install, no_user_cache):
    (install / "npae" / "kernels" / "numba_backend" / "__pycache__").write_text("no folder")
    for _ in range(2):
        assert hits_and_misses(install, no_user_cache)[0] == "0"


def test_machine_code_is_cached_until_a_file_changes(install, no_user_cache):
    assert hits_and_misses(install, no_user_cache) == ["0", "1"]
    assert hits_and_misses(install, no_user_cache) == ["1", "0"]
    tile = install / "npae" / "kernels" / "numba_backend" / "tile.py"
    tile.write_text(tile.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert hits_and_misses(install, no_user_cache) == ["0", "1"]


def test_the_process_that_compiles_and_those_that_load_get_the_same_bits(install, no_user_cache):
    compiling, loading = (output_of(EVERY_KERNEL, environment=no_user_cache, package=install) for _ in range(2))
    assert compiling == loading


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "cut in half"])
def test_damaged_cache_files_do_no_harm(install, no_user_cache, damage):
    hits_and_misses(install, no_user_cache)
    files = list(install.rglob("*.nb[ic]"))
    assert len(files) >= 4
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if damage is None else damage)
    hits_and_misses(install, no_user_cache)


def test_several_processes_may_fill_one_cache_at_once(install, no_user_cache):
    environment = os.environ | {"PYTHONPATH": str(install)} | no_user_cache
    command = [sys.executable, "-c", PRODUCTS.format(dtypes=1)]
    processes = [
        subprocess.Popen(command, env=environment, cwd=install, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
