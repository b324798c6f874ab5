"""How an agent fares, told by the shapes that tools write, in any language."""

import pytest

from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.routing.trajectory import Trajectory, severity_of, struggling


def call(number, name="run", arguments='{"cmd": "make test"}'):
    return Message(role="assistant", parts=(ToolCall(id=f"c{number}", name=name, arguments=arguments),))


def result(number, text, *, failed=False):
    return Message(role="tool", parts=(ToolResult(call_id=f"c{number}", parts=(Text(text=text),), is_error=failed),))


def fed(*pairs):
    trajectory = Trajectory()
    for number, (arguments, text) in enumerate(pairs):
        trajectory.feed([call(number, arguments=arguments), result(number, text)])
    return trajectory


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("12 passed in 0.3 s", 0),
        ("", 0),
        ("The error handling chapter begins here.", 0),
        ("Traceback (most recent call last):\n  File x", 1),
        ("ValueError: no such thing", 1),
        ("openai.APIError: refused", 1),
        ("error[E0308]: mismatched types", 1),
        ("Error: Exchanged item not found", 1),
        ("<tool_use_error>File has not been read yet</tool_use_error>", 1),
        ("<returncode>1</returncode>\n<output>...", 0.5),
        ("<returncode>0</returncode>\n<output>error: none</output>", 0),
        ("2 failed\nexit code: 1", 0.5),
        ("Command exited. Exit status: 127", 1),
        ('{"exit_code": 0, "output": "error: in a log that was read"}', 0),
        ('{"success": false, "grund": "kein Zugriff"}', 1),
        ('{"error": null, "rows": []}', 0),
        ('{"error": "nicht gefunden"}', 1),
        ('{"status_code": 404}', 1),
        ("错误 找不到文件", 0),  # words are not read: only the host's flag or a machine's shape says that it failed
    ],
)
def test_how_bad_an_answer_is_by_its_shape(text, severity):
    assert severity_of(text) == severity


def test_the_hosts_own_flag_counts_whatever_the_words():
    trajectory = Trajectory()
    trajectory.feed([call(1), result(1, "错误 找不到文件", failed=True)])
    assert (trajectory.signs.severity, trajectory.signs.failed) == (1.0, True)


def test_the_same_failure_again_and_again():
    signs = fed(*[("{}", "Error: item not found")] * 3).signs
    assert signs.same_failure == 3
    assert "same failure" in (struggling(signs) or "")
    other = fed(*[("{}", f"exit code: 1, attempt {n}") for n in range(3)]).signs
    assert (other.same_failure, struggling(other)) == (1, None)


def test_failures_weigh_and_are_forgotten_with_the_window():
    bad = [("{}", f"Error: {n}") for n in range(2)]
    assert struggling(fed(*bad).signs) == "failures of weight 2 in the last 6 results"
    assert struggling(fed(*bad, *[("{}", "fine")] * 6).signs) is None


def test_much_reading_without_producing():
    reads = [(f'{{"path": "{n}.py"}}', "line\n" * 500) for n in range(15)]
    assert struggling(fed(*reads).signs) == "15 results read in a row and nothing produced"
    edit = ('{"path": "a.py", "text": "' + "x" * 2_000 + '"}', "ok")
    assert struggling(fed(*reads[:14], edit, *reads[:5]).signs) is None


def test_tests_turned_green_are_recovery_until_something_fails_again():
    red, green = ('{"cmd": "make test"}', "2 failed\nexit code: 1"), ('{"cmd": "make test"}', "exit code: 0")
    assert fed(red, ('{"cmd": "edit"}', "ok"), green).signs.recovered
    assert not fed(red, ('{"cmd": "edit"}', "ok")).signs.recovered
    assert not fed(red, green, ('{"cmd": "ls"}', "Error: gone")).signs.recovered
    assert fed(red, green).recovered


def test_what_somebody_acted_on_is_no_evidence_any_more():
    trajectory = fed(*[("{}", "Error: item not found")] * 3)
    trajectory.settled()
    assert struggling(trajectory.signs) is None


def test_hostile_answers_break_nothing_and_fill_no_memory():
    trajectory = Trajectory()
    for number in range(2_000):
        trajectory.feed([call(number, arguments='{"n": ' * 50), result(number, "{" * 3_000 + f"Error: {number}")])
        trajectory.feed([result(f"unasked{number}", "\ud800 Error:")])
    assert len(trajectory._failures) <= 512
    assert len(trajectory._failed_calls) <= 512
    assert len(trajectory._open) <= 512
