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


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [(os, "pwrite", "No space left on device"), (mmap, "mmap", "Cannot allocate memory")],
    ids=["no room", "no pages"],
)
def test_where_it_cannot_grow_nothing_is_written_and_the_old_pages_serve_on(tmp_path, monkeypatch, module, name, why):
    pages = Pages(opened(tmp_path / "p"))
    pages.append(b"first\n")

    def none(*_):
        raise OSError(0, why)

    monkeypatch.setattr(module, name, none)
    with pytest.raises(OSError, match=why):
        pages.append(bytes(GROWN_BYTES))
    pages.append(b"second\n")
    monkeypatch.undo()
    assert (tmp_path / "p").read_bytes().rstrip(b"\0") == b"first\nsecond\n"
    pages.close()
