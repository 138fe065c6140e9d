"""The server's codec: strict decoding of client events, and encoding that the client can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core import events
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    Cancel,
    ClearAudio,
    CommitAudio,
    Configure,
    CreateResponse,
    Delete,
    Retrieve,
    Truncate,
)
from rtchat.core.events import ServerProblem
from rtchat.core.text import compact_json
from rtchat.core.values import (
    Channel,
    Dialect,
    Item,
    JsonObject,
    Message,
    Options,
    OtherItem,
    Part,
    Status,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.wire import decode, encode
from rtchat.wire.audio_options import read_format
from rtchat.wire.client_events import (
    MAX_VALUES,
    decode_command,
    merge_options,
    read_reply,
    read_request,
)
from rtchat.wire.schema import COMMANDS
from rtchat.wire.server_events import encode_event
from rtchat.wire.session_object import write_session
from tests.oracle import assert_client_event, assert_server_event

# ----------------------------------------------------------------------------------- valid commands

words = st.text(max_size=12)
names = st.text("abc_-123", min_size=1, max_size=8)
counts = st.integers(0, 10**6)
item_statuses = st.sampled_from(["", "completed", "incomplete", "in_progress"])
text_parts = st.builds(Part, st.just("text"), words)
heard_parts = st.builds(Part, st.just("audio"), words, names)
images = st.builds(
    lambda data, detail: Part("image", data=data, detail=detail),
    names,
    st.sampled_from([None, "auto", "low", "high"]),
)


phases = st.sampled_from([None, "commentary", "final_answer"])


def messages(
    role: str,
    parts: st.SearchStrategy[Part],
    phases: st.SearchStrategy[str | None] = st.none(),  # noqa: B008 - immutable
) -> st.SearchStrategy[Message]:
    several = st.lists(parts, max_size=3).map(tuple)
    return st.builds(Message, st.just(role), several, names, item_statuses, phases)


items: st.SearchStrategy[Item] = st.one_of(
    messages("user", text_parts | heard_parts | images),
    messages("assistant", text_parts | heard_parts, phases),
    messages("system", text_parts),
    st.builds(ToolCall, names, names, words, names, item_statuses),
    st.builds(ToolOutput, names, words, names),
    st.builds(
        lambda item_id, label: OtherItem(
            "mcp_list_tools",
            item_id,
            {"type": "mcp_list_tools", "id": item_id, "server_label": label, "tools": []},
        ),
        names,
        words,
    ),
)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
both_others = {
    "tools": st.lists(
        st.fixed_dictionaries(
            {"type": st.just("function"), "name": names},
            optional={"description": words, "parameters": st.just({"type": "object"})},
        ),
        max_size=2,
    ),
    "tool_choice": st.sampled_from(["auto", "none", "required"]),
    "reasoning": st.fixed_dictionaries({"effort": st.sampled_from(EFFORTS)}),
    "prompt": st.none(),
}
session_others = {
    **both_others,
    "truncation": st.sampled_from(["auto", "disabled"]),
    "tracing": st.none() | st.just("auto"),
}
response_others = {
    **both_others,
    "conversation": st.sampled_from(["auto", "none"]) | words,
    "metadata": st.dictionaries(names, words, max_size=3),
    "input": st.lists(st.builds(lambda name: {"type": "item_reference", "id": name}, names)),
}


def options(others: dict[str, Any]) -> st.SearchStrategy[Options]:
    return st.builds(
        Options,
        st.none() | words,
        st.sampled_from([None, "text", "audio"]),
        st.none() | st.integers(1, 4096) | st.just("inf"),
        st.fixed_dictionaries({}, optional=others),
    )


commands = st.one_of(
    st.builds(Configure, options(session_others)),
    st.builds(CreateResponse, options(response_others), st.just(False)),
    st.builds(Cancel, words),
    st.builds(AddItem, items, st.none() | names),
    st.builds(Retrieve, names),
    st.builds(Delete, names),
    st.builds(Truncate, names, counts, counts),
    st.builds(AppendAudio, st.binary(max_size=20)),
    st.builds(CommitAudio),
    st.builds(ClearAudio),
)


@given(commands, names, st.sampled_from([Dialect.GA, Dialect.BETA]))
def test_a_command_survives_a_round_trip(command: Any, event_id: str, dialect: Dialect) -> None:
    frame = json.dumps(encode(command, event_id, dialect))
    data = read_request(frame)
    assert isinstance(data, dict)
    assert decode_command(data, dialect) == command


# ------------------------------------------------------------------------------------- valid events

places = (names, names, counts, counts)


@st.composite
def sessions(draw: st.DrawFn) -> JsonObject:
    return write_session(
        session_id=draw(names),
        model=draw(names),
        expires_at=draw(counts),
        options=draw(options(session_others)),
    )


def opened(make: Any) -> st.SearchStrategy[Any]:
    return sessions().map(
        lambda fields: make(
            fields["id"],
            fields["model"],
            Dialect.GA,
            float(str(fields["expires_at"])),
            fields,
            read_format(fields, "input"),
            read_format(fields, "output"),
        )
    )


ended = st.builds(
    events.ReplyEnded,
    names,
    st.sampled_from(Status),
    words,
    st.just(""),
    st.just(""),
    st.lists(items, max_size=2).map(tuple),
    st.none() | st.builds(Usage, counts, counts, counts, counts),
    st.none() | names,
)
failed = st.builds(
    events.ReplyEnded, names, st.just(Status.FAILED), st.just(""), names, words.filter(bool)
)
deltas = st.builds(
    events.Delta,
    st.sampled_from([Channel.TEXT, Channel.TRANSCRIPT, Channel.AUDIO]),
    words,
    *places,
)
other_deltas = st.one_of(
    st.builds(events.Delta, st.just(Channel.ARGUMENTS), words, names, names, counts),
    st.builds(
        events.Delta,
        st.just(Channel.INPUT_TRANSCRIPT),
        words,
        st.just(""),
        names,
        st.just(0),
        counts,
    ),
)
channels_done = st.one_of(
    st.builds(
        events.ChannelDone, st.sampled_from([Channel.TEXT, Channel.TRANSCRIPT]), words, *places
    ),
    st.builds(events.ChannelDone, st.just(Channel.AUDIO), st.just(""), *places),
    st.builds(
        events.ChannelDone,
        st.just(Channel.INPUT_TRANSCRIPT),
        words,
        st.just(""),
        names,
        st.just(0),
        counts,
    ),
)


def _is_not_listing(item: Any) -> bool:
    """Whether a client reads the item as an item, not as a listing of tools."""
    return not isinstance(item, OtherItem) or item.type != "mcp_list_tools"


answers = st.one_of(
    opened(events.SessionCreated),
    opened(events.SessionUpdated),
    st.builds(events.ItemAdded, items.filter(_is_not_listing), st.none() | names),
    st.builds(events.ItemDone, items.filter(_is_not_listing), st.none() | names),
    st.builds(events.ItemRetrieved, items),
    st.builds(events.ItemDeleted, names),
    st.builds(events.ItemTruncated, names, counts, counts),
    st.builds(events.ReplyStarted, names, st.none() | names),
    st.builds(events.OutputAdded, names, counts, items),
    st.builds(events.OutputDone, names, counts, items),
    st.builds(events.PartAdded, *places, text_parts | heard_parts | images),
    st.builds(events.PartDone, *places, text_parts | heard_parts | images),
    deltas,
    other_deltas,
    channels_done,
    st.builds(events.ToolCalled, names, names, words, names, names, counts),
    ended,
    failed,
    st.builds(
        events.RateLimits,
        st.lists(
            st.builds(events.RateLimit, names, counts, counts, st.floats(0, 1e6)), max_size=2
        ).map(tuple),
    ),
    st.builds(events.SpeechStarted, names, counts),
    st.builds(events.SpeechStopped, names, counts),
    st.builds(events.AudioCommitted, names, st.none() | names),
    st.builds(events.AudioCleared),
    st.builds(events.TranscriptionFailed, names, words.filter(bool)),
    st.builds(events.ServerProblem, names, words, words, words, words),
)


@given(answers, names)
def test_an_event_survives_a_round_trip(event: Any, event_id: str) -> None:
    data = encode_event(event, event_id, Dialect.GA)
    assert data is not None
    assert data["event_id"] == event_id
    assert decode(json.loads(json.dumps(data))) == [event]


@given(answers, names)
def test_an_event_survives_a_round_trip_in_beta(event: Any, event_id: str) -> None:
    data = encode_event(event, event_id, Dialect.BETA)
    if isinstance(event, events.ItemDone):
        assert data is None
        return
    assert data is not None
    read = decode(json.loads(json.dumps(data)))
    if isinstance(event, events.SessionCreated | events.SessionUpdated):
        (session,) = read
        assert isinstance(session, events.SessionCreated | events.SessionUpdated)
        assert (session.id, session.model, session.expires_at, session.dialect) == (
            event.id,
            event.model,
            event.expires_at,
            Dialect.BETA,
        )
    else:
        assert read == [event]


_ARGUMENTS = events.ChannelDone(Channel.ARGUMENTS, "{}", "r", "i")


@pytest.mark.parametrize(
    "event",
    [
        events.Other("ping"),
        events.Unknown("x", "why"),
        events.RemoteCallUpdate("i"),
        events.ToolListing("i"),
        _ARGUMENTS,
    ],
)
def test_events_that_a_server_does_not_send_are_not_encoded(event: events.ServerEvent) -> None:
    assert encode_event(event, "e") is None


def test_a_beta_session_is_flat() -> None:
    fields = write_session(session_id="s", model="m", expires_at=1, options=Options("Be brief."))
    data = encode_event(events.SessionCreated("s", "m", fields=fields), "e", Dialect.BETA)
    assert data == {
        "type": "session.created",
        "event_id": "e",
        "session": {
            "object": "realtime.session",
            "id": "s",
            "model": "m",
            "expires_at": 1,
            "modalities": ["text", "audio"],
            "instructions": "Be brief.",
            "tools": [],
            "tool_choice": "auto",
            "max_response_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "include": None,
            "voice": "marin",
            "speed": 1.0,
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": None,
            "input_audio_noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "idle_timeout_ms": None,
                "create_response": True,
                "interrupt_response": True,
            },
        },
    }


# --------------------------------------------------------------------------------------- strictness


def session(**fields: object) -> dict[str, object]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def item(**fields: object) -> dict[str, object]:
    return {"type": "conversation.item.create", "item": fields}


def message(role: str, *content: object) -> dict[str, object]:
    return item(type="message", role=role, content=list(content))


def response(**fields: object) -> dict[str, object]:
    return {"type": "response.create", "response": fields}


STRICT: list[tuple[dict[str, object], str, str]] = [
    ({}, "missing_required_parameter", "type"),
    ({"type": "nonsense"}, "invalid_value", "type"),
    ({"type": 5}, "invalid_value", "type"),
    ({"type": "response.cancel", "event_id": 5}, "invalid_type", "event_id"),
    ({"type": "response.cancel", "extra": 1}, "unknown_parameter", "extra"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": 5}, "invalid_type", "session"),
    ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
    (session(type="transcription"), "invalid_parameter", "session.type"),
    (session(type="other"), "invalid_value", "session.type"),
    (session(temperature=0.8), "unknown_parameter", "session.temperature"),
    (session(modalities=["text"]), "unknown_parameter", "session.modalities"),
    (session(instructions=5), "invalid_type", "session.instructions"),
    (session(instructions=["a"]), "invalid_type", "session.instructions"),
    (session(output_modalities=[]), "invalid_value", "session.output_modalities"),
    (session(output_modalities=["text", "audio"]), "invalid_value", "session.output_modalities"),
    (session(output_modalities=["smell"]), "invalid_value", "session.output_modalities[0]"),
    (session(output_modalities="text"), "invalid_type", "session.output_modalities"),
    (session(max_output_tokens=0), "invalid_value", "session.max_output_tokens"),
    (session(max_output_tokens=0), "invalid_value", "session.max_output_tokens"),
    (session(max_output_tokens=True), "invalid_type", "session.max_output_tokens"),
    (session(max_output_tokens="many"), "invalid_value", "session.max_output_tokens"),
    (session(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name"),
    (session(tools=[{"name": "f"}]), "missing_required_parameter", "session.tools[0].type"),
    (
        session(tools=[{"type": "function", "name": "f", "function": {}}]),
        "unknown_parameter",
        "session.tools[0].function",
    ),
    (session(audio={"voice": "x"}), "unknown_parameter", "session.audio.voice"),
    (
        session(audio={"input": {"turn_detection": {"type": "magic"}}}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    (session(audio={"output": {"speed": 9}}), "invalid_value", "session.audio.output.speed"),
    (item(), "missing_required_parameter", "item.type"),
    (item(type="item_reference", id="a"), "invalid_value", "item.type"),
    (item(type="message", role="tool", content=[]), "invalid_value", "item.role"),
    (item(type="message", role="user"), "missing_required_parameter", "item.content"),
    (message("user", "hi"), "invalid_type", "item.content[0]"),
    (message("user", {"type": "text", "text": "a"}), "invalid_value", "item.content[0].type"),
    (message("assistant", {"type": "text", "text": "a"}), "invalid_value", "item.content[0].type"),
    (message("user", {"type": "input_text", "text": 1}), "invalid_type", "item.content[0].text"),
    (item(type="function_call_output", call_id="a"), "missing_required_parameter", "item.output"),
    (response(conversation=5), "invalid_type", "response.conversation"),
    (response(metadata={"k": 1}), "invalid_type", "response.metadata.k"),
    (response(metadata={"k": "v" * 513}), "string_above_max_length", "response.metadata.k"),
    (
        response(metadata={str(n): "" for n in range(17)}),
        "object_above_max_properties",
        "response.metadata",
    ),
    (response(temperature=1), "unknown_parameter", "response.temperature"),
    (response(input="hi"), "invalid_type", "response.input"),
    ({"type": "response.create", "response": 5}, "invalid_type", "response"),
    ({"type": "conversation.item.delete"}, "missing_required_parameter", "item_id"),
    (
        {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0},
        "missing_required_parameter",
        "audio_end_ms",
    ),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AA="}, "invalid_value", "audio"),
    ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
]


@pytest.mark.parametrize(("data", "code", "param"), STRICT)
def test_a_wrong_field_is_named(data: dict[str, object], code: str, param: str) -> None:
    problem = decode_command({"event_id": "mine", **data})
    assert isinstance(problem, events.ServerProblem)
    assert (problem.kind, problem.code, problem.param) == ("invalid_request_error", code, param)
    assert problem.event_id == ("" if param == "event_id" else "mine")


def test_an_unknown_type_gets_the_list_of_valid_types() -> None:
    problem = decode_command({"type": "nonsense"})
    assert isinstance(problem, events.ServerProblem)
    assert "'nonsense'" in problem.message
    assert [kind for kind in COMMANDS if f"'{kind}'" not in problem.message] == []


def test_beta_needs_no_session_type_and_errors_use_beta_names() -> None:
    update = {"type": "session.update", "session": {"modalities": ["text"], "temperature": 0.8}}
    assert decode_command(update, Dialect.BETA) == Configure(Options(modality="text"))
    wrong = {"type": "session.update", "session": {"turn_detection": {"type": "magic"}}}
    problem = decode_command(wrong, Dialect.BETA)
    assert isinstance(problem, events.ServerProblem)
    assert problem.param == "session.turn_detection.type"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"{}", "invalid_frame"),
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ('{"a": NaN}', "invalid_json"),
        ('{"a": 1e999}', "invalid_json"),
        ('{"a": ' + "9" * 5000 + "}", "invalid_json"),
        ("[" * 200 + "]" * 200, "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[]", "invalid_type"),
        ("null", "invalid_type"),
    ],
)
def test_a_frame_that_is_not_an_object_is_an_error(frame: str | bytes, code: str) -> None:
    problem = read_request(frame)
    assert isinstance(problem, events.ServerProblem)
    assert problem.code == code


def test_a_lone_surrogate_can_be_encoded() -> None:
    data = read_request(r'{"type": "\ud83d", "\udc00": ["\ud83d\ude00"]}')
    assert not isinstance(data, ServerProblem)
    assert compact_json(data) == '{"type":"\ufffd","\ufffd":["\U0001f600"]}'


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    ["session", "item", "response", "item_id", "event_id", "previous_item_id", "response_id"]
)


@given(
    st.sampled_from([*COMMANDS, "nonsense"]),
    st.dictionaries(fields, values | st.just({"type": "message", "role": "user"}), max_size=4),
    st.sampled_from(Dialect),
)
def test_any_command_is_decoded_without_an_exception(
    kind: str, rest: dict[str, Any], dialect: Dialect
) -> None:
    decode_command({"type": kind, **rest}, dialect)


def test_every_kind_of_part_is_encoded() -> None:
    image = Part("image", data="data:image/png;base64,AA==")
    for event in (
        events.PartDone("r", "i", 0, 0, image),
        events.ChannelDone(Channel.INPUT_TRANSCRIPT, "hi", "", "i"),
    ):
        data = encode_event(event, "e")
        assert data is not None
        assert decode(json.loads(json.dumps(data))) == [event]


def test_an_input_transcript_has_its_usage() -> None:
    done = events.ChannelDone(
        Channel.INPUT_TRANSCRIPT, "words", item_id="i", usage=Usage(seconds=1.5)
    )
    data = encode_event(done, "e")
    assert data is not None
    assert_server_event(data)
    assert data["usage"] == {"type": "duration", "seconds": 1.5}
    assert decode(data) == [done]


# ------------------------------------------------------------------------------------------ options


def test_changing_one_audio_option_keeps_the_others() -> None:
    base = Options("a", "text", 5, {"audio": {"input": {"x": 1, "y": [1]}, "output": {"v": 1}}})
    change = Options(other={"audio": {"input": {"y": [2]}}, "tools": []})
    assert merge_options(base, change) == Options(
        "a",
        "text",
        5,
        {"audio": {"input": {"x": 1, "y": [2]}, "output": {"v": 1}}, "tools": []},
    )


def test_response_only_options_are_split_off() -> None:
    asked = read_reply(Options("a", other={"conversation": "none", "input": [], "metadata": {}}))
    assert (asked.out_of_band, asked.input) == (True, ())
    assert asked.options == Options("a", other={"metadata": {}})


# ------------------------------------------------------------------------------------------- oracle

_RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


@pytest.mark.skipif(not _RECORDINGS.is_dir(), reason="the recordings are not beside the checkout")
@pytest.mark.parametrize("path", sorted(_RECORDINGS.glob("openai-*.jsonl")), ids=lambda p: p.stem)
def test_the_oracle_and_the_schema_accept_the_recordings(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        frame = json.loads(line)
        if frame["direction"] == "received":
            assert_server_event(frame["data"])
        else:
            assert_client_event(frame["data"])
            assert not isinstance(decode_command(frame["data"]), events.ServerProblem)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "nonsense"},
        {"type": "response.output_text.delta", "event_id": "e", "delta": 5},
        {"type": "conversation.item.deleted", "event_id": "e", "item_id": "i", "extra": 1},
        {
            "type": "conversation.item.added",
            "event_id": "e",
            "item": {"type": "message", "role": "user", "content": [], "extra": 1},
        },
    ],
)
def test_the_oracle_is_strict_about_servers(event: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        assert_server_event(event)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "nonsense"},
        session(modalities=["text"]),
        session(output_modalities="text"),
        response(output_modalities=["text"], temperature=1),
        message("user", {"type": "input_text", "text": "a", "extra": 1}),
        message("user", {"type": "input_text", "text": 5}),
    ],
)
def test_the_oracle_is_strict_about_clients(event: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        assert_client_event(event)


# ------------------------------------------------------------------------------------- large frames

_COMMAS = MAX_VALUES + 1


@pytest.mark.parametrize(
    "text",
    [
        "," * _COMMAS,
        '"{},' * _COMMAS,
        "\\" * _COMMAS + "[" * _COMMAS,
        '\\"' * _COMMAS,
        json.dumps([{"a": '"'}] * _COMMAS),
    ],
    ids=["commas", "quotes", "backslashes", "both", "JSON"],
)
def test_a_text_may_fill_the_frame(text: str) -> None:
    assert read_request(json.dumps({"type": text})) == {"type": text}


@pytest.mark.parametrize(
    "frame",
    [
        '{"a":[' + "{}," * _COMMAS + "{}]}",
        '{"a":' + "[" * _COMMAS,
        '{"a":["' + '","' * _COMMAS + '"]}',
        '{"a":["",' + "1," * _COMMAS,
        '{"a":[' + '"\\\\",' * _COMMAS + "1]}",
    ],
    ids=["objects", "depth", "texts", "numbers", "backslashes"],
)
def test_the_number_of_values_is_limited(frame: str) -> None:
    problem = read_request(frame)
    assert isinstance(problem, ServerProblem)
    assert problem.code == "invalid_json"
    assert problem.message.startswith(f"Invalid event: more than {MAX_VALUES} values")


def test_an_unterminated_string_is_invalid_json() -> None:
    problem = read_request('{"a":"' + "," * _COMMAS)
    assert isinstance(problem, ServerProblem)
    assert problem.code == "invalid_json"


def test_length_limits_of_text_and_audio() -> None:
    long = "x" * (10 * 1024 * 1024 + 1)
    text = {"type": "input_text", "text": long}
    picture = {"type": "input_image", "image_url": long}
    codes = []
    for part in (text, picture):
        item = {"type": "message", "role": "user", "content": [part]}
        command = decode_command({"type": "conversation.item.create", "item": item})
        codes.append(command.code if isinstance(command, ServerProblem) else "")
    assert codes == ["string_above_max_length", ""]


_LEFT_OUT = (
    *("event_id", "status", "object", "id", "instructions", "conversation", "metadata", "voice"),
    *("speed", "format", "language", "tools", "audio", "detail", "previous_item_id", "response_id"),
)


def _with_nulls(value: object) -> object:
    if isinstance(value, list):
        return [_with_nulls(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    inner = {
        key: each if key in {"parameters", "metadata", "variables"} else _with_nulls(each)
        for key, each in value.items()
    }
    return dict.fromkeys(_LEFT_OUT) | inner


@given(commands)
def test_null_is_the_absence_of_an_optional_field(command: Any) -> None:
    data = encode(command, "e1")
    nulls = _with_nulls(data)
    assert isinstance(nulls, dict)
    assert decode_command(nulls) == decode_command(data)


@pytest.mark.parametrize(
    ("audio", "kept"),
    [
        ({"input": {"turn_detection": None}}, {"input": {"turn_detection": None}}),
        (
            {"input": {"transcription": {"model": "w", "prompt": None, "language": None}}},
            {"input": {"transcription": {"model": "w"}}},
        ),
        ({"input": {"transcription": None, "format": None}}, {"input": {"transcription": None}}),
        ({"output": {"voice": None, "format": None}}, {"output": {}}),
    ],
)
def test_null_turns_off_only_what_can_be_off(audio: object, kept: object) -> None:
    session = {"type": "realtime", "audio": audio, "prompt": None}
    request = decode_command({"type": "session.update", "session": session})
    assert isinstance(request, Configure)
    assert request.options.other == {"audio": kept, "prompt": None}


def test_null_turns_off_in_a_beta_session_too() -> None:
    session = {
        "voice": None,
        "turn_detection": None,
        "input_audio_transcription": {"model": "w", "prompt": None},
    }
    request = decode_command({"type": "session.update", "session": session}, Dialect.BETA)
    assert isinstance(request, Configure)
    audio = {"input": {"transcription": {"model": "w"}, "turn_detection": None}}
    assert request.options.other == {"audio": audio}


@pytest.mark.parametrize("name", ["turn_detection", "tracing", "transcription", "truncation"])
def test_null_for_an_option_of_the_session_is_absent_from_a_response(name: str) -> None:
    bare, null = ({"type": "response.create", "response": each} for each in ({}, {name: None}))
    assert decode_command(null) == decode_command(bare)


@pytest.mark.parametrize(("words", "transcript"), [("", None), ("Noon?", "Noon?")])
def test_a_spoken_item_has_a_transcript_or_null(words: str, transcript: str | None) -> None:
    spoken = Message("user", (Part("audio", words),), "i1", "completed")
    added = encode_event(events.ItemAdded(spoken), "e1")
    assert added is not None
    assert isinstance(item := added["item"], dict)
    assert item["content"] == [{"type": "input_audio", "transcript": transcript}]
