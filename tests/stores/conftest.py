"""The stores that one set of promises is asked of."""

import pytest

from support.stores import KINDS, house


@pytest.fixture(params=KINDS)
def stores_at(request, tmp_path):
    """A place for stores, in SQLite and in PostgreSQL."""
    with house(request.param, tmp_path) as made:
        yield made
