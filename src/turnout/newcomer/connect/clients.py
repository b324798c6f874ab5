"""What each client is told so that it calls a gateway: one row a client, as data.

Names of settings are from each client's own documentation (`source`). In texts `<URL>` stands for the gateway's
address, `<MODEL>` for the model's name, `<KEY>` for how the key is taken from the environment there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = ["CLIENTS", "KEY_VARIABLE", "NO_KEY", "Client", "Connection", "Target", "filled", "lines_of"]

KEY_VARIABLE = "TURNOUT_KEY"
"""Where the gateway's key is expected, for clients that can be told of a variable."""

NO_KEY = "unused"
"""What is sent where the gateway asks for no key: most clients refuse to start without one."""

Form = Literal["json", "toml", "lines"]
Setting = str | Mapping[str, "Setting"]


class Connection(Struct, frozen=True, kw_only=True):
    """A gateway as its callers see it. `url` has no path. `model` None: the client's usual name for `auto`."""

    url: str
    keyed: bool = False
    model: str | None = None


class Target(Struct, frozen=True, kw_only=True):
    """A file of the client, below the user's home or the folder that the variable `home` names. `settings` are merged
    into it; `keyed` where the gateway needs a key, `open` where it needs none. `form` `lines`: one setting a line,
    `separator` between its name and value."""

    path: str
    form: Form
    settings: Mapping[str, Setting]
    keyed: Mapping[str, Setting] = {}
    open: Mapping[str, Setting] = {}
    home: str | None = None
    separator: str = "="


class Client(Struct, frozen=True, kw_only=True):
    """`text` is what is printed; `auto` what the client calls `auto`; `note` what one stumbles over. `key`: how the
    text says where the key comes from, in a shell unless it is code."""

    title: str
    source: str
    text: str
    auto: str = "auto"
    targets: tuple[Target, ...] = ()
    note: str = ""
    key: str = f"${KEY_VARIABLE}"


_PYTHON_KEY = f'os.environ["{KEY_VARIABLE}"]'

_CLAUDE = {
    "ANTHROPIC_BASE_URL": "<URL>",
    "ANTHROPIC_MODEL": "<MODEL>",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "<MODEL>",
}
_GEMINI = {"GOOGLE_GEMINI_BASE_URL": "<URL>", "GEMINI_MODEL": "<MODEL>"}
_CODEX = {"name": "Turnout", "base_url": "<URL>/v1", "wire_api": "responses"}

