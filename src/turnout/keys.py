"""Virtual keys: who a caller is and what the key opens. Only a keyed hash of a key is ever kept."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import Deployment
from turnout.errors import Unauthorized

__all__ = ["PREFIX", "Grant", "Key", "KeyStore", "Keys", "StoredKey", "digest_of", "new_key"]

PREFIX = "sk-turnout-"
"""What every key made here begins with: secret scanners and people recognise it."""


class Grant(Struct, frozen=True, kw_only=True):
    """What a key opens. Empty `models` or `modes`: all. A model is a name (`provider/model`), a pattern (`openai/*`)
    or a tier (`tier/small`). `rpm` and `tpm` are requests and tokens a minute; None: no limit. `cache_repair` False:
    nothing is put into its requests for the providers' caches (docs/caching.md). `learning` False: nothing is recorded
    of what becomes of its answers (docs/learning.md)."""

    owner: str | None = None
    team: str | None = None
    models: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    expires: datetime | None = None
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    cache_repair: bool = True
    learning: bool = True


class Key(Grant, frozen=True, kw_only=True):
    """A grant by the name that records show."""

    name: str

    def opens(self, deployment: Deployment) -> bool:
        """Whether this deployment may answer."""
        return not self.models or any(
            fnmatchcase(deployment.id, pattern) or pattern == f"tier/{deployment.tier}" for pattern in self.models
        )


class StoredKey(Struct, frozen=True, kw_only=True):
    """A key as it is kept; `hint` is its last four characters. After a rotation `old_digest` opens until then."""

    key: Key
    digest: str
    hint: str
    created_at: datetime
    revoked_at: datetime | None = None
    old_digest: str | None = None
    old_until: datetime | None = None

    def rotated(self, digest: str, hint: str, *, old_until: datetime) -> StoredKey:
        """The same key with another secret; the one so far opens until `old_until`."""
        return replace(self, digest=digest, hint=hint, old_digest=self.digest, old_until=old_until)


class KeyStore(Protocol):
    """Where keys are kept that were made while gateways run. Several may change them."""

    def all(self) -> list[StoredKey]:
        """Every key that was ever made, oldest first; revoked ones too. Raises Internal where they cannot be read."""
        ...

    def put(self, stored: StoredKey) -> None:
        """Keep a key, in the place of one of the same name. Raises Internal where it cannot be written."""
        ...

    def changed(self) -> bool:
        """Whether somebody else has written since this was last asked. Takes microseconds."""
        ...


def new_key() -> str:
    """A key of 256 bits, to be shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str, secret: bytes) -> str:
    """What is kept of a key: HMAC-SHA256 with the server's secret, so that a stolen store opens nothing and cannot be
    searched for a key that somebody guesses."""
    return hmac.digest(secret, key.encode("utf-8", "surrogateescape"), "sha256").hex()


class Keys:
    """All keys by their digests. A look-up takes the same time whichever key it finds."""

    def __init__(self, keys: Iterable[StoredKey]) -> None:
        self._by_digest: dict[str, tuple[StoredKey, bool]] = {}
        for stored in keys:
            self._by_digest[stored.digest] = stored, False
            if stored.old_digest is not None:
                self._by_digest.setdefault(stored.old_digest, (stored, True))
        self._made = sum(not old for _, old in self._by_digest.values())

    def __len__(self) -> int:
        """How many were ever made: a gateway whose last key was revoked is shut, and not open to everyone."""
        return self._made

    def find(self, digest: str, now: datetime | None = None) -> Key:
        """The key of a digest. Raises Unauthorized for one that is unknown, revoked, expired or rotated away."""
        # The digest is keyed: how long the look-up takes tells nothing of the keys that there are.
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(digest, found[0].old_digest or "" if found[1] else found[0].digest):
            raise Unauthorized("this key is not known here; ask whoever runs the gateway for one")
        stored, old = found
        now = now or datetime.now(UTC)
        if stored.revoked_at is not None:
            raise Unauthorized(f"key {stored.key.name} was revoked at {_told(stored.revoked_at)}; ask for a new one")
        if stored.key.expires is not None and stored.key.expires <= now:
            raise Unauthorized(f"key {stored.key.name} expired at {_told(stored.key.expires)}; ask for a new one")
        if old and (stored.old_until is None or stored.old_until <= now):
            raise Unauthorized(f"key {stored.key.name} was rotated; use the new one, which ends in {stored.hint}")
        return stored.key


def _told(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
