"""TOML as text: whatever goes in comes out of a TOML reader as it was, and a comment stays one."""

import tomllib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from turnout.toml_text import comment, toml_key, toml_text, toml_value

CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]))


@given(CHARACTERS)
def test_a_string_is_read_as_it_was(text):
    assert tomllib.loads(f"a = {toml_text(text)}") == {"a": text}


@given(CHARACTERS)
def test_so_is_a_key(name):
    assert tomllib.loads(f"{toml_key(name)} = 1") == {name: 1}


def test_half_of_a_surrogate_pair_can_be_written_to_a_file():
    assert tomllib.loads("a = " + toml_text("x\ud800y")) == {"a": "x\ufffdy"}


def test_values_stand_on_one_line():
    value = {"model": "a/b", "n": 3, "on": True, "usd": Decimal("0.0000100"), "list": ["x\n", 0.5]}
    told = toml_value(value)
    assert "\n" not in told
    assert tomllib.loads(f"a = {told}")["a"] == {**value, "usd": 0.00001}


@given(CHARACTERS)
def test_nothing_gets_out_of_a_comment(text):
    assert tomllib.loads(comment(text)) == {}
