"""The response cache at the gateway: questions in other words."""

from functools import partial

import pytest

from support.answers import KEYS, ON, ask, up
from support.gateway import gateway, host
from support.upstream import answer


def embedding(*vector):
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    return answer({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}})


def semantic(chats, vectors, threshold=0.9):
    return (
        ON
        + f'[answers.semantic]\nmodel = "vec/embed"\nthreshold = {threshold}\n'
        + host(chats.url, "openai-chat")
        + f'[providers.vec]\ndialect = "openai-chat"\nbase_url = "{vectors.url}"\napi_key = "sk"\n'
        + '[models."vec/embed"]\nprice = { input = 1, output = 0 }\n'
    )


def question(text, *before):
    return [*before, {"role": "user", "content": text}]


ONE, NEAR, FAR = embedding(1, 0), embedding(0.99, 0.1), embedding(0, 1)


async def test_a_question_in_other_words_gets_the_answer_there_is(tmp_path):
    async with up() as chats, up("", ONE, NEAR, FAR) as vectors, gateway(semantic(chats, vectors), tmp_path) as gw:
        first = await ask(gw, messages=question("Capital of France?"))
        second = await ask(gw, messages=question("France's capital?"))
        again = await ask(gw, messages=question("Capital of France?"))
        other = await ask(gw, messages=question("Capital of Germany?"))
        rows = gw.rows()
    assert [first[0], second[0], again[0], other[0]] == ["miss", "semantic", "hit", "miss"]
    assert second[1] == first[1]
    assert len(vectors.requests) == 3
    embedded = [row for row in rows if row.dialect == "openai-embeddings"]
    assert [row.cost_nano_usd for row in embedded] == [2_000] * 3
    assert sum(row.reason == "cache_hit" for row in rows) == 2


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"messages": question("What is 12 + 3?")}, {"messages": question("What is 12 + 4?")}),
        ({"messages": question("a", {"role": "system", "content": "x"})}, {"messages": question("b")}),
        ({"messages": question("a"), "max_tokens": 5}, {"messages": question("b"), "max_tokens": 6}),
        ({"messages": question("a"), "tools": TOOLS}, {"messages": question("b"), "tools": TOOLS}),
        (
            {"messages": question("a", *question("x"), {"role": "assistant", "content": "y"})},
            {"messages": question("b", *question("x"), {"role": "assistant", "content": "y"})},
        ),
    ],
    ids=["numbers", "system", "parameters", "tools", "conversation"],
)
async def test_never_where_anything_else_differs_nor_for_an_agents_steps(one, two, tmp_path):
    async with up() as chats, up("", ONE) as vectors, gateway(semantic(chats, vectors), tmp_path) as gw:
        assert [(await ask(gw, **more))[0] for more in (one, two)] == ["miss", "miss"]
    assert len(chats.requests) == 2


async def test_never_another_keys(tmp_path):
    async with up() as chats, up("", ONE) as vectors, gateway(semantic(chats, vectors) + KEYS, tmp_path) as gw:
        states = []
        for who, text in (("ann", "a"), ("eve", "b"), ("ann", "c")):
            headers = [("authorization", f"Bearer sk-{who}")]
            states.append((await ask(gw, messages=question(text), headers=headers))[0])
    assert states == ["miss", "miss", "semantic"]


async def test_an_embedding_that_fails_costs_no_answer(tmp_path, caplog):
    bad = answer({"error": {"message": "no"}}, 400)
    async with up() as chats, up("", bad) as vectors, gateway(semantic(chats, vectors), tmp_path) as gw:
        states = [(await ask(gw, messages=question(text)))[0] for text in ("a", "b", "a")]
    assert states == ["miss", "miss", "hit"]
    assert "no embedding for the response cache" in caplog.text


async def test_a_near_question_whose_answer_expired_is_asked_anew(tmp_path):
    async with up() as chats, up("", ONE) as vectors, gateway(semantic(chats, vectors), tmp_path) as gw:
        states = []
        for now, text in ((1000.0, "a"), (9000.0, "b"), (9001.0, "c")):
            gw.engine.state.memory.answers._clock = partial(float, now)
            states.append((await ask(gw, messages=question(text)))[0])
    assert states == ["miss", "miss", "semantic"]
