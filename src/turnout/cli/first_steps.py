"""The options of `turnout init`, `doctor`, `connect` and `import`: nothing is loaded here that only they need."""

from __future__ import annotations

import argparse

__all__ = ["add_first_steps"]


def add_first_steps(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    """All four verbs."""
    _add_init(verbs.add_parser("init", help="write a config: three questions, or none with --yes"))
    _add_doctor(verbs.add_parser("doctor", help="what would hinder a gateway, and what to do about it"))
    _add_connect(verbs.add_parser("connect", help="what to set in a client, so that it calls this gateway"))
    _add_import(verbs.add_parser("import", help="another gateway's config as one of ours"))


def _add_init(init: argparse.ArgumentParser) -> None:
    init.add_argument("--out", default="turnout.toml", metavar="FILE", help="what to write (default %(default)s)")
    init.add_argument("--yes", action="store_true", help="ask nothing: what is found here, and what is usual")
    init.add_argument("--providers", metavar="NAMES", help="by commas: openai,anthropic (default: whose keys are set)")
    init.add_argument("--budget", metavar="USD", help="for a month, 0 for none (default 50)")
    init.add_argument("--baseline", metavar="MODEL", help="what savings are told against (default: the dearest)")
    init.add_argument("--force", action="store_true", help="write though the file exists; a copy of it is kept")


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--config", metavar="FILE", help="turnout.toml (default: the one in this folder, if any)")
    doctor.add_argument("--host", help="as serve's")
    doctor.add_argument("--port", type=int, help="as serve's")
    doctor.add_argument("--online", action="store_true", help="ask each provider once for its list of models")
    doctor.add_argument("--json", action="store_true")


def _add_connect(connect: argparse.ArgumentParser) -> None:
    connect.add_argument("client", nargs="?", metavar="CLIENT", help="claude-code, codex, openai, ...; without it, all")
    connect.add_argument("--config", metavar="FILE", help="the gateway's turnout.toml: where it listens, and its keys")
    connect.add_argument("--url", help="of the gateway, where that is elsewhere (default: as the config says)")
    connect.add_argument("--model", help="what to ask for (default: auto)")
    connect.add_argument("--keyed", action="store_true", help="the gateway at --url asks for a key")
    connect.add_argument("--write", action="store_true", help="put it into the client's own file; a copy is kept")
    connect.add_argument("--json", action="store_true")


def _add_import(importing: argparse.ArgumentParser) -> None:
    importing.add_argument("kind", choices=("litellm",), help="whose config it is")
    importing.add_argument("file", metavar="config.yaml")
    importing.add_argument("--out", metavar="FILE", help="what to write (default: standard output)")
    importing.add_argument("--json", action="store_true", help="the config and the notes as JSON")
