"""A gateway inside a program: every format, streams, what is said beside a request, errors, and its end."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading

import pytest

from support.gateway import host, lab
from support.threaded import upstream_in_thread
from support.upstream import ScriptedUpstream, answer, stream
from support.wire import says
from turnout import AsyncGateway, Gateway
from turnout.config import parse_config
from turnout.engine import build_engine
from turnout.errors import (
    BudgetExhausted,
    ConfigError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    Unauthorized,
    UpstreamFailure,
)
from turnout.inprocess import core

ASK = [{"role": "user", "content": "Capital of France?"}]
CHAT = {"model": "up/big", "messages": ASK}
BODIES = {"chat": CHAT, "messages": {**CHAT, "max_tokens": 9}, "responses": {"model": "up/big", "input": "Capital?"}}
DIALECTS = {"chat": "openai-chat", "messages": "anthropic-messages", "responses": "openai-responses"}
FORMATS = pytest.mark.parametrize("form", BODIES)
VECTOR = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]}


@pytest.fixture
def told(tmp_path):
    """A config's text made a Config, with its ledger in the test's folder."""

    def make(toml):
        return parse_config(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + toml, {})

    return make


@FORMATS
async def test_each_format_is_asked_and_answered_in_its_own_words(told, form):
    dialect = DIALECTS[form]
    async with ScriptedUpstream(says(dialect)) as up, AsyncGateway(told(host(up.url, dialect))) as gateway:
        answered = await getattr(gateway, form)(BODIES[form])
        assert answered.text == "Paris."
        assert answered.response.usage.output == 10
        assert answered.made.model == "up/big"
        assert answered.made.cost_nano_usd == 600 * 5_000 + 400 * 500 + 10 * 25_000
        row = await gateway.record(answered.made.request_id)
        assert row.cost_nano_usd == answered.made.cost_nano_usd


@FORMATS
async def test_a_stream_is_events_of_its_format_or_text(told, form):
    dialect = DIALECTS[form]
    async with (
        ScriptedUpstream(says(dialect, streaming=True)) as up,
        AsyncGateway(told(host(up.url, dialect))) as gateway,
    ):
        ask = getattr(gateway, form).stream
        async with ask(BODIES[form]) as streamed:
            events = [event async for event in streamed]
        assert len(events) > 2
        async with ask(BODIES[form]) as streamed:
            assert "".join([piece async for piece in streamed.text()]) == "Paris."
        row = await gateway.record(streamed.made.request_id)
        assert (row.outcome, row.output_tokens) == ("ok", 10)


def test_the_same_from_a_thread_that_blocks(told):
    with (
        upstream_in_thread(says("openai-chat"), says("openai-chat", streaming=True)) as up,
        Gateway(told(host(up.url, "openai-chat"))) as gateway,
    ):
        assert gateway.chat(CHAT).text == "Paris."
        with gateway.chat.stream(CHAT) as streamed:
            assert "".join(streamed.text()) == "Paris."
        with gateway.chat.stream(CHAT) as streamed:
            assert next(streamed)["object"] == "chat.completion.chunk"
            assert streamed.made.model == "up/big"
        assert "up/big" in gateway.models()


async def test_a_gateway_that_blocks_is_usable_where_a_loop_runs_as_in_a_notebook(told):
    with upstream_in_thread(says("openai-chat")) as up, Gateway(told(host(up.url, "openai-chat"))) as gateway:
        assert gateway.chat(CHAT).text == "Paris."


def test_threads_share_one_gateway(told):
    with upstream_in_thread(says("openai-chat")) as up, Gateway(told(host(up.url, "openai-chat"))) as gateway:
        texts = []
        threads = [threading.Thread(target=lambda: texts.append(gateway.chat(CHAT).text)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == ["Paris."] * 16


async def test_embeddings(told):
    async with ScriptedUpstream(answer(VECTOR)) as up, AsyncGateway(told(host(up.url, "openai-chat"))) as gateway:
        answered = await gateway.embeddings({"model": "up/big", "input": "word"})
        assert answered.json()["data"][0]["embedding"] == [0.5, 1.0]
        with pytest.raises(InvalidRequest, match="no turn of a conversation"):
            _ = answered.text


async def test_controls_say_what_headers_say(told):
    async with ScriptedUpstream(says("openai-chat")) as up:
        toml = lab(openai=up.url) + '[modes]\nroutine = "tier/small"\n[keys.core]\nkey = "sk-core"\n'
        async with AsyncGateway(told(toml)) as gateway:
            answered = await gateway.chat(
                {**CHAT, "model": "auto"},
                mode="routine",
                session="s1",
                feature="search",
                tags={"team": "core"},
                quality=0.9,
                latency="batch",
                max_cost_usd=0.5,
                key="sk-core",
            )
            row = await gateway.record(answered.made.request_id)
            assert (row.mode, row.session_id, row.key_id, row.reason) == ("routine", "s1", "core", "mode")
            assert row.tags == {"feature": "search", "team": "core"}
            with pytest.raises(Unauthorized, match="no key was sent"):
                await gateway.chat(CHAT)


async def test_errors_are_our_exceptions(told):
    async with ScriptedUpstream(says("openai-chat")) as up, AsyncGateway(told(lab(openai=up.url))) as gateway:
        with pytest.raises(NotFound, match="lab/small"):
            await gateway.chat({**CHAT, "model": "lag/small"})
        with pytest.raises(BudgetExhausted):
            await gateway.chat({**CHAT, "model": "auto"}, max_cost_usd=0)
        with pytest.raises(InvalidRequest, match="stream"):
            await gateway.chat({**CHAT, "stream": True})
        with pytest.raises(InvalidRequest, match="no JSON"):
            await gateway.chat({**CHAT, "temperature": object()})
        with pytest.raises(InvalidRequest, match="neither name nor value"):
            await gateway.chat(CHAT, feature="a,b")
        with pytest.raises(InvalidRequest, match="max_cost is no control"):
            await gateway.chat(CHAT, max_cost=1)
        assert up.requests == []


async def test_a_stream_that_breaks_off_raises_after_what_came(told):
    good = says("openai-chat", streaming=True).chunks[:2]
    async with (
        ScriptedUpstream(stream(*good, cut=True)) as up,
        AsyncGateway(told(host(up.url, "openai-chat"))) as gateway,
    ):
        got = []
        with pytest.raises(UpstreamFailure, match="broke off"):
            async with gateway.chat.stream(CHAT) as streamed:
                async for piece in streamed.text():
                    got.append(piece)  # noqa: PERF401 (what came before the error is kept)
        assert got == ["Pa"]
        row = await gateway.record(streamed.made.request_id)
        assert row.outcome == "error"


async def test_leaving_a_stream_early_stops_the_provider(told):
    chunks = says("openai-chat", streaming=True).chunks[:2]
    async with (
        ScriptedUpstream(stream(*chunks, stall=True)) as up,
        AsyncGateway(told(host(up.url, "openai-chat"))) as gateway,
    ):
        async with gateway.chat.stream(CHAT) as streamed:
            await anext(streamed)
        await asyncio.wait_for(up.gone.wait(), 5)
        assert (await gateway.record(streamed.made.request_id)).outcome == "cancelled"


async def test_cancelling_a_call_stops_the_provider(told):
    async with (
        ScriptedUpstream(answer({}, hang=True)) as up,
        AsyncGateway(told(host(up.url, "openai-chat"))) as gateway,
    ):
        asking = asyncio.create_task(gateway.chat(CHAT))
        while not up.requests:  # noqa: ASYNC110 (the provider has no event for it)
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(up.gone.wait(), 5)


def test_a_forgotten_stream_stops_the_provider(told):
    chunks = says("openai-chat", streaming=True).chunks[:2]
    with (
        upstream_in_thread(stream(*chunks, stall=True)) as up,
        Gateway(told(host(up.url, "openai-chat"))) as gateway,
    ):
        streamed = gateway.chat.stream(CHAT)
        streamed.__enter__()
        next(streamed)
        del streamed
        gc.collect()
        up.wait_gone()


def test_closing_ends_whoever_still_waits(told):
    with upstream_in_thread(answer({}, hang=True)) as up:
        gateway = Gateway(told(host(up.url, "openai-chat")))
        ended = []

        def ask():
            with pytest.raises(NoCapacity, match="closed before it had answered") as raised:
                gateway.chat(CHAT)
            ended.append(raised)

        asking = threading.Thread(target=ask)
        asking.start()
        up.wait_asked()
        gateway.close()
        gateway.close()
        asking.join(5)
        assert ended
        up.wait_gone()
        with pytest.raises(NoCapacity, match="is closed"):
            gateway.chat(CHAT)


async def test_closing_books_streams_that_are_open(told):
    chunks = says("openai-chat", streaming=True).chunks[:2]
    async with ScriptedUpstream(stream(*chunks, stall=True)) as up:
        config = told(host(up.url, "openai-chat"))
        gateway = AsyncGateway(config)
        streamed = await gateway.chat.stream(CHAT).__aenter__()
        await anext(streamed)
        await gateway.aclose()
        await asyncio.wait_for(up.gone.wait(), 5)
        async with AsyncGateway(config) as again:
            assert (await again.record(streamed.made.request_id)).outcome == "cancelled"


@pytest.fixture
def building(monkeypatch):
    """Tells that an engine is built, and waits until it may be handed over."""
    built, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(*told, **more):
        engine = await build_engine(*told, **more)
        built.set()
        await goes_on.wait()
        return engine

    monkeypatch.setattr(core, "build_engine", slowly)
    return built, goes_on


async def test_closing_while_it_is_being_built_leaves_nothing_open(told, building):
    built, goes_on = building
    async with ScriptedUpstream(says("openai-chat")) as up:
        gateway = AsyncGateway(told(host(up.url, "openai-chat")))
        asking = asyncio.create_task(gateway.chat(CHAT))
        await built.wait()
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
        await gateway.aclose()
        with pytest.raises(NoCapacity, match="the gateway is closed"):
            await asking
        assert [thread.name for thread in threading.enumerate() if thread.name == "turnout-ledger"] == []
        assert up.requests == []


async def test_who_gives_up_closing_while_it_is_being_built_leaves_nothing_open(told, building):
    built, goes_on = building
    async with ScriptedUpstream(says("openai-chat")) as up:
        gateway = AsyncGateway(told(host(up.url, "openai-chat")))
        asking = asyncio.create_task(gateway.chat(CHAT))
        await built.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway.aclose(), 0.01)
        goes_on.set()
        with pytest.raises(NoCapacity, match="the gateway is closed"):
            await asking
        assert [thread.name for thread in threading.enumerate() if thread.name == "turnout-ledger"] == []


def test_one_loop_owns_an_async_gateway(told):
    with upstream_in_thread(says("openai-chat")) as up:
        gateway = AsyncGateway(told(host(up.url, "openai-chat")))

        async def ask():
            return (await gateway.chat(CHAT)).text

        with asyncio.Runner() as first:
            assert first.run(ask()) == "Paris."
            with asyncio.Runner() as second, pytest.raises(RuntimeError, match="another event loop"):
                second.run(ask())
            first.run(gateway.aclose())


def test_a_config_is_a_file_its_tables_or_what_is_there(tmp_path):
    tables = {
        "store": {"ledger": f"sqlite:///{tmp_path}/ledger.db"},
        "providers": {"up": {"dialect": "openai-chat", "base_url": "http://127.0.0.1:9/v1", "api_key": "env:UP_KEY"}},
        "models": {"up/big": {"tier": "frontier"}},
    }
    with Gateway(tables, env={"UP_KEY": "sk-up"}) as gateway:
        assert "up/big" in gateway.models()
    with pytest.raises(ConfigError, match="UP_KEY is not set"):
        Gateway(tables, env={})
    with pytest.raises(ConfigError, match="no such config file"):
        Gateway(tmp_path / "turnout.toml")
    with pytest.raises(ConfigError, match="did you mean providers"):
        Gateway({"provider": {}})


def test_explained_and_judged(told):
    with upstream_in_thread(says("openai-chat")) as up, Gateway(told(lab(openai=up.url))) as gateway:
        assert gateway.explain({**CHAT, "model": "auto"})["model"] == "lab/small"
        assert up.requests == []
        asked = gateway.chat({**CHAT, "model": "auto"})
        gateway.feedback(asked.made.request_id, 1.0, label="good")
        with pytest.raises(InvalidRequest, match="score"):
            gateway.feedback(asked.made.request_id, 7)


async def test_a_closed_gateway_says_so(told):
    async with ScriptedUpstream(says("openai-chat")) as up:
        async with AsyncGateway(told(host(up.url, "openai-chat"))) as gateway:
            assert (await gateway.chat(CHAT)).text == "Paris."
        with pytest.raises(NoCapacity, match="is closed"):
            await gateway.chat(CHAT)


def test_a_gateway_without_models_is_none_and_leaves_no_thread(tmp_path):
    with pytest.raises(NoCapacity, match="no model was found"):
        Gateway({"store": {"ledger": f"sqlite:///{tmp_path}/ledger.db"}})
    assert [thread.name for thread in threading.enumerate() if thread.name == "turnout"] == []


def test_an_interrupt_stops_the_provider(tmp_path):
    with upstream_in_thread(answer({}, hang=True)) as up:
        file = tmp_path / "turnout.toml"
        file.write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + host(up.url, "openai-chat"))
        with subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, str(file)], stdout=subprocess.PIPE, text=True
        ) as asking:
            up.wait_asked()
            asking.send_signal(signal.SIGINT)
            up.wait_gone()
            assert asking.stdout.read() == "interrupted, cancelled\n"


INTERRUPTED = """
import signal, sys
from turnout import Gateway
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background has it ignored
gateway = Gateway(sys.argv[1])
try:
    gateway.chat({"model": "up/big", "messages": [{"role": "user", "content": "?"}]}, session="s")
