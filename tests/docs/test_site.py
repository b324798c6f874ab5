"""What `make docs` makes of the repository: the README as front page, links that leave docs/ as text."""

from pathlib import Path

import pytest

import docs_hook as hook

ROOT = Path(__file__).parents[2]


def test_the_readme_is_the_front_page():
    told = hook.front_page("[how](docs/routing.md#evidence) ![x](docs/images/console.png) [c](CONTRIBUTING.md)")
    assert told == "[how](routing.md#evidence) ![x](images/console.png) c"


def test_a_link_that_leaves_the_pages_becomes_text():
    text = "see [compose](../../deploy/compose/compose.yaml) and [spend](../spend.md#pacing)"
    assert hook.within(text, "guides/scale.md") == "see compose and [spend](../spend.md#pacing)"


def test_a_link_to_no_file_of_the_repository_is_refused():
    with pytest.raises(FileNotFoundError, match=r"docs/routing\.md: \.\./nowhere\.toml is no file"):
        hook.within("[x](../nowhere.toml)", "routing.md")


def test_every_page_is_in_the_navigation():
    told = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert [page for page in sorted(pages) if f": {page}\n" not in told] == []


def test_the_site_asks_nobody_else():
    told = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in told
    assert "analytics:" not in told
