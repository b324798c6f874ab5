"""What binds every reader: it alone claims its files, and whatever is in a file it raises nothing and tells all."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.audit import LOGS, logs
from support.spoiled import keys_of, with_all
from turnout.chat import Usage
from turnout.lab.audit.readers import READERS
from turnout.lab.audit.readers.base import Source, head_of
from turnout.lab.audit.records import Ending, ReadTally, Step

BY_NAME = {reader.name: reader for reader in READERS}
FILES = [(name, path) for name in BY_NAME if (LOGS / name).is_dir() for path in logs(name)]
IDS = [f"{name}:{path.relative_to(LOGS / name)}" for name, path in FILES]
HOSTILE = [
    b"",
    b"\x00" * 300,
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"\xff\xfe\xfd" * 100,
    b"{}",
    b"[]",
    b"[{}]",
    b"null",
    b"1e999999",
    b"[1, 2",
    b'{"messages": {"role": 1}}',
    b"{}\n[]\nnull\n5\n",
    b"SQLite format 3\x00" + b"\x00" * 100,
    b"\x1f\x8b\x08\x00garbage",
]
ABSURD = [None, True, -1, 10**30, 1e308, "x" * 50, "\\ud800", [], {}, [[[]]], {"a": {"b": [None]}}, "NaN", -0.0, 2**63]


def drained(reader, *paths):
    """Reads all; what is told of tokens and money is sane whatever the file says."""
    told = ReadTally()
    count = 0
    for source in reader.group(paths) if reader.group else [Source(paths=(path,)) for path in paths]:
        for event in reader.read(source, told):
            count += 1
            assert isinstance(event, Step | Ending)
            usage = event.usage or Usage()
            numbers = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
            assert all(n is None or (isinstance(n, int) and n >= 0) for n in numbers)
            assert event.cost_nano_usd is None or event.cost_nano_usd >= 0
            assert all(
                isinstance(text, str) for text in (event.session, getattr(event, "model", ""), getattr(event, "id", ""))
            )
    return count, told


@pytest.mark.parametrize(("name", "path"), FILES, ids=IDS)
def test_a_file_is_claimed_by_the_reader_of_its_format_alone(name, path):
    head = head_of(path)
    assert [reader.name for reader in READERS if reader.claims(head)] == [name]


@pytest.mark.parametrize("reader", READERS, ids=BY_NAME)
def test_a_head_that_is_nobodys_is_claimed_by_nobody(reader, tmp_path):
    for number, data in enumerate(HOSTILE):
        path = tmp_path / f"{number}.json"
        path.write_bytes(data)
        assert not reader.claims(head_of(path)), data[:40]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".traj", ".traj.json", ".db"])
@pytest.mark.parametrize("reader", READERS, ids=BY_NAME)
def test_no_hostile_file_makes_a_reader_raise(reader, ending, tmp_path):
    for number, data in enumerate(HOSTILE):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(data)
        drained(reader, path)


def planted(value, spots, rng):
    """A value with absurd ones planted at random places."""
    if rng.random() < spots:
        return rng.choice(ABSURD)
    if isinstance(value, dict):
        return {key: planted(one, spots, rng) for key, one in value.items() if rng.random() > spots / 4}
    if isinstance(value, list):
        return [planted(one, spots, rng) for one in value]
    return value


def mutated(data: bytes, how: str, rng: random.Random) -> bytes:
    if how == "cut":
        return data[: rng.randrange(len(data) + 1)]
    if how == "flipped":
        flipped = bytearray(data)
        for _ in range(rng.randint(1, 20)):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    lines = data.splitlines() if data.count(b"\n{") else [data]
    return b"\n".join(json.dumps(planted(json.loads(line), 0.03, rng)).encode() for line in lines)


TEXTS = [(name, path) for name, path in FILES if path.suffix != ".db"]


@settings(max_examples=150, deadline=None)
@given(
    which=st.integers(0, len(TEXTS) - 1), how=st.sampled_from(["cut", "flipped", "planted"]), seed=st.integers(0, 2**32)
)
def test_mutations_of_real_files_make_no_reader_raise(tmp_path_factory, which, how, seed):
    name, original = TEXTS[which]
    data = original.read_bytes()
    try:
        data = mutated(data, how, random.Random(seed))
    except ValueError:  # a fixture that is not JSON
        return
    folder = tmp_path_factory.mktemp("mutated") / Path(*original.relative_to(LOGS).parts[:-1])
    folder.mkdir(parents=True)
    path = folder / original.name
    path.write_bytes(data)
    reader = BY_NAME[name]
    reader.claims(head_of(path))
    drained(reader, path)


@pytest.mark.parametrize(("name", "original"), TEXTS, ids=[i for i, f in zip(IDS, FILES, strict=True) if f in TEXTS])
def test_an_object_or_a_list_in_place_of_any_field_makes_no_reader_raise(name, original, tmp_path):
    """What a reader looks up in a set or a table must be a word: random mutations find that too seldom."""
    data = original.read_bytes()
    try:
        values = [json.loads(line) for line in (data.splitlines() if data.count(b"\n{") else [data]) if line.strip()]
    except ValueError:  # a fixture that is not JSON
        return
    path = tmp_path / Path(*original.relative_to(LOGS).parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    for key in sorted(keys_of(values)):
        for other in ({}, []):
            path.write_bytes(b"\n".join(json.dumps(with_all(value, key, other)).encode() for value in values))
            drained(BY_NAME[name], path)


@pytest.mark.parametrize(("name", "path"), FILES, ids=IDS)
def test_a_file_that_has_gone_raises_oserror_or_is_told(name, path, tmp_path):
    gone = tmp_path / Path(*path.relative_to(LOGS).parts)
    told = ReadTally()
    try:
        list(BY_NAME[name].read(Source(paths=(gone,)), told))
    except OSError:
        return
    assert told.bad
