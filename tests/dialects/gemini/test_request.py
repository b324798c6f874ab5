"""What is read from a generateContent request, and that it is written back as it came."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.recordings import load, plain
from turnout.chat import Audio, File, Image, Opaque, Reasoning, ReasoningConfig, Source, Text, ToolCall, ToolResult
from turnout.dialects.gemini import GEMINI
from turnout.errors import InvalidRequest

HI = [{"role": "user", "parts": [{"text": "hi"}]}]


def read(**body):
    return GEMINI.decode_request(json.dumps({"contents": HI, **body}).encode())


def parts_of(*parts, role="user"):
    (message,) = read(contents=[{"role": role, "parts": list(parts)}]).messages
    return message.parts


def back(body):
    encoded = GEMINI.encode_request(GEMINI.decode_request(json.dumps(body).encode()))
    assert encoded.warnings == ()
    return json.loads(encoded.body)


RECORDED = [c for c in (*load("gemini"), *load("gemini/snake")) if c.request]
"""Those under `snake/` were sent in the other spelling, one with a result that is an error."""


@pytest.mark.parametrize("case", RECORDED, ids=lambda c: c.name[-60:])
def test_every_recorded_request_comes_back_as_it_was(case):
    assert plain(back(case.request)) == plain(case.request)
    patched = GEMINI.patch_request(GEMINI.outline(case.body), "gemini-3-pro-preview")
    assert json.loads(patched) == case.request


def test_roles_are_user_and_model_and_the_instruction_is_a_system_message():
    request = read(
        systemInstruction={"parts": [{"text": "Be brief."}]},
        contents=[{"parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yes"}]}],
    )
    assert [m.role for m in request.messages] == ["system", "user", "assistant"]
    assert (request.model, request.stream) == ("", False)


def test_both_spellings_are_read_and_given_back():
    body = {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]},
            {
                "role": "model",
                "parts": [{"function_call": {"name": "f", "args": {"a": 1}}, "thought_signature": "c2ln"}],
            },
            {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"output": "x"}}}]},
        ],
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}],
        "generation_config": {"max_output_tokens": 5, "thinking_config": {"thinking_budget": 100}},
    }
    request = GEMINI.decode_request(json.dumps(body).encode())
    assert request.max_output_tokens == 5
    assert request.reasoning == ReasoningConfig(enabled=True, budget_tokens=100)
    assert request.tools[0].schema == {"type": "object"}
    assert isinstance(request.messages[1].parts[0], Image)
    assert back(body) == body


def test_files_are_told_apart_by_their_type():
    image, audio, pdf, page, kept = parts_of(
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "BBBB"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "CCCC", "displayName": "a.pdf"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.org/a.jpg"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
    )
    assert isinstance(image, Image)
    assert image.source == Source(media_type="image/png", data="AAAA")
    assert isinstance(audio, Audio)
    assert audio.format == "mp3"
    assert isinstance(pdf, File)
    assert pdf.filename == "a.pdf"
    assert isinstance(page, Image)
    assert page.source == Source(media_type="image/jpeg", url="https://example.org/a.jpg")
    assert isinstance(kept, File)
    assert kept.source.file_id is not None


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "application/pdf", "data": "CCCC", "displayName": "a.pdf"}},
        {"inlineData": {"data": "CCCC"}},
        {"fileData": {"fileUri": "https://example.org/a.mp4"}, "videoMetadata": {"fps": 1}},
        {"fileData": {"fileUri": "files/abc", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "gs://bucket/a"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}, "mediaResolution": {"level": "LOW"}},
    ],
)
def test_files_come_back_as_they_were_sent(part):
    body = {"contents": [{"role": "user", "parts": [part]}]}
    assert back(body) == body


def test_a_signature_belongs_to_its_part_whatever_that_is():
    thought, text, call = parts_of(
        {"text": "hm", "thought": True, "thoughtSignature": "YQ=="},
        {"text": "yes", "thoughtSignature": "Yg=="},
        {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "Yw=="},
        role="model",
    )
    assert thought == Reasoning(text="hm", signature="YQ==", provider="gemini")
    assert text == Text(text="yes", extras={"gemini": {"thoughtSignature": "Yg=="}})
    assert call.extras["gemini"]["thoughtSignature"] == "Yw=="


def test_what_we_do_not_know_is_kept_whole():
    code = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "YQ=="}
    assert parts_of(code, role="model") == (Opaque(provider="gemini", data=code),)


def test_calls_without_ids_get_some_and_results_find_them():
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "weather", "args": {"city": "Bern"}}},
                    {"functionCall": {"name": "time"}},
                    {"functionCall": {"name": "weather", "args": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "weather", "response": {"output": "rain"}}},
                    {"functionResponse": {"name": "weather", "response": {"output": "sun"}}},
                    {"functionResponse": {"id": "x9", "name": "time", "response": {"hour": 7}}},
                ],
            },
        ]
    }
    request = GEMINI.decode_request(json.dumps(body).encode())
    bern, hour, rome = (p for p in request.messages[1].parts if isinstance(p, ToolCall))
    assert [bern.id, hour.id, rome.id] == ["call_0_weather", "call_1_time", "call_2_weather"]
    rain, sun, seven = (p for p in request.messages[2].parts if isinstance(p, ToolResult))
    assert (rain.call_id, sun.call_id, seven.call_id) == (bern.id, rome.id, hour.id)
    assert back(body) == body


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"result": "rain"}, "rain", False),
        ({"output": "rain"}, "rain", False),
        ({"error": "no such city"}, "no such city", True),
        ({"temperature": 7, "unit": "C"}, '{"temperature":7,"unit":"C"}', False),
        ({"error": {"code": 3}}, '{"error":{"code":3}}', True),
        ({"error": None, "data": 1}, '{"error":null,"data":1}', False),
        ({}, "{}", False),
    ],
)
def test_a_result_is_text_or_json_to_others_and_itself_to_its_own_api(response, text, is_error):
    part = {"functionResponse": {"id": "1", "name": "f", "response": response}}
    (result,) = parts_of(part)
    assert isinstance(result, ToolResult)
    assert (result.parts[0].text, result.is_error, result.name) == (text, is_error, "f")
    body = {"contents": [{"role": "user", "parts": [part]}]}
    assert back(body) == body


def test_files_of_a_result_stand_in_its_parts():
    inner = {"inlineData": {"mimeType": "image/png", "data": "AAAA", "displayName": "shot.png"}}
    part = {"functionResponse": {"id": "1", "name": "f", "response": {"image": {"$ref": "shot.png"}}, "parts": [inner]}}
    (result,) = parts_of(part)
    assert isinstance(result.parts[1], Image)
    body = {"contents": [{"role": "user", "parts": [part]}]}
    assert back(body) == body


def test_tools_are_taken_apart_and_grouped_again():
    tools = [
        {"googleSearch": {}, "functionDeclarations": [{"name": "a"}, {"name": "b", "behavior": "BLOCKING"}]},
        {"functionDeclarations": [{"name": "c", "description": "See."}]},
        {"codeExecution": {}},
    ]
    request = read(tools=tools)
    assert [t.name for t in request.tools] == ["googleSearch", "a", "b", "c", "codeExecution"]
    assert [t.opaque is not None for t in request.tools] == [True, False, False, False, True]
    assert back({"contents": HI, "tools": tools})["tools"] == tools


def test_openapi_parameters_become_json_schema_for_others():
    parameters = {
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "nullable": True, "enum": ["OBJECT"]},
            "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1"},
            "unit": {"any_of": [{"type": "INTEGER"}, {"type": "NUMBER"}]},
        },
        "propertyOrdering": ["type", "tags"],
        "required": ["type"],
    }
    tools = [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]
    assert read(tools=tools).tools[0].schema == {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["OBJECT"]},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "unit": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        },
        "required": ["type"],
    }
    assert back({"contents": HI, "tools": tools})["tools"] == tools


@pytest.mark.parametrize(
    ("config", "mode", "name", "allowed"),
    [
        ({"mode": "AUTO"}, "auto", None, ()),
        ({"mode": "VALIDATED"}, "auto", None, ()),
        ({"mode": "NONE"}, "none", None, ()),
        ({"mode": "ANY"}, "required", None, ()),
        ({"mode": "ANY", "allowedFunctionNames": ["a"]}, "tool", "a", ()),
        ({"mode": "any", "allowed_function_names": ["a", "b"]}, "required", None, ("a", "b")),
    ],
)
def test_which_tools_may_be_called(config, mode, name, allowed):
    told = {"functionCallingConfig": config}
    choice = read(toolConfig=told).tool_choice
    assert (choice.mode, choice.name, choice.allowed) == (mode, name, allowed)
    assert back({"contents": HI, "toolConfig": told})["toolConfig"] == told


def test_settings_have_their_neutral_names():
    config = {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 7,
        "stopSequences": ["END"],
        "candidateCount": 2,
        "seed": 0,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 3,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    request = read(generationConfig=config)
    assert (request.temperature, request.top_p, request.top_k, request.max_output_tokens) == (0.5, 0.9, 40, 7)
    assert (request.stop, request.n, request.seed, request.logprobs, request.top_logprobs) == (("END",), 2, 0, True, 3)
    assert back({"contents": HI, "generationConfig": config})["generationConfig"] == config


def test_formats_and_their_schemas():
    openapi = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    told = read(generationConfig={"responseMimeType": "application/json", "responseSchema": openapi}).response_format
    assert (told.kind, told.schema["type"]) == ("json_schema", "object")
    assert read(generationConfig={"responseMimeType": "application/json"}).response_format.kind == "json"
    assert read(generationConfig={"responseMimeType": "text/plain"}).response_format.kind == "text"
    assert read(generationConfig={}).response_format is None


def test_thinking_is_a_level_or_a_budget():
    def told(config):
        return read(generationConfig={"thinkingConfig": config}).reasoning

    assert told({"thinkingLevel": "HIGH"}) == ReasoningConfig(enabled=True, effort="high")
    assert told({"thinkingBudget": 0}) == ReasoningConfig(enabled=False, budget_tokens=0)
    assert told({"thinkingBudget": -1, "includeThoughts": True}) == ReasoningConfig(
        enabled=True, budget_tokens=-1, summary="auto"
    )


def test_labels_are_metadata_and_our_hints_among_them_stay_here():
    body = {"contents": HI, "labels": {"team": "a", "mode": "fast"}}
    outline = GEMINI.outline(json.dumps(body).encode())
    assert outline.metadata == {"team": "a", "mode": "fast"}
    assert json.loads(GEMINI.patch_request(outline, "m"))["labels"] == {"team": "a"}
    assert back(body)["labels"] == {"team": "a"}
    alone = GEMINI.outline(json.dumps({"contents": HI, "labels": {"mode": "fast"}}).encode())
    assert "labels" not in json.loads(GEMINI.patch_request(alone, "m"))


def test_what_others_cannot_do_binds_the_request_to_this_api():
    assert read(cachedContent="cachedContents/1").bound == ("cachedContent",)
    assert read(generationConfig={"responseModalities": ["IMAGE"]}).bound == ("generationConfig.responseModalities",)
    assert read(generationConfig={"responseModalities": ["TEXT"]}).bound == ()
    assert read(generationConfig={"responseMimeType": "text/x.enum"}).bound == ("generationConfig.responseMimeType",)


def test_a_model_in_the_body_is_not_written_back():
    assert "model" not in back({"model": "models/gemini-2.5-flash", "contents": HI})
    outline = GEMINI.outline(json.dumps({"model": "models/x", "stream": True, "contents": HI}).encode())
    assert (outline.model, outline.stream, outline.include_usage) == ("", False, True)
    assert json.loads(GEMINI.patch_request(outline, "m")) == {"contents": HI}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"contents": []}, "contents"),
        ({"contents": [{"role": "assistant", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"functionCall": {"args": {}}}]}]}, "contents[0].parts[0].functionCall.name"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "a/b"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": HI, "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"contents": HI, "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": HI, "generationConfig": {"thinkingConfig": 1}}, "generationConfig.thinkingConfig"),
        (
            {"contents": HI, "toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}},
            "toolConfig.functionCallingConfig.mode",
        ),
    ],
)
def test_an_error_names_the_field(body, field):
    with pytest.raises(InvalidRequest) as caught:
        GEMINI.decode_request(json.dumps(body).encode())
    assert caught.value.param == field


def test_the_outline_counts_what_is_there():
    body = {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "tools": [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}, {"google_search": {}}],
        "contents": [
            {"parts": [{"inline_data": {"mime_type": "image/png", "data": "A"}}, {"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "a"}}]},
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "name": "a",
                            "response": {},
                            "parts": [
                                {"inlineData": {"mimeType": "image/png", "data": "A"}},
                                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.org/a"}},
                            ],
                        }
                    },
                    {"inlineData": {"mimeType": "audio/wav", "data": "A"}},
                ],
            },
        ],
        "generationConfig": {"maxOutputTokens": 9, "responseSchema": {}, "thinkingConfig": {"thinkingBudget": 1}},
    }
    outline = GEMINI.outline(json.dumps(body).encode())
    assert outline.roles == ("user", "assistant", "user")
    assert (outline.images, outline.files, outline.audio, outline.tools) == (2, 1, 1, 3)
    assert (outline.max_output_tokens, outline.json_schema, outline.reasoning) == (9, True, True)
    assert outline.tool_result_last
    assert len(outline.prefix) == 2


def test_a_patch_sets_the_thinking_that_a_mode_asks_for():
    body = json.dumps(
        {"contents": HI, "generation_config": {"topK": 1, "thinking_config": {"includeThoughts": True}}}
    ).encode()
    outline = GEMINI.outline(body)
    three = json.loads(GEMINI.patch_request(outline, "gemini-3-flash-preview", "medium"))["generation_config"]
    assert three == {"topK": 1, "thinkingConfig": {"thinkingLevel": "medium", "includeThoughts": True}}
    older = json.loads(GEMINI.patch_request(outline, "gemini-2.5-flash", "medium"))["generation_config"]
    assert older == {"topK": 1, "thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True}}
    plain_one = GEMINI.outline(json.dumps({"contents": HI}).encode())
    assert json.loads(GEMINI.patch_request(plain_one, "gemini-2.5-flash", "none"))["generationConfig"] == {
        "thinkingConfig": {"thinkingBudget": 0}
    }
    assert "thinkingConfig" not in json.loads(GEMINI.patch_request(outline, "gemini-2.0-flash", "high")).get(
        "generation_config"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def objects(keys, values):
    return st.dictionaries(st.sampled_from(keys), values, max_size=4)


blobs = objects(["mimeType", "data", "file_uri", "fileUri", "name", "id", "args", "response", "parts"], json_values)
part_keys = ["text", "thought", "thoughtSignature", "inlineData", "file_data", "functionCall", "functionResponse", "x"]
parts = objects(part_keys, json_values | blobs) | json_values
contents = st.lists(objects(["role", "parts"], json_values | st.lists(parts, max_size=3)) | json_values, max_size=3)
setting_keys = [
    "temperature",
    "topK",
    "thinkingConfig",
    "responseMimeType",
    "responseSchema",
    "stopSequences",
    "_format",
]
settings_ = objects(setting_keys, json_values | st.just("application/json")) | json_values
declarations = objects(["name", "parameters", "parametersJsonSchema", "description"], json_values)
tools = (
    objects(["functionDeclarations", "googleSearch"], json_values | st.lists(declarations, max_size=2)) | json_values
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "contents": contents,
        "systemInstruction": json_values | objects(["parts"], st.lists(parts, max_size=2)),
        "generationConfig": settings_,
        "tools": json_values | st.lists(tools, max_size=2),
        "toolConfig": json_values,
        "labels": json_values,
        "serviceTier": json_values,
        "_tool_config": json_values,
        "": json_values,
    },
)


@settings(max_examples=400, deadline=None)
@given(body=bodies)
def test_no_body_raises_anything_but_invalid_request(body):
    raw = json.dumps({"contents": HI, **body}).encode()
    try:
        outline = GEMINI.outline(raw)
        GEMINI.patch_request(outline, "gemini-3-pro-preview", "high")
    except InvalidRequest:
        pass
    try:
        request = GEMINI.decode_request(raw)
    except InvalidRequest:
        return
    assert json.loads(GEMINI.encode_request(request).body)["contents"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a":\xff}', b"[" * 5000, b'{"contents":' + b"[" * 5000])
def test_broken_bodies_are_told(body):
    for read_it in (GEMINI.outline, GEMINI.decode_request):
        with pytest.raises(InvalidRequest):
            read_it(body)


def test_deep_nesting_is_told():
    deep = b'{"contents":[{"parts":[{"text":"a"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":'
    deep += b'{"items":' * 900 + b"{}" + b"}" * 900 + b"}]}]}"
    with pytest.raises(InvalidRequest):
        GEMINI.decode_request(deep)
