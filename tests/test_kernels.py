"""Each compiled kernel equals its plain NumPy twin, which specifies it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import HAVE_NUMBA, numbers, seeds
from hypothesis import example, given
from hypothesis import strategies as st

import npae
from npae import kernels
from npae.kernels import numpy_backend

if HAVE_NUMBA:
    from npae.kernels import numba_backend

needs_numba = pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
SIZES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 63, 64, 65, 100]  # around every tile
DEPTHS = [255, 256, 257, 513]  # around the steps in which k is summed
LAYOUTS = ["rows", "columns", "every second", "backwards", "read-only"]


def laid_out(a, layout):
    """The same numbers in another memory layout."""
    if layout == "columns":
        return np.asfortranarray(a)
    if layout == "every second":
        wide = np.full((2 * a.shape[0], 2 * a.shape[1]), np.nan, a.dtype)
        wide[::2, ::2] = a
        return wide[::2, ::2]
    if layout == "backwards":
        return np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1]
    a = np.ascontiguousarray(a)
    a.flags.writeable = layout != "read-only"
    return a


def close(got, expected, dtype, scale=1.0):
    """Equal to the dtype's tolerance, relative to `scale`: the size of what was added up."""
    assert got.dtype == dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@needs_numba
@both_dtypes
@given(
    sizes=st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES + DEPTHS), st.sampled_from(SIZES)),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
    out=st.sampled_from([None, *LAYOUTS[:4]]),
    seed=seeds(),
)
@example(sizes=(33, 65, 64), layouts=("columns", "rows"), out="rows", seed=0)  # xᵀ grad_y
@example(sizes=(33, 65, 64), layouts=("rows", "columns"), out=None, seed=0)  # grad_y Wᵀ
@example(sizes=(97, 1024, 512), layouts=("rows", "rows"), out="rows", seed=0)  # rows that collide in the cache
@example(sizes=(1024, 97, 512), layouts=("columns", "rows"), out="rows", seed=0)  # or its columns
@example(sizes=(129, 512, 512), layouts=("rows", "columns"), out="rows", seed=0)
@example(sizes=(601, 30, 97), layouts=("columns", "rows"), out=None, seed=0)  # more rows than one task takes
def test_products_of_any_shape_and_layout(dtype, sizes, layouts, out, seed):
    M, K, N = sizes
    rng = np.random.default_rng(seed)
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((M, K), (K, N), (N,)))
    a, b = laid_out(a, layouts[0]), laid_out(b, layouts[1])
    expected = a.astype(np.float64) @ b.astype(np.float64)
    target = None if out is None else laid_out(np.full((M, N), np.nan, dtype), out)
    got = numba_backend.matmul(a, b, out=target)
    assert out is None or got is target
    close(got, expected, dtype, scale=1 + K)
    close(numpy_backend.matmul(a, b), expected, dtype, scale=1 + K)
    close(numba_backend.dense(a, b, bias), expected + bias, dtype, scale=1 + K)


@needs_numba
@both_dtypes
@given(
    rows=st.sampled_from(SIZES + DEPTHS),
    columns=st.sampled_from(SIZES + DEPTHS),
    layout=st.sampled_from(LAYOUTS),
    seed=seeds(),
)
def test_column_sums(dtype, rows, columns, layout, seed):
    a = laid_out(np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype), layout)
    out = np.empty(columns, dtype)
    assert numba_backend.column_sums(a, out=out) is out
    close(out, numpy_backend.column_sums(a), dtype, scale=1 + rows)


ELEMENTWISE = ["relu", "leaky_relu", "elu", "sigmoid", "tanh"]
EXTRA = {"leaky_relu": 0.1, "elu": 1.3}


@needs_numba
@both_dtypes
@pytest.mark.parametrize("name", ELEMENTWISE)
@given(shape=st.tuples(st.integers(0, 70), st.integers(0, 70)), layout=st.sampled_from(LAYOUTS), seed=seeds())
@example(shape=(64, 64), layout="rows", seed=1)
@example(shape=(1, 4095), layout="rows", seed=1)
@example(shape=(1, 4097), layout="rows", seed=1)
def test_activations_and_their_derivatives(dtype, name, shape, layout, seed):
    rng = np.random.default_rng(seed)
    x, grad = (laid_out((8 * rng.standard_normal(shape)).astype(dtype), layout) for _ in range(2))
    extra = [EXTRA[name]] if name in EXTRA else []
    y = getattr(numpy_backend, name)(x, *extra)
    close(getattr(numba_backend, name)(x, *extra), y, dtype)
    expected = getattr(numpy_backend, f"{name}_backward")(grad, y, *extra)
    close(getattr(numba_backend, f"{name}_backward")(grad, y, *extra), expected, dtype, scale=10)


