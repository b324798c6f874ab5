"""What `make docs` does beyond mkdocs: README.md is the front page, and links to files that are no pages become text.

mkdocs.yml names this file as a hook; mkdocs alone imports it. A link that leads to no file here ends the build.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["front_page", "on_files", "on_page_markdown", "within"]

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<path>[^)#:]+)(?P<anchor>#[^)]*)?\)")


def front_page(readme: str) -> str:
    """README.md as a page beside the others."""
    moved = re.sub(r"\]\(docs/", "](", readme)
    return _LINK.sub(lambda m: m["text"] if (ROOT / m["path"]).exists() else m[0], moved)


def within(text: str, page: str) -> str:
    """A page's text, `page` being its path in docs/, without links that leave docs/. Raises FileNotFoundError."""

    def shown(match: re.Match[str]) -> str:
        target = (DOCS / page).parent.joinpath(match["path"]).resolve()
        if target.is_relative_to(DOCS):
            return match[0]  # mkdocs looks after these itself
        if not target.exists():
            raise FileNotFoundError(f"docs/{page}: {match['path']} is no file of the repository")
        return match["text"]

    return _LINK.sub(shown, text)


def on_files(files: Any, *, config: Any) -> Any:
    """mkdocs asks with the pages that it found."""
    made = import_module("mkdocs.structure.files").File  # it is in the venv of `make docs` alone
    files.append(made.generated(config, "index.md", content=front_page((ROOT / "README.md").read_text("utf-8"))))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """mkdocs asks before a page is rendered."""
    return markdown if page.file.src_uri == "index.md" else within(markdown, page.file.src_uri)
