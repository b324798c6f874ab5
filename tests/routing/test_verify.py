"""A wrong form is seen, a right one passes, and no schema keeps us from coming to an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.chat import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    Refusal,
    ResponseFormat,
    Text,
    ToolCall,
    ToolChoice,
    ToolSpec,
)
from turnout.routing.verify import expected_of, misfit, wrong_with

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "pets": {"type": "array", "items": {"$ref": "#/$defs/pet"}},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"pet": {"anyOf": [{"enum": ["cat", "dog"]}, {"type": "object", "required": ["other"]}]}},
}
FIND = ToolSpec(name="find", schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
PATCH = ToolSpec(name="patch", freeform=True)


def request(**more):
    return ChatRequest(model="auto", messages=(), **more)


def said(*parts, finish="stop"):
    return ChatResponse(id="a", model="m", parts=parts, finish=FinishReason(finish))


STRUCTURED = expected_of(request(response_format=ResponseFormat(kind="json_schema", schema=PERSON)))
TOOLS = expected_of(request(tools=(FIND, PATCH)))


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ada", "age": 36},
        {"name": "Ada", "age": None, "pets": []},
        {"name": "Ada", "age": 36.0, "pets": ["cat", {"other": "newt"}]},
    ],
)
def test_what_fits(value):
    assert misfit(value, PERSON) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "$ is not object"),
        ({"name": "Ada"}, "$.age is missing"),
        ({"name": 1, "age": 1}, "$.name is not string"),
        ({"name": "Ada", "age": True}, "$.age is not integer or null"),
        ({"name": "Ada", "age": 1.5}, "$.age is not integer or null"),
        ({"name": "Ada", "age": 1, "more": 1}, "$.more is not allowed"),
        ({"name": "Ada", "age": 1, "pets": ["cat", "cow"]}, "$.pets[1] is none of what it may be"),
    ],
)
def test_what_does_not(value, why):
    assert misfit(value, PERSON) == why


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (1, {"const": 1}, True),
        (True, {"const": 1}, False),
        ("x", {"enum": [1, "x"]}, True),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, False),
        ({"a": 1}, {"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, False),
        (1, {"oneOf": [{"type": "string"}, {"type": "integer"}]}, True),
        ("x", {"type": "STRING"}, True),
        ("x", {"type": "something new"}, True),
        ("x", {"pattern": "(a+)+$"}, True),
        ("x", {"$ref": "#/nowhere"}, True),
        ("x", {"$ref": "https://example.org/other"}, True),
        ("x", False, False),
        ("x", None, True),
        ("x", {"type": 7, "required": "name", "properties": [], "anyOf": {}, "items": 3}, True),
    ],
)
def test_keywords_known_and_not(value, schema, fits):
    assert (misfit(value, schema) is None) is fits


def test_a_schema_without_end_is_given_up():
    endless = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}
    assert misfit("x", endless) is not None
    wide = {"type": "array", "items": {"anyOf": [{"type": "string"}] * 100}}
    assert misfit([1] * 1000, wide) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
WORDS = ("type", "required", "properties", "items", "enum", "anyOf", "allOf", "$ref", "additionalProperties", "const")
SCHEMAS = st.recursive(
    JSON | st.just({"$ref": "#"}),
    lambda inner: st.dictionaries(st.sampled_from(WORDS), inner | st.lists(inner), max_size=4),
    max_leaves=20,
)


@given(value=JSON, schema=SCHEMAS)
def test_no_schema_and_no_value_do_harm(value, schema):
    assert isinstance(misfit(value, schema), str | None)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said(Text(text='{"name":"Ada","age":36}')), None),
        (said(Text(text='{"name":"Ada"}')), "$.age is missing"),
        (said(Text(text="Sure! {}")), "it is no JSON"),
        (said(Text(text="[" * 5000)), "it is no JSON"),
        (said(Text(text=" ")), "it is empty"),
        (said(), "it is empty"),
        (said(Text(text='{"name":"Ada","age":36}'), finish="length"), "it ended by length"),
        (said(Refusal(text="no")), "the model refused"),
    ],
)
def test_structured_answers(answer, why):
    assert wrong_with(answer, STRUCTURED) == why


def called(name, arguments):
    return said(ToolCall(id="c", name=name, arguments=arguments), finish="tool_calls")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (called("find", '{"n": 3}'), None),
        (said(Text(text="There is none.")), None),
        (called("patch", "*** begin"), None),
        (called("find", '{"n": "3"}'), "the arguments of find: $.n is not integer"),
        (called("find", ""), "the arguments of find: $.n is missing"),
        (called("find", '{"n": 3'), "the arguments of find are no JSON"),
        (called("find", "3"), "the arguments of find are no object"),
        (called("erase", "{}"), "it calls 'erase', which is not offered"),
    ],
)
def test_calls(answer, why):
    assert wrong_with(answer, TOOLS) == why


def test_a_call_that_was_asked_for_must_come():
    must = expected_of(request(tools=(FIND, PATCH), tool_choice=ToolChoice(mode="tool", name="find")))
    assert wrong_with(said(Text(text="Hm.")), must) == "it calls no tool"
    assert wrong_with(called("patch", "x"), must) == "it calls 'patch', which is not offered"
    allowed = expected_of(request(tools=(FIND, PATCH), tool_choice=ToolChoice(mode="auto", allowed=("patch",))))
    assert wrong_with(called("find", '{"n": 3}'), allowed) is not None


@pytest.mark.parametrize(
    "told",
    [
        request(),
        request(response_format=ResponseFormat(kind="json")),
        request(tools=(FIND,), tool_choice=ToolChoice(mode="none")),
    ],
)
def test_where_only_the_words_could_be_judged_nothing_is_checked(told):
    assert expected_of(told) is None
