"""The house stands as drawn: imports go down only, numba and matplotlib wait until they are used."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import npae

ROOT = Path(npae.__file__).parent
CHECKOUT = Path(__file__).parent.parent

# Each floor may import from the floors below it; a room's own extra neighbours stand behind it.
FLOORS = [
    {"arrays"},
    {"kernels"},
    {"estimator"},
    {"parameter", "initializers", "progress", "gradcheck", "schedules", "files", "archive", "weights"},
    {"layers", "activations", "losses", "optimizers", "corruptions"},
    {"networks", "blocks", "batches", "history", "exporting", "pca"},
    {"training", "packing"},
    {"persistence"},
    {"fitting"},
    {"autoencoder"},
]
NEIGHBOURS = {
    "gradcheck": {"parameter"},
    "activations": {"layers"},
    "pca": {"exporting"},
}
SHEDS = {
    "datasets": {"arrays", "files", "estimator"},
    "plots": {"arrays", "estimator", "layers", "pca", "autoencoder"},
}


def rooms():
    return [p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py"]


def room(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path):
    """The rooms of npae that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names = [f"npae.{a.name}" for a in node.names] if node.module == "npae" else [node.module or ""]
        found |= {name.split(".")[1] for name in names if name.startswith("npae.")}
    return found - {room(path)}


@pytest.mark.parametrize("path", rooms(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path):
    name = room(path)
    if name in SHEDS:
        assert imports(path) <= SHEDS[name]
        return
    floor = next(i for i, floor in enumerate(FLOORS) if name in floor)
    allowed = set().union(*FLOORS[:floor]) | NEIGHBOURS.get(name, set())
    assert imports(path) <= allowed, f"{name} imports {imports(path) - allowed}, which is not below it"


def test_only_the_numba_backend_imports_numba_and_only_plots_imports_matplotlib():
    for path in rooms():
        modules = {
            alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not modules & {"numba", "llvmlite"} or path.parent.name == "numba_backend"
        assert "matplotlib" not in modules or path.name == "plots.py"
        assert "sklearn" not in modules or path == ROOT / "estimator" / "base.py"  # in a hook that scikit-learn calls
        assert not modules & {"scipy", "torch", "jax", "pickle"}


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_npae_brings_numpy_alone():
    program = "import sys, numpy; before = set(sys.modules); import npae.plots; print(*(set(sys.modules) - before))"
    packages = {name.split(".")[0] for name in run(program).split()}
    third_party = packages - set(sys.stdlib_module_names) - {"numpy", "npae"}
    assert not third_party
    assert not packages & {"ssl", "http", "tkinter"}


NO_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
from npae import plots
try: plots.figure(1, 1)
except ImportError as error: print(error)
"""


def test_without_matplotlib_a_picture_says_what_to_install():
    assert 'pip install "npae[plots]"' in run(NO_MATPLOTLIB)


def modules():
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "npae.") if "numba_backend" not in m.name]
    return [npae, *map(importlib.import_module, names)]


def test_public_names_are_those_of_all_and_each_is_explained():
    public = {n for n, v in vars(npae).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public | {"datasets"} == set(npae.__all__)
    for name in npae.__all__:
        doc = inspect.getdoc(getattr(npae, name)) or ""
        assert len(doc) > 40, name
        assert ">>> " in doc, f"{name} has no example"


def test_every_module_and_every_public_function_has_a_docstring():
    for module in modules():
        assert module.__doc__, module.__name__
        for name, value in vars(module).items():
            ours = inspect.isfunction(value) or inspect.isclass(value)
            if ours and value.__module__ == module.__name__ and not name.startswith("_"):
                assert value.__doc__, f"{module.__name__}.{name}"


# --- the reading path ----------------------------------------------------------------------------------------

PATH = ["parameter", "initializers", "layers", "losses", "optimizers", "networks", "training", "autoencoder"]


@pytest.mark.parametrize(("name", "after"), [*pairwise(PATH), (PATH[-1], "pca")])
def test_a_room_of_the_reading_path_opens_with_its_idea_its_source_and_where_to_go_next(name, after):
    doc = importlib.import_module(f"npae.{name}").__doc__
    assert re.search(r"^    \S|=", doc, re.MULTILINE), "an equation"
    assert re.search(r"\b(1[89]|20)\d\d\b", doc) or name == "parameter", "a source with its year"
    assert f"`{after}.py`" in doc[doc.index("Next:" if after != "pca" else "end of the reading path") :]


def test_the_way_from_the_layers_to_the_autoencoder_is_an_evenings_read():
    way = ["layers", "losses", "optimizers", "training", "autoencoder"]
    assert sum(len((ROOT / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in way) < 1250


# --- the README's map ----------------------------------------------------------------------------------------

LINK = re.compile(r"\[`([\w.]+)`\]\((npae/[\w/]+\.py)#L(\d+)\)")


def definitions(path):
    """Line of every class, function and method in a file, by its name and, for a method, Class.method."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node.lineno
            for inner in getattr(node, "body", []):
                if isinstance(inner, ast.FunctionDef) and isinstance(node, ast.ClassDef):
                    found[f"{node.name}.{inner.name}"] = inner.lineno
    return found


def test_the_readmes_map_leads_to_the_lines_it_names():
    links = LINK.findall((CHECKOUT / "README.md").read_text(encoding="utf-8"))
    assert len(links) >= 15
    for name, file, line in links:
        found = definitions(CHECKOUT / file).get(name)
        assert found == int(line), f"README says {file}#L{line} for {name}, which stands at line {found}"


def test_the_readmes_code_runs(monkeypatch, tmp_path):
    X_train, X_test = npae.datasets.digits()
    monkeypatch.setattr(npae.datasets, "digits", lambda: (X_train[:150], X_test[:20]))  # the same, sooner
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert names["Z"].shape == (20, 32)
    assert names["X_hat"].shape == names["X_clean"].shape == (20, 784)
    assert len(names["loss"]) > 5  # it went on
    np.testing.assert_allclose(
        names["H"] @ names["arrays"]["network.0.2.W"] + names["arrays"]["network.0.2.b"],
        names["ae"].encode(names["X_test"]), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_the_readmes_files_and_pictures_exist():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if not target.startswith("http"):
            assert (CHECKOUT / target).exists(), target
