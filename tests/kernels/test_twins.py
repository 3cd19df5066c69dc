"""Each compiled kernel, a twin, equals its NumPy body, which specifies it.

A case says with which arguments to compare them. The name of a case begins with that of its kernel. The tests run over
the registry, so a kernel without a twin or without a case fails.
"""

import inspect
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import seeds
from hypothesis import example, given
from hypothesis import strategies as st
from kernel_helpers import LAYOUTS, TOLERANCE, both_dtypes, close, laid_out, needs_numba, twins, unaligned

import npae
from npae.activations import elu, leaky_relu, relu, sigmoid, tanh
from npae.fitting.batches import take
from npae.kernels import KERNELS

INFINITE = (-np.inf, np.inf)
KEY = np.array([2**40 + 17], np.uint64)


class Draw(NamedTuple):
    """Arrays of one shape, dtype and layout, drawn from a generator."""

    rng: np.random.Generator
    shape: tuple[int, int]
    dtype: Any
    layout: str

    def normal(self, scale=1.0, shape=None):
        shape = self.shape if shape is None else shape
        return laid_out((scale * self.rng.standard_normal(shape)).astype(self.dtype), self.layout)

    def uniform(self, shape=None):
        return laid_out(self.rng.random(self.shape if shape is None else shape).astype(self.dtype), self.layout)

    def in_place(self):
        return self.rng.standard_normal(self.shape).astype(self.dtype)

    def zeros(self):
        return np.zeros(self.shape, self.dtype)


class Case(NamedTuple):
    """Arguments of a kernel. Results may differ by the tolerance times `scale`, or `scales[i]` in argument i."""

    arguments: list[Any]
    scale: float = 1.0
    scales: dict[int, float] = {}  # noqa: RUF012


def loss(d, weighted, size=20, times=1.0):
    d = d._replace(shape=tuple(max(1, n) for n in d.shape))  # there is no mean of nothing
    weight = d.uniform(d.shape[:1]) * d.rng.integers(0, 2, d.shape[0]).astype(d.dtype)
    arguments = [d.normal(size), d.uniform(), weight if weighted else None, times]
    return Case(arguments, scale=10 * times / np.prod(d.shape))  # of the gradient of a mean


def certain(case):
    """Logits of ±25 that agree with their targets: log(1 + e) has no digits left, log1p(e) has all."""
    logits = case.arguments[0]
    sides = (logits > 0).astype(logits.dtype)
    return case._replace(arguments=[50 * sides - 25, sides])


def adam(d, t, beta2, m, v):
    """The last scalar is the decay; 1 - beta2 = 1e-6 has no digits left in float32. v is a sum: nothing cancels."""
    scalars = np.array([0.01, 0.9, beta2, 1e-8, 1 - 0.9**t, 1 - beta2**t, 0.1])
    return Case([d.in_place(), d.normal(), m, v, scalars], scale=2, scales={3: 0})


def product(d, K, *rest):
    """(N, K) times (K, M), for a shape (N, M)."""
    return [d.normal(shape=(d.shape[0], K)), d.normal(shape=(K, d.shape[1])), *rest]


def backward(d, name, *options):
    """y = f(x) of the activation, so that y is 0 wherever a rectifier makes it 0."""
    y = laid_out(KERNELS[name](d.normal(8), *options), d.layout)
    return Case([d.normal(8), y, *options], scale=10)


def with_one(d, number):
    """One of the numbers is this one, if there are any."""
    a = d.in_place()
    if a.size:
        a.flat[d.rng.integers(a.size)] = number
    return laid_out(a, d.layout)


def sgd(d, momentum, nesterov):
    return Case([d.in_place(), d.normal(), d.in_place(), np.array([0.1, momentum, nesterov])], scale=2)


def gaussian(d, *more, scale=10, weighted=False):
    """Arrays for a code of k numbers and for h = (μ, log σ²), which is twice as wide."""
    n, k = d.shape[0], max(1, d.shape[1])
    h = d.normal(2, shape=(n, 2 * k))
    weight = [d.uniform(n)] if weighted else []
    arrays = [d.normal(shape=(n, k)), h, d.normal(shape=(n, k))] if more == ("backward",) else [h, *more, *weight]
    return Case(arrays, scale=scale)


