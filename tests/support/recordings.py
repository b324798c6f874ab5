"""True wire bytes: recorded traffic in `tests/fixtures/<dialect>/`, one case a file, source and licence inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent.parent / "fixtures"


@dataclass(frozen=True)
class Case:
    name: str
    request: Any
    status: int
    streaming: bool
    response: bytes

    @property
    def body(self) -> bytes:
        return json.dumps(self.request).encode()


def load(dialect: str) -> list[Case]:
    """All cases of a dialect. Vercel's fixtures hold one `data:` payload a line: blank lines are put back."""
    cases: list[Case] = []
    for file in sorted((FIXTURES / dialect).glob("*.json")):
        told = json.loads(file.read_text())
        text = told["response"]
        if told["streaming"] and told["source"].startswith("vercel"):
            text = "".join(f"{line}\n\n" for line in text.splitlines() if line.strip())
        status = told["status"] or 200
        cases.append(Case(file.stem, told["request"], status, told["streaming"], text.encode()))
    return cases


def plain(value: Any) -> Any:
    """JSON without null values and empty lists: APIs treat them as left out."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v not in (None, [], "")}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value
