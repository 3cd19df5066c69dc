"""The bundled digits are the beginning of MNIST; the package works from a zip file."""

import os
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import npae


def test_the_bundled_digits():
    X_train, X_test, y_train, y_test = npae.datasets.digits(labels=True)
    assert (X_train.shape, X_test.shape) == ((10_000, 784), (2_000, 784))
    assert X_train.dtype == X_test.dtype == np.float32
    assert (X_train.min(), X_train.max()) == (0, 1)
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert set(y_test) == set(range(10))
    assert len(npae.datasets.digits()) == 2
    X_train[...] = 0  # the caller's own: the next call is not affected
    assert npae.datasets.digits()[0].max() == 1


def test_the_bundle_is_small_and_states_source_and_licence():
    folder = resources.files("npae.datasets")
    assert len(folder.joinpath("digits.npz").read_bytes()) < 2_100_000
    text = folder.joinpath("DIGITS.md").read_text(encoding="utf-8")
    assert "LeCun" in text
    assert "CC BY-SA 3.0" in text


FROM_A_ZIP = """
import npae
assert "npae.zip" in npae.__file__
X_train, X_test = npae.datasets.digits()
print(X_train.shape, len(npae.datasets.speech()), npae.AE((4,), 2, epochs=1).fit(X_test[:20]).encode(X_test[:3]).shape)
"""


def test_the_package_works_from_a_zip_file(tmp_path):
    root = Path(npae.__file__).parent
    with zipfile.ZipFile(tmp_path / "npae.zip", "w") as archive:
        for path in root.rglob("*"):
            if path.suffix in (".py", ".npz", ".md"):
                archive.write(path, path.relative_to(root.parent))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "npae.zip")}
    command = [sys.executable, "-c", FROM_A_ZIP]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(10000, 784) 5 (3, 2)"


@pytest.mark.skipif("NPAE_DATA_DIR" not in os.environ, reason="needs the whole of MNIST in NPAE_DATA_DIR")
def test_the_bundle_is_the_beginning_of_the_whole_set():
    X_train, X_test, y_train, y_test = npae.datasets.mnist(labels=True)
    assert (X_train.shape, X_test.shape) == ((60_000, 784), (10_000, 784))
    bundled = npae.datasets.digits(labels=True)
    for whole, part in zip((X_train, X_test, y_train, y_test), bundled, strict=True):
        np.testing.assert_array_equal(whole[: len(part)], part)