CASES = {
    "add": lambda d: Case([d.normal(), d.normal()], scale=2),
    "add in place": lambda d: (lambda a: Case([a, d.normal(), a], scale=2))(d.in_place()),
    "multiply": lambda d: Case([d.normal(), d.normal()]),
    "gaussian_code": lambda d: gaussian(d, KEY),
    "gaussian_code_backward": lambda d: gaussian(d, "backward"),
    "gaussian_kl": lambda d: gaussian(d._replace(shape=(max(1, d.shape[0]), d.shape[1])), 0.7, scale=100),
    "gaussian_kl of weighted rows": lambda d: gaussian(
        d._replace(shape=(max(1, d.shape[0]), d.shape[1])), 0.7, scale=100, weighted=True
    ),
    "dense": lambda d: Case(product(d, 17, d.normal(shape=d.shape[1:])), scale=18),
    "matmul": lambda d: Case(product(d, 17), scale=18),
    "matmul into an array": lambda d: Case(product(d, 9, d.zeros()), scale=10),
    "matmul over no k": lambda d: Case(product(d, 0)),
    "column_sums": lambda d: Case([d.normal(), d.zeros().sum(0)], scale=1 + d.shape[0]),
    "column_sums into every second": lambda d: Case(
        [d.normal(), d.zeros().sum(0).repeat(2)[::2]], scale=1 + d.shape[0]
    ),
    "all_finite": lambda d: Case([d.normal()]),
    "all_finite with NaN": lambda d: Case([with_one(d, np.nan)]),
    "all_finite with infinity": lambda d: Case([with_one(d, -np.inf)]),
    "take": lambda d: Case([d.normal(), d.rng.integers(0, max(1, d.shape[0]), 23 if d.shape[0] else 0)]),
    "take rows given as int32": lambda d: Case([d.normal(), np.arange(d.shape[0], dtype=np.int32)]),
    "copy": lambda d: Case([d.normal()]),
    "copy into an array": lambda d: Case([d.normal(), d.zeros()]),
    "relu": lambda d: Case([d.normal(8)]),
    "leaky_relu": lambda d: Case([d.normal(8), 0.1]),
    "elu": lambda d: Case([d.normal(8), 1.3]),
    "sigmoid": lambda d: Case([d.normal(8)]),
    "tanh": lambda d: Case([d.normal(8)]),
    "relu_backward": lambda d: backward(d, "relu"),
    "leaky_relu_backward": lambda d: backward(d, "leaky_relu", 0.1),
    "elu_backward": lambda d: backward(d, "elu", 1.3),
    "sigmoid_backward": lambda d: backward(d, "sigmoid"),
    "tanh_backward": lambda d: backward(d, "tanh"),
    "mse": lambda d: loss(d, weighted=False),
    "mse of weighted rows": lambda d: loss(d, weighted=True),
    "bce": lambda d: loss(d, weighted=False),
    "bce near even odds": lambda d: loss(d, weighted=False, size=0.01),  # its product of 1 + e is the largest
    "bce of certain elements": lambda d: certain(loss(d, weighted=False)),
    "bce of weighted rows": lambda d: loss(d, weighted=True),
    "mse_rows": lambda d: Case([*loss(d, weighted=False).arguments[:2], 2.5, 1.5]),
    "bce_rows": lambda d: Case([*loss(d, weighted=False).arguments[:2], 2.5]),
    "bce_rows of certain elements": lambda d: certain(Case(loss(d, weighted=False).arguments[:2])),
    "mse of whole rows": lambda d: loss(d, weighted=False, times=2.5),
    "bce of whole rows": lambda d: loss(d, weighted=False, times=2.5),
    "mse of weighted whole rows": lambda d: loss(d, weighted=True, times=2.5),
    "bce of weighted whole rows": lambda d: loss(d, weighted=True, times=2.5),
    # Constants of order 1 keep the quotients well conditioned: the test compares the arithmetic.
    "ssim_map": lambda d: Case([*(d.uniform() for _ in range(5)), 2.0, 3.0]),
    "sgd": lambda d: sgd(d, 0.9, False),
    "sgd without momentum": lambda d: sgd(d, 0.0, False),
    "sgd with nesterov": lambda d: sgd(d, 0.9, True),
    "adam": lambda d: adam(d, 3, 0.999, d.in_place(), abs(d.in_place())),
    "adam after many steps": lambda d: adam(d, 100, 0.9999, d.in_place(), abs(d.in_place())),
    "adam in its first step": lambda d: adam(d, 1, 0.999999, d.zeros(), d.zeros()),
    "gaussian_noise": lambda d: Case([d.normal(), KEY, 0.5, *INFINITE]),
    "gaussian_noise clipped": lambda d: Case([d.normal(), KEY, 0.5, -0.7, 0.9]),
    "masking_noise": lambda d: Case([d.normal(), KEY, 0.3]),
    "salt_and_pepper": lambda d: Case([d.normal(), KEY, 0.3, -0.7, 0.9]),
}


def cases_of(name):
    return [case for case in CASES if case.split()[0] == name]


def arrays_of(result, arguments):
    """All arrays that a kernel returned or may have changed, each with the index of its argument or None."""
    returned = result if isinstance(result, tuple) else (result,)
    found = [(None, a) for a in returned if a is not None]
    return found + [(i, a) for i, a in enumerate(arguments) if isinstance(a, np.ndarray)]


