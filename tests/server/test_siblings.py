"""Workers that are one page: what each counted is added up, and no sum falls when one dies and is started again."""

import os
import signal

from turnout.server.siblings import STALE_S, Siblings, Slots
from turnout.telemetry.snapshot import Snapshot, merged, past

AMONG = {"open": "sum", "well": "min", "spent": "max"}


def counted(at_s, requests, *, open_now=0, well=1, spent=0.0):
    return Snapshot(
        at_s=at_s,
        counters={"requests": {("ok",): requests}},
        gauges={"open": {(): open_now}, "well": {(): well}, "spent": {("team",): spent}},
        timings={"whole": {("m",): ([requests, 0], requests * 0.5)}},
    )


def test_counters_and_histograms_add_up_and_gauges_as_they_mean():
    board = Slots(2)
    one, two = Siblings(board, 0, AMONG), Siblings(board, 1, AMONG)
    two.tell(counted(10.0, 4, open_now=2, well=0, spent=1.5))
    told = one.together(counted(11.0, 3, open_now=1, spent=1.0))
    assert told.counters == {"requests": {("ok",): 7}}
    assert told.timings == {"whole": {("m",): ([7, 0], 3.5)}}
    assert told.gauges == {"open": {(): 3}, "well": {(): 0}, "spent": {("team",): 1.5}}
    assert two.together(counted(11.0, 4)).counters == told.counters


def test_who_takes_a_slot_takes_on_what_was_counted_in_it():
    board = Slots(2)
    one = Siblings(board, 0, AMONG)
    Siblings(board, 1, AMONG).tell(counted(10.0, 4, open_now=9))
    again = Siblings(board, 1, AMONG)
    again.tell(counted(12.0, 1))
    told = one.together(counted(12.0, 0))
    assert (told.counters["requests"]["ok",], told.gauges["open"][()]) == (5, 0)


def test_a_worker_that_is_not_heard_of_keeps_its_counts_and_loses_its_gauges():
    board = Slots(2)
    Siblings(board, 1, AMONG).tell(counted(10.0, 4, open_now=9))
    told = Siblings(board, 0, AMONG).together(counted(10.0 + STALE_S, 1, open_now=1))
    assert (told.counters["requests"]["ok",], told.gauges["open"][()]) == (5, 1)


def test_too_much_to_note_leaves_what_was_noted_before():
    board = Slots(1, half=100)
    assert board.write(0, b"few")
    assert not board.write(0, b"x" * 93)
    assert board.read(0) == b"few"
    assert board.write(0, b"y" * 92)
    assert board.read(0) == b"y" * 92


def test_what_the_dead_leave_is_bounded_and_their_total_stays():
    left = Snapshot(at_s=1.0, counters={"requests": {(f"n{n}", "x"): 1 for n in range(50)}})
    kept = past(left, most=10).counters["requests"]
    assert (len(kept), sum(kept.values()), kept["other", "other"]) == (11, 50, 40)
    again = past(
        merged([past(left, most=10), Snapshot(at_s=2.0, counters={"requests": {("new", "x"): 1}})], {}), most=10
    )
    assert sum(again.counters["requests"].values()) == 51


def test_a_reader_never_sees_half_of_what_a_killed_writer_wrote():
    board = Slots(1)
    writer = os.fork()
    if not writer:
        n = 0
        while True:
            board.write(0, bytes([n % 256]) * 100_000)
            n += 1
    try:
        while board.read(0) is None:
            pass
        seen = [board.read(0) for _ in range(300)]
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    whole = [told for told in (*seen, board.read(0)) if told is not None]
    assert whole
    assert all(len(set(told)) == 1 and len(told) == 100_000 for told in whole)
