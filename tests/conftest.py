"""Hypothesis profiles, the backends that tests run on, and the table of gradients checked.

`pytest` uses the profile "ci", which draws the same examples every time. `HYPOTHESIS_PROFILE=thorough pytest` draws ten
times as many at random, "few" a fifth. "first_failure", which `planted_faults.py` uses, draws the examples of "ci" and
does not shrink them. `NPAE_BACKEND=numpy pytest` leaves numba out.
"""

import os

import pytest
from helpers import HAVE_NUMBA, TALLY
from hypothesis import HealthCheck, Phase, settings

import npae

accepted = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("ci", max_examples=100, derandomize=True, deadline=None, suppress_health_check=accepted)
settings.register_profile("few", settings.get_profile("ci"), max_examples=20)
settings.register_profile("thorough", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=accepted)
settings.register_profile("first_failure", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    """Run the test once on each backend."""
    if request.param == "numba" and not HAVE_NUMBA:
        pytest.skip("numba is not installed or not wanted")
    npae.use_backend(request.param)
    return request.param


@pytest.fixture(autouse=True)
def _same_backend_afterwards():
    before = npae.backend_name()
    yield
    npae.use_backend(before)


def pytest_terminal_summary(terminalreporter):
    if TALLY:
        terminalreporter.section("gradients checked")
        for kind, (reports, elements, worst, tolerance) in sorted(TALLY.items()):
            error = f"worst error {worst:.1e}, tolerance {tolerance:.0e}"
            terminalreporter.write_line(f"{kind:<34} {reports:>7} cases {elements:>9} derivatives, {error}")
