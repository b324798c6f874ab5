"""The plug-ins of examples/plugins, installed by pip as a user would, all four in one gateway."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.every_api import EveryApi
from support.gateway import host
from support.threaded import upstream_in_thread

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"

CONFIG = """
[providers.mine]
plugin = "echo"
options = { prefix = "You said: " }

[routing]
plugin = "keywords"
options = { parrot = "mine/parrot" }

[answers]
enabled = true
[answers.semantic]
plugin = "hashed"
threshold = 0.9
"""

PROGRAM = """
import json, sys
from turnout import Gateway

def ask(text, model="auto"):
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0}

with Gateway("turnout.toml") as gateway:
    told = gateway.chat(ask("Ask the parrot"))
    print(json.dumps([told.text, told.made.model, told.made.reason]))
    with gateway.chat.stream(ask("parrot, stream")) as stream:
        print(json.dumps("".join(stream.text())))
    told = gateway.chat(ask("What is the capital of France", "up/big"))
    print(json.dumps([told.text, told.made.model, told.made.cache]))
    told = gateway.chat(ask("The capital of France is what?", "up/big"))
    print(json.dumps([told.text, told.made.cache]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the four packages in it, as site-packages would have them."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    projects = [str(p.parent) for p in PLUGINS.glob("*/pyproject.toml")]
    assert len(projects) == 4
    copies = [_copied(Path(p), tmp_path_factory.mktemp("source")) for p in projects]
    told = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(folder), *copies],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return folder


def _copied(project, folder):
    """A build writes beside its sources."""
    for file in project.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    return str(folder)


def run(program, folder, site):
    path = os.pathsep.join([str(site), *sys.path])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_four_at_work(site, tmp_path):
    with upstream_in_thread(upstream=EveryApi()) as up:
        store = f'store.ledger = "jsonl://{tmp_path}/requests.jsonl"\n'
        (tmp_path / "turnout.toml").write_text(store + CONFIG + host(f"{up.url}/v1", "openai-chat"))
        told = run(PROGRAM, tmp_path, site)
        assert (told.returncode, told.stderr) == (0, "")
        assert len(up.requests) == 1
    parrot, streamed, first, again = map(json.loads, told.stdout.splitlines())
    assert parrot == ["You said: Ask the parrot", "mine/parrot", "plugin"]
    assert streamed == "You said: parrot, stream"
    assert first == ["Paris.", "up/big", "miss"]
    assert again == ["Paris.", "semantic"]
    lines = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert [line["model"] for line in lines] == ["mine/parrot", "mine/parrot", "up/big", "up/big"]


def test_none_is_loaded_that_the_config_does_not_name(site, tmp_path):
    (tmp_path / "turnout.toml").write_text(
        f'store.ledger = "sqlite:///{tmp_path}/l.db"\n' + host("http://127.0.0.1:9/v1", "openai-chat")
    )
    program = (
        "import sys; from turnout import Gateway\n"
        "with Gateway('turnout.toml'): print([m for m in sys.modules if m.startswith('turnout_') or 'plugins' in m])"
    )
    told = run(program, tmp_path, site)
    assert (told.stdout, told.stderr) == ("[]\n", "")
