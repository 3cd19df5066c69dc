"""What the tests of kernels share: marks, memory layouts, tolerances, and programs run in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import HAVE_NUMBA

import npae

needs_numba = pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
LAYOUTS = ["rows", "columns", "every second", "backwards", "read-only"]


def twins():
    """The compiled kernels by name."""
    from npae.kernels.numba_backend import TWINS

    return TWINS


def laid_out(a, layout):
    """The same numbers in another memory layout."""
    if layout == "columns":
        return np.asfortranarray(a)
    if layout == "every second":
        wide = np.full([2 * n for n in a.shape], np.nan, a.dtype)
        part = (slice(None, None, 2),) * a.ndim
        wide[part] = a
        return wide[part]
    if layout == "backwards":
        return np.flip(np.ascontiguousarray(np.flip(a)))
    a = np.array(a, order="C")
    a.flags.writeable = layout != "read-only"
    return a


def unaligned(a):
    """The same numbers, one byte off the addresses that their dtype asks for."""
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:]
    b = memory.view(a.dtype).reshape(a.shape)
    b[...] = a
    assert not b.flags.aligned
    return b


def close(got, expected, dtype, scale=1.0):
    """Equal to the dtype's tolerance, relative to `scale`: the size of the terms of a sum."""
    assert got.dtype == dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


class Step:
    """A step that counts how often Python runs it."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arrays):
        self.calls += 1
        return self.function(*arrays)


def run_python(program, *arguments, environment=None, package=None, timeout=600):
    """Run a program in a new process that imports npae from `package`; return the finished process."""
    package = Path(npae.__file__).parent.parent if package is None else package
    environment = os.environ | {"PYTHONPATH": str(package)} | (environment or {})
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(
        command, env=environment, cwd=package, capture_output=True, text=True, check=False, timeout=timeout
    )


def output_of(program, *arguments, **options):
    """What a program prints; it must succeed."""
    done = run_python(program, *arguments, **options)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.strip()
