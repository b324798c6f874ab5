"""YAML as plain data, and what hostile YAML does: nothing."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InvalidRequest
from turnout.newcomer.litellm.reading import MAX_BYTES, read_yaml

NINE = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))
MERGED = "\n".join(f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 9)}]" for n in range(1, 10))

HOSTILE = {
    "object": b"a: !!python/object/apply:os.system ['touch owned']",
    "name": b"!!python/name:os.system",
    "laughs": b"a0: &a0 [x, x, x]\n" + NINE.encode(),
    "merges": b"m0: &m0 {k: v}\n" + MERGED.encode(),
    "itself": b"a: &a [*a]",
    "deep": b"a: " + b"[" * 5_000,
    "deep flow": b"{a: " * 300 + b"1" + b"}" * 300,
    "huge": b"a" * (MAX_BYTES + 1),
    "number": b"a: " + b"9" * 10_000,
    "date": b"a: 2024-13-45",
    "bytes": b"a: \xff\xfe",
    "control": b"a: \x00",
    "many": b"a: 1\n---\nb: 2",
    "list": b"- a",
    "text": b"hello",
    "nothing": b"",
    "unhashable": b"{[a]: b, {c: d}: e}",
    "tab": b"a:\n\t- b",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_one_sentence(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        read_yaml(data)
    assert time.process_time() - began < 20, "seconds of CPU: it cannot keep us busy"
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_told(data):
    with contextlib.suppress(InvalidRequest):
        assert isinstance(read_yaml(data), dict)


def test_what_is_wrong_names_the_line_and_tells_no_value():
    with pytest.raises(InvalidRequest, match="line 3") as told:
        read_yaml(b"model_list:\n  - api_key: 'sk-secret\n")
    assert "sk-secret" not in told.value.message


def test_anchors_and_merges_of_a_usual_size_are_read():
    told = read_yaml(b"base: &b {rpm: 6}\nmodel_list:\n  - <<: *b\n    model: x\n  - *b\n")
    assert told["model_list"] == [{"rpm": 6, "model": "x"}, {"rpm": 6}]


def test_json_is_read_without_a_yaml_library():
    assert read_yaml(b'{"model_list": []}') == {"model_list": []}
