"""What a conversation carries for nothing: results nobody refers to, what is there twice, tools never called. Pure.

A `ContextTrail` is fed with what a conversation grows by and keeps hashes and counts alone. Its report is a list of
findings with what they cost and what leaving them out would save (`trimming.py` has the formula). Nothing is left out
of any request here: whoever reads the report decides.

How sure a finding is (`basis`); tokens are estimates always:

- `measured`: the record shows it. A result with the text of an earlier one that still stands in the conversation
  (`duplicate_result`), a tool that was offered and never called so far (`unused_tool`).
- `estimated`: `unreferenced_result`. No later text, thinking or tool argument of the model has any of the words by
  which the result can be known (`words.py`): those which were nowhere in the conversation before it. A model can use
  what it does not quote, so this is a hint and no proof.
- `assumed`: `oversized_tool`, a tool in use whose definition is longer than `OVERSIZED_TOKENS`; nobody knows whether a
  shorter one would do. And a result of which only a sample of words could be kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

import msgspec
import xxhash
from msgspec import Struct

from turnout.chat import Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, ToolSpec
from turnout.spend.calls import Calls, result_text
from turnout.spend.trimming import Billing, Cut, bill, break_even, nano
from turnout.spend.words import MAX_CHARS, unescaped, words

__all__ = [
    "FINDING_KINDS",
    "OVERSIZED_TOKENS",
    "PATIENCE",
    "Basis",
    "ContextTrail",
    "Finding",
    "FindingKind",
    "HygieneReport",
    "KindSum",
    "Weights",
]

FindingKind = Literal["unreferenced_result", "duplicate_result", "unused_tool", "oversized_tool"]
FINDING_KINDS: tuple[FindingKind, ...] = get_args(FindingKind)

Basis = Literal["measured", "estimated", "assumed"]

PATIENCE = 3
"""After so many answers without a word of it, a result counts as not referred to. `turnout lab context` prints how many
results are first referred to later than that."""

LEAST_TOKENS = 50
"""Smaller results are not worth a word."""

STUB_TOKENS = 12
"""What stays in place of a result that is left out: APIs want an answer to every call."""

OVERSIZED_TOKENS = 400
"""A tool's definition beyond this is called oversized. A guess."""

MESSAGE_TOKENS = 4
"""What a message weighs beside its text (OpenAI's cookbook counts 3, and 1 for a name)."""

MEDIA_TOKENS = 1_000
"""Any image or attachment. A guess."""

MAX_REQUESTS = 1_000
MAX_RESULTS = 2_000
MAX_TOOLS = 500
MAX_WORDS = 20_000
"""What is remembered of one conversation: beyond it the report says `truncated`. Words take about 100 bytes each."""

MOST_FINDINGS = 50
"""Findings in a report, those with the most tokens billed first."""

_NAME = 200

_NOBODY = -1


class Weights(Struct, frozen=True):
    """What counted tokens are multiplied by for a model's own: of texts, and of tools' definitions."""

    text: float = 1.0
    tools: float = 1.0


class Finding(Struct, frozen=True, kw_only=True):
    """One thing carried for nothing, and its place: `tool`, the request `step` (from 0) that first carried it, and a
    hash of the call's id. `same_as`: the step of the copy that stands before a duplicate.

    `requests` carried it needlessly, `billed_tokens` in all. `gross_nano_usd` is what those cost; `net_nano_usd` what
    would have been saved if it had been left out from request `since` on (a duplicate and a tool: from its first),
    after the cache that breaks. `break_even`: requests from `since` on that pay for the break; `break_even_now`: from
    the next request on, if it is left out only then. 0: nothing breaks; None: they never do.
    """

    kind: FindingKind
    basis: Basis
    tool: str
    step: int = 0
    call: str | None = None
    same_as: int | None = None
    tokens: int
    requests: int
    billed_tokens: int
    since: int = 0
    gross_nano_usd: int
    net_nano_usd: int
    break_even: int | None
    break_even_now: int | None

    @property
    def worth_it(self) -> bool:
        """Whether leaving it out would have saved more than it cost."""
        return self.net_nano_usd > 0


class KindSum(Struct, frozen=True, kw_only=True):
    """All findings of a kind; `worth` of them would have saved `worth_nano_usd` net, each taken by itself."""

    findings: int = 0
    billed_tokens: int = 0
    gross_nano_usd: int = 0
    net_nano_usd: int = 0
    worth: int = 0
    worth_nano_usd: int = 0


