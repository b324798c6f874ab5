"""Values that LiteLLM takes from the environment or has in its file, as names of variables: no key is written anew."""

from __future__ import annotations

import re

from turnout.newcomer.litellm.entries import NO_KEYS, OF_ENVIRONMENT
from turnout.newcomer.litellm.notes import Notes

__all__ = ["Variables"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Variables:
    """`env:NAME` for each value. The same value has the same name; `needed` are all names, in order."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._named: dict[str, str] = {}
        self.needed: dict[str, None] = {}

    def secret(self, value: object, path: str, usual: str) -> str | None:
        """A key, None where there is none. One that stands in the file gets the name `usual`, and is to be set."""
        if not isinstance(value, str) or value.strip().lower() in NO_KEYS:
            return None
        if (told := self.environment(value)) is not None:
            return told
        if value not in self._named:
            taken = {*self._named.values(), *self.needed}
            name = next(n for n in (usual, *(f"{usual}_{i}" for i in range(2, 10_000))) if n not in taken)
            self._named[value] = name
            self._notes.todo(path, f"its value stands in that file: set {name} to it")
        return self.name(self._named[value])

    def environment(self, value: str) -> str | None:
        """`os.environ/NAME` as ours; None for anything else."""
        if not value.startswith(OF_ENVIRONMENT):
            return None
        told = value.removeprefix(OF_ENVIRONMENT).strip()
        return self.name(told) if _NAME.fullmatch(told) else None

    def name(self, variable: str) -> str:
        """A variable that the config takes a value from."""
        self.needed.setdefault(variable)
        return f"env:{variable}"
