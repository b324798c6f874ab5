"""What an examination says: one line a thing, its state, and what to do where it is not well. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

__all__ = ["Finding", "State", "counted", "fail", "failed_by", "ok", "status_of", "warn"]

State = Literal["ok", "warn", "fail"]
"""`warn`: it serves, but less well than it could. `fail`: it does not start, or its callers get errors."""


class Finding(Struct, frozen=True, kw_only=True):
    """`told` is the cause, `next` the next step; both are safe to show: they hold no key and no password."""

    state: State
    check: str
    told: str
    next: str | None = None


def ok(check: str, told: str) -> Finding:
    return Finding(state="ok", check=check, told=told)


def warn(check: str, told: str, then: str) -> Finding:
    return Finding(state="warn", check=check, told=told, next=then)


def fail(check: str, told: str, then: str) -> Finding:
    return Finding(state="fail", check=check, told=told, next=then)


def failed_by(check: str, message: str, otherwise: str) -> Finding:
    """An error of ours as a finding: what stands behind its last semicolon is the next step."""
    cause, _, then = message.rpartition("; ")
    return fail(check, cause, then) if cause else fail(check, message, otherwise)


def status_of(findings: Iterable[Finding]) -> int:
    """The exit status: 1 where anything fails. What is only worth a look is no reason to stop a script."""
    return int(any(one.state == "fail" for one in findings))


def counted(findings: Sequence[Finding]) -> str:
    """One sentence about all of them."""
    failed, warned = (sum(one.state == state for one in findings) for state in ("fail", "warn"))
    if not failed and not warned:
        return "nothing hinders it"
    parts = [f"{failed} to mend" if failed else "", f"{warned} to look at" if warned else ""]
    return ", ".join(part for part in parts if part)
