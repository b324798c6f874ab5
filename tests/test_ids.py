"""Names differ, have the length that is told, and those that say when are in order."""

from turnout.ids import DRAWN_BYTES, Ids


def test_no_name_comes_twice():
    ids = Ids()
    names = [ids.hex(8) for _ in range(DRAWN_BYTES)]
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {16}


def test_two_that_were_made_apart_give_different_names():
    assert Ids().hex(8) != Ids().hex(8)


def test_later_names_are_greater(monkeypatch):
    times = iter(1_790_000_000.0 + n / 10 for n in range(50))
    monkeypatch.setattr("time.time", lambda: next(times))
    ids = Ids()
    names = [ids.ordered() for _ in range(50)]
    assert names == sorted(names)
    assert {len(name) for name in names} == {24}
    assert len({name[10:] for name in names}) == 50
