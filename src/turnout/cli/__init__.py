"""The `turnout` command: its verbs, and how a failure ends."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal

from turnout import __version__
from turnout.errors import TurnoutError

__all__ = ["main"]


_VERBS = {
    "audit": ("turnout.cli.audit", "audit"),
    "budgets": ("turnout.cli.budgets", "budgets"),
    "calibrate": ("turnout.cli.train", "calibrate"),
    "connect": ("turnout.cli.connect", "connect"),
    "doctor": ("turnout.cli.doctor", "doctor"),
    "eval": ("turnout.cli.evaluate", "evaluation"),
    "export": ("turnout.cli.export", "export"),
    "import": ("turnout.cli.importing", "importing"),
    "init": ("turnout.cli.init", "init"),
    "keys": ("turnout.cli.keys", "keys"),
    "models": ("turnout.cli.models", "models"),
    "replay": ("turnout.cli.replay", "replay"),
    "train": ("turnout.cli.train", "train"),
    "usage": ("turnout.cli.usage", "usage"),
}
"""Verb -> where it is done."""

_ASKED_THERE = {
    "audit": ("add_audit", "where the tokens of your agents' logs went, and what would be saved"),
    "eval": ("add_evaluation", "how good routers are on recorded outcomes of several models"),
    "train": ("add_training", "fit the predictor to your own outcomes"),
    "calibrate": ("add_calibration", "make a trained predictor's chances mean what they say"),
}
"""Verbs whose options stand where they are done: rooms that a gateway has no need of, and loads only for these."""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The command line; of `_ASKED_THERE` the options of `verb` alone."""
    parser = argparse.ArgumentParser(prog="turnout", description="A smart-routing gateway for AI agents.")
    parser.add_argument("--version", action="version", version=f"turnout {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    serve = verbs.add_parser("serve", help="run the gateway")
    serve.add_argument("--config", metavar="FILE", help="turnout.toml; without it, what is found here is used")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 for any free one (default 8787)")

    serve.add_argument("--workers", type=int, help="processes that share the port (default server.workers, 1)")

    from turnout.cli.first_steps import add_first_steps

    add_first_steps(verbs)

    demo = verbs.add_parser("demo", help="route recorded agent sessions and live prompts, with no key and no network")
    demo.add_argument("--exit", action="store_true", help="end when done; else the gateway stays up")
    demo.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")

    route = verbs.add_parser("route", help="explain the decision for the request on standard input; nobody is called")
    route.add_argument("--config", metavar="FILE")
    route.add_argument("--mode", help="as the x-turnout-mode header")
    route.add_argument("--anthropic", action="store_true", help="the request is in Anthropic's format, not OpenAI's")

    keys = verbs.add_parser("keys", help="virtual keys: make, show, rotate, revoke")
    add_key_verbs(keys)

    add_model_verbs(verbs.add_parser("models", help="what a running gateway serves, and how well a model answers"))

    add_usage(verbs.add_parser("usage", help="where tokens and money went, and what would save most"))

    export = verbs.add_parser("export", help="write examples to tune a small model with")
    export.add_argument("--for", required=True, choices=("finetune",), dest="purpose", help="what the file is for")
    export.add_argument("--out", required=True, metavar="FILE.jsonl")
    export.add_argument("--since", default="30d", help="30d, 12h, or a time (default 30d)")
    export.add_argument(
        "--redact", action=argparse.BooleanOptionalAction, default=True, help="take out addresses, numbers and keys"
    )
    export.add_argument("--config", metavar="FILE")

    for name, (adds, what) in _ASKED_THERE.items():
        options = verbs.add_parser(name, help=what)
        if name == verb:
            getattr(importlib.import_module(_VERBS[name][0]), adds)(options)
    add_replay(verbs.add_parser("replay", help="what recorded sessions would have cost under other policies"))

    lab = verbs.add_parser("lab", help="simulations that show what a policy does, before money is at stake")
    add_experiments(lab)

    budgets = verbs.add_parser("budgets", help="what each budget may spend, has spent, and until when")
    budgets.add_argument("--config", metavar="FILE")
    budgets.add_argument("--json", action="store_true")
    return parser


def add_usage(usage: argparse.ArgumentParser) -> None:
    usage.add_argument("--by", default="feature", help="feature, tag:NAME, key, team, model, mode, session, step, day")
    usage.add_argument("--since", default="30d", help="30d, 12h, or a time (default 30d)")
    usage.add_argument("--until", help="until before this time (default now)")
    usage.add_argument("--config", metavar="FILE")
    usage.add_argument("--json", action="store_true")
    usage.add_argument("--csv", metavar="FILE", help="write each day's costs in FOCUS columns instead")
    usage.add_argument("--parquet", metavar="FILE", help="the same as Parquet; needs turnout[learn]")


def add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("paths", nargs="+", metavar="PATH", help="trace files (JSONL) or folders of them")
    replay.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="P",
        help="frontier, frontier+caching, naive-per-step, small, turnout, oracle; all where left out",
    )
    replay.add_argument(
        "--pair",
        action="append",
        default=[],
        metavar="FRONTIER:SMALL",
        help="two models, as provider/model (or three: FRONTIER:MID:SMALL)",
    )
    replay.add_argument(
        "--decisions", action="append", default=[], metavar="NAME=FILE", help="another router's decisions, as a policy"
    )
    replay.add_argument(
        "--warm", action="store_true", help="system text and tools are warm already, as in a busy fleet"
    )
    replay.add_argument("--seed", type=int, default=0, help="of the intervals (default 0)")
    replay.add_argument("--json", action="store_true")


