"""What each client is told: code that runs, against a gateway, as it is printed."""

import asyncio
import os
import subprocess
import sys

import pytest

from support.gateway import gateway, host
from support.upstream import ScriptedUpstream
from support.wire import says
from turnout.newcomer.connect.clients import CLIENTS, Connection, filled, lines_of

HERE = Connection(url="http://127.0.0.1:8787")
CODE = [name for name, client in CLIENTS.items() if "import os" in client.text]


EACH = "import sys\nfor text in sys.argv[1:]: exec(compile(text, 'printed', 'exec'), {'__name__': '__main__'})"


def run(texts, folder, shell=False, **env):
    """The programs one after the other in one process: what they import takes seconds."""
    arguments = ["/bin/sh", "-ec", "\n".join(texts)] if shell else [sys.executable, "-W", "ignore", "-c", EACH, *texts]
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
    )


@pytest.mark.parametrize("name", [*CODE, "curl"])
async def test_what_is_printed_runs(name, tmp_path):
    keys = '[keys.me]\nkey = "sk-turnout-me"\n'
    (beside := tmp_path / "keyed").mkdir()
    async with (
        ScriptedUpstream(says("openai-chat", "Hello.")) as up,
        gateway(host(up.url, "openai-chat"), tmp_path) as free,
        gateway(host(up.url, "openai-chat") + keys, beside) as keyed,
    ):
        places = Connection(url=free.url), Connection(url=keyed.url, keyed=True)
        texts = [lines_of(CLIENTS[name], place) for place in places]
        done = await asyncio.to_thread(run, texts, tmp_path, name == "curl", TURNOUT_KEY="sk-turnout-me")
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("Hello.") == 2
        (row,) = await free.booked(1)
        (known,) = await keyed.booked(1)
    assert (row.key_id, known.key_id) == (None, "me")


@pytest.mark.parametrize("keyed", [False, True], ids=["open", "keyed"])
@pytest.mark.parametrize("name", CLIENTS)
def test_no_mark_is_left_and_no_key_is_told(name, keyed):
    told = lines_of(CLIENTS[name], Connection(url="https://gw.example.com", keyed=keyed, model="tier/small"))
    assert "<" not in told.replace("<URL>", "<")
    assert ("TURNOUT_KEY" in told) or not keyed
    assert "tier/small" in told
    assert "gw.example.com" in told


def test_a_model_is_called_what_the_client_can_say():
    assert filled("<MODEL>", CLIENTS["claude-code"], HERE) == "claude-auto"
    assert filled("<MODEL>", CLIENTS["gemini-cli"], HERE) == "gemini-auto"
    assert filled("<MODEL>", CLIENTS["codex"], HERE) == "auto"


@pytest.mark.parametrize("name", CLIENTS)
def test_each_says_where_that_is_written(name):
    assert CLIENTS[name].source.startswith("https://")
