"""Probes against a running gateway: real sockets, a provider that always says the same."""

import json

import pytest

from support.calls import CHAT
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.errors import NoCapacity, NotFound, Unauthorized
from turnout.learn.probes import load_probes, spread
from turnout.learn.probing import Asked, Gateway, listed_models, run_probes, shares, wilson
from turnout.providers.http import HttpTransport

PROBES = load_probes()
MUCH = 10**9


def says(text):
    """A completion that says `text`: 1,000 tokens in, of them 400 from the cache, 10 out: 680,000 nano-dollars."""
    told = json.loads(json.dumps(CHAT))
    told["choices"][0]["message"]["content"] = text
    return answer(told)


class Told:
    """A gateway as its caller sees it: a Transport that answers by path. `feedback` is the status for scores."""

    def __init__(self, feedback):
        self.feedback = feedback
        self.scores = []

    async def send(self, request):
        if request.url.endswith("/v1/feedback"):
            self.scores.append(json.loads(request.body))
            return Reply(self.feedback, b'{"error":{"message":"no such request"}}')
        number = "r1"
        body = says("88").body
        return Reply(200, body, [("x-turnout-request-id", number), ("x-turnout-cost-usd", "0.01")])

    async def aclose(self):
        pass


class Reply:
    def __init__(self, status, body, headers=()):
        self.status, self.body, self.headers = status, body, list(headers)

    async def read(self, limit):
        return self.body

    async def aclose(self):
        pass


async def probed(url, probes, *, model="lab/small", most=MUCH, **more):
    transport = HttpTransport()
    try:
        return await run_probes(Gateway(url=url, model=model, **more), probes, transport, most_nano_usd=most)
    finally:
        await transport.aclose()


async def test_answers_are_scored_and_added_up(tmp_path):
    arithmetic = [p for p in PROBES if p.family == "arithmetic"]
    async with ScriptedUpstream(says("That makes **88**.")) as up, gateway(lab(up.url), tmp_path) as gw:
        tally = await probed(gw.url, arithmetic)
        rows = gw.rows()
    assert [one.probe for one in tally.asked if one.passed] == ["arithmetic-1"]
    assert {one.served_by for one in tally.asked} == {"lab/small"}
    assert tally.cost_nano_usd == 7 * 680_000 == sum(row.cost_nano_usd for row in rows)
    assert {one.request_id for one in tally.asked} == {row.request_id for row in rows}
    assert {row.tags["feature"] for row in rows} == {"probe"}
    [share] = shares(tally.asked, lambda one: one.family)
    assert (share.passed, share.asked, share.input_tokens, share.output_tokens) == (1, 7, 7000, 70)


async def test_the_cost_limit_holds(tmp_path):
    """Four are begun before anybody knows what one costs; then no more than the limit has room for."""
    async with ScriptedUpstream(says("88")) as up, gateway(lab(up.url), tmp_path) as gw:
        tally = await probed(gw.url, PROBES[:30], most=10 * 680_000)
    assert len(tally.asked) == 10
    assert tally.left_out == 20
    assert tally.cost_nano_usd == 10 * 680_000


async def test_an_answer_that_does_not_come_counts_as_wrong(tmp_path):
    async with ScriptedUpstream(answer({"error": {"message": "no"}}, 400)) as up, gateway(lab(up.url), tmp_path) as gw:
        tally = await probed(gw.url, PROBES[:2])
    assert [(one.passed, one.why is not None, one.told) for one in tally.asked] == [(False, True, False)] * 2


async def test_what_makes_the_whole_run_pointless_is_an_error(tmp_path):
    config = '[keys.ann]\nkey = "sk-ann"\n'
    async with ScriptedUpstream(says("88")) as up, gateway(config + lab(up.url), tmp_path) as gw:
        with pytest.raises(Unauthorized):
            await probed(gw.url, PROBES)
        with pytest.raises(NotFound, match="does not exist"):
            await probed(gw.url, PROBES, model="nope", key="sk-ann")
    with pytest.raises(NoCapacity, match="turnout serve"):
        await probed("http://127.0.0.1:1", PROBES)


async def test_a_gateway_lists_its_models(tmp_path):
    transport = HttpTransport()
    async with ScriptedUpstream(says("88")) as up, gateway(lab(up.url), tmp_path) as gw:
        assert "lab/small" in await listed_models(Gateway(url=gw.url, model=""), transport)
        with pytest.raises(NoCapacity, match="no gateway"):
            await listed_models(Gateway(url=up.url, model=""), transport)
    await transport.aclose()


async def test_each_score_is_handed_to_the_gateway():
    told = Told(feedback=200)
    tally = await run_probes(Gateway(url="http://x", model="m"), PROBES[:2], told, most_nano_usd=MUCH)
    assert sorted(told.scores, key=lambda s: -s["score"]) == [
        {"request_id": "r1", "score": 1.0, "label": "probe"},
        {"request_id": "r1", "score": 0.0, "label": "probe"},
    ]
    assert tally.feedback is None
    assert all(one.told for one in tally.asked)


@pytest.mark.parametrize(("status", "said"), [(404, "no POST /v1/feedback"), (400, "400: no such request")])
async def test_a_gateway_that_takes_no_scores_is_not_asked_for_ever(status, said):
    told = Told(feedback=status)
    tally = await run_probes(Gateway(url="http://x", model="m"), PROBES, told, most_nano_usd=MUCH)
    assert said in tally.feedback
    assert len(told.scores) <= 4
    assert len(tally.asked) == 70
    assert not any(one.told for one in tally.asked)


@pytest.mark.parametrize(
    ("passed", "asked", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (0, 0, 0, 1)],
)
def test_wilson_as_published(passed, asked, low, high):
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(passed, asked) == pytest.approx((low, high), abs=5e-5)


def test_shares_by_level():
    asked = [Asked(probe=p.id, family=p.family, level=p.level, passed=p.level < 3) for p in spread(PROBES, 70)]
    told = {s.group: s.passed / s.asked for s in shares(asked, lambda one: str(one.level))}
    assert told == {"1": 1, "2": 1, "3": 0, "4": 0, "5": 0}
