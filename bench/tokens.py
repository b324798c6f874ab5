"""What token counts before the call cost and how far off they are; with `--fit`, the weights behind them.

    PYTHONPATH=src python bench/tokens.py [--data FOLDER] [--fit]

The errors, the factors and the fit need an exact tokenizer (`pip install splintr-rs`) and recorded
sessions and requests (`--data`, by default ../shared/data). Reads files, sends nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sysconfig
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from turnout.catalog.models import Deployment
from turnout.chat import RequestOutline
from turnout.context import Counted
from turnout.dialects.billing import has_hosted_tools
from turnout.lab.o200k import load_o200k
from turnout.routing.calibration import FamilyFactors, family_of
from turnout.routing.needs import needs_of, worst_input
from turnout.routing.tokens import (
    WEIGHTS,
    Measure,
    TokenCounter,
    approximate,
    features,
    sample,
    without_base64,
)

ROOT = Path(__file__).parent.parent


class Request(NamedTuple):
    """A recorded request: compact JSON of its parts, and the input tokens that the provider reported."""

    model: str
    messages: tuple[bytes, ...]
    tools: bytes
    reported: int


def compact(value: Any) -> bytes:
    return msgspec.json.encode(value) if value else b""


# ---- Recorded requests -------------------------------------------------------------------------------------

_UNLIKE_TEXT = re.compile(
    r"image|audio|file|inlineData|document|base64|previous_response_id|web_search|code_execution|code_interpreter"
    r"|mcp|file_search|googleSearch|urlContext"
)
_INPUT = ("prompt_tokens", "input_tokens", "inputTokens", "promptTokenCount")
_CACHE = ("cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def recorded(folder: Path) -> Iterator[Request]:
    """Requests of which everything that was billed is text that was sent."""
    for path in sorted(folder.glob("recordings/given/*/*.json")):
        case = json.loads(path.read_bytes())
        body = case["request"]
        if case["status"] != 200 or not isinstance(body, dict) or case["api"] == "openai-embeddings":
            continue
        reported = max((told(case["response"], name) for name in _INPUT), default=0)
        if case["api"] in {"anthropic-messages", "bedrock-converse"}:
            reported += sum(told(case["response"], name) for name in _CACHE)
        if not reported or _UNLIKE_TEXT.search(json.dumps(body)):
            continue
        said = body.get("messages") or body.get("contents") or body.get("input") or []
        system = body.get("system") or body.get("instructions") or body.get("systemInstruction")
        messages = [said] if isinstance(said, str) else [*said]
        yield Request(
            model=body.get("model") or model_in(case["path"]),
            messages=tuple(compact(m) for m in ([system] if system else []) + messages),
            tools=compact(body.get("tools") or body.get("toolConfig")),
            reported=reported,
        )


def told(response: str, name: str) -> int:
    return max((int(n) for n in re.findall(rf'"{name}"\s*:\s*(\d+)', response)), default=0)


def model_in(path: str) -> str:
    found = re.search(r"model[s]?/([^/:]+(?:-v1%3A0)?)", path)
    return found[1] if found else path


def tool_tables(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "traces/tools.json").read_bytes())


def stepped(folder: Path) -> Iterator[Request]:
    """Every step of tau2-retail with recorded usage."""
    tools = {name: compact(value) for name, value in tool_tables(folder).items()}
    with (folder / "traces/given/tau2-retail.jsonl").open("rb") as lines:
        for line in lines:
            session = json.loads(line)
            messages: list[bytes] = []
            for step in session["steps"]:
                messages += map(compact, step["add"])
                if step["usage"]:
                    offered = tools.get(session["tools"] or "", b"")
                    yield Request(session["model"], tuple(messages), offered, step["usage"]["input"])
                messages.append(compact(step["out"]))


def outline_of(messages: Sequence[bytes], tools: bytes = b"") -> RequestOutline:
    return RequestOutline(
        model="m",
        fields={},
        messages=tuple(map(Raw, messages)),
        roles=("user",) * len(messages),
        prefix=(Raw(tools),) if tools else (),
        tools_bytes=len(tools),
    )


# ---- Texts by kind -----------------------------------------------------------------------------------------


def texts(folder: Path) -> dict[str, list[bytes]]:
    """JSON texts of the kinds that agents send, without base64; at most 60 of a kind, in a fixed order."""
    kinds: dict[str, list[bytes]] = defaultdict(list)
    for path in sorted(folder.glob("traces/given/*.jsonl")):
        for line in path.read_bytes().splitlines():
            kinds[path.stem].append(compact(json.loads(line)["steps"]))
    for request in recorded(folder):
        kinds[f"recorded {family_of(request.model)}"].append(b"\n".join(request.messages))
        kinds["tools"].append(request.tools)
    kinds["tools"] += [compact(v) for v in tool_tables(folder).values()]
    for name, files in (
        ("python of ours", (ROOT / "src").rglob("*.py")),
        ("python's library", Path(sysconfig.get_path("stdlib")).glob("*.py")),
        ("prose", (*ROOT.rglob("docs/**/*.md"), *folder.parent.rglob("*.md"))),
    ):
        kinds[name] = [compact(path.read_text("utf-8", "replace")) for path in sorted(files)]
    dice = random.Random(0)  # noqa: S311
    for found in kinds.values():
        found[:] = [text for text in map(without_base64, found) if len(text) >= 400]
        dice.shuffle(found)
        del found[60:]
    return kinds


# ---- Sections ----------------------------------------------------------------------------------------------


def resident_mb() -> float:
    """Linux only; 0 elsewhere."""
    status = Path("/proc/self/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


def load() -> Measure | None:
    before, begun = resident_mb(), time.perf_counter()
    try:
        exact = load_o200k()
    except ModuleNotFoundError:
        print("exact tokenizer: not installed (pip install splintr-rs): no errors, no factors, no fit")
        return None
    took = (time.perf_counter() - begun) * 1e3
    print(f"exact tokenizer: loaded in {took:.0f} ms, {resident_mb() - before:.0f} MB")
    return exact


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e3


def speed(name: str, measure: Measure) -> None:
    """Milliseconds an estimate: of a conversation not met before, and with its last message alone new."""
    source = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
    print(f"\nms an estimate, {name} (median of 30, worst)")
    for size, parts in ((1_000, 2), (40_000, 30), (400_000, 200), (400_000, 2)):
        fresh: list[float] = []
        more: list[float] = []
        for run in range(30):
            each = size // parts
            at = [(run * 7_919 + n * each) % (len(source) - each) for n in range(parts)]
            said = [compact({"role": "user", "content": f"{run}.{i} {source[a : a + each]}"}) for i, a in enumerate(at)]
            counter = TokenCounter(measure)
            before = outline_of(said)
            after = outline_of([*said, compact({"role": "user", "content": source[run : run + 500]})])
            fresh.append(timed(lambda c=counter, o=before: c.count(o)))
            more.append(timed(lambda c=counter, o=after: c.count(o)))
        print(
            f"  {size / 1000:>4.0f} KB in {parts:>3} messages: "
            f"fresh {statistics.median(fresh):.2f} ({max(fresh):.2f}), "
            f"last message new {statistics.median(more):.2f} ({max(more):.2f})"
        )


def spread(errors: Iterable[float]) -> str:
    ranked = sorted(map(abs, errors))
    return (
        f"n {len(ranked):>3}  median {statistics.median(ranked):6.1%}  "
        f"95th {ranked[int(len(ranked) * 0.95)]:6.1%}  worst {ranked[-1]:6.1%}"
    )


def errors(kinds: dict[str, list[bytes]], exact: Measure) -> None:
    print("\nerror against exact o200k_base, texts whole, without a vocabulary")
    every: list[float] = []
    quarter: list[float] = []
    for kind, found in kinds.items():
        known = [(text, exact(text.decode())) for text in found]
        off = [approximate(text.decode()) / true - 1 for text, true in known]
        every += off
        quarter += [len(text) / 4 / true - 1 for text, true in known]
        if off:
            print(f"  {kind:20} {spread(off)}  bias {statistics.mean(off):+6.1%}")
    print(f"  {'all':20} {spread(every)}\n  {'all, bytes / 4':20} {spread(quarter)}")
    print("error on long texts (100 to 400 KB), sampled")
    long = long_texts(kinds)
    true = {kind: exact(text.decode()) for kind, text in long.items()}
    for name, measure in (("exact slices", exact), ("without vocabulary", approximate)):
        sampled = {kind: sample(text, measure) / true[kind] - 1 for kind, text in long.items()}
        worst = max(sampled, key=lambda kind, found=sampled: abs(found[kind]))
        print(f"  {name:20} {spread(sampled.values())} ({worst})")


def long_texts(kinds: dict[str, list[bytes]]) -> dict[str, bytes]:
    """400 KB texts: of each kind in three orders, as far as there is enough, and of all kinds mixed."""
    long: dict[str, bytes] = {}
    dice = random.Random(1)  # noqa: S311
    mixed = [text for found in kinds.values() for text in found[:15]]
    for kind, found in {**kinds, "mixed": mixed}.items():
        for run in range(3):
            whole = b"\n".join(dice.sample(found, len(found)))[:400_000]
            if len(whole) > 100_000:
                long[f"{kind} {run}"] = whole.decode("utf-8", "ignore").encode()
    return long


def factors(folder: Path, exact: Measure) -> None:
    """What each family reports over exact o200k counts of its JSON."""
    known: dict[bytes, float] = {}

    def count(raw: bytes) -> float:
        if raw not in known:
            known[raw] = exact(without_base64(raw).decode()) if raw else 0.0
        return known[raw]

    for title, requests, floor in (
        ("tau2-retail steps", stepped(folder), 0),
        ("recorded requests of 300 tokens and more", recorded(folder), 300),
    ):
        groups: dict[str, list[Row]] = defaultdict(list)
        for request in requests:
            row = Row(request.model, sum(map(count, request.messages)), count(request.tools), request.reported)
            if row.text + row.tools >= floor:
                groups[family_of(row.model) if floor else row.model].append(row)
        print(f"\nreported input over o200k of the JSON: {title}")
        for name, rows in sorted(groups.items()):
            print(f"  {name:24} {factor_of(rows)}")
            print(f"  {'':24} error of FAMILIES {spread(guessed(rows, learn=False))}")
            print(f"  {'':24} while learning    {spread(guessed(rows, learn=True))}")


def worst(folder: Path) -> None:
    """How many requests were billed more input than the bound on which budgets are held, and by how much."""
    print("\nbound on the worst case (routing/needs.py): requests beyond it")
    for title, requests in (("tau2-retail steps", stepped(folder)), ("recorded requests", recorded(folder))):
        counter, beyond, shares = TokenCounter(), list[int](), list[float]()
        for request in requests:
            told = outline_of(request.messages, request.tools)
            if has_hosted_tools(Raw(request.tools)):
                continue  # then the whole window is held
            where = Deployment(id=request.model, provider="", upstream_model=request.model, dialect="")
            bound = worst_input(
                where,
                needs_of(
                    replace(told, tools=len(request.tools) // 500 + 1 if request.tools else 0), counter.count(told)
                ),
            )
            shares.append(request.reported / bound)
            if request.reported > bound:
                beyond.append(request.reported - bound)
        print(
            f"  {title:20} {len(beyond)} of {len(shares)}, at most {max(beyond, default=0)} tokens beyond; "
            f"reported is {statistics.median(shares):.0%} of the bound at the median, {max(shares):.0%} at most"
        )


class Row(NamedTuple):
    """Exact o200k tokens of a recorded request, and what the provider reported."""

    model: str
    text: float
    tools: float
    reported: int


def factor_of(rows: Sequence[Row]) -> str:
    """Reported over counted, and where there is enough, text and tools apart (least squares of relative errors)."""
    ratios = sorted(row.reported / (row.text + row.tools) for row in rows)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    line = f"n {len(rows):>4}  {quartiles[1]:.2f} (quartiles {quartiles[0]:.2f}-{quartiles[2]:.2f})"
    if len(rows) >= 20:
        offered = [(row.text, 1.0 if row.tools else 0.0) for row in rows]
        text, constant = solve(offered, [row.reported for row in rows], (1.0, 0.0), (1e-9, 1e-9))
        line += f", text x {text:.2f} + {constant:.0f} for {statistics.mean(r.tools for r in rows):.0f} of tools"
    return line


def guessed(rows: Sequence[Row], *, learn: bool) -> Iterator[float]:
    """Relative errors, request by request; with `learn`, each told before it is learnt from."""
    factors = FamilyFactors()
    for row in rows:
        counted = Counted(text=round(row.text), tools=round(row.tools), media=0)
        yield factors.tokens(counted, row.model) / row.reported - 1
        if learn:
            factors.observe(row.model, counted, row.reported)


# ---- The fit -----------------------------------------------------------------------------------------------


def solve(
    rows: Sequence[Sequence[float]], wanted: Sequence[float], prior: Sequence[float], ridges: Sequence[float]
) -> list[float]:
    """Weights with the least sum of squared relative errors, drawn to `prior` by `ridges`."""
    size = len(prior)
    matrix = [[0.0] * (size + 1) for _ in range(size)]
    for row, true in zip(rows, wanted, strict=True):
        scaled = [value / true for value in row]
        for i, value in enumerate(scaled):
            if value:
                for j, other in enumerate(scaled):
                    matrix[i][j] += value * other
                matrix[i][size] += value
    for i in range(size):
        matrix[i][i] += ridges[i]
        matrix[i][size] += ridges[i] * prior[i]
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(matrix[r][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for r in range(size):
            if r != i and (share := matrix[r][i] / matrix[i][i]):
                matrix[r] = [a - share * b for a, b in zip(matrix[r], matrix[i], strict=True)]
    return [matrix[i][size] / matrix[i][i] for i in range(size)]


SCRIPTS = {b"l": 0.4, b"r": 0.27, b"t": 1.0, b"c": 0.7, b"e": 1.5}
"""Tokens a letter in a few sentences each: Russian 0.27; German, Greek, Thai, Hindi, Arabic and Hebrew 0.36 to 0.44;
Chinese, Japanese and Korean 0.67 to 0.77. Recordings have too little of them to be fitted to."""


def fit(kinds: dict[str, list[bytes]], exact: Measure) -> None:
    """Weights fitted to all kinds; before that, to all but one, and the error on that one."""
    prior = [SCRIPTS.get(run, 0.9 if run.startswith(b" ") else 0.4) for run in WEIGHTS]
    ridges = [3.0 if run in SCRIPTS else 0.01 for run in WEIGHTS]
    known = {k: [(features(t), exact(t)) for t in map(bytes.decode, found)] for k, found in kinds.items()}

    def weights(kept: Iterable[str]) -> list[float]:
        rows = [row for kind in kept for row in known[kind]]
        return solve([row for row, _ in rows], [true for _, true in rows], prior, ridges)

    print("\nerror on a kind that the fit did not see")
    unseen: list[float] = []
    for kind, rows in known.items():
        if not rows:
            continue
        learnt = weights(other for other in known if other != kind)
        off = [sum(a * b for a, b in zip(learnt, row, strict=True)) / true - 1 for row, true in rows]
        unseen += off
        print(f"  {kind:20} {spread(off)}")
    print(f"  {'all':20} {spread(unseen)}\n\nWEIGHTS = {{")
    for run, weight in zip(WEIGHTS, weights(known), strict=True):
        print(f'    b"{run.decode()!r:}": {weight:.2f},'.replace("\"'", '"').replace("'\"", '"'))
    print("}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="recordings and traces")
    parser.add_argument("--fit", action="store_true", help="fit the weights of `approximate` anew and print them")
    asked = parser.parse_args()
    exact = load()
    speed("without vocabulary", approximate)
    if exact is None:
        return
    speed("exact slices", exact)
    if not asked.data.exists():
        print(f"{asked.data} is not there: no errors, no factors")
        return
    kinds = texts(asked.data)
    if asked.fit:
        fit(kinds, exact)
    errors(kinds, exact)
    factors(asked.data, exact)
    worst(asked.data)


if __name__ == "__main__":
    main()
