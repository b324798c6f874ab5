"""A YAML file as plain data, however hostile it is: no objects are made, and aliases cannot grow without bound."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from turnout.errors import InvalidRequest

__all__ = ["MAX_BYTES", "read_yaml"]

MAX_BYTES = 2 * 1024 * 1024
MAX_NODES = 200_000
"""With every alias counted as what it stands for: merging one (`<<`) copies it."""

MAX_DEPTH = 50


def read_yaml(data: bytes) -> dict[str, Any]:
    """The mapping in a file. JSON, which is YAML too, is read without a YAML library. Raises InvalidRequest, which
    tells the place and nothing that stands in the file."""
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"it has {len(data):,} bytes; a config has {MAX_BYTES:,} at most")
    try:
        told: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _yaml(data)
    if not isinstance(told, dict):
        raise InvalidRequest("it holds no mapping; a LiteLLM config begins with model_list:")
    return {str(key): value for key, value in cast("dict[object, Any]", told).items()}


def _yaml(data: bytes) -> object:
    try:
        import yaml
    except ImportError:
        raise InvalidRequest("reading YAML takes PyYAML: pip install 'turnout[import]'") from None
    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
        _bounded(node)
        return yaml.load(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise InvalidRequest(f"it is not valid YAML; {where}{_named(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InvalidRequest("it is not valid YAML, or not text in UTF-8") from None
    except RecursionError:
        raise InvalidRequest("it is nested beyond sense") from None
    except (ValueError, TypeError, OverflowError):  # a date or number that is none
        raise InvalidRequest("it holds a number or date that cannot be read") from None


def _named(error: Any) -> str:
    """The library's word for what is wrong, without what it quotes."""
    told = str(error.problem or "cannot be read").partition("'")[0].strip(" ,:")
    return told or "a tag that means an object, which is not made"


def _bounded(root: Any) -> None:
    """Raises InvalidRequest for a document that is too large once its aliases are written out, or holds itself."""
    count = 0
    waiting: list[tuple[Any, int]] = [(root, 0)] if root is not None else []
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise InvalidRequest("it is too large or too deep once its aliases are written out")
        value = node.value
        if isinstance(value, list):
            for part in cast("list[Any]", value):
                waiting.extend((inner, depth + 1) for inner in (part if isinstance(part, tuple) else (part,)))