@needs_numba
@both_dtypes
@pytest.mark.parametrize("name", ["mse", "bce"])
@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)), layout=st.sampled_from(LAYOUTS), seed=seeds())
@example(shape=(2, 4096), layout="rows", seed=1)
@example(shape=(3, 4095), layout="rows", seed=1)
def test_losses(dtype, name, shape, layout, seed):
    rng = np.random.default_rng(seed)
    prediction = laid_out((20 * rng.standard_normal(shape)).astype(dtype), layout)
    target = laid_out(rng.random(shape).astype(dtype), layout)
    value, grad = getattr(numba_backend, name)(prediction, target)
    expected_value, expected_grad = getattr(numpy_backend, name)(prediction, target)
    assert value == pytest.approx(expected_value, rel=TOLERANCE[dtype])
    close(grad * target.size, expected_grad * target.size, dtype, scale=10)


@needs_numba
@both_dtypes
@pytest.mark.parametrize("name", ["mse", "bce"])
@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)), layout=st.sampled_from(LAYOUTS), seed=seeds())
@example(shape=(130, 63), layout="rows", seed=1)  # rows in several tasks
@example(shape=(3, 512), layout="rows", seed=1)  # as many columns as one logarithm takes
@example(shape=(3, 513), layout="rows", seed=1)
@example(shape=(2, 4096), layout="rows", seed=1)
@example(shape=(2, 4097), layout="rows", seed=1)  # a row in several parts
@example(shape=(5000, 1), layout="rows", seed=1)
def test_losses_with_a_weight_for_each_row(dtype, name, shape, layout, seed):
    rng = np.random.default_rng(seed)
    prediction = laid_out((20 * rng.standard_normal(shape)).astype(dtype), layout)
    target = laid_out(rng.random(shape).astype(dtype), layout)
    weight = (rng.random(shape[0]) * rng.integers(0, 2, shape[0])).astype(dtype)
    value, grad = getattr(numba_backend, name)(prediction, target, weight)
    expected_value, expected_grad = getattr(numpy_backend, name)(prediction, target, weight)
    assert value == pytest.approx(expected_value, rel=TOLERANCE[dtype])
    close(grad * target.size, expected_grad * target.size, dtype, scale=10)
    by_row = [getattr(numpy_backend, name)(prediction[[i]], target[[i]])[0] for i in range(len(weight))]
    assert expected_value == pytest.approx(np.mean(weight * by_row), rel=TOLERANCE[dtype])


@both_dtypes
def test_sums_over_millions_of_rows_keep_their_digits(backend, dtype):
    """Added one by one in float32, 2^24 ones and one more make 2^24."""
    kernel = kernels.of(np.zeros(1, dtype))
    ones = np.ones((20_000_000, 1), dtype)
    assert kernel.column_sums(ones).tolist() == [2e7]
    assert kernel.matmul(ones.T, ones).tolist() == [[2e7]]
    x, g = np.random.default_rng(0).random((2, 1_000_000, 3), np.float32).astype(dtype)
    expected = x.astype(np.float64).T @ g.astype(np.float64)
    np.testing.assert_allclose(kernel.matmul(x.T, g), expected, rtol=5e-6)
    np.testing.assert_allclose(kernel.column_sums(x), x.sum(axis=0, dtype=np.float64), rtol=2e-7)


@needs_numba
@both_dtypes
@given(size=st.integers(0, 200), seed=seeds())
@example(size=4097, seed=0)
def test_ssim_map(dtype, size, seed):
    # Constants of order 1 keep the quotients well conditioned: what is compared is the arithmetic.
    arrays = [a.astype(dtype) for a in np.random.default_rng(seed).random((5, 1, size))]
    for got, expected in zip(
        numba_backend.ssim_map(*arrays, 2.0, 3.0), numpy_backend.ssim_map(*arrays, 2.0, 3.0), strict=True
    ):
        close(got, expected, dtype)


@needs_numba
@both_dtypes
@given(
    size=st.integers(1, 200),
    seed=seeds(),
    decay=numbers(0, 0.1),
    t=st.integers(1, 100),
    beta2=st.sampled_from([0.9, 0.999, 0.9999, 0.999999]),
    fresh=st.booleans(),
)
@example(size=4097, seed=0, decay=0.01, t=3, beta2=0.999, fresh=False)
@example(size=5, seed=0, decay=0.0, t=1, beta2=0.999999, fresh=True)  # 1 - beta2 has no digits left in float32
def test_adam(dtype, size, seed, decay, t, beta2, fresh):
    rng = np.random.default_rng(seed)
    value, grad, m = rng.standard_normal((3, size)).astype(dtype)
    v = rng.random(size).astype(dtype)
    if fresh:
        m[:], v[:] = 0, 0
    step = np.array([0.01, 0.9, beta2, 1e-8, 1 - 0.9**t, 1 - beta2**t, decay])
    ours, theirs = [a.copy() for a in (value, m, v)], [a.copy() for a in (value, m, v)]
    numba_backend.adam(ours[0], grad, *ours[1:], step)
    numpy_backend.adam(theirs[0], grad, *theirs[1:], step)
    close(ours[0], theirs[0], dtype, scale=2)
    close(ours[1], theirs[1], dtype, scale=2)
    close(ours[2], theirs[2], dtype, scale=0)  # v is a sum of squares: nothing cancels


