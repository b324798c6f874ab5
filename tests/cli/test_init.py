"""`turnout init` as its user runs it."""

import asyncio
import tomllib

import pytest

from support.command import turnout
from turnout.cli.init import Found, look


def init(folder, *args, stdin="", **env):
    return turnout("init", *args, folder=folder, stdin=stdin, **env)


def test_three_questions_and_their_usual_answers(tmp_path):
    done = init(tmp_path, stdin="\n\n\n", OPENAI_API_KEY="sk-secret", ANTHROPIC_API_KEY="sk-secret")
    assert done.returncode == 0, done.stderr
    assert [done.stdout.count(f"{n}. ") for n in (1, 2, 3)] == [1, 1, 1]
    text = (tmp_path / "turnout.toml").read_text()
    told = tomllib.loads(text)
    assert list(told["providers"])[:2] == ["openai", "anthropic"]
    assert told["budgets"]["all"]["amount_usd"] == 50
    assert told["routing"]["baseline"].startswith("anthropic/")
    assert "sk-secret" not in text + done.stdout + done.stderr
    assert "turnout serve --config turnout.toml" in done.stdout


def test_an_answer_that_cannot_be_read_is_asked_for_again(tmp_path):
    done = init(tmp_path, stdin="opnai\nopenai\nlots\n20\nno-such-model\ngpt-4.1\n", OPENAI_API_KEY="x")
    assert done.returncode == 0, done.stderr
    assert "did you mean openai?" in done.stdout
    told = tomllib.loads((tmp_path / "turnout.toml").read_text())
    assert (told["budgets"]["all"]["amount_usd"], told["routing"]["baseline"]) == (20, "openai/gpt-4.1")


def test_nobody_answers(tmp_path):
    done = init(tmp_path, OPENAI_API_KEY="x")
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert not (tmp_path / "turnout.toml").exists()


def test_by_options_alone(tmp_path):
    done = init(tmp_path, "--yes", "--providers", "mistral", "--budget", "0", "--out", "my conf.toml")
    assert done.returncode == 0, done.stderr
    assert "export MISTRAL_API_KEY=..." in done.stdout
    assert "--config 'my conf.toml'" in done.stdout
    assert "budgets" not in tomllib.loads((tmp_path / "my conf.toml").read_text())


def test_a_file_that_is_there_stays(tmp_path):
    mine = tmp_path / "turnout.toml"
    mine.write_text("# mine\n")
    done = init(tmp_path, "--yes", OPENAI_API_KEY="x")
    assert done.returncode == 1
    assert "was left as it is" in done.stderr
    assert mine.read_text() == "# mine\n"
    for n in (1, 2):
        assert init(tmp_path, "--yes", "--force", OPENAI_API_KEY="x").returncode == 0
        assert (tmp_path / f"turnout.toml.old{n}").exists()
    assert (tmp_path / "turnout.toml.old1").read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("option", "told"),
    [(("--baseline", "nope"), "no model 'nope'"), (("--budget", "x"), "no amount"), (("--out", "no/x.toml"), "--out")],
)
def test_wrong_options_write_nothing(tmp_path, option, told):
    done = init(tmp_path, "--yes", *option, OPENAI_API_KEY="x")
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_found_is_named_and_not_read():
    found = asyncio.run(look({"OPENAI_API_KEY": "sk-secret"}))
    assert isinstance(found, Found)
    assert "openai" in found.offered
    assert "sk-secret" not in repr(found)