@needs_numba
def test_every_kernel_has_a_twin_and_a_case_and_the_other_way_round():
    assert set(twins()) == set(KERNELS)
    assert {case.split()[0] for case in CASES} == set(KERNELS)
    assert len(KERNELS) >= 23


@needs_numba
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_a_twin_has_the_parameters_of_its_body(name):
    body, twin = (inspect.signature(f).parameters.values() for f in (KERNELS[name], twins()[name]))
    assert [(p.name, p.default) for p in twin] == [(p.name, p.default) for p in body]


@needs_numba
@both_dtypes
@pytest.mark.parametrize("name", sorted(KERNELS))
@given(shape=st.tuples(st.integers(0, 70), st.integers(0, 70)), layout=st.sampled_from(LAYOUTS), seed=seeds())
@example(shape=(64, 64), layout="rows", seed=1)  # one block
@example(shape=(1, 4095), layout="rows", seed=1)
@example(shape=(1, 4097), layout="rows", seed=1)
@example(shape=(3, 4095), layout="rows", seed=1)  # several blocks
@example(shape=(2, 4096), layout="rows", seed=1)
@example(shape=(2, 4097), layout="columns", seed=1)  # a row that is more than a block
@example(shape=(130, 63), layout="rows", seed=1)  # rows in several tasks
@example(shape=(3, 512), layout="rows", seed=1)  # as many elements as one logarithm takes
@example(shape=(3, 513), layout="rows", seed=1)
@example(shape=(5000, 1), layout="rows", seed=1)
@example(shape=(600, 300), layout="every second", seed=1)  # several tasks in both directions
def test_a_twin_equals_its_body(name, dtype, shape, layout, seed):
    assert cases_of(name), f"no case for {name}"
    for case in cases_of(name):
        # The same arguments twice, since a kernel may change them.
        ours, theirs = (CASES[case](Draw(np.random.default_rng(seed), shape, dtype, layout)) for _ in range(2))
        got = arrays_of(twins()[name](*ours.arguments), ours.arguments)
        expected = arrays_of(KERNELS[name](*theirs.arguments), theirs.arguments)
        for (i, a), (_, b) in zip(got, expected, strict=True):
            if b.ndim == 0 or (i is None and name.endswith("_rows")):  # values of a loss, in float64
                np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=0, err_msg=case)
            elif b.dtype == dtype:
                close(a, b, dtype, ours.scales.get(i, ours.scale))
            else:  # keys, rows, scalars
                np.testing.assert_array_equal(a, b)


@needs_numba
@both_dtypes
@pytest.mark.parametrize("name", ["mse", "bce"])
@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)), seed=seeds())
def test_a_weighted_loss_is_the_weighted_mean_of_the_losses_of_rows(dtype, name, shape, seed):
    rng = np.random.default_rng(seed)
    prediction, target = (20 * rng.standard_normal(shape)).astype(dtype), rng.random(shape).astype(dtype)
    weight = (rng.random(shape[0]) * rng.integers(0, 2, shape[0])).astype(dtype)
    for kernel in (twins()[name], KERNELS[name]):
        by_row = [kernel(prediction[[i]], target[[i]])[0] for i in range(len(weight))]
        assert kernel(prediction, target, weight)[0] == pytest.approx(np.mean(weight * by_row), rel=TOLERANCE[dtype])


@needs_numba
@both_dtypes
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through_as_in_numpy(dtype, special):
    x = np.linspace(-2, 2, 35, dtype=dtype).reshape(5, 7)
    x[1, 2] = special
    y, target = x[:, ::-1].copy(), np.clip(x[:, ::-1], 0, 1)
    calls = dict.fromkeys(("relu", "sigmoid", "tanh"), (x,)) | {"leaky_relu": (x, 0.1), "elu": (x, 1.3)}
    calls |= {f"{name}_backward": (y, *arguments) for name, arguments in calls.items()}
    calls |= {"mse": (x, target), "bce": (x, target), "matmul": (x.T, x)}
    for name, arguments in calls.items():
        with np.errstate(invalid="ignore", over="ignore"):
            got, expected = (arrays_of(f[name](*arguments), []) for f in (twins(), KERNELS))
        rtol, atol = (1e-4, 1e-5) if name == "matmul" else (1e-5, 0)
        for (_, a), (_, b) in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


HUGE = {relu: (0, 1e4), leaky_relu: (-1e3, 1e4), elu: (-1.3, 1e4), sigmoid: (0, 1), tanh: (-1, 1)}
EXTRA = {leaky_relu: [0.1], elu: [1.3]}


@both_dtypes
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("function", HUGE, ids=lambda f: f.__name__)
def test_huge_numbers_overflow_nowhere(dtype, function):
    y = function(np.array([[-1e4, 1e4]], dtype), *EXTRA.get(function, []))
    np.testing.assert_allclose(y, [HUGE[function]], rtol=1e-6)


