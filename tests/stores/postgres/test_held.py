"""Tables that a gateway holds whole: what it holds is never older than what it heard of."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from support.postgres import database
from turnout.stores.postgres.database import Row, open_database
from turnout.stores.postgres.held import Held
from turnout.stores.postgres.rooms import STORES_MIGRATIONS

ADD = "INSERT INTO budgets (name, told) VALUES (%s, '{}')"


class Turn:
    """A lock after whose first end others go on at once."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._then: Callable[[], None] | None = then

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        then, self._then = self._then, None
        if then is not None:
            then()


def names(db: psycopg.Connection[Row]) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM budgets ORDER BY number")]


def test_a_change_of_ones_own_does_not_hide_a_later_one_of_anothers() -> None:
    with database() as url:
        db = open_database(url, "stores", STORES_MIGRATIONS)
        mine, other = (Held(db, "budgets", names) for _ in range(2))

        def meanwhile() -> None:
            other.write(ADD, ("theirs",))
            with db.connection() as line:
                mine.look(line)

        mine._turn = Turn(meanwhile)  # type: ignore[assignment]
        mine.write(ADD, ("mine",))
        assert mine.value == ["mine", "theirs"]
        assert (mine.changed(), mine.changed()) == (True, False)
        db.close()
