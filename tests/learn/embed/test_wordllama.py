"""WordLlama's vectors, the real ones: `pip install 'turnout[embed]'` (left out where that is not there)."""

from importlib.util import find_spec

import numpy as np
import pytest

from support.outcomes import table_of
from turnout.errors import InvalidRequest
from turnout.learn.embed import embeds_of
from turnout.learn.fit import Fit

SUMS = [f"Add {a} and {a + 3}, then halve the total." for a in range(40)]
VERSES = [f"Compose a sonnet about {thing}." for thing in ("rain", "rust", "rivers", "bread", "winter")] * 8


@pytest.fixture(scope="module")
def wordllama():
    if missing := [name for name in ("tokenizers", "safetensors", "wordllama") if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return embeds_of("wordllama")


def test_what_means_the_same_is_near(wordllama):
    poem, verse, total = wordllama.vectors(["Write a poem on love", "Compose verses about romance", "What is 12 + 9?"])
    assert poem @ verse > poem @ total
    assert np.linalg.norm(poem) == pytest.approx(1)


def test_nothing_is_a_vector_of_nothing_and_long_texts_are_cut(wordllama):
    empty, long, longer = wordllama.vectors(["", "word " * 5_000, "word " * 9_000])
    assert not empty.any()
    assert long == pytest.approx(longer)
    assert wordllama.vectors([]).shape == (0, 256)


def test_vectors_speak_of_words_that_no_label_had(wordllama):
    table = table_of([[1, 1]] * 40 + [[0, 1]] * 40, queries=[*SUMS, *VERSES])
    asked = ["Poetry, rhymes: an elegy.", "Subtract 7 from 19."]
    plain, seeing = (Fit(embeds=embeds).fit(table, np.arange(80)) for embeds in (None, wordllama))
    poem, total = seeing.need(asked, "m0", "m1")
    assert poem - total > np.subtract(*plain.need(asked, "m0", "m1"))


def test_a_name_that_is_none_and_a_package_that_is_not_there_are_said(monkeypatch):
    with pytest.raises(InvalidRequest, match="no embedding 'x'; write wordllama"):
        embeds_of("x")
    monkeypatch.setattr("turnout.learn.embed.PLUGINS", {"absent": "no_such_package"})
    with pytest.raises(InvalidRequest, match=r"no_such_package is not installed; pip install 'turnout\[embed\]'"):
        embeds_of("absent")
