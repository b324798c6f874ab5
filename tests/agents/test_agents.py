"""Claude Code and Codex, the real programs, against the gateway: on a model of their own family and of another.

Run by `make test-agents`, which installs both (some 600 MB). Each is asked once to write a file by its own tool; the
scripted model calls the tool, sees its result and says it is done.
"""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from support.command import turnout
from support.gateway import gateway, host
from support.upstream import ScriptedUpstream
from support.wire import refuses, says, tool_call

pytestmark = pytest.mark.agents

PROGRAMS = Path(os.environ.get("TURNOUT_AGENTS", ".agents")).resolve() / "node_modules" / ".bin"
FAMILIES = pytest.mark.parametrize("family", ["anthropic-messages", "openai-chat", "openai-responses", "gemini"])


async def run(program, *arguments, home, env, timeout_s=90):
    """A program's exit code, output and errors; ended by its id where it takes too long."""
    path = PROGRAMS / program
    if not path.exists():
        pytest.fail(f"{program} is not installed: run `make test-agents`")
    process = await asyncio.create_subprocess_exec(
        str(path),
        *arguments,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def claude(url, home, ask):
    env = {
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "any",
        "ANTHROPIC_MODEL": "up/big",
        "ANTHROPIC_SMALL_FAST_MODEL": "up/big",
    }
    return await run("claude", "-p", ask, "--dangerously-skip-permissions", home=home, env=env)


async def codex(url, home, ask):
    folder = home / ".codex"
    folder.mkdir()
    folder.joinpath("config.toml").write_text(
        'model_provider = "turnout"\nmodel = "up/big"\nweb_search = "disabled"\n'
        f'[model_providers.turnout]\nname = "turnout"\nbase_url = "{url}/v1"\n'
        'env_key = "TURNOUT_KEY"\nwire_api = "responses"\nrequest_max_retries = 0\nstream_max_retries = 0\n'
    )
    arguments = ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", ask)
    return await run("codex", *arguments, home=home, env={"TURNOUT_KEY": "any"})


def writes_a_file(program):
    """The tool by which each program runs a shell command, and how it is called."""
    if program is claude:
        return "Bash", json.dumps({"command": "echo sunny > weather.txt", "description": "write"})
    return "exec_command", json.dumps({"cmd": "echo sunny > weather.txt"})


PROGRAM = pytest.mark.parametrize("program", [claude, codex], ids=lambda p: p.__name__)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@PROGRAM
@FAMILIES
async def test_an_agent_works_with_its_tools(program, family, home, tmp_path):
    name, arguments = writes_a_file(program)
    scripts = tool_call(family, name, arguments, streaming=True), says(family, "All done.", streaming=True)
    async with ScriptedUpstream(*scripts) as up, gateway(host(up.url, family), tmp_path) as gw:
        code, out, err = await program(gw.url, home, "Write the weather to weather.txt")
        rows = await gw.booked(2)
        last = up.requests[-1].body
    assert code == 0, err[-2000:]
    assert "All done." in out
    assert (home / "weather.txt").read_text() == "sunny\n"
    assert b"weather.txt" in last
    assert {row.session_id for row in rows[:2]} == {rows[0].session_id}, "the steps are one session"
    assert [row.step for row in rows[:2]] == [1, 0], "and one conversation, wherever the client moves its cache marks"
    assert all(row.outcome == "ok" for row in rows)


@PROGRAM
async def test_an_agent_shows_a_providers_error(program, home, tmp_path):
    family = "openai-chat"
    async with ScriptedUpstream(refuses(family)) as up, gateway(host(up.url, family), tmp_path) as gw:
        _, out, err = await program(gw.url, home, "Say hello")
    assert "max_tokens is too large" in out + err


@pytest.mark.parametrize(("name", "program"), [("claude-code", "claude"), ("codex", "codex")])
@pytest.mark.parametrize("keyed", [False, True], ids=["open", "keyed"])
async def test_connect_writes_what_the_agent_takes(name, program, keyed, home, tmp_path):
    keys = '[keys.me]\nkey = "sk-turnout-me"\n' if keyed else ""
    script = says("openai-chat", "Hello there.", streaming=True)
    arguments = ["-p"] if name == "claude-code" else ["exec", "--skip-git-repo-check"]
    env = {"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    if keyed:
        env |= {"TURNOUT_KEY": "sk-turnout-me", "ANTHROPIC_AUTH_TOKEN": "sk-turnout-me"}
    async with ScriptedUpstream(script) as up, gateway(host(up.url, "openai-chat") + keys, tmp_path) as gw:
        options = ("--url", gw.url, "--write", *(("--keyed",) if keyed else ()))
        done = await asyncio.to_thread(turnout, "connect", name, *options, folder=home)
        assert done.returncode == 0, done.stderr
        code, out, err = await run(program, *arguments, "Say hello", home=home, env=env)
        (row, *_) = await gw.booked(1)
    assert code == 0, err[-2000:]
    assert "Hello there." in out
    assert row.key_id == ("me" if keyed else None)
