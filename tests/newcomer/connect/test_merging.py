"""Settings merged into files that have other things in them."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InvalidRequest
from turnout.newcomer.connect.clients import CLIENTS, Connection, Target
from turnout.newcomer.connect.merging import merged_text, settings_for

JSON = Target(path="x", form="json", settings={})
TOML = Target(path="x", form="toml", settings={})
ENV = Target(path="x", form="lines", settings={})
YAML = Target(path="x", form="lines", settings={}, separator=": ")
SETTINGS = {"model": "auto", "model_providers": {"turnout": {"base_url": "http://x/v1", "name": "T"}}}


def test_json_keeps_what_else_is_there():
    before = '{"permissions": {"allow": ["Bash(ls)"]}, "env": {"FOO": "1", "A": "old"}, "größe": 1}'
    told = json.loads(merged_text(JSON, before, {"env": {"A": "new"}}))
    assert told == {"permissions": {"allow": ["Bash(ls)"]}, "env": {"FOO": "1", "A": "new"}, "größe": 1}


@pytest.mark.parametrize("before", ["{// mine\n}", "[1]", '{"env": 3}', "{", "[" * 100_000, '"x"'])
def test_json_that_cannot_be_merged_is_left(before):
    with pytest.raises(InvalidRequest, match="left as it is"):
        merged_text(JSON, before, {"env": {"A": "new"}})


TOML_BEFORE = """# my settings
model = "gpt-5.5"   # the good one
approval_policy = "on-request"

[mcp_servers.docs]   # keep
command = "npx"

[model_providers.turnout]
base_url = "http://old"
# a comment of mine
query_params = { a = "b" }

[tui]
theme = "dark"
"""


def test_toml_keeps_comments_order_and_what_else_is_there():
    after = merged_text(TOML, TOML_BEFORE, SETTINGS)
    for line in ("# my settings", "# a comment of mine", "[mcp_servers.docs]   # keep", 'theme = "dark"'):
        assert line in after
    told = tomllib.loads(after)
    assert told["model"] == "auto"
    assert told["approval_policy"] == "on-request"
    assert told["model_providers"]["turnout"] == {"base_url": "http://x/v1", "name": "T", "query_params": {"a": "b"}}


@pytest.mark.parametrize(
    "before",
    ["", "[a]\nb = 1\n", "[model_providers]\n", "model_providers = {}\n", "# only a comment", "[[x]]\ny = 1\n"],
)
def test_toml_is_right_or_left_alone(before):
    try:
        after = merged_text(TOML, before, SETTINGS)
    except InvalidRequest:
        return
    told = tomllib.loads(after)
    assert told["model_providers"]["turnout"]["base_url"] == "http://x/v1"
    assert {k: v for k, v in tomllib.loads(before).items() if k != "model_providers"}.items() <= told.items()


@pytest.mark.parametrize(
    "before",
    [
        "a = ",
        'model = """\nx\n"""\n',
        'model_providers = { turnout = { name = "x" } }\n',
        'model_providers.turnout.name = "x"\n',
        'text = """\n[model_providers.turnout]\n"""\n',
        "model = 1\nmodel = 2\n",
    ],
)
def test_toml_that_cannot_be_changed_line_by_line_is_left(before):
    with pytest.raises(InvalidRequest, match="left as it is"):
        merged_text(TOML, before, SETTINGS)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_toml_of_any_kind_is_right_or_left_alone(before):
    try:
        after = merged_text(TOML, before, SETTINGS)
    except InvalidRequest:
        return
    assert tomllib.loads(after)["model"] == "auto"


def test_lines_are_exchanged_or_added():
    before = "# mine\nexport GEMINI_MODEL=old\nGEMINI_MODEL_X=1\nOTHER=2"
    after = merged_text(ENV, before, {"GEMINI_MODEL": "auto", "NEW": "3"})
    assert after == "# mine\nGEMINI_MODEL=auto\nGEMINI_MODEL_X=1\nOTHER=2\nNEW=3\n"
    assert (
        merged_text(YAML, "model: x\nmodel-metadata-file: y\n", {"model": "a"}) == "model: a\nmodel-metadata-file: y\n"
    )


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.targets])
def test_what_was_merged_once_is_not_changed_again(name, keyed):
    for target in CLIENTS[name].targets:
        settings = settings_for(target, Connection(url="http://x", keyed=keyed))
        once = merged_text(target, "", settings)
        assert merged_text(target, once, settings) == once
        assert "sk-" not in once
