"""The machine: Python, packages, the clock, open files, and what the environment says of the network."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import turnout
from turnout.config import Config
from turnout.newcomer.doctor.findings import Finding, fail, ok, warn
from turnout.providers.registry import PROVIDERS
from turnout.providers.signing import SIGNERS
from turnout.store_rules import SHARED, ledger_scheme, scheme_of

__all__ = ["check_clock", "check_files", "check_machine", "check_packages", "check_python", "check_surroundings"]

LEAST_PYTHON = (3, 11)
FEW_FILES = 1_024
"""Below this many open files some hundred requests at once use them up: two each."""

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "postgres": ("psycopg",),
    "valkey": ("redis", "hiredis"),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp"),
    "oidc": ("joserfc",),
    "bedrock": ("botocore",),
    "vertex": ("google.auth", "requests"),
}
"""Extra -> modules it brings. Those that sign calls are called as their providers are."""


def check_machine(config: Config | None, env: Mapping[str, str]) -> Iterator[Finding]:
    """All of it. `config` None: it cannot be read, so what it takes is not known."""
    yield check_python(sys.version_info[:3])
    yield from check_packages(needed_extras(config, env) if config else ())
    yield check_clock(time.time(), Path(turnout.__file__).stat().st_mtime)
    yield check_files(_open_files(), config.server.max_concurrency if config else 2_000)
    yield from check_surroundings(env)


def check_python(version: tuple[int, int, int]) -> Finding:
    told = ".".join(map(str, version))
    if version[:2] < LEAST_PYTHON:
        return fail("python", f"{told} is too old", "install Python 3.11 or newer, and Turnout into it")
    return ok("python", f"{told}, turnout {turnout.__version__}")


def check_packages(extras: Iterable[str]) -> Iterator[Finding]:
    """What Turnout itself needs, and what the config needs beyond it."""
    missing = [name for name in _requirements() if not _installed(name)]
    if missing:
        yield fail("packages", f"not installed: {', '.join(missing)}", "pip install --force-reinstall turnout")
    lacking = [extra for extra in extras if not all(_importable(module) for module in EXTRAS[extra])]
    if lacking:
        names = ",".join(lacking)
        yield fail("packages", f"the config uses what is not installed: {names}", f"pip install 'turnout[{names}]'")
    if not missing and not lacking:
        yield ok("packages", "all that the config uses is installed")


def needed_extras(config: Config, env: Mapping[str, str]) -> Iterator[str]:
    """Extras without which this config does not start or serve."""
    if ledger_scheme(config.store) in {"postgresql", "postgres"}:
        yield "postgres"
    if scheme_of(config.store.shared, SHARED, "store.shared") not in {"memory", "sqlite"}:
        yield "valkey"
    if config.telemetry.otel:
        yield "otel"
    if config.server.oidc is not None:
        yield "oidc"
    for name, told in config.providers.items():
        row = PROVIDERS.get(name)
        if row and row.auth in SIGNERS and not told.api_key and not any(env.get(key) for key in row.key_env):
            yield name


def check_clock(now_s: float, installed_s: float) -> Finding:
    """Budgets begin and end by the clock, and signed calls are refused when it is off. Without asking anyone, all that
    can be seen is a time before Turnout was installed; `--online` compares it with the providers'."""
    told = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M} UTC"
    if now_s < installed_s - 86_400:
        return fail("clock", f"{told} is before Turnout was installed", "set the clock (timedatectl set-ntp true)")
    return ok("clock", told)


def check_files(most: int | None, requests: int) -> Finding:
    """`most`: files that a process may have open, None where there is no such limit."""
    if most is None:
        return ok("open files", "no limit")
    if most < FEW_FILES:
        return warn(
            "open files",
            f"{most:,} at most: enough for {most // 2:,} requests at once (server.max_concurrency = {requests:,})",
            "raise it where the gateway is started: ulimit -n 65536",
        )
    return ok("open files", f"{most:,} at most")


def check_surroundings(env: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that lead calls elsewhere. Their values may hold passwords, so only names are told."""
    if named := next((name for name in PROXIES if env.get(name)), None):
        yield ok("proxy", f"calls to providers go through the proxy that {named} names")
    if (file := env.get("SSL_CERT_FILE")) and not Path(file).is_file():
        yield fail(
            "certificates", "SSL_CERT_FILE names no file", "correct it, or unset it: the usual authorities count"
        )


def _requirements() -> list[str]:
    """Names of the packages that Turnout's own metadata asks for; none where it runs from a checkout."""
    try:
        told = importlib.metadata.requires("turnout") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [found[0] for line in told if "extra ==" not in line and (found := re.match(r"[\w.-]+", line))]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
