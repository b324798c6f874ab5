"""What one conversation of a log comes to: parts of its context, misses, loops, routine steps."""

from array import array

import pytest

from support.audited import asked, digested, result, said, step, used
from turnout.chat import ToolSpec
from turnout.lab.audit.records import Ending

KEY = ("", "", "anthropic/claude-sonnet-4-5")


def test_tokens_are_the_logs_own_and_money_is_list_price():
    cell = digested(
        step(said("hi"), usage=used(10_000, read=8_000, write=1_500, output=200, reasoning=50), cost_nano_usd=7),
    ).sums.cells[KEY]
    assert (cell.calls, cell.input, cell.cache_read, cell.cache_write, cell.output, cell.reasoning) == (
        *(1, 10_000, 8_000, 1_500, 200),
        50,
    )
    # 500 at 3 USD, 8,000 read at 0.30, 1,500 written at 3.75, 200 out at 15 (per million).
    assert cell.cost_nano_usd == 500 * 3_000 + 8_000 * 300 + 1_500 * 3_750 + 200 * 15_000
    assert cell.input_nano_usd == cell.cost_nano_usd - 200 * 15_000
    assert (cell.logged, cell.logged_nano_usd, cell.estimated) == (1, 7, 0)


def test_what_a_log_does_not_tell_is_estimated_and_said():
    cell = digested(step(said("x" * 4_000), out=(), usage=None)).sums.cells[KEY]
    assert cell.estimated == 1
    assert cell.input == pytest.approx(1_000, rel=0.02)


def test_what_is_sent_and_not_in_the_log_is_told_apart():
    sums = digested(
        step(said("x" * 4_000), usage=used(21_000)),
        step(said("y" * 4_000), usage=used(22_000)),
    ).sums
    assert sums.parts["unseen"] == pytest.approx(2 * 20_000, rel=0.01)
    assert sum(sums.parts.values()) == pytest.approx(43_000)
    first, second = sums.curve[0], sums.curve[1]
    assert sum(second.parts.values()) - sum(first.parts.values()) == pytest.approx(1_000)


def test_a_results_tokens_count_in_every_request_that_carries_them():
    sums = digested(
        step(said("go"), out=asked("1", "grep"), usage=used(1_000)),
        *(step(*([result("1", "z" * 4_000)] if i == 0 else []), out=(), usage=used(2_000)) for i in range(3)),
    ).sums
    grep = sums.tools["grep"]
    assert grep.calls == 1
    assert grep.result_tokens == 1_000
    assert grep.carried_tokens == pytest.approx(3 * grep.carried_tokens / 3)
    assert 2_500 < grep.carried_tokens < 6_000  # three requests, scaled to what was measured
    assert grep.carried_nano_usd == pytest.approx(grep.carried_tokens * 3_000)


def test_a_tool_is_idle_until_it_is_called():
    tools = tuple(ToolSpec(name=name, description="d" * 850, schema={}) for name in ("grep", "edit"))
    sums = digested(
        step(said("s" * 400, "system"), said("go"), out=asked("1", "grep"), tools=tools, usage=None),
        step(result("1", "found"), out=(), tools=tools, usage=None),
    ).sums
    grep, edit = sums.tools["grep"], sums.tools["edit"]
    assert (grep.offered, grep.idle) == (2, 1)
    assert (edit.offered, edit.idle) == (2, 2)
    assert edit.idle_tokens == pytest.approx(2 * grep.idle_tokens)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"at": 60.0}, "nothing read"),
        ({"at": 600.0}, "kept time expired"),
        ({"at": 60.0, "model": "claude-haiku-4-5"}, "model switched"),
    ],
)
def test_why_a_cache_was_missed(second, reason):
    sums = digested(
        step(said("hi"), at=0.0, usage=used(20_000, write=19_000)),
        step(said("more"), usage=used(21_000, read=0, write=20_000), **second),
    ).sums
    assert list(sums.misses) == [reason]
    miss = sums.misses[reason]
    assert miss.tokens == 20_000
    assert (sums.repeated, sums.repeated_known, sums.read_known) == (20_000, 20_000, 0)
    if second.get("model") is None:
        assert miss.nano_usd == 20_000 * (3_750 - 300)  # written anew in place of read


