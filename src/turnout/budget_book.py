"""The budgets of a gateway from both places: the config's, and those that were made while it runs. Changes take effect
at once."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec import Struct

from turnout.config import BudgetConfig, Config, check_budget
from turnout.errors import ConfigError, InvalidRequest, NoCapacity, NotFound, TurnoutError
from turnout.memory import Memory
from turnout.money import Taking, budget_rule, budget_rules, claimed, paced
from turnout.spend.budgets import BudgetRule

__all__ = ["BudgetBook", "BudgetStore", "StoredBudget", "book_rules"]

log = logging.getLogger("turnout")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

EXAMPLE = '{"amount_usd": 50, "period": "month", "match": {"tag": "feature=search"}}'


class StoredBudget(Struct, frozen=True, kw_only=True):
    """A budget by its name; `told` is what a config's table of a budget would say, as JSON."""

    name: str
    told: msgspec.Raw


class BudgetStore(Protocol):
    """Where budgets are kept that were made while gateways run. Several may change them."""

    def all(self) -> list[StoredBudget]:
        """Every budget, oldest first. Raises Internal where they cannot be read."""
        ...

    def put(self, stored: StoredBudget) -> None:
        """Keep a budget, in the place of one of the same name. Raises Internal where it cannot be written."""
        ...

    def remove(self, name: str) -> None:
        """Raises Internal where it cannot be written."""
        ...

    def changed(self) -> bool:
        """Whether somebody else has written since this was last asked. Takes microseconds."""
        ...


