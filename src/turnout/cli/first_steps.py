"""The options of `turnout init`, `doctor`, `connect` and `import`: nothing is loaded here that only they need."""

from __future__ import annotations

import argparse

__all__ = ["add_first_steps"]


def add_first_steps(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    """All four verbs."""
    _add_init(verbs.add_parser("init", help="write a config: three questions, or none with --yes"))
    _add_doctor(verbs.add_parser("doctor", help="what would hinder a gateway, and what to do about it"))


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
