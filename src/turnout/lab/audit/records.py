"""What an audit takes from any log: one step a request that was answered, and how a session ended. Pure.

A reader makes these from its own format and nothing else of it is seen further on. Texts live only as long as a step is
looked at: what is kept of them are sizes and hashes.
"""

from __future__ import annotations

from msgspec import Struct, field

from turnout.chat import Message, Part, ToolSpec, Usage

__all__ = ["Ending", "Event", "ReadTally", "Step"]


class Step(Struct, frozen=True, kw_only=True):
    """One request to a model and its answer, in the order in which its session made them.

    `session` and `agent` ("" is the main one) tell whose conversation it belongs to, `project` what it was for: a
    folder, a feature, an application. `id` is the provider's own name of the answer: the same one twice is one answer
    that was written twice ("": it has none). `model` as logged, `provider` where the log says so. `at` in seconds since
    1970, UTC; None where no time was written.

    `usage` counts as `chat.Usage` does (`input` includes cache reads and writes); None: not logged, and then sizes are
    estimated. `cost_nano_usd`: what the log says was paid.

    `new`: the messages that this request had and the agent's step before had not, its system text among them. `whole`:
    `new` is instead every message of the request (logs that keep whole requests). `out`: what the model answered.
    `tools`: the definitions that were offered; None where the log does not show them. `effort`: as it was asked for.
    `failed`: no answer came. `compacted`: the conversation was cut short or rewritten before this step, as the log
    itself says.
    """

    session: str
    agent: str = ""
    project: str = ""
    id: str = ""
    model: str = ""
    provider: str = ""
    at: float | None = None
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    new: tuple[Message, ...] = ()
    out: tuple[Part, ...] = ()
    whole: bool = False
    tools: tuple[ToolSpec, ...] | None = None
    effort: str | None = None
    failed: bool = False
    compacted: bool = False


class Ending(Struct, frozen=True, kw_only=True):
    """How a session ended, where its log says so. `solved`: a benchmark's or a judge's word; None: nobody judged.
    `why`: the log's own word, short (`submitted`, `interrupted`, `exit_cost`). `usage` and `cost_nano_usd`: what the
    session used and paid in all, where its log tells that and does not tell it of the steps (None: the steps do)."""

    session: str
    solved: bool | None = None
    why: str = ""
    usage: Usage | None = None
    cost_nano_usd: int | None = None


Event = Step | Ending


class ReadTally(Struct, kw_only=True):
    """What a reader met; filled while it reads. `lines`: lines or elements; `unknown`: those that are well formed and
    of no kind that the reader knows, by kind; `bad`: those that cannot be read. `first_error` names file and place."""

    lines: int = 0
    bad: int = 0
    unknown: dict[str, int] = field(default_factory=dict[str, int])
    first_error: str | None = None

    def strange(self, kind: str) -> None:
        """A line of a kind that nobody knows was left out. At most 50 kinds are told apart."""
        kind = kind[:60] if kind in self.unknown or len(self.unknown) < MOST_KINDS else "other"
        self.unknown[kind] = self.unknown.get(kind, 0) + 1

    def broken(self, place: str, error: object) -> None:
        """Something could not be read. `place` is a file's name and where in it, without its folder."""
        self.bad += 1
        self.first_error = self.first_error or f"{place}: {error}"[:300]

    def add(self, other: ReadTally) -> None:
        self.lines += other.lines
        self.bad += other.bad
        for kind, count in other.unknown.items():
            self.unknown[kind] = self.unknown.get(kind, 0) + count
        self.first_error = self.first_error or other.first_error


MOST_KINDS = 50
