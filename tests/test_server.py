"""The server: protocol sessions without sockets, then real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from rtchat.core.errors import UsageError
from rtchat.core.events import ServerProblem
from rtchat.core.values import Dialect, Message, Part, Status, Tool, Usage
from rtchat.server.engine import (
    Answer,
    CallPiece,
    CloseConnection,
    Engine,
    Finish,
    ModelInput,
    OutputPiece,
)
from rtchat.server.outputs import StartResponse
from rtchat.server.protocol import MAX_ITEMS
from rtchat.server.script import EchoEngine, Rule, Script, ScriptEngine
from rtchat.server.sockets import run_server
from rtchat.server.tone_voice import ToneVoice
from rtchat.wire.client_events import ToolSettings
from tests.loopback import Peer, configure, entered, joined, ready, reply, text_of, user
from tests.program import PATIENCE
from tests.protocol_driver import ProtocolDriver, as_json, types
from tests.test_recordings import NAMES, read


def active_driver(dialect: Dialect = Dialect.GA) -> ProtocolDriver:
    """A driver with an active response to "hi" that has no output yet."""
    driver = ProtocolDriver(dialect=dialect)
    driver.send(_text_session(dialect), user("hi", id="q1"), reply())
    return driver


def _text_session(dialect: Dialect) -> dict[str, object]:
    if dialect is Dialect.GA:
        return configure(output_modalities=["text"])
    return {"type": "session.update", "session": {"modalities": ["text"]}}


def error(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The error of the only event."""
    (event,) = events
    assert event["type"] == "error"
    found: dict[str, Any] = event["error"]
    return found


# ------------------------------------------------------------------------------------- event order


