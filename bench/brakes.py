"""What the brakes save on recorded agent sessions, and whom they interrupt: python bench/brakes.py FILE.jsonl ...

Session traces, one session a line. Each is replayed step by step as the gateway would see it. Tokens are billed input
plus output: the provider's own figures where recorded, else estimates.

- a loop starts when a call with the same tool, arguments and result has come for the third time in the session;
- saved: the tokens billed after the brake acted, over those billed after the loop's start;
- passing: the recorded outcome is at least 0.99; interrupted: a brake would have acted before the session's end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from turnout.dialects import DIALECTS
from turnout.lab.sessions import Session, read_sessions, requests_of, usage_of
from turnout.spend.loops import Trail

Rule = Callable[[Trail], bool]

RULES: dict[str, Rule] = {
    "repeat 2 (noted)": lambda t: t.repeated[1] >= 2,
    "repeat 3": lambda t: t.repeated[1] >= 3,
    "repeat 4": lambda t: t.repeated[1] >= 4,
    "repeat 5": lambda t: t.repeated[1] >= 5,
    "cycle, 3 rounds": lambda t: t.cycle[1] >= 3,
    "repeat 3, stale 2": lambda t: t.repeated[1] >= 3 and t.steps_without_news >= 2,
    "repeat 3, stale 3": lambda t: t.repeated[1] >= 3 and t.steps_without_news >= 3,
    "no news in 3 results": lambda t: t.steps_without_news >= 3,
    "no news in 5 results": lambda t: t.steps_without_news >= 5,
    "no news in 8 results": lambda t: t.steps_without_news >= 8,
    "3 errors of one tool": lambda t: t.errors[1] >= 3,
    "naive: 3 in a row": lambda t: t.cycle[0] == 1 and t.cycle[1] >= 3,
}


class Seen(Struct):
    """One session: tokens after each step, the step at which its loop starts and each rule acts (None: never)."""

    session: Session
    billed: list[int]
    loop: int | None
    acted: dict[str, int]

    @property
    def passing(self) -> bool:
        return self.session.outcome is not None and self.session.outcome >= 0.99


def replayed(session: Session) -> tuple[Seen, float]:
    """The session through a trail, and the seconds that feeding took."""
    dialect, trail, spent_s = DIALECTS["openai-chat"], Trail(), 0.0
    fed = 0
    seen = Seen(session=session, billed=[], loop=None, acted={})
    for number, recorded in enumerate(requests_of(session)):
        body = msgspec.json.encode({"model": "m", "messages": recorded.messages[fed:]})
        fed = len(recorded.messages)
        begun = time.perf_counter()
        trail.feed(dialect.decode_request(body).messages)
        acted = [name for name, rule in RULES.items() if rule(trail)]
        spent_s += time.perf_counter() - begun
        usage = usage_of(session.steps[number], recorded)
        seen.billed.append((usage.input or 0) + (usage.output or 0))
        for name in acted:
            seen.acted.setdefault(name, number)
        if seen.loop is None and "repeat 3" in acted:
            seen.loop = number
    return seen, spent_s


def main() -> None:
    everything: list[Seen] = []
    steps, spent_s = 0, 0.0
    for name in sys.argv[1:]:
        told = [replayed(session) for session in read_sessions(Path(name))]
        spent_s += sum(seconds for _, seconds in told)
        steps += sum(len(seen.billed) for seen, _ in told)
        report(Path(name).stem, [seen for seen, _ in told])
        everything += [seen for seen, _ in told]
    report("all", everything)
    print(f"feeding and judging a step: {spent_s / max(1, steps) * 1e6:.1f} us")


def report(title: str, seen: list[Seen]) -> None:
    passing = [s for s in seen if s.passing]
    loops = [s for s in seen if s.loop is not None]
    after = sum(sum(s.billed[s.loop :]) for s in loops if s.loop is not None)
    billed = sum(sum(s.billed) for s in seen)
    print(f"\n## {title}: {len(seen)} sessions, {len(passing)} passing, {len(loops)} with a loop; ", end="")
    print(f"{after / max(1, billed):.1%} of tokens are billed after a loop's start\n")
    print("| brake | sessions it acts in | of those passing | share of passing | saved after a loop's start |")
    print("| --- | --- | --- | --- | --- |")
    for name in RULES:
        acted = [s for s in seen if name in s.acted]
        hit = sum(s.passing for s in acted)
        saved = sum(
            sum(s.billed[max(s.acted[name], s.loop) :]) for s in loops if s.loop is not None and name in s.acted
        )
        share = f"{hit / len(passing):.2%}" if passing else "-"
        print(f"| {name} | {len(acted)} | {hit} | {share} | {saved / after:.0%} |" if after else f"| {name} | - | - |")


if __name__ == "__main__":
    main()
