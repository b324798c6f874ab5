"""What an examination comes to: an exit status and one sentence."""

import pytest

from turnout.newcomer.doctor.findings import counted, fail, failed_by, ok, status_of, warn

OK, WARN, FAIL = ok("a", "well"), warn("b", "so so", "look"), fail("c", "ill", "mend it")


@pytest.mark.parametrize(
    ("findings", "status", "said"),
    [
        ([], 0, "nothing hinders it"),
        ([OK], 0, "nothing hinders it"),
        ([OK, WARN], 0, "1 to look at"),
        ([FAIL, WARN, FAIL], 1, "2 to mend, 1 to look at"),
    ],
)
def test_only_what_fails_stops_a_script(findings, status, said):
    assert (status_of(findings), counted(findings)) == (status, said)


def test_an_error_of_ours_names_its_next_step():
    assert failed_by("x", "no file; write one", "?").next == "write one"
    assert failed_by("x", "no file", "write one").next == "write one"
