"""A router that sends requests to `auto` with certain words to certain models. Where no word is said, Turnout decides.

[routing]
plugin = "keywords"
options = { refactor = "anthropic/claude-opus-5", translate = "openai/gpt-4.1-mini" }
"""

from __future__ import annotations

from turnout.plugins import API, Choice, Chooser, ConfigError, Question, RouterPlugin, RouterSetup


def make(setup: RouterSetup) -> Chooser:
    rules = {word.encode(): model for word, model in setup.options.items() if isinstance(model, str)}
    if len(rules) != len(setup.options):
        raise ConfigError("routing.options: each word is followed by a model, as provider/model")

    def choose(question: Question) -> Choice | None:
        if question.session.pinned is not None:
            return None  # going elsewhere in mid-session would leave the provider's cache behind
        able = {candidate.deployment.id for candidate in question.candidates}
        last = bytes(question.outline.messages[-1]).lower()
        for word, model in rules.items():
            if word in last and model in able:
                return Choice(model=model, why=f"the request says {word.decode()}")
        return None

    return choose


PLUGIN = RouterPlugin(api=API, make=make)
