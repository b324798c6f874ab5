"""The pages that tools write are what the code says now: `make reference` after a change of it."""

import re
from pathlib import Path

import pytest

import plot_break_even
import write_config_reference
import write_error_reference
import write_provider_reference
from turnout import errors
from turnout.config import Config, parse_config
from turnout.providers.registry import PROVIDERS
from turnout.server.views import described

ROOT = Path(__file__).parents[2]
WRITERS = (plot_break_even, write_config_reference, write_error_reference, write_provider_reference)


@pytest.mark.parametrize("tool", WRITERS, ids=lambda tool: tool.__name__)
def test_the_page_is_current(tool):
    assert tool.PAGE.read_text("utf-8") == tool.page(), "run `make reference`"


def test_every_key_of_the_config_has_a_row():
    text = write_config_reference.page()
    for name in Config.__struct_fields__:
        assert f"\n| `{name}` | " in text
    assert "| `amount_usd` | number | **must be there** | USD |" in text
    assert "| `repeat_call` | whole number | `3`, pauses |  |" in text
    assert "| `api_key` | secret text | not set |  |" in text


def test_every_link_within_the_page_leads_somewhere():
    text = write_config_reference.page()
    there = set(re.findall(r'<a id="([\w-]+)">', text)) | set(re.findall(r"^## `\[(\w+)\]`$", text, re.MULTILINE))
    assert set(re.findall(r"\(#([\w-]+)\)", text)) <= there


def test_every_error_has_its_cause_and_next_step():
    text = write_error_reference.page()
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and kind.code != "config_error":
            assert f"| `{kind.code}` |" in text
    assert "None" not in text


def test_every_provider_has_a_row_and_the_example_is_a_config():
    text = write_provider_reference.page()
    for name in PROVIDERS:
        assert f"| `{name}` | " in text
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        parse_config(block, {"OPENAI_API_KEY": "k", "OPENAI_API_KEY_2": "k", "LAB_KEY": "k"})


def test_the_break_even_steps_on_the_page_are_what_the_formula_says():
    assert plot_break_even.table() in (ROOT / "docs/routing.md").read_text("utf-8")


def test_the_page_on_http_has_every_path_that_is_described():
    text = (ROOT / "docs/http.md").read_text("utf-8")
    missing = [p for p in described()["paths"] if p not in text and f":{p.rpartition(':')[2]}" not in text]
    assert missing == []
