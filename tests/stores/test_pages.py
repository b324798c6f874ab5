"""What is written to a file's pages outlives the process, and a full disk is told of before anything is written."""

import mmap
import os
import subprocess
import sys

import pytest

from turnout.stores.pages import GROWN_BYTES, Pages


def opened(path):
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


def test_lines_stand_one_behind_another_and_zeros_behind_them(tmp_path):
    pages = Pages(opened(tmp_path / "p"))
    for number in range(3):
        pages.append(b"line %d\n" % number)
    told = (tmp_path / "p").read_bytes()
    assert told.rstrip(b"\0") == b"line 0\nline 1\nline 2\n"
    assert len(told) == GROWN_BYTES
    pages.close()


def test_it_grows(tmp_path):
    pages = Pages(opened(tmp_path / "p"))
    whole = os.urandom(GROWN_BYTES - 1) + b"1"
    pages.append(whole)
    pages.append(whole)
    pages.append(b"2")
    assert pages.size == 2 * GROWN_BYTES + 1
    assert (tmp_path / "p").read_bytes().rstrip(b"\0") == whole + whole + b"2"
    pages.close()


def test_a_process_that_is_killed_leaves_all_it_wrote(tmp_path):
    code = (
        "import os, signal, sys; from turnout.stores.pages import Pages\n"
        "pages = Pages(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT))\n"
        "for n in range(1000): pages.append(b'%d\\n' % n)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")], check=False)
    assert (tmp_path / "p").read_bytes().rstrip(b"\0").split() == [b"%d" % n for n in range(1000)]


def test_where_there_is_no_room_nothing_is_written(tmp_path, monkeypatch):
    pages = Pages(opened(tmp_path / "p"))
    pages.append(b"first\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        pages.append(bytes(GROWN_BYTES))
    monkeypatch.undo()
    pages.append(b"second\n")
    assert (tmp_path / "p").read_bytes().rstrip(b"\0") == b"first\nsecond\n"
    pages.close()


def test_where_no_new_pages_are_to_be_had_the_old_ones_serve_on(tmp_path, monkeypatch):
    pages = Pages(opened(tmp_path / "p"))
    pages.append(b"first\n")

    def none(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", none)
    with pytest.raises(OSError, match="Cannot allocate"):
        pages.append(bytes(GROWN_BYTES))
    pages.append(b"second\n")
    monkeypatch.undo()
    assert (tmp_path / "p").read_bytes().rstrip(b"\0") == b"first\nsecond\n"
    pages.close()