class HygieneReport(Struct, frozen=True, kw_only=True):
    """`billed_tokens` and `billed_nano_usd` are all requests' input, `tools_tokens` what of it was definitions of
    `tools`. Of `results`, `judged` were long enough, told by words, and either referred to or answered often enough
    (`PATIENCE`). `delays` counts the judged that were referred to by the number of answers until then (the first place:
    in the first answer), `late` those beyond the patience: where leaving them out would have been wrong.
    `net_nano_usd`: the findings that are worth it, all together (the cache then breaks once for several).
    """

    requests: int
    billed_tokens: int
    billed_nano_usd: int
    tools: tuple[str, ...]
    tools_tokens: int
    results: int
    judged: int
    late: int
    delays: tuple[int, ...]
    findings: tuple[Finding, ...]
    sums: dict[FindingKind, KindSum]
    net_nano_usd: int
    truncated: bool


class _Tool(Struct):
    name: str
    tokens: float
    used: bool = False


class _Result(Struct):
    """`ahead`: tokens of messages before it. `known_by`: how many words it can be known by. `delay`: answers until it
    was first referred to; 0: it was not, or nobody knows when."""

    tool: str
    call: str
    request: int
    ahead: float
    tokens: float
    known_by: int
    sampled: bool
    same_as: int = _NOBODY
    referred: bool = False
    delay: int = 0


