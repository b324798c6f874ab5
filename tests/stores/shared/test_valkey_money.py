"""The scripts in Valkey and the arithmetic in Python say the same of the same claims, whatever they are."""

import asyncio
import secrets

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.valkey import shared_valkey
from turnout.shared_state import Claim
from turnout.stores.shared.memory import MemoryEngine, MemoryShared

PURSE = "company@2026-11-01"
MONEY = st.one_of(st.integers(0, 200), st.sampled_from([0, 2**40, 2**49]))
CLAIM = st.tuples(st.just("claim"), MONEY, MONEY, MONEY, st.integers(0, 200))
FILL = st.tuples(st.just("fill"), st.dictionaries(st.sampled_from(["a", "b", "", "old"]), MONEY, max_size=3))
ADD = st.tuples(st.just("add"), st.sampled_from("xyz"), st.integers(-100, 100))
LATE = st.tuples(st.just("late"), st.integers(0, 3))
STEP = st.tuples(st.integers(0, 2), st.one_of(CLAIM, CLAIM, FILL, ADD, LATE))


@pytest.fixture(scope="module")
def runner():
    pytest.importorskip("redis", reason="turnout[valkey] is not installed; `make test` installs it")
    with asyncio.Runner() as made:
        yield made


async def gateways(kind, prefix, engine):
    if kind == "memory":
        return [MemoryShared(name, engine) for name in "abc"]
    from turnout.stores.shared.valkey import ValkeyShared

    made = [ValkeyShared(shared_valkey(), name, recently=False, prefix=prefix, deadline_s=10) for name in "abc"]
    for each in made:
        await each.start()
    return made


async def played(kind, steps):
    shared = await gateways(kind, secrets.token_hex(6), MemoryEngine())
    said = []
    for which, (step, *told) in steps:
        one = shared[which]
        match step:
            case "claim":
                spent, held, want, limit = told
                claim = Claim(purse=PURSE, amount=2**51, spent=spent, held=held, want=want, limit=limit)
                said += await one.lease([claim])
            case "fill":
                await one.fill(PURSE, told[0])
            case "add":
                await one.add(PURSE, told[1], entry=told[0])
            case _:
                one._sequence = max(0, one._sequence - told[0])
    for one in shared:
        said += await one.lease([Claim(purse=PURSE, amount=2**51, spent=0, held=0, want=0)])
        await one.aclose()
    return said


@settings(
    max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)  # a socket shrinks slowly
@given(st.lists(STEP, min_size=5, max_size=40))
def test_valkey_answers_as_the_arithmetic_does(runner, steps):
    assert runner.run(played("valkey", steps)) == runner.run(played("memory", steps))
