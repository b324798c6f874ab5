"""What `turnout init` writes: the answers to its questions as a config with comments. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from turnout.catalog.known import default_models
from turnout.config import nearest
from turnout.errors import InvalidRequest
from turnout.places import has_key
from turnout.providers.registry import PROVIDERS, ProviderRow, base_variables
from turnout.toml_text import comment, toml_key, toml_text, toml_value

__all__ = ["Answers", "chosen_providers", "config_text", "key_variable", "missing_variables", "parse_usd", "suggested"]

MOST_LOCAL_MODELS = 20
"""Of one server: a machine may hold hundreds, and a config is to be read."""

COLUMN = 37
"""Where comments stand."""


class Answers(Struct, frozen=True, kw_only=True):
    """What init was told. `providers`: rows of the registry, or `embedded`. `local`: the models of servers on this
    machine, by provider. `budget_usd` of a month; None: no budget. `baseline`: the model that savings are told
    against; None where nothing has a price."""

    providers: tuple[str, ...]
    local: Mapping[str, Sequence[str]] = {}
    budget_usd: Decimal | None = None
    baseline: str | None = None


def key_variable(row: ProviderRow, env: Mapping[str, str]) -> str | None:
    """The variable that holds the provider's key: the first that is set, else the usual one; None: it takes none."""
    return next((name for name in row.key_env if env.get(name)), row.key_env[0] if row.key_env else None)


def suggested(env: Mapping[str, str]) -> tuple[str, ...]:
    """Providers whose variables are set. Only whether they are is looked at, never what they hold."""
    return tuple(name for name, row in PROVIDERS.items() if has_key(row, env))


def missing_variables(providers: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """What must be set before the config can be used."""
    rows = [PROVIDERS[name] for name in providers if name in PROVIDERS]
    keys = [key for row in rows if (key := key_variable(row, env)) and not env.get(key)]
    return list(dict.fromkeys([*keys, *(part for row in rows for part in base_variables(row) if not env.get(part))]))


def chosen_providers(text: str, offered: Sequence[str]) -> tuple[str, ...]:
    """Providers named in an answer, by commas or blanks; nothing: all that were offered. Raises InvalidRequest."""
    names = text.replace(",", " ").lower().split()
    if not names or names == ["all"]:
        return tuple(offered)
    known = [*PROVIDERS, *(name for name in offered if name not in PROVIDERS)]
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise InvalidRequest(f"no provider {name!r} is known; {hint}")
    return tuple(dict.fromkeys(names))


def parse_usd(text: str) -> Decimal | None:
    """An amount; None for 0 and `none`. Raises InvalidRequest."""
    told = text.strip().lower().removeprefix("$").replace(",", "")
    if told in {"0", "none", "no"}:
        return None
    digits = told.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise InvalidRequest(f"{text.strip()[:20]!r} is no amount of dollars; write 50, or 0 for no budget")
    amount = Decimal(told)
    return amount or None


def config_text(answers: Answers, env: Mapping[str, str]) -> str:
    """The whole file. It names variables that hold keys, and holds none."""
    sections = (
        _head(),
        _providers(answers, env),
        _models(answers),
        _routing(answers),
        _budget(answers.budget_usd),
        _brakes(),
        _rest(),
    )
    return "\n".join("\n".join(section) for section in sections) + "\n"


def _line(text: str, why: str) -> str:
    return f"{text:<{COLUMN}} {comment(why)}"


def _head() -> Iterator[str]:
    yield "# Made by `turnout init`. Change it as you like: a running gateway reads it again when it changes, and goes"
    yield "# on with what it had where the new text is wrong. Every value may be env:NAME. All: turnout.example.toml."


def _providers(answers: Answers, env: Mapping[str, str]) -> Iterator[str]:
    for name in answers.providers:
        row = PROVIDERS.get(name)
        key = key_variable(row, env) if row else None
        yield ""
        yield f"[providers.{toml_key(name)}]"
        if row is None:
            yield comment("the small model inside Turnout: a stand-in until you have a key or a local server")
        elif row.local:
            yield comment(f"at {row.base_url}; base_url says where else")
        elif key:
            yield _line(f'api_key = "env:{key}"', "the variable's name; the key itself stays out of this file")
        for part in base_variables(row) if row else ():
            yield comment(f"its address is made of the variable {part}; base_url says it in full")


def _models(answers: Answers) -> Iterator[str]:
    """The models to choose among, listed only where the catalogue has no choice of its own."""
    usual = {name: default_models(name) for name in answers.providers}
    if any(usual.values()):
        yield ""
        yield "# Offered without being listed, the current model of each tier:"
        for name, models in usual.items():
            if models:
                yield f"#   {', '.join(f'{name}/{model}' for model in models)}"
        yield '# [models."PROVIDER/MODEL"] lists others: then that provider offers what is listed, and others by name.'
    for name, models in answers.local.items():
        yield ""
        yield _line("# Found running.", 'tier = "small", "mid" or "frontier" says what `auto` takes one for')
        for model in models[:MOST_LOCAL_MODELS]:
            yield f"[models.{toml_text(f'{name}/{model}')}]"
        if len(models) > MOST_LOCAL_MODELS:
            yield comment(f"and {len(models) - MOST_LOCAL_MODELS} more, which may be named as {name}/MODEL")


def _routing(answers: Answers) -> Iterator[str]:
    yield ""
    yield "[routing]"
    yield _line('default = "auto"', "what callers get who ask for `auto`; a model or tier/small fixes it")
    yield _line("quality = 0.95", "share of the best model's expected success to keep")
    if answers.baseline:
        yield _line(f"baseline = {toml_text(answers.baseline)}", "what savings are told against")
    yield ""
    yield _line("[modes]", "a call that says what it is for costs no guessing (x-turnout-mode)")
    yield _line('data_entry = "tier/small"', "docs/routing.md")


def _budget(amount: Decimal | None) -> Iterator[str]:
    yield ""
    if amount is None:
        yield "# [budgets.all]                       # holds what may be spent before it is spent (docs/spend.md)"
        yield "# amount_usd = 50"
        return
    yield "[budgets.all]"
    yield _line(f"amount_usd = {toml_value(amount)}", "of everything that goes through here")
    yield _line('period = "month"', "day, week, month, lifetime, or a rolling window as 30d")
    yield _line('on_exhausted = "block"', "block, pause, small, warn")
    yield _line('pacing = "thrift"', "cheaper models where it would not last; off for none")


def _brakes() -> Iterator[str]:
    yield ""
    yield _line("[brakes]", "hold an agent that goes in circles; it can be resumed (docs/spend.md)")
    yield _line("repeat_call = 3", "the same tool call with the same result, so often")
    yield "# max_session_usd = 5"


def _rest() -> Iterator[str]:
    yield ""
    yield "[store]"
    yield _line('ledger = "sqlite:///turnout.db"', "from the folder where the gateway is started")
    yield ""
    yield "# [server]                            # to serve others than this machine: docs/keys.md"
    yield '# host = "0.0.0.0"                    # needs a key first: turnout keys create NAME --config THIS_FILE'
    yield '# admin_key = "env:TURNOUT_ADMIN_KEY" # opens /admin and /console then'
