"""Turnout with everything switched on, as the benchmarks run it: one TOML for all of them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ADMIN", "KEY", "everything"]

KEY = "bench-key-0123456789"
ADMIN = "bench-admin-0123456789"

MODELS = (("small", 0.1, 0.4), ("mid", 1, 4), ("frontier", 5, 25))


def everything(upstream: str, folder: Path) -> str:
    """A config of three models at `upstream`, an OpenAI-compatible API (`http://host:port/v1`): a virtual key with
    its limits, budgets that reserve and settle, brakes, routing by `auto`, learning, metrics, a ledger.

    What calls further models (shadows, cascades, hedges) stays off: nobody's request would be counted as another's."""
    models = "\n".join(
        f'[models."lab/{tier}"]\ntier = "{tier}"\ncontext_window = 4000000\n'
        f"price = {{ input = {dear}, output = {dearer}, cache_read = {dear / 10:g} }}"
        for tier, dear, dearer in MODELS
    )
    return f"""
[server]
admin_key = "{ADMIN}"
[store]
ledger = "sqlite:///{folder}/ledger.db"
folder = "{folder}"
[keys.bench]
key = "{KEY}"
team = "core"
rpm = 100000000
tpm = 1000000000000
max_concurrency = 10000
[providers.lab]
dialect = "openai-chat"
base_url = "{upstream}"
api_key = "sk-lab"
{models}
[modes]
small_talk = "tier/small"
[routing]
default = "auto"
baseline = "lab/frontier"
detours = true
[budgets.company]
amount_usd = 1000000000
[budgets.core]
match = {{ team = "core" }}
amount_usd = 1000000000
pacing = "thrift"
[brakes]
max_session_usd = 100000
max_session_steps = 100000
repeat_call = 50
cycle = 50
tool_errors = 50
"""