@needs_numba
@both_dtypes
@given(size=st.integers(1, 200), seed=seeds(), momentum=numbers(0, 0.95), nesterov=st.booleans())
@example(size=4097, seed=0, momentum=0.9, nesterov=True)
def test_sgd(dtype, size, seed, momentum, nesterov):
    value, grad, v = np.random.default_rng(seed).standard_normal((3, size)).astype(dtype)
    step = np.array([0.1, momentum, nesterov])
    ours, theirs = [value.copy(), v.copy()], [value.copy(), v.copy()]
    numba_backend.sgd(ours[0], grad, ours[1], step)
    numpy_backend.sgd(theirs[0], grad, theirs[1], step)
    close(ours[0], theirs[0], dtype, scale=2)
    close(ours[1], theirs[1], dtype, scale=2)


@needs_numba
@both_dtypes
@given(
    n=st.integers(0, 40),
    columns=st.integers(1, 70),
    take=st.integers(0, 50),
    layout=st.sampled_from(LAYOUTS),
    seed=seeds(),
)
def test_minibatches_and_copies(dtype, n, columns, take, layout, seed):
    rng = np.random.default_rng(seed)
    a = laid_out(rng.standard_normal((n, columns)).astype(dtype), layout)
    rows = rng.integers(0, n, take) if n else np.zeros(0, np.int64)
    np.testing.assert_array_equal(numba_backend.take(a, rows), a[rows])
    np.testing.assert_array_equal(numba_backend.copy(a), a)
    for wrong in (-1, n):
        with pytest.raises(IndexError, match=f"expected rows in \\[0, {n}\\), got some from {wrong}"):
            numba_backend.take(a, np.array([wrong]))


@needs_numba
@both_dtypes
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through_as_in_numpy(dtype, special):
    x = np.linspace(-2, 2, 35, dtype=dtype).reshape(5, 7)
    x[1, 2] = special
    y = x[:, ::-1].copy()
    with np.errstate(invalid="ignore", over="ignore"):
        for name in ELEMENTWISE:
            extra = [EXTRA[name]] if name in EXTRA else []
            got, expected = (getattr(k, name)(x, *extra) for k in (numba_backend, numpy_backend))
            np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=name)
            got, expected = (getattr(k, f"{name}_backward")(y, x, *extra) for k in (numba_backend, numpy_backend))
            np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=f"{name}_backward")
        for name in ("mse", "bce"):
            (value, grad), (expected, slope) = (
                getattr(k, name)(x, np.clip(y, 0, 1)) for k in (numba_backend, numpy_backend)
            )
            np.testing.assert_allclose(value, expected, rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(grad, slope, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(numba_backend.matmul(x.T, x), x.T @ x, rtol=1e-4, atol=1e-5)


@both_dtypes
def test_a_minibatch_is_the_rows_asked_for(backend, dtype):
    a = np.arange(12, dtype=dtype).reshape(4, 3)
    assert kernels.of(a).take(a, np.array([2, 0, 2])).tolist() == [[6, 7, 8], [0, 1, 2], [6, 7, 8]]


@both_dtypes
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("relu", 0, 1e4), ("leaky_relu", -1e3, 1e4), ("elu", -1.3, 1e4), ("sigmoid", 0, 1), ("tanh", -1, 1)],
)
def test_huge_numbers_overflow_nowhere(backend, dtype, name, low, high):
    x = np.array([[-1e4, 1e4]], dtype)
    y = getattr(kernels.of(x), name)(x, *([EXTRA[name]] if name in EXTRA else []))
    np.testing.assert_allclose(y, [[low, high]], rtol=1e-6)


