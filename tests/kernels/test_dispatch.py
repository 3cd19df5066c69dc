"""The dispatch: which backend is chosen and how it is reported, and which calls go to a twin and which to a body."""

import numpy as np
import pytest
from kernel_helpers import both_dtypes, needs_numba, output_of, twins, unaligned

import npae
from npae import kernels
from npae.activations import relu
from npae.kernels import KERNELS, kernel
from npae.kernels.arrays import Array
from npae.layers import dense, matmul
from npae.optimizers import sgd


@pytest.fixture
def twin_calls(monkeypatch):
    """The names of the twins that are called, in order."""
    npae.use_backend("numba")
    calls = []

    def counted(name, twin):
        def call(*arguments, **options):
            calls.append(name)
            return twin(*arguments, **options)

        return call

    for name, twin in list(twins().items()):
        monkeypatch.setitem(twins(), name, counted(name, twin))
    return calls


# --- twin or body --------------------------------------------------------------------------------------------


@needs_numba
@both_dtypes
def test_a_call_goes_to_the_twin_of_the_kernels_name(twin_calls, dtype):
    x = np.ones((3, 3), dtype)
    relu(x), matmul(x, x), dense(x, x, x[0])
    assert twin_calls == ["relu", "matmul", "dense"]


@needs_numba
def test_options_reach_the_twin(twin_calls):
    out = np.empty((2, 2))
    assert matmul(np.eye(2), np.eye(2), out=out) is out
    np.testing.assert_array_equal(out, np.eye(2))
    assert twin_calls == ["matmul"]


@needs_numba
@pytest.mark.parametrize("dtype", [complex, np.float16, np.longdouble, np.int64])
def test_other_dtypes_go_to_the_body(twin_calls, dtype):
    x = np.array([[1, -2], [3, 4]]).astype(dtype)
    np.testing.assert_array_equal(matmul(x, x), x @ x)
    assert twin_calls == []


@needs_numba
@pytest.mark.parametrize("change", [lambda b: b.astype(np.float32), lambda b: b.astype(complex), unaligned])
def test_a_second_operand_of_another_dtype_or_unaligned_goes_to_the_body(twin_calls, change):
    a, b = np.random.default_rng(0).standard_normal((2, 4, 4))
    for x, y in ((a, change(b)), (change(a), b)):
        np.testing.assert_allclose(matmul(x, y), x @ y, rtol=1e-6)
        np.testing.assert_allclose(dense(x, y, b[0]), x @ y + b[0], rtol=1e-6)
    assert twin_calls == []


@needs_numba
def test_a_unary_kernel_does_not_look_at_its_other_arguments(twin_calls):
    """The second parameter of `leaky_relu` is a number, and a key of `masking_noise` has a dtype of its own."""
    x = np.array([[-1.0, 1.0]])
    npae.LeakyReLU(0.5).forward(x)
    npae.MaskingNoise(0.5)(x, np.random.default_rng(0))
    assert twin_calls == ["leaky_relu", "masking_noise"]


@needs_numba
def test_a_kernel_of_your_own_without_a_twin_runs_its_body(monkeypatch):
    monkeypatch.setattr(kernels, "KERNELS", dict(KERNELS))
    npae.use_backend("numba")

    @kernel
    def doubled(x: Array) -> Array:
        return 2 * x

    @kernel
    def summed(x: Array, y: Array) -> Array:
        return x + y

    assert doubled(np.ones(2)).tolist() == [2, 2]
    assert summed(np.ones(2), np.ones(2)).tolist() == [2, 2]
    assert doubled.__name__ == "doubled"
    assert kernels.KERNELS["summed"](1, 2) == 3


def test_the_numpy_backend_runs_the_bodies(monkeypatch):
    npae.use_backend("numpy")
    assert kernels.numpy_backend.TWINS == {}
    x, v = np.full((2, 3), -1.0), np.zeros((2, 3))
    np.testing.assert_array_equal(relu(x), 0 * x)
    sgd(x, x.copy(), v, np.array([0.1, 0.9, 0.0]))
    np.testing.assert_allclose(x, -0.9)


# --- the choice of a backend ---------------------------------------------------------------------------------


def test_use_backend_chooses_by_name(backend):
    assert npae.backend_name() == backend


@pytest.mark.parametrize("name", ["cupy", "", None, 1])
def test_an_unknown_backend_is_refused_and_the_old_one_stays(name):
    before = npae.backend_name()
    with pytest.raises(ValueError, match=r"use_backend expected one of \('numpy', 'numba'\), got"):
        npae.use_backend(name)
    assert npae.backend_name() == before


@pytest.mark.parametrize(("value", "outcome"), [("numpy", "numpy"), ("torch", "NPAE_BACKEND expected one of")])
def test_the_environment_chooses_the_backend(value, outcome):
    program = "import npae\ntry: print(npae.backend_name())\nexcept ValueError as e: print(e)"
    assert outcome in output_of(program, environment={"NPAE_BACKEND": value})


@needs_numba
def test_without_a_wish_the_first_kernel_call_chooses_numba():
    program = (
        "import sys, npae, numpy as np; print('numba' in sys.modules); from npae.layers import matmul;"
        "matmul(np.eye(2), np.eye(2)); print('numba' in sys.modules, npae.backend_info()['chosen'])"
    )
    lines = output_of(program, environment={"NPAE_BACKEND": ""}).splitlines()
    assert lines == ["False", "True because numba is installed"]


def test_backend_info_gives_the_choice_its_reason_and_what_it_runs_on(backend):
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


def test_the_error_without_numba_says_how_to_install_it():
    assert 'pip install "npae[fast]"' in output_of(WITHOUT_NUMBA)


BROKEN_NUMBA = """
import sys, types, warnings, importlib.util, importlib.machinery
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
    name, warning = output_of(BROKEN_NUMBA, environment={"NPAE_BACKEND": ""}).split(" | ")
    assert name == "numpy"
    assert "needs NumPy 1.99 or less" in warning


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
def test_numpy_computes_where_numba_must_not_compile():
    environment = {"NUMBA_DISABLE_JIT": "1", "NPAE_BACKEND": ""}
    assert output_of(NOT_COMPILED, environment=environment) == "numpy"
