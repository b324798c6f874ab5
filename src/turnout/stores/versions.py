"""Versions of a fitted model as files: a new one takes over at once or not at all, and the one before can come back."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from turnout.errors import ConfigError

__all__ = ["Version", "Versions"]

KEPT = 10
"""Versions that stay, beside the one in use."""

_NAME = re.compile(r"v(\d{6})\.model")

_CURRENT = "current"


class Version(Struct, frozen=True, kw_only=True):
    """One of them. `at`: when it was made, UTC; `size` in bytes."""

    number: int
    at: datetime
    size: int
    current: bool = False


class Versions:
    """The versions in `folder`, which is made at the first `put`. What a file holds is its maker's business. Raises
    ConfigError where the folder cannot be read or written. Several processes may read; one writes."""

    def __init__(self, folder: str | Path, *, keep: int = KEPT) -> None:
        self._folder = Path(folder)
        self._keep = keep

    def put(self, data: bytes, *, use: bool = True) -> int:
        """Keep `data` as the newest version, whole on disk before anybody sees it; `use`: from now on. Its number."""
        number = max(self._numbers(), default=0) + 1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._written(self._file(number), data)
        except OSError as error:
            raise self._failed(error) from error
        if use:
            self.use(number)
        self._prune()
        return number

    def use(self, number: int) -> None:
        """Let this version be the one in use."""
        if number not in self._numbers():
            there = ", ".join(map(str, self._numbers())) or "none"
            raise ConfigError(f"{self._folder}: there is no version {number}; there are: {there}")
        try:
            self._written(self._folder / _CURRENT, f"{number}\n".encode())
        except OSError as error:
            raise self._failed(error) from error

    def roll_back(self) -> int:
        """Use the version before the one in use; its number."""
        current = self.current
        before = [number for number in self._numbers() if current is not None and number < current]
        if not before:
            raise ConfigError(f"{self._folder}: there is no version before {current or 'the first'} to go back to")
        self.use(before[-1])
        return before[-1]

    @property
    def current(self) -> int | None:
        """The number of the version in use; None before the first."""
        try:
            told = (self._folder / _CURRENT).read_text("ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._failed(error) from error
        return int(told) if told.isdecimal() and self._file(int(told)).exists() else None

    def read(self, number: int | None = None) -> bytes | None:
        """A version's bytes, those of the one in use where no number is given; None where there is none."""
        number = self.current if number is None else number
        if number is None:
            return None
        try:
            return self._file(number).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error

    def listing(self) -> list[Version]:
        """All that are there, the oldest first."""
        current, found = self.current, list[Version]()
        for number in self._numbers():
            told = self._file(number).stat()
            at = datetime.fromtimestamp(told.st_mtime, UTC)
            found.append(Version(number=number, at=at, size=told.st_size, current=number == current))
        return found

    def _numbers(self) -> list[int]:
        try:
            names = [file.name for file in self._folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._failed(error) from error
        return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))

    def _file(self, number: int) -> Path:
        return self._folder / f"v{number:06d}.model"

    def _written(self, file: Path, data: bytes) -> None:
        """Write `file` so that a crash leaves the old one or the new one, never half of it."""
        draft = file.with_name(file.name + ".part")
        with draft.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)

    def _prune(self) -> None:
        current = self.current
        for number in [n for n in self._numbers() if n != current][: -self._keep or None]:
            self._file(number).unlink(missing_ok=True)

    def _failed(self, error: OSError | UnicodeDecodeError) -> ConfigError:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        return ConfigError(f"{self._folder}: {why}; check the folder and who may write there")
