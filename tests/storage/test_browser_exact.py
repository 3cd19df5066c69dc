"""The page of any model, in a real browser, computes what NumPy computes; and its self test finds a fault."""

import numpy as np
import pytest
from browser import IMAGE, NEEDS_CHROMIUM, QUICK, X, opened, together, with_script
from helpers import FAMILY, every_layer

import npae

pytestmark = NEEDS_CHROMIUM


MODELS = {name: lambda make=make: make(**QUICK) for name, make in FAMILY.items()}
MODELS |= {
    "every layer": lambda: every_layer(12),
    "PCA": lambda: npae.PCA(2),
    "sigmoid": lambda: npae.AE(**QUICK, output="sigmoid"),
}


def self_tests(pages):
    """{stem: the largest difference} of the self tests of pages in one folder."""
    for path in pages:
        with_script(path, "parent.postMessage([location.hash, document.documentElement.dataset.selfTest], '*');", path)
    frames = "".join(f'<iframe src="{path.name}#{path.stem}"></iframe>' for path in pages)
    return together(pages[0].parent, frames)


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_page_of_every_model_computes_what_numpy_computes(weights, tmp_path):
    far, pages = X.astype(float) + 1000, []
    for name, make in MODELS.items():
        pages.append(tmp_path / f"{len(pages)}.html")
        rows = far if name == "PCA" else X
        make().fit(rows).export(pages[-1], rows, **IMAGE, weights=weights)
    found = self_tests(pages)
    assert len(found) == len(MODELS)
    assert max(map(float, found.values())) <= 1e-5


FAULTS = [
    ("+= x_i * W[at]", "+= x_i * W[at] * 1.001"), ("Math.tanh", "Math.atan"), ("slope * x_i", "x_i"),
    ("alpha * Math.expm1", "Math.expm1"), ("x[j] - x[i] || i - j", "x[i] - x[j] || i - j"),
    ("q_ij * s[i % s.length]", "q_ij * s[0]"), ("(x_i > 0 ? x_i : alpha", "(x_i > 0.5 ? x_i : alpha"),
    ("(x) => x.map((x_i) => Math.max(x_i, 0))", "(x) => x"), ("slice(0, k);", "slice(0, k + 1);"),
]  # fmt: skip


def test_the_self_test_finds_a_fault_in_any_formula(tmp_path):
    model, pages = every_layer(12).fit(X), []
    for p in model.network_.parameters():
        p.value[...] = np.random.default_rng(p.value.size).uniform(-1, 1, p.value.shape)
    model.export(tmp_path / "model.html", X, weights="int8")
    text = with_script(tmp_path / "model.html", "").read_text(encoding="utf-8")
    for right, wrong in FAULTS:
        assert text.count(right) == 1, right
        pages.append(tmp_path / f"{len(pages)}.html")
        pages[-1].write_text(text.replace(right, wrong), encoding="utf-8")
    found = self_tests(pages)
    assert len(found) == len(FAULTS)
    assert not [FAULTS[int(i)] for i, most in found.items() if float(most) <= 1e-4]


def test_a_page_of_a_usual_size_is_exact_and_says_how_long_a_decode_takes(tmp_path):
    digits = npae.datasets.digits()[1]
    ae = npae.AE((256,), 2, loss="bce", epochs=1, random_state=0).fit(digits)
    ae.export(tmp_path / "model.html", digits, image_shape=(28, 28), weights="int8")
    page = opened(tmp_path / "model.html")
    assert float(page["decode-ms"]) > 0
    assert float(page["self-test"]) <= 1e-5


def test_pages_of_unusual_shapes_open_and_are_as_exact(tmp_path):
    still = np.tile(X[:1, :5], (9, 1))
    pages = [tmp_path / f"{i}.html" for i in range(4)]
    npae.PCA(1).fit(X[:, :1]).export(pages[0], X[:, :1])  # one column, one number
    npae.AE(**QUICK | {"latent_dim": 3}).fit(still).export(pages[1], still)  # nothing varies
    npae.AE(**QUICK | {"latent_dim": 40}).fit(X).export(pages[2], X[:1], image_shape=(12, 1))  # one row
    npae.AE((), 1, epochs=1, code="sigmoid").fit(X).export(pages[3], X, **IMAGE)
    found = self_tests(pages)
    assert len(found) == 4
    assert max(map(float, found.values())) <= 1e-5
