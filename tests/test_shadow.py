"""Another model asked beside, over real sockets: nobody notices, its own budget pays, and who learns is told."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from support.calls import post
from support.gateway import gateway
from support.upstream import Script, ScriptedUpstream, answer
from support.wire import says
from turnout.config import parse_config
from turnout.errors import ConfigError

PATH = "/v1/chat/completions"
ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "Capital of France?"}], "max_tokens": 50}
SCHEMA = {"type": "object", "required": ["city"]}
FORM = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
MARKS = says("openai-chat", '{"a": 10, "b": 10}')


def provider(name, model, url):
    return (
        f'[providers.{name}]\ndialect = "openai-chat"\nbase_url = "{url}/v1"\napi_key = "sk-1"\n'
        f'[models."{name}/{model}"]\ntier = "small"\nprice = {{ input = 1, output = 4 }}\n'
    )


def learning(*, share=1.0, judge=0.0, budget="1"):
    return (
        f'[learning.shadow]\nshare = {share}\nmodels = ["new/candidate"]\nbudget_usd_per_day = "{budget}"\n'
        f'[learning.judge]\nmodel = "wise/judge"\nshare = {judge}\n'
    )


class Beside:
    """A gateway with a model that serves, one that is asked beside, and a judge."""

    def __init__(self, gw, small, new, judge):
        self.gw, self.small, self.new, self.judge = gw, small, new, judge
        self.told = []
        gw.engine.pipeline.shadow._outcomes = self.told.append

    async def ask(self, headers=(), path=PATH, **more):
        status, told, raw = await post(self.gw.url, path, json.dumps({**ASK, **more}).encode(), headers)
        return status, told, raw

    async def done(self):
        tasks = self.gw.engine.state.memory.background._tasks
        while tasks:
            await asyncio.wait(tasks)

    @property
    def calls(self):
        return len(self.small.requests), len(self.new.requests), len(self.judge.requests)


@asynccontextmanager
async def beside(folder, toml, *, small=None, new=None, judge=MARKS):
    served = small or says("openai-chat")
    async with (
        ScriptedUpstream(served) as one,
        ScriptedUpstream(new or says("openai-chat", "Lyon.")) as two,
        ScriptedUpstream(judge) as three,
    ):
        hosts = (("lab", "small", one), ("new", "candidate", two), ("wise", "judge", three))
        toml += "".join(provider(name, model, up.url) for name, model, up in hosts)
        async with gateway(toml, folder) as gw:
            yield Beside(gw, one, two, three)


async def test_the_judge_compares_and_both_are_told_of(tmp_path):
    async with beside(tmp_path, learning(judge=1.0)) as it:
        status, headers, raw = await it.ask([("x-turnout-session", "mine")])
        await it.done()
        rows = {row.request_id: row for row in it.gw.rows()}
    request_id = headers["x-turnout-request-id"]
    assert (status, json.loads(raw)["choices"][0]["message"]["content"]) == (200, "Paris.")
    assert it.calls == (1, 1, 1)
    assert [(o.request_id, o.model, o.score, o.source) for o in it.told] == [
        (request_id, "lab/small", 1.0, "judge"),
        (request_id, "new/candidate", 1.0, "judge"),
    ]
    assert set(rows) == {request_id, f"{request_id}-shadow", f"{request_id}-judge"}
    assert rows[f"{request_id}-shadow"].deployment == "new/candidate"
    assert rows[request_id].session_id == "mine"
    assert {row.tags.get("turnout") for row in rows.values()} == {None, "shadow"}
    shown = it.judge.requests[0].json()
    assert shown["temperature"] == 0
    assert "Lyon." in shown["messages"][1]["content"]


async def test_nothing_of_the_caller_s_goes_to_a_model_its_key_does_not_open(tmp_path):
    key = '[keys.ann]\nkey = "sk-ann"\nmodels = ["lab/small"]\n'
    async with beside(tmp_path, key + learning(judge=1.0)) as it:
        assert (await it.ask([("authorization", "Bearer sk-ann")]))[0] == 200
        await it.done()
    assert it.calls == (1, 0, 0)


async def test_without_a_judge_the_form_speaks(tmp_path):
    form = says("openai-chat", '{"city":"Paris"}')
    async with beside(tmp_path, learning(), small=form) as it:
        await it.ask(response_format=FORM)
        await it.done()
        await it.ask()  # of words alone nothing could be said: nobody is asked
        await it.done()
    assert it.calls == (2, 1, 0)
    assert [(o.model, o.score, o.source, o.weight) for o in it.told] == [("new/candidate", 0.0, "schema", 0.6)]


async def test_a_streamed_answer_is_compared_too(tmp_path):
    async with beside(tmp_path, learning(judge=1.0), small=says("openai-chat", streaming=True)) as it:
        await it.ask(stream=True)
        await it.gw.booked(1)
        await it.done()
    assert it.calls == (1, 1, 1)
    assert it.new.requests[0].json()["stream"] is False
    assert "Paris." in it.judge.requests[0].json()["messages"][1]["content"]


@pytest.mark.parametrize("more", [{"model": "new/candidate"}, {"n": 2}])
async def test_what_is_not_compared(tmp_path, more):
    async with beside(tmp_path, learning(judge=1.0)) as it:
        await it.ask(**more)
        await it.done()
    assert sum(it.calls) == 1


async def test_a_caller_cannot_pass_for_a_shadow(tmp_path):
    async with beside(tmp_path, learning(judge=1.0)) as it:
        await it.ask([("x-turnout-tags", "turnout=shadow")])
        await it.done()
    assert it.calls == (1, 1, 1), "it is a caller's request like any other, and not on the shadows' budget"


async def test_an_answer_that_was_kept_is_not_compared_again(tmp_path):
    async with beside(tmp_path, "[answers]\nenabled = true\n" + learning(judge=1.0)) as it:
        for _ in range(3):
            await it.ask(temperature=0)
            await it.done()
    assert it.calls == (1, 1, 1)


async def test_a_conversation_that_is_kept_is_not_compared(tmp_path):
    async with beside(tmp_path, learning(judge=1.0)) as it:
        for store in (True, False):
            told = {"input": "Capital?", "model": "lab/small", "store": store}
            await post(it.gw.url, "/v1/responses", json.dumps(told).encode())
            await it.done()
    assert it.calls == (2, 1, 1)


async def test_failed_answers_and_failed_shadows_teach_nothing(tmp_path):
    fails = answer({"error": {"message": "no"}}, 400)
    for number, roles in enumerate([{"small": fails}, {"new": fails}, {"judge": fails}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with beside(folder, learning(judge=1.0), **roles) as it:
            await it.ask()
            await it.done()
        assert it.told == []


async def test_the_budget_is_its_own_and_exact(tmp_path):
    """The worst case is held, so a budget with room for a few shadows is never passed; the caller does not notice."""
    form = says("openai-chat", '{"city":"Paris"}')
    async with beside(tmp_path, learning(budget="0.004"), small=form) as it:
        for _ in range(10):
            assert (await it.ask(response_format=FORM))[0] == 200
            await it.done()
        state = it.gw.engine.state.memory.budgets.state("turnout-shadow")
        spent = sum(row.cost_nano_usd or 0 for row in it.gw.rows() if row.tags.get("turnout"))
    assert state.spent_nano_usd == spent <= state.amount_nano_usd
    assert state.held_nano_usd == 0
    assert 0 < it.calls[1] < 10


async def test_no_more_than_two_at_once_and_none_outlives_the_gateway(tmp_path):
    async with beside(tmp_path, learning(judge=1.0), new=Script(hang=True)) as it:
        for _ in range(5):
            await it.ask()
        async with asyncio.timeout(5):
            while len(it.new.requests) < 2:  # noqa: ASYNC110 - no event reaches out of a socket
                await asyncio.sleep(0.01)
        await it.gw.engine.state.memory.background.aclose()
        rows = [row for row in it.gw.rows() if row.tags.get("turnout")]
    assert it.calls[:2] == (5, 2)
    assert [row.outcome for row in rows] == ["cancelled"] * 2
    assert it.told == []


async def test_off_until_the_config_says_so_and_by_share(tmp_path):
    async with beside(tmp_path, learning(share=0.0, judge=0.0)) as it:
        await it.ask()
        await it.done()
        assert "turnout-shadow" not in [rule.name for rule in it.gw.engine.state.memory.budgets.rules]
    assert it.calls == (1, 0, 0)


async def test_the_session_s_thread_is_untouched(tmp_path):
    async with beside(tmp_path, learning(judge=1.0)) as it:
        await it.ask([("x-turnout-session", "mine")])
        await it.done()
        assert len(it.gw.engine.state.memory.sessions._threads) == 1


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("[learning.shadow]\nshare = 2", "learning.shadow.share = 2.0"),
        ("[learning.shadow]\nshare = 0.1", "name models"),
        ("[learning.judge]\nshare = 0.1", "name a model"),
        ('[learning.shadow]\nbudget_usd_per_day = "-1"', "budget_usd_per_day = -1"),
    ],
)
def test_a_config_that_cannot_be_meant(toml, told):
    with pytest.raises(ConfigError, match=told):
        parse_config(toml, {})


async def test_a_model_that_is_not_there(tmp_path):
    toml = provider("lab", "small", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"learning\.shadow\.models = nope"):
        async with gateway('[learning.shadow]\nmodels = ["nope"]\n' + toml, tmp_path):
            pass
