"""No kernel reads or writes outside its arrays: each operand lies against memory that may not be touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import HAVE_NUMBA

import npae

pytestmark = [
    pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted"),
    pytest.mark.skipif(os.name != "posix", reason="needs mprotect"),
]

GUARDED = """
import ctypes, mmap, sys
import numpy as np
from npae.kernels import numba_backend as kernels

libc, page, kept = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, []

def guarded(shape, dtype, end, order="C"):
    '''An array that ends right before a page that may not be touched, or begins right after one.'''
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-max(size, 1) // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (start, start + (pages + 1) * page):
        assert libc.mprotect(ctypes.c_void_p(guard), page, 0) == 0, ctypes.get_errno()
    kept.append(memory)
    offset = page + (pages * page - size if end else 0)
    flat = np.frombuffer(memory, np.uint8, size, offset).view(dtype)
    return flat.reshape(shape, order=order)

def filled(rng, shape, dtype, end, order="C"):
    a = guarded(shape, dtype, end, order)
    a[...] = rng.random(shape)
    return a
"""

EVERYTHING = """
rng = np.random.default_rng(int(sys.argv[1]))
real_empty = np.empty
for dtype in (np.float32, np.float64):
    for end in (None, True, False):
        # What the kernels allocate is guarded as well; but first, all is compiled with NumPy as it is.
        np.empty = real_empty if end is None else lambda shape, dtype=np.float64, *rest: guarded(
            (shape,) if isinstance(shape, (int, np.integer)) else shape, dtype, end)
        for M, K, N in [(1, 1, 1), (12, 16, 32), (13, 17, 33), (11, 300, 31), (25, 5, 64), (100, 256, 256),
                        *(tuple(rng.integers(1, 70, 3)) for _ in range(12))]:
            bias = filled(rng, (N,), dtype, end)
            for a_order in "CF":
                for b_order in "CF":
                    a, b = filled(rng, (M, K), dtype, end, a_order), filled(rng, (K, N), dtype, end, b_order)
                    c = kernels.matmul(a, b, out=guarded((M, N), dtype, end))
                    assert np.allclose(c, a @ b, rtol=1e-4)
                    assert np.allclose(kernels.dense(a, b, bias), a @ b + bias, rtol=1e-4)
                    assert np.allclose(kernels.column_sums(a), a.sum(axis=0), rtol=1e-4)
            weight = filled(rng, (M,), dtype, end)
            kernels.mse(a, a, weight), kernels.bce(a, a, weight)
            rows = guarded((N,), np.int64, end)
            rows[...] = rng.integers(0, M, N)
            assert np.array_equal(kernels.take(a, rows), a[rows])
            kernels.copy(a)
        for size in (1, 15, 16, 17, 63, 64, 65, 255, 257, 4095, 4096, 4097, *rng.integers(1, 9000, 4)):
            shape = (1, int(size))
            x, t = filled(rng, shape, dtype, end), filled(rng, shape, dtype, end)
            for name, extra in (("relu", ()), ("leaky_relu", (0.1,)), ("elu", (1.0,)), ("sigmoid", ()), ("tanh", ())):
                y = getattr(kernels, name)(x, *extra)
                getattr(kernels, name + "_backward")(t, y, *extra)
            kernels.mse(x, t), kernels.bce(x, t)
            kernels.ssim_map(x, t, x, t, x, 1.0, 1.0)
            m, v = filled(rng, shape, dtype, end), filled(rng, shape, dtype, end)
            kernels.adam(x, t, m, v, np.array([0.1, 0.9, 0.9, 1e-8, 1.0, 1.0, 0.0]))
            kernels.sgd(x, t, m, np.array([0.1, 0.9, 1.0]))
            key = guarded((1,), np.uint64, end)
            kernels.gaussian_noise(x, key, 0.5, 0.0, 1.0)
            kernels.masking_noise(x, key, 0.5)
            kernels.salt_and_pepper(x, key, 0.5, 0.0, 1.0)
        np.empty = real_empty
print("inside")
"""

ONE_PAST_THE_END = """
a = guarded((4, 5), np.float32, end=True)
beyond = np.lib.stride_tricks.as_strided(a, (4, 6))
kernels.copy(beyond)
print("not noticed")
"""

ONE_BEFORE_THE_BEGINNING = """
a = guarded((4, 16), np.float32, end=False)
c = np.lib.stride_tricks.as_strided(a[::-1], (6, 16))
kernels.matmul(np.ones((6, 16), np.float32), np.ones((16, 16), np.float32), out=c)
print("not noticed")
"""


def run(program, *arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(npae.__file__).parent.parent)}
    command = [sys.executable, "-c", GUARDED + program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_no_kernel_touches_what_is_not_its_own(threads, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    done = run(EVERYTHING, threads)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.strip() == "inside"


@pytest.mark.parametrize("program", [ONE_PAST_THE_END, ONE_BEFORE_THE_BEGINNING], ids=["reading", "writing"])
def test_the_guards_work(program):
    done = run(program)
    assert done.returncode < 0, f"{done.stdout} {done.stderr}"
