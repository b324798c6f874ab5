"""The spool: what is written outlives the process, and comes back once its owner is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import turnout
from turnout.stores import spool as room
from turnout.stores.spool import Spool, left_by, left_by_lone, left_to

HEAD = b'{"row":["a"]}'


def adopted(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while (segment := spool.adopt()) is not None:
        head, records = segment.read()
        assert head == HEAD
        found += records
        spool.shipped(segment, len(records))
    return found


def test_what_is_shipped_is_gone_and_the_rest_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", HEAD)
    segments = [spool.write(b"record %d" % n) for n in range(10)]
    assert (spool.waiting, spool.taking) == (10, True)
    segment = segments[0]
    assert segment is not None
    spool.shipped(segment, 9)
    spool.close()
    later = Spool(tmp_path / "spool", HEAD)
    assert adopted(later) == [b"record %d" % n for n in range(10)]  # a segment goes as a whole
    assert adopted(later) == []
    later.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_segment_that_is_all_shipped_begins_anew(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEAD)
    empty = spool.bytes
    for _ in range(5):
        segment = spool.write(b"x" * 1_000)
        assert segment is not None
        spool.shipped(segment, 1)
        assert (spool.bytes, spool.waiting) == (empty, 0)
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()


def test_segments_turn_and_go_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SEGMENT_BYTES", 1_000)
    spool = Spool(tmp_path, HEAD)
    written = [spool.write(b"x" * 300) for _ in range(12)]
    assert len(list(tmp_path.glob("*.spool"))) == 3
    for segment in written[:8]:
        assert segment is not None
        spool.shipped(segment, 1)
    assert len(list(tmp_path.glob("*.spool"))) == 1
    spool.close()


def test_one_that_lives_keeps_its_own(tmp_path: Path) -> None:
    mine, theirs = Spool(tmp_path, HEAD), Spool(tmp_path, HEAD)
    mine.write(b"mine")
    theirs.write(b"theirs")
    assert mine.adopt() is None
    theirs.close()
    assert adopted(mine) == [b"theirs"]
    mine.close()


def test_what_a_killed_process_left_comes_back(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom turnout.stores.spool import Spool\n"
        'spool = Spool(Path(sys.argv[1]), b\'{"row":["a"]}\')\n'
        "for n in range(1000):\n    spool.write(b'record %d' % n)\n"
        "os._exit(9)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(turnout.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=False).returncode == 9
    spool = Spool(tmp_path, HEAD)
    assert spool.bytes > 10_000  # theirs count to the bound
    assert adopted(spool) == [b"record %d" % n for n in range(1_000)]
    spool.close()


@pytest.mark.parametrize("cut", [1, 5, 9, 15])
def test_half_a_record_at_the_end_is_passed_over(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path, HEAD)
    for n in range(10):
        spool.write(b"record %d" % n)
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    os.truncate(file, file.stat().st_size - cut)
    later = Spool(tmp_path, HEAD)
    assert adopted(later) == [b"record %d" % n for n in range(9)]
    later.close()


def test_a_damaged_record_ends_what_is_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEAD)
    for n in range(10):
        spool.write(b"record %d" % n)
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    later = Spool(tmp_path, HEAD)
    assert len(adopted(later)) == 9
    later.close()


def test_it_is_bounded_and_takes_again_when_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SEGMENT_BYTES", 1_000)
    spool = Spool(tmp_path, HEAD, most_bytes=5_000)
    kept = [segment for _ in range(100) if (segment := spool.write(b"x" * 200)) is not None]
    assert 15 < len(kept) < 25
    assert not spool.taking
    assert "is full (store.spool_mb)" in (spool.error or "")
    for segment in kept:
        spool.shipped(segment, 1)
    assert (spool.taking, spool.error, spool.waiting) == (True, None, 0)
    assert spool.write(b"again") is not None
    spool.close()


def test_a_disk_that_fails_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", HEAD)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room.os, "write", full)
    assert spool.write(b"lost") is None
    assert not spool.taking
    assert "cannot be written: No space left on device; check the disk of store.folder" in (spool.error or "")
    spool.revive()
    assert not spool.taking
    monkeypatch.undo()
    spool.revive()
    assert spool.taking
    assert spool.write(b"kept") is not None
    spool.close()


def test_records_that_are_in_nobodys_memory_come_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEAD)
    segment = spool.write(b"in memory")
    assert segment is not None
    spool.write(b"not in memory", spilled=True)
    assert spool.spilled() is None  # the first is not shipped yet
    spool.shipped(segment, 1)
    found = spool.spilled()
    assert found is segment
    assert found.read()[1] == [b"in memory", b"not in memory"]
    spool.write(b"later")
    spool.shipped(found, 2)
    assert spool.waiting == 1
    spool.close()


def test_what_is_read_again_is_behind_until_it_is_shipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEAD)
    first, second = spool.write(b"in memory"), spool.write(b"not in memory", spilled=True)
    assert first is second
    assert first is not None
    assert spool.backlog() == {first}
    assert spool.write(b"later", spilled=True) is not first
    spool.shipped(first, 1)
    assert spool.spilled() is first
    first.read()
    assert first in spool.backlog()
    assert spool.holds(first)
    spool.shipped(first, 2)
    assert first not in spool.backlog()
    assert not spool.holds(first)
    spool.close()


def test_a_segment_that_cannot_be_read_is_left_and_found_again_later(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEAD)
    spool.write(b"kept", spilled=True)
    segment = spool.spilled()
    assert segment is not None
    spool.put_aside(segment)
    assert spool.spilled() is None
    assert spool.adopt() is None
    spool._aside_until_s = dict.fromkeys(spool._aside_until_s, 0.0)  # a minute later
    assert adopted(spool) == [b"kept"]
    spool.close()


def test_the_smallest_spool_takes_records(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEAD, most_bytes=1 << 20)
    assert spool.taking
    assert spool.write(b"x" * 1_000) is not None
    assert spool.taking
    spool.close()


def test_whose_records_wait_is_told_by_the_owners_whole_name(tmp_path: Path) -> None:
    for owner in ("gw", "gw.1", "gw.1", "alone-a"):
        left = Spool(tmp_path, HEAD, owner=owner)
        left.write(b"record")
        left.close()
    assert [left_by(tmp_path, owner) for owner in ("gw", "gw.1", "g")] == [1, 2, 0]
    assert (left_to(tmp_path, "gw"), left_by_lone(tmp_path)) == (3, 1)