class BudgetBook:
    """What the config says of budgets, which the file alone changes, over what the store holds. One event loop owns
    it. Raises ConfigError where a budget is hard and another process keeps the ledger's."""

    def __init__(self, config: Config, store: BudgetStore, memory: Memory) -> None:
        self._configured = dict(config.budgets)
        self._rules = budget_rules(config)
        self._store = store
        self._memory = memory
        self._made = {stored.name: _read(stored) for stored in store.all()}
        self._behind = False
        self._changing = asyncio.Lock()
        claimed(self.rules, memory.journal, memory.ledger)

    @property
    def told(self) -> Mapping[str, BudgetConfig]:
        """Every budget as a config tells it. One that stands in the config hides another of its name."""
        return {**self._made, **self._configured}

    @property
    def rules(self) -> list[BudgetRule]:
        return self._with(self._made)

    def _with(self, made: Mapping[str, BudgetConfig]) -> list[BudgetRule]:
        names = {rule.name for rule in self._rules}
        return [*self._rules, *(budget_rule(n, told) for n, told in made.items() if n not in names)]

    def configured(self, name: str) -> bool:
        """Whether the config holds it, or the gateway itself: then nobody changes it here."""
        return any(rule.name == name for rule in self._rules)

    async def take(self) -> None:
        """Let these budgets hold from now on, with what the ledger says was spent in their periods; requests go on
        while it is read. Raises NoCapacity and Internal, and then nothing has changed."""
        async with self._changing:
            try:
                await self._take(self._made)
            except TimeoutError:
                raise NoCapacity("the ledger took too long to say what was spent; try again", retry_after=5) from None

    async def look(self) -> None:
        """Take over what another gateway has changed in the store; requests go on meanwhile. What cannot be taken is
        logged and tried again, and what held before holds on."""
        try:
            if not (self._store.changed() or self._behind):
                return
            async with self._changing:
                made = {stored.name: _read(stored) for stored in self._store.all()}
                if made != self._made:
                    await self._claim(self._with(made))
                    await self._take(made)
            self._behind = False
        except (TurnoutError, TimeoutError, msgspec.MsgspecError) as error:
            if not self._behind:
                log.warning("budgets that another gateway has changed are not taken over yet: %s", error)
            self._behind = True

    async def _take(self, made: dict[str, BudgetConfig]) -> None:
        """Let these hold once their past is read. Raises TimeoutError, Internal, and NoCapacity."""
        taking = Taking(self._with(made), self._memory.budgets, self._memory.ledger)
        try:
            await taking.read()
            if taking.overtaken:
                raise NoCapacity("the budgets were changed meanwhile")
            self._made = made
            taking.end()
        finally:
            taking.drop()
        self._memory.pacing.reconfigure(paced(self.told))

    async def create(self, name: str, body: bytes) -> None:
        """It holds when this returns; requests go on meanwhile. Raises InvalidRequest, NoCapacity where the ledger
        cannot be read, and ConfigError where another process keeps its budgets."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest("name: letters, digits and . _ - , at most 100", param="name")
        async with self._changing:
            if name in self.told or self.configured(name):
                raise InvalidRequest(
                    f"there is a budget {name!r} already; change it, or choose another name", param="name"
                )
            await self._put(name, _checked(name, {}, body))

    async def change(self, name: str, body: bytes) -> None:
        """Fields that are not told stay; until this returns the budget holds as it was. Raises as `create`, and
        NotFound."""
        async with self._changing:
            await self._put(name, _checked(name, msgspec.to_builtins(self._mine(name), enc_hook=str), body))

    async def remove(self, name: str) -> None:
        """What it has counted is forgotten; the ledger has it still. A change that is under way is not waited for, and
        does not come about. Raises NotFound and InvalidRequest."""
        self._mine(name)
        await asyncio.to_thread(self._store.remove, name)
        self._made.pop(name, None)
        self._memory.budgets.reconfigure(self.rules)  # no other begins: there is nothing to read
        self._memory.pacing.reconfigure(paced(self.told))

    def _mine(self, name: str) -> BudgetConfig:
        if self.configured(name):
            raise InvalidRequest(f"budget {name} stands in the config: change it there", param="name")
        if name not in self._made:
            names = ", ".join(rule.name for rule in self.rules) or "none is set"
            raise NotFound(f"there is no budget {name!r}; there are: {names}")
        return self._made[name]

    async def _claim(self, rules: list[BudgetRule]) -> None:
        """Be a keeper of the ledger's budgets where one is hard; off the loop, for disks and databases may be slow.
        Raises ConfigError."""
        await asyncio.to_thread(claimed, rules, self._memory.journal, self._memory.ledger)

    async def _put(self, name: str, told: BudgetConfig) -> None:
        """To be called while nothing else changes."""
        await self._claim([budget_rule(name, told)])
        record = msgspec.json.encode(msgspec.to_builtins(told, enc_hook=str))
        taking = Taking(self._with({**self._made, name: told}), self._memory.budgets, self._memory.ledger)
        try:
            await taking.read()
            if not taking.overtaken:
                await asyncio.to_thread(self._store.put, StoredBudget(name=name, told=msgspec.Raw(record)))
                self._behind = True  # until it holds
            if taking.overtaken:
                raise NoCapacity("the budgets were changed meanwhile; look at them and try again", retry_after=1)
            self._made[name] = told
            taking.end()
            self._behind = False
        except TimeoutError:
            raise NoCapacity("the ledger took too long to say what was spent; try again", retry_after=5) from None
        finally:
            taking.drop()
        self._memory.pacing.reconfigure(paced(self.told))


def book_rules(config: Config, store: BudgetStore) -> list[BudgetRule]:
    """The rules of all budgets, for somebody who only looks."""
    own = budget_rules(config)
    names = {rule.name for rule in own}
    return [*own, *(budget_rule(s.name, _read(s)) for s in store.all() if s.name not in names)]


def _checked(name: str, before: dict[str, object], body: bytes) -> BudgetConfig:
    """A budget of what is told over what was. Raises InvalidRequest."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
        for field in fields:
            if field not in BudgetConfig.__struct_fields__ or field == "webhook":
                told = "a webhook stands in the config alone" if field == "webhook" else f"it looks like {EXAMPLE}"
                raise InvalidRequest(f"{field[:100]!r} is no field of a budget made here; {told}", param=field[:100])
        config = msgspec.convert({**before, **fields}, BudgetConfig, strict=False)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the body is not as it should be ({error}); it looks like {EXAMPLE}") from None
    try:
        check_budget(f"budgets.{name}", config)
    except ConfigError as error:
        raise InvalidRequest(error.message, param=error.param) from None
    return config


def _read(stored: StoredBudget) -> BudgetConfig:
    return msgspec.json.decode(stored.told, type=BudgetConfig)
