"""What binds every reader of flat logs: files claimed by one reader alone, nothing in them fatal, gzip as plain."""

import gzip
import os

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.flatlogs import FIXTURES, read, spoiled
from support.recordings import FIXTURES as RECORDED
from turnout.lab.audit.readers import READERS
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.exchanges import EXCHANGES
from turnout.lab.audit.readers.langfuse import LANGFUSE
from turnout.lab.audit.readers.ledger import LEDGER
from turnout.lab.audit.readers.litellm import LITELLM
from turnout.lab.audit.readers.otel import OTEL
from turnout.spend.ledger import LedgerRow
from turnout.stores.sqlite import SqliteLedger

OURS = {reader.name: reader for reader in (EXCHANGES, LITELLM, OTEL, LANGFUSE)}
FILES = [
    (OURS[folder.name], file)
    for folder in sorted(FIXTURES.iterdir())
    if folder.name in OURS
    for file in sorted(folder.iterdir())
    if file.suffix != ".md"
]
FILES += [(EXCHANGES, next(iter(sorted((RECORDED / api).glob("*.json"))))) for api in ("openai-chat", "gemini")]
IDS = [f"{reader.name}-{file.name[:40]}" for reader, file in FILES]
files = pytest.mark.parametrize(("reader", "file"), FILES, ids=IDS)


def checked(steps):
    for step in steps:
        assert step.session
        usage = step.usage
        counts = (
            [] if usage is None else [getattr(usage, name) for name in ("input", "cache_read", "output", "reasoning")]
        )
        assert all(count is None or 0 <= count <= 10**9 for count in counts)
        assert usage is None or usage.input is None or usage.input >= (usage.cache_read or 0)
        assert step.cost_nano_usd is None or step.cost_nano_usd >= 0
        msgspec.json.encode(step)


@files
def test_a_file_is_claimed_by_its_own_reader_alone(reader, file):
    assert [r.name for r in READERS if r.claims(head_of(file))] == [reader.name]


@files
def test_a_file_is_read_whole(reader, file):
    steps, told = read(reader, file)
    assert steps
    assert told.bad == 0
    assert len({(step.id, step.at) for step in steps}) == len(steps)
    checked(steps)


@files
def test_packed_files_read_the_same(reader, file, tmp_path):
    packed = tmp_path / f"{file.name}.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert reader.claims(head_of(packed))
    assert [step.usage for step in read(reader, packed)[0]] == [step.usage for step in read(reader, file)[0]]


@files
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_in_a_file_is_fatal(reader, file, tmp_path, data):
    path = tmp_path / file.name
    path.write_bytes(data.draw(spoiled(file.read_bytes())))
    head_of(path)
    for other in READERS:
        other.claims(head_of(path))
    checked(read(reader, path)[0])


@pytest.mark.parametrize("reader", [*OURS.values(), LEDGER], ids=lambda reader: reader.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=2_000))
def test_noise_is_told_and_not_fatal(reader, tmp_path, noise):
    path = tmp_path / "noise"
    path.write_bytes(noise)
    steps, _ = read(reader, path)
    checked(steps)


def test_a_packed_file_that_is_damaged_is_told(tmp_path):
    whole = gzip.compress((FIXTURES / "litellm" / "spend_logs.csv").read_bytes())
    for name, data in (("cut.csv.gz", whole[:200]), ("odd.csv.gz", whole[:60] + os.urandom(200) + whole[260:])):
        path = tmp_path / name
        path.write_bytes(data)
        _, told = read(LITELLM, path)
        assert told.bad


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_ledger_is_told_and_not_fatal(tmp_path, data):
    path = tmp_path / "turnout.db"
    if not path.exists():
        store = SqliteLedger(path)
        for n in range(60):
            store.append(
                LedgerRow(
                    request_id=f"r{n}", received_at="2026-11-23T10:00:00.000Z", input_tokens=n, requested_model="m"
                )
            )
        store.flush()
        store.close()
    spoiled_path = tmp_path / "spoiled.db"
    spoiled_path.write_bytes(data.draw(spoiled(path.read_bytes())))
    checked(read(LEDGER, spoiled_path)[0])


def test_a_missing_file_is_an_oserror(tmp_path):
    for reader in (*OURS.values(), LEDGER):
        with pytest.raises(FileNotFoundError):
            read(reader, tmp_path / "nothing")
