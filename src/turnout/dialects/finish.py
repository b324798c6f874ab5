"""Why an answer ended: each API's words to the neutral ones and back."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from turnout.chat import FinishReason, Unified

__all__ = ["FinishWords"]


class FinishWords(Struct, frozen=True, kw_only=True):
    """`meaning` of each word that may come; `word` for each meaning. `foreign`: words that may come and must not be
    said: an API's own clients know them not."""

    meaning: Mapping[str, Unified]
    word: Mapping[Unified, str]
    foreign: frozenset[str] = frozenset()

    def read(self, word: str | None) -> FinishReason:
        return FinishReason(self.meaning.get(word or "", "other"), word)

    def write(self, finish: FinishReason) -> str:
        """The provider's own word where it is one of this API's, else the one for its meaning."""
        own = finish.raw is not None and finish.raw not in self.foreign
        if own and self.meaning.get(finish.raw or "") == finish.unified:
            return finish.raw or ""
        return self.word[finish.unified]