@needs_numba
def test_compiled_loops_are_not_entered_with_shapes_that_do_not_match():
    a, b = np.zeros((3, 4)), np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"expected shapes \(M, K\) and \(K, N\), got \(3, 4\) and \(5, 2\)"):
        numba_backend.matmul(a, b)
    with pytest.raises(ValueError, match="out of shape"):
        numba_backend.matmul(a, a.T, out=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="b of shape"):
        numba_backend.dense(a, a.T, np.zeros(4))
    with pytest.raises(ValueError, match="one shape"):
        numba_backend.mse(a, b)
    for weight in (np.ones(4), np.ones(3, np.float32)):
        with pytest.raises(ValueError, match=r"a weight for each row of \(3, 4\) in float64, got"):
            numba_backend.bce(a, a, weight)
    v = np.zeros(8)
    with pytest.raises(ValueError, match="contiguous"):
        numba_backend.adam(v[::2], v[:4], v[:4], v[:4], np.ones(7))
    with pytest.raises(ValueError, match="7 numbers in float64"):
        numba_backend.adam(v, v.copy(), v.copy(), v.copy(), np.ones(6))
    with pytest.raises(ValueError, match="3 numbers in float64"):
        numba_backend.sgd(v, v.copy(), v.copy(), np.ones(3, np.float32))
    with pytest.raises(ValueError, match="key as uint64"):
        numba_backend.masking_noise(a, np.zeros(1, np.int64), 0.5)
    with pytest.raises(ValueError, match="out of shape"):
        numba_backend.column_sums(a, out=np.zeros(3))


@needs_numba
@pytest.mark.parametrize("shared", ["a", "b", "both"])
def test_out_may_share_memory_with_an_operand(shared):
    a, b = np.random.default_rng(0).standard_normal((2, 100, 100))
    b = a if shared == "both" else b
    expected = a @ b
    got = numba_backend.matmul(a, b, out=b if shared == "b" else a)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def _run(program, environment):
    environment = os.environ | environment | {"PYTHONPATH": str(Path(npae.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- the dispatch ---------------------------------------------------------------------------------------


def test_the_backend_is_chosen_by_name_and_serves_its_dtypes(backend):
    assert npae.backend_name() == backend
    assert kernels.of(np.zeros(2, np.float32), np.zeros(2, np.float32)).name == backend
    assert kernels.of(np.zeros(2)).name == backend
    assert kernels.of(np.zeros(2), np.zeros(2, np.float32)).name == "numpy"
    assert kernels.of(np.zeros(2, complex)).name == "numpy"


def test_arrays_that_are_not_aligned_are_served_as_well(backend):
    packed = np.zeros(200 * 6 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(200, 6)
    packed[...] = np.random.default_rng(0).random(packed.shape)
    assert not packed.flags.aligned
    fits = [npae.DAE(hidden=(5,), latent_dim=2, epochs=2, random_state=0).fit(X) for X in (packed, packed.copy())]
    np.testing.assert_allclose(*(fit.reconstruct(packed) for fit in fits), atol=1e-4)


def test_an_unknown_backend_is_refused_and_the_old_one_stays():
    before = npae.backend_name()
    with pytest.raises(ValueError, match=r"expected one of \('numpy', 'numba'\), got 'cupy'"):
        npae.use_backend("cupy")
    assert npae.backend_name() == before


@pytest.mark.parametrize(("value", "outcome"), [("numpy", "numpy"), ("torch", "NPAE_BACKEND expected one of")])
def test_the_environment_chooses_the_backend(value, outcome):
    program = "import npae\ntry: print(npae.backend_name())\nexcept ValueError as e: print(e)"
    assert outcome in _run(program, {"NPAE_BACKEND": value})


def test_backend_info_says_what_was_chosen_why_and_what_it_runs_on(backend):
    info = npae.backend_info()
    assert info["backend"] == backend
    assert info["chosen"] == "by use_backend"
    if backend == "numba":
        assert info["threads"] >= 1
        assert info["vector_bytes"] in (16, 32, 64)
        assert info["tile"].endswith("vectors")
    else:
        assert info["numpy"] == np.__version__


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None  # as if it were not installed
import npae
try: npae.use_backend("numba")
except ImportError as error: print(error)
"""


def test_asking_for_numba_where_there_is_none_says_what_to_install():
    assert 'pip install "npae[fast]"' in _run(WITHOUT_NUMBA, {})


BROKEN_NUMBA = """
import sys, types, warnings, importlib.util, importlib.machinery
class Broken(types.ModuleType): pass
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "numba": return importlib.machinery.ModuleSpec("numba", self)
    def create_module(self, spec): return None
    def exec_module(self, module): raise ImportError("needs NumPy 1.99 or less")
sys.meta_path.insert(0, Finder())
import npae
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    print(npae.backend_name(), "|", seen[0].message)
"""


def test_a_numba_that_cannot_be_imported_leaves_numpy_and_a_warning():
    name, warning = _run(BROKEN_NUMBA, {"NPAE_BACKEND": ""}).split(" | ")
    assert name == "numpy"
    assert "needs NumPy 1.99 or less" in warning
