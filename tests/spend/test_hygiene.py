"""What a conversation carries for nothing, by examples: read twice, never referred to, never called."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of
from turnout.catalog.prices import Price
from turnout.chat import Image, Message, Opaque, Reasoning, Source, Text, ToolCall, ToolResult, ToolSpec
from turnout.spend import hygiene
from turnout.spend.hygiene import ContextTrail
from turnout.spend.trimming import Billing

GPT = Billing(
    price=Price(input=2_000_000, output=8_000_000, cache_read=500_000), rule=cache_rule_of("openai", "gpt-4.1")
)
FILE = "\n".join(f"def handler_{n}(request): return respond({n}00)" for n in range(60))
LOG = "\n".join(f"2026-11-27 10:{n:02} worker-{n} finished checksum {n * 7919:x}f" for n in range(60))


def quarter(text):
    return len(text) / 4


def says(text):
    return Message(role="assistant", parts=(Text(text=text),))


def calls(name, arguments, call_id="c1"):
    return Message(role="assistant", parts=(ToolCall(id=call_id, name=name, arguments=json.dumps(arguments)),))


def gives(text, call_id="c1"):
    return Message(role="tool", parts=(ToolResult(call_id=call_id, parts=(Text(text=text),)),))


def asks(text):
    return Message(role="user", parts=(Text(text=text),))


def session(*answers, tools=(), task="find the fault"):
    """A trail of a whole session: each answer is what the model said and what came of it."""
    trail = ContextTrail(quarter, tools)
    trail.step([asks(task)])
    *steps, last = answers
    for told in steps:
        trail.step(told)
    trail.end(last)
    return trail


def found(trail, kind):
    return [f for f in trail.report(GPT).findings if f.kind == kind]


def test_a_file_read_twice_is_a_duplicate_that_need_never_have_been_sent():
    trail = session(
        [calls("read", {"path": "a.py", "all": True}), gives(FILE)],
        [says("handler_12 looks odd")],
        [calls("read", {"all": True, "path": "a.py"}, "c2"), gives(FILE, "c2")],
        [says("so it is")],
        [says("done")],
    )
    (finding,) = found(trail, "duplicate_result")
    assert (finding.tool, finding.step, finding.same_as, finding.basis) == ("read", 3, 1, "measured")
    assert finding.requests == 2, "the one that sent it first, and one more"
    assert finding.break_even == 0, "nothing of the cache breaks if it is never sent"
    assert finding.net_nano_usd == finding.gross_nano_usd > 0
    assert finding.worth_it
    assert FILE[:20] not in repr(trail.report(GPT))


def test_a_file_that_changed_between_is_no_duplicate():
    trail = session(
        [calls("read", {"path": "a.py"}), gives(FILE)],
        [calls("read", {"path": "a.py"}, "c2"), gives(FILE + "\n# fixed", "c2")],
        [says("done")],
    )
    assert found(trail, "duplicate_result") == []


def test_a_big_result_that_nobody_refers_to():
    trail = session(
        [calls("logs", {}), gives(LOG)],
        *[[says("let me think"), asks("go on")]] * 30,
        [says("done")],
    )
    (finding,) = found(trail, "unreferenced_result")
    assert (finding.tool, finding.step, finding.basis) == ("logs", 1, "estimated")
    assert (finding.since, finding.requests) == (1 + hygiene.PATIENCE, 30)
    assert 0 < finding.net_nano_usd < finding.gross_nano_usd
    assert finding.break_even_now > finding.break_even


def test_trimming_late_in_a_long_tail_is_not_worth_it():
    trail = session(
        [calls("logs", {}), gives(LOG)],
        [calls("read", {"path": "a.py"}, "c2"), gives(FILE * 20, "c2")],
        [says("handler_3 it is, with respond(300)"), asks("go on")],
        [says("well"), asks("go on")],
        [says("well"), asks("go on")],
        [says("done")],
    )
    (finding,) = found(trail, "unreferenced_result")
    assert finding.tool == "logs"
    assert finding.gross_nano_usd > 0 > finding.net_nano_usd
    assert not finding.worth_it
    assert finding.break_even > trail.requests - finding.since
    assert trail.report(GPT).net_nano_usd == 0


@pytest.mark.parametrize(
    "reference",
    [
        says("worker-17 is the culprit"),
        calls("kill", {"checksum": f"{17 * 7919:x}f"}, "c2"),
        Message(role="assistant", parts=(Reasoning(text=f"what is {17 * 7919:x}f?"),)),
    ],
)
def test_a_word_of_it_in_text_arguments_or_thinking_is_a_reference(reference):
    trail = session([calls("logs", {}), gives(LOG)], *[[says("hm"), asks("?")]] * 4, [reference], [says("done")])
    report = trail.report(GPT)
    assert report.sums["unreferenced_result"].findings == 0
    assert (report.judged, report.delays, report.late) == (1, (0, 0, 0, 0, 1), 1), "leaving it out would be wrong"


def test_what_the_user_had_said_already_is_no_word_of_the_result():
    trail = session(
        [calls("logs", {}), gives(LOG)],
        *[[says("order W5551234 it is"), asks("?")]] * 4,
        [says("done")],
        task="look for order W5551234",
    )
    assert len(found(trail, "unreferenced_result")) == 1


@pytest.mark.parametrize(
    ("result", "reference"),
    [
        ("订单编号的客户住在上海市浦东新区世纪大道" * 25, "客户住在上海市浦东新区"),
        ("注文番号のお客様は東京都千代田区丸の内に" * 25, "東京都千代田区"),
        ("고객님의 주문은 서울특별시에서 출발했습니다 " * 16, "서울특별시"),
        ("ग्राहक का पता महाराष्ट्र राज्य में मुंबई है " * 16, "महाराष्ट्र में"),
        ("Der Auftrag liegt im Zwischenlager Süßwasserstraße " * 6, "SÜSSWASSERSTRASSE?"),
        (json.dumps({"город": "Новосибирск\nВладивосток"}) * 6, "ВЛАДИВОСТОК"),  # noqa: RUF001
    ],
)
def test_references_are_seen_in_every_script(result, reference):
    for said, expected in ((reference, 0), ("?", 1)):
        trail = session([calls("find", {}), gives(result)], *[[says(said), asks("?")]] * 4, [says("done")])
        assert len(found(trail, "unreferenced_result")) == expected


def test_tools_offered_and_never_called_and_one_that_is_very_long():
    tools = [
        ToolSpec(name="read", description="Reads a file.", schema={"type": "object"}),
        ToolSpec(name="deploy", description="x" * 900, schema={"type": "object"}),
        ToolSpec(name="edit", description="y" * 8_000, schema={"type": "object"}),
    ]
    trail = session(
        [calls("read", {}), gives("ok")], [calls("edit", {}, "c2"), gives("ok", "c2")], [says("done")], tools=tools
    )
    report = trail.report(GPT)
    unused, oversized = (found(trail, kind)[0] for kind in ("unused_tool", "oversized_tool"))
    assert (unused.tool, unused.basis, unused.requests, unused.since) == ("deploy", "measured", 3, 0)
    assert unused.net_nano_usd == unused.gross_nano_usd > 0
    assert unused.break_even_now > 10, "tools stand first: what comes after them would be written anew"
    assert (oversized.tool, oversized.basis) == ("edit", "assumed")
    assert report.tools == ("read", "deploy", "edit")
    assert report.tools_tokens > 3 * (unused.tokens + oversized.tokens)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(hygiene, "MAX_WORDS", 500)
    monkeypatch.setattr(hygiene, "MAX_RESULTS", 20)
    monkeypatch.setattr(hygiene, "MAX_REQUESTS", 30)
    trail = ContextTrail(quarter)
    for n in range(100):
        names = " ".join(f"name_{n}_{k}" for k in range(40))
        trail.step([calls("list", {"n": n}, f"c{n}"), gives(names, f"c{n}")])
        assert trail.size <= 500 + 20 + 256
    report = trail.report(GPT)
    assert report.truncated
    assert report.requests == 30
    assert {f.basis for f in report.findings} <= {"estimated", "assumed"}


HOSTILE = st.one_of(
    st.builds(Text, text=st.text()),
    st.builds(Reasoning, text=st.text()),
    st.builds(ToolCall, id=st.text(max_size=2), name=st.text(max_size=3), arguments=st.text()),
    st.builds(
        ToolCall, id=st.just(""), name=st.just("x"), arguments=st.sampled_from(["{", "[" * 5000, '"\\ud800"', "null"])
    ),
    st.builds(
        ToolResult,
        call_id=st.text(max_size=2),
        parts=st.tuples(st.one_of(st.builds(Text, text=st.text()), st.builds(Image, source=st.just(Source(url="x"))))),
    ),
    st.builds(Opaque, provider=st.just("p"), data=st.just({"a": [1]})),
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.lists(
            st.builds(
                Message,
                role=st.sampled_from(["system", "user", "assistant", "tool"]),
                parts=st.lists(HOSTILE, max_size=3).map(tuple),
            ),
            max_size=3,
        ),
        max_size=6,
    ),
    st.lists(
        st.builds(ToolSpec, name=st.text(max_size=3), description=st.text(), schema=st.just({"a": {1: "\ud800"}})),
        max_size=2,
    ),
)
def test_nothing_that_a_conversation_holds_raises(steps, tools):
    trail = ContextTrail(quarter, tools)
    assert trail.report(GPT).findings == ()
    for messages in steps:
        trail.step(messages)
    assert trail.report(GPT).billed_nano_usd >= 0
    # Where nothing is cached, less is cheaper. With a cache it need not be: what falls below its minimum is not kept.
    report = trail.report(Billing(price=GPT.price, rule=NO_CACHE))
    assert all(f.gross_nano_usd >= 0 or f.kind.endswith("tool") for f in report.findings)


def test_a_huge_result_and_half_a_letter_do_not_raise():
    trail = session(
        [calls("dump", {}), gives("\ud83d" + "blob " + "x9" * 1_000_000)],
        [
            Message(
                role="tool", parts=(ToolResult(call_id="\ud83d", name="\ud800", parts=(Text(text="\udc00" * 9_000),)),)
            )
        ],
        *[[says("hm"), asks("?")]] * 4,
        [says("done")],
    )
    assert "assumed" in {f.basis for f in found(trail, "unreferenced_result")}, "only a sample was looked at"
