"""`turnout export --for finetune`: what a small model failed and a stronger one solved, as a file to tune with."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from turnout.catalog.known import tier_of
from turnout.catalog.models import Tier
from turnout.config import Config, load_config
from turnout.engine import keyring_of
from turnout.errors import ConfigError
from turnout.learn.export import example_of, scores_of, solved
from turnout.redaction import Redactor
from turnout.stores.opening import Stores, open_stores
from turnout.usage import moment

__all__ = ["export"]


def export(args: argparse.Namespace) -> int:
    """Write the file, and say what is in it. Raises ConfigError where prompts are not kept, or the file cannot be
    written, and InvalidRequest."""
    config = load_config(args.config) if args.config else Config()
    if not config.learning.enabled or not config.learning.keep_prompts:
        raise ConfigError(
            "nothing is kept to export: set keep_prompts = true under [learning] in the config "
            "(and leave learning.enabled on), name that file with --config, and let some requests be served; "
            "requests and answers are then kept for learning.keep_days days, but for keys made with --no-learning",
            param="learning.keep_prompts",
        )
    since = moment(args.since, datetime.now(UTC), param="--since")
    stores = open_stores(config.store)
    redactor, left_out, written = Redactor() if args.redact else None, Counter[str](), 0
    draft = Path(f"{args.out}.part")
    try:
        store, unwilling = stores.outcomes, _unwilling(config, stores)
        scores = scores_of(store.since(since))
        found = solved(store.texts_since(since), scores, partial(_tier_of, config), without=unwilling)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            for told in found:
                example = example_of(store.text(told.request_id, told.model) or told, redactor)
                if example.why is not None:
                    left_out[example.why] += 1
                    continue
                out.write(example.line + b"\n")
                written += 1
        draft.replace(args.out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"--out {args.out}: cannot be written ({error.strerror}); name another file") from error
    finally:
        stores.close()
    _say(args.out, written, redactor, left_out)
    return 0


def _tier_of(config: Config, model: str) -> Tier | None:
    """What the config says of a model, else what its name does."""
    told = config.models.get(model)
    return (told.tier if told is not None else None) or tier_of(model)


def _unwilling(config: Config, stores: Stores) -> frozenset[str]:
    """Owners of requests who do not want them used: keys that are told so now, whatever was recorded before."""
    listing = keyring_of(config, stores, os.environ).listing()
    return frozenset(stored.key.name for stored, _ in listing if not stored.key.learning)


def _say(out: str, written: int, redactor: Redactor | None, left_out: Counter[str]) -> None:
    print(f"{out}: {written} {'example' if written == 1 else 'examples'}")
    if not written:
        print(
            "an example needs a small model's answer that was poor, and a stronger model's to the same request, or to "
            "the next of the session after it was taken up, that was not; turnout's docs/learning.md says who tells",
            file=sys.stderr,
        )
    if redactor is None:
        print("nothing was redacted", file=sys.stderr)
    else:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(redactor.counts.items())) or "nothing found"
        print(f"redacted: {told}; names of people and places are not found by shape, so look before you hand it out")
    for why, count in left_out.most_common():
        print(f"left out {count}: {why}")
