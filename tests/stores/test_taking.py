"""Who follows what a ledger takes, and what is said of rows that it lost."""

from __future__ import annotations

import logging

import pytest

from support.random_rows import rows
from turnout.stores.taking import Followers, Losses


def test_who_follows_is_told_what_is_taken_from_then_until_it_asks() -> None:
    before, both, second_alone, after = rows(50, 4)
    followers = Followers()
    followers.tell(before)
    first = followers.follow()
    second = followers.follow()
    followers.tell(both)
    heard = first()
    followers.tell(second_alone)
    assert second() == [both, second_alone]
    followers.tell(after)
    assert heard == [both]


def test_losses_are_counted_and_said_once_beside_their_cause(caplog: pytest.LogCaptureFixture) -> None:
    losses = Losses("here", logging.getLogger("turnout.test"))
    for again in (False, True):
        losses.say("the disk is full; make room.", again=again)
    for _ in range(3):
        losses.drop(2, "too many rows wait")
    assert losses.rows == 6
    assert losses.last_error == "the disk is full; make room. Rows of the ledger are lost: too many rows wait."
    assert [record.getMessage() for record in caplog.records] == [
        "the disk is full; make room.",
        "rows of the ledger here are lost: too many rows wait",
    ]
    losses.say("the disk is gone; mount it.", again=True)
    assert losses.last_error == "the disk is gone; mount it. Rows of the ledger are lost: too many rows wait."
