"""`turnout keys`: virtual keys in the store; a running gateway sees what is changed here within a second or two."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec
from rich.console import Console
from rich.table import Table

from turnout.config import Config, load_config
from turnout.engine import keyring_of
from turnout.server.admin import key_story, new_key_from
from turnout.server.auth import Keyring
from turnout.stores.opening import open_stores

__all__ = ["keys"]


def keys(args: argparse.Namespace) -> int:
    """Do one action. Raises ConfigError, InvalidRequest and NotFound."""
    config = load_config(args.config) if args.config else Config()
    stores = open_stores(config.store)
    try:
        keyring = keyring_of(config, stores, os.environ)
        if args.action == "list":
            _list(keyring, as_json=args.json)
        else:
            _show(_done(keyring, args), as_json=args.json)
    finally:
        stores.close()
    return 0


def _done(keyring: Keyring, args: argparse.Namespace) -> dict[str, object]:
    if args.action == "revoke":
        return key_story(keyring.revoke(args.name), configured=False)
    if args.action == "rotate":
        stored, text = keyring.rotate(args.name, grace_s=args.grace)
    else:
        names = ("name", "owner", "team", "models", "modes", "expires", "rpm", "tpm", "max_concurrency")
        told = {name: value for name in names if (value := getattr(args, name))}
        told["cache_repair"] = not args.no_cache_repair
        told["learning"] = not args.no_learning
        stored, text = keyring.create(new_key_from(msgspec.json.encode(told)))
    return {**key_story(stored, configured=False), "key": text}


def _show(story: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(story), indent=2) + b"\n")
    elif "key" in story:
        print(story["key"])
        print(f"key {story['name']}: the line above is shown this once", file=sys.stderr)
    else:
        print(f"key {story['name']} is {story['state']}")


def _list(keyring: Keyring, *, as_json: bool) -> None:
    stories = [key_story(stored, configured=configured) for stored, configured in keyring.listing()]
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"data": stories}), indent=2) + b"\n")
        return
    if not stories:
        print("there is no key: everyone on this machine may call; turnout keys create NAME makes the first")
        return
    table = Table(box=None, pad_edge=False)
    columns = ("name", "hint", "state", "owner", "team", "models", "rpm", "tpm", "max_concurrency", "expires", "source")
    for column in columns:
        table.add_column(column)
    for story in stories:
        table.add_row(*(_cell(story[column]) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