def test_nothing_was_marked():
    sums = digested(step(said("hi"), at=0.0, usage=used(20_000)), step(said("more"), at=9.0, usage=used(21_000))).sums
    assert list(sums.misses) == ["not asked for"]
    assert sums.misses["not asked for"].nano_usd == 20_000 * (3_000 - 300)


def test_a_prefix_that_changed_is_seen_where_whole_requests_are_logged():
    system, first = said("s" * 4_000, "system"), said("a" * 40_000)
    sums = digested(
        step(system, first, whole=True, at=0.0, usage=used(11_000, write=10_900)),
        step(system, said("b" * 40_000), said("c"), whole=True, at=9.0, usage=used(11_010, read=1_000)),
    ).sums
    assert list(sums.misses) == ["prefix changed at its beginning"]


def test_rounding_is_no_miss():
    sums = digested(
        step(said("hi"), at=0.0, usage=used(20_000, write=19_990)),
        step(said("more"), at=9.0, usage=used(20_300, read=19_900)),
    ).sums
    assert not sums.misses


def test_a_conversation_that_was_cut_short_repeats_only_what_it_kept():
    sums = digested(
        step(said("x" * 40), usage=used(5_000)),
        step(said("y" * 400_000), usage=used(105_000)),
        step(said("summary"), compacted=True, usage=used(7_000)),
    ).sums
    assert sums.repeated <= 5_000 + 7_000


def test_the_third_identical_call_and_result_is_a_loop():
    def round_(i):
        return step(result(str(i), "same"), out=asked(str(i + 1)), usage=used(1_000), at=float(i))

    digest = digested(step(said("go"), out=asked("0"), usage=used(900), at=0.0), *(round_(i) for i in range(5)))
    session = digest.sums.sessions["s"]
    assert session.loop_calls == 3
    assert session.loop_nano_usd == 3 * (1_000 * 3_000 + 10 * 15_000)
    assert digest.tracks[0].loop_at == 3


def test_routine_steps_are_judged_by_what_the_next_result_says():
    sums = digested(
        step(said("go"), out=asked("1")),
        step(result("1", "fine"), out=asked("2")),
        step(result("2", "Traceback (most recent call last):", failed=True), out=asked("3")),
        step(result("3", "fine"), out=()),
    ).sums
    kind = sums.routine["mid"]
    assert (kind.calls, kind.judged, kind.went_well) == (1, 1, 0)


def test_agents_of_a_session_are_threads_of_their_own():
    digest = digested(
        step(said("go"), usage=used(1_000)),
        step(said("sub task"), agent="sub", usage=used(500)),
        step(said("more"), usage=used(1_100)),
        Ending(session="s", solved=False, why="gave up"),
    )
    session = digest.sums.sessions["s"]
    assert (digest.threads, session.agents, session.calls) == (2, 2, 3)
    assert (session.solved, session.why) == (False, "gave up")
    assert digest.sums.repeated == 1_000


def test_an_answer_written_twice_is_one():
    once = step(said("go"), id="msg_1", usage=used(1_000))
    digest = digested(once, once, step(said("more"), id="msg_2", usage=used(1_100)))
    assert digest.sums.copies == 1
    assert digest.sums.cells[KEY].input == 2_100
    again = digested(once, skip=frozenset(digest.ids))
    assert (again.steps, again.sums.copies) == (0, 1)


def test_a_track_has_what_pricing_needs():
    digest = digested(
        step(said("go"), at=100.0, usage=used(1_000)), step(said("more"), at=107.5, usage=used(1_500, output=20))
    )
    (track,) = digest.tracks
    assert list(array("q", track.numbers)) == [1_000, 10, 0, 992, 0, 1_500, 20, 7_500, 992, 0]
    assert (track.at, track.loop_at, track.estimated) == (100.0, None, False)


def test_texts_are_kept_only_when_asked_for():
    assert digested(step(said("a secret"))).sums.sessions["s"].opening == ""
    assert digested(step(said("a  secret\n")), keep_text=True).sums.sessions["s"].opening == "a secret"
