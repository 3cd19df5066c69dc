"""An exported model is one readable file that needs NumPy alone and computes what the model computes."""

import ast
import os
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from helpers import ACTIVATIONS, FAMILY, seeds
from hypothesis import given
from hypothesis import strategies as st

import npae

X = np.random.default_rng(0).random((20, 6))
QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 1, "random_state": 0}
LOSSES = [npae.MSE(), npae.BCE(), npae.SSIM((2, 3), window=2)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("exported") / "model.py"


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda place: None)


def exported(model, path):
    """What is defined in the file that the model writes."""
    model.export(path)
    return runpy.run_path(str(path))


@st.composite
def stacks(draw, first, last, dtype, logits=False):
    """Layers from one width to another: Dense ones of drawn widths, and before, between and after them anything."""
    rng = np.random.default_rng(draw(seeds()))
    widths = [first, *draw(st.lists(st.integers(1, 5), max_size=2)), last]
    layers = draw(st.lists(activations(), max_size=1))
    for i in range(len(widths) - 1):
        layers.append(npae.Dense(widths[i], widths[i + 1], dtype=dtype, rng=rng))
        layers[-1].b.value[...] = rng.uniform(-1, 1, widths[i + 1])
        if not (logits and i == len(widths) - 2):
            layers += draw(st.lists(activations(), max_size=2))
    if draw(st.booleans()):
        layers = [npae.Sequential(*layers)]
    return npae.Sequential(*layers)


def activations():
    plain = st.sampled_from(ACTIVATIONS).map(lambda kind: kind())
    return plain | st.floats(0, 1).map(npae.LeakyReLU) | st.floats(0.1, 2).map(npae.ELU)


@st.composite
def models(draw):
    """A fitted AE or DAE of a drawn network, loss and dtype."""
    dtype, loss = draw(st.sampled_from([np.float32, np.float64])), draw(st.sampled_from(LOSSES))
    kind, k = draw(st.sampled_from([npae.AE, npae.DAE])), draw(st.integers(1, 4))
    encoder = draw(stacks(6, k, dtype))
    decoder = draw(stacks(k, 6, dtype, logits=isinstance(loss, npae.BCE)))
    return kind(encoder=encoder, decoder=decoder, loss=loss, epochs=0, dtype=dtype).fit(X)