class ContextTrail:
    """One conversation. `count` tells the tokens of a text; `tools` are those offered with every request.

    Feed it with what each request adds: the model's last answer, then what came after it. Nothing raises whatever the
    messages hold.
    """

    def __init__(self, count: Callable[[str], float], tools: Sequence[ToolSpec] = ()) -> None:
        self._count = count
        self._tools: dict[str, _Tool] = {}
        self._calls = Calls()
        self._results: list[_Result] = []
        self._texts: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._met = 0
        self._totals = array("d")
        self._messages = 0.0
        self._system = 0.0
        self._answered = 0
        self._overlooked = len(tools) > MAX_TOOLS
        for tool in tools[:MAX_TOOLS]:
            name = tool.name[:_NAME]
            definition = _definition(tool)
            self._tools[name] = _Tool(name, count(definition))
            self._seen(words(definition))

    @property
    def requests(self) -> int:
        return len(self._totals)

    @property
    def size(self) -> int:
        """Words and results remembered."""
        return len(self._owners) + len(self._results) + len(self._calls)

    def step(self, messages: Iterable[Message]) -> None:
        """One more request, and the messages that are new in it, oldest first."""
        if len(self._totals) >= MAX_REQUESTS:
            self._overlooked = True
            return
        self._feed(messages)
        self._totals.append(self._messages)

    def end(self, messages: Iterable[Message]) -> None:
        """The last answer, which no further request carried."""
        self._feed(messages)

    def _feed(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._messages += MESSAGE_TOKENS
            if message.role == "assistant":
                self._answered = len(self._totals)
            for part in message.parts:
                self._part(part, said=message.role == "assistant")
            if not self._totals and message.role in {"system", "developer"}:
                self._system = self._messages

    def _part(self, part: Part, *, said: bool) -> None:
        match part:
            case ToolCall():
                asked = self._calls.called(part)
                if asked.name[:_NAME] in self._tools:
                    self._tools[asked.name[:_NAME]].used = True
                arguments = asked.arguments.decode("utf-8", "replace")
                self._messages += self._count(part.name + part.arguments)
                self._said(words(unescaped(arguments)))
            case ToolResult():
                self._came(part)
            case Text() | Refusal() | Reasoning():
                self._messages += self._count(part.text)
                found = words(part.text)
                self._said(found) if said else self._seen(found)
            case _:
                self._messages += MEDIA_TOKENS

    def _came(self, result: ToolResult) -> None:
        asked = self._calls.answered(result)
        text = result_text(result)
        media = sum(not isinstance(part, Text) for part in result.parts)
        tokens = media * MEDIA_TOKENS + self._count("\n".join(p.text for p in result.parts if isinstance(p, Text)))
        ahead, self._messages = self._messages, self._messages + tokens
        if len(self._results) >= MAX_RESULTS:
            self._overlooked = True
            return
        index = len(self._results)
        first = self._texts.setdefault(xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")), index)
        told = unescaped(text) if text[:1] in {"{", "["} else text
        fresh, dropped = self._own(words(told), index)
        self._results.append(
            _Result(
                tool=(asked.name if asked else result.name or "")[:_NAME],
                call=xxhash.xxh3_64_hexdigest(result.call_id.encode("utf-8", "surrogatepass")),
                request=len(self._totals),
                ahead=ahead,
                tokens=tokens,
                known_by=fresh,
                sampled=dropped or len(told) > MAX_CHARS,
                same_as=first if first != index else _NOBODY,
            )
        )

    def _own(self, found: set[int], index: int) -> tuple[int, bool]:
        """How many of these words are new in the conversation (they tell of result `index` now), and whether some of
        them could not be kept."""
        owners = self._owners
        fresh = found.difference(owners)
        self._met += len(fresh)
        # Not at each step of a conversation that is full.
        if len(owners) + len(fresh) > MAX_WORDS and self._met > MAX_WORDS // 4:
            owners = self._swept()
        room = max(0, MAX_WORDS - len(owners))
        if dropped := len(fresh) > room:
            fresh = set(sorted(fresh)[:room])
        owners.update(dict.fromkeys(fresh, index))
        return len(fresh), dropped

    def _swept(self) -> dict[int, int]:
        """Forget words that tell of nothing any more. One that comes again then counts as new: a result may look
        referred to that is not, never the other way round."""
        results = self._results
        self._owners = {w: i for w, i in self._owners.items() if i != _NOBODY and not results[i].referred}
        self._met = 0
        return self._owners

    def _seen(self, found: set[int]) -> None:
        """Words that stand in the conversation and tell of no result."""
        self._own(found, _NOBODY)

    def _said(self, found: set[int]) -> None:
        """Words of the model: the results that they tell of are referred to."""
        owners = self._owners
        for index in {owners[word] for word in found if word in owners}:
            if index == _NOBODY or self._results[index].referred:
                continue
            result = self._results[index]
            result.referred = True
            result.delay = max(0, len(self._totals) - result.request)
        self._seen(found)

    def report(self, billing: Billing, weights: Weights | None = None, *, patience: int = PATIENCE) -> HygieneReport:
        """What has been found so far."""
        return _Reporter(self, billing, weights or Weights(), patience).report()

    def totals(self, weights: Weights) -> list[int]:
        """Input tokens of each request."""
        tools = sum(_weighed(tool, weights) for tool in self._tools.values())
        return [max(1, tools + round(tokens * weights.text)) for tokens in self._totals]

    def parts(self) -> tuple[Mapping[str, _Tool], Sequence[_Result], float, int, bool]:
        """What a report is made of: tools, results, tokens of the system text, requests whose answer was seen, and
        whether something was overlooked."""
        return self._tools, self._results, self._system, self._answered, self._overlooked


class _Reporter:
    """Prices what a trail holds."""

    def __init__(self, trail: ContextTrail, billing: Billing, weights: Weights, patience: int) -> None:
        tools, self._results, system, self._answered, self._overlooked = trail.parts()
        self._billing = billing
        self._text = weights.text
        self._patience = max(1, patience)
        self._offered = [(tool, _weighed(tool, weights)) for tool in tools.values()]
        self._tools = sum(tokens for _, tokens in self._offered)
        self._totals = trail.totals(weights)
        self._opening = (self._tools, self._tools + round(system * weights.text))
        self._billed = bill(self._totals, billing)

    def report(self) -> HygieneReport:
        drafts = [*self._of_tools(), *self._of_results()]
        drafts.sort(key=lambda draft: -draft[0].billed_tokens)
        priced = [(self._priced(finding, cut), cut) for finding, cut in drafts[:MOST_FINDINGS]]
        findings = tuple(finding for finding, _ in priced)
        delays = [r.delay for r in self._results if r.delay and self._judged(r)]
        counted = [0] * max(delays, default=0)
        for delay in delays:
            counted[delay - 1] += 1
        return HygieneReport(
            requests=len(self._totals),
            billed_tokens=sum(self._totals),
            billed_nano_usd=nano(self._billed),
            tools=tuple(tool.name for tool, _ in self._offered),
            tools_tokens=self._tools * len(self._totals),
            results=len(self._results),
            judged=sum(self._judged(r) for r in self._results),
            late=sum(delay > self._patience for delay in delays),
            delays=tuple(counted),
            findings=findings,
            sums={kind: _sum([f for f in findings if f.kind == kind]) for kind in FINDING_KINDS},
            net_nano_usd=self._saved([cut for finding, cut in priced if finding.worth_it]),
            truncated=self._overlooked or len(drafts) > MOST_FINDINGS,
        )

    def _of_tools(self) -> Iterable[tuple[Finding, Cut]]:
        ahead = 0
        for tool, tokens in self._offered:
            goes = tokens if not tool.used else tokens - OVERSIZED_TOKENS
            kind: FindingKind = "oversized_tool" if tool.used else "unused_tool"
            if goes > 0 and self._totals:
                basis: Basis = "assumed" if tool.used else "measured"
                cut = Cut(offset=ahead + tokens - goes, tokens=goes, first=0, since=0)
                yield self._draft(kind, basis, tool.name, cut, requests=len(self._totals)), cut
            ahead += tokens

    def _of_results(self) -> Iterable[tuple[Finding, Cut]]:
        for result in self._results:
            tokens = round(result.tokens * self._text) - STUB_TOKENS
            if tokens + STUB_TOKENS < LEAST_TOKENS or result.request >= len(self._totals):
                continue
            offset = self._tools + round(result.ahead * self._text)
            carried = len(self._totals) - 1 - result.request
            if result.same_as != _NOBODY:
                cut = Cut(offset=offset, tokens=tokens, first=result.request, since=result.request)
                same = self._results[result.same_as].request
                yield self._draft("duplicate_result", "measured", result, cut, requests=carried + 1, same_as=same), cut
            elif self._judged(result) and not result.referred:
                since = min(result.request + self._patience, len(self._totals))
                cut = Cut(offset=offset, tokens=tokens, first=result.request, since=since)
                basis = "assumed" if result.sampled else "estimated"
                yield self._draft("unreferenced_result", basis, result, cut, requests=carried), cut

    def _judged(self, result: _Result) -> bool:
        """Whether there was time enough for a word of it, and a word to look for."""
        if result.tokens * self._text < LEAST_TOKENS or result.same_as != _NOBODY or not result.known_by:
            return False
        return result.referred or self._answered - result.request >= self._patience

    def _draft(
        self,
        kind: FindingKind,
        basis: Basis,
        of: _Result | str,
        cut: Cut,
        *,
        requests: int,
        same_as: int | None = None,
    ) -> Finding:
        """A finding that is not priced yet."""
        return Finding(
            kind=kind,
            basis=basis,
            tool=of if isinstance(of, str) else of.tool,
            step=cut.first,
            call=None if isinstance(of, str) else of.call,
            same_as=same_as,
            tokens=cut.tokens,
            requests=requests,
            billed_tokens=cut.tokens * requests,
            since=cut.since,
            gross_nano_usd=0,
            net_nano_usd=0,
            break_even=None,
            break_even_now=None,
        )

    def _priced(self, finding: Finding, cut: Cut) -> Finding:
        totals, billing, now = self._totals, self._billing, len(self._totals)
        needless = msgspec.structs.replace(cut, since=now - finding.requests)
        return msgspec.structs.replace(
            finding,
            gross_nano_usd=nano(self._billed - bill(totals, billing, (needless,), intact=True)),
            net_nano_usd=self._saved((cut,)),
            break_even=break_even(cut, totals, billing, self._opening),
            break_even_now=break_even(msgspec.structs.replace(cut, since=now), totals, billing, self._opening),
        )

    def _saved(self, cuts: Sequence[Cut]) -> int:
        return nano(self._billed - bill(self._totals, self._billing, cuts, opening=self._opening)) if cuts else 0


def _weighed(tool: _Tool, weights: Weights) -> int:
    return max(1, round(tool.tokens * weights.tools))


def _sum(findings: Sequence[Finding]) -> KindSum:
    worth = [finding for finding in findings if finding.worth_it]
    return KindSum(
        findings=len(findings),
        billed_tokens=sum(f.billed_tokens for f in findings),
        gross_nano_usd=sum(f.gross_nano_usd for f in findings),
        net_nano_usd=sum(f.net_nano_usd for f in findings),
        worth=len(worth),
        worth_nano_usd=sum(f.net_nano_usd for f in worth),
    )


def _definition(tool: ToolSpec) -> str:
    """A tool as JSON, nearly as it is sent."""
    told = tool.opaque if tool.opaque is not None else (tool.name, tool.description, tool.schema)
    try:
        return msgspec.json.encode(told, enc_hook=repr).decode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError):  # a name with half a letter, a schema without an end
        return tool.name
