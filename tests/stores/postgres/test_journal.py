"""Who keeps the budgets of a database: one gateway alone, or several that share their state."""

import pytest

from stores.test_journal import held
from support.postgres import database
from turnout.errors import ConfigError
from turnout.store_rules import StoreConfig
from turnout.stores.opening import open_stores
from turnout.stores.postgres import journal
from turnout.stores.postgres.database import Database
from turnout.stores.postgres.journal import PostgresJournal


def stores(url, folder, gateway=None):
    return open_stores(StoreConfig(ledger=url, folder=str(folder)), gateway, serving=True)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [(None, None, False), (None, "gw-2", False), ("gw-1", None, False), ("gw-1", "gw-2", True)],
)
def test_nobody_keeps_budgets_alone_beside_others_on_whatever_machine(tmp_path, first, second, together):
    with database() as url:
        one, two = stores(url, tmp_path / "one", first), stores(url, tmp_path / "two", second)
        try:
            one.journal.claim(one.ledger)
            if together:
                two.journal.claim(two.ledger)
            else:
                with pytest.raises(ConfigError, match=r"store\.shared"):
                    two.journal.claim(two.ledger)
                one.close()
                two.journal.claim(two.ledger)
        finally:
            one.close()
            two.close()


def test_no_gateway_of_several_is_named_as_one_by_itself_is(tmp_path):
    with pytest.raises(ConfigError, match="'alone-7' is no name for a gateway that shares its state"):
        stores("postgresql://127.0.0.1:1/x", tmp_path, "alone-7")


def test_what_one_by_itself_held_is_taken_over_by_several_that_share_its_folder(tmp_path):
    with database() as url:
        alone = stores(url, tmp_path)
        alone.journal.claim(alone.ledger)
        alone.journal.hold(held("r1"))
        alone.close()
        others = [stores(url, tmp_path, name) for name in ("gw-1", "gw-2")]
        try:
            for other in others:
                _ = other.ledger  # has a segment in the folder for as long as it lives
            others[0].journal.claim(others[0].ledger)
            assert others[0].ledger.get("r1").outcome == "lost"
        finally:
            for other in others:
                other.close()


def test_a_claim_that_fails_leaves_no_connection(tmp_path, monkeypatch):
    made = []

    class Watched(Database):
        def connect(self, **options):
            made.append(super().connect(**options))
            return made[-1]

    monkeypatch.setattr(journal, "_LOCK", "1 / 0")
    with database() as url:
        claim = PostgresJournal(str(tmp_path / "ledger"), None, lambda _: 0, lambda: Watched(url))
        with pytest.raises(ConfigError, match="PostgreSQL says"):
            claim.claim(None)
    assert [db.closed for db in made] == [True]
