"""`turnout doctor`: what would hinder a gateway, and what to do about it. Changes nothing, and calls nobody untold."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from turnout.config import Config
from turnout.newcomer.doctor.findings import Finding, counted, status_of
from turnout.newcomer.doctor.listening import check_binding, check_port
from turnout.newcomer.doctor.machine import check_machine
from turnout.newcomer.doctor.offer import examine
from turnout.newcomer.doctor.online import ask_all
from turnout.newcomer.doctor.settings import STANDS_IN, Settings, check_permissions, check_settings
from turnout.newcomer.doctor.stores import check_ledger, check_shared

__all__ = ["doctor"]

USUAL = Path("turnout.toml")

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(args: argparse.Namespace) -> int:
    """Look at everything, print a line each. 1 where anything fails."""
    file = Path(args.config) if args.config else USUAL if USUAL.exists() else None
    findings = asyncio.run(_examined(file, args))
    if args.config is None and file is not None:
        findings.append(
            Finding(state="ok", check="config", told=f"{file} was looked at; serve reads it with --config {file}")
        )
    if args.json:
        story = {"ok": not status_of(findings), "checks": findings}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(story), indent=2) + b"\n")
    else:
        _print(findings)
    return status_of(findings)


async def _examined(file: Path | None, args: argparse.Namespace) -> list[Finding]:
    settings, findings = check_settings(file, os.environ)
    if file is not None:
        findings += check_permissions(settings)
    findings = [*check_machine(settings.config, os.environ), *findings]
    if settings.config is None:
        return findings
    findings += check_ledger(settings.config.store)
    if (shared := await check_shared(settings.config.store)) is not None:
        findings.append(shared)
    host = args.host or settings.config.server.host
    findings.append(check_binding(settings.config, host))
    findings.append(check_port(host, settings.config.server.port if args.port is None else args.port))
    return [*findings, *await _offered(settings.config, settings, online=args.online)]


async def _offered(config: Config, settings: Settings, *, online: bool) -> list[Finding]:
    places, fleet, findings = await examine(config, settings.env, discover=settings.file is None)
    if online:
        asked = {name: place for name, place in places.items() if place.api_key != STANDS_IN}
        findings += await ask_all(asked, fleet)
    return findings


def _print(findings: list[Finding]) -> None:
    console = Console(soft_wrap=True)
    width = max(len(one.check) for one in findings)
    for one in findings:
        line = Text.assemble((f"{one.state:<4}", COLOURS[one.state]), f"  {one.check:<{width}}  {one.told}")
        console.print(line)
        if one.next is not None:
            console.print(Text(f"{'':<{width + 8}}-> {one.next}", style="dim" if one.state == "warn" else ""))
    console.print(Text(counted(findings)))
