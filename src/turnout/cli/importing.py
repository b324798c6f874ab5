"""`turnout import litellm`: another gateway's config as one of ours, and a list of what is not the same."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from turnout.errors import InvalidRequest
from turnout.newcomer.litellm.converting import Converted, convert
from turnout.newcomer.litellm.reading import MAX_BYTES, read_yaml

__all__ = ["importing"]


def importing(args: argparse.Namespace) -> int:
    """Read, convert, write, tell. Raises InvalidRequest."""
    file, out = Path(args.file), Path(args.out) if args.out else None
    if out is not None and out.exists():
        raise InvalidRequest(f"{out} is there already and was left as it is; name another file with --out")
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from None
    try:
        made = convert(read_yaml(data))
    except InvalidRequest as error:
        raise InvalidRequest(f"{file}: {error.message}") from None
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as opened:
                opened.write(made.text)
        except OSError as error:
            raise InvalidRequest(f"cannot write {out}: {error.strerror}") from None
    if args.json:
        story = {"config": made.text, "needed": made.needed, "notes": made.notes}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(story), indent=2) + b"\n")
    elif out is None:
        sys.stdout.write(made.text)
    _tell(made, out)
    return 0


def _tell(made: Converted, out: Path | None) -> None:
    """On standard error, so that the config alone is what a pipe gets."""
    where = f"{out}: " if out else ""
    lines = [f"{where}{made.models} models at {made.providers} providers"]
    titles = {"todo": "to do before it works", "changed": "not quite the same", "left out": "left out"}
    for kind, title in titles.items():
        notes = [note for note in made.notes if note.kind == kind]
        if notes:
            lines.append(f"{title}:")
        lines += [f"  {note.line}" for note in notes]
    if missing := [name for name in made.needed if name not in os.environ]:
        lines.append(f"variables that are not set here: {', '.join(missing)}")
    if out is not None:
        lines.append(f"next: turnout doctor --config {out}")
    print("\n".join(lines), file=sys.stderr)