@both_dtypes
@pytest.mark.usefixtures("backend")
def test_a_minibatch_is_the_rows_asked_for(dtype):
    a = np.arange(12, dtype=dtype).reshape(4, 3)
    assert take(a, np.array([2, 0, 2])).tolist() == [[6, 7, 8], [0, 1, 2], [6, 7, 8]]


@needs_numba
@pytest.mark.parametrize("n", [0, 3, 40])
def test_rows_that_do_not_exist_are_refused(n):
    for wrong in (-1, n):
        with pytest.raises(IndexError, match=f"expected rows in \\[0, {n}\\), got some from {wrong}"):
            twins()["take"](np.zeros((n, 2)), np.array([wrong]))


@needs_numba
def test_compiled_loops_refuse_arrays_that_do_not_match():
    a, b, v = np.zeros((3, 4)), np.zeros((5, 2)), np.zeros(8)
    refused = [
        ("matmul", (a, b), r"expected shapes \(M, K\) and \(K, N\), got \(3, 4\) and \(5, 2\)"),
        ("matmul", (a, a.T, np.zeros((3, 4))), "out of shape"),
        ("matmul", (a, a.T, np.zeros((3, 3), np.float32)), "out of shape"),
        ("dense", (a, a.T, np.zeros(4)), "b of shape"),
        ("column_sums", (a, np.zeros(3)), "out of shape"),
        ("column_sums", (a, np.zeros(4, np.float32)), "out of shape"),
        ("copy", (a, np.zeros((4, 3))), "contiguous writable out"),
        ("copy", (a, np.zeros((4, 3)).T), "contiguous writable out"),
        ("relu_backward", (a, b), "one shape"),
        ("tanh_backward", (a, b), "one shape"),
        ("mse", (a, b), "one shape"),
        ("bce_rows", (a, b), "one shape"),
        ("mse_rows", (a[0], a[0]), r"rows, got shape \(4,\)"),
        ("ssim_map", (a, a, a, a, b, 1.0, 1.0), "one shape"),
        ("bce", (a, a, np.ones(4)), r"a weight for each row of \(3, 4\) in float64, got"),
        ("bce", (a, a, np.ones(3, np.float32)), r"a weight for each row of \(3, 4\) in float64, got"),
        ("adam", (v[::2], v[:4], v[:4], v[:4], np.ones(7)), "contiguous"),
        ("adam", (v, v.copy(), v.copy(), v.copy(), np.ones(6)), "7 scalars in float64"),
        ("adam", (v, v.copy(), v.copy(), np.zeros(7), np.ones(7)), "one shape"),
        ("adam", (v, v.copy(), v.copy(), np.zeros(8, np.float32), np.ones(7)), "one shape and dtype"),
        ("sgd", (v, v.copy(), unaligned(v), np.ones(3)), "aligned"),
        ("ssim_map", (a, a, a, a, a.astype(np.float32), 1.0, 1.0), "one shape and dtype"),
        ("dense", (a, a.T, np.zeros(3, np.float32)), "b of shape"),
        ("column_sums", (np.zeros((3, 4, 5)), np.zeros((4, 5))), "out of shape"),
        ("sgd", (v, v.copy(), v.copy(), np.ones(3, np.float32)), "3 scalars in float64"),
        ("masking_noise", (a, np.zeros(1, np.int64), 0.5), "key as uint64"),
        ("gaussian_noise", (a, np.zeros(2, np.uint64), 0.5, 0.0, 1.0), "key as uint64"),
        ("add", (a, b), "one shape"),
        ("add", (a, a, np.zeros((4, 3)).T), "contiguous writable out"),
        ("gaussian_code", (np.zeros((3, 5)), KEY), r"h of shape \(N, 2k\)"),
        ("gaussian_code", (a, np.zeros(1, np.int64)), "key as uint64"),
        ("gaussian_code_backward", (a, a, a), "one shape"),
        ("gaussian_kl", (a, 1.0, np.ones(4)), "a weight for each row"),
        ("gaussian_kl", (v, 1.0), r"h of shape \(N, 2k\)"),
    ]
    for name, arguments, complaint in refused:
        with pytest.raises(ValueError, match=complaint):
            twins()[name](*arguments)


@pytest.mark.usefixtures("backend")
def test_arrays_that_are_not_aligned_are_served_as_well():
    X = np.random.default_rng(0).random((200, 6)).astype(np.float32)
    odd = unaligned(X)
    fits = [npae.DAE(hidden=(5,), latent_dim=2, epochs=2, random_state=0).fit(x) for x in (odd, X)]
    np.testing.assert_allclose(*(fit.reconstruct(odd) for fit in fits), atol=1e-4)
