"""Who keeps the budgets of a database: one gateway alone, or several that share their state."""

import pytest

from support.postgres import database
from turnout.errors import ConfigError
from turnout.store_rules import StoreConfig
from turnout.stores.opening import open_stores


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
