"""Settings merged into a client's file: what else stands there stays, comments and all where they can be kept. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, cast

from turnout.errors import InvalidRequest
from turnout.newcomer.connect.clients import Connection, Setting, Target
from turnout.toml_text import toml_key, toml_text

__all__ = ["merged_text", "settings_for"]


def settings_for(target: Target, connection: Connection) -> dict[str, Setting]:
    """All of them for this gateway, still with their marks."""
    return _over(dict(target.settings), target.keyed if connection.keyed else target.open)


def merged_text(target: Target, text: str, settings: Mapping[str, Setting]) -> str:
    """`text` with these settings in it. Raises InvalidRequest for a file that cannot be read or changed safely."""
    match target.form:
        case "json":
            return _json(text, settings)
        case "toml":
            return _toml(text, settings)
        case "lines":
            return _lines(text, settings, target.separator)


def _json(text: str, settings: Mapping[str, Setting]) -> str:
    try:
        told = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise _unsafe("is no plain JSON (comments perhaps)") from None
    if not isinstance(told, dict):
        raise _unsafe("holds no JSON object")
    return json.dumps(_over(cast("dict[str, Any]", told), settings), indent=2, ensure_ascii=False) + "\n"


def _over(told: dict[str, Any], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """`told` with the settings laid over it, key by key."""
    result = dict(told)
    for name, value in settings.items():
        if isinstance(value, Mapping):
            under = result.get(name)
            if under is not None and not isinstance(under, dict):
                raise _unsafe(f"has something else at {name!r}")
            result[name] = _over(cast("dict[str, Any]", under or {}), value)
        else:
            result[name] = value
    return result


def _toml(text: str, settings: Mapping[str, Setting]) -> str:
    """The text is changed line by line, so that comments and order stay, and then read to see that it says what was
    meant."""
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise _unsafe("is no valid TOML") from None
    lines = text.splitlines()
    for table, values in _tables(settings):
        lines = _table(lines, table, values)
    result = "\n".join(lines) + "\n"
    try:
        after = tomllib.loads(result)
    except tomllib.TOMLDecodeError:
        raise _unsafe("is written in a way that cannot be changed line by line") from None
    if after != _over(before, settings):
        raise _unsafe("is written in a way that cannot be changed line by line")
    return result


def _tables(settings: Mapping[str, Setting], path: str = "") -> list[tuple[str, dict[str, str]]]:
    """Each table with values of its own, the root first."""
    own = {name: value for name, value in settings.items() if isinstance(value, str)}
    found = [(path, own)] if own else []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _tables(value, f"{path}.{toml_key(name)}".lstrip("."))
    return found


def _table(lines: list[str], table: str, values: Mapping[str, str]) -> list[str]:
    """The lines with these values in one table; the table is added at the end where there is none."""
    begin = 0
    if table:
        headers = [i for i, line in enumerate(lines) if line.split("#")[0].strip() == f"[{table}]"]
        if not headers:
            gap = [""] if lines and lines[-1].strip() else []
            return [*lines, *gap, f"[{table}]", *(_assigned(name, value) for name, value in values.items())]
        begin = headers[0] + 1
    end = next((i for i in range(begin, len(lines)) if lines[i].lstrip().startswith("[")), len(lines))
    room = lines[begin:end]
    added: list[str] = []
    for name, value in values.items():
        there = [i for i, line in enumerate(room) if re.match(rf"\s*{re.escape(toml_key(name))}\s*=", line)]
        if there:
            room[there[0]] = _assigned(name, value)
        else:
            added.append(_assigned(name, value))
    return [*lines[:begin], *added, *room, *lines[end:]]


def _assigned(name: str, value: str) -> str:
    return f"{toml_key(name)} = {toml_text(value)}"


def _lines(text: str, settings: Mapping[str, Setting], separator: str) -> str:
    """One setting a line, as `.env` files and flat YAML have them."""
    lines = text.splitlines()
    for name, value in settings.items():
        sign = re.escape(separator.strip())
        there = [i for i, line in enumerate(lines) if re.match(rf"(export\s+)?{re.escape(name)}\s*{sign}", line)]
        line = f"{name}{separator}{value}"
        if there:
            lines[there[-1]] = line  # the last counts
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _unsafe(why: str) -> InvalidRequest:
    return InvalidRequest(f"the file {why}, so it was left as it is; add the lines above by hand")
