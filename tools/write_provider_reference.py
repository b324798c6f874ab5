"""Write docs/providers.md from the registry of hosts: python tools/write_provider_reference.py (`make reference`)."""

from __future__ import annotations

from pathlib import Path

from turnout.providers.apis import APIS
from turnout.providers.registry import PROVIDERS, ProviderRow

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parent.parent / "docs/providers.md"

HEAD = """# Providers

Written from `src/turnout/providers/registry.py` by `make reference`. Each host is one row there, and its models are
named `PROVIDER/MODEL`. A key is enough to use one, in the environment or as `api_key` in its table of the
[config](reference/config.md#providers-name). `turnout serve` without a config takes those whose variable is set, and
local servers that answer on their port; where there is neither, the embedded small model.

```toml
[providers.openai]
api_key = "env:OPENAI_API_KEY"
api_keys = ["env:OPENAI_API_KEY_2"]       # load is spread; a session stays where its cache is
```

| provider | speaks | key variable | address |
| --- | --- | --- | --- |
"""

TAIL = """
*speaks*: a caller of the same format has its bytes handed on as they are; from every other one they are
[translated](formats.md), to the first. What each provider's prompt cache does, and what is done for it, is in
[caching](caching.md); where list prices come from in [prices](prices.md).

- `{NAME}` in an address is a variable of the environment that must be set beside the key.
- azure: models are your deployments' names, `azure/my-deployment`.
- bedrock: a bearer token in `AWS_BEARER_TOKEN_BEDROCK`, or `pip install 'turnout[bedrock]'` and the usual AWS
  credentials. It goes on writing, and bills it, when nobody reads any more.
- vertex: application default credentials, `pip install 'turnout[vertex]'`; Claude and Gemini, each at its publisher.
- Local hosts cost nothing by the token. Say which tier their models are: `tier = "small"` in
  `[models."ollama/qwen3:8b"]`.

## A host that is not here

Any that speaks a known format (FORMATS), with no code:

```toml
[providers.lab]
dialect = "openai-chat"                   # or a list
base_url = "http://127.0.0.1:9000/v1"
api_key = "env:LAB_KEY"
[models."lab/qwen-small"]
tier = "small"
context_window = 128000
price = { input = 0.10, output = 0.40, cache_read = 0.01 }   # USD per million tokens
```

One that many would use is a row in the registry; one that speaks a format of its own is a
[plug-in](guides/plug-ins.md) or a folder in `dialects/`.
"""


def row(host: ProviderRow) -> str:
    """One line of the table."""
    speaks = ", ".join(f"`{api.dialect}`" for api in host.apis)
    keys = " or ".join(f"`{name}`" for name in host.key_env) or ("none" if host.local else "signed, see below")
    return f"| `{host.name}` | {speaks} | {keys} | `{host.base_url}` |\n"


def page() -> str:
    """The page's text."""
    formats = ", ".join(f"`{name}`" for name in APIS)
    rows = "".join(row(host) for host in PROVIDERS.values())
    return HEAD + rows + TAIL.replace("FORMATS", formats)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
