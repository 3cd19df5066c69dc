"""The tests are tested: every planted fault makes a test fail."""

import os
import re
import subprocess
import sys

import planted_faults
import pytest
from fault_runner import ROOT
from helpers import HAVE_NUMBA

NODES = sorted({node for fault in planted_faults.FAULTS for node in fault.nodes()})


@pytest.mark.parametrize("fault", planted_faults.FAULTS, ids=lambda f: f"{f.file}: {f.wrong}")
def test_the_text_of_a_fault_occurs_once_and_changes(fault):
    assert fault.occurrences() == 1
    assert fault.old != fault.new


def test_every_fault_has_a_description_of_its_own():
    assert len({(f.file, f.wrong) for f in planted_faults.FAULTS}) == len(planted_faults.FAULTS) >= 60


@pytest.mark.parametrize("node", NODES)
def test_the_tests_that_must_fail_exist(node):
    file, _, name = node.partition("::")
    assert re.search(rf"^(def )?{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(not HAVE_NUMBA, reason="runs once, where numba is installed")
@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") == "few", reason="a short run")
def test_every_fault_is_caught():
    done = subprocess.run([sys.executable, planted_faults.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.once
def test_a_fault_that_no_test_sees_is_reported():
    """With a fault in a function that the test does not run, and with one in text that does not exist."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    test = "layers::test_a_network_has_the_widths_of_its_outer_layers"
    program = f"""
import fault_runner as p
unseen = p.Fault("losses.py", "unseen", "grad = -(", "grad = (", {test!r})
seen = p.Fault("layers.py", "seen", "self.n_out = width", "self.n_out = None", {test!r})
gone = p.Fault("losses.py", "gone", "no such text", "", {test!r})
print(*p.complaints([unseen, seen, gone]), sep=chr(10))
"""
    path = ROOT / "tests"
    done = subprocess.run([sys.executable, "-c", program], cwd=path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "losses.py, unseen: no test fails",
        "losses.py, gone: 'no such text' occurs 0 times, and should once",
    ]
