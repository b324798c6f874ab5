"""What may name or open something is taken out of a text: by the shapes that machines write, in any language. Pure.

It finds shapes and no names of people or places: what it leaves in is for whoever hands the text out to judge.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from turnout.chat import Json

__all__ = ["KINDS", "Redactor"]


def _always(_: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    """By the check digit that card numbers have (Luhn, ISO/IEC 7812-1)."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [d if n % 2 == 0 else 2 * d - 9 * (d > 4) for n, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_phone(text: str) -> bool:
    """Seven to fifteen digits (E.164), and no date."""
    return 7 <= sum(c.isdigit() for c in text) <= 15 and not _DATE.match(text)


def _is_address(text: str) -> bool:
    try:
        found = ip_address(text)
    except ValueError:
        return False
    # `::` and `1::` stand in programs more often than in addresses.
    return not isinstance(found, IPv6Address) or sum(c.isalnum() for c in text) >= 4


def _is_secret(text: str) -> bool:
    """Letters and digits in a long run: a key, a hash, or a token. Paths and names with a number in them have more
    breaks."""
    run = max(_BREAK.split(text), key=len)
    return len(run) >= LEAST_RUN and any(c.isdigit() for c in run) and any(c.isalpha() for c in run)


LEAST_RUN = 20

_BREAK = re.compile(r"[/_-]")
_DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}")

# In this order: a key may hold what looks like a phone number. Every repetition is bounded.
KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "KEY": (
        re.compile(
            r"-----BEGIN [A-Z ]{1,40}PRIVATE KEY-----.{0,8000}?-----END [A-Z ]{1,40}PRIVATE KEY-----"
            r"|\beyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]{8,1000}"
            r"|\b(?:sk|pk|rk|gh[opsu]|github_pat|glpat|xox[abeprs]|hf|npm|pypi|AKIA|ASIA|AIza|ya29)[-_.]?[\w-]{12,400}",
            re.DOTALL,
        ),
        _always,
    ),
    "EMAIL": (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _always),
    "SECRET": (re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{32,4000}={0,2}(?![\w+/=-])"), _is_secret),
    "IP": (
        re.compile(
            r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d))"
        ),
        _is_address,
    ),
    "CARD": (re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)"), _is_card),
    "PHONE": (
        re.compile(
            r"(?<![\w.-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,5}){1,4}"
            r"|\(\d{2,5}\)[ .-]?\d{3,4}[ .-]\d{3,5}|\d{2,3}[ .-]\d{3,4}[ .-]\d{4})(?![\w-]|\.\d)"
        ),
        _is_phone,
    ),
}
"""What is taken out, by the word that stands there afterwards: its shape, and what a match must be beside."""


class Redactor:
    """Takes out what it finds, and counts it by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """`text` with `[EMAIL]` and the like in the place of what was found."""
        for kind, (pattern, holds) in KINDS.items():

            def put(found: re.Match[str], kind: str = kind, holds: Callable[[str], bool] = holds) -> str:
                if not holds(found[0]):
                    return found[0]
                self.counts[kind] += 1
                return f"[{kind}]"

            text = pattern.sub(put, text)
        return text

    def json(self, value: Json) -> Json:
        """A JSON value with every text in it redacted, and numbers that are cards."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {key: self.json(told) for key, told in value.items()}
            case list():
                return [self.json(told) for told in value]
            case int() if not isinstance(value, bool) and _is_card(str(value)):
                return self.text(str(value))
            case _:
                return value
