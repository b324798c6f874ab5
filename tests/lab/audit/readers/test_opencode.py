"""Sessions of OpenCode: files and database tell the same; each call of a message counts; forks do not."""

import json
import sqlite3

import pytest

from support.audit import LOGS, counts, logs, read, words
from turnout.chat import Image, ToolResult
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.opencode import OPENCODE

STORAGE = LOGS / "opencode" / "storage"

# packages/opencode/src/session/session.sql.ts, as far as it matters here
SCHEMA = """
CREATE TABLE `session` (`id` text PRIMARY KEY, `project_id` text NOT NULL, `parent_id` text, `directory` text NOT NULL);
CREATE TABLE `message` (`id` text PRIMARY KEY, `session_id` text NOT NULL, `time_created` integer NOT NULL,
    `time_updated` integer NOT NULL, `data` text NOT NULL);
CREATE INDEX `message_session_time_created_id_idx` ON `message` (`session_id`, `time_created`, `id`);
CREATE TABLE `part` (`id` text PRIMARY KEY, `message_id` text NOT NULL, `session_id` text NOT NULL,
    `time_created` integer NOT NULL, `time_updated` integer NOT NULL, `data` text NOT NULL);
CREATE INDEX `part_message_id_id_idx` ON `part` (`message_id`, `id`);
"""


@pytest.fixture
def database(tmp_path):
    """The files of `storage` as OpenCode's own migration moves them into its database."""
    path = tmp_path / "opencode.db"
    base = sqlite3.connect(path)
    base.executescript(SCHEMA)
    for file in sorted(STORAGE.rglob("*.json")):
        told = json.loads(file.read_text())
        name, kind, folder = file.stem, file.parent.parent.name, file.parent.name
        time = told.get("time", {}).get("created", 0)
        inner = json.dumps({k: v for k, v in told.items() if k not in {"id", "sessionID", "messageID"}})
        if kind == "session":
            base.execute(
                "INSERT INTO session VALUES (?,?,?,?)", (name, folder, told.get("parentID"), told["directory"])
            )
        elif kind == "message":
            base.execute("INSERT INTO message VALUES (?,?,?,?,?)", (name, folder, time, time, inner))
        else:
            base.execute("INSERT INTO part VALUES (?,?,?,?,?,?)", (name, folder, told["sessionID"], time, time, inner))
    base.commit()
    yield path, base
    base.close()


def main(steps):
    return [step for step in steps if not step.agent]


def test_cached_tokens_stand_beside_the_input_and_each_call_of_a_message_counts():
    steps, _, told = read(OPENCODE, *logs("opencode"))
    assert [counts(step) for step in main(steps)] == [
        (10 + 9000, 0, 9000, 120, 0),
        (4 + 9000 + 300, 9000, 300, 60, 0),  # two calls in one message, which tells the tokens of the last alone
        (5 + 9300 + 200, 9300, 200, 40, 0),
        (100 + 9700, 9700, 0, 700 + 200, 200),  # the total says that reasoning stands beside the output
        None,
    ]
    assert [step.cost_nano_usd for step in main(steps)] == [35_600_000, 5_200_000, 4_900_000, None, None]
    assert (told.lines, told.bad, told.unknown) == (30, 0, {})


@pytest.mark.parametrize(
    ("tokens", "output"),
    [
        ({"input": 5, "output": 90, "reasoning": 60, "total": 95}, 90),
        ({"input": 5, "output": 30, "reasoning": 60, "total": 95}, 90),
        ({"input": 5, "output": 90, "reasoning": 60}, 90),
        ({"input": 5, "output": 30, "reasoning": 60}, 90),
    ],
)
def test_reasoning_is_within_the_output_or_beside_it(tmp_path, tokens, output):
    path = tmp_path / "storage" / "message" / "ses_1" / "msg_1.json"
    path.parent.mkdir(parents=True)
    told = {
        "id": "msg_1",
        "sessionID": "ses_1",
        "role": "assistant",
        "tokens": {**tokens, "cache": {"read": 0, "write": 0}},
    }
    path.write_text(json.dumps(told))
    (step,), _, _ = read(OPENCODE, path)
    assert (step.usage.output, step.usage.reasoning) == (output, 60)


def test_what_the_steps_say():
    steps = main(read(OPENCODE, *logs("opencode"))[0])
    assert words(steps[0].new) == ["Fix the failing test"]
    assert any(isinstance(part, Image) for part in steps[0].new[0].parts)
    results = [part for part in steps[1].new[0].parts if isinstance(part, ToolResult)]
    assert [(one.call_id, one.is_error) for one in results] == [("toolu_01", False), ("toolu_02", True)]
    assert [(step.model, step.provider, step.effort) for step in steps[:1]] == [
        ("claude-sonnet-4-5", "anthropic", "high")
    ]
    assert [step.failed for step in steps] == [False] * 4 + [True]
    assert [step.compacted for step in steps] == [False] * 4 + [True]


