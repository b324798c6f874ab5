"""Budget alerts leave the house: a line in the log, and a POST to the webhook that the user named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from turnout.background import Background
from turnout.catalog.prices import NANO_PER_USD
from turnout.errors import TurnoutError
from turnout.providers.transport import Transport, UpstreamRequest
from turnout.spend.budgets import Alert

__all__ = ["Alerts", "payload"]

log = logging.getLogger("turnout")

MOST_AT_ONCE = 32
"""Messages under way; a webhook that hangs must not gather tasks without bound."""

WAITS_S = (0.0, 1.0, 5.0)
"""Before each try."""

PATIENCE_S = 10.0


class Alerts:
    """Tells of budgets. `webhooks` are URLs by budget; nobody else is ever called."""

    def __init__(self, transport: Transport, *, waits_s: tuple[float, ...] = WAITS_S) -> None:
        self._transport = transport
        self._waits_s = waits_s
        self._background = Background(at_once=MOST_AT_ONCE)
        self.webhooks: Mapping[str, str] = {}

    def tell(self, alert: Alert) -> None:
        """Take note at once; send in the background. Needs a running event loop where there is a webhook."""
        log.warning("%s", alert.sentence)
        url = self.webhooks.get(alert.budget)
        if url is None:
            return
        if self._background.busy:
            log.error("the webhook of budget %s does not keep up: one alert was not sent", alert.budget)
            return
        self._background.begin(self._send(url, alert))

    async def aclose(self) -> None:
        await self._background.aclose()

    async def _send(self, url: str, alert: Alert) -> None:
        why = ""
        for wait_s in self._waits_s:
            await asyncio.sleep(wait_s)
            try:
                status = await self._post(url, payload(alert))
            except TurnoutError as error:
                why = error.message
            else:
                if status < 300:
                    return
                why = f"it answered {status}"
        # The URL may hold a secret (Slack's do), so it is not told.
        log.error("the webhook of budget %s could not be reached: %s; correct budgets.*.webhook", alert.budget, why)

    async def _post(self, url: str, body: bytes) -> int:
        response = await self._transport.send(
            UpstreamRequest(
                method="POST",
                url=url,
                headers=[("content-type", "application/json")],
                body=body,
                first_byte_timeout_s=PATIENCE_S,
                idle_timeout_s=PATIENCE_S,
            )
        )
        try:
            return response.status
        finally:
            await response.aclose()


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
