"""LiteLLM's spend logs: what a row is, in each form that they are exported in."""

import pytest

from support.flatlogs import FIXTURES, read
from turnout.chat import Usage
from turnout.lab.audit.readers.litellm import LITELLM

FORMS = ["spend_logs.jsonl", "spend_logs.csv", "spend_logs_list.json", "spend_logs_page.json"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form):
    steps, told = read(LITELLM, FIXTURES / "litellm" / form)
    assert [step.id for step in steps] == [
        "chatcmpl-5d1c0a77-0000-4000-8000-000000000001",
        "chatcmpl-5d1c0a77-0000-4000-8000-000000000002",
        "msg_row_3",
        "0e1d2c3b-aaaa-bbbb-cccc-0123456789ab",
        "chatcmpl-5d1c0a77-0000-4000-8000-000000000005",
        "chatcmpl-5d1c0a77-0000-4000-8000-000000000006",
    ]
    plain, old, claude, failed, asked, went_on = steps
    assert plain.usage == Usage(input=12, output=25)
    assert plain.cost_nano_usd == 280_000
    # Older versions left Anthropic's cached tokens out of the prompt's.
    assert old.usage == Usage(input=40 + 900, cache_read=0, cache_write=900, output=210)
    assert claude.usage == Usage(input=20502, cache_read=20000, cache_write=500, cache_write_1h=500, output=300)
    assert (claude.project, claude.provider, claude.session) == ("checkout", "anthropic", "s-claude")
    assert old.project == "shop-bot"
    assert failed.failed
    # The proxy makes up a session where the caller names none; what was asked tells that it is one.
    assert asked.session == went_on.session == "u-1"
    assert went_on.whole
    assert [m.role for m in went_on.new] == ["system", "user", "assistant", "user"]
    assert told.unknown == {"answered from LiteLLM's own cache": 1, "aembedding": 1}


def test_a_cell_may_hold_line_breaks_and_a_row_may_be_short(tmp_path):
    path = tmp_path / "spend.csv"
    path.write_text(
        "request_id,call_type,spend,startTime,prompt_tokens,completion_tokens,end_user\n"
        'r1,acompletion,0.5,2026-07-01 10:00:00,1,2,"a ""b""\nc"\n'
        "r2,acompletion\n"
        "r3,acompletion,x,never,-5,1e3,\n"
    )
    steps, told = read(LITELLM, path)
    assert [(step.id, step.project, step.cost_nano_usd, step.usage) for step in steps] == [
        ("r1", 'a "b"\nc', 500_000_000, Usage(input=1, output=2)),
        ("r3", "", None, None),
    ]
    assert told.bad == 1
