"""The table of `mutants.py` does not rot: each fault still finds its line, and the tests that ought to see it exist."""

import mutants
import pytest


def test_every_mutant_can_be_made():
    assert list(mutants.complaints()) == []
    assert len({(m.file, m.fault) for m in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 200


GOOD = mutants.MUTANTS[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"old": "no such text"}, "stands there 0 times"),
        ({"old": "return"}, "times, and should once"),
        ({"new": GOOD.old}, "nothing but a comment or a space is changed"),
        ({"new": "("}, "not Python"),
        ({"tests": "laayers"}, "there is no tests/test_laayers.py"),
        ({"tests": "losses::test_gone"}, "there is no test_gone in tests/test_losses.py"),
    ],
)
def test_a_mutant_that_cannot_be_made_is_noticed(change, complaint):
    assert list(mutants.complaints([GOOD])) == []
    (said,) = mutants.complaints([GOOD._replace(**change)])
    assert complaint in said


def test_a_fault_is_planted_in_the_copy_and_taken_out_again(tmp_path):
    path = tmp_path / GOOD.file
    path.parent.mkdir()
    right = (mutants.ROOT / GOOD.file).read_bytes()
    path.write_bytes(right)
    with mutants.planted(tmp_path, GOOD):
        assert path.read_text(encoding="utf-8") == right.decode().replace(GOOD.old, GOOD.new) != right.decode()
    assert path.read_bytes() == right
