"""What a trajectory's signs say of recorded sessions: `python bench/evidence.py TRACES...`, for each kind how many of
the sessions that passed and of those that failed show each sign, and at which step first."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from statistics import median

import msgspec

from turnout.dialects import DIALECTS
from turnout.lab.sessions import Session, read_sessions
from turnout.routing.trajectory import READS_ONLY, SAME_FAILURE, STRUGGLES, Signs, Trajectory


def shown(signs: Signs) -> list[str]:
    told = {
        f"severity >= {STRUGGLES:g}": signs.severity >= STRUGGLES,
        f"same failure {SAME_FAILURE} times": signs.same_failure >= SAME_FAILURE,
        f"{READS_ONLY} reads": signs.reading >= READS_ONLY,
        "any failure": signs.failed,
        "recovered": signs.recovered,
    }
    return [name for name, found in told.items() if found]


def first_signs(session: Session) -> dict[str, int]:
    """Sign -> the step at which it shows first."""
    dialect, trajectory, found = DIALECTS["openai-chat"], Trajectory(), dict[str, int]()
    for number, step in enumerate(session.steps):
        body = msgspec.json.encode({"model": "m", "messages": list(step.add)})
        trajectory.feed(dialect.decode_request(body).messages if step.add else ())
        for name in shown(trajectory.signs):
            found.setdefault(name, number)
        trajectory.feed(dialect.decode_request(msgspec.json.encode({"model": "m", "messages": [step.out]})).messages)
    return found


def main() -> None:
    for name in sys.argv[1:]:
        groups: dict[str, list[dict[str, int]]] = {"passed": [], "failed": []}
        for session in read_sessions(Path(name)):
            if session.outcome is not None:
                groups["passed" if session.outcome >= 1 else "failed"].append(first_signs(session))
        for group, found in groups.items():
            counts = Counter(sign for signs in found for sign in signs)
            told = ", ".join(
                f"{sign}: {count / len(found):.1%} (step {median(s[sign] for s in found if sign in s):g})"
                for sign, count in counts.most_common()
            )
            print(f"{Path(name).stem} {group} ({len(found)}): {told}")


if __name__ == "__main__":
    main()
