"""`turnout init`: three questions, and a config with comments. Never writes over a file without being told."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from turnout.config import Config, ProviderConfig, parse_config
from turnout.errors import InvalidRequest
from turnout.newcomer.fleets import fleet_of
from turnout.newcomer.starting import (
    Answers,
    chosen_providers,
    config_text,
    key_variable,
    missing_variables,
    parse_usd,
    suggested,
)
from turnout.providers.discovery import discover_local
from turnout.providers.embedded import EMBEDDED_ROW, available
from turnout.providers.http import HttpTransport
from turnout.providers.registry import PROVIDERS
from turnout.spend.baseline import baseline_of

__all__ = ["init"]

USUAL_USD = Decimal(50)
"""A month's budget where nothing else is said: more than a trial takes, less than a loop may burn."""

TRIES = 3

T = TypeVar("T")


class Found(Struct, frozen=True, kw_only=True):
    """What is there before anything was asked."""

    offered: tuple[str, ...]
    local: Mapping[str, tuple[str, ...]]


def init(args: argparse.Namespace) -> int:
    """Ask, write, say what comes next. Raises InvalidRequest."""
    target = Path(args.out)
    if target.exists() and not args.force:
        raise InvalidRequest(
            f"{target} is there already and was left as it is; --out OTHER.toml writes elsewhere, --force keeps a copy "
            "of it and writes anew"
        )
    env = os.environ
    found = asyncio.run(look(env))
    answers = answered(args, found, env)
    text = config_text(answers, env)
    parse_config(text, _as_if_set(answers.providers, env))  # what is written can be served
    backup = _write(target, text, force=args.force)
    _tell(target, backup, answers, env)
    return 0


async def look(env: Mapping[str, str]) -> Found:
    """Variables that are set, by name, and model servers on this machine."""
    transport = HttpTransport()
    try:
        servers = await discover_local([row for row in PROVIDERS.values() if row.local], transport)
    finally:
        await transport.aclose()
    local = {server.provider: server.models for server in servers}
    offered = (*suggested(env), *local)
    return Found(offered=offered or ((EMBEDDED_ROW.name,) if available() else ()), local=local)


def answered(args: argparse.Namespace, found: Found, env: Mapping[str, str]) -> Answers:
    """The answers: by options, else by asking, else (`--yes`) as usual. Raises InvalidRequest."""
    providers = _providers(args, found, env)
    dearest = _dearest(providers, env)
    priced = dearest is not None
    budget = USUAL_USD if priced else None
    if args.budget is not None:
        budget = parse_usd(args.budget)
    elif priced and not args.yes:
        budget = _asked("2. Budget a month in USD, 0 for none", str(USUAL_USD), parse_usd)
    baseline = dearest
    if args.baseline is not None:
        baseline = _known_model(args.baseline, providers, env)
    elif priced and not args.yes:
        baseline = _asked(
            "3. Which model would you use without Turnout? Savings are told against it",
            dearest or "",
            lambda text: _known_model(text, providers, env),
        )
    return Answers(
        providers=providers,
        local={name: models for name, models in found.local.items() if name in providers},
        budget_usd=budget,
        baseline=baseline,
    )


def _providers(args: argparse.Namespace, found: Found, env: Mapping[str, str]) -> tuple[str, ...]:
    if args.providers is not None:
        chosen = chosen_providers(args.providers, found.offered)
    elif args.yes:
        chosen = found.offered
    else:
        print(_what_is_here(found, env))
        default = ", ".join(found.offered)
        chosen = _asked("1. Which providers", default, lambda text: chosen_providers(text, found.offered))
    if not chosen:
        raise InvalidRequest(
            "there is no provider's key in the environment and no model server on this machine; set a key "
            "(OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) or name the providers you will use: --providers openai"
        )
    return chosen


def _what_is_here(found: Found, env: Mapping[str, str]) -> str:
    keys = [f"{name} ({key_variable(PROVIDERS[name], env)})" for name in suggested(env)]
    servers = [f"{name} ({len(models)} models)" for name, models in found.local.items()]
    lines = [f"Keys that are set: {', '.join(keys) or 'none'}."]
    lines.append(f"Model servers on this machine: {', '.join(servers) or 'none'}.")
    others = [name for name in PROVIDERS if name not in found.offered]
    lines.append(f"Others by name: {', '.join(others)}.")
    return "\n".join(lines)


def _asked(question: str, default: str, read: Callable[[str], T]) -> T:
    """One answer, asked for again where it cannot be read. Raises InvalidRequest."""
    for left in range(TRIES - 1, -1, -1):
        try:
            text = input(f"{question} [{default}]: ")
        except EOFError:
            print()
            raise InvalidRequest("the questions were not answered; --yes takes what is usual") from None
        try:
            return read(text.strip() or default)
        except InvalidRequest as error:
            if not left:
                raise
            print(f"   {error.message}")
    raise AssertionError


def _config(providers: Sequence[str]) -> Config:
    return Config(providers={name: ProviderConfig() for name in providers})


def _as_if_set(providers: Sequence[str], env: Mapping[str, str]) -> Mapping[str, str]:
    """The environment as it will be when the user has set what is missing."""
    return {**env, **dict.fromkeys(missing_variables(providers, env), "unset")}


def _dearest(providers: Sequence[str], env: Mapping[str, str]) -> str | None:
    found = baseline_of(fleet_of(_config(providers), _as_if_set(providers, env)), None)
    return found.id if found else None


def _known_model(text: str, providers: Sequence[str], env: Mapping[str, str]) -> str:
    fleet = fleet_of(_config(providers), _as_if_set(providers, env))
    found = fleet.find(text.strip())
    if not found:
        near = ", ".join(fleet.near(text.strip()))
        raise InvalidRequest(f"no model {text.strip()[:60]!r} at these providers; near it: {near or 'none'}")
    if found[0].price is None:
        raise InvalidRequest(f"{found[0].id} has no list price, so nothing can be told against it")
    return found[0].id


def _write(target: Path, text: str, *, force: bool) -> Path | None:
    """Where the old file is kept, if there was one. Raises InvalidRequest."""
    try:
        backup = None
        if force and target.exists():
            number = next(n for n in range(1, 10_000) if not target.with_name(f"{target.name}.old{n}").exists())
            backup = target.with_name(f"{target.name}.old{number}")
            target.rename(backup)
        with target.open("x", encoding="utf-8") as file:  # x: what came there meanwhile stays
            file.write(text)
    except OSError as error:
        raise InvalidRequest(f"cannot write {target}: {error.strerror}; --out writes elsewhere") from error
    return backup


def _tell(target: Path, backup: Path | None, answers: Answers, env: Mapping[str, str]) -> None:
    budget = f"${answers.budget_usd:f} a month" if answers.budget_usd else "no budget"
    print(f"{target} written: {', '.join(answers.providers)}; {budget}")
    if backup is not None:
        print(f"what was there is {backup}")
    print("next:")
    for name in missing_variables(answers.providers, env):
        print(f"  export {name}=...")
    shown = target if " " not in str(target) else f"'{target}'"
    print(f"  turnout doctor --config {shown}")
    print(f"  turnout serve --config {shown}")
    print(f"  turnout connect claude-code --config {shown}    # or codex, openai, ...: turnout connect lists them")
    sys.stdout.flush()
