"""Where the gateway would listen: whether the port is free, and whether it may be reached from elsewhere."""

from __future__ import annotations

import socket
import urllib.request
from http.client import HTTPException

from turnout.config import Config
from turnout.engine import LOOPBACK
from turnout.errors import TurnoutError
from turnout.newcomer.doctor.findings import Finding, fail, failed_by, ok, warn
from turnout.newcomer.keyed import has_keys

__all__ = ["called_at", "check_binding", "check_port"]

PATIENCE_S = 2.0


def check_port(host: str, port: int) -> Finding:
    """Whether the address can be listened at. Where it is taken: by a gateway, or by something else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as error:
        if _is_gateway(host, port):
            return ok("port", f"{host}:{port}: a gateway is running there")
        return fail("port", f"{host}:{port} cannot be had ({error.strerror})", "choose another: serve --port 8788")
    except OverflowError:
        return fail("port", f"{port} is no port", "choose one from 1 to 65535")
    return ok("port", f"{host}:{port} is free")


def check_binding(config: Config, host: str) -> Finding:
    """Beyond this machine a gateway listens only with keys."""
    try:
        keyed = has_keys(config)
    except TurnoutError as error:
        return failed_by("keys", error.message, "mend the store first")
    if host in LOOPBACK:
        return ok("keys", "callers need one" if keyed else "none: whoever is on this machine may call")
    if not keyed:
        return fail(
            "keys",
            f"server.host = {host}: without keys it listens on this machine alone, and does not start",
            "turnout keys create NAME --config FILE",
        )
    if config.server.admin_key is None:
        return warn(
            "keys",
            "there is no admin key: /admin and the console stay shut",
            '[server] admin_key = "env:TURNOUT_ADMIN_KEY"',
        )
    return ok("keys", "callers need one, and admins theirs")


def called_at(host: str, port: int) -> str:
    """The URL by which a gateway that listens there is called from this machine."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where all addresses are meant
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"


def _is_gateway(host: str, port: int) -> bool:
    """By its answer to a question that costs nothing, on this machine."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{called_at(host, port)}/", timeout=PATIENCE_S) as answer:
            return b'"turnout"' in answer.read(1_000)
    except (OSError, ValueError, HTTPException):
        return False