def test_events_of_a_turn() -> None:
    driver = ProtocolDriver()
    opened = driver.read(driver.protocol.open())
    assert opened[0]["session"]["expires_at"] == 4600
    driver.send(configure(output_modalities=["text"]))
    asked = driver.send(user("hi", id="q1"), reply(metadata={"k": "v"}))
    events = asked + driver.say("Hel") + driver.say("lo")
    events += driver.finish(Finish(usage=Usage(3, 1, 2, 5)))
    place = {"response_id": "resp_7", "item_id": "item_9", "output_index": 0, "content_index": 0}
    question = {
        "id": "q1",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    begun = {
        "id": "item_9",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    done = begun | {
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hello"}],
    }
    response = {
        "object": "realtime.response",
        "id": "resp_7",
        "conversation_id": "conv_2",
        "output_modalities": ["text"],
        "max_output_tokens": "inf",
        "audio": {
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
        },
        "metadata": {"k": "v"},
    }
    none = {"audio_tokens": 0, "image_tokens": 0}
    usage = {
        "total_tokens": 5,
        "input_tokens": 3,
        "output_tokens": 2,
        "input_token_details": {
            "text_tokens": 3,
            **none,
            "cached_tokens": 1,
            "cached_tokens_details": {"text_tokens": 1, **none},
        },
        "output_token_details": {"text_tokens": 2, "audio_tokens": 0},
    }
    started: dict[str, object] = {
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "usage": None,
    }
    ended = {"status": "completed", "status_details": None, "output": [done], "usage": usage}
    assert len({event.pop("event_id") for event in events}) == len(events)
    assert events == [
        {"type": "conversation.item.added", "item": question, "previous_item_id": None},
        {"type": "conversation.item.done", "item": question, "previous_item_id": None},
        {"type": "response.created", "response": response | started},
        {
            "type": "response.output_item.added",
            "response_id": "resp_7",
            "output_index": 0,
            "item": begun,
        },
        {"type": "conversation.item.added", "item": begun, "previous_item_id": "q1"},
        {"type": "response.content_part.added", **place, "part": {"type": "text", "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "Hel"},
        {"type": "response.output_text.delta", **place, "delta": "lo"},
        {"type": "response.output_text.done", **place, "text": "Hello"},
        {"type": "response.content_part.done", **place, "part": {"type": "text", "text": "Hello"}},
        {"type": "conversation.item.done", "item": done, "previous_item_id": "q1"},
        {
            "type": "response.output_item.done",
            "response_id": "resp_7",
            "output_index": 0,
            "item": done,
        },
        {"type": "response.done", "response": response | ended},
    ]


def test_events_of_a_beta_turn() -> None:
    driver = ProtocolDriver(dialect=Dialect.BETA)
    events = driver.read(driver.protocol.open())
    events += driver.send(_text_session(Dialect.BETA), user("hi"), reply())
    events += driver.say("Hello") + driver.finish(Finish())
    assert types(events) == [
        "session.created",
        "session.updated",
        "conversation.item.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.text.delta",
        "response.text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    response = events[-1]["response"]
    assert (response["modalities"], response["voice"]) == (["text"], "marin")
    assert response["output"][0]["content"] == [{"type": "text", "text": "Hello"}]
    assert events[0]["session"]["max_response_output_tokens"] == "inf"
    assert response["max_output_tokens"] == "inf"
    items = [event["item"] for event in events if "item" in event]
    assert {item["object"] for item in (*items, *response["output"])} == {"realtime.item"}


_OF_AZURE_ONLY = {
    *("response.voice.name", "response.voice.type", "response.temperature"),
    "response.usage.output_token_details.reasoning_tokens",
}


def test_beta_events_have_the_fields_of_recorded_ones() -> None:
    driver = ProtocolDriver(dialect=Dialect.BETA)
    sent = driver.send(_text_session(Dialect.BETA), user("hi"), reply())
    sent += driver.say("Hello") + driver.finish(Finish(usage=Usage(1, 0, 1, 2)))
    sent += driver.send(reply()) + driver.say(CallPiece(0, "{}", "weather"))
    sent += driver.finish(Finish(usage=Usage(1, 0, 1, 2)))
    output = {"type": "function_call_output", "call_id": "c", "output": ""}
    sent += driver.send({"type": "conversation.item.create", "item": output})
    recorded = [
        data
        for name in NAMES
        if name.startswith("azure-voice-live-beta")
        for direction, data in read(name)
        if direction == "received" and not data["type"].startswith("session.")
    ]
    ours, theirs = _fields_by_type(sent), _fields_by_type(recorded)
    assert theirs.keys() <= ours.keys()
    for kind, fields in theirs.items():
        assert fields - _OF_AZURE_ONLY == ours[kind], kind


def _fields_by_type(events: Sequence[dict[str, Any]]) -> dict[str, set[str]]:
    """The paths of all fields of the events of each type."""
    found: dict[str, set[str]] = {}
    for event in events:
        found.setdefault(event["type"], set()).update(_paths(event))
    return found


def _paths(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield f"{path}{key}"
            yield from _paths(entry, f"{path}{key}.")
    elif isinstance(value, list):
        for entry in value:
            yield from _paths(entry, path)


def test_an_empty_response_has_an_empty_message() -> None:
    assert types(active_driver().finish(Finish())) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_a_response_that_fails_at_once_has_no_output() -> None:
    (done,) = active_driver().finish(
        Finish(Status.FAILED, code="rate_limit_exceeded", message="Wait.")
    )
    assert done["type"] == "response.done"
    assert done["response"]["output"] == []
    assert done["response"]["status_details"] == {
        "type": "failed",
        "error": {"type": "server_error", "code": "rate_limit_exceeded", "message": "Wait."},
    }


@pytest.mark.parametrize(
    ("finish", "details"),
    [
        (
            Finish(Status.INCOMPLETE, "max_output_tokens"),
            {"type": "incomplete", "reason": "max_output_tokens"},
        ),
        (
            Finish(Status.FAILED, code="c", message="m"),
            {"type": "failed", "error": {"type": "server_error", "code": "c", "message": "m"}},
        ),
    ],
)
def test_an_unfinished_response_keeps_its_text(finish: Finish, details: object) -> None:
    driver = active_driver()
    driver.say("Hel")
    done = driver.finish(finish)[-1]["response"]
    assert done["status_details"] == details
    assert [(item["status"], item["content"][0]["text"]) for item in done["output"]] == [
        ("incomplete", "Hel")
    ]


def test_a_cancel_keeps_the_text_so_far_and_drops_later_pieces() -> None:
    driver = active_driver()
    driver.say("Hel")
    events = driver.send({"type": "response.cancel", "event_id": "mine"})
    assert types(events) == [
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[-1]["response"]["status_details"] == {
        "type": "cancelled",
        "reason": "client_cancelled",
    }
    response_id = driver.started[0].response_id
    assert driver.stopped == [response_id]
    assert driver.protocol.add_piece(response_id, "lo") == []
    assert driver.protocol.finish(response_id, Finish()) == []
    item_id = events[-1]["response"]["output"][0]["id"]
    (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["item"]["content"] == [{"type": "output_text", "text": "Hel"}]
    assert got["item"]["status"] == "incomplete"


def test_audio_is_the_default_modality_and_fails_without_a_voice() -> None:
    driver = ProtocolDriver()
    (opened,) = driver.read(driver.protocol.open())
    assert opened["session"]["output_modalities"] == ["audio"]
    created, done = driver.send(user("hi"), reply())[2:]
    assert created["response"]["output_modalities"] == ["audio"]
    assert done["response"]["status"] == "failed"
    assert done["response"]["status_details"]["error"]["code"] == "audio_not_supported"
    assert driver.started == []


# ------------------------------------------------------------------------------------------- calls


def test_events_of_a_function_call() -> None:
    driver = active_driver()
    events = driver.say(CallPiece(0, "", "f", "call_a")) + driver.say(CallPiece(0, '{"n"'))
    events += driver.say(CallPiece(0, ":1}")) + driver.finish(Finish())
    item_id = events[0]["item"]["id"]
    begun = {
        "id": item_id,
        "type": "function_call",
        "status": "in_progress",
        "name": "f",
        "call_id": "call_a",
        "arguments": "",
    }
    done = begun | {"status": "completed", "arguments": '{"n":1}'}
    output = {"response_id": driver.started[0].response_id, "output_index": 0}
    place = {**output, "item_id": item_id, "call_id": "call_a"}
    for event in events:
        del event["event_id"]
    assert events[:-1] == [
        {"type": "response.output_item.added", **output, "item": begun},
        {"type": "conversation.item.added", "item": begun, "previous_item_id": "q1"},
        {"type": "response.function_call_arguments.delta", **place, "delta": '{"n"'},
        {"type": "response.function_call_arguments.delta", **place, "delta": ":1}"},
        {
            "type": "response.function_call_arguments.done",
            **place,
            "name": "f",
            "arguments": '{"n":1}',
        },
        {"type": "conversation.item.done", "item": done, "previous_item_id": "q1"},
        {"type": "response.output_item.done", **output, "item": done},
    ]
    assert events[-1]["response"]["output"] == [done]


def test_events_of_a_beta_function_call() -> None:
    driver = active_driver(Dialect.BETA)
    events = driver.say(CallPiece(0, "{}", "f", "call_a")) + driver.finish(Finish())
    assert types(events) == [
        "response.output_item.added",
        "conversation.item.created",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[-1]["response"]["output"][0]["arguments"] == "{}"


def test_text_and_several_calls_may_interleave() -> None:
    driver = active_driver()
    pieces = (
        "Let me ",
        CallPiece(7, "{", "f", "a"),
        CallPiece(2, "{", "g"),
        CallPiece(7, "}"),
        "see.",
        CallPiece(2, "}"),
    )
    events = [event for piece in pieces for event in driver.say(piece)]
    deltas = [
        (event["output_index"], event["delta"])
        for event in events
        if event["type"][-6:] == ".delta"
    ]
    assert deltas == [(0, "Let me "), (1, "{"), (2, "{"), (1, "}"), (0, "see."), (2, "}")]
    message, one, two = driver.finish(Finish())[-1]["response"]["output"]
    assert message["content"][0]["text"] == "Let me see."
    assert [(call["name"], call["arguments"]) for call in (one, two)] == [("f", "{}"), ("g", "{}")]
    assert one["call_id"] == "a"
    assert two["call_id"].startswith("call_")
    items = [item.id for item in prompt_of(driver).items]
    assert items == ["q1", message["id"], one["id"], two["id"]]


@pytest.mark.parametrize(
    "finish",
    [
        Finish(Status.INCOMPLETE, "max_output_tokens"),
        Finish(Status.FAILED, code="c", message="m"),
    ],
)
def test_an_incomplete_call_is_not_reported_as_done(finish: Finish) -> None:
    driver = active_driver()
    driver.say(CallPiece(0, '{"n', "f"))
    events = driver.finish(finish)
    assert types(events) == [
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    (call,) = events[-1]["response"]["output"]
    assert (call["status"], call["arguments"]) == ("incomplete", '{"n')


def test_the_prompt_has_the_tools_of_the_response_or_session() -> None:
    schema = {"type": "object", "properties": {}}
    function = {"type": "function", "name": "f", "description": "F.", "parameters": schema}
    remote = {"type": "mcp", "server_label": "s", "server_url": "https://mcp.example"}
    driver = ProtocolDriver()
    driver.send(configure(tools=[function, remote], parallel_tool_calls=False))
    forced = {"type": "function", "name": "f"}
    tool = Tool("f", "F.", schema)
    assert prompt_of(driver).tools == ToolSettings((tool,), parallel=False)
    assert prompt_of(ProtocolDriver()).tools == ToolSettings()
    driver = ProtocolDriver()
    driver.send(configure(tools=[function], tool_choice="none"))
    assert prompt_of(driver, tool_choice=forced).tools == ToolSettings((tool,), forced="f")
    driver = ProtocolDriver()
    driver.send(configure(tools=[function], tool_choice=forced))
    prompt = prompt_of(driver, tools=[{"type": "function", "name": "g"}], tool_choice="required")
    assert prompt.tools == ToolSettings((Tool("g"),), "required")


# ------------------------------------------------------------------------------------ conversation


def prompt_of(driver: ProtocolDriver, **response: object) -> ModelInput:
    """The prompt that the engine gets."""
    driver.send(reply(output_modalities=["text"], **response))
    prompt = driver.prompts[-1]
    return replace(prompt, items=tuple(prompt.items))


def test_the_prompt_has_the_session_settings_and_items() -> None:
    driver = ProtocolDriver()
    driver.send(configure(instructions="Be brief.", max_output_tokens=7), user("hi", id="q"))
    question = Message("user", (Part("text", "hi"),), "q", "completed")
    assert prompt_of(driver) == ModelInput("Be brief.", (question,), 7)


def test_a_prompt_does_not_change_when_the_conversation_does() -> None:
    driver = ProtocolDriver()
    driver.send(user("one", id="q1"), user("two", id="q2"), reply(output_modalities=["text"]))
    items = driver.prompts[-1].items
    asked = [*items]
    driver.say("An answer.")
    driver.send(user("zero", id="q0") | {"previous_item_id": "root"})
    driver.send(user("three", id="q3"), {"type": "conversation.item.delete", "item_id": "q1"})
    driver.finish(Finish())
    assert [*items] == asked
    assert [*reversed(items)] == asked[::-1]
    assert (items[0], items[-1], items[1:]) == (asked[0], asked[1], asked[1:])
    assert [item.id for item in prompt_of(driver).items[:2]] == ["q0", "q2"]


def test_a_response_can_have_its_own_instructions_and_limit() -> None:
    prompt = prompt_of(ProtocolDriver(), instructions="In French.", max_output_tokens="inf")
    assert prompt == ModelInput("In French.", ())


def test_empty_instructions_change_nothing() -> None:
    driver = ProtocolDriver()
    driver.send(configure(instructions="Be brief."))
    (updated,) = driver.send(configure(instructions=""))
    assert updated["session"]["instructions"] == "Be brief."


def test_out_of_band_responses_do_not_change_the_conversation() -> None:
    driver = active_driver()
    driver.say("Hel")
    asked = driver.send(
        reply(
            conversation="none",
            metadata={"purpose": "title"},
            input=[{"type": "item_reference", "id": "q1"}],
        )
    )
    events = asked + driver.say("Greeting") + driver.finish(Finish())
    assert types(events) == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    for response in (events[0]["response"], events[-1]["response"]):
        assert response["conversation_id"] is None
        assert response["metadata"] == {"purpose": "title"}
    item_id = events[1]["item"]["id"]
    missing = error(driver.send({"type": "conversation.item.retrieve", "item_id": item_id}))
    assert missing["code"] == "item_retrieve_invalid_item_id"


def test_response_input_replaces_the_conversation() -> None:
    driver = ProtocolDriver()
    driver.send(user("one", id="a"), user("two", id="b"))
    text = [{"type": "input_text", "text": "three"}]
    response_input = [
        {"type": "item_reference", "id": "a"},
        {"type": "message", "role": "user", "content": text},
    ]
    prompt = prompt_of(driver, input=response_input)
    assert [item.text for item in prompt.items if isinstance(item, Message)] == ["one", "three"]


def test_items_are_inserted_after_the_previous_item() -> None:
    driver = ProtocolDriver()
    added = [
        driver.send(event)[0]["previous_item_id"]
        for event in (
            user("1", id="a"),
            user("2", id="b"),
            user("3", id="c") | {"previous_item_id": "a"},
            user("4", id="d") | {"previous_item_id": "root"},
        )
    ]
    assert added == [None, "a", "a", None]
    assert [item.id for item in prompt_of(driver).items] == ["d", "a", "c", "b"]


def test_the_number_of_items_is_limited() -> None:
    driver = ProtocolDriver()
    for _ in range(MAX_ITEMS):
        driver.protocol.receive(as_json(user("x")))
    assert error(driver.send(user("x")))["code"] == "session_too_large"


def test_held_is_the_size_of_items_and_responses() -> None:
    driver = active_driver()
    before = driver.protocol.held
    driver.send(user("x" * 1000, id="long"))
    assert before + 1000 < driver.protocol.held < before + 2000
    driver.send({"type": "conversation.item.delete", "item_id": "long"})
    assert driver.protocol.held == before
    driver.say("y" * 1000)
    assert before + 1000 < driver.protocol.held < before + 2000
    driver.protocol.release()
    assert driver.protocol.held == 0


def test_an_item_can_be_deleted() -> None:
    driver = ProtocolDriver()
    driver.send(user("1", id="a"), user("2", id="b"))
    (deleted,) = driver.send({"type": "conversation.item.delete", "item_id": "a"})
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "a")
    assert [item.id for item in prompt_of(driver).items] == ["b"]


def test_other_items_are_stored_unchanged() -> None:
    driver = ProtocolDriver()
    call = {"type": "function_call", "id": "c", "call_id": "k", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "id": "o", "call_id": "k", "output": "5"}
    tools = {"type": "mcp_list_tools", "server_label": "s", "tools": []}
    for item in (call, output, tools):
        added, done = driver.send({"type": "conversation.item.create", "item": item})
        assert added["item"].items() >= item.items()
        assert done["item"] == added["item"]


def test_the_item_of_an_active_response_can_be_deleted() -> None:
    driver = active_driver()
    item_id = driver.say("Hel")[0]["item"]["id"]
    driver.send({"type": "conversation.item.delete", "item_id": item_id})
    assert types(driver.finish(Finish()))[-1] == "response.done"
    assert [item.id for item in prompt_of(driver).items] == ["q1"]


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        (reply(), "conversation_already_has_active_response", None),
        ({"type": "response.cancel", "response_id": "x"}, "response_cancel_not_active", None),
        (user("again", id="q1"), "item_create_duplicate_item_id", "item.id"),
        (
            user("x") | {"previous_item_id": "nowhere"},
            "item_create_invalid_previous_item_id",
            "previous_item_id",
        ),
        (
            {"type": "conversation.item.retrieve", "item_id": "x"},
            "item_retrieve_invalid_item_id",
            "item_id",
        ),
        (
            {"type": "conversation.item.delete", "item_id": "x"},
            "item_delete_invalid_item_id",
            "item_id",
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "x",
                "content_index": 0,
                "audio_end_ms": 0,
            },
            "item_truncate_invalid_item_id",
            "item_id",
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "q1",
                "content_index": 0,
                "audio_end_ms": 0,
            },
            "unsupported_content_type",
            None,
        ),
        (
            reply(conversation="none", input=[{"type": "item_reference", "id": "x"}]),
            "item_reference_invalid_item_id",
            "item_id",
        ),
        (configure(colour="red"), "unknown_parameter", "session.colour"),
        ({"type": "input_audio_buffer.clear"}, "audio_not_supported", None),
        (
            configure(audio={"output": {"format": {"type": "audio/opus"}}}),
            "invalid_value",
            "session.audio.output.format.type",
        ),
    ],
)
def test_invalid_commands_return_an_error_with_the_event_id(
    event: dict[str, object], code: str, param: str | None
) -> None:
    driver = active_driver()
    problem = error(driver.send({**event, "event_id": "mine"}))
    assert (problem["type"], problem["code"]) == ("invalid_request_error", code)
    assert (problem["param"], problem["event_id"]) == (param, "mine")
    assert types(driver.say("on")) == types(active_driver().say("on"))


def test_a_second_response_is_refused_with_the_id_of_the_active_one() -> None:
    driver = active_driver()
    assert driver.started[0].response_id in error(driver.send(reply()))["message"]


def test_a_cancel_without_a_response_is_an_error() -> None:
    problem = error(ProtocolDriver().send({"type": "response.cancel"}))
    assert (problem["code"], problem["event_id"]) == ("response_cancel_not_active", None)


def test_a_model_in_an_update_is_taken_unless_the_handshake_named_one() -> None:
    named, unnamed = ProtocolDriver(), ProtocolDriver(model="")
    models = {
        driver: [
            driver.send(configure(**options))[0]["session"]["model"]
            for options in ({}, {"model": "a"}, {"model": None}, {"model": ""}, {"model": "b"})
        ]
        for driver in (named, unnamed)
    }
    assert models == {named: ["m"] * 5, unnamed: ["echo", "a", "a", "a", "b"]}


@pytest.mark.parametrize(
    ("model", "tokens", "is_accepted"),
    [
        ("gpt-realtime", 4096, True),
        ("gpt-realtime", 4097, False),
        ("gpt-realtime-2025-08-28", 4097, False),
        ("gpt-realtime-2", 32_000, True),
        ("gpt-realtime-2", 32_001, False),
        ("of-my-own", 100_000, True),
    ],
)
@pytest.mark.parametrize("dialect", Dialect)
def test_a_response_may_be_as_long_as_the_model_allows(
    model: str, tokens: int, is_accepted: bool, dialect: Dialect
) -> None:
    driver = ProtocolDriver(dialect=dialect, model=model)
    beta = dialect is Dialect.BETA
    name = "max_response_output_tokens" if beta else "max_output_tokens"
    options: dict[str, object] = {name: tokens}
    for event in (configure(**options), reply(**options)):
        scope = "session" if event["type"] == "session.update" else "response"
        refused = [event["error"] for event in driver.send(event) if event["type"] == "error"]
        where = [(problem["code"], problem["param"]) for problem in refused]
        assert where == ([] if is_accepted else [("invalid_value", f"{scope}.{name}")])


_LIVEKIT = (
    {
        "type": "session.update",
        "event_id": "session_update_1",
        "session": {
            "type": "realtime",
            "model": "gpt-realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": {"rate": 24000, "type": "audio/pcm"},
                    "noise_reduction": None,
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "medium"},
                },
                "output": {
                    "format": {"rate": 24000, "type": "audio/pcm"},
                    "speed": None,
                    "voice": "marin",
                },
            },
            "max_output_tokens": None,
            "tool_choice": "auto",
            "tracing": None,
        },
    },
    user("hi") | {"previous_item_id": "root"},
    reply(instructions=None, metadata={"client_event_id": "response_create_1"}),
)
_SEMANTIC_KERNEL = (
    {
        "type": "session.update",
        "session": {
            "model": "gpt-4o-realtime-preview",
            "modalities": ["text"],
            "temperature": None,
            "input_audio_transcription": {"model": "whisper-1", "language": None, "prompt": None},
            "turn_detection": {"type": "server_vad", "threshold": None, "create_response": None},
        },
    },
    user("hi", id=None, status=None, object=None),
    {
        "type": "conversation.item.create",
        "item": {
            "type": "function_call",
            "name": "f",
            "arguments": "{}",
            "call_id": None,
            "id": None,
        },
        "previous_item_id": None,
    },
    {"type": "response.create", "event_id": None, "response": None},
)


@pytest.mark.parametrize(
    ("dialect", "events"), [(Dialect.GA, _LIVEKIT), (Dialect.BETA, _SEMANTIC_KERNEL)]
)
def test_the_nulls_of_livekit_and_semantic_kernel(
    dialect: Dialect, events: Sequence[dict[str, object]]
) -> None:
    answers = ProtocolDriver(dialect=dialect, voice=ToneVoice()).send(*events)
    assert "error" not in types(answers)
    assert types(answers)[-1] == "response.created"


def test_the_limit_is_that_of_the_model_in_the_same_update() -> None:
    driver = ProtocolDriver(model="")
    problem = error(driver.send(configure(model="gpt-realtime", max_output_tokens=5000)))
    assert problem["param"] == "session.max_output_tokens"
    (updated,) = driver.send(configure(model="gpt-realtime-2.1", max_output_tokens=5000))
    assert updated["session"]["max_output_tokens"] == 5000


def test_a_refused_update_does_not_change_the_session() -> None:
    driver = ProtocolDriver()
    driver.send(configure(instructions="new", colour="red"))
    (updated,) = driver.send(configure())
    assert updated["session"]["instructions"] == EchoEngine.instructions


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
near_misses = st.sampled_from(
    [
        configure(output_modalities=["text"], tools=[]),
        user("hi"),
        user("hi", id="a"),
        reply(),
        reply(conversation="none"),
        reply(input=[], metadata={"a": "b"}),
        {"type": "response.cancel"},
        {"type": "conversation.item.delete", "item_id": "a"},
        {"type": "conversation.item.retrieve", "item_id": "a"},
    ]
)
additions = st.dictionaries(
    st.sampled_from(["type", "session", "item", "response", "event_id", "previous_item_id"]),
    values,
    max_size=1,
)


@given(
    st.lists(
        (values.map(json.dumps))
        | st.text(max_size=20)
        | st.binary(max_size=20)
        | st.tuples(near_misses, additions).map(lambda pair: json.dumps({**pair[0], **pair[1]})),
        max_size=8,
    ),
    st.sampled_from(Dialect),
)
def test_any_frame_is_answered(frames: list[str | bytes], dialect: Dialect) -> None:
    driver = ProtocolDriver(dialect=dialect)
    for frame in frames:
        outputs = driver.protocol.receive(frame)
        assert len(outputs) > 0
        driver.read(outputs)
        for output in outputs:
            if isinstance(output, StartResponse):
                driver.read(driver.protocol.add_piece(output.response_id, "x"))


# ----------------------------------------------------------------------------------------- sockets


def serve(
    check: Callable[[str], Awaitable[None]], engine: Engine | None = None, **arguments: Any
) -> None:
    """Run `check` with the URL of a server."""

    async def main() -> None:
        async with run_server(engine or EchoEngine(), **arguments) as url:
            await check(url)

    asyncio.run(main())


async def ask(peer: Peer, text: str) -> list[dict[str, Any]]:
    await peer.send(user(text), reply())
    return await peer.until("response.done", "error")


def test_a_turn_over_a_socket() -> None:
    async def check(url: str) -> None:
        assert url.startswith("ws://127.0.0.1:")
        assert url.endswith("/v1/realtime")
        async with ready(f"{url}?model=mine") as peer:
            events = await ask(peer, "hello there, friend")
            assert text_of(events) == "hello there, friend"
            assert events[-1]["response"]["status"] == "completed"
            assert events[-1]["response"]["usage"]["output_tokens"] == 3
            again = await ask(peer, "more")
            assert text_of(again) == "more"

    serve(check)


@pytest.mark.parametrize(("path", "model"), [("?model=mine", "mine"), ("", "echo")])
def test_any_model_is_accepted(path: str, model: str) -> None:
    async def check(url: str) -> None:
        async with joined(url + path) as peer:
            session = (await peer.receive())["session"]
            assert session["model"] == model
            assert session["id"].startswith("sess_")

    serve(check)


def test_the_short_path_is_accepted_and_others_are_not() -> None:
    async def check(url: str) -> None:
        async with joined(url.replace("/v1/", "/")) as peer:
            assert (await peer.receive())["type"] == "session.created"
        assert await refused(url.replace("/v1/", "/v2/")) == (404, None)

    serve(check)


async def refused(url: str, **headers: str) -> tuple[int, str | None]:
    """The status and error code of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        async with joined(url, headers=headers):
            pass
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/json"
    details = json.loads(response.body or b"")["error"]
    assert details["message"]
    return response.status_code, details["code"]


def test_a_key_is_required_and_may_be_in_either_header() -> None:
    async def check(url: str) -> None:
        assert await refused(url) == (401, None)
        assert await refused(url, Authorization="Bearer wrong") == (401, "invalid_api_key")
        assert await refused(url, Authorization="Basic sésame") == (401, None)
        for headers in ({"Authorization": "Bearer sésame"}, {"api-key": "sésame"}):
            async with joined(url, headers=headers) as peer:
                assert (await peer.receive())["type"] == "session.created"

    serve(check, api_key="sésame")


def test_a_key_may_be_in_the_subprotocol() -> None:
    async def check(url: str) -> None:
        offered = ["realtime", "openai-insecure-api-key.sesame"]
        async with joined(url, subprotocols=offered) as peer:
            assert peer.socket.subprotocol == "realtime"
            assert (await peer.receive())["type"] == "session.created"

    serve(check, api_key="sesame")


def test_web_pages_are_refused_unless_their_origin_is_allowed() -> None:
    async def check(url: str) -> None:
        assert await refused(url, Origin="https://evil.example") == (403, "origin_not_allowed")
        assert await refused(url, Origin="null") == (403, "origin_not_allowed")
        async with joined(url, headers={"Origin": "https://good.example"}) as peer:
            assert (await peer.receive())["type"] == "session.created"

    serve(check, allow_origins=["https://good.example"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"OpenAI-Beta": "realtime=v1"}},
        {"subprotocols": ["realtime", "openai-beta.realtime-v1"]},
    ],
)
def test_beta_is_selected_by_header_or_subprotocol(arguments: dict[str, Any]) -> None:
    async def check(url: str) -> None:
        async with joined(url, is_beta=True, **arguments) as peer:
            session = (await peer.receive())["session"]
            assert session["modalities"] == ["text", "audio"]
            await peer.send(_text_session(Dialect.BETA), user("hi"), reply())
            events = await peer.until("response.done")
            deltas = [event["delta"] for event in events if event["type"] == "response.text.delta"]
            assert "".join(deltas) == "hi"

    serve(check)


def test_invalid_frames_do_not_close_the_connection() -> None:
    async def check(url: str) -> None:
        async with ready(url) as peer:
            for frame, code in (("{", "invalid_json"), (b"\x00", "invalid_frame")):
                await peer.socket.send(frame)
                assert (await peer.receive())["error"]["code"] == code
            assert text_of(await ask(peer, "still here")) == "still here"

    serve(check)


def test_frame_size_is_limited() -> None:
    async def check(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("x" * 2_000_000))
            added = await peer.until("conversation.item.done")
            assert len(added[-1]["item"]["content"][0]["text"]) == 2_000_000

        peer = await entered(url)
        await peer.socket.send("x" * (24 * 1024 * 1024 + 1))
        code, _ = await peer.closed()
        assert code == 1009

    serve(check)


class SlowEngine:
    """An engine that sends one piece and then waits until it may continue or is stopped."""

    model = "slow"
    instructions = ""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.stopped = asyncio.Event()

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def on_connect(self) -> CloseConnection | None:
        return None

    async def answer(self, prompt: ModelInput) -> Answer:
        try:
            yield f"{prompt.question}, "
            await self.go_on.wait()
            yield "done"
            yield Finish()
        finally:
            self.stopped.set()


def test_a_cancel_stops_the_engine_and_the_next_turn_works() -> None:
    async def main() -> None:
        engine = SlowEngine()
        async with run_server(engine) as url, ready(url) as peer:
            await peer.send(user("one"), reply())
            await peer.until("response.output_text.delta")
            await peer.send({"type": "response.cancel"})
            events = await peer.until("response.done")
            assert events[-1]["response"]["status"] == "cancelled"
            assert events[0]["text"] == "one, "
            await asyncio.wait_for(engine.stopped.wait(), PATIENCE)
            engine.go_on.set()
            assert text_of(await ask(peer, "two")) == "two, done"

    asyncio.run(main())


@pytest.mark.parametrize("is_polite", [True, False])
def test_a_client_that_disconnects_stops_the_engine(is_polite: bool) -> None:
    async def main() -> None:
        engine = SlowEngine()
        async with run_server(engine) as url, ready(url) as peer:
            await peer.send(user("one"), reply())
            await peer.until("response.output_text.delta")
            if is_polite:
                await peer.socket.close()
            else:
                peer.socket.transport.abort()
            await asyncio.wait_for(engine.stopped.wait(), PATIENCE)

    asyncio.run(main())


def test_clients_are_independent() -> None:
    async def main() -> None:
        engine = SlowEngine()
        async with run_server(engine) as url, ready(url) as one, ready(url) as two:
            for peer, text in ((one, "one"), (two, "two")):
                await peer.send(user(text), reply())
                await peer.until("response.output_text.delta")
            engine.go_on.set()
            for peer, text in ((one, "one"), (two, "two")):
                done = (await peer.until("response.done"))[-1]["response"]
                assert done["output"][0]["content"][0]["text"] == f"{text}, done"

    asyncio.run(main())


def test_stopping_the_server_closes_connections() -> None:
    async def main() -> None:
        engine = SlowEngine()
        async with run_server(engine) as url:
            peer = await entered(url)
            await peer.send(configure(output_modalities=["text"]), user("hi"), reply())
            await peer.until("response.output_text.delta")
        assert await peer.closed() == (1001, "")
        assert engine.stopped.is_set()

    asyncio.run(main())


class FaultyEngine(EchoEngine):
    """An engine that yields the given pieces, or raises an exception if there are none."""

    def __init__(self, *pieces: OutputPiece) -> None:
        self._pieces = pieces

    async def answer(self, prompt: ModelInput) -> Answer:
        for piece in self._pieces:
            yield piece
        if not self._pieces:
            raise ValueError("broken")


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (FaultyEngine(), "The engine failed: ValueError: broken."),
        (FaultyEngine("some"), "The engine ended without finishing its response."),
    ],
)
def test_an_engine_error_fails_the_response(engine: Engine, message: str) -> None:
    async def check(url: str) -> None:
        async with ready(url) as peer:
            for _ in range(2):
                done = (await ask(peer, "hi"))[-1]["response"]
                assert done["status_details"]["error"]["message"] == message

    serve(check, engine)


def test_a_session_expires() -> None:
    async def check(url: str) -> None:
        async with joined(url) as peer:
            events = await peer.until("error")
            assert events[-1]["error"]["code"] == "session_expired"
            code, reason = await peer.closed()
            assert (code, reason) == (1001, events[-1]["error"]["message"])

    serve(check, session_seconds=0.05)


def test_a_port_in_use_is_a_usage_error() -> None:
    async def check(url: str) -> None:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with run_server(EchoEngine(), port=port):
                pass

    serve(check)


# ------------------------------------------------------------------------------------------ faults


def script(*rules: Rule, connects: tuple[CloseConnection, ...] = ()) -> ScriptEngine:
    return ScriptEngine(Script(rules, connects))


def test_an_engine_may_return_an_error_event() -> None:
    async def check(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("hi"), reply() | {"event_id": "mine"})
            problem = (await peer.until("error"))[-1]["error"]
            assert problem == {
                "type": "server_error",
                "code": "c",
                "message": "No.",
                "param": None,
                "event_id": "mine",
            }
            assert text_of(await ask(peer, "again")) == "yes"

    refusal = Rule(times=1, end=ServerProblem("No.", "server_error", "c"))
    serve(check, script(refusal, Rule(deltas=("yes",))))


@pytest.mark.parametrize(("code", "seen"), [(1013, (1013, "busy")), (1006, (1006, ""))])
def test_an_engine_may_close_the_connection_during_a_response(
    code: int, seen: tuple[int, str]
) -> None:
    async def check(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("hi"), reply())
            await peer.until("response.output_text.delta")
            assert await peer.closed() == seen

    serve(check, script(Rule(deltas=("part",), end=CloseConnection(code, "busy"))))


def test_an_engine_may_refuse_a_connection() -> None:
    async def check(url: str) -> None:
        async with joined(url) as peer:
            assert (await peer.receive())["error"]["code"] == "insufficient_quota"
            assert await peer.closed() == (1013, "insufficient_quota.insufficient_quota")
        async with joined(url) as peer:
            assert (await peer.receive())["type"] == "session.created"

    problem = ServerProblem("None left.", "insufficient_quota", "insufficient_quota")
    first = CloseConnection(1013, "insufficient_quota.insufficient_quota", problem)
    serve(check, script(connects=(first,)))


def test_a_stalled_response_can_be_cancelled() -> None:
    async def check(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("hi"), reply())
            await peer.until("response.output_text.delta")
            await peer.send({"type": "response.cancel"})
            done = (await peer.until("response.done"))[-1]["response"]
            assert done["status"] == "cancelled"

    serve(check, script(Rule(deltas=("part",), end=None)))
