"""A config that carries out what an audit found: `turnout audit --recommend > turnout.toml`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from turnout.lab.audit.report import ModelRow, Report
from turnout.lab.audit.whatif import small_beside
from turnout.providers.registry import PROVIDERS
from turnout.toml_text import comment, toml_key

__all__ = ["recommended"]

MOST_MODELS = 8


def recommended(report: Report) -> str:
    """The text of a `turnout.toml`, each section with why it is there. Names the variables of keys and holds none."""
    return "\n".join([*_head(report), *_providers(report), *_models(report), *_sections(report)]) + "\n"


def _head(report: Report) -> Iterator[str]:
    total = report.totals
    yield f"# Made by `turnout audit` on {report.made_at:%Y-%m-%d} from {total.calls:,} calls that cost "
    yield f"# ${total.cost_usd:,.2f} at list price. Read it before you use it: docs/audit.md says what it rests on."


def _providers(report: Report) -> Iterator[str]:
    for name in _known(report):
        row = PROVIDERS[name]
        yield f"\n[providers.{toml_key(name)}]"
        if row.key_env:
            yield f'api_key = "env:{row.key_env[0]}"'


def _models(report: Report) -> Iterator[str]:
    named: dict[str, str] = {}
    for row in _used(report)[:MOST_MODELS]:
        named.setdefault(row.model, f"{row.calls:,} calls, ${row.cost_usd:,.2f}")
        provider, _, model = row.model.partition("/")
        if small := small_beside(provider, model):
            named.setdefault(f"{provider}/{small}", "for routine steps and what is simple")
    for name, why in named.items():
        yield f"\n[models.{toml_key(name)}]".ljust(37) + comment(why)
    yield '\n[routing]\ndefault = "auto"'


def _sections(report: Report) -> Iterator[str]:
    """The config of each finding, every section once."""
    sections: dict[str, list[str]] = {}
    for finding in report.findings:
        header, *lines = (finding.config or "").splitlines() or [""]
        for line in lines:
            told = sections.setdefault(header, [])
            if not any(line.partition("=")[0] == other.partition("=")[0] for other in told):
                told.append(f"{line:<35} {comment(finding.title)}")
    # What routes stands in one table with the default, which came last.
    yield from sections.pop("[routing]", [])
    for header, lines in sections.items():
        yield from ("", header, *lines)


def _used(report: Report) -> list[ModelRow]:
    return [row for row in report.models if row.model.partition("/")[0] in PROVIDERS and not row.unpriced]


def _known(report: Report) -> Sequence[str]:
    return list(dict.fromkeys(row.model.partition("/")[0] for row in _used(report)))
