"""Build the wheel and the sdist of the last commit into dist/, and show that anybody gets the same: `make release`.

    python tools/build_release.py [--out DIR]

The commit is laid out twice, in two folders, and built in two environments that differ in all that a build has no
business to depend on. The files must be the same to the byte, as must the wheel that the sdist makes, and the wheel
must hold what `src/turnout` holds in git, and nothing else. Changes that are not committed are not in it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "turnout/"
CONSOLE_LICENCES = ("turnout/console/vendor/htm.LICENSE.txt", "turnout/console/vendor/preact.LICENSE.txt")
ABOUT = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE")
"""What stands in the wheel's dist-info, and nothing else does."""

SURROUNDINGS = (
    (0o022, {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"}),
    (0o077, {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "2"}),
)
"""Umask and environment of the first and of the second build."""


class NotBuilt(Exception):
    """There is no release: it could not be built, or is not what it must be. The message says where."""


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607


def export(folder: Path, umask: int) -> None:
    """Lay the last commit into a folder: what lies about untracked cannot come into a release."""
    packed = git("-c", f"tar.umask={umask:04o}", "archive", "--format=tar", "HEAD")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")


def build(tree: Path, out: Path, epoch: str, turn: int, kinds: tuple[str, ...] = ("sdist", "wheel")) -> dict[str, Path]:
    """Build from a folder, in the surroundings of that turn; the files, by kind. No network is asked."""
    umask, varied = SURROUNDINGS[turn]
    environment = {"PATH": os.environ["PATH"], "HOME": str(out), "SOURCE_DATE_EPOCH": epoch, **varied}
    targets = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out), *targets]
    done = subprocess.run(command, cwd=tree, env=environment, umask=umask, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotBuilt(f"hatchling ended with {done.returncode}: {done.stderr.strip()}")
    return {kind: next(out.glob("*.whl" if kind == "wheel" else "*.tar.gz")) for kind in kinds}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def must_be_same(what: str, one: Path, other: Path) -> None:
    """Raises `NotBuilt` where two files differ by a byte."""
    if sha256(one) != sha256(other):
        raise NotBuilt(f"{what} differs: compare {one} with {other} (diffoscope shows where)")


def tracked(tree: Path) -> dict[str, bytes]:
    """What `src/turnout` holds in an exported tree, by its path in the wheel."""
    source = tree / "src"
    return {str(f.relative_to(source)): f.read_bytes() for f in (source / PACKAGE).rglob("*") if f.is_file()}


def wheel_faults(held: Mapping[str, bytes], tree: Mapping[str, bytes], version: str) -> list[str]:
    """In what the contents of a wheel are not the tree's package with its dist-info; nothing where all is well."""
    info = f"turnout-{version}.dist-info/"
    package = {name: body for name, body in held.items() if not name.startswith(info)}
    faults = [f"{name} is missing" for name in sorted(tree.keys() - package.keys())]
    faults += [f"{name} has no business in a wheel" for name in sorted(package.keys() - tree.keys())]
    faults += [
        f"{name} is not as committed" for name in sorted(package.keys() & tree.keys()) if package[name] != tree[name]
    ]
    wanted = {info + name for name in ABOUT}
    faults += [f"{name} is missing" for name in sorted(wanted - held.keys())]
    faults += [f"{name} has no business in a wheel" for name in sorted(held.keys() - package.keys() - wanted)]
    return faults + [f"{name} is missing" for name in ("turnout/py.typed", *CONSOLE_LICENCES) if name not in held]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist; the folder that stands in it."""
    with tarfile.open(sdist) as tar:
        tar.extractall(folder, filter="data")
    return next(folder.iterdir())


def build_and_compare(work: Path) -> dict[str, Path]:
    """Build the last commit in every way, and compare; the files of the first build. Raises `NotBuilt`."""
    epoch = git("log", "-1", "--format=%ct").decode().strip()
    trees = [work / "first", work / "another-place" / "second"]
    for turn, tree in enumerate(trees):
        export(tree, SURROUNDINGS[turn][0])
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda turn: build(trees[turn], work / f"dist-{turn}", epoch, turn), (0, 1))
    for kind in first:
        must_be_same(f"the {kind} of a second build", first[kind], second[kind])
    again = build(unpack(first["sdist"], work / "unpacked"), work / "dist-sdist", epoch, 1, ("wheel",))
    must_be_same("the wheel that the sdist makes", first["wheel"], again["wheel"])
    version = first["wheel"].name.split("-")[1]
    if faults := wheel_faults(contents(first["wheel"]), tracked(trees[0]), version):
        raise NotBuilt("; ".join(faults))
    return first


def main() -> int:
    parser = argparse.ArgumentParser(description="Build wheel and sdist of the last commit, twice, and compare.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the files (default dist/)")
    out: Path = parser.parse_args().out
    if changed := git("status", "--porcelain").decode().splitlines():
        print(f"not committed, so not in it: {len(changed)} files", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("turnout-*"), *out.glob("SHA256SUMS")]:
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="turnout-release-") as work:
        try:
            built = build_and_compare(Path(work))
        except NotBuilt as error:
            print(f"not released: {error}", file=sys.stderr)
            return 1
        files = [out / file.name for file in built.values()]
        for file in files:
            file.write_bytes(built["wheel" if file.suffix == ".whl" else "sdist"].read_bytes())
    print(f"commit {git('rev-parse', 'HEAD').decode().strip()}, built twice and from the sdist: the same bytes")
    for file in files:
        print(f"{sha256(file)}  {file.stat().st_size / 1e6:.2f} MB  {file.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
