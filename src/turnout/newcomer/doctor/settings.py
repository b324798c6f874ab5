"""The config file: whether it can be read, what it takes from the environment, and who may read the keys in it."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from msgspec import Struct

from turnout.config import Config, Secret, join, parse_config
from turnout.errors import ConfigError
from turnout.newcomer.doctor.findings import Finding, fail, failed_by, ok, warn
from turnout.stores.opening import beside
from turnout.stores.schema import MEMORY

__all__ = ["STANDS_IN", "Settings", "check_permissions", "check_settings", "env_names", "literal_secrets"]

STANDS_IN = "unset"
"""For a variable that is not set, so that the rest of the file can still be looked at."""


class Settings(Struct, frozen=True, kw_only=True):
    """A config as far as it could be read, and the environment it was read with."""

    config: Config | None
    env: Mapping[str, str]
    raw: Mapping[str, object] = {}
    file: Path | None = None


def check_settings(file: Path | None, env: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """What the file says, and what is wrong with it: all variables that are missing, not just the first."""
    if file is None:
        return Settings(config=Config(), env=env), [ok("config", "no file: what is found here is used")]
    try:
        text = file.read_text("utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        return _unreadable(env, file, "there is no such file", f"turnout init --out {file}")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        return _unreadable(env, file, f"cannot be read: {error}", "correct it; turnout.example.toml shows the form")
    missing = {path: name for path, name in env_names(raw) if name not in env}
    findings = [
        fail("config", f"{path} is taken from {name}, which is not set", f"export {name}=..., or remove {path}")
        for path, name in missing.items()
    ]
    filled = {**env, **dict.fromkeys(missing.values(), STANDS_IN)}
    try:
        config = parse_config(text, filled)
    except ConfigError as error:
        if error.param not in missing:  # else it is the stand-in that is wrong there
            findings.append(failed_by("config", f"{file}: {error.message}", "correct it"))
        return Settings(config=None, env=filled, raw=raw, file=file), findings
    return Settings(config=config, env=filled, raw=raw, file=file), findings or [ok("config", f"{file} is valid")]


def check_permissions(settings: Settings) -> Iterator[Finding]:
    """Keys that stand in a file, and who may read it. Unix only: elsewhere there are no such bits."""
    literal = literal_secrets(settings.config, settings.raw) if settings.config else []
    if literal and settings.file is not None:
        shown = ", ".join(literal[:3]) + (f" and {len(literal) - 3} more" if len(literal) > 3 else "")
        if others_read(settings.file):
            yield fail(
                "secrets", f"{shown}: in a file that others may read", f"chmod 600 {settings.file}, or write env:NAME"
            )
        else:
            yield warn("secrets", f"{shown}: in the file itself", 'write "env:NAME" and keep the value outside')
    elif settings.file is not None:
        yield ok("secrets", "no key stands in the config")
    if settings.config and not settings.config.store.ledger.endswith(MEMORY):
        kept = beside(settings.config.store, "secret")
        if kept.exists() and others_read(kept):
            yield fail("secrets", f"{kept}: others may read what the keys' hashes rest on", f"chmod 600 {kept}")


def env_names(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Where a TOML document says `env:NAME`, and the names."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield from env_names(inner, join(path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(cast("list[object]", value)):
            yield from env_names(inner, f"{path}[{i}]")
    elif isinstance(value, str) and value.startswith("env:"):
        yield path, value.removeprefix("env:")


def literal_secrets(config: Config, raw: Mapping[str, object]) -> list[str]:
    """Where secrets stand in the file itself, and not in the environment."""
    named = {path for path, _ in env_names(dict(raw))}
    return [path for path in _secrets(config, "") if path not in named]


def others_read(file: Path) -> bool:
    return os.name == "posix" and bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _secrets(value: object, path: str) -> Iterator[str]:
    match value:
        case Secret():
            yield path
        case Struct():
            for name in value.__struct_fields__:
                yield from _secrets(getattr(value, name), join(path, name))
        case dict():
            for key, inner in cast("dict[str, object]", value).items():
                yield from _secrets(inner, join(path, key))
        case tuple():
            for i, inner in enumerate(cast("tuple[object, ...]", value)):
                yield from _secrets(inner, f"{path}[{i}]")
        case _:
            pass


def _unreadable(env: Mapping[str, str], file: Path, told: str, then: str) -> tuple[Settings, list[Finding]]:
    return Settings(config=None, env=env, file=file), [fail("config", f"{file}: {told}", then)]
