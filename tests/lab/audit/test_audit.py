"""The audit as a whole: folders of logs to a report, side by side in processes, and what is written of it."""

import json
import tomllib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.resources import files
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from turnout.config import load_config
from turnout.errors import InvalidRequest
from turnout.lab.audit.build import build_report
from turnout.lab.audit.reading import read_all
from turnout.lab.audit.recommend import recommended
from turnout.lab.audit.report import Report
from turnout.lab.audit.screen import show
from turnout.lab.audit.sources import find, usual_places
from turnout.lab.audit.whatif import otherwise

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def session(name, *steps, model="gpt-4.1", outcome=None):
    return json.dumps({"id": name, "model": model, "outcome": outcome, "bench": "shop", "steps": list(steps)})


def turn(text, total=None, cached=0, at=0):
    usage = None if total is None else {"input": total, "cached": cached, "output": 100, "reasoning": 40}
    stamp = f"2026-06-01T10:{at:02d}:00+00:00"
    add = [{"role": "user", "content": text}]
    return {"add": add, "out": {"role": "assistant", "content": "ok"}, "usage": usage, "ts": stamp}


def audited(*paths: Path, pool=None, with_text=False) -> Report:
    found = find(paths)
    with pool or ThreadPoolExecutor(1) as workers:
        reading = read_all(found, workers, 1, lambda _: None, keep_text=with_text)
    measured = [track for track in reading.tracks if not track.estimated]
    priced = otherwise(measured or reading.tracks)
    return build_report(reading, found.strange, priced, assumed=not measured, now=NOW, with_text=with_text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text(
        session(
            "one", turn("secret words", 20_000), turn("b", 21_000, 4_000, 1), turn("c", 22_000, 21_000, 30), outcome=0
        )
        + "\nno json at all\n"
    )
    below = tmp_path / "deep"
    below.mkdir()
    (below / "b.jsonl").write_text(session("two", turn("q", 500), model="nobody-knows") + "\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path


def test_a_folder_becomes_a_report(folder: Path):
    report = audited(folder)
    total = report.totals
    assert (total.sessions, total.conversations, total.calls) == (2, 2, 4)
    assert (total.input_tokens, total.cache_read_tokens, total.output_tokens) == (63_500, 25_000, 400)
    assert total.reasoning_tokens == 160
    # gpt-4.1: 2 USD a million, 0.50 read, 8 out.
    assert total.cost_usd == pytest.approx((38_000 * 2 + 25_000 * 0.5 + 300 * 8) / 1e6)
    assert total.unpriced_calls == 1
    assert [row.model for row in report.models] == ["openai/gpt-4.1", "nobody-knows"]
    assert [(row.project, row.calls) for row in report.projects] == [("shop", 4)]
    assert (report.unknown_files, report.unknown_names) == (1, ("picture.png",))
    assert report.sources[0].bad == 1
    assert report.sources[0].first_error.startswith("a.jsonl line 2")
    assert [(miss.reason, miss.calls) for miss in report.cache.misses] == [("only system text and tools read", 1)]
    assert report.month.days == 1


def test_processes_and_threads_read_the_same(folder: Path):
    processes = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    assert msgspec.json.encode(audited(folder, pool=processes)) == msgspec.json.encode(audited(folder))


def test_no_text_is_written_unless_asked_for(folder: Path):
    told = msgspec.json.encode(audited(folder)).decode()
    assert "secret words" not in told
    assert '"one"' not in told
    assert str(folder) not in told
    open_ = audited(folder, with_text=True)
    assert {s.opening for s in open_.sessions} == {"secret words", "q"}
    assert {s.id for s in open_.sessions} == {"one", "two"}


def test_what_if_begins_from_what_was_paid(folder: Path):
    rows = {row.policy: row for row in audited(folder).what_if}
    assert list(rows) == ["paid", "no_cache", "caching_repaired", "session_routing", "brakes", "together"]
    assert rows["paid"].usd == pytest.approx((38_000 * 2 + 25_000 * 0.5 + 300 * 8) / 1e6)
    assert rows["no_cache"].usd == pytest.approx((63_000 * 2 + 300 * 8) / 1e6)
    # The second step could have read 19,968 (156 times 128), the third 20,992 (gpt-4.1 keeps a prefix for a day).
    repaired = (63_000 - 19_968 - 20_992) * 2 + (19_968 + 20_992) * 0.5 + 300 * 8
    assert rows["caching_repaired"].usd == pytest.approx(repaired / 1e6)


def test_logs_without_token_counts_are_estimated_and_said(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(session("s", turn("x" * 400), turn("y" * 400, at=1)))
    report = audited(tmp_path)
    assert report.totals.estimated_calls == 2
    assert {row.basis for row in report.what_if} == {"assumed"}
    assert any("no token counts" in note for note in report.notes)


def test_the_packaged_sessions_give_all_there_is_to_find():
    report = audited(Path(str(files("turnout.lab") / "data")))
    kinds = {finding.kind for finding in report.findings}
    assert {"snowball", "smaller_model", "unused_tools", "month"} <= kinds
    for finding in report.findings:
        assert finding.basis in {"measured", "estimated", "assumed"}
        assert finding.evidence
    costs = [f.saving_usd if f.saving_usd is not None else f.cost_usd or 0 for f in report.findings[:-1]]
    assert costs == sorted(costs, reverse=True)


def test_the_screen_says_the_figures(folder: Path):
    out = StringIO()
    show(audited(folder), Console(file=out, width=110))
    text = out.getvalue()
    assert "4 calls in 2 sessions, 2026-06-01 to 2026-06-01" in text
    assert "openai/gpt-4.1" in text
    assert "1 of 1 judged sessions failed" in text
    assert "picture.png" in text
    assert text.count("\n") <= 100, "two screens"


def test_names_from_logs_are_no_markup(tmp_path: Path):
    line = session("s", turn("x", 9), model="[red]claude\x1b[2J")
    (tmp_path / "a.jsonl").write_text(line)
    out = StringIO()
    show(audited(tmp_path), Console(file=out, width=110))
    assert "[red]claude?[2J" in out.getvalue()


def test_the_recommended_config_loads(folder: Path, tmp_path: Path):
    text = recommended(audited(Path(str(files("turnout.lab") / "data")), folder))
    assert tomllib.loads(text)["routing"]["detours"] is True
    file = tmp_path / "turnout.toml"
    file.write_text(text)
    config = load_config(file, {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"})
    assert config.routing.detours
    assert "company" in config.budgets
    assert config.brakes.max_session_usd


def test_a_session_that_went_on_in_another_file_is_counted_once(tmp_path: Path, monkeypatch):
    from turnout.lab.audit import reading
    from turnout.lab.audit.readers import READERS

    monkeypatch.setattr(reading, "JOB_BYTES", 1)  # a job a file
    traces = next(r for r in READERS if r.name == "traces")

    def named(source, told):
        for event in traces.read(source, told):
            yield msgspec.structs.replace(event, id="answer") if hasattr(event, "id") else event

    monkeypatch.setattr(reading, "READERS", (msgspec.structs.replace(traces, read=named),))
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(session(name, turn("x", 100)))
    report = audited(tmp_path)
    assert (report.totals.calls, report.totals.copies, report.totals.input_tokens) == (1, 1, 100)


def test_a_reader_that_fails_ends_nothing(folder: Path, monkeypatch):
    from turnout.lab.audit import reading
    from turnout.lab.audit.readers import READERS

    def broken(source, told):
        if source.name == "b.jsonl":
            raise ZeroDivisionError
        yield from next(r for r in READERS if r.name == "traces").read(source, told)

    traces = next(r for r in READERS if r.name == "traces")
    monkeypatch.setattr(reading, "READERS", (msgspec.structs.replace(traces, read=broken),))
    report = audited(folder)
    assert report.totals.calls == 3
    assert report.sources[0].bad == 2


def test_usual_places_below_home_and_where_variables_say(tmp_path: Path):
    home, moved = tmp_path / "home", tmp_path / "moved"
    (home / ".claude" / "projects").mkdir(parents=True)
    (moved / "sessions").mkdir(parents=True)
    assert list(usual_places(home, {})) == ["Claude Code sessions"]
    told = usual_places(home, {"CODEX_HOME": f"{tmp_path / 'nowhere'},{moved}", "CLAUDE_CONFIG_DIR": ""})
    assert moved / "sessions" in [path for paths in told.values() for path in paths]
    assert len(told) == 2


def test_a_path_that_is_not_there(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="no file or folder"):
        find([tmp_path / "nowhere"])


def test_the_json_keeps_its_names():
    """Others build on these: a change here is a change of `SCHEMA`."""
    fields = {name: sorted(kind.__struct_fields__) for name, kind in _structs(Report).items()}
    assert fields == json.loads((Path(__file__).parent / "schema.json").read_text())


def _structs(kind, found=None):
    found = {} if found is None else found
    found[kind.__name__] = kind
    for field in msgspec.structs.fields(kind):
        for inner in getattr(field.type, "__args__", (field.type,)):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and inner.__name__ not in found:
                _structs(inner, found)
    return found
