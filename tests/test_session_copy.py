"""What a new session receives after a lost one: `wire.session_copy`."""

from __future__ import annotations

from typing import Any

from rtchat.wire import decode
from rtchat.wire.session_copy import SessionCopy

Json = dict[str, Any]


def message(role: str, text: str, **fields: object) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text}]
    return {"type": "message", "role": role, "content": content, **fields}


def create(item: Json, event_id: str = "", **fields: object) -> Json:
    event = {"type": "conversation.item.create", "item": item, **fields}
    return event | {"event_id": event_id} if event_id else event


def request(event_id: str = "", **response: object) -> Json:
    return {"type": "response.create", "event_id": event_id, "response": response}


def received(copy: SessionCopy, *events: Json) -> list[bool]:
    return [copy.received(decode(event)[0]) for event in events]


def added(item: Json, previous: str | None = None) -> Json:
    return {"type": "conversation.item.added", "item": item, "previous_item_id": previous}


def created(id: str = "r", **response: object) -> Json:
    return {"type": "response.created", "response": {"id": id, **response}}


def delta(text: str, id: str = "r") -> Json:
    return {"type": "response.output_text.delta", "delta": text, "response_id": id, "item_id": "a"}


def output(item: Json, id: str = "r") -> Json:
    return {"type": "response.output_item.done", "item": item, "response_id": id}


def done(id: str = "r", **response: object) -> Json:
    return {"type": "response.done", "response": {"id": id, "status": "completed", **response}}


def restored(copy: SessionCopy) -> list[Json]:
    """The events for a new session, without ids."""
    return [{k: v for k, v in event.items() if k != "event_id"} for event in copy.restore()]


def items(copy: SessionCopy) -> list[Json]:
    return [event["item"] for event in restored(copy) if "item" in event]


def texts(copy: SessionCopy) -> list[str]:
    return [item["content"][0]["text"] for item in items(copy)]


USER, REPLY = message("user", "Hi", id="u"), message("assistant", "Hello.", id="a")


def test_an_unused_session() -> None:
    copy = SessionCopy()
    assert copy.lost() is False
    assert restored(copy) == []


def test_settings_are_those_that_were_not_refused() -> None:
    copy = SessionCopy()
    for event_id, session in (
        ("1", {"instructions": "A", "audio": {"input": {"format": "x"}}}),
        ("2", {"speed": 2}),
        ("3", {"instructions": "B", "audio": {"output": {"voice": "v"}}}),
    ):
        copy.sent({"type": "session.update", "event_id": event_id, "session": session})
    error = {"type": "error", "error": {"message": "No.", "event_id": "2"}}
    assert received(copy, {"type": "session.updated"}, error) == [False, False]
    settings = {
        "instructions": "B",
        "audio": {"input": {"format": "x"}, "output": {"voice": "v"}},
    }
    assert restored(copy) == [{"type": "session.update", "session": settings}]
    # the program has not seen the answer to the last update
    assert received(copy, {"type": "session.updated"}) == [False]
    assert restored(copy) == [{"type": "session.update", "session": settings}]
    assert received(copy, {"type": "session.updated"}) == [True]


def test_only_the_first_session_is_announced() -> None:
    copy = SessionCopy()
    assert received(copy, {"type": "session.created"}) == [False]
    copy.restore()
    assert received(copy, {"type": "session.created"}) == [True]


def test_items_keep_their_order() -> None:
    copy = SessionCopy()
    for number, (text, previous) in enumerate(
        [("one", None), ("three", None), ("zero", "root"), ("two", "i0"), ("last", "unknown")]
    ):
        item = message("user", text, id=f"i{number}")
        copy.sent(create(item, **({} if previous is None else {"previous_item_id": previous})))
    assert texts(copy) == ["zero", "one", "two", "three", "last"]


def test_items_get_the_ids_of_the_server_but_not_its_contents() -> None:
    copy = SessionCopy()
    audio = {"type": "input_audio", "audio": "AAE="}
    copy.sent(create({"type": "message", "role": "user", "content": [audio]}))
    copy.sent(create(message("user", "Hi")))
    assert received(
        copy,
        added(
            {"type": "message", "role": "user", "id": "s1", "content": [{"type": "input_audio"}]}
        ),
        added({"type": "message", "role": "user", "id": "s2", "content": []}),
    ) == [False, False]
    first, second = items(copy)
    assert (first["id"], first["content"]) == ("s1", [audio])
    assert (second["id"], second["content"][0]["text"]) == ("s2", "Hi")


def test_refused_and_deleted_items_are_left_out() -> None:
    copy = SessionCopy()
    copy.sent(create(message("user", "refused"), "1"))
    copy.sent(create(message("user", "kept", id="k"), "2"))
    copy.sent(create(message("user", "deleted", id="d"), "3"))
    received(
        copy,
        {"type": "error", "error": {"message": "No.", "event_id": "1"}},
        {"type": "error", "error": {"message": "No."}},
        {"type": "conversation.item.deleted", "item_id": "d"},
        {"type": "rate_limits.updated", "rate_limits": []},
    )
    assert texts(copy) == ["kept"]


