"""Alerts of budgets and brakes leave the house: a line in the log, a signed POST to webhooks that the user named."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from turnout.background import Background
from turnout.catalog.prices import NANO_PER_USD
from turnout.config import Config
from turnout.errors import TurnoutError
from turnout.providers.transport import Transport, UpstreamRequest
from turnout.spend.budgets import Alert
from turnout.telemetry.signals import Braked

__all__ = ["Alerts", "payload", "signature", "signing_key"]

log = logging.getLogger("turnout")

MOST_AT_ONCE = 32
"""Messages under way; a webhook that hangs must not gather tasks without bound."""

WAITS_S = (0.0, 1.0, 5.0, 25.0, 120.0)
"""Before each try. A receiver that is being deployed anew is back within that."""

PATIENCE_S = 10.0

LEAVE_S = 3.0
"""What is under way when the gateway ends is tried once more at once, and has so long."""

GONE = 410
"""The receiver wants no more of it (Standard Webhooks): nothing is tried again."""

HOLDING = frozenset({"pause", "block"})
"""What brakes do that somebody should hear of; a warning is told to the caller at every step."""

PREFIX = "whsec_"


class Alerts:
    """Tells of budgets and brakes. `webhooks` are URLs by budget, `everything` one for all events, `key` signs; nobody
    else is ever called. `counts`: messages `delivered`, `failed` (every try) and `dropped` (too many at once)."""

    def __init__(self, transport: Transport, *, waits_s: tuple[float, ...] = WAITS_S) -> None:
        self._transport = transport
        self._waits_s = waits_s
        self._background = Background(at_once=MOST_AT_ONCE)
        self._closing = asyncio.Event()
        self.webhooks: Mapping[str, str] = {}
        self.everything: str | None = None
        self.key: bytes | None = None
        self.counts: Counter[str] = Counter(delivered=0, failed=0, dropped=0)

    def follow(self, config: Config) -> None:
        """Tell whom `config` names from now on."""
        told = config.telemetry
        self.webhooks = {name: b.webhook.reveal() for name, b in config.budgets.items() if b.webhook}
        self.everything = told.webhook.reveal() if told.webhook else None
        self.key = signing_key(told.webhook_secret.reveal()) if told.webhook_secret else None

    def tell(self, alert: Alert) -> None:
        """Take note at once; send in the background. Needs a running event loop where there is a webhook."""
        log.warning("%s", alert.sentence)
        body = payload(alert)
        if (url := self.webhooks.get(alert.budget)) is not None:
            self._begin(url, f"the webhook of budget {alert.budget}", f"budgets.{alert.budget}.webhook", body)
        if self.everything is not None:
            self._begin(self.everything, "telemetry.webhook", "telemetry.webhook", body)

    def braked(self, event: Braked) -> None:
        """As `tell`, of a brake that holds a session."""
        if event.action not in HOLDING:
            return
        log.warning("session %s is held by the brake %s: %s", event.session, event.brake, event.why)
        if self.everything is not None:
            self._begin(self.everything, "telemetry.webhook", "telemetry.webhook", brake_payload(event))

    async def aclose(self) -> None:
        """What waits for its next try has it now; what does not arrive then is lost, and the log says so."""
        self._closing.set()
        await self._background.ended(LEAVE_S)
        await self._background.aclose()

    def _begin(self, url: str, name: str, key: str, body: bytes) -> None:
        if self._background.busy:
            self.counts["dropped"] += 1
            log.error("%s does not keep up: one alert was not sent", name)
            return
        self._background.begin(self._send(url, name, key, body))

    async def _send(self, url: str, name: str, key: str, body: bytes) -> None:
        why: str | None = "the gateway ended before it answered"
        try:
            why = await self._delivered(url, body)
        finally:  # cancelled, too
            self.counts["delivered" if why is None else "failed"] += 1
            if why is not None:
                # The URL may hold a secret (Slack's do), so it is not told.
                log.error("%s could not be reached: %s; correct %s", name, why, key)

    async def _delivered(self, url: str, body: bytes) -> str | None:
        """Try until it is; else why it was not."""
        why, message_id = "", f"msg_{secrets.token_hex(12)}"
        for wait_s in self._waits_s:
            last = await self._closes_within(wait_s)
            try:
                status = await self._post(url, message_id, body)
            except TurnoutError as error:
                why = error.message
                if last:
                    break
                continue
            if status < 300:
                return None
            why = f"it answered {status}"
            if last or status == GONE:
                break
        return why

    async def _closes_within(self, wait_s: float) -> bool:
        """Wait so long, or until the gateway ends: then True, and at once."""
        if wait_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait_s)
        return self._closing.is_set()

    async def _post(self, url: str, message_id: str, body: bytes) -> int:
        stamp = int(time.time())
        headers = [("content-type", "application/json"), ("webhook-id", message_id), ("webhook-timestamp", str(stamp))]
        if self.key is not None:
            headers.append(("webhook-signature", signature(self.key, message_id, stamp, body)))
        response = await self._transport.send(
            UpstreamRequest(
                method="POST",
                url=url,
                headers=headers,
                body=body,
                first_byte_timeout_s=PATIENCE_S,
                idle_timeout_s=PATIENCE_S,
            )
        )
        try:
            return response.status
        finally:
            await response.aclose()


def signing_key(secret: str) -> bytes:
    """The bytes that sign: what stands in base64 behind `whsec_`, as Standard Webhooks hands secrets out, else the
    text itself."""
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            pass  # a secret of somebody's own that begins so
    return secret.encode()


def signature(key: bytes, message_id: str, stamp: int, body: bytes) -> str:
    """The header `webhook-signature` (Standard Webhooks 1.0): HMAC-SHA256 over id, seconds since 1970 and body, so that
    an old message cannot be sent again as a new one."""
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def payload(alert: Alert) -> bytes:
    """JSON; `text` is what Slack, Mattermost and Google Chat show."""
    return msgspec.json.encode(
        {
            "event": "budget_alert",
            "text": alert.sentence,
            "budget": alert.budget,
            "share": alert.share,
            "spent_usd": alert.spent_nano_usd / NANO_PER_USD,
            "amount_usd": alert.amount_nano_usd / NANO_PER_USD,
            "period": alert.until,
        }
    )


def brake_payload(event: Braked) -> bytes:
    """JSON, as `payload`. Names of sessions, keys and features; nothing of what was said."""
    return msgspec.json.encode(
        {
            "event": "brake",
            "text": f"session {event.session} is held by the brake {event.brake}: {event.why}",
            "session": event.session,
            "key": event.key,
            "feature": event.feature,
            "brake": event.brake,
            "action": event.action,
            "why": event.why,
        }
    )
