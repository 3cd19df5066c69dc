"""The layout of the project: what imports what, what README leads to, and what `import npae` brings along."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import npae

PACKAGE = Path(npae.__file__).parent
CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")

# Each module or folder imports only from those before it; __init__ and __main__ import from all.
ORDER = [
    "kernels", "estimator", "layers", "activations", "losses", "likelihoods", "optimizers", "corruptions", "tied",
    "codes", "penalties", "training", "fitting", "storage", "autoencoder", "denoising", "variational", "pretraining",
    "pca", "outliers", "gradcheck", "plots", "datasets",
]  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path):
    """The module of npae or the folder that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """(module, name) of everything that a file imports, at its top or within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def imported_parts(path):
    """part -> the names that a file imports from it, for the parts of npae other than its own."""
    found = {}
    for module, name in imports(path):
        if module == "npae" and name:
            module, name = f"npae.{name}", ""
        if module.startswith("npae."):
            found.setdefault(module.split(".")[1], set()).add(name)
    found.pop(part(path), None)
    return found


# --- modules ---------------------------------------------------------------------------------------------------------


def test_the_order_of_imports_names_every_module_and_folder():
    present = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert present - {"__init__", "__main__"} == set(ORDER)
    assert len(ORDER) <= 24


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    found = imported_parts(path)
    if part(path) in ORDER:
        below = ORDER[: ORDER.index(part(path))]
        if part(path) == "gradcheck":
            below = ["kernels", "estimator", "layers"]
            assert found.get("layers", set()) <= {"Parameter"}
        assert set(found) <= set(below), f"{path.name} imports {sorted(set(found) - set(below))}, not below it"
    private = [name for names in found.values() for name in names if name.startswith("_")]
    assert not private, f"{path.name} imports private names of another part: {private}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_optional_packages_are_imported_in_one_place_each(path):
    packages = {module.split(".")[0] for module, _ in imports(path)}
    assert not packages & {"numba", "llvmlite"} or path.parent.name == "numba_backend"
    assert "matplotlib" not in packages or path.name == "plots.py"
    assert "sklearn" not in packages or path == PACKAGE / "estimator" / "base.py"  # in a hook that scikit-learn calls
    assert not packages & {"scipy", "torch", "jax", "pickle"}


@pytest.mark.parametrize("folder", [PACKAGE, CHECKOUT / "tests"], ids=lambda p: p.name)
def test_no_file_is_longer_than_350_lines(folder):
    lengths = {str(p): len(p.read_text(encoding="utf-8").splitlines()) for p in folder.rglob("*.py")}
    assert not {path: n for path, n in lengths.items() if n > 350}


def test_test_modules_can_be_imported_by_their_names_alone():
    """No two have one name. Folders have a conftest each, so nothing is imported from a conftest."""
    files = [p for p in (CHECKOUT / "tests").rglob("*.py") if p.name != "conftest.py"]
    assert len({p.name for p in files}) == len(files)
    assert not [p.name for p in files if "conftest" in dict(imports(p))]


# --- import npae -----------------------------------------------------------------------------------------------------


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_npae_brings_numpy_alone():
    program = "import sys, numpy; before = set(sys.modules); import npae.plots; print(*(set(sys.modules) - before))"
    modules = run(program).split()
    packages = {name.split(".")[0] for name in modules}
    assert packages - set(sys.stdlib_module_names) <= {"npae", "numpy"}
    assert not packages & {"ssl", "http", "tkinter", "hashlib", "zipfile", "multiprocessing"}


NO_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
from npae import plots
try: plots.figure(1, 1)
except ImportError as error: print(error)
"""


def test_without_matplotlib_a_picture_names_the_extra_to_install():
    assert 'pip install "npae[plots]"' in run(NO_MATPLOTLIB)


def test_public_names_are_those_of_all_and_each_has_an_example():
    public = {n for n, v in vars(npae).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public | {"datasets"} == set(npae.__all__)
    for name in npae.__all__:
        doc = inspect.getdoc(getattr(npae, name)) or ""
        assert len(doc) > 40, name
        assert ">>> " in doc, f"{name} has no example"


def test_every_module_and_every_public_function_has_a_docstring():
    for found in pkgutil.walk_packages([str(PACKAGE)], "npae."):
        if "_backend" in found.name:  # `kernels.Backend` describes what a backend provides
            continue
        module = importlib.import_module(found.name)
        assert module.__doc__, found.name
        for name, value in vars(module).items():
            ours = inspect.isfunction(value) or inspect.isclass(value)
            is_kernel = name in npae.kernels.KERNELS  # its formula is its body
            if ours and value.__module__ == found.name and not name.startswith("_") and not is_kernel:
                assert value.__doc__, f"{found.name}.{name}"


# --- README ----------------------------------------------------------------------------------------------------------


def definitions(path):
    """Every class and function that a file defines, and every method as Class.method."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def test_the_readme_and_the_package_name_one_reading_order():
    listed = re.search(r"in this order: ([\w,\s]+)\.", npae.__doc__)[1]
    order = [name.strip() for name in listed.split(",")]
    assert all((PACKAGE / f"{name}.py").exists() for name in order)
    assert order == [name for name in ORDER if name in order]
    paragraph = re.search(r"in this order.*?\n\n", README, re.DOTALL)[0]
    shown = re.findall(r"\[(\w+)\]\(npae/\1\.py\)", paragraph)
    assert shown[: len(order)] == order


def test_the_readmes_links_to_names_lead_to_files_that_define_them():
    links = re.findall(r"\[`([\w.]+)`\]\((npae/[\w/]+\.py)([^)]*)\)", README)
    formulas = [(name, file) for name, file, _ in links if "." in name or name in definitions(CHECKOUT / file)]
    assert len(formulas) >= 15
    for name, file, anchor in links:
        module = name.replace(".", "/")
        leads_to_module = file in (f"npae/{module}.py", f"{module}.py") or Path(file).stem == name
        assert leads_to_module or name in definitions(CHECKOUT / file), f"{file} does not define {name}"
        assert not anchor, f"{file}{anchor}: a line number does not stay"
    assert "#L" not in README


def test_the_readmes_code_runs(monkeypatch, tmp_path):
    X_train, X_test = npae.datasets.digits()
    monkeypatch.setattr(npae.datasets, "digits", lambda: (X_train[:150], X_test[:20]))  # a part, to be quick
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert names["Z"].shape == (20, 32)
    assert names["X_hat"].shape == names["X_clean"].shape == (20, 784)
    assert len(names["loss"]) > 5  # training was resumed after four epochs
    np.testing.assert_array_equal(names["W"], names["ae"].encoder_.layers[0].W.value)
    np.testing.assert_allclose(
        names["H"] @ names["arrays"]["training.network.0.2.W"] + names["arrays"]["training.network.0.2.b"],
        names["ae"].encode(names["X_test"]), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_the_readmes_files_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README) + re.findall(r'(?:src|href)="([^"]+)"', README):
        if not target.startswith("http"):
            assert (CHECKOUT / target).exists(), target
