"""The folder of a trained predictor: every version there was, and the one in use. A version is put in use by one
rename, so that a gateway that reads meanwhile finds the old one or the new one, whole."""

from __future__ import annotations

from pathlib import Path

from turnout.errors import InvalidRequest

__all__ = ["CURRENT", "add", "listing", "use"]

CURRENT = "predictor.bin"
_VERSIONS = "versions"


def add(folder: Path, data: bytes) -> int:
    """Keep a new version and put it in use; its number, from 1."""
    number = max(listing(folder), default=0) + 1
    kept = folder / _VERSIONS / f"{number:04d}.bin"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    use(folder, number)
    return number


def listing(folder: Path) -> list[int]:
    """The numbers of all versions, oldest first."""
    return sorted(int(file.stem) for file in (folder / _VERSIONS).glob("*.bin") if file.stem.isdigit())


def use(folder: Path, number: int) -> None:
    """Put a version in use again. Raises InvalidRequest where there is no such version."""
    if number not in listing(folder):
        there = ", ".join(map(str, listing(folder))) or "none"
        raise InvalidRequest(f"{folder} has no version {number}; it has {there}")
    data = (folder / _VERSIONS / f"{number:04d}.bin").read_bytes()
    waiting = folder / f"{CURRENT}.new"
    waiting.write_bytes(data)
    waiting.replace(folder / CURRENT)
