"""A provider made of recordings: it answers a recorded conversation with the recorded answer, and counts
cached tokens by the provider's documented rules.

It stands where a transport stands, so everything above it (dialects, failover, accounting) is the real thing
and no socket is opened. It knows turns, not sessions: whoever has recordings makes the turns
(`turnout.lab.sessions.turns_of`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

import msgspec
import xxhash
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.cache_rules import CacheRule, cache_rule_of, readable_tokens
from turnout.chat import (
    CacheBreakpoint,
    ChatRequest,
    ChatResponse,
    FinishReason,
    Json,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseEnd,
    ResponseStart,
    StreamEvent,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from turnout.dialects.base import Dialect
from turnout.errors import InvalidRequest, TurnoutError, UpstreamFailure, UpstreamRejected
from turnout.providers.transport import UpstreamRequest

__all__ = ["Boundary", "CacheUse", "Chain", "PromptCache", "RecordedTransport", "Turn", "chain_of", "events_of"]

MAX_PREFIXES = 20_000
"""Prefixes that one model's simulated cache remembers; the longest unused go first."""

_TEXT_STEP = 24
_ARGUMENTS_STEP = 16


# ---- What was said, as hashes ------------------------------------------------------------------------------


class Boundary(Struct, frozen=True):
    """Where a prefix of a conversation ends. `size`: bytes of normalised text up to here, tools included.
    `mark`: the caller's cache breakpoint here."""

    key: bytes
    size: int
    mark: CacheBreakpoint | None = None


class Chain(Struct, frozen=True):
    """A conversation as hashes: of its tools, and of every prefix of what was said."""

    tools: bytes
    boundaries: tuple[Boundary, ...]

    @property
    def key(self) -> str:
        """Names the whole conversation without its tools: a turn is found by what was said."""
        return self.boundaries[-1].key.hex()


def chain_of(request: ChatRequest) -> Chain:
    """The chain of `request`, the same whichever wire format it came through.

    Hashed are role, texts, tool calls (name, arguments as parsed JSON) and tool results, in order. Not
    hashed is what a translation may change: call ids, white space, how parts are grouped in messages,
    `developer` against `system`, thinking (clients may drop it), the error flag of a result (OpenAI has none).
    A prefix ends after the tools and after every part, so that regrouped messages share their prefixes.
    """
    tools = b"".join(_tool_bytes(tool) for tool in request.tools)
    writer = _ChainWriter(len(tools))
    mark = next((tool.cache for tool in reversed(request.tools) if tool.cache), None)
    writer.end(mark)
    for message in request.messages:
        role = "system" if message.role == "developer" else message.role
        for part in message.parts:
            if writer.part(role, part):
                writer.end(_mark_of(part))
    return Chain(tools=xxhash.xxh3_128_digest(tools), boundaries=tuple(writer.boundaries))


def _tool_bytes(tool: ToolSpec) -> bytes:
    told = (tool.name, _collapsed(tool.description or ""), tool.schema or {}, tool.opaque)
    return msgspec.json.encode(told, order="sorted")


def _mark_of(part: Part) -> CacheBreakpoint | None:
    if part.cache is None and isinstance(part, ToolResult):
        return next((inner.cache for inner in part.parts if inner.cache), None)
    return part.cache


def _collapsed(text: str) -> str:
    # This also removes the separators written below, which Python counts as white space.
    return " ".join(text.split())


def _canonical(arguments: str) -> str:
    """Tool arguments as JSON with sorted keys; what is no JSON as it stands."""
    try:
        decoded: Json = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return _collapsed(arguments)
    return msgspec.json.encode(decoded, order="sorted").decode()


