"""The programs in examples/, each run as a user would, against a provider on loopback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.every_api import EveryApi
from support.pages import KEYS
from support.threaded import upstream_in_thread

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "anthropic_sdk.py": ["Paris.", "Paris."],
    "in_process.py": ["Paris. by openai/gpt-4.1-mini for", "Paris.", "10 tokens out", "refused:"],
    "in_process_async.py": ["France: Paris.", "Italy: Paris.", "Spain: Paris."],
    "openai_sdk.py": ["Paris.", "Paris.", "402 budget_exhausted"],
}


def test_every_example_is_here():
    assert sorted(p.name for p in EXAMPLES.glob("*.py")) == sorted(SAID)


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs(name, tmp_path):
    with upstream_in_thread(upstream=EveryApi()) as up:
        config = (EXAMPLES / "turnout.toml").read_text()
        config = config.replace("[providers.openai]\n", f'[providers.openai]\nbase_url = "{up.url}/v1"\n')
        config = config.replace("[providers.anthropic]\n", f'[providers.anthropic]\nbase_url = "{up.url}"\n')
        (tmp_path / "turnout.toml").write_text(config)
        told = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / name)],
            cwd=tmp_path,
            env={**os.environ, **dict.fromkeys(KEYS, "sk-example")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert len(lines) == len(SAID[name]), told.stdout
    for line, said in zip(lines, SAID[name], strict=True):
        assert said in line
