"""Items of the Responses API: what is no item is refused by name."""

import pytest

from turnout.dialects.openai_responses.items import decode_item
from turnout.errors import InvalidRequest


@pytest.mark.parametrize("kind", [[], {}, 5, ["message"]])
def test_a_type_that_is_no_text_is_refused(kind):
    with pytest.raises(InvalidRequest, match=r"item\.type must be"):
        decode_item({"type": kind}, "item")


def test_a_parts_type_that_is_no_text_is_kept_whole():
    told = {"type": "message", "role": "user", "content": [{"type": [], "text": "hi"}]}
    (part,) = decode_item(told, "item").parts
    assert part.data == {"type": [], "text": "hi"}
