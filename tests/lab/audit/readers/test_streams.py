"""Big documents by element: the pieces are those of the file, memory stays small, damage is told."""

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.lab.audit.readers import streams
from turnout.lab.audit.readers.streams import elements_of
from turnout.lab.audit.records import ReadTally

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def elements(path, **wanted):
    told = ReadTally()
    return [(key, number, json.loads(raw)) for key, number, raw in elements_of(path, told, **wanted)], told


def test_a_list_comes_element_by_element(tmp_path):
    path = tmp_path / "list.json"
    path.write_text('[1, {"a": [1, "]"]}, "\\"[", [], null, -2.5e3]\n')
    found, told = elements(path)
    assert found == [("", i, v) for i, v in enumerate([1, {"a": [1, "]"]}, '"[', [], None, -2500.0])]
    assert (told.lines, told.bad) == (6, 0)


def test_of_an_object_what_was_asked_for_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "object.json"
    path.write_text(
        json.dumps({"skip": [[{}]], "rows": [{"n": 1}, {"n": 2}], "info": {"rows": [0]}, "x": "]}"}, indent=1)
    )
    found, told = elements(path, lists=("rows",), members=("info",))
    assert found == [("rows", 0, {"n": 1}), ("rows", 1, {"n": 2}), ("info", None, {"rows": [0]})]
    assert told.bad == 0


def test_a_member_that_should_be_a_list_and_is_none_comes_whole(tmp_path):
    path = tmp_path / "odd.json"
    path.write_text('{"rows": "none"}')
    assert elements(path, lists=("rows",))[0] == [("rows", None, "none")]


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(JSON, max_size=6), other=JSON, chunk=st.integers(1, 40), indent=st.sampled_from([None, 2]))
def test_however_the_file_is_cut_into_chunks_the_elements_are_the_same(tmp_path_factory, rows, other, chunk, indent):
    path = tmp_path_factory.mktemp("cut") / "x.json"
    path.write_text(json.dumps({"other": other, "rows": rows, "last": other}, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK", chunk)
        found, told = elements(path, lists=("rows",), members=("last",))
    assert found == [("rows", i, row) for i, row in enumerate(rows)] + [("last", None, other)]
    assert told.bad == 0


def test_memory_does_not_grow_with_what_is_stepped_over(tmp_path):
    path = tmp_path / "big.json"
    with path.open("w") as file:
        file.write('{"skipped": ["' + "x" * 30_000_000 + '"], "deep": ' + "[" * 100_000 + "]" * 100_000)
        file.write(', "rows": [' + ", ".join(f'{{"n": {n}}}' for n in range(20_000)) + "]}")
    tracemalloc.start()
    told = ReadTally()
    assert sum(1 for _ in elements_of(path, told, lists=("rows",))) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert told.bad == 0


def test_an_element_that_is_too_long_is_told_and_the_others_come(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "LONGEST_ELEMENT", 2**20)
    path = tmp_path / "long.json"
    path.write_text(json.dumps([1, "x" * (2**20 + 10), [["y" * (2**20)]], 2]))
    found, told = elements(path)
    assert [value for _, _, value in found] == [1, 2]
    assert told.bad == 2
    assert told.first_error == "long.json byte 4: longer than 1 MiB, skipped"


@pytest.mark.parametrize(
    ("text", "found", "error"),
    [
        ('[{"a": 1}, {"a": ', 1, "the file ends in the middle"),
        ("[1, 2", 1, "the file ends in the middle"),
        ("[1, }", 1, "was not expected"),
        ('{"rows": [1], 5: 2}', 1, "a member's name was expected"),
        ('{"rows" [1]}', 0, "a colon was expected"),
        ('{"\\ud800": [1]}', 0, "a member's name cannot be read"),
        ("[1] [2]", 1, "something follows the document"),
        ("", 0, "the file ends in the middle"),
        ("\x00\x01", 0, "neither an object nor a list"),
        ("[" * 100_000, 0, "the file ends in the middle"),
    ],
)
def test_what_is_damaged_is_told_with_its_place(tmp_path, text, found, error):
    path = tmp_path / "bad.json"
    path.write_text(text)
    told = ReadTally()
    assert len(list(elements_of(path, told, lists=("rows",)))) == found
    assert told.bad == 1
    assert error in told.first_error
    assert told.first_error.startswith("bad.json byte")


def test_a_gzip_file_that_is_cut_off_or_damaged(tmp_path):
    whole = gzip.compress(json.dumps([{"n": n} for n in range(50_000)]).encode())
    for number, data in enumerate((whole[:-2000], whole[:100] + b"\xff" * 50 + whole[150:])):
        path = tmp_path / f"{number}.json.gz"
        path.write_bytes(data)
        told = ReadTally()
        assert len(list(elements_of(path, told))) < 50_000
        assert told.bad == 1


def test_a_file_that_is_not_there_raises_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(elements_of(tmp_path / "none.json", ReadTally()))
