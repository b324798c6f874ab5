"""CPU of the delivery loop where all is well: python bench/delivery.py

Prints the microseconds that health, choice, deadline and record add to one call, beside the bare call; with one target,
and with three accounts behind each of four candidates.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.fleets import deployment, outline
from turnout.catalog.models import RateLimits, Target
from turnout.context import Candidate, Decision, RequestContext, SessionView
from turnout.delivery.attempts import Delivery
from turnout.delivery.board import Board
from turnout.delivery.retry import RetryBudget, RetryPolicy

ROUNDS, CALLS = 7, 5_000
RANDOM = Random(1)  # noqa: S311 (seeded on purpose)


class Answer:
    refused = False
    usage = None
    limits = RateLimits(requests=900, requests_reset_s=1.0, tokens=100_000, tokens_reset_s=1.0)

    async def aclose(self) -> None:
        return


ANSWER = Answer()


async def answered(target: Target) -> Answer:
    del target
    return ANSWER


def setting(candidates: int, accounts: int) -> tuple[Delivery, RequestContext]:
    board = Board(
        clock=time.monotonic,
        random=RANDOM,
        accounts={"lab": tuple(f"lab@{n}" if n else "lab" for n in range(accounts))},
    )
    delivery = Delivery(
        board=board,
        policy=RetryPolicy(),
        budget=RetryBudget(clock=time.monotonic),
        random=RANDOM,
        patience={},
    )
    ctx = RequestContext(
        request_id="r",
        dialect="openai-chat",
        outline=outline(("user", "hi")),
        body=b"",
        started_s=time.monotonic(),
        deadline_s=time.monotonic() + 10_000,
        session=SessionView(id="s", agent="a", step=0, source="prefix", home="lab/m0", idle_s=3.0),
        decision=Decision(
            candidates=tuple(
                Candidate(deployment=deployment(f"lab/m{n}", "mid", 1), place=n) for n in range(candidates)
            ),
            reason="x",
            explanation="x",
        ),
    )
    return delivery, ctx


async def cpu_us(candidates: int, accounts: int) -> tuple[float, float]:
    """Microseconds of CPU a call: delivered, and bare; the least of several rounds."""
    delivery, ctx = setting(candidates, accounts)
    target = delivery.board.targets(deployment("lab/m0", "mid", 1))[0]
    delivered: list[float] = []
    bare: list[float] = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(CALLS):
            ctx.attempts.clear()
            done = await delivery.deliver(ctx, answered)
            delivery.board.unhealthy(done.flight.target.deployment, 100)
            done.flight.landed(ttft_s=0.5, tokens_per_s=50.0, whole_s=None)
        delivered.append((time.process_time() - begun) / CALLS * 1e6)
        begun = time.process_time()
        for _ in range(CALLS):
            await answered(target)
        bare.append((time.process_time() - begun) / CALLS * 1e6)
    return min(delivered), min(bare)


if __name__ == "__main__":
    for candidates, accounts in ((1, 1), (4, 1), (4, 3)):
        loop, call = asyncio.run(cpu_us(candidates, accounts))
        added = f"{loop - call:.1f} us a call above the bare call's {call:.2f} us"
        print(f"{candidates} candidates x {accounts} accounts: {added}")