class _ChainWriter:
    """Feeds parts to a running hash. A header is written only where speaker or kind changes: neighbouring
    texts of one role hash alike whether they are one message or two, and prefixes stay prefixes."""

    def __init__(self, tools_size: int) -> None:
        self.boundaries: list[Boundary] = []
        self._digest = xxhash.xxh3_128()
        self._size = tools_size
        self._speaker = ""

    def part(self, role: str, part: Part) -> bool:
        """Feed one part; False when there is nothing in it to hash."""
        match part:
            case Text() | Refusal():
                return self._say(f"\x1e{role}\x1f", part.text)
            case Reasoning():
                return False
            case ToolCall():
                self._write(f"\x1ecall\x1f{part.name}\x1f{_canonical(part.arguments)}")
            case ToolResult():
                self._write("\x1eresult\x1f")
                for inner in part.parts:
                    self._speaker = "\x1eresult\x1f"
                    self.part("result", inner)
            case _:
                bare = replace(part, cache=None, extras={})
                self._write("\x1eother\x1f" + msgspec.json.encode(bare, order="sorted").decode())
        self._speaker = ""
        return True

    def end(self, mark: CacheBreakpoint | None) -> None:
        self.boundaries.append(Boundary(self._digest.digest(), self._size, mark))

    def _say(self, speaker: str, text: str) -> bool:
        words = _collapsed(text)
        if not words:
            return False
        self._write(("" if speaker == self._speaker else speaker) + words + " ")
        self._speaker = speaker
        return True

    def _write(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self._digest.update(encoded)
        self._size += len(encoded)


# ---- The provider's prompt cache, simulated ----------------------------------------------------------------


class CacheUse(Struct, frozen=True):
    """Tokens of a request's input that were read from the cache, and that were written to it at a price."""

    read: int
    write: int
    write_1h: int = 0


class PromptCache:
    """One model's prompt cache under `rule`; `clock` in monotonic seconds. Lifetimes slide with every use.

    Where matches go in steps of tokens without marks (openai-automatic), every prefix of a request that was
    sent is kept, and writing is free. Where a rule knows breakpoints, prefixes are kept that end at a mark
    (or, where it is automatic, at the end of the request), and the part written is counted.
    This is the published rule kept without fail. Real caches miss: the packaged gpt-4.1 sessions read 64 % of
    their input from the cache when they were recorded and 90 % here (`tools/pick_sessions.py cache-share`).
    The tokens of a prefix are those of the request it was the whole of; of another prefix, its share of the
    request's text in bytes: an estimate.
    """

    def __init__(
        self, rule: CacheRule, clock: Callable[[], float] = time.monotonic, max_prefixes: int = MAX_PREFIXES
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._max = max_prefixes
        self._kept: OrderedDict[tuple[bytes, bytes], tuple[int, float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def visit(self, chain: Chain, input_tokens: int) -> CacheUse:
        """Send a request of `input_tokens`: what it reads and writes. Its own prefixes are warm after it."""
        rule = self._rule
        points = self._points(chain)
        if rule.granularity_tokens == 0 or not points:
            return CacheUse(0, 0)
        found, tokens = self._longest(chain, points)
        read = min(readable_tokens(rule, tokens), input_tokens)
        self._renew(chain, found)
        self._keep(chain, points, input_tokens)
        if rule.max_breakpoints == 0:
            return CacheUse(read, 0)
        last = chain.boundaries[points[-1]]
        write = max(0, readable_tokens(rule, self._tokens_at(chain, points[-1], input_tokens)) - read)
        long = last.mark is not None and last.mark.ttl == "1h" and rule.long_ttl_s is not None
        return CacheUse(read, write, write if long else 0)

    def _points(self, chain: Chain) -> list[int]:
        """Boundaries at which this rule keeps a prefix."""
        rule, count = self._rule, len(chain.boundaries)
        if rule.automatic and rule.max_breakpoints == 0:
            return list(range(count))
        marked = [i for i, boundary in enumerate(chain.boundaries) if boundary.mark is not None]
        if rule.automatic and count - 1 not in marked:
            marked.append(count - 1)
        return marked[-rule.max_breakpoints :]

    def _longest(self, chain: Chain, points: list[int]) -> tuple[int, int]:
        """Index and tokens of the longest prefix that is still kept; -1 and 0 when there is none."""
        now = self._clock()
        for index in range(points[-1], -1, -1):
            if not self._searched(index, points):
                continue
            kept = self._kept.get((chain.tools, chain.boundaries[index].key))
            if kept is not None and kept[1] > now:
                return index, kept[0]
        return -1, 0

    def _searched(self, index: int, points: list[int]) -> bool:
        """Whether a match at `index` is seen: explicit marks look back a bounded number of blocks."""
        back = self._rule.lookback
        return self._rule.automatic or back is None or any(p - back < index <= p for p in points)

    def _renew(self, chain: Chain, found: int) -> None:
        now = self._clock()
        for boundary in chain.boundaries[: found + 1]:
            place = (chain.tools, boundary.key)
            kept = self._kept.get(place)
            if kept is not None and kept[1] > now:
                self._kept[place] = (kept[0], now + kept[2], kept[2])
                self._kept.move_to_end(place)

    def _keep(self, chain: Chain, points: list[int], input_tokens: int) -> None:
        now = self._clock()
        for index in points:
            boundary = chain.boundaries[index]
            place = (chain.tools, boundary.key)
            kept = self._kept.get(place)
            if kept is not None and kept[1] > now and index < len(chain.boundaries) - 1:
                continue  # what was counted when it was a whole request is better than a share
            ttl = self._ttl(boundary.mark)
            self._kept[place] = (self._tokens_at(chain, index, input_tokens), now + ttl, ttl)
            self._kept.move_to_end(place)
        while len(self._kept) > self._max:
            self._kept.popitem(last=False)

    def _ttl(self, mark: CacheBreakpoint | None) -> float:
        if mark is not None and mark.ttl == "1h" and self._rule.long_ttl_s is not None:
            return float(self._rule.long_ttl_s)
        return float(self._rule.ttl_s)

    @staticmethod
    def _tokens_at(chain: Chain, index: int, input_tokens: int) -> int:
        total = chain.boundaries[-1].size
        return input_tokens * chain.boundaries[index].size // total if total else 0


# ---- The provider ------------------------------------------------------------------------------------------


class Turn(Struct, frozen=True, kw_only=True):
    """One recorded answer. `model`: the name it is offered under; `key`: `Chain.key` of the conversation it
    answers; `recorded_by`: the model that gave it; `usage`: input, output and reasoning tokens;
    `estimated`: nobody recorded them."""

    model: str
    key: str
    parts: tuple[Part, ...]
    finish: FinishReason
    usage: Usage
    recorded_by: str
    estimated: bool = False


class RecordedTransport:
    """Replays `turns` to requests in `dialect`. A Transport.

    A turn is found by offered model and conversation; of two turns for the same, the first given wins. A
    conversation that was never recorded gets a 404, a body that is no request a 400, in the dialect's shape.
    The answer's model is `recorded:` and who recorded it; the header `x-recorded-usage` says whether its
    tokens were `recorded` or `estimated`. Cached tokens are always simulated: under `rules` by offered model,
    else openai-automatic. `first_byte_s` and `chunk_s` delay the answer and each streamed event, in seconds.
    """

    def __init__(
        self,
        turns: Iterable[Turn],
        dialect: Dialect,
        *,
        rules: Mapping[str, CacheRule] | None = None,
        clock: Callable[[], float] = time.monotonic,
        first_byte_s: float = 0.0,
        chunk_s: float = 0.0,
    ) -> None:
        self._turns: dict[tuple[str, str], Turn] = {}
        for turn in turns:
            self._turns.setdefault((turn.model, turn.key), turn)
        default = cache_rule_of("openai", "gpt-4.1")
        known = rules or {}
        self._caches = {
            model: PromptCache(known.get(model, default), clock)
            for model in dict.fromkeys(t.model for t in self._turns.values())
        }
        self._dialect = dialect
        self._first_byte_s = first_byte_s
        self._chunk_s = chunk_s

    @property
    def models(self) -> tuple[str, ...]:
        """The offered models, in the order of the turns."""
        return tuple(self._caches)

    async def send(self, request: UpstreamRequest) -> RecordedResponse:
        """The recorded answer to `request`. Never raises: what is wrong is answered, as a provider does."""
        if self._first_byte_s:
            await asyncio.sleep(self._first_byte_s)
        try:
            asked = self._dialect.decode_request(request.body)
            include_usage = self._dialect.outline(request.body).include_usage
            answer, estimated = self._answer(asked)
        except (InvalidRequest, UpstreamRejected) as error:
            return self._refuse(error)
        headers = [("x-recorded-usage", "estimated" if estimated else "recorded")]
        if not asked.stream:
            body = self._dialect.encode_response(answer).body
            return RecordedResponse(200, [("content-type", "application/json"), *headers], iter([body]))
        encoder = self._dialect.stream_encoder(include_usage=include_usage)
        chunks = (encoder.feed(event) for event in events_of(answer))
        headers.insert(0, ("content-type", "text/event-stream"))
        return RecordedResponse(200, headers, chunks, self._chunk_s)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _answer(self, asked: ChatRequest) -> tuple[ChatResponse, bool]:
        if asked.model not in self._caches:
            offered = ", ".join(self._caches)
            raise UpstreamRejected(
                f"no recordings of the model {asked.model!r}: the recorded provider has {offered}",
                upstream_status=404,
                upstream_code="model_not_found",
            )
        chain = chain_of(asked)
        turn = self._turns.get((asked.model, chain.key))
        if turn is None:
            raise UpstreamRejected(
                "no recorded turn for this conversation: the recorded provider only replays its recordings",
                upstream_status=404,
                upstream_code="no_recorded_turn",
            )
        tokens = turn.usage.input or 0
        use = self._caches[asked.model].visit(chain, tokens)
        usage = Usage(
            input=tokens,
            cache_read=use.read,
            cache_write=use.write,
            cache_write_1h=use.write_1h or None,
            output=turn.usage.output,
            reasoning=turn.usage.reasoning,
        )
        answer = ChatResponse(
            id=f"recorded-{chain.key[:24]}",
            model=f"recorded:{turn.recorded_by}",
            parts=turn.parts,
            finish=turn.finish,
            usage=usage,
        )
        return answer, turn.estimated

    def _refuse(self, error: TurnoutError) -> RecordedResponse:
        body = self._dialect.encode_error(error)
        return RecordedResponse(error.status, [("content-type", "application/json")], iter([body]))


class RecordedResponse:
    """An answer of the recorded provider. An UpstreamResponse."""

    def __init__(
        self, status: int, headers: list[tuple[str, str]], chunks: Iterator[bytes], chunk_s: float = 0.0
    ) -> None:
        self.status = status
        self.headers = headers
        self._chunks = chunks
        self._chunk_s = chunk_s
        self._closed = False

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamFailure when it is longer than `limit` bytes."""
        body = b"".join([chunk async for chunk in self.chunks()])
        if len(body) > limit:
            raise UpstreamFailure(f"the provider's answer is longer than {limit} bytes")
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if self._chunk_s:
                await asyncio.sleep(self._chunk_s)
            if self._closed:
                return
            if chunk:
                yield chunk

    async def aclose(self) -> None:
        self._closed = True


def events_of(answer: ChatResponse) -> Iterator[StreamEvent]:
    """`answer` as a stream: text in steps of 24 characters, tool arguments of 16, always the same."""
    yield ResponseStart(id=answer.id, model=answer.model, created=answer.created)
    for index, part in enumerate(answer.parts):
        match part:
            case Text():
                yield PartStart(index=index, part=Text(text=""))
                yield from _deltas(index, part.text, _TEXT_STEP)
            case ToolCall():
                yield PartStart(index=index, part=ToolCall(id=part.id, name=part.name))
                yield from _deltas(index, part.arguments, _ARGUMENTS_STEP)
            case _:
                yield PartStart(index=index, part=part)
        yield PartEnd(index=index)
    yield ResponseEnd(finish=answer.finish, usage=answer.usage)


def _deltas(index: int, text: str, step: int) -> Iterator[StreamEvent]:
    for start in range(0, len(text), step):
        yield PartDelta(index=index, text=text[start : start + step])
