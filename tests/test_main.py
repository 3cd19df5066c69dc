"""`python -m npae` tells what is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import npae


@pytest.mark.usefixtures("backend")
def test_python_m_npae_prints_the_version_and_the_backend(backend, monkeypatch):
    monkeypatch.setenv("NPAE_BACKEND", backend)
    command = [sys.executable, "-m", "npae"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    first, *rest = done.stdout.splitlines()
    assert first == f"npae {npae.__version__}"
    described = dict(line.split(maxsplit=1) for line in rest)
    assert described["backend"] == backend
    assert "NPAE_BACKEND" in described["chosen"]
