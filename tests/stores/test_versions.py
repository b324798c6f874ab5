"""Versions of a model on disk: whole or not at all, used at once, and taken back."""

import pytest

from turnout.errors import ConfigError
from turnout.stores.versions import Versions


def test_the_newest_is_used_and_the_one_before_comes_back(tmp_path):
    versions = Versions(tmp_path / "models")
    assert (versions.current, versions.read(), versions.listing()) == (None, None, [])
    assert [versions.put(b"one"), versions.put(b"two")] == [1, 2]
    assert (versions.current, versions.read()) == (2, b"two")
    assert versions.roll_back() == 1
    assert (versions.current, versions.read(), versions.read(2)) == (1, b"one", b"two")
    with pytest.raises(ConfigError, match="no version before 1"):
        versions.roll_back()
    assert versions.put(b"three") == 3, "numbers are not used again"
    assert [(v.number, v.size, v.current) for v in versions.listing()] == [(1, 3, False), (2, 3, False), (3, 5, True)]


def test_one_may_be_kept_without_being_used(tmp_path):
    versions = Versions(tmp_path)
    versions.put(b"one")
    assert versions.put(b"two", use=False) == 2
    assert versions.read() == b"one"
    versions.use(2)
    assert versions.read() == b"two"
    with pytest.raises(ConfigError, match="no version 9; there are: 1, 2"):
        versions.use(9)


def test_another_process_sees_it_at_once_and_half_a_file_is_never_seen(tmp_path):
    writer, reader = Versions(tmp_path), Versions(tmp_path)
    writer.put(b"one")
    assert reader.read() == b"one"
    (tmp_path / "v000002.model.part").write_bytes(b"tw")  # a crash in mid-writing
    assert (reader.current, writer.put(b"two"), reader.read()) == (1, 2, b"two")


def test_old_ones_go_but_not_the_one_in_use(tmp_path):
    versions = Versions(tmp_path, keep=2)
    versions.put(b"0")
    for number in range(5):
        versions.put(b"%d" % number, use=False)
    assert [v.number for v in versions.listing()] == [1, 5, 6]
    assert versions.read() == b"0"


def test_a_lost_file_is_no_version_and_a_folder_that_is_none_is_said(tmp_path):
    versions = Versions(tmp_path)
    versions.put(b"one")
    (tmp_path / "v000001.model").unlink()
    assert (versions.current, versions.read()) == (None, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="who may write there"):
        Versions(tmp_path / "file").put(b"x")