def test_items_that_the_server_made() -> None:
    copy = SessionCopy()
    call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "id": "f"}
    spoken = {"type": "message", "role": "user", "id": "s", "content": [{"type": "input_audio"}]}
    silent = spoken | {"id": "silent"}
    received(
        copy,
        added(spoken),
        added(silent, "s"),
        {
            "type": "conversation.item.input_audio_transcription.delta",
            "item_id": "s",
            "delta": "Go",
        },
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "s",
            "transcript": "Good morning",
        },
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "unknown",
            "transcript": "",
        },
        added({"type": "mcp_list_tools", "id": "m", "server_label": "x", "tools": []}),
        added({"type": "mcp_approval_request", "id": "p", "name": "f", "arguments": "{}"}),
        created(),
        added(call | {"arguments": "", "status": "in_progress"}),
        output(call | {"status": "completed"}),
        {"type": "conversation.item.done", "item": call | {"status": "completed"}},
        done(output=[call]),
    )
    assert copy.lost() is False
    said, called = items(copy)
    assert said["content"] == [{"type": "input_text", "text": "Good morning"}]
    assert called == call


def test_what_a_new_session_received_is_not_announced_again() -> None:
    copy = SessionCopy()
    copy.sent(create(USER))
    copy.sent(create(message("user", "unseen")))
    received(copy, added(USER), created(), output(REPLY), done())
    assert copy.lost() is False
    assert texts(copy) == ["Hi", "unseen", "Hello."]
    item_done = {"type": "conversation.item.done", "item": USER}
    other = message("assistant", "Hello.", id="renamed")
    unseen = message("user", "unseen", id="x")
    new = message("user", "new", id="n")
    assert received(copy, added(USER), item_done, added(other), added(unseen), added(new)) == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert texts(copy) == ["Hi", "unseen", "Hello.", "new"]


def test_a_request_is_repeated_until_something_arrives() -> None:
    copy = SessionCopy()
    copy.sent(request("1", instructions="x"))
    copy.sent(request("2"), repeats=False)
    copy.sent(request("3"))
    received(copy, {"type": "error", "error": {"message": "No.", "event_id": "3"}}, created())
    assert copy.lost() is False
    assert copy.restore() == [request("1", instructions="x")]
    received(copy, created("other"), delta("So", "other"))
    assert copy.lost() is True
    assert texts(copy) == ["So"]


def test_an_interrupted_reply_whose_request_is_not_repeated() -> None:
    copy = SessionCopy()
    copy.sent(request("1"), repeats=False)
    copy.sent(request("2"))
    marked = {"metadata": {"rtchat_request": "1"}}
    received(copy, created("r", **marked), delta("So far"))
    assert copy.lost() is False
    assert texts(copy) == ["So far"]
    assert copy.restore()[-1] == request("2")


def test_an_unrequested_reply() -> None:
    copy = SessionCopy()
    copy.sent(request("1"))
    received(copy, created("r", metadata={"rtchat_request": "unknown"}))
    assert copy.lost() is True
    assert copy.restore() == [request("1")]


def test_an_interrupted_reply_with_a_call() -> None:
    copy = SessionCopy()
    call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "id": "f"}
    unfinished = message("assistant", "", id="a", status="in_progress")
    copy.sent(request("1"))
    received(copy, created(), added(unfinished), output(call))
    assert copy.lost() is True
    answer = {"type": "function_call_output", "call_id": "c", "output": "21"}
    copy.sent(create(answer))
    assert restored(copy) == [create(item) for item in (call, answer)]


def test_a_reply_without_a_beginning_or_items() -> None:
    copy = SessionCopy()
    part = {"type": "output_text", "text": "Hello."}
    received(
        copy,
        {"type": "response.output_text.done", "text": "Hel", "response_id": "r", "item_id": "a"},
        {"type": "response.content_part.done", "part": part, "response_id": "r", "item_id": "a"},
        done(),
        done("silent"),
    )
    assert texts(copy) == ["Hello."]


def test_output_only_at_the_end() -> None:
    copy = SessionCopy()
    received(copy, created(), done(output=[REPLY]))
    assert texts(copy) == ["Hello."]


def test_responses_outside_the_conversation_are_left_out() -> None:
    copy = SessionCopy()
    copy.sent(request("1", conversation="none"))
    received(copy, created(conversation_id=None), output(REPLY), done(output=[REPLY]))
    copy.sent(request("2", conversation="none"))
    received(copy, created(conversation_id=None), delta("aside"))
    assert copy.lost() is True
    received(copy, created("s", conversation_id="c"), output(REPLY, "s"), done("s"))
    assert texts(copy) == ["Hello."]


def test_an_item_with_much_audio_is_sent_in_pieces() -> None:
    copy = SessionCopy()
    audio = {"type": "input_audio", "audio": "A" * 8_000_000}
    copy.sent(create({"type": "message", "role": "user", "id": "u", "content": [audio]}))
    first, second = items(copy)
    assert "id" not in first
    assert len(first["content"][0]["audio"]) + len(second["content"][0]["audio"]) == 8_000_000


def test_other_events_are_not_copied() -> None:
    copy = SessionCopy()
    copy.sent({"type": "input_audio_buffer.append", "audio": ""})
    assert restored(copy) == []
