"""What became of each setting that is not simply taken over, and why."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Kind", "Note", "Notes"]

Kind = Literal["todo", "changed", "left out"]
"""`todo`: to be done before the config works. `changed`: taken over, and not quite the same. `left out`: there is
nothing like it here."""


class Note(Struct, frozen=True, kw_only=True):
    """`path` as in LiteLLM's file; `places`: how many settings it speaks of. Holds no value of the file that may be
    secret."""

    kind: Kind
    path: str
    told: str
    places: int = 1

    @property
    def line(self) -> str:
        """As it is shown."""
        times = f" ({self.places} times)" if self.places > 1 else ""
        return f"{self.path}{times}: {self.told}"


class Notes:
    """Collects notes; the same thing said of many models is said once."""

    def __init__(self) -> None:
        self._noted: dict[tuple[Kind, str, str], int] = {}

    def todo(self, path: str, told: str) -> None:
        self._add("todo", path, told)

    def changed(self, path: str, told: str) -> None:
        self._add("changed", path, told)

    def left(self, path: str, told: str) -> None:
        self._add("left out", path, told)

    def all(self) -> tuple[Note, ...]:
        """To do first, left out last."""
        order = {"todo": 0, "changed": 1, "left out": 2}
        found = [Note(kind=k, path=p, told=t, places=n) for (k, p, t), n in self._noted.items()]
        return tuple(sorted(found, key=lambda note: order[note.kind]))

    def _add(self, kind: Kind, path: str, told: str) -> None:
        self._noted[kind, path, told] = self._noted.get((kind, path, told), 0) + 1
