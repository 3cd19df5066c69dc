"""The exponential of the compiled kernels has the errors that its docstring states."""

import numpy as np
import pytest
from helpers import HAVE_NUMBA

if not HAVE_NUMBA:
    pytest.skip("numba is not installed or not wanted", allow_module_level=True)

from numba import njit

from npae.kernels.numba_backend import exponential
from npae.kernels.numba_backend.exponential import exp_of_minus, expm1_of_minus


@njit
def exp_all(t):
    y = np.empty_like(t)
    for i in range(t.size):
        y[i] = exp_of_minus(t[i])
    return y


@njit
def expm1_all(t):
    y = np.empty_like(t)
    for i in range(t.size):
        y[i] = expm1_of_minus(t[i])
    return y


def ulps(got, exact):
    """The largest error, in units in the last place of the exact result."""
    places = np.spacing(np.abs(exact.astype(got.dtype)).astype(got.dtype)).astype(exact.dtype)
    return float((abs(got.astype(exact.dtype) - exact) / places).max())


def points(dtype, largest):
    """10⁶ values of t: evenly spaced, and in a geometric series towards 0."""
    even = np.linspace(0, largest, 700_000)
    small = np.geomspace(1e-30 if dtype == np.float32 else 1e-290, 1, 300_000)
    return np.concatenate([even, small]).astype(dtype)


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 87.3), (np.float64, 708.3)])
def test_the_errors_are_those_of_the_table(dtype, largest):
    t = points(dtype, largest)
    finer = np.float64 if dtype == np.float32 else np.longdouble
    if np.finfo(finer).precision <= np.finfo(dtype).precision:
        pytest.skip("no finer format on this machine to measure float64 against")
    exact = t.astype(finer)
    measured = {"exp(-t)": ulps(exp_all(t), np.exp(-exact)), "exp(-t) - 1": ulps(expm1_all(t), np.expm1(-exact))}
    for name, error in measured.items():
        stated = table()[name]["float32" if dtype == np.float32 else "float64"]
        assert error <= stated, f"{name}: {error:.2f} units, the table states {stated}"
        assert error > 0.5 * stated, f"{name}: {error:.2f} units, the table states {stated}, which is too high"


def table():
    """The figures that the module's docstring states."""
    rows = {}
    for line in exponential.__doc__.splitlines():
        for name in ("exp(-t) - 1", "exp(-t)"):
            if line.strip().startswith(name) and name not in rows:
                first, second = line.strip()[len(name) :].split()[:2]
                rows[name] = {"float32": float(first), "float64": float(second)}
                break
    return rows


@pytest.mark.parametrize(("dtype", "least"), [(np.float32, 87.31), (np.float64, 708.31)])
def test_subnormal_results_are_zero_and_nan_stays(dtype, least):
    t = np.array([least, 1e4, np.inf, np.nan, 0], dtype)
    np.testing.assert_array_equal(exp_all(t), np.array([0, 0, 0, np.nan, 1], dtype))
    np.testing.assert_array_equal(expm1_all(t), np.array([-1, -1, -1, np.nan, 0], dtype))
