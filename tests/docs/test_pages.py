"""What the docs show is run, page by page: see support/pages.py for how a block is marked."""

from pathlib import Path

import pytest

from support.every_api import EveryApi
from support.pages import Page, blocks_of
from support.threaded import upstream_in_thread

ROOT = Path(__file__).parents[2]
PAGES = sorted(p for p in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if blocks_of(p.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_what_a_page_shows_is_so(page, tmp_path):
    with upstream_in_thread(upstream=EveryApi()) as up, Page(page, tmp_path, up.url) as shown:
        shown.run()


GOOD = """
<!-- serve: turnout.toml -->
```toml
[providers.openai]
api_key = "env:OPENAI_API_KEY"
```

<!-- runs -->
```python
import json, urllib.request
ask = {"model": "openai/gpt-4.1", "messages": [{"role": "user", "content": "?"}]}
url = "http://127.0.0.1:8787/v1/chat/completions"
with urllib.request.urlopen(urllib.request.Request(url, json.dumps(ask).encode())) as told:
    text = json.load(told)["choices"][0]["message"]["content"]
```

- a block in a list

  <!-- runs -->
  ```python
  async def told():
      return text

  print(await told())
  ```

  <!-- prints -->
  ```text
  Paris.
  ```

<!-- raises: KeyError -->
```python
{}["nothing"]
```

<!-- runs -->
```sh
ls turnout.toml
```

<!-- prints -->
```text
turnout.toml
```
"""


def shown(text, folder):
    page = folder / "page.md"
    page.write_text(text)
    with upstream_in_thread(upstream=EveryApi()) as up, Page(page, folder, up.url) as told:
        return told.run()


def test_a_page_is_a_session_with_files_a_gateway_and_a_provider(tmp_path):
    assert shown(GOOD, tmp_path) == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!-- runs -->\n```python\nprint(1)\n```\n\n<!-- prints -->\n```text\n2\n```\n", "it printed\n1"),
        ("<!-- runs -->\n```python\n\n1 / 0\n```\n", r'page.md", line 4'),
        ("<!-- raises: KeyError -->\n```python\n1\n```\n", "raised nothing"),
        ("<!-- run -->\n```python\n1\n```\n", "<!-- run --> is no mark"),
        ("<!-- runs -->\n```sh\nfalse\n```\n", "page.md:3"),
    ],
)
def test_what_is_not_so_is_told_with_its_line(text, why, tmp_path):
    with pytest.raises(AssertionError) as raised:
        shown(text, tmp_path)
    assert why in str(raised.value)
