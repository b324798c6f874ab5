"""Write docs/reference/errors.md from the tree of errors: python tools/write_error_reference.py (`make reference`)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from turnout import errors
from turnout.errors import RETRYABLE, ConfigError, TurnoutError, UpstreamFailure, UpstreamRejected

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parent.parent / "docs/reference/errors.md"

HEAD = """# Error codes

Written from `src/turnout/errors.py` by `make reference`; change the docstrings there.

Errors come in the caller's own API's shape. The code is stable; messages may be reworded. Retry where
`x-should-retry: true` stands on the answer (SDKs of OpenAI and Anthropic look at it), after `retry-after` seconds where
that is there.

| API | where the code stands | where the field stands |
| --- | --- | --- |
| OpenAI (chat, responses, embeddings), `/admin`, `/v1/route`, `/v1/feedback` | `error.code` | `error.param` |
| Anthropic | `error.code`, beside the API's own `error.type` | `error.param` |
| Gemini | `error.details[0].reason` | `error.details[0].metadata.param` |

After a stream has begun the status is spent: the same error is that API's error event, and no end marker follows.

| status | code | retry | cause | next step |
| --- | --- | --- | --- | --- |
"""

REFUSED = """
A provider's own 4xx keeps its status, message and code, but for what is the gateway's affair and not the caller's:

| what the provider said | status | code | next step |
| --- | --- | --- | --- |
| the gateway's key is refused (401, 403) | 502 | `upstream_error` | check that provider's `api_key` |
| its account is used up (402, `insufficient_quota`) | 502 | `upstream_quota` | see its billing; add a fallback |
| its rate is limited, or it is overloaded (429) | 429 | `rate_limited` | wait as long as `retry-after` says |

## Why a provider failed

Every failure of a provider has a reason, told by its status and code and never by its words. What follows from each
before the caller hears of it is in [delivery](../delivery.md#what-follows-a-failure). The request's story
(`GET /admin/requests/ID`) has the reason of each attempt.

| reason | may pass by itself |
| --- | --- |
"""

AFTER = """
## Of the config

`ConfigError` (`config_error`) never answers a request: `turnout serve` ends with it, or keeps the config that it has.
The message names the key, its value and the nearest known one ([config](config.md)).
"""


def kinds(root: type[TurnoutError] = TurnoutError) -> Iterator[type[TurnoutError]]:
    """Every error below `root`, in the order of the file."""
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


def told(kind: type[TurnoutError]) -> tuple[str, str]:
    """Cause and next step, as its docstring has them. Raises ValueError where it lacks one."""
    text = " ".join(part.replace("\n", " ") for part in inspect.cleandoc(kind.__doc__ or "").split("\n\n")[:2])
    cause, mark, step = text.partition(" Next: ")
    if not mark:
        raise ValueError(f"the docstring of {kind.__name__} does not say `Next: ...`")
    return cause, step[:1].upper() + step[1:]


def retry(kind: type[TurnoutError]) -> str:
    if kind is UpstreamFailure:
        return "by its reason"
    if issubclass(kind, UpstreamFailure):
        return "yes" if kind.usual_reason in RETRYABLE else "no"
    return "yes" if kind.retryable else "no"


def page() -> str:
    """The page's text."""
    shown = [kind for kind in kinds() if kind not in {ConfigError, UpstreamRejected}]
    rows = sorted((kind.status, kind.code, retry(kind), *told(kind)) for kind in shown)
    codes = "".join(f"| {status} | `{code}` | {again} | {why} | {step} |\n" for status, code, again, why, step in rows)
    reasons = "".join(
        f"| `{reason}` | {'yes' if reason in RETRYABLE else 'no'} |\n" for reason in errors.FailureReason.__args__
    )
    return HEAD + codes + REFUSED + reasons + AFTER


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
