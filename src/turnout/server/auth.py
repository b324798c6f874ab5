"""Who a caller is, from any of the headers that SDKs send a key in."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import structs

from turnout.errors import InvalidRequest, NotFound, Unauthorized
from turnout.keys import Key, Keys, KeyStore, StoredKey, digest_of, new_key

__all__ = ["Keyring", "Role", "presented_key"]

Role = Literal["admin", "viewer"]
"""Who may change things, and who may look."""

LOOK_S = 1.0
"""How soon a key that another process made or revoked is known here."""


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key of a request: `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`, whichever is there."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or None


class Keyring:
    """The keys of the config, which the file alone changes, and those of the store. Names are what records show.
    `secret` is asked for when there is a key to hash. One event loop asks for callers; keys may be changed in threads,
    for a store elsewhere may take a moment."""

    def __init__(
        self,
        configured: Mapping[str, tuple[Key, str]],
        store: KeyStore,
        secret: Callable[[], bytes],
        *,
        admin_key: str | None = None,
        viewer_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secret
        self._store = store
        self._clock = clock
        self._changing = threading.Lock()
        self._looked_s = clock()
        born = datetime.now(UTC)
        self._configured = [
            StoredKey(key=key, digest=digest_of(text, secret()), hint=text[-4:], created_at=born)
            for key, text in configured.values()
        ]
        # The admin's last: where both are the same key, it is an admin's.
        told: dict[Role, str | None] = {"viewer": viewer_key, "admin": admin_key}
        self._roles: dict[str, Role] = {digest_of(key, secret()): role for role, key in told.items() if key}
        self._keys = Keys([*self._configured, *store.all()])

    @property
    def open(self) -> bool:
        """No keys are there: everyone who can reach us may call."""
        self._refresh()
        return not len(self._keys)

    def caller(self, headers: Mapping[str, str]) -> Key | None:
        """The caller's key, None when there are none. Raises Unauthorized."""
        if self.open:
            return None
        key = presented_key(headers)
        if key is None:
            raise Unauthorized("no key was sent; send one as Authorization: Bearer, x-api-key or x-goog-api-key")
        return self._keys.find(digest_of(key, self._secret()))

    @property
    def unlocked(self) -> bool:
        """Neither a virtual key nor an admin's nor a viewer's exists: whoever can reach us is an admin."""
        return not self._roles and self.open

    def digest(self, key: str) -> str:
        """What is kept of a key."""
        return digest_of(key, self._secret())

    def role_of(self, digest: str) -> Role | None:
        """What the key of this digest may do here; None: nothing. Every key is compared, whichever it is."""
        found: Role | None = None
        for known, role in self._roles.items():
            if hmac.compare_digest(known, digest):
                found = role
        return found

    def listing(self) -> list[tuple[StoredKey, bool]]:
        """Every key, and whether the config holds it."""
        return [(s, True) for s in self._configured] + [(s, False) for s in self._store.all()]

    def create(self, key: Key) -> tuple[StoredKey, str]:
        """A new key and its secret, which nobody can see again. Raises InvalidRequest for a name that is taken."""
        with self._changing:
            if key.name in {stored.key.name for stored, _ in self.listing()}:
                raise InvalidRequest(
                    f"there is a key {key.name!r} already; rotate it, or choose another name", param="name"
                )
            text = new_key()
            stored = StoredKey(
                key=key, digest=digest_of(text, self._secret()), hint=text[-4:], created_at=datetime.now(UTC)
            )
            self._put(stored)
        return stored, text

    def rotate(self, name: str, *, grace_s: float = 0.0) -> tuple[StoredKey, str]:
        """Another secret for a key; the one so far opens for `grace_s` more. Raises NotFound and InvalidRequest."""
        text = new_key()
        until = datetime.now(UTC) + timedelta(seconds=grace_s)
        with self._changing:
            stored = self._mine(name).rotated(digest_of(text, self._secret()), text[-4:], old_until=until)
            self._put(stored)
        return stored, text

    def change(self, name: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey:
        """The key after `change`. Raises NotFound and InvalidRequest."""
        with self._changing:
            stored = change(self._mine(name))
            self._put(stored)
        return stored

    def revoke(self, name: str) -> StoredKey:
        """Close a key for good. Raises NotFound and InvalidRequest."""
        now = datetime.now(UTC)
        return self.change(name, lambda stored: structs.replace(stored, revoked_at=now))

    def _mine(self, name: str) -> StoredKey:
        for stored, configured in self.listing():
            if stored.key.name == name:
                if configured:
                    raise InvalidRequest(f"key {name} stands in the config: change it there", param="name")
                if stored.revoked_at is not None:
                    raise InvalidRequest(f"key {name} is revoked; create another", param="name")
                return stored
        raise NotFound(f"there is no key {name!r}; GET /admin/keys lists them")

    def _put(self, stored: StoredKey) -> None:
        self._store.put(stored)
        self._keys = Keys([*self._configured, *self._store.all()])

    def _refresh(self) -> None:
        """Notice what another process did to the store."""
        now_s = self._clock()
        # Not while somebody changes a key here, in a thread: he reads them anew when he is done.
        if now_s - self._looked_s >= LOOK_S and self._changing.acquire(blocking=False):
            try:
                self._looked_s = now_s
                if self._store.changed():
                    self._keys = Keys([*self._configured, *self._store.all()])
            finally:
                self._changing.release()