CLIENTS: Mapping[str, Client] = {
    "claude-code": Client(
        title="Claude Code",
        source="https://code.claude.com/docs/en/llm-gateway",
        auto="claude-auto",
        text="export ANTHROPIC_BASE_URL=<URL>\n"
        "export ANTHROPIC_AUTH_TOKEN=<KEY>\n"
        "export ANTHROPIC_MODEL=<MODEL>\n"
        "export ANTHROPIC_DEFAULT_HAIKU_MODEL=<MODEL>\n"
        "claude",
        targets=(
            Target(
                path=".claude/settings.json",
                home="CLAUDE_CONFIG_DIR",
                form="json",
                settings={"env": _CLAUDE},
                open={"env": {"ANTHROPIC_AUTH_TOKEN": NO_KEY}},
            ),
        ),
        note="Its `/model` lists only names with `claude` in them. A key in ANTHROPIC_API_KEY goes out beside the "
        "token: unset it.",
    ),
    "codex": Client(
        title="Codex",
        source="https://developers.openai.com/codex/config-advanced",
        text='# ~/.codex/config.toml\nmodel = "<MODEL>"\nmodel_provider = "turnout"\nweb_search = "disabled"\n\n'
        "[model_providers.turnout]\n"
        'name = "Turnout"\nbase_url = "<URL>/v1"\nenv_key = "TURNOUT_KEY"\nwire_api = "responses"\n\n'
        "# in the shell\nexport TURNOUT_KEY=<KEY>\ncodex",
        targets=(
            Target(
                path=".codex/config.toml",
                home="CODEX_HOME",
                form="toml",
                settings={
                    "model": "<MODEL>",
                    "model_provider": "turnout",
                    "web_search": "disabled",
                    "model_providers": {"turnout": _CODEX},
                },
                keyed={"model_providers": {"turnout": {"env_key": KEY_VARIABLE}}},
            ),
        ),
        note="Its web search runs at OpenAI: leave that line out where all your models are OpenAI's. That it does not "
        "know the model's metadata is harmless.",
    ),
    "gemini-cli": Client(
        title="Gemini CLI",
        source="https://geminicli.com/docs/reference/configuration",
        auto="gemini-auto",
        text='# ~/.gemini/settings.json\n{ "security": { "auth": { "selectedType": "gemini-api-key" } } }\n'
        "# in the shell\n"
        "export GOOGLE_GEMINI_BASE_URL=<URL>\nexport GEMINI_API_KEY=<KEY>\nexport GEMINI_MODEL=<MODEL>\ngemini",
        targets=(
            Target(
                path=".gemini/settings.json",
                form="json",
                settings={"security": {"auth": {"selectedType": "gemini-api-key"}}},
            ),
            Target(path=".gemini/.env", form="lines", settings=_GEMINI, open={"GEMINI_API_KEY": NO_KEY}),
        ),
        note="With an address of its own it refuses to start until settings.json says how it signs in. What stands in "
        "~/.gemini/.env holds in folders that you trust and that have no .env. Its own `auto` is another thing.",
    ),
    "opencode": Client(
        title="OpenCode",
        source="https://opencode.ai/docs/providers",
        text="# ~/.config/opencode/opencode.json\n"
        '{\n  "$schema": "https://opencode.ai/config.json",\n  "model": "turnout/<MODEL>",\n  "provider": {\n'
        '    "turnout": {\n      "npm": "@ai-sdk/openai-compatible",\n      "name": "Turnout",\n'
        '      "options": { "baseURL": "<URL>/v1", "apiKey": "{env:TURNOUT_KEY}" },\n'
        '      "models": { "<MODEL>": { "name": "<MODEL>" } }\n    }\n  }\n}\n'
        "# in the shell\nexport TURNOUT_KEY=<KEY>\nopencode",
        targets=(
            Target(
                path=".config/opencode/opencode.json",
                form="json",
                settings={
                    "$schema": "https://opencode.ai/config.json",
                    "model": "turnout/<MODEL>",
                    "provider": {
                        "turnout": {
                            "npm": "@ai-sdk/openai-compatible",
                            "name": "Turnout",
                            "options": {"baseURL": "<URL>/v1"},
                            "models": {"<MODEL>": {"name": "<MODEL>"}},
                        }
                    },
                },
                keyed={"provider": {"turnout": {"options": {"apiKey": f"{{env:{KEY_VARIABLE}}}"}}}},
                open={"provider": {"turnout": {"options": {"apiKey": NO_KEY}}}},
            ),
        ),
    ),
    "aider": Client(
        title="Aider",
        source="https://aider.chat/docs/llms/openai-compat.html",
        text="export OPENAI_API_BASE=<URL>/v1\nexport OPENAI_API_KEY=<KEY>\naider --model openai/<MODEL>",
        targets=(
            Target(
                path=".aider.conf.yml",
                form="lines",
                separator=": ",
                settings={"openai-api-base": "<URL>/v1", "model": "openai/<MODEL>"},
                open={"openai-api-key": NO_KEY},
            ),
        ),
        note="It warns that it does not know the model; --no-show-model-warnings ends that.",
    ),
    "cursor": Client(
        title="Cursor",
        source="https://cursor.com/docs/settings/api-keys",
        text="Settings > Models > API Keys:\n"
        "  OpenAI API Key              <KEY>\n"
        "  Override OpenAI Base URL    <URL>/v1\n"
        "  Add model                   <MODEL>",
        note="Its own servers make the calls, so the gateway must be reachable from the internet: with a name, TLS and "
        "keys. An address of this machine or network does not work.",
    ),
    "cline": Client(
        title="Cline",
        source="https://docs.cline.bot/provider-config/openai-compatible",
        text="Settings:\n"
        "  API Provider    OpenAI Compatible\n"
        "  Base URL        <URL>/v1\n"
        "  API Key         <KEY>\n"
        "  Model ID        <MODEL>",
    ),
    "openai": Client(
        title="OpenAI SDK",
        source="https://platform.openai.com/docs/api-reference",
        key=_PYTHON_KEY,
        text="import os\n\nfrom openai import OpenAI\n\n"
        'client = OpenAI(base_url="<URL>/v1", api_key=<KEY>)\n'
        'messages = [{"role": "user", "content": "Say hello"}]\n'
        'answer = client.chat.completions.create(model="<MODEL>", messages=messages)\n'
        "print(answer.choices[0].message.content)",
        note="Without a change of code: OPENAI_BASE_URL=<URL>/v1 and OPENAI_API_KEY.",
    ),
    "anthropic": Client(
        title="Anthropic SDK",
        source="https://docs.anthropic.com/en/api/client-sdks",
        key=_PYTHON_KEY,
        auto="claude-auto",
        text="import os\n\nfrom anthropic import Anthropic\n\n"
        'client = Anthropic(base_url="<URL>", api_key=<KEY>)\n'
        'messages = [{"role": "user", "content": "Say hello"}]\n'
        'answer = client.messages.create(model="<MODEL>", max_tokens=1000, messages=messages)\n'
        "print(answer.content[0].text)",
        note="Without a change of code: ANTHROPIC_BASE_URL=<URL> and ANTHROPIC_API_KEY.",
    ),
    "google-genai": Client(
        title="Google Gen AI SDK",
        source="https://googleapis.github.io/python-genai",
        key=_PYTHON_KEY,
        text="import os\n\nfrom google import genai\n\n"
        'client = genai.Client(api_key=<KEY>, http_options={"base_url": "<URL>"})\n'
        'print(client.models.generate_content(model="<MODEL>", contents="Say hello").text)',
    ),
    "langchain": Client(
        title="LangChain",
        source="https://python.langchain.com/docs/integrations/chat/openai",
        key=_PYTHON_KEY,
        text="import os\n\nfrom langchain_openai import ChatOpenAI\n\n"
        'model = ChatOpenAI(model="<MODEL>", base_url="<URL>/v1", api_key=<KEY>)\n'
        'print(model.invoke("Say hello").text)',
        note='ChatAnthropic takes base_url="<URL>" and model="claude-auto".',
    ),
    "pydantic-ai": Client(
        title="Pydantic AI",
        source="https://ai.pydantic.dev/models/openai",
        key=_PYTHON_KEY,
        text="import os\n\nfrom pydantic_ai import Agent\n"
        "from pydantic_ai.models.openai import OpenAIChatModel\n"
        "from pydantic_ai.providers.openai import OpenAIProvider\n\n"
        'provider = OpenAIProvider(base_url="<URL>/v1", api_key=<KEY>)\n'
        'agent = Agent(OpenAIChatModel("<MODEL>", provider=provider))\n'
        'print(agent.run_sync("Say hello").output)',
    ),
    "curl": Client(
        title="curl",
        source="https://curl.se/docs/manpage.html",
        text='curl -sS <URL>/v1/chat/completions -H "Authorization: Bearer <KEY>" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"model": "<MODEL>", "messages": [{"role": "user", "content": "Say hello"}]}'""",
    ),
}


def filled(text: str, client: Client, connection: Connection) -> str:
    """A text of this client with its marks replaced."""
    code = client.key == _PYTHON_KEY
    none = f'"{NO_KEY}"' if code else NO_KEY
    told = text.replace("<URL>", connection.url).replace("<MODEL>", connection.model or client.auto)
    return told.replace("<KEY>", client.key if connection.keyed else none)


def lines_of(client: Client, connection: Connection) -> str:
    """What to set, ready to copy. Lines that only a key needs are left out where there is none."""
    text = filled(client.text, client, connection)
    own = f"export {KEY_VARIABLE}=${KEY_VARIABLE}"
    kept = [
        line if line != own else f"export {KEY_VARIABLE}=...    # the key that the gateway knows"
        for line in text.splitlines()
    ]
    if not connection.keyed:
        kept = [line for line in kept if line != "import os"]
    return "\n".join(kept).strip("\n")