@given(models())
def test_the_file_computes_what_the_model_computes(backend, path, model):
    file = exported(model, path)
    Z = model.encode(X)
    for ours, theirs in (
        (file["encode"](X), Z),
        (file["decode"](Z), model.decode(Z)),
        (file["reconstruct"](X), model.reconstruct(X)),
    ):
        assert ours.dtype == theirs.dtype
        tolerance = 1e-6 if ours.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1, abs(theirs).max()))
    if isinstance(model, npae.DAE):
        np.testing.assert_array_equal(file["denoise"](X), file["reconstruct"](X))
    else:
        assert "denoise" not in file


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_file_of_every_autoencoder_computes_what_it_computes(backend, path, name, dtype):
    model = FAMILY[name](**QUICK).fit(X.astype(dtype))
    file, x = exported(model, path), X.astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(file["encode"](x), model.encode(x), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(file["reconstruct"](x), model.reconstruct(x), rtol=tolerance, atol=tolerance)
    assert ("denoise" in file) == isinstance(model, npae.DAE)


@given(st.integers(1, 6), st.sampled_from([np.float32, np.float64]), seeds())
def test_the_file_of_a_pca_computes_the_same_also_far_from_zero(path, k, dtype, seed):
    far = np.random.default_rng(seed).random((20, 6)).astype(dtype) + dtype(1000)
    model = npae.PCA(k).fit(far)
    file = exported(model, path)
    Z = model.encode(far)
    np.testing.assert_array_equal(file["encode"](far), Z)
    np.testing.assert_array_equal(file["decode"](Z), model.decode(Z))
    np.testing.assert_array_equal(file["reconstruct"](far), model.reconstruct(far))


def test_the_formulas_are_stable_where_numbers_are_large(path):
    for activation in (npae.Sigmoid(), npae.ELU(), npae.Tanh()):
        decoder = npae.Sequential(npae.Dense(1, 1, rng=0), activation)
        model = npae.AE(encoder=npae.Sequential(npae.Dense(1, 1, rng=0)), decoder=decoder, epochs=0).fit([[0.0]])
        for p in model.network_.parameters():
            p.value[...] = p.name.endswith("W")
        large = [[-1e5], [-100.0], [-1e-6], [0.0], [1e-6], [100.0], [1e5]]
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            found = exported(model, path)["reconstruct"](large)
        np.testing.assert_allclose(
            found, model.reconstruct(large), rtol=1e-6, atol=1e-30
        )  # less than that may be left out


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy
before = set(sys.modules)
import model
X = numpy.load(sys.argv[1] + "/X.npy")
numpy.save(sys.argv[1] + "/Y.npy", model.reconstruct(X))
print(*sorted(name.partition(".")[0] for name in set(sys.modules) - before))
"""


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_the_file_runs_with_numpy_alone_and_without_a_warning(loss, tmp_path):
    model = npae.DAE(**QUICK, loss=loss, dtype="float32").fit(X)
    model.export(tmp_path / "model.py")
    np.save(tmp_path / "X.npy", X)
    program = [sys.executable, "-W", "error", "-I", "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"model", "base64", "numpy", *sys.stdlib_module_names}
    np.testing.assert_allclose(np.load(tmp_path / "Y.npy"), model.reconstruct(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: npae.AE(**QUICK), lambda: npae.DAE(**QUICK, activation="elu"), npae.PCA])
def test_the_file_is_short_lines_of_python_3_10_that_say_what_it_is(make, path):
    make().fit(X).export(path)
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 10))
    assert max(map(len, source.splitlines())) <= 100
    k = 6 if make is npae.PCA else 2
    doc = ast.get_docstring(tree)
    for piece in ("trained with npae", "NumPy alone", f"model.encode(X)  # (n, 6) -> (n, {k})", "float64"):
        assert piece in doc
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), node.name
    imported = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"base64", "numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


FORMULAS = {
    npae.ReLU: "np.maximum(x, 0)", npae.LeakyReLU: "0.01 * x)", npae.ELU: "1.0 * np.expm1(", npae.Sigmoid: "(1 + e)",
    npae.Tanh: "np.tanh(x)", npae.Identity: "@ W2",
}  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_is_a_line_between_the_products_and_no_other_is_written(activation, path):
    npae.AE(**QUICK, activation=activation()).fit(X).export(path)
    encode, decode = re.findall(r"    x = x @ .*?    return x\n", path.read_text(encoding="utf-8"), re.DOTALL)
    for body in (encode, decode):
        found = {kind for kind, formula in FORMULAS.items() if formula in body}
        assert found - {npae.Identity} == {activation} - {npae.Identity}
        lines = 3 + {npae.Identity: 0, npae.Sigmoid: 2}.get(activation, 1)
        assert len(body.splitlines()) == lines


def test_the_file_returns_arrays_of_its_own(path):
    network = {"encoder": npae.Sequential(npae.Identity()), "decoder": npae.Sequential(npae.Dense(6, 6, rng=0))}
    file = exported(npae.AE(**network, epochs=0, dtype=float).fit(X), path)
    Z = file["encode"](X)
    assert not np.shares_memory(Z, X)
    np.testing.assert_array_equal(Z, X)
    np.testing.assert_array_equal(file["decode"](Z), file["reconstruct"](X))


@pytest.mark.parametrize("bad", [X[0], X[:, :5], X[None], 3.0])
def test_the_file_checks_the_shape_of_its_arguments(bad, path):
    file = exported(npae.AE(**QUICK).fit(X), path)
    shape = re.escape(str(np.shape(bad)))
    for use in ("encode", "reconstruct"):
        with pytest.raises(ValueError, match=rf"expected X of shape \(n, 6\), got {shape}: pass one example a row"):
            file[use](bad)
    with pytest.raises(ValueError, match=rf"expected Z of shape \(n, 2\), got {shape}: pass one example a row"):
        file["decode"](bad)


class Swish(npae.Layer):
    def forward(self, x):
        self._x = x
        return x / (1 + np.exp(-x))

    def backward(self, grad_y):
        s = 1 / (1 + np.exp(-self._x))
        return grad_y * (s + self._x * s * (1 - s))


class MyReLU(npae.ReLU):
    pass


class MySequential(npae.Sequential):
    pass


class Doubled(npae.MSE):
    def value_and_gradient(self, prediction, target):
        value, grad = super().value_and_gradient(prediction, target)
        return 2 * value, 2 * grad


class Rounded(npae.MSE):
    def inverse_link(self, prediction):
        return np.round(prediction)


@pytest.mark.parametrize("layer", [Swish(), MyReLU(), MySequential(npae.Tanh())])
def test_a_layer_that_is_not_npaes_is_refused_and_the_old_file_kept(layer, tmp_path):
    (tmp_path / "model.py").write_text("old")
    decoder = npae.Sequential(npae.Dense(2, 6, rng=0), layer)
    model = npae.AE(encoder=npae.Sequential(npae.Dense(6, 2, rng=0)), decoder=decoder, epochs=1).fit(X)
    with pytest.raises(TypeError, match=rf"export expected layers of npae's own, .*got a {type(layer).__name__}: keep"):
        model.export(tmp_path / "model.py")
    assert (tmp_path / "model.py").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_loss_that_is_not_npaes_is_exported_unless_it_has_a_link_of_its_own(path):
    model = npae.AE(**QUICK, loss=Doubled()).fit(X)
    np.testing.assert_allclose(exported(model, path)["reconstruct"](X), model.reconstruct(X), rtol=1e-12)
    with pytest.raises(TypeError, match=r"whose inverse_link is .*, got Rounded\(\): train with one"):
        npae.AE(**QUICK, loss=Rounded()).fit(X).export(path)


def test_an_export_that_fails_midway_leaves_the_old_file(path, monkeypatch):
    def full(place):
        raise OSError(28, "No space left on device")

    npae.PCA(1).fit(X).export(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        npae.PCA(2).fit(X).export(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("make", [npae.AE, npae.DAE, npae.PCA])
def test_nothing_is_exported_before_the_fit(make, tmp_path):
    with pytest.raises(RuntimeError, match=f"{make.__name__} expected to be fitted"):
        make().export(tmp_path / "model.py")
    assert not list(tmp_path.iterdir())


def test_the_docstring_imports_the_file_by_its_name_where_python_can(tmp_path):
    npae.PCA(1).fit(X).export(tmp_path / "codes.py")
    assert "\n    import codes\n" in (tmp_path / "codes.py").read_text(encoding="utf-8")
    npae.PCA(1).fit(X).export(tmp_path / "my model-2.py")
    assert "\n    import model\n" in (tmp_path / "my model-2.py").read_text(encoding="utf-8")
