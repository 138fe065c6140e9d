"""The client's codec: encoding commands, and decoding anything that a server sends."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core import events as ev
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    Cancel,
    ClearAudio,
    CloseSession,
    Command,
    CommitAudio,
    Configure,
    CreateResponse,
    Delete,
    Retrieve,
    Truncate,
)
from rtchat.core.events import (
    ChannelDone,
    Delta,
    ItemRetrieved,
    ItemTruncated,
    PartDone,
    ReplyEnded,
    ReplyStarted,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    Unknown,
)
from rtchat.core.reply import Reply as ReplyText
from rtchat.core.text import compact_json
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Channel,
    Dialect,
    Item,
    JsonObject,
    Message,
    Options,
    OtherItem,
    Part,
    RemoteCall,
    Status,
    ToolCall,
    ToolOutput,
)
from rtchat.wire import decode, encode, read_error_body, read_frame, session_event, translations
from rtchat.wire.audio_options import with_translation
from rtchat.wire.fields import Fields
from rtchat.wire.items import read_item
from tests.oracle import (
    assert_client_event,
    assert_translation_command,
    assert_translation_event,
)
from tests.wire_examples import (
    BETA_EVENTS,
    COMMANDS,
    EVENTS,
    TOOL,
    TRANSLATION_EVENTS,
    VARIANTS,
    Json,
)

# ---------------------------------------------------------------------------------------- encoding


@pytest.mark.parametrize(("command", "ga", "beta"), COMMANDS)
def test_a_command_in_either_dialect(command: Command, ga: Json, beta: Json | None) -> None:
    assert encode(command, "e") == {"event_id": "e"} | ga
    assert encode(command, "e", Dialect.BETA) == {"event_id": "e"} | (beta or ga)


_TEXT = st.text(max_size=5)
_PARTS = {
    "system": st.builds(Part, st.just("text"), _TEXT),
    "user": st.one_of(
        st.builds(Part, st.just("text"), _TEXT),
        st.builds(Part, st.just("audio"), _TEXT, _TEXT),
        st.builds(Part, st.just("image"), data=_TEXT),
    ),
    "assistant": st.one_of(
        st.builds(Part, st.just("text"), _TEXT),
        st.builds(Part, st.just("audio"), _TEXT, _TEXT),
    ),
}
_ITEM_STATUS = st.sampled_from(["", "completed", "incomplete", "in_progress"])
_MESSAGES = st.one_of(
    *(
        st.builds(
            Message, st.just(role), st.lists(parts, max_size=3).map(tuple), _TEXT, _ITEM_STATUS
        )
        for role, parts in _PARTS.items()
    )
)
_ITEMS: st.SearchStrategy[Item] = st.one_of(
    _MESSAGES,
    st.builds(ToolCall, _TEXT, _TEXT, _TEXT, _TEXT, _ITEM_STATUS),
    st.builds(ToolOutput, _TEXT, _TEXT, _TEXT),
)
_SETTINGS = st.builds(
    Options,
    st.none() | _TEXT,
    st.sampled_from([None, "text", "audio"]),
    st.sampled_from([None, 1, 4096, "inf"]),
    st.sampled_from([{}, {"tools": [TOOL]}, {"tool_choice": "none"}]),
)
_ANY_COMMAND: st.SearchStrategy[Command] = st.one_of(
    st.builds(Configure, _SETTINGS),
    st.builds(CreateResponse, _SETTINGS, st.just(False)),
    st.builds(AddItem, _ITEMS, st.none() | _TEXT),
    st.builds(Cancel, _TEXT),
    st.builds(Retrieve, _TEXT),
    st.builds(Delete, _TEXT),
    st.builds(Truncate, _TEXT, st.integers(0, 9), st.integers(0, 10**6)),
    st.builds(AppendAudio, st.binary(max_size=9)),
    st.builds(CommitAudio),
    st.builds(ClearAudio),
)


@given(_ANY_COMMAND, st.text(max_size=20))
def test_the_official_types_accept_every_command(command: Command, event_id: str) -> None:
    assert_client_event(encode(command, event_id))


@given(_ITEMS)
def test_items_survive_a_round_trip(item: Item) -> None:
    sent = encode(AddItem(item), "e")["item"]
    assert decode({"type": "conversation.item.retrieved", "item": sent}) == [ItemRetrieved(item)]


@pytest.mark.parametrize(
    "item",
    [
        Approval("mcpr_1", "search", "{}", "docs"),
        ApprovalAnswer("mcpr_1", True, "i1"),
        ApprovalAnswer("mcpr_1", False, "i1", "No."),
        RemoteCall("docs", "search", "{}", "7", id="i2"),
        RemoteCall("docs", "search", "{}", "", "HTTP 500", "i2"),
        OtherItem("thought", "i2", {"type": "thought", "id": "i2", "output": "7"}),
    ],
)
def test_approval_items_survive_a_round_trip(item: Item) -> None:
    sent = encode(AddItem(item), "e")["item"]
    assert decode({"type": "conversation.item.retrieved", "item": sent}) == [ItemRetrieved(item)]


# ---------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ("data", "event"),
    EVENTS + BETA_EVENTS + TRANSLATION_EVENTS,
    ids=lambda x: x.get("type") if isinstance(x, dict) else "",
)
def test_an_event_of_either_dialect(data: Json, event: ServerEvent) -> None:
    assert decode({"event_id": "event_1"} | data) == [event]


def test_every_event_of_the_api_is_known() -> None:
    assert len({str(data["type"]) for data, _ in EVENTS}) == 46


def test_the_events_of_translations_are_those_of_the_api() -> None:
    for data, _ in TRANSLATION_EVENTS:
        assert_translation_event({"event_id": "event_1"} | data)
    for command in (
        Configure(with_translation({}, language="es", has_source=True)),
        AppendAudio(b"\0\0"),
        CloseSession(),
    ):
        sent = encode(command, "e", Dialect.TRANSLATION)
        assert_translation_command(sent)
        assert translations.is_close(sent) is (command == CloseSession())
        if isinstance(command, AppendAudio):
            assert translations.to_ga(sent) == encode(command, "e")
    session = {"type": "translation", "id": "s", "model": "t"}
    created = decode({"type": "session.created", "session": session})
    assert created == [SessionCreated("s", "t", Dialect.TRANSLATION, fields=session)]


@pytest.mark.parametrize(
    ("data", "events"), [row[1:] for row in VARIANTS], ids=[row[0] for row in VARIANTS]
)
def test_deviations_of_servers_from_the_reference(data: Json, events: list[ServerEvent]) -> None:
    assert decode(data) == events


@pytest.mark.parametrize(("number", "read"), [(2.9, 2), (1e300, 0), (10**400, 0), (math.nan, 0)])
def test_an_invalid_index(number: float, read: int) -> None:
    data: Json = {"type": "conversation.item.truncated", "item_id": "i", "audio_end_ms": number}
    assert decode(data) == [ItemTruncated("i", 0, read)]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
_TYPES = st.sampled_from([str(data["type"]) for data, _ in EVENTS + BETA_EVENTS])
_KEYS = st.sampled_from(
    [
        "session",
        "response",
        "item",
        "part",
        "error",
        "delta",
        "text",
        "transcript",
        "usage",
        "output",
        "content",
        "status",
        "role",
        "type",
        "status_details",
        "rate_limits",
        "input_token_details",
        "id",
        "item_id",
        "content_index",
    ]
)
_SPITEFUL = st.recursive(
    _JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), _JSON), st.none() | _JSON)
def test_any_object_is_decoded(data: Json, kind: object) -> None:
    assert decode(data | {"type": kind})


@given(_TYPES, st.dictionaries(_KEYS, _SPITEFUL))
def test_any_object_of_a_known_type_is_decoded_as_that_type(kind: str, data: Json) -> None:
    first, *notes = decode(data | {"type": kind})
    assert not isinstance(first, Unknown)
    assert all(isinstance(note, Unknown) for note in notes)


def _mutated(value: object, path: list[int], other: object) -> object:
    """A copy of the value with the one at the path replaced."""
    if isinstance(value, dict) and value and path:
        key = list(value)[path[0] % len(value)]
        return value | {key: _mutated(value[key], path[1:], other)}
    if isinstance(value, list) and value and path:
        index = path[0] % len(value)
        return [*value[:index], _mutated(value[index], path[1:], other), *value[index + 1 :]]
    return other


@given(st.sampled_from(EVENTS), st.lists(st.integers(0, 9), min_size=1, max_size=5), _SPITEFUL)
def test_a_valid_event_with_one_wrong_field_is_decoded(
    known: tuple[Json, ServerEvent], path: list[int], other: object
) -> None:
    data = _mutated(known[0], path, other)
    assert isinstance(data, dict)
    first, *notes = decode(data)
    assert all(isinstance(note, Unknown) for note in notes)
    if data["type"] == known[0]["type"]:
        assert type(first) is type(known[1])


# ------------------------------------------------------------------------------------------ frames


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b'{"type": "error"}', "binary frame of 17 bytes"),
        ("", "invalid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "the object has no type"),
        ('{"type": 5}', "the object has no type"),
        ('{"type": "x", "n": NaN}', "invalid JSON: NaN is not a number"),
        ('{"type": "x", "n": -Infinity}', "invalid JSON: -Infinity is not a number"),
        ('{"type": "x", "n": 1e999}', "invalid JSON: number out of range"),
        (
            '{"type": "x", "n": ' + "[" * 101 + "]" * 101 + "}",
            "invalid JSON: nested more than 100 levels deep",
        ),
    ],
)
def test_an_unreadable_frame_has_a_reason(frame: str | bytes, why: str) -> None:
    assert read_frame(frame) == Unknown("", why)


@pytest.mark.parametrize("frame", ["[" * 100_000, '{"type":' * 100_000, "1" * 5000])
def test_large_and_deep_frames_do_not_raise(frame: str) -> None:
    assert isinstance(read_frame(frame), Unknown)


def test_a_decoded_frame_can_be_encoded_again() -> None:
    frame = r'{"type": "x", "a\ud800": ["\ud83d\ude00", "\udc00b", {"deep": [1.5, true, null]}]}'
    data = read_frame(frame)
    assert not isinstance(data, Unknown)
    assert compact_json(data) == '{"type":"x","a�":["😀","�b",{"deep":[1.5,true,null]}]}'
    assert compact_json({"type": "a\ud83d", "x": "\ude00"}) == '{"type":"a�","x":"�"}'


@given(st.text() | st.binary() | _JSON.map(json.dumps))
def test_any_frame_is_read_without_an_exception(frame: str | bytes) -> None:
    data = read_frame(frame)
    if not isinstance(data, Unknown):
        assert read_frame(compact_json(data)) == data
        compact_json(data).encode()


@given(st.dictionaries(st.text(max_size=5), _JSON))
def test_a_frame_is_read_without_loss(data: Json) -> None:
    frame = json.dumps(data | {"type": "x"})
    read = read_frame(frame)
    if "NaN" not in frame and "Infinity" not in frame:
        assert read == data | {"type": "x"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such model", "code": 404}}', "no such model"),
        (b'{"error": "no"}', "no"),
        (b'{"error": {"message": 5}}', '{"error": {"message": 5}}'),
        (b'{"error": {"detail": "x"}}', "x"),
        (b'{"message": "x"}', "x"),
        (b'{"detail": "Not authenticated"}', "Not authenticated"),
        (b'{"detail": {"message": "x"}}', "x"),
        (b'{"detail": [{"msg": "x"}, {"msg": "y"}, {}]}', "x; y"),
        (b'{"error": {"message": "<html><title>502</title>"}}', "502"),
        (b"[1]", "[1]"),
        (b"<html>", ""),
        (b"<!DOCTYPE html><TITLE>502 Bad&nbsp;Gateway</TITLE>", "502 Bad Gateway"),
        (b" <html>\n<head><title>\n 502 </title>", "502"),
        (b"try later", "try later"),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_the_message_of_an_http_error_body(body: bytes, words: str) -> None:
    assert read_error_body(body) == words


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "<html><head><title>504 Time-out</title></head></html>"}},
        {"error": "<!DOCTYPE html><h1>504 Time-out</h1>"},
        {"message": "<html><body><h1>504\nTime-out</h1>"},
        {"detail": {"message": "<html><title>504 Time-out</title>"}},
    ],
)
def test_the_message_of_an_event_is_the_title_of_a_page(error: JsonObject) -> None:
    (problem,) = decode({"type": "error", **error})
    assert isinstance(problem, ServerProblem)
    assert problem.message == "504 Time-out"


def test_a_page_without_a_title_is_shown_as_it_is() -> None:
    (problem,) = decode({"type": "error", "error": {"message": "<html>no"}})
    assert isinstance(problem, ServerProblem)
    assert problem.message == "<html>no"


# -------------------------------------------------------------------------------------- recordings

_RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


def _recorded() -> list[Path]:
    return sorted(_RECORDINGS.glob("*.jsonl"))


def _received(path: Path) -> list[Mapping[str, object]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["data"] for line in lines if line["direction"] == "received"]


@pytest.mark.skipif(not _recorded(), reason="there are no recordings beside this checkout")
@pytest.mark.parametrize("path", _recorded(), ids=lambda path: path.stem)
def test_a_recorded_session_is_decoded_completely(path: Path) -> None:
    events = [event for data in _received(path) for event in decode(data)]
    assert [event for event in events if isinstance(event, Unknown)] == []
    texts: list[str] = []
    reply, shown = ReplyText(), ""
    for event in events:
        match event:
            case ReplyStarted(response_id):
                reply, shown = ReplyText(response_id), ""
            case Delta():
                shown += reply.add(event)
            case ChannelDone():
                shown += reply.channel_done(event)
            case PartDone():
                shown += reply.part_done(event)
            case ReplyEnded(response_id, status, items=items):
                assert (response_id, status) == (reply.id, Status.COMPLETED)
                whole = [item.text for item in items if isinstance(item, Message) and item.text]
                before = shown
                shown += reply.finish(items)
                assert before == shown == reply.text
                if whole:  # xAI reports the item without its content
                    assert shown == "\n\n".join(whole)
                texts.append(shown)
            case _:
                pass
    assert any(texts)


def test_held_back_text_is_attached_to_the_delta() -> None:
    event = {"type": "response.output_text.delta", "delta": "so ", "item_id": "i"}
    assert decode(event, "s") == [Delta(Channel.TEXT, "so ", item_id="i", held="s")]
    assert decode({"type": "response.created"}, "s") == decode({"type": "response.created"})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"summary": [{"type": "summary_text", "text": " One. "}, {"text": "Two."}]},
            "One.\n\nTwo.",
        ),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}, "Hm."),
        ({"summary": [{"text": 1}, {}]}, ""),
        ({"summary": "x"}, ""),
        ({}, ""),
    ],
)
def test_the_summary_of_an_item_of_reasoning(fields: dict[str, object], text: str) -> None:
    item = read_item(Fields({"type": "reasoning", "id": "i", **fields}, []))
    assert isinstance(item, OtherItem)
    assert item.reasoning == text
    other = read_item(Fields({"type": "thought", **fields}, []))
    assert isinstance(other, OtherItem)
    assert other.reasoning == ""


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "session.created"}, ev.SessionCreated),
        ({"type": "transcription_session.created"}, ev.SessionCreated),
        ({"type": "session.updated"}, ev.SessionUpdated),
        ({"type": "response.created"}, None),
        ({"type": 1}, None),
        ({}, None),
    ],
)
def test_events_about_the_session_are_recognised(
    data: dict[str, object], kind: type | None
) -> None:
    assert session_event(data) is kind
