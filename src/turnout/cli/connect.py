"""`turnout connect`: what to set in a client so that it calls this gateway; files are changed with --write alone."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from turnout.config import Config, nearest
from turnout.errors import InvalidRequest, TurnoutError
from turnout.newcomer.connect.clients import (
    CLIENTS,
    KEY_VARIABLE,
    Client,
    Connection,
    Setting,
    Target,
    filled,
    lines_of,
)
from turnout.newcomer.connect.merging import merged_text, settings_for
from turnout.newcomer.doctor.listening import called_at
from turnout.newcomer.doctor.settings import check_settings
from turnout.newcomer.keyed import has_keys

__all__ = ["connect"]

_NAME = re.compile(r"[\w.:/@+-]+", re.ASCII)


def connect(args: argparse.Namespace) -> int:
    """Print, and with --write change. Raises ConfigError and InvalidRequest."""
    if args.client is None:
        width = max(map(len, CLIENTS))
        for name, client in CLIENTS.items():
            print(f"{name:<{width}}  {client.title}{' (--write can set it)' if client.targets else ''}")
        return 0
    client = CLIENTS.get(args.client)
    if client is None:
        near = nearest(args.client, CLIENTS)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(CLIENTS)}"
        raise InvalidRequest(f"no client {args.client!r} is known; {hint}")
    connection = connection_of(args)
    if args.json:
        told = {
            "client": args.client,
            "base_url": connection.url,
            "model": connection.model or client.auto,
            "key_variable": KEY_VARIABLE if connection.keyed else None,
            "text": lines_of(client, connection),
            "source": client.source,
        }
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        print(lines_of(client, connection))
        for line in _notes(client, connection):
            print(line, file=sys.stderr)
    if args.write:
        _set(client, connection, os.environ)
    return 0


def connection_of(args: argparse.Namespace) -> Connection:
    """The gateway as the config, or the options over it, say. Raises ConfigError and InvalidRequest."""
    config = Config()
    if args.config is not None:
        settings, findings = check_settings(Path(args.config), os.environ)
        if settings.config is None:
            raise InvalidRequest(next(one.told for one in findings if one.state == "fail"))
        config = settings.config
    try:
        keyed = args.keyed or has_keys(config)
    except TurnoutError as error:
        raise InvalidRequest(f"{error.message}; or say whether a key is needed: --keyed with --url URL") from None
    if args.model is not None and not _NAME.fullmatch(args.model):
        raise InvalidRequest("--model must be a model's name: letters, digits and -._:/@ alone")
    return Connection(url=_url(args.url, config), keyed=keyed, model=args.model)


def _url(told: str | None, config: Config) -> str:
    if told is None:
        return called_at(config.server.host, config.server.port)
    parts = urlsplit(told)
    if parts.scheme not in {"http", "https"} or not parts.netloc or any(c.isspace() or c in "\"'\\<>" for c in told):
        raise InvalidRequest("--url must be as https://gateway.example.com or http://127.0.0.1:8787")
    return told.rstrip("/").removesuffix("/v1")


def _notes(client: Client, connection: Connection) -> list[str]:
    notes = [f"# {filled(client.note, client, connection)}"] if client.note else []
    if connection.keyed:
        notes.append(f"# {KEY_VARIABLE} holds a key of the gateway: turnout keys create NAME")
    if client.targets:
        notes.append("# --write puts it into the client's own file")
    return [*notes, f"# {client.source}"]


def _set(client: Client, connection: Connection, env: Mapping[str, str]) -> None:
    """Merge the settings into the client's files; all can be merged, or none is touched. Raises InvalidRequest."""
    if not client.targets:
        raise InvalidRequest(f"{client.title} keeps its settings where no file can be changed; set them by hand")
    changes: list[tuple[Path, str | None, str]] = []
    for target in client.targets:
        file = file_of(target, env)
        before = _read(file)
        settings = _filled(settings_for(target, connection), client, connection)
        try:
            changes.append((file, before, merged_text(target, before or "", settings)))
        except InvalidRequest as error:
            raise InvalidRequest(f"{file}: {error.message}") from None
    for file, before, after in changes:
        _change(file, before, after)
    if connection.keyed:
        print(f"the key is not in it: export {KEY_VARIABLE}=..., as above, where the client is started")


def _change(file: Path, before: str | None, after: str) -> None:
    """Show what changes, keep a copy of what it was, and write."""
    if after == before:
        print(f"{file} says so already")
        return
    old, new = (before or "").splitlines(), after.splitlines()
    for line in difflib.unified_diff(old, new, str(file), str(file), lineterm="", n=1):
        print(line)
    kept = _replace(file, before, after)
    print(f"{file} written{f'; what it was is {kept.name} beside it' if kept else ''}")


def file_of(target: Target, env: Mapping[str, str]) -> Path:
    """Where the client looks; a link is followed, so that it stays one."""
    if target.home and env.get(target.home):
        return (Path(env[target.home]) / Path(target.path).name).resolve()
    return (Path(env.get("HOME") or Path.home()) / target.path).resolve()


def _filled(settings: Mapping[str, Setting], client: Client, connection: Connection) -> dict[str, Setting]:
    return {
        filled(name, client, connection): filled(value, client, connection)
        if isinstance(value, str)
        else _filled(value, client, connection)
        for name, value in settings.items()
    }


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} cannot be read ({error}); it was left as it is") from None


def _replace(file: Path, before: str | None, after: str) -> Path | None:
    """Whole or not at all; the copy of what it was, if it was there. Raises InvalidRequest."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = None
        mode = 0o600
        if before is not None:
            mode = file.stat().st_mode & 0o777
            number = next(n for n in range(1, 10_000) if not file.with_name(f"{file.name}.before-turnout{n}").exists())
            kept = file.with_name(f"{file.name}.before-turnout{number}")
            kept.write_bytes(file.read_bytes())
            kept.chmod(mode)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as draft:
            draft.write(after)
        Path(draft.name).chmod(mode)
        Path(draft.name).replace(file)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be written ({error.strerror}); it was left as it is") from None
    return kept
