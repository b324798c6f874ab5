"""What a model's name means."""

import pytest

from support.fleets import FLEET, NAMES, deployment
from turnout.catalog.fleet import Fleet
from turnout.errors import NotFound
from turnout.routing.names import Names


def test_the_listing_shows_every_name_that_resolves():
    names = NAMES.listing()
    assert names[:3] == ["auto", "claude-auto", "gemini-auto"]
    assert "tier/frontier" in names
    for name in names:
        if name != "mode/loop":
            assert NAMES.resolve(name).name


def test_a_bare_name_finds_whoever_has_it():
    assert [d.id for d in NAMES.resolve("opus").deployments] == ["anthropic/opus", "openai/big"]


def test_an_alias_and_the_alias_for_claude_code():
    assert NAMES.resolve("cheap").tier == "small"
    assert NAMES.resolve("claude-auto").kind == "auto"


def test_a_known_mode_comes_before_the_name_and_an_unknown_one_does_not():
    assert NAMES.resolve("openai/big", mode="data_entry").tier == "small"
    assert NAMES.resolve("openai/big", mode="unheard_of").deployments[0].id == "openai/big"


def test_auto_follows_the_configs_default():
    names = Names(FLEET, modes={}, aliases={}, fallbacks={}, default="openai/mini")
    assert names.resolve("auto").deployments[0].id == "openai/mini"


def test_an_unlisted_model_of_a_known_provider_is_described():
    fleet = Fleet([], providers=("openai",), describe=lambda p, m: deployment(f"{p}/{m}", None, None))
    assert fleet.find("openai/gpt-next")[0].upstream_model == "gpt-next"
    assert fleet.find("nobody/gpt-next") == ()
    with pytest.raises(NotFound):
        Names(fleet, modes={}, aliases={}, fallbacks={}).resolve("gpt-next")


def test_a_bare_name_the_catalogue_knows_goes_to_that_provider():
    fleet = Fleet(
        [],
        providers=("openai", "anthropic"),
        describe=lambda p, m: deployment(f"{p}/{m}", None, None),
        knows=lambda p, m: (p, m) == ("anthropic", "claude-x"),
    )
    assert [d.id for d in fleet.find("claude-x")] == ["anthropic/claude-x"]


def test_what_callers_make_up_is_not_kept():
    names = Names(
        Fleet([], providers=("openai",), describe=lambda p, m: deployment(f"{p}/{m}", None, None)),
        modes={},
        aliases={},
        fallbacks={},
    )
    for label in range(20):
        assert names.resolve("openai/new", mode=f"made-up-{label}").name == "openai/new"
    assert len(names._resolved) == 1
    with pytest.raises(NotFound, match="1,000,007 characters"):
        names.resolve("openai/" + "x" * 1_000_000)
