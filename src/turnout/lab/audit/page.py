"""`turnout audit --html`: the report as one page that loads nothing, with plots, tables and what to do. Pure.

The page's style and script stand in it; its policy (CSP) allows these two by their hashes and nothing else, so that
even a name that broke out of its place could do nothing. Without the script all of it can be read: the script shows
tips beside the pointer, sorts tables and copies snippets.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from importlib.resources import files

from turnout.lab.audit import plots
from turnout.lab.audit.charts import bar
from turnout.lab.audit.markup import Markup, clean, joined, percent, tag, tokens, usd
from turnout.lab.audit.report import (
    Basis,
    Finding,
    ModelRow,
    ProjectRow,
    Report,
    SessionRow,
    SourceRow,
    ToolRow,
    WhatIf,
)
from turnout.lab.audit.tables import Cell, count, money, name, share, table, volume, words

__all__ = ["page_of"]

MOST_ROWS = 100
"""Of any table."""

MARKS: dict[Basis, str] = {"measured": "●", "estimated": "◐", "assumed": "○"}

MEANINGS: dict[Basis, str] = {
    "measured": "as the logs tell it, at list prices",
    "estimated": "worked out by a published rule or by length",
    "assumed": "true only if what it supposes is",
}

NEARLY_ALL = 0.9
"""Of what was spent: from here on the what-if speaks for all of it."""

PLACES = (
    ("findings", "Findings"),
    ("what-if", "What if"),
    ("where", "Where tokens went"),
    ("caches", "Caches"),
    ("tables", "Tables"),
    ("basis", "What this rests on"),
)


def page_of(report: Report) -> str:
    """The whole page. No text of any message is in it that is not in the report."""
    style, script = _own("page.css"), _own("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"turnout audit: {_spent(report)}"),
        tag("style", style),
    )
    main = tag(
        "main",
        _findings(report.findings),
        _what_if(report),
        _section("where", "Where tokens went", plots.snowball(report), plots.whereto(report), plots.days(report)),
        _section("caches", "Caches", _misses(report), plots.cache(report)),
        _section("tables", "Tables", *_tables(report)),
        _basis(report),
        id="main",
    )
    skip = tag("a", "Skip to the findings", class_="skip", href="#findings")
    body = tag("body", skip, _head(report), main, _foot(report), tag("script", script))
    return joined(Markup("<!doctype html>\n"), tag("html", head, body, lang="en")) + "\n"


def _own(file: str) -> Markup:
    return Markup((files("turnout.lab.audit") / "data" / file).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _spent(report: Report) -> str:
    total = report.totals
    if not total.calls:
        return "no call of a model was found in these logs"
    if not total.cost_usd and total.unpriced_calls:
        return f"{tokens(total.input_tokens + total.output_tokens)} tokens were used, by models without a list price"
    return f"{usd(total.cost_usd)} was spent at list price"


def _head(report: Report) -> Markup:
    links = tag(
        "nav", tag("ul", *(tag("li", tag("a", text, href=f"#{place}")) for place, text in PLACES)), aria_label="Parts"
    )
    brand = tag("p", "turnout audit", class_="brand")
    return tag("header", brand, tag("h1", _upper(_headline(report))), _rests(report), _sums(report), links)


def _headline(report: Report) -> str:
    """What was spent and what would have been saved; of what is in the what-if, where that is not nearly all."""
    told, together, paid = _spent(report), _row(report, "together"), _row(report, "paid")
    if together is None or paid is None:
        return told
    if together.saved_usd <= 0:
        return f"{told}; nothing would have been saved"
    if paid.usd >= NEARLY_ALL * report.totals.cost_usd:
        share_of_all = percent(together.saved_usd / report.totals.cost_usd)
        return f"{told}; {usd(together.saved_usd)} of it ({share_of_all}) would have been saved"
    rest = f"{usd(together.saved_usd)} of the {usd(paid.usd)} that can be priced otherwise"
    return f"{told}; {rest} ({percent(together.saved_share)}) would have been saved"


def _row(report: Report, policy: str) -> WhatIf | None:
    return next((row for row in report.what_if if row.policy == policy), None)


def _rests(report: Report) -> Markup:
    """What the headline rests on."""
    total = report.totals
    if not total.calls:
        return tag("p", "Name a file or a folder of logs: turnout audit PATH.")
    told: list[tuple[Basis, str]] = []
    if total.estimated_calls < total.calls:
        told.append(("measured", "what was spent: token counts of the logs, at list prices"))
    if total.estimated_calls:
        calls = f"{total.estimated_calls:,} of {total.calls:,} calls, whose tokens no log tells"
        told.append(("estimated", f"what was spent by {calls}"))
    together, alone = _row(report, "together"), _row(report, "caching_repaired")
    if together is not None and together.saved_usd > 0:
        told.append((together.basis, f"what would have been saved: {together.how}"))
        if alone is not None and 0 < alone.saved_usd < together.saved_usd:
            told.append((alone.basis, f"{usd(alone.saved_usd)} of that by caching alone: {alone.how}"))
    rows = [joined(tag("dt", _badge(basis)), tag("dd", why)) for basis, why in told]
    left = f"{total.unpriced_calls:,} calls have no list price and count as nothing." if total.unpriced_calls else None
    return tag("div", tag("dl", *rows, class_="keys"), tag("p", left) if left else None, class_="rests")


def _sums(report: Report) -> Markup:
    total, month = report.totals, report.month
    rows = [
        ("Calls", f"{total.calls:,}", f"in {total.sessions:,} sessions"),
        (
            "Input",
            f"{tokens(total.input_tokens)} tokens",
            f"{percent(total.cache_read_tokens / max(1, total.input_tokens))} read from caches",
        ),
        (
            "Output",
            f"{tokens(total.output_tokens)} tokens",
            f"{percent(total.reasoning_tokens / max(1, total.output_tokens))} thinking",
        ),
    ]
    if report.since is not None and report.until is not None:
        span = max(1, (report.until.date() - report.since.date()).days + 1)
        rows.append(("Time", f"{span:,} days" if span > 1 else "1 day", _from_to(report.since, report.until)))
    if month is not None:
        rows.append(("A month at this rate", usd(month.usd), f"{usd(month.usd_per_day)} a day, estimated"))
    return tag(
        "dl",
        *(tag("div", tag("dt", what), tag("dd", told), tag("dd", more, class_="more")) for what, told, more in rows),
        class_="sums",
    )


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b} {at.year}"


def _from_to(since: datetime, until: datetime) -> str:
    if since.year == until.year:
        return f"{since.day} {since:%b} to {_day(until)}"
    return f"{_day(since)} to {_day(until)}"


def _badge(basis: Basis) -> Markup:
    mark = tag("span", MARKS[basis], aria_hidden="true")
    return tag("span", mark, f" {basis}", class_=f"badge {basis}", title=MEANINGS[basis])


def _section(place: str, title: str, *children: Markup | None) -> Markup:
    return tag("section", tag("h2", title, id=f"{place}-head"), *children, id=place, aria_labelledby=f"{place}-head")


def _findings(findings: Sequence[Finding]) -> Markup:
    if not findings:
        return _section("findings", "Findings", tag("p", "Nothing worth a word was found.", class_="empty"))
    cards = tag("ol", *(_card(finding) for finding in findings), class_="cards")
    order = tag("p", "What could be saved, or what it cost, decides the order.", class_="lead")
    return _section("findings", "Findings", order, cards)


def _card(finding: Finding) -> Markup:
    paid = _amount(finding)
    body = tag(
        "div",
        tag("h3", _upper(finding.title)),
        tag("p", _upper(finding.evidence)),
        tag("p", tag("b", "What to do: "), finding.advice) if finding.advice else None,
    )
    top = tag("div", tag("p", *paid, class_="amount") if paid else None, _badge(finding.basis), class_="top")
    return tag("li", top, body, _snippet(finding.config) if finding.config else None, class_="card")


def _amount(finding: Finding) -> list[Markup]:
    saved, cost = finding.saving_usd, finding.cost_usd
    if saved is not None:
        rest = [tag("span", f"of {usd(cost)}")] if cost and cost > 1.01 * saved else []
        return [tag("strong", usd(saved)), tag("span", "could be saved"), *rest]
    if cost is None:
        return []
    return [tag("strong", usd(cost)), tag("span", "a month" if finding.kind == "month" else "was its cost")]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _snippet(config: str) -> Markup:
    return tag("div", tag("p", "in turnout.toml"), tag("pre", tag("code", config), tabindex="0"), class_="snippet")


def _what_if(report: Report) -> Markup:
    title = "What if"
    rows = report.what_if
    if not rows:
        why = "No conversation of two steps has token counts and a list price, so nothing can be priced otherwise."
        return _section("what-if", title, tag("p", why, class_="empty"))
    most = max(row.usd for row in rows) or 1.0
    paid = _row(report, "paid")
    mark = None if paid is None else paid.usd / most
    told = [
        (
            Cell(tag("span", row.title, tag("small", _upper(row.how)))),
            Cell(bar(row.usd / most, mark, _colour(row))),
            money(row.usd),
            Cell(_against(row)),
            Cell(_badge(row.basis)),
        )
        for row in rows
    ]
    lead = (
        f"What the same {report.what_if_conversations:,} conversations would have cost. "
        "The line through the bars is what was paid."
    )
    shown = table(
        "What the same conversations would have cost", ("policy", "bar", "USD", "against paid", "basis"), told
    )
    return _section("what-if", title, tag("p", lead, class_="lead"), tag("div", shown, class_="bars"))


def _colour(row: WhatIf) -> int:
    return 8 if row.policy in {"paid", "no_cache"} else 0


def _against(row: WhatIf) -> str:
    if row.policy == "paid":
        return "—"
    if abs(row.saved_share) < 0.0005:
        return "the same"
    return f"{percent(abs(row.saved_share))} {'less' if row.saved_share > 0 else 'more'}"


def _misses(report: Report) -> Markup:
    cached = report.cache
    title = tag("h3", "Repeated, and not read from a cache: the likely reasons")
    if not cached.judged_tokens:
        return joined(title, tag("p", "No log tells what was read from caches.", class_="empty"))
    told = (
        f"{tokens(cached.repeated_tokens)} input tokens ({percent(cached.repeated_share)}) had been sent in the step "
        f"before. Of {tokens(cached.judged_tokens)} of them the logs tell what was read: "
        f"{percent(cached.read_share or 0.0)}. The missed tokens are measured, why is estimated."
    )
    lead = tag("p", told, class_="lead")
    if not cached.misses:
        return joined(title, lead, tag("p", "Nothing was missed.", class_="empty"))
    most = max(row.tokens for row in cached.misses) or 1
    rows = [
        (
            Cell(tag("span", row.reason, tag("small", _upper(row.meaning)))),
            Cell(bar(row.tokens / most, None, 0 if row.mendable else 8)),
            volume(row.tokens),
            count(row.calls),
            money(row.cost_usd),
            words("can be mended" if row.mendable else "cannot be mended"),
        )
        for row in cached.misses[:MOST_ROWS]
    ]
    heads = ("reason", "bar", "tokens", "calls", "lost", "mending")
    return joined(
        title, lead, tag("div", table("Cache misses by likely reason", heads, rows, listed=True), class_="bars")
    )


def _tables(report: Report) -> Iterable[Markup]:
    yield tag("p", "The dearest first. A head sorts its column.", class_="lead script-only")
    yield from _titled(
        "Sessions",
        table("The dearest sessions", _session_heads(report), _session_rows(report), sortable=True),
        empty=not report.sessions,
    )
    projects = [_project(row) for row in report.projects[:MOST_ROWS]]
    heads = ("project", "USD", "calls", "input", "cached", "output")
    yield from _titled("Projects", table("By project", heads, projects, sortable=True), empty=not projects)
    models = [_model(row) for row in report.models[:MOST_ROWS]]
    heads = ("model", "USD", "calls", "input", "cached", "output", "thinking", "tier")
    yield from _titled("Models", table("By model", heads, models, sortable=True), empty=not models)
    tools = [_tool(row) for row in report.tools[:MOST_ROWS]]
    heads = ("tool", "USD of results", "results as sent", "calls", "errors", "results once")
    heads = (*heads, "definition as sent", "of it not called yet", "USD of that")
    yield from _titled("Tools", table("By tool (estimated)", heads, tools, sortable=True), empty=not tools)


def _project(row: ProjectRow) -> Sequence[Cell]:
    return (
        name(row.project),
        money(row.cost_usd),
        count(row.calls),
        volume(row.input_tokens),
        share(row.cache_read_tokens, row.input_tokens),
        volume(row.output_tokens),
    )


def _model(row: ModelRow) -> Sequence[Cell]:
    return (
        name(row.model),
        money(row.cost_usd if row.unpriced < row.calls else None, "no price"),
        count(row.calls),
        volume(row.input_tokens),
        share(row.cache_read_tokens, row.input_tokens),
        volume(row.output_tokens),
        volume(row.reasoning_tokens),
        words(row.tier or ""),
    )


def _tool(row: ToolRow) -> Sequence[Cell]:
    return (
        name(row.tool),
        money(row.carried_usd),
        volume(row.carried_tokens),
        count(row.calls),
        count(row.errors),
        volume(row.result_tokens),
        volume(row.schema_tokens),
        volume(row.idle_tokens),
        money(row.idle_usd),
    )


def _titled(title: str, shown: Markup, *, empty: bool) -> Iterable[Markup]:
    yield tag("h3", title)
    yield tag("p", "None.", class_="empty") if empty else shown


def _session_heads(report: Report) -> tuple[str, ...]:
    heads = ("session", "USD", "calls", "project", "model", "agents", "input", "longest context", "output")
    heads = (*heads, "began (UTC)", "took", "ended", "calls in loops")
    return (*heads, "opening") if report.with_text else heads


def _session_rows(report: Report) -> Iterable[Sequence[Cell]]:
    for row in report.sessions[:MOST_ROWS]:
        began = row.began
        cells = (
            name(row.id, 40),
            money(row.cost_usd),
            count(row.calls),
            name(row.project, 40),
            name(row.model, 40),
            count(row.agents),
            volume(row.input_tokens),
            volume(row.longest_context),
            volume(row.output_tokens),
            Cell("", -1.0) if began is None else Cell(f"{began:%Y-%m-%d %H:%M}", began.timestamp()),
            Cell("", -1.0) if row.seconds is None else Cell(_lasted(row.seconds), row.seconds),
            _ended(row),
            count(row.loop_calls),
        )
        yield (*cells, name(row.opening or "", 160)) if report.with_text else cells


def _ended(row: SessionRow) -> Cell:
    if row.solved is not None:
        return words("solved" if row.solved else "failed")
    return words("amid failures") if row.bad_end else name(row.why, 30)


def _lasted(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f}\u202fs"
    return f"{seconds / 60:.0f}\u202fmin" if seconds < 5_400 else f"{seconds / 3_600:.1f}\u202fh"


def _basis(report: Report) -> Markup:
    meanings = tag(
        "dl",
        *(joined(tag("dt", _badge(basis)), tag("dd", meaning)) for basis, meaning in MEANINGS.items()),
        class_="keys",
    )
    sources = [_source(row) for row in report.sources]
    heads = ("logs", "files", "size", "lines", "calls", "conversations", "lines left out", "unreadable")
    return _section(
        "basis",
        "What this rests on",
        meanings,
        tag("ul", *(tag("li", _upper(note)) for note in (*report.notes, *_oddities(report)))),
        tag("h3", "Logs"),
        table("What was read", heads, sources) if sources else tag("p", "No log was found.", class_="empty"),
    )


def _source(row: SourceRow) -> Sequence[Cell]:
    return (
        words(row.title),
        count(row.files),
        Cell(_bytes(row.bytes), row.bytes),
        count(row.lines),
        count(row.steps),
        count(row.conversations),
        count(sum(row.unknown.values())),
        count(row.bad),
    )


def _oddities(report: Report) -> Iterable[str]:
    for source in report.sources:
        if source.bad and source.first_error:
            yield f"{source.title}: the first line that could not be read is {clean(source.first_error, 200)}"
        if source.unknown:
            kinds = ", ".join(f"{clean(kind, 40)} {number:,}" for kind, number in list(source.unknown.items())[:6])
            yield f"{source.title}: lines of kinds unknown here were left out: {kinds}"
    if report.unknown_files:
        names = ", ".join(clean(name, 60) for name in report.unknown_names[:5])
        yield f"{report.unknown_files:,} files are no log that is known here: {names}"
    if report.totals.copies:
        yield f"{report.totals.copies:,} answers were written twice and counted once"
    if report.totals.failed_calls:
        yield f"{report.totals.failed_calls:,} calls failed"
    if report.totals.logged_calls:
        yield (
            f"the logs themselves say that {usd(report.totals.logged_usd)} was paid for "
            f"{report.totals.logged_calls:,} of the calls"
        )


def _bytes(size: float) -> str:
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return f"{size / scale:.1f}\u202f{unit}"
    return f"{size:.0f}\u202fB"


def _foot(report: Report) -> Markup:
    prices = f" Prices: {report.prices}." if report.prices else ""
    texts = (
        " It names folders and sessions in full and shows how sessions began."
        if report.with_text
        else " No text of any message is in it; sessions are hashes."
    )
    made = f"Made by turnout {report.turnout} on {_day(report.made_at)} at {report.made_at:%H:%M} UTC."
    return tag("footer", tag("p", made, prices, texts, " This page loads nothing from elsewhere."))
