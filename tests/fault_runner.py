"""Run tests with a fault in the code: one piece of text of one module is changed as a forked process imports it."""

import contextlib
import importlib.abc
import importlib.machinery
import os
import re
import signal
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 60  # seconds for the tests of one fault


class Fault(NamedTuple):
    file: str  # below npae/
    wrong: str  # what is wrong
    old: str  # occurs once in the file
    new: str
    tests: str  # "test_x" in the file's own tests, "fitting/fit::test_x" in tests/fitting/test_fit.py
    backend: str = "numpy"

    def nodes(self):
        """The tests as pytest names them."""
        paths = [test if "::" in test else f"{self.file[:-3]}::{test}" for test in self.tests.split()]
        return [re.sub(r"(\w+)::", r"test_\1.py::", f"tests/{path}") for path in paths]

    def occurrences(self):
        return (ROOT / "npae" / self.file).read_text(encoding="utf-8").count(self.old)


class Planted(importlib.machinery.SourceFileLoader):
    """Loads a module with the fault in it."""

    def __init__(self, fullname, path, fault):
        super().__init__(fullname, path)
        self.fault = fault

    def get_code(self, fullname):
        source = self.get_data(self.path).decode()
        assert source.count(self.fault.old) == 1, f"{self.fault.old!r} does not occur once in {self.fault.file}"
        return compile(source.replace(self.fault.old, self.fault.new), self.path, "exec", dont_inherit=True)


class Planter(importlib.abc.MetaPathFinder):
    def __init__(self, fault):
        parts = Path("npae", fault.file).with_suffix("").parts
        self.name, self.fault = ".".join(parts).removesuffix(".__init__"), fault

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        spec.loader = Planted(fullname, spec.origin, self.fault)
        return spec


def run_tests(nodes, backend="numpy", fault=None):
    """Run tests in a forked process that has not imported npae. Returns pytest's exit code, and what it printed."""
    sys.stdout.flush()
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        with os.fdopen(read, encoding="utf-8", errors="replace") as pipe:
            said = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
    code = 99
    try:
        os.dup2(write, 1)
        os.dup2(write, 2)
        signal.alarm(TIMEOUT if fault else 10 * TIMEOUT)
        os.environ |= {"NPAE_BACKEND": backend, "HYPOTHESIS_PROFILE": "first_failure"}
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # which takes a third of the time
        os.chdir(ROOT)
        sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
        if fault:
            sys.meta_path.insert(0, Planter(fault))
        import pytest

        code = int(pytest.main(["-x", "--tb=no", "-p", "no:cacheprovider", *nodes]))
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def complaints(faults):
    """Run all tests without a fault, then those of each fault with it; yield a line for everything that is wrong."""
    for backend in sorted({f.backend for f in faults}, reverse=True):
        nodes = sorted({node for f in faults if f.backend == backend for node in f.nodes()})
        code, said = run_tests(nodes, backend)
        if code != 0:
            yield f"the tests do not pass on {backend} without a fault:\n{said}"
            return
    for fault in faults:
        if fault.occurrences() != 1:
            yield f"{fault.file}, {fault.wrong}: {fault.old!r} occurs {fault.occurrences()} times, and should once"
            continue
        code, said = run_tests(fault.nodes(), fault.backend, fault)
        if code != 1:  # pytest's code for "tests failed"
            why = {0: "no test fails", -signal.SIGALRM: f"no end after {TIMEOUT} s"}.get(code, f"code {code}:\n{said}")
            yield f"{fault.file}, {fault.wrong}: {why}"
