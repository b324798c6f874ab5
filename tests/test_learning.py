"""The learner by itself: every outcome once, bounded memory, and who is asked."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from turnout.catalog.models import Deployment
from turnout.chat import Message, RequestOutline, Text
from turnout.context import CACHE_HIT, Candidate, Decision, RequestContext, SessionView
from turnout.keys import Key
from turnout.learning import Learner
from turnout.learning_rules import LearningRules
from turnout.routing.outcomes import TRUST, Outcome

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SMALL, BIG = (
    Deployment(id=f"lab/{t}", provider="lab", upstream_model=t, dialect="openai-chat", tier=t)
    for t in ("small", "frontier")
)


class Kept:
    """A store that only lists."""

    def __init__(self, before=()):
        self.outcomes, self.asked, self.before = [], [], list(before)

    def add(self, outcome):
        self.outcomes.append(outcome)

    def keep(self, asked):
        self.asked.append(asked)

    def keep_for(self, days):
        self.days = days

    def recent(self, limit, model=None):
        return self.before

    def find(self, request_id):
        return None


def ctx(name, messages=1, *, by=SMALL, outcome="ok", reason="short", thread="t", parent=None, key=None, features=b"f"):
    return RequestContext(
        request_id=name,
        dialect="openai-chat",
        outline=RequestOutline(model="auto", fields={}, messages=(Raw(b"{}"),) * messages, roles=("user",) * messages),
        body=b"{}",
        started_s=0.0,
        key=key,
        session=SessionView(id="s", agent="a", step=0, source="prefix", thread=thread, parent=parent),
        served_by=by,
        decision=Decision(
            candidates=(Candidate(deployment=by, success=0.7, bounds=(0.5, 0.9)),), reason=reason, explanation=""
        ),
        look=lambda: features,
        outcome=outcome,
    )


def learner(**more):
    return Learner(Kept(), clock=lambda: NOW, **more)


def served(learns, told, *, came=(), recovered=False, start=0, text="", answer=None):
    learns.saw(told, [Message(role="user", parts=(Text(text=text),))], came, start=start, recovered=recovered)
    learns.settled(told, answer)


def said(learns):
    return [(o.request_id, o.source, o.score) for o in learns.store.outcomes]


def test_an_outcome_says_all_that_is_known_of_its_answer():
    learns = learner()
    served(learns, ctx("one"))
    served(learns, ctx("two", 3), came=[0.0], start=1)
    (told,) = learns.store.outcomes
    assert told == Outcome(
        request_id="one",
        model="lab/small",
        score=1.0,
        source="tool",
        weight=TRUST["tool"],
        at=NOW,
        predicted=0.7,
        features=b"f",
    )


def test_an_escalation_is_told_of_the_model_that_was_left():
    learns = learner()
    served(learns, ctx("one"))
    served(learns, ctx("two", 3, by=BIG, reason="escalated"), start=1)
    assert said(learns) == [("one", "escalation", 0.0)]
    again = learner()
    served(again, ctx("one"))
    served(again, ctx("two", 3, by=SMALL, reason="escalated"), start=1)
    assert said(again) == [], "a stand-in: it was not left"


@pytest.mark.parametrize("how", [{"outcome": "cancelled"}, {"reason": CACHE_HIT}])
def test_after_an_answer_that_was_not_given_nothing_is_said_of_the_one_before(how):
    learns = learner()
    served(learns, ctx("one"))
    served(learns, ctx("two", 3, **how), start=1)
    served(learns, ctx("three", 5), came=[1.0], start=3)
    assert said(learns) == []


def test_a_failed_request_that_is_sent_again_says_nothing_twice():
    learns = learner()
    served(learns, ctx("one"))
    served(learns, ctx("two", 3, outcome="error"), came=[1.0], start=1)
    served(learns, ctx("three", 3), came=[1.0], start=1)
    assert said(learns) == [("one", "tool", 0.0)]


def test_a_conversation_that_was_rewritten_says_nothing():
    learns = learner()
    served(learns, ctx("one", 5))
    served(learns, ctx("two", 7), came=[1.0, 0.0], start=0, recovered=True)
    assert said(learns) == []


@pytest.mark.parametrize(
    ("rules", "key"), [(LearningRules(enabled=False), None), (LearningRules(), Key(name="shy", learning=False))]
)
def test_who_is_not_asked_leaves_nothing(rules, key):
    learns = learner()
    learns.follow(rules)
    for told, start in ((ctx("one", key=key), 0), (ctx("two", 3, key=key), 1)):
        served(learns, told, came=[1.0], start=start)
        learns.tell(told, "schema", 0.0)
    assert (learns.store.outcomes, learns.store.asked, learns.known("one")) == ([], [], None)


def test_text_is_kept_only_where_that_is_asked_for_and_only_whole():
    learns = learner()
    served(learns, ctx("one"), answer=b"answer")
    learns.follow(LearningRules(keep_prompts=True, keep_days=7))
    served(learns, ctx("two", thread="u"), answer=b"answer")
    served(learns, ctx("three", thread="v"), answer=None)
    served(learns, ctx("four", thread="w"), answer=b"x" * 2_000_000)
    kept = [(a.request_id, a.request, a.answer, a.features) for a in learns.store.asked]
    assert kept == [
        ("one", None, None, b"f"),
        ("two", b"{}", b"answer", b"f"),
        ("three", None, None, b"f"),
        ("four", None, None, b"f"),
    ]
    assert learns.store.days == 7


def test_feedback_that_is_repeated_replaces_what_is_kept_and_teaches_once():
    learns, heard = learner(), []
    pupil = {"observe": lambda self, outcome: heard.append(outcome.score), "catch_up": lambda self: None}
    learns.predictor = type("Pupil", (), pupil)()
    served(learns, ctx("one"))
    for score in (1.0, 0.0):
        learns.fed_back(learns.known("one"), score, "label")
    assert [o.score for o in learns.store.outcomes] == [1.0, 0.0]
    assert heard == [1.0]


def test_the_windows_of_drift_are_filled_from_what_was_kept_and_old_alarms_are_not_told(caplog):
    bad = [
        Outcome(request_id="r", model="m", score=0.0, source="feedback", weight=1.0, at=NOW, predicted=0.9)
        for _ in range(150)
    ]
    learns = Learner(Kept(bad), clock=lambda: NOW)
    learns.recall()
    (standing,) = learns.drift.standings(NOW)
    assert (standing.outcomes, standing.alarms != ()) == (150, True)
    assert caplog.text == ""
    learns.drift.standings(NOW)[0].alarms[0].why.index("0.90 predicted")


def test_an_alarm_is_in_the_log(caplog):
    learns = learner()
    for number in range(150):
        learns.record(
            Outcome(request_id=f"{number}", model="m", score=0.0, source="judge", weight=0.7, at=NOW, predicted=0.9)
        )
    assert caplog.text.count("drift of m: calibration error 0.90") == 1


steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # thread
        st.sampled_from(["ok", "error", "cancelled"]),
        st.sampled_from(["short", "escalated", "pinned", CACHE_HIT]),
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=3),
        st.booleans(),
        st.sampled_from(["", "Write a function that sorts names", "Write me a function that sorts names"]),
        st.booleans(),  # up
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps)
def test_whatever_comes_every_source_speaks_once_of_an_answer_and_memory_is_bounded(some):
    learns = learner(capacity=2)
    lengths, good = {}, set()
    for number, (thread, outcome, reason, came, recovered, text, up) in enumerate(some):
        before = lengths.get(thread, 0)
        lengths[thread] = before + 2
        told = ctx(
            f"r{number}", before + 2, by=BIG if up else SMALL, outcome=outcome, reason=reason, thread=f"{thread}"
        )
        served(learns, told, came=came, recovered=recovered, start=before, text=text)
        if outcome == "ok" and reason != CACHE_HIT:
            good.add(f"r{number}")
    who = [(request, source) for request, source, _ in said(learns)]
    assert len(who) == len(set(who))
    assert {request for request, _ in who} <= good
    assert len(learns._last) <= 2 and len(learns._known) <= 2 and not learns._turns
