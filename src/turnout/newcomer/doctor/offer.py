"""What the gateway would offer: providers and their keys, models and their prices, names that lead nowhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from turnout.catalog.fleet import Fleet
from turnout.catalog.models import TIERS, Deployment
from turnout.config import Config, ModeConfig, StoreConfig
from turnout.engine import Engine, build_engine
from turnout.errors import TurnoutError
from turnout.newcomer.doctor.findings import Finding, fail, failed_by, ok, warn
from turnout.newcomer.doctor.settings import STANDS_IN
from turnout.providers.exchange import Provider
from turnout.store_rules import ALONE

__all__ = ["check_key", "check_models", "check_names", "examine"]

FEW_SHOWN = 4


async def examine(
    config: Config, env: Mapping[str, str], *, discover: bool
) -> tuple[Mapping[str, Provider], Sequence[Deployment], list[Finding]]:
    """The places that calls may go to, their models, and what is not well with them. A whole gateway is built, its
    ledger in memory; nobody is called, but where there is no config (`discover`) the usual ports of this machine."""
    apart = replace(config, store=StoreConfig(ledger="sqlite:///:memory:", shared=ALONE))
    heard = _Heard()
    log = logging.getLogger("turnout")
    log.addHandler(heard)
    try:
        engine = await build_engine(apart, env, discover=discover)
    except TurnoutError as error:
        return {}, (), [failed_by("config", error.message, "correct the config")]
    finally:
        log.removeHandler(heard)
    try:
        return engine.pipeline.providers, engine.fleet.all, list(_findings(engine, config, heard.lines))
    finally:
        await engine.aclose()


def check_key(place: str, provider: Provider) -> Finding:
    """A place's key: there, and not spoiled on its way here. The key itself is not shown."""
    check, row, key = f"provider {place}", provider.row, provider.api_key
    usual = f"export {row.key_env[0]}=..." if row.key_env else f"providers.{row.name}.api_key"
    if key == STANDS_IN:
        return fail(check, "its key's variable is not set", "set it where the gateway is started")
    if key is None and provider.signer is not None:
        return ok(check, "no key: each call is signed with the credentials that the cloud's own tools find")
    if key is None:
        if row.local or not row.key_env:
            return ok(check, "no key is sent")
        return fail(check, "there is no key for it", f"{usual}, or remove it from the config")
    if key != key.strip() or not key.isprintable() or key[:1] in {'"', "'"}:
        return fail(check, "its key has blanks, quotes or line breaks around it", f"set it anew: {usual}")
    return ok(check, f"a key is set ({len(key)} characters)")


def check_models(fleet: Fleet) -> Iterator[Finding]:
    """Whether there is a choice, and whether what is spent can be counted."""
    if not len(fleet):
        yield fail(
            "models",
            "there is none to answer",
            "set a provider's key, start a local server, or write a config: turnout init",
        )
        return
    tiers = {tier: len(fleet.tier(tier)) for tier in TIERS}
    chat = ", ".join(f"{count} {tier}" for tier, count in tiers.items() if count)
    yield ok("models", f"{len(fleet):,} ({chat or 'none of a known tier'})")
    if sum(bool(count) for count in tiers.values()) < 2:
        yield warn(
            "models",
            "all are of one tier: `auto` has nothing to choose between, and saves nothing",
            'name a smaller and a stronger one, or say what each is: [models."PROVIDER/MODEL"] tier = "small"',
        )
    if unpriced := [d.id for d in fleet if d.price is None]:
        yield warn(
            "prices",
            f"{_some(unpriced)}: no list price is known, so what they cost is not counted in budgets or savings",
            'say it: [models."PROVIDER/MODEL"] price = { input = 0.5, output = 2 }',
        )


def check_names(config: Config, engine: Engine) -> Iterator[Finding]:
    """Aliases, modes and budgets that name what is not there."""
    modes = {name: told.model if isinstance(told, ModeConfig) else told for name, told in config.modes.items()}
    asked = {
        "routing.default": config.routing.default,
        **{f"modes.{name}": f"mode/{name}" for name in modes},
        **{f"aliases.{name}": name for name in config.aliases},
    }
    for path, name in asked.items():
        try:
            selection = engine.names.resolve(name)
        except TurnoutError as error:
            yield failed_by("names", f"{path}: {error.message}", f"correct {path}")
            continue
        if selection.tier is not None and not engine.fleet.tier(selection.tier):
            yield fail("names", f"{path}: there is no model of tier {selection.tier}", "add one, or change it")
    for name, budget in config.budgets.items():
        if budget.match.model and not engine.fleet.find(budget.match.model):
            yield warn("budgets", f"budgets.{name}: no model {budget.match.model}, so it covers nothing", "correct it")


def _findings(engine: Engine, config: Config, warnings: Sequence[str]) -> Iterator[Finding]:
    for place, provider in engine.pipeline.providers.items():
        yield check_key(place, provider)
    yield from check_models(engine.fleet)
    yield from check_names(config, engine)
    for line in warnings:
        found = failed_by("config", line, "see whether that is meant")
        yield replace(found, state="warn")


def _some(names: Sequence[str]) -> str:
    more = len(names) - FEW_SHOWN
    return ", ".join(names[:FEW_SHOWN]) + (f" and {more} more" if more > 0 else "")


class _Heard(logging.Handler):
    """What the gateway's parts would warn of at their start."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
