"""A list or an object in place of any field of a recorded body is an error that names the field, or none, no fault."""

import json
from contextlib import suppress

import pytest

from support.recordings import FIXTURES
from support.spoiled import keys_of, with_all
from turnout.dialects import DIALECTS
from turnout.errors import TurnoutError

BODIES = [
    (name, path, part)
    for name in DIALECTS
    for path in sorted((FIXTURES / name).glob("*.json"))
    for part in ("request", "response")
]


@pytest.mark.parametrize(("name", "path", "part"), BODIES, ids=[f"{n}-{p.stem[:40]}-{part}" for n, p, part in BODIES])
def test_a_field_that_is_no_word_is_an_error_and_no_fault(name, path, part):
    dialect = DIALECTS[name]
    decoders = {
        "request": (dialect.outline, dialect.decode_request),
        "response": (dialect.decode_response, dialect.summarise, dialect.decode_error),
    }
    told = json.loads(path.read_text())[part]
    body = told.get("body", told) if isinstance(told, dict) else told
    for key in sorted(keys_of(body)):
        for other in ({}, [], [None]):
            data = json.dumps(with_all(body, key, other)).encode()
            for decode in decoders[part]:
                with suppress(TurnoutError):
                    decode(data)