except KeyboardInterrupt:
    print("interrupted", end=", ")
gateway.close()
again = Gateway(sys.argv[1])
(row,) = again._asked._core._engine.ledger.recent(1)
print(row.outcome)
"""

FORGETFUL = """
import sys
from turnout import Gateway
gateway = Gateway(sys.argv[1])
print(gateway.chat({"model": "up/big", "messages": [{"role": "user", "content": "?"}]}).text)
"""

FORKING = """
import os, sys
from turnout import Gateway
gateway = Gateway(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        gateway.chat({"model": "up/big", "messages": []})
    except RuntimeError as error:
        print(error, flush=True)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(script, file):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_program_that_closes_nothing_ends_and_keeps_its_books(tmp_path):
    with upstream_in_thread(says("openai-chat")) as up:
        file = tmp_path / "turnout.toml"
        file.write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + host(up.url, "openai-chat"))
        told = run(FORGETFUL, file)
        assert (told.stdout, told.stderr, told.returncode) == ("Paris.\n", "", 0)
        with Gateway(file) as gateway:
            (row,) = gateway._asked._core._engine.ledger.recent(10)
            assert row.outcome == "ok"


def test_a_fork_is_told_that_the_gateway_stayed_behind(tmp_path):
    with upstream_in_thread(says("openai-chat")) as up:
        file = tmp_path / "turnout.toml"
        file.write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + host(up.url, "openai-chat"))
        told = run(FORKING, file)
        assert "made before a fork" in told.stdout
        assert told.stdout.endswith("0\n"), told


def test_importing_turnout_imports_nothing_of_it():
    code = (
        "import sys, turnout; print([m for m in sys.modules if m.startswith('turnout.')], hasattr(turnout, 'nothing'))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[] False\n"
    )
