"""Few requests are tried elsewhere, always the same ones, and only where a bad answer costs little."""

import pytest

from support.fleets import outline, session
from turnout.routing.explore import MOST_SHARE, SMALL_CONTEXT, draw, explores, fails_cheaply

IDS = [f"req_{i:06}" for i in range(20_000)]
ONE = outline(("user", "What is the capital of France?"))


def test_draws_are_even_the_same_for_ever_and_apart_by_purpose():
    drawn = [draw(i, "explore") for i in IDS]
    assert drawn == [draw(i, "explore") for i in IDS]
    assert all(0 <= x < 1 for x in drawn)
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.01)
    both = sum(draw(i, "explore") < 0.1 and draw(i, "shadow") < 0.1 for i in IDS)
    assert both / len(IDS) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize(
    ("share", "told"), [(0.0, 0.0), (0.01, 0.01), (0.03, 0.03), (0.5, MOST_SHARE), (-1.0, 0.0), (1.0, MOST_SHARE)]
)
def test_the_share_is_kept_and_bounded(share, told):
    tried = sum(explores(i, share=share, cheap_failure=True) for i in IDS)
    assert tried / len(IDS) == pytest.approx(told, abs=0.003)
    assert not any(explores(i, share=share, cheap_failure=False) for i in IDS)


def test_one_short_question_fails_cheaply():
    assert fails_cheaply(ONE, input_tokens=12, session=session())
    assert fails_cheaply(outline(("system", "Be kind."), ("user", "Hi")), input_tokens=SMALL_CONTEXT, session=session())


@pytest.mark.parametrize(
    ("told", "more"),
    [
        (outline(("user", "a"), ("assistant", "b"), ("user", "c")), {}),
        (outline(("user", "a"), ("model", "b"), ("user", "c")), {}),
        (outline(("user", "a"), tools=2), {}),
        (outline(("user", "a"), images=1), {}),
        (outline(("user", "a"), unseen=True), {}),
        (ONE, {"input_tokens": SMALL_CONTEXT + 1}),
        (ONE, {"quality": 0.9}),
        (ONE, {"session": session(step=1)}),
        (ONE, {"session": session(pinned="lab/small")}),
    ],
)
def test_what_would_spoil_a_piece_of_work_is_not_tried(told, more):
    assert not fails_cheaply(told, **{"input_tokens": 12, "session": session(), **more})
