"""What recorded sessions would have cost under policies of routing and caching: read, played and summed, in parallel.

The figures of a table are of three kinds: sizes, times and outcomes are measured where they were recorded, else
estimated; that another model would write as much, and that a small model does routine steps as well, is assumed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from turnout.catalog.catalog import Catalog
from turnout.catalog.models import TIERS, Tier
from turnout.errors import InvalidRequest
from turnout.lab.beats import Score, score_of
from turnout.lab.learned import Outcome, choose
from turnout.lab.policies import Bill, Fleet, Model, Tally, oracle, per_beat, play, turnout
from turnout.lab.sessions import ReadCount, ToolTable, packaged_tools, parse_sessions, read_tools
from turnout.routing.habits import Habits

__all__ = [
    "BASELINE",
    "POLICIES",
    "Pair",
    "Row",
    "SessionRouting",
    "Table",
    "by_kind",
    "model_named",
    "read_decisions",
    "read_scores",
    "session_routing",
    "table_of",
    "tool_table",
]

BASELINE = "frontier+caching"
POLICIES = ("frontier", BASELINE, "naive-per-step", "small", "turnout", "oracle")
"""`small` is the whole session on the small model: what it would cost, not what it would solve."""

BATCH = 25
RESAMPLES = 200

Decisions = Mapping[str, Sequence[Tier]]
"""Session -> tier of each step, as another router decided them."""


class Pair(Struct, frozen=True, kw_only=True):
    """The models that tiers stand for, by name (`provider/model`)."""

    frontier: str
    small: str
    mid: str | None = None


class Row(Struct, frozen=True, kw_only=True):
    """A policy over the sessions of one kind. Money in USD. `saved_uncached` and `saved_cached`: share of what the
    frontier alone costs without and with caching; `low` and `high` bound the latter (95 %, bootstrap over sessions).
    `read_share`: of what the step before had sent, how much was read from a cache. `dearer`: share of sessions that
    cost more than the frontier with caching. `off`: share of steps that were not routine and not answered by the
    frontier: where there are any, what the sessions would have solved is not known, and neither `usd_per_solved` nor
    `of_oracle`, the share of what the best there is would save, is told."""

    policy: str
    usd: float
    usd_per_solved: float | None
    saved_uncached: float
    saved_cached: float
    low: float
    high: float
    read_share: float
    small_share: float
    off: float
    switches: float
    dearer: float
    of_oracle: float | None = None


class Table(Struct, frozen=True, kw_only=True):
    """One kind of session with one pair of models. `solved` as recorded; None where nothing was judged. `visits`: of
    each kind and age, how many there were under `turnout`, and the share of the repeated tokens that was read."""

    kind: str
    frontier: str
    small: str
    sessions: int
    steps: int
    routine_share: float
    input_over_final: float
    repeated_share: float
    solved: int | None
    estimated: bool
    rows: tuple[Row, ...]
    visits: dict[str, tuple[int, float]]


class SessionRouting(Struct, frozen=True, kw_only=True):
    """A whole session to one of the models that were recorded on the same tasks: measured outcomes, costs at list
    prices with caching by the rule. `choices`: policy -> share solved and USD a session."""

    kind: str
    tasks: int
    models: tuple[str, ...]
    strongest: str
    choices: dict[str, tuple[float, float]]


# ---- Reading ---------------------------------------------------------------------------------------------------


def tool_table(paths: Iterable[Path]) -> ToolTable:
    """The tool definitions that lie beside the traces (`tools.json`, in their folder or the one above), else the
    packaged ones."""
    for path in paths:
        folder = path if path.is_dir() else path.parent
        for place in (folder, folder.parent):
            if (place / "tools.json").is_file():
                return read_tools(place / "tools.json")
    return packaged_tools()


def read_scores(paths: Sequence[Path], pool: Executor, count: ReadCount, tell: Callable[[int], None]) -> list[Score]:
    """The sessions of trace files and folders. `tell` hears of each batch's lines. Raises InvalidRequest where a path
    cannot be read or none holds a session."""
    tools = tool_table(paths)
    waiting: list[Future[tuple[list[Score], ReadCount]]] = []
    for name, lines in _batches(paths):
        waiting.append(pool.submit(_read, lines, name, tools))
    scores: list[Score] = []
    for job in waiting:
        found, counted = job.result()
        scores += found
        count.lines += counted.lines
        count.sessions += counted.sessions
        count.bad += counted.bad
        count.first_error = count.first_error or counted.first_error
        tell(counted.lines)
    if not scores:
        hint = f"; {count.first_error}" if count.first_error else ""
        raise InvalidRequest(f"no recorded session in {', '.join(map(str, paths))}{hint}")
    return scores


def _batches(paths: Sequence[Path]) -> Iterator[tuple[str, list[bytes]]]:
    for path in paths:
        for source in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            try:
                with source.open("rb") as lines:
                    while batch := list(islice(lines, BATCH)):
                        yield source.name, batch
            except OSError as error:
                raise InvalidRequest(f"cannot read {source}: {error.strerror}", param=str(source)) from error


def _read(lines: list[bytes], name: str, tools: ToolTable) -> tuple[list[Score], ReadCount]:
    count = ReadCount()
    sessions = parse_sessions(lines, name, strict=False, count=count)
    return [score for s in sessions if (score := score_of(s, tools)).beats], count


def read_decisions(path: Path) -> dict[str, list[Tier]]:
    """What another router decided: one JSON object a line, `id` and `tiers` (one of each step)."""
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        told = [msgspec.json.decode(line, type=_Decided) for line in lines]
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", param=str(path)) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{path} holds no decisions: {error}", param=str(path)) from error
    return {one.id: one.tiers for one in told}


class _Decided(Struct):
    id: str
    tiers: list[Tier]


def model_named(name: str, tier: Tier) -> Model:
    """A model by `provider/model`, at its list price. Raises InvalidRequest where there is none."""
    provider, _, model = name.partition("/")
    price = Catalog.load().price(provider, model) if model else None
    if price is None:
        raise InvalidRequest(f"there is no list price of {name!r}; name a model as provider/model")
    return Model.at(provider, model, tier, price)


def by_kind(scores: Iterable[Score]) -> dict[str, list[Score]]:
    kinds: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        kinds[score.kind].append(score)
    return dict(sorted(kinds.items()))


# ---- Policies on one kind of session ---------------------------------------------------------------------------


def table_of(
    scores: Sequence[Score],
    pair: Pair,
    policies: Sequence[str],
    decided: Mapping[str, Decisions],
    *,
    seed: int = 0,
    warm: bool = False,
) -> Table:
    """`policies` (of `POLICIES` or `decided`) on sessions of one kind."""
    named = {"frontier": pair.frontier, "small": pair.small, "mid": pair.mid or pair.small}
    fleet: Fleet = {tier: model_named(named[tier], tier) for tier in TIERS}
    asked = list(dict.fromkeys(("frontier", BASELINE, *policies)))
    bills = {policy: _bills(policy, scores, fleet, decided, warm=warm) for policy in (*asked, "oracle")}
    usd = {policy: [bill.nano_usd / 1e9 for bill in found] for policy, found in bills.items()}
    solved = [s.outcome for s in scores if s.outcome is not None]
    count = sum(outcome >= 1 for outcome in solved) if solved else None
    judged = count if len(solved) == len(scores) else None
    rows = [_row(p, bills[p], usd, judged, seed=seed) for p in asked]
    base = bills[BASELINE]
    beats = [beat for score in scores for beat in score.beats]
    tallies = _tallies(bills.get("turnout", base))
    return Table(
        kind=scores[0].kind,
        frontier=pair.frontier,
        small=pair.small,
        sessions=len(scores),
        steps=len(beats),
        routine_share=sum(beat.routine for beat in beats) / len(beats),
        input_over_final=sum(b.context for b in beats) / max(1, sum(s.beats[-1].context for s in scores)),
        repeated_share=sum(b.repeated for b in base) / max(1, sum(b.input for b in base)),
        solved=count,
        estimated=any(score.estimated for score in scores),
        rows=tuple(rows),
        visits={name: (t.visits, t.read / t.had if t.had else 0.0) for name, t in sorted(tallies.items())},
    )


def _bills(
    policy: str, scores: Sequence[Score], fleet: Fleet, decided: Mapping[str, Decisions], *, warm: bool
) -> list[Bill]:
    habits = Habits()
    bills: list[Bill] = []
    for score in scores:
        tiers = _tiers(policy, score, fleet, habits, decided, warm=warm)
        bills.append(play(score, fleet, tiers, caching=policy != "frontier", warm=warm))
        habits.ended(len(score.beats))  # a gateway learns from the sessions before
    return bills


def _tiers(
    policy: str, score: Score, fleet: Fleet, habits: Habits, decided: Mapping[str, Decisions], *, warm: bool
) -> Sequence[Tier]:
    whole: dict[str, Tier] = {"frontier": "frontier", BASELINE: "frontier", "small": "small"}
    if policy in whole:
        return _always(whole[policy], score)
    if policy in decided:
        found = decided[policy].get(score.id)
        if found is None or len(found) != len(score.beats):
            raise InvalidRequest(f"{policy} has not decided each of the {len(score.beats)} steps of {score.id}")
        return found
    if policy == "naive-per-step":
        return per_beat(score, fleet)
    return oracle(score, fleet, warm=warm) if policy == "oracle" else turnout(score, fleet, habits, warm=warm)


def _always(tier: Tier, score: Score) -> list[Tier]:
    return [tier] * len(score.beats)


def _row(
    policy: str,
    bills: Sequence[Bill],
    usd: Mapping[str, Sequence[float]],
    solved: int | None,
    *,
    seed: int,
) -> Row:
    mine, base = usd[policy], usd[BASELINE]
    best = sum(base) - sum(usd["oracle"])
    off = sum(bill.off for bill in bills)
    steps = sum(bill.steps for bill in bills)
    low, high = _interval(mine, base, seed)
    return Row(
        policy=policy,
        usd=sum(mine),
        usd_per_solved=sum(mine) / solved if solved and not off else None,
        saved_uncached=1 - sum(mine) / sum(usd["frontier"]),
        saved_cached=1 - sum(mine) / sum(base),
        low=low,
        high=high,
        # What others left in a cache is read beside what the step before had sent.
        read_share=min(1.0, sum(b.read for b in bills) / max(1, sum(b.repeated for b in bills))),
        small_share=sum(b.small for b in bills) / steps,
        off=off / steps,
        switches=sum(b.switches for b in bills) / len(bills),
        dearer=sum(m > b * (1 + 1e-9) for m, b in zip(mine, base, strict=True)) / len(bills),
        of_oracle=(sum(base) - sum(mine)) / best if best > 0 and not off and policy in POLICIES[1:] else None,
    )


def _interval(mine: Sequence[float], base: Sequence[float], seed: int) -> tuple[float, float]:
    """95 % of the savings over `base` when sessions are drawn anew."""
    draw, indices = random.Random(seed), range(len(mine))  # noqa: S311 (no secret)
    savings = sorted(
        1 - sum(mine[i] for i in picked) / sum(base[i] for i in picked)
        for picked in (draw.choices(indices, k=len(mine)) for _ in range(RESAMPLES))
    )
    return savings[int(RESAMPLES * 0.025)], savings[int(RESAMPLES * 0.975)]


def _tallies(bills: Iterable[Bill]) -> dict[str, Tally]:
    summed: dict[str, Tally] = {}
    for bill in bills:
        for name, tally in bill.tallies.items():
            total = summed.setdefault(name, Tally())
            total.visits += tally.visits
            total.had += tally.had
            total.read += tally.read
    return summed


# ---- Whole sessions to recorded models -------------------------------------------------------------------------


def session_routing(scores: Sequence[Score]) -> SessionRouting | None:
    """One recorded model for each task, chosen by what other tasks have taught; None where no two models with a list
    price were recorded on the same tasks."""
    runs: dict[tuple[str, str], Outcome] = {}
    openings: dict[str, str] = {}
    for score in scores:
        model = _priced(score.model)
        if model is None or score.outcome is None:
            continue
        alone: Fleet = {"frontier": model}
        cost = play(score, alone, _always("frontier", score)).nano_usd / 1e9
        runs.setdefault(
            (score.task, score.model),
            Outcome(task=score.task, model=score.model, solved=float(score.outcome >= 1), cost=cost),
        )
        openings.setdefault(score.task, score.opening)
    tasks_of: dict[str, set[str]] = defaultdict(set)
    for task, model in runs:
        tasks_of[model].add(task)
    most = max((len(tasks) for tasks in tasks_of.values()), default=0)
    models = sorted(m for m, tasks in tasks_of.items() if len(tasks) >= most * 0.8)
    tasks = sorted(set.intersection(*(tasks_of[m] for m in models))) if models else []
    if len(models) < 2 or not tasks:
        return None
    outcomes = [runs[task, model] for task in tasks for model in models]
    chosen = {f"always {m}": dict.fromkeys(tasks, m) for m in models}
    chosen["session (learned)"] = choose(openings, outcomes)
    strongest = max(models, key=lambda m: (sum(runs[t, m].solved for t in tasks), m))
    chosen["oracle"] = {t: min(models, key=lambda m: (-runs[t, m].solved, runs[t, m].cost)) for t in tasks}
    return SessionRouting(
        kind=scores[0].kind,
        tasks=len(tasks),
        models=tuple(models),
        strongest=strongest,
        choices={name: _result(runs, picks) for name, picks in chosen.items()},
    )


def _result(runs: Mapping[tuple[str, str], Outcome], picks: Mapping[str, str]) -> tuple[float, float]:
    picked = [runs[task, model] for task, model in picks.items()]
    return sum(o.solved for o in picked) / len(picked), sum(o.cost for o in picked) / len(picked)


def _priced(model: str) -> Model | None:
    for provider in ("openai", "google", "anthropic"):
        if Catalog.load().price(provider, model) is not None:
            return model_named(f"{provider}/{model}", "frontier")
    return None