def add_experiments(lab: argparse.ArgumentParser) -> None:
    experiments = lab.add_subparsers(dest="experiment", required=True, metavar="EXPERIMENT")
    pacing = experiments.add_parser("pacing", help="a month of agents against a budget: paced, capped, and neither")
    pacing.add_argument("--seed", type=int, default=1)
    pacing.add_argument("--json", action="store_true")
    context = experiments.add_parser("context", help="what recorded sessions carried for nothing, and what that cost")
    context.add_argument("paths", nargs="*", metavar="PATH", help="traces, or folders of them (default: the packaged)")
    context.add_argument("--model", default="openai/gpt-4.1", help="at whose prices (default openai/gpt-4.1)")
    context.add_argument("--patience", type=int, default=3, metavar="ANSWERS", help="until a result counts as unused")
    context.add_argument("--json", action="store_true")


def add_key_verbs(keys: argparse.ArgumentParser) -> None:
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, what in (
        ("list", "every key, without its secret"),
        ("create", "a new key; its secret is shown once"),
        ("rotate", "another secret for a key, shown once"),
        ("revoke", "close a key for good"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument("--config", metavar="FILE")
        action.add_argument("--json", action="store_true")
        if name != "list":
            action.add_argument("name")
        if name == "rotate":
            action.add_argument(
                "--grace", type=float, default=0.0, metavar="SECONDS", help="how long the old one opens"
            )
        if name == "create":
            for option in ("owner", "team"):
                action.add_argument(f"--{option}")
            for option in ("models", "modes"):
                action.add_argument(f"--{option}", nargs="+", default=[])
            for option in ("rpm", "tpm", "max-concurrency"):
                action.add_argument(f"--{option}", type=int)
            action.add_argument(
                "--no-cache-repair", action="store_true", help="put nothing into its requests for providers' caches"
            )
            action.add_argument(
                "--no-learning", action="store_true", help="record nothing of what becomes of its answers"
            )
            action.add_argument("--expires", metavar="TIME", help="ISO 8601 with a zone, as 2027-01-01T00:00:00Z")


def add_model_verbs(models: argparse.ArgumentParser) -> None:
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, what in (
        ("list", "the models that a running gateway serves"),
        ("probe", "ask a model of a running gateway questions with known answers"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument("--url", default="http://127.0.0.1:8787", help="of the gateway (default %(default)s)")
        action.add_argument("--key", help="a key of the gateway, where it asks for one")
        action.add_argument("--json", action="store_true")
        if name == "probe":
            action.add_argument("model", metavar="MODEL", help="as a request names it, provider/model")
            action.add_argument("--count", type=int, default=60, help="questions at most (default %(default)s, of 70)")
            action.add_argument("--max-tokens", type=int, default=1024, help="of one answer (default %(default)s)")
            action.add_argument(
                "--max-cost-usd", type=Decimal, default="0.50", help="of all answers (default %(default)s)"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Exit status 0 on success, 1 on a failed job, 2 on wrong usage."""
    told = sys.argv[1:] if argv is None else list(argv)
    args = build_parser(told[0] if told else None).parse_args(told)
    try:
        match args.verb:
            case "serve":
                from turnout.cli.serve import serve

                return serve(args.config, args.host, args.port, args.workers)
            case "demo":
                from turnout.lab.demo import demo

                return demo(stay=not args.exit, port=args.port)
            case "route":
                from turnout.cli.route import route

                return route(args.config, sys.stdin.buffer.read(), mode=args.mode, anthropic=args.anthropic)
            case _:
                return _look(args)
    except TurnoutError as error:
        print(f"turnout {args.verb}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _look(args: argparse.Namespace) -> int:
    """The verbs that look at a store, change it, or simulate. Only the one asked for is imported."""
    if args.verb == "lab":
        from turnout.cli.lab import context, pacing

        if args.experiment == "context":
            return context(args.paths, args.model, patience=args.patience, as_json=args.json)
        return pacing(args.seed, as_json=args.json)
    module, name = _VERBS[args.verb]
    verb: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
    return verb(args)
