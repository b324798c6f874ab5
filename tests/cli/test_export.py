"""`turnout export --for finetune`, from a gateway's own requests to the file."""

import asyncio
import json

import pytest

from support.calls import CHAT, post
from support.command import turnout
from support.gateway import gateway
from support.upstream import ScriptedUpstream, answer

KEEP = "[learning]\nkeep_prompts = true\n"
SMALL = '[budgets.all]\namount_usd = 1\non_exhausted = "small"\nsmall_reserve_usd = 1\npacing = "off"\n'
TOOLS = [{"type": "function", "function": {"name": "run", "description": "runs a command"}}]


def toml(url):
    return (
        f'[providers.openai]\nbase_url = "{url}/v1"\napi_key = "sk-x"\n'
        '[models."openai/gpt-4.1"]\ntier = "frontier"\n[models."openai/gpt-4.1-nano"]\ntier = "small"\n' + SMALL + KEEP
    )


async def asked(gw, messages):
    body = json.dumps({"model": "auto", "tools": TOOLS, "messages": messages}).encode()
    _, told, _ = await post(gw.url, "/v1/chat/completions", body, [("x-turnout-session", "s1")])
    return told["x-turnout-request-id"]


async def judged(gw, request, score):
    status, _, _ = await post(gw.url, "/v1/feedback", json.dumps({"request_id": request, "score": score}).encode())
    assert status == 200


async def a_small_model_fails_and_the_frontier_solves(gw):
    begun = [{"role": "user", "content": "mail ana@x.example that the tests pass"}]
    failed = await asked(gw, begun)
    await judged(gw, failed, 0)
    gw.engine.pipeline._budgets.add("all", 10**12)
    again = [*begun, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "that is no mail at all"}]
    await judged(gw, await asked(gw, again), 1)


@pytest.mark.parametrize(
    ("flags", "content"), [((), "mail [EMAIL] that"), (("--no-redact",), "mail ana@x.example that")]
)
async def test_what_the_frontier_solved_is_written_once_it_is_redacted(tmp_path, flags, content):
    async with ScriptedUpstream(answer(CHAT)) as up:
        config = toml(up.url)
        (tmp_path / "turnout.toml").write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + config)
        async with gateway(config, tmp_path) as gw:
            await a_small_model_fails_and_the_frontier_solves(gw)
    command = ("export", "--for", "finetune", "--out", "out.jsonl", "--config", "turnout.toml", *flags)
    done = await asyncio.to_thread(turnout, *command, folder=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "out.jsonl: 1 example"), done.stderr
    assert ("1 EMAIL" in done.stdout) == (not flags)
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert content in told["messages"][0]["content"]
    assert [m.get("weight") for m in told["messages"]] == [None, 0, None, None]
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0, "for its owner alone"


def test_without_consent_it_says_which_setting_is_missing(tmp_path):
    done = turnout("export", "--for", "finetune", "--out", "out.jsonl", folder=tmp_path)
    assert done.returncode == 1
    assert "set keep_prompts = true under [learning]" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write_and_nowhere_to_write_are_said(tmp_path):
    (tmp_path / "turnout.toml").write_text(KEEP)
    command = ("export", "--for", "finetune", "--config", "turnout.toml", "--out")
    none = turnout(*command, "out.jsonl", folder=tmp_path)
    assert (none.returncode, none.stdout.splitlines()[0]) == (0, "out.jsonl: 0 examples")
    assert "poor" in none.stderr
    nowhere = turnout(*command, "no/such/out.jsonl", folder=tmp_path)
    assert (nowhere.returncode, "cannot be written" in nowhere.stderr) == (1, True)
    assert turnout("export", "--out", "x", folder=tmp_path).returncode == 2
