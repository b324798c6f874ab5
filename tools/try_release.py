"""Install the built wheel as a stranger would and try it, in a clean venv: `make release`, after the build.

    python tools/try_release.py [--dist DIR] [--no-demo]

First the base alone, at the pinned versions: what it weighs, how many packages, whether they agree, whether the command
and every module of the serving path start without an extra. Then the `demo` extra, and `turnout demo --exit`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_PACKAGES, MAX_MB = 15, 60
INSTALLER = frozenset({"pip", "setuptools", "wheel", "_distutils_hack", "distutils-precedence.pth", "pkg_resources"})
"""What a venv brings by itself."""

STARTS = """
import importlib.resources, importlib.metadata, turnout, turnout.cli, turnout.engine, turnout.server.app
package = importlib.resources.files("turnout")
for name in ("py.typed", "console/index.html", "catalog/data/prices.json", "routing/data/predictor.bin"):
    assert package.joinpath(name).is_file(), name + " is not in what was installed"
assert importlib.metadata.version("turnout") == turnout.__version__
"""


class Refused(Exception):
    """What was installed is not fit to be given out; the message says why."""


class Venv:
    """A clean venv, and commands in it that see nothing of this checkout."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.bin = folder / "bin"
        self.packages = next((folder / "lib").glob("python3.*/site-packages"))
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, *command: str) -> str:
        """Run a command of the venv; what it printed. Raises `Refused` with its words where it fails."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TURNOUT", "VIRTUAL"))
        }
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.home,
            env={**kept, "CI": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Refused(
                f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.stdout

    def install(self, *words: str) -> None:
        self.run("python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *words)

    def installed(self) -> dict[str, str]:
        """Packages but the installer's own, by version."""
        listed = json.loads(self.run("python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
        return {row["name"]: row["version"] for row in listed if row["name"] not in INSTALLER}

    def weight_mb(self) -> float:
        """Megabytes on disk (blocks, as `du -m` counts them), without the installer."""
        parts = (
            p
            for p in self.packages.iterdir()
            if p.name not in INSTALLER and not p.name.startswith(("pip-", "setuptools-"))
        )
        files = (file for part in parts for file in ([part] if part.is_file() else part.rglob("*")))
        return sum(file.lstat().st_blocks * 512 for file in files) / 2**20


def try_base(venv: Venv, wheel: Path) -> None:
    """Install the wheel with the base alone and look at it. Raises `Refused`."""
    began = time.monotonic()
    venv.install("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(ROOT / "requirements/base.txt"))
    venv.install("--no-deps", "--no-index", str(wheel))
    venv.run("python", "-m", "pip", "check", "--disable-pip-version-check")
    print(
        f"installed without an extra in {time.monotonic() - began:.0f} s; pip check: nothing missing, nothing at odds"
    )
    packages = venv.installed()
    weight = venv.weight_mb()
    print(
        f"{len(packages)} packages of at most {MAX_PACKAGES}, {weight:.1f} MB of at most {MAX_MB}: "
        + ", ".join(packages)
    )
    if len(packages) > MAX_PACKAGES or weight > MAX_MB:
        raise Refused("the base install outgrew its bounds")
    version = venv.run("turnout", "--version").strip()
    if version != f"turnout {packages['turnout']}":
        raise Refused(f"the command says {version!r}, the wheel {packages['turnout']}")
    venv.run("python", "-c", STARTS)
    print(f"{version}: the command and the gateway start, data and typed marker are there")


def try_demo(venv: Venv) -> None:
    """Add the demo's extra, pinned, and run it to its end: real SDKs and the real embedded model. Raises `Refused`."""
    venv.install("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(ROOT / "requirements/demo.txt"))
    began = time.monotonic()
    venv.run("turnout", "demo", "--exit")
    print(f"turnout demo --exit: passed in {time.monotonic() - began:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description="Install the built wheel into a clean venv and try it.")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the wheel is (default dist/)")
    parser.add_argument("--no-demo", action="store_true", help="leave out the demo, whose extra has a model in it")
    args = parser.parse_args()
    wheels = sorted(args.dist.glob("turnout-*.whl"))
    if len(wheels) != 1:
        print(f"{args.dist} has {len(wheels)} wheels: build one with `python tools/build_release.py`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="turnout-try-") as folder:
        try:
            venv = Venv(Path(folder) / "venv")
            try_base(venv, wheels[0].resolve())
            if not args.no_demo:
                try_demo(venv)
        except Refused as error:
            print(f"refused: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
