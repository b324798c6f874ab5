"""Whose request it is, read from what real clients send."""

import msgspec
import pytest
import xxhash
from msgspec.structs import replace

from support.fleets import outline
from turnout.routing.identity import Chain, agent_hash, message_digests, parse_tags, read_hints

HELLO = outline(("user", "hello"))
UUID = "2c718db8-42d7-40c8-8065-73dade1d8ea8"


@pytest.mark.parametrize(
    ("headers", "metadata", "session", "source"),
    [
        ({"x-turnout-session": "mine", "x-claude-code-session-id": UUID}, {}, "mine", "x-turnout-session"),
        ({"x-claude-code-session-id": UUID}, {"session": "meta"}, "meta", "metadata.session"),
        ({"x-claude-code-session-id": UUID}, {}, UUID, "x-claude-code-session-id"),
        ({}, {"user_id": f"user_ab_account_cd_session_{UUID}"}, UUID, "metadata.user_id"),
        ({}, {"user_id": '{"device_id":"d","session_id":"' + UUID + '"}'}, UUID, "metadata.user_id"),
        ({"session-id": UUID, "x-session-id": "later"}, {}, UUID, "session-id"),
        ({"session_id": "codex"}, {}, "codex", "session_id"),
        ({"x-opencode-session": "oc"}, {}, "oc", "x-opencode-session"),
        ({"x-litellm-trace-id": "t"}, {}, "t", "x-litellm-trace-id"),
        ({}, {"user_id": "just-a-user"}, None, "prefix"),
        ({}, {"user_id": "{not json"}, None, "prefix"),
    ],
)
def test_the_session_is_found_in_the_documented_order(headers, metadata, session, source):
    hints = read_hints(headers, outline(("user", "hello"), metadata=metadata))
    assert (hints.session, hints.session_source) == (session, source)


def test_prompt_cache_key_is_the_last_hint():
    told = outline(("user", "hello"), prompt_cache_key="cache-me")
    assert read_hints({}, told).session == "cache-me"
    assert read_hints({"x-session-id": "sid"}, told).session == "sid"


def test_mode_and_tags_from_headers_and_metadata():
    told = outline(("user", "hi"), metadata={"mode": "review", "tags": {"team": "core", "n": 3}})
    assert read_hints({}, told).mode == "review"
    assert read_hints({"x-turnout-mode": "plan"}, told).mode == "plan"
    assert read_hints({"x-turnout-tags": "team=web"}, told).tags == {"team": "web", "n": "3"}


def test_tags_take_what_people_type():
    assert parse_tags(" feature=search, team = core ,urgent,,=x") == {
        "feature": "search",
        "team": "core",
        "urgent": "true",
    }
    assert len(parse_tags(",".join(f"t{i}=1" for i in range(1000)))) == 20


def test_strange_hints_never_break_a_request():
    hints = read_hints({}, outline(("user", "hi"), metadata={"session": 7, "mode": ["x"], "tags": 3}))
    assert (hints.session, hints.mode, hints.tags) == (None, None, {})
    assert len(read_hints({"x-session-id": "x" * 5000}, HELLO).session or "") == 200


def test_an_agent_is_its_system_text_and_tools():
    main = outline(("system", "You plan."), ("user", "a"))
    later = outline(("system", "You plan."), ("user", "a"), ("assistant", "b"), ("user", "c"))
    other = outline(("system", "You search."), ("user", "a"))
    tools = outline(("system", "You plan."), ("user", "a"), prefix=(msgspec.Raw(b"[1]"),))
    assert agent_hash(main) == agent_hash(later)
    assert len({agent_hash(main), agent_hash(other), agent_hash(tools)}) == 3


def chained(seed, *messages):
    return list(Chain(seed, message_digests(outline(*messages))))


def test_chains_agree_exactly_as_far_as_the_messages_do():
    a = chained("s", ("user", "a"), ("assistant", "b"), ("user", "c"))
    b = chained("s", ("user", "a"), ("assistant", "b"), ("user", "d"))
    assert a[:2] == b[:2]
    assert a[2] != b[2]
    assert chained("t", ("user", "a"))[0] != a[0]


def test_a_clients_own_cache_marks_move_on_and_change_no_message():
    marked = {"type": "text", "text": 'say "hi"', "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    bare = {"type": "text", "text": 'say "hi"'}
    told = [
        outline(("user", content), caches="5m")
        for content in ([marked], [bare], 'say "hi"', [{**marked, "cache_control": None}], [bare, bare])
    ]
    first, *same, other = [message_digests(t)[0] for t in told]
    assert set(same) == {first}
    assert other != first


def test_a_kept_conversation_names_the_session():
    for told in (b'"conv_1"', b'{"id": "conv_1"}'):
        hints = read_hints({}, replace(HELLO, fields={"conversation": msgspec.Raw(told)}))
        assert (hints.session, hints.session_source) == ("conv_1", "conversation")
    for told in (b"7", b"null", b"{}"):
        assert read_hints({}, replace(HELLO, fields={"conversation": msgspec.Raw(told)})).session is None


def test_hostile_hints_and_spaces_are_read_in_their_stride():
    deep = '{"a":' * 100_000
    assert read_hints({}, outline(("user", "hi"), metadata={"user_id": deep})).session is None
    # Were each space a new beginning, this would take hours.
    assert len(message_digests(outline(("user", " " * 2_000_000), caches="5m"))) == 1


def test_a_mark_on_the_system_text_makes_no_other_agent():
    bare = msgspec.Raw(b'[{"type":"text","text":"You plan."}]')
    marked = msgspec.Raw(b'[{"type":"text","text":"You plan.","cache_control":{"type":"ephemeral"}}]')
    first = msgspec.Raw(b'[{"cache_control":{"type":"ephemeral"},"type":"text","text":"You plan."}]')
    assert len({agent_hash(outline(("user", "a"), prefix=(raw,), caches="5m")) for raw in (bare, marked, first)}) == 1


def test_a_chain_holds_one_hash_a_message_over_all_up_to_it():
    digests = message_digests(outline(*(("user", str(n)) for n in range(20))))
    running, told = xxhash.xxh3_128(b"alice\0\0"), []
    for digest in digests:
        running.update(digest)
        told.append(running.digest())
    chain = Chain("alice\0\0", digests)
    assert [chain[n] for n in range(-1, -21, -1)] == told[::-1]
    assert list(chain) == told
    assert len(chain) == 20
    assert not Chain("alice", [])
    with pytest.raises(IndexError):
        chain[20]
