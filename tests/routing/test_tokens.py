"""Token counts before the call: what is counted, what is not, what is remembered and what is learnt."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from turnout.chat import RequestOutline
from turnout.context import Counted
from turnout.dialects import DIALECTS
from turnout.lab.o200k import load_o200k
from turnout.routing.calibration import FAMILIES, FamilyFactors, TokenEstimator, family_of
from turnout.routing.tokens import (
    IMAGE_TOKENS,
    TokenCounter,
    approximate,
    sample,
    without_base64,
)

ENGLISH = "The customer asks where the parcel is, and the agent looks up the order before it answers. "


def outline_of(*messages: Any, **fields: Any) -> RequestOutline:
    body = {"model": "m", "messages": list(messages), **fields}
    return DIALECTS["openai-chat"].outline(json.dumps(body, ensure_ascii=False).encode())


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


class Spy:
    """Measures a byte as a token, and notes how much it was shown."""

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, text: str) -> float:
        self.shown += len(text)
        return float(len(text))


# ---- approximate: (text, o200k_base tokens of it, as tiktoken counts them) ---------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param(ENGLISH * 3, 58, id="prose"),
        pytest.param('{"id": "#W2378156", "status": "pending", "items": [{"name": "Keyboard"}]}', 25, id="json"),
        pytest.param(
            "def count(self, outline: Outline) -> int:\n    return self.counted(outline).total\n", 21, id="code"
        ),
        pytest.param("Die Lieferung verzögert sich leider um zwei Tage; wir bitten Sie um Geduld.", 18, id="german"),
        pytest.param("Проверьте, пожалуйста, состояние моего заказа и сообщите, когда он придёт.", 19, id="russian"),
        pytest.param("请检查我的订单状态，并告诉我什么时候可以送达。谢谢你的帮助。", 17, id="chinese"),  # noqa: RUF001
    ],
)
def test_texts_are_told_within_a_third_without_a_vocabulary(text: str, tokens: int) -> None:
    assert approximate(text) == pytest.approx(tokens, rel=0.33)


def test_no_text_has_a_negative_count() -> None:
    assert approximate("") == 0
    assert all(approximate(char * 1_000) > 0 for char in "aA0. \n\t{é中🎉")


def test_lone_surrogates_are_counted_as_something() -> None:
    assert approximate("\ud83d") > 0


# ---- sample ------------------------------------------------------------------------------------------------


def test_short_texts_are_measured_whole() -> None:
    spy = Spy()
    assert sample(b"x" * 16_384, spy) == spy.shown == 16_384


def test_of_long_texts_16_kilobytes_are_measured() -> None:
    spy = Spy()
    text = (ENGLISH * 5_000).encode()
    assert sample(text, spy) == pytest.approx(len(text), rel=0.001)
    assert spy.shown < 17_000


def test_slices_do_not_cut_letters_in_two() -> None:
    text = "Привет, 世界 🎉 ".encode() * 3_000
    seen: list[str] = []
    sample(text, lambda slices: seen.append(slices) or 0.0)
    assert "�" not in seen[0]


def test_letters_written_as_escapes_count_as_the_letters() -> None:
    spoken = "Пожалуйста, проверьте заказ 🎉"
    assert sample(json.dumps(spoken).encode(), approximate) == sample(
        json.dumps(spoken, ensure_ascii=False).encode(), approximate
    )


# ---- base64 ------------------------------------------------------------------------------------------------


def picture(size: int) -> str:
    return base64.b64encode(random.Random(0).randbytes(size)).decode()


def test_data_urls_are_cut_out() -> None:
    raw = json.dumps({"url": f"data:image/png;base64,{picture(50_000)}", "detail": "low"}).encode()
    assert without_base64(raw) == b'{"url": "data:image/png;base64,", "detail": "low"}'


def test_every_run_is_cut_out_and_the_text_between_is_kept() -> None:
    raw = json.dumps([picture(2_000), ENGLISH * 10, f"here it is: {picture(2_000)} and so on"]).encode()
    assert json.loads(without_base64(raw)) == ["", ENGLISH * 10, "here it is:  and so on"]


def test_text_and_short_keys_are_kept_as_they_are() -> None:
    raw = json.dumps({"text": ENGLISH * 100, "key": picture(150)}).encode()
    assert without_base64(raw) is raw


def test_an_image_counts_the_same_whatever_its_size() -> None:
    def shown(size: int) -> int:
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture(size)}"}}
        return TokenCounter().count(outline_of(user([{"type": "text", "text": "What is it?"}, part])))

    assert shown(3_000) == shown(300_000)
    assert IMAGE_TOKENS < shown(3_000) < IMAGE_TOKENS + 60


# ---- the counter -------------------------------------------------------------------------------------------


def test_tools_are_counted_apart_from_text() -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    alone = TokenCounter().counted(outline_of(user("hello")))
    both = TokenCounter().counted(outline_of(user("hello"), tools=[tool]))
    assert (alone.tools, both.text) == (0, alone.text)
    assert both.tools > 10


def test_a_system_prompt_of_anthropic_is_text_with_or_without_tools() -> None:
    def counted(**fields: Any) -> Counted:
        body = {"model": "m", "max_tokens": 9, "messages": [user("hello")], "system": ENGLISH * 20, **fields}
        return TokenCounter().counted(DIALECTS["anthropic-messages"].outline(json.dumps(body).encode()))

    tools = [{"name": "find", "input_schema": {"type": "object"}}]
    assert counted().text == counted(tools=tools).text > 300
    assert counted().tools == 0


def test_of_a_conversation_that_goes_on_only_the_new_message_is_measured() -> None:
    spy = Spy()
    counter = TokenCounter(spy)
    said = [user(f"{n}: {ENGLISH}") for n in range(100)]
    before = counter.count(outline_of(*said))
    spy.shown = 0
    assert counter.count(outline_of(*said)) == before
    assert spy.shown == 0
    after = counter.count(outline_of(*said, user("thanks")))
    assert after - before == spy.shown == len('{"role": "user", "content": "thanks"}')


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    spy = Spy()
    counter = TokenCounter(spy, capacity=2)
    for text in ("one", "two", "one", "three", "one"):
        spy.shown = 0
        counter.count(outline_of(user(text)))
    assert spy.shown == 0
    assert len(counter) == 2


def test_an_empty_request_has_a_token() -> None:
    assert TokenCounter().count(RequestOutline(model="m", fields={}, messages=(), roles=())) == 1


# ---- factors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-sonnet-4-5-20250929", "claude"),
        ("anthropic/claude-sonnet-4.6", "claude"),
        ("claude-sonnet-4-20250514", "claude"),
        ("claude-opus-4-8", "claude-new"),
        ("us.anthropic.claude-opus-5-v1:0", "claude-new"),
        ("gpt-5-mini", "gpt"),
        ("openai/gpt-oss-120b", "gpt"),
        ("o3-mini", "gpt"),
        ("google/gemini-2.5-flash", "gemini"),
        ("magistral-medium-latest", "mistral"),
        ("deepseek-ai/DeepSeek-R1", "deepseek"),
        ("deepseek-r1-distill-llama-70b", "llama"),
        ("qwen/qwen3-32b", "qwen"),
        ("command-r", "other"),
    ],
)
def test_families_are_known_by_name(model: str, family: str) -> None:
    assert family_of(model) == family


BIG = Counted(text=10_000, tools=0, media=0)


def test_before_any_usage_the_familys_own_factors_hold() -> None:
    claude = FAMILIES["claude"]
    expected = round(1_000 * claude.text + 100 * claude.tools) + claude.preamble
    assert FamilyFactors().tokens(Counted(text=1_000, tools=100, media=0), "claude-haiku-4-5") == expected


def test_reported_usage_draws_the_estimate_to_itself() -> None:
    factors = FamilyFactors()
    for _ in range(100):
        factors.observe("command-r", BIG, 13_000)
    assert factors.tokens(BIG, "command-r") == pytest.approx(13_000, rel=0.03)


def test_a_family_lends_what_it_learnt_to_a_model_not_seen_before() -> None:
    factors = FamilyFactors()
    for _ in range(100):
        factors.observe("claude-haiku-4-5", BIG, 13_000)
    assert factors.tokens(BIG, "claude-sonnet-4-5") == factors.tokens(BIG, "claude-haiku-4-5")
    assert factors.factor("gpt-5") == 1


def test_a_model_seen_often_goes_its_own_way() -> None:
    factors = FamilyFactors()
    for _ in range(100):
        factors.observe("one", BIG, 8_000)
        factors.observe("two", BIG, 12_000)
    assert factors.tokens(BIG, "one") == pytest.approx(8_000, rel=0.03)
    assert factors.tokens(BIG, "two") == pytest.approx(12_000, rel=0.03)


@pytest.mark.parametrize(
    ("counted", "reported"),
    [
        pytest.param(BIG, 100_000, id="history kept by the provider"),
        pytest.param(BIG, 500, id="nonsense"),
        pytest.param(Counted(text=100, tools=0, media=0), 150, id="small"),
        pytest.param(Counted(text=10_000, tools=0, media=IMAGE_TOKENS), 12_000, id="media"),
    ],
)
def test_requests_that_say_nothing_of_the_tokenizer_are_passed_over(counted: Counted, reported: int) -> None:
    factors = FamilyFactors()
    factors.observe("m", counted, reported)
    assert factors.factor("m") == 1


def test_one_odd_request_moves_an_estimate_by_a_fiftieth_at_most() -> None:
    factors = FamilyFactors()
    factors.observe("m", BIG, 22_000)
    assert 1 < factors.factor("m") < 1.02


def test_the_estimator_counts_for_a_model_and_learns() -> None:
    estimator = TokenEstimator()
    asked = outline_of(user(ENGLISH * 100))
    neutral = estimator.estimate(asked)
    assert estimator.estimate(asked, "gpt-5") == round(neutral * FAMILIES["gpt"].text)
    estimator.observe(asked, "command-r", None)
    assert estimator.estimate(asked, "command-r") == neutral
    estimator.observe(asked, "command-r", neutral * 2)
    assert estimator.estimate(asked, "command-r") > neutral


def test_a_request_is_counted_once_for_all_who_ask() -> None:
    estimator = TokenEstimator()
    system = {"role": "system", "content": ENGLISH}
    asked = outline_of(system, user(ENGLISH * 100), {"role": "tool", "tool_call_id": "1", "content": ENGLISH * 9})
    counted = estimator.counted(asked)
    assert estimator.parts(asked, counted.total, counted) == estimator.parts(asked, counted.total)
    told = estimator.parts(asked, counted.total, counted)
    assert told.history > told.tool_results > told.system > 0
    assert told.system + told.history + told.tool_results == pytest.approx(counted.total, abs=2)


def test_what_was_counted_before_a_request_was_changed_is_not_learned_from() -> None:
    before, now = outline_of(user(ENGLISH * 100)), outline_of(user(ENGLISH * 100), user(ENGLISH * 100))
    told, anew = TokenEstimator(), TokenEstimator()
    told.observe(now, "m", 5_000, told.counted(before))
    anew.observe(now, "m", 5_000)
    assert told.factors.factor("m") == anew.factors.factor("m") != 1


# ---- the exact tokenizer, where it is installed ------------------------------------------------------------


def test_exact_counts_agree_with_tiktoken() -> None:
    pytest.importorskip("splintr")
    exact = load_o200k()
    assert exact("hello world") == 2
    assert exact("tiktoken is great!") == 6
    assert TokenCounter(exact).count(outline_of(user("hello"))) == exact('{"role": "user", "content": "hello"}')
