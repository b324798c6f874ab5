"""Virtual keys: who a caller is, from any of the headers that SDKs send a key in."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from hashlib import sha256

from turnout.errors import Unauthorized

__all__ = ["Keyring", "presented_key"]


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key of a request: `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`, whichever is there."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or None


class Keyring:
    """Knows keys by a keyed hash alone; the salt lives as long as the process. Names are what records show."""

    def __init__(self, keys: Mapping[str, str], admin_key: str | None = None) -> None:
        self._salt = secrets.token_bytes(32)
        self._names = {self._digest(key): name for name, key in keys.items()}
        self._admin = self._digest(admin_key) if admin_key else None

    @property
    def open(self) -> bool:
        """No keys are configured: everyone who can reach us may call."""
        return not self._names

    def caller(self, headers: Mapping[str, str]) -> str | None:
        """The name of the caller's key, None when none are configured. Raises Unauthorized."""
        if self.open:
            return None
        key = presented_key(headers)
        if key is None:
            raise Unauthorized("no key was sent; send one as Authorization: Bearer, x-api-key or x-goog-api-key")
        found: str | None = None
        digest = self._digest(key)
        for known, name in self._names.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(known, digest):
                found = name
        if found is None:
            raise Unauthorized("this key is not known here; ask whoever runs the gateway for one")
        return found

    def admit_admin(self, headers: Mapping[str, str]) -> None:
        """Raises Unauthorized unless the admin key is presented, or neither it nor any virtual key exists."""
        if self._admin is None and self.open:
            return
        key = presented_key(headers)
        if self._admin is None or key is None or not hmac.compare_digest(self._admin, self._digest(key)):
            raise Unauthorized("this needs the admin key (server.admin_key in the config)")

    def _digest(self, key: str) -> bytes:
        return hmac.new(self._salt, key.encode("utf-8", "surrogateescape"), sha256).digest()
