"""No kernel reads or writes outside its arrays: each operand lies next to a page that may not be accessed."""

import os

import pytest
from kernel_helpers import needs_numba, run_python

pytestmark = [
    needs_numba,
    pytest.mark.skipif(os.name != "posix", reason="needs mprotect"),
]

GUARDED = """
import ctypes, mmap, sys
import numpy as np
import npae
from npae.kernels import numba_backend

called = set()

class Twins(dict):
    def __getitem__(self, name):
        called.add(name)
        return numba_backend.TWINS[name]

TWINS = Twins(numba_backend.TWINS)

libc, page, kept = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, []

def guarded(shape, dtype, end, order="C"):
    '''An array that ends right before a forbidden page, or begins right after one.'''
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
        # The arrays that twins allocate are guarded as well, once everything is compiled.
        np.empty = real_empty if end is None else lambda shape, dtype=np.float64, *rest: guarded(
            (shape,) if isinstance(shape, (int, np.integer)) else shape, dtype, end)
        for M, K, N in [(1, 1, 1), (12, 16, 32), (13, 17, 33), (11, 300, 31), (1, 330, 31), (1, 40, 300),
                        (25, 5, 64), (100, 256, 256), *(tuple(rng.integers(1, 70, 3)) for _ in range(12))]:
            bias = filled(rng, (N,), dtype, end)
            for a_order in "CF":
                for b_order in "CF":
                    a, b = filled(rng, (M, K), dtype, end, a_order), filled(rng, (K, N), dtype, end, b_order)
                    c = TWINS["matmul"](a, b, out=guarded((M, N), dtype, end))
                    assert np.allclose(c, a @ b, rtol=1e-4)
                    assert np.allclose(TWINS["dense"](a, b, bias), a @ b + bias, rtol=1e-4)
                    sums = guarded((K,), dtype, end)
                    TWINS["column_sums"](a, sums)
                    assert np.allclose(sums, a.sum(axis=0), rtol=1e-4)
            weight = filled(rng, (M,), dtype, end)
            TWINS["mse"](a, a, weight), TWINS["bce"](a, a, weight)
            TWINS["mse_rows"](a, a), TWINS["bce_rows"](a, a)
            rows = guarded((N,), np.int64, end)
            rows[...] = rng.integers(0, M, N)
            assert np.array_equal(TWINS["take"](a, rows), a[rows])
            TWINS["copy"](a)
            assert TWINS["all_finite"](a) == 1
        for size in (1, 15, 16, 17, 63, 64, 65, 255, 257, 4095, 4096, 4097, *rng.integers(1, 9000, 4)):
            shape = (1, int(size))
            x, t = filled(rng, shape, dtype, end), filled(rng, shape, dtype, end)
            for name, extra in (("relu", ()), ("leaky_relu", (0.1,)), ("elu", (1.0,)), ("sigmoid", ()), ("tanh", ())):
                y = TWINS[name](x, *extra)
                TWINS[name + "_backward"](t, y, *extra)
            TWINS["mse"](x, t), TWINS["bce"](x, t), TWINS["mse_rows"](x, t), TWINS["bce_rows"](x, t)
            TWINS["ssim_map"](x, t, x, t, x, 1.0, 1.0)
            m, v = filled(rng, shape, dtype, end), filled(rng, shape, dtype, end)
            TWINS["adam"](x, t, m, v, np.array([0.1, 0.9, 0.9, 1e-8, 1.0, 1.0, 0.0]))
            TWINS["sgd"](x, t, m, np.array([0.1, 0.9, 1.0]))
            key = guarded((1,), np.uint64, end)
            TWINS["gaussian_noise"](x, key, 0.5, 0.0, 1.0)
            TWINS["masking_noise"](x, key, 0.5)
            TWINS["salt_and_pepper"](x, key, 0.5, 0.0, 1.0)
            TWINS["add"](x, t), TWINS["add"](x, t, m), TWINS["multiply"](x, t)
        for n, k in ((1, 1), (1, 5000), (3, 1024), (300, 7), *(tuple(rng.integers(1, 90, 2)) for _ in range(6))):
            h, g, w = (filled(rng, shape, dtype, end) for shape in ((n, 2 * k), (n, k), (n,)))
            z, noise = TWINS["gaussian_code"](h, key)
            TWINS["gaussian_code_backward"](g, h, noise)
            TWINS["gaussian_kl"](h, 0.7), TWINS["gaussian_kl"](h, 0.7, w)
        np.empty = real_empty
assert called == set(TWINS), set(TWINS) - called
print("inside")
"""

ONE_PAST_THE_END = """
a = guarded((4, 5), np.float32, end=True)
beyond = np.lib.stride_tricks.as_strided(a, (4, 6))
TWINS["copy"](beyond)
print("not noticed")
"""

ONE_BEFORE_THE_BEGINNING = """
a = guarded((4, 16), np.float32, end=False)
c = np.lib.stride_tricks.as_strided(a[::-1], (6, 16))
TWINS["matmul"](np.ones((6, 16), np.float32), np.ones((16, 16), np.float32), out=c)
print("not noticed")
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_no_kernel_touches_memory_outside_its_arrays(threads):
    done = run_python(GUARDED + EVERYTHING, threads, environment={"NUMBA_NUM_THREADS": threads})
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.strip() == "inside"


@pytest.mark.parametrize("program", [ONE_PAST_THE_END, ONE_BEFORE_THE_BEGINNING], ids=["reading", "writing"])
def test_the_guards_work(program):
    done = run_python(GUARDED + program)
    assert done.returncode < 0, f"{done.stdout} {done.stderr}"