def test_a_sub_agents_session_belongs_to_its_parents():
    steps, _, _ = read(OPENCODE, *logs("opencode"))
    (kid,) = (step for step in steps if step.agent)
    assert (kid.session, kid.agent) == ("ses_469cf929cffeBICghRNeI7BWy6", "ses_469cf929cffeBICghRNeI7BKid")
    assert kid.project == "my-app"


def test_the_database_tells_what_the_files_told(database):
    path, _ = database
    from_files = sorted(read(OPENCODE, *logs("opencode"))[0], key=lambda step: (step.agent, step.at, step.id))
    steps, _, told = read(OPENCODE, path)
    assert sorted(steps, key=lambda step: (step.agent, step.at, step.id)) == from_files
    assert told.bad == 0
    assert OPENCODE.claims(head_of(path))


def test_a_database_in_use_is_read_with_its_log_and_left_as_it_is(database):
    path, base = database
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("UPDATE message SET data = json_set(data, '$.tokens.output', 121) WHERE id = 'msg_002'")
    base.commit()
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    assert "opencode.db-wal" in before
    steps, _, _ = read(OPENCODE, path, path.with_name("opencode.db-wal"))
    assert main(steps)[0].usage.output == 121
    assert {f.name: f.read_bytes() for f in path.parent.iterdir() if not f.name.endswith("-shm")} == before


def test_copies_in_a_forked_session_have_the_names_of_what_they_copy(database):
    path, base = database
    base.execute(
        "INSERT INTO session SELECT 'ses_fork', project_id, NULL, directory FROM session WHERE parent_id IS NULL"
    )
    base.execute(
        "INSERT INTO message SELECT 'fork_' || id, 'ses_fork', time_created, time_updated, data FROM message "
        "WHERE session_id = 'ses_469cf929cffeBICghRNeI7BWy6' AND id < 'msg_006'"
    )
    base.execute(
        "INSERT INTO part SELECT 'fork_' || id, 'fork_' || message_id, 'ses_fork', 0, 0, data FROM part "
        "WHERE message_id < 'msg_006'"
    )
    base.commit()
    steps, _, _ = read(OPENCODE, path)
    forked = [step.id for step in steps if step.session == "ses_fork"]
    assert forked == [step.id for step in main(steps) if step.session != "ses_fork"][:4]


def test_the_tables_of_version_two(tmp_path):
    path = tmp_path / "opencode-next.db"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE session_message (id text, session_id text, type text, time_created integer, data text)")
    answer = {
        "agent": "build",
        "model": {"id": "gpt-5.2", "providerID": "openai", "variant": "low"},
        "content": [
            {"type": "reasoning", "id": "r", "text": "Hm."},
            {
                "type": "tool",
                "id": "c1",
                "name": "bash",
                "state": {
                    "status": "completed",
                    "input": {"command": "ls"},
                    "content": [{"type": "text", "text": "a.py"}],
                },
            },
        ],
        "cost": 0.5,
        "tokens": {"input": 1, "output": 2, "reasoning": 3, "cache": {"read": 4, "write": 0}},
        "time": {"created": 1770000000000, "completed": 1770000001000},
    }
    rows = [("a", "user", {"text": "Look"}), ("b", "assistant", answer), ("c", "compaction", {"summary": "Looked."})]
    rows += [("d", "model-switched", {}), ("e", "assistant", {**answer, "content": []})]
    for number, (name, kind, data) in enumerate(rows):
        base.execute("INSERT INTO session_message VALUES (?,'s',?,?,?)", (name, kind, number, json.dumps(data)))
    base.commit()
    base.close()
    steps, _, told = read(OPENCODE, path)
    assert [counts(step) for step in steps] == [(5, 4, 0, 5, 3)] * 2
    assert words(steps[0].new) == ["Look"]
    assert words(steps[1].new) == ["a.py", "Looked."]
    assert (steps[0].effort, steps[1].compacted, told.unknown) == ("low", True, {})


def test_what_sqlite_cannot_read_is_told(tmp_path, database):
    path, _ = database
    whole = path.read_bytes()
    for number, data in enumerate((whole[:5000], whole[:100] + b"\x00" * 4000 + whole[4100:], b"SQLite format 3\x00")):
        bad = tmp_path / f"opencode-{number}.db"
        bad.write_bytes(data)
        assert read(OPENCODE, bad)[2].bad == 1


def test_strange_kinds_and_parts_without_their_message_are_told(tmp_path):
    root = tmp_path / "storage"
    for name, told in {
        "message/s/msg_1.json": {"role": "oracle", "sessionID": "s"},
        "message/s/msg_2.json": {"role": "assistant", "sessionID": "s"},
        "part/msg_2/prt_1.json": {"type": "hologram"},
        "part/msg_9/prt_2.json": {"type": "text", "text": "lost"},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(told))
    _, _, told = read(OPENCODE, *sorted(root.rglob("*.json")))
    assert told.unknown == {"message of role oracle": 1, "part of type hologram": 1, "part without its message": 1}
