"""An upstream engine behind the server: its requests and how its responses are passed on.

Three chat completions servers are used: a scripted one (`completions`), aimock from npm, and
llama.cpp's own with the built-in model. `rtchat serve` as a program is tested in `test_serve`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rtchat.core.errors import UsageError
from rtchat.core.text import sentence
from rtchat.core.values import (
    Item,
    Message,
    OtherItem,
    Part,
    Status,
    Tool,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.server.chat_completions import Upstream, upstream, write_request
from rtchat.server.engine import CallPiece, Finish, ModelInput, OutputPiece
from rtchat.server.sockets import run_server
from rtchat.server.upstream import connect_upstream
from rtchat.wire.client_events import ToolSettings
from tests import aimock
from tests.completions import (
    CLOSING,
    OPENING,
    USAGE,
    CompletionRequest,
    Respond,
    call,
    chunked,
    completions,
    data,
    delta,
    event,
)
from tests.loopback import Peer, configure, ready, reply, text_of, user
from tests.official import ask, done, hold_tool_round, talking, text, until

KEY = "sk-upstream-0123456789"


# ---------------------------------------------------------------------------------------- requests


def text_message(role: Any, *parts: str) -> Message:
    return Message(role, tuple(Part("text", part) for part in parts))


def chat(*items: Item) -> object:
    """The chat messages for these items."""
    return write_request(ModelInput("", items), "m")["messages"]


def a_call(call_id: str, arguments: str = "{}", name: str = "f") -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def test_the_request_of_a_question() -> None:
    tools = ToolSettings(
        (Tool("f", "F.", {"type": "object"}), Tool("g")), "required", parallel=False
    )
    prompt = ModelInput("Be brief.", (text_message("user", "hi"),), 7, tools)
    described = {"name": "f", "description": "F.", "parameters": {"type": "object"}}
    bare = {"name": "g", "description": "", "parameters": {"type": "object", "properties": {}}}
    assert write_request(prompt, "m") == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "tools": [
            {"type": "function", "function": described},
            {"type": "function", "function": bare},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        (ToolSettings((Tool("f"),)), None),
        (ToolSettings((Tool("f"),), "none"), "none"),
        (ToolSettings((Tool("f"),), forced="f"), {"type": "function", "function": {"name": "f"}}),
        (ToolSettings((), "required"), None),
    ],
)
def test_tool_choice_is_sent_only_with_tools(tools: ToolSettings, choice: object) -> None:
    assert write_request(ModelInput("", (), tools=tools), "m").get("tool_choice") == choice


def test_the_messages_of_a_conversation() -> None:
    picture = Part("image", data="data:image/png;base64,AA==")
    large = Part("image", data="data:image/png;base64,AB==", detail="high")
    spoken = Message("user", (Part("audio", "aloud"),))
    assert chat(
        text_message("system", "Now in French."),
        text_message("user", "one", "two"),
        text_message("assistant", ""),
        Message("user", (Part("text", "see"), picture, large, Part("text"))),
        spoken,
        OtherItem("mcp_list_tools"),
    ) == [
        {"role": "system", "content": "Now in French."},
        {"role": "user", "content": "one\ntwo"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": picture.data}},
                {"type": "image_url", "image_url": {"url": large.data, "detail": "high"}},
            ],
        },
        {"role": "user", "content": "aloud"},
    ]


def test_calls_join_the_previous_text_and_outputs_follow_them() -> None:
    assert chat(
        text_message("assistant", "Let me see."),
        ToolCall("f", "a", '{"n": 1}'),
        ToolCall("g", "b", "{}"),
        text_message("user", "Well?"),
        ToolOutput("b", "two"),
        ToolOutput("a", "one"),
        ToolOutput("nobody", "asked"),
    ) == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [a_call("a", '{"n": 1}'), a_call("b", name="g")],
        },
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
        {"role": "user", "content": "Well?"},
    ]


def test_invalid_calls_are_repaired_or_left_out() -> None:
    assert chat(
        ToolCall("f", "a", '{"half', status="incomplete"),
        ToolCall("f", "", "[]", id="item_1"),
        ToolCall("f", "c", "", status="incomplete"),
        ToolOutput("c", "three"),
    ) == [
        {"role": "assistant", "content": None, "tool_calls": [a_call("item_1"), a_call("c")]},
        {"role": "tool", "tool_call_id": "item_1", "content": "There is no output yet."},
        {"role": "tool", "tool_call_id": "c", "content": "three"},
    ]


# --------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://[::1]:8080/v1/", "http://[::1]:8080/v1/chat/completions"),
        ("https://gate/api/v2?version=3", "https://gate/api/v2/chat/completions?version=3"),
        ("https://gate/v1/chat/completions", "https://gate/v1/chat/completions"),
    ],
)
def test_the_url_of_chat_completions(url: str, address: str) -> None:
    assert upstream(url, "m") == Upstream(address, "m")


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("ws://host/v1", "", "--upstream"),
        ("host:8080", "", "--upstream"),
        ("http://host:99999", "", "--upstream"),
        ("http://me:secret@host/v1", "", "--upstream"),
        ("http://ho st/v1", "", "--upstream"),
        ("https://host/v1", "k\ney", "invalid characters"),
        ("http://host/v1", KEY, "unencrypted to host"),
    ],
)
def test_an_invalid_upstream_is_a_usage_error(url: str, key: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        upstream(url, "m", key)
    assert says in caught.value.message
    assert "secret" not in str(caught.value)


def test_without_httpx2_the_error_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['httpx2'] = None; sys.argv[0] = 'rtchat';"
        "from rtchat.__main__ import main; sys.exit(main())"
    )
    arguments = ["serve", "--upstream", "http://127.0.0.1/v1", "--upstream-model", "m"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path)},
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 2)
    assert "httpx2" in done.stderr
    assert "[upstream]" in done.stderr


def test_a_key_is_sent_unencrypted_only_with_insecure() -> None:
    target = upstream("http://host/v1", "m", KEY, insecure=True)
    assert target.key == KEY
    assert KEY not in repr(target)
    assert upstream("http://localhost/v1", "m", KEY).is_local


# --------------------------------------------------------------------------------------- responses


def answer(respond: Respond, *, key: str = "", silent_seconds: float = 20) -> list[OutputPiece]:
    """The pieces of an answer to "hi"."""

    async def main() -> list[OutputPiece]:
        async with completions(respond) as url:
            target = upstream(url, "m", key)
            async with connect_upstream(target, silent_seconds=silent_seconds) as engine:
                return [piece async for piece in engine.answer(QUESTION)]

    return asyncio.run(main())


QUESTION = ModelInput("", (text_message("user", "hi"),))


def test_text_and_usage() -> None:
    async def respond(request: CompletionRequest) -> None:
        assert (request.body["model"], request.headers["authorization"]) == ("m", f"Bearer {KEY}")
        role = delta(role="assistant", content="")
        await request.stream(
            role, delta(content="Hel"), delta(content="lo\u2028"), delta("stop"), USAGE
        )

    assert answer(respond, key=KEY) == ["Hel", "lo\u2028", Finish(usage=Usage(20, 16, 5, 25))]


ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)


@pytest.mark.parametrize("written", [KEY, ESCAPED], ids=["plain", "escaped"])
def test_a_key_split_over_pieces_is_redacted(written: str) -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.stream(
            delta(content="It is s"),
            delta(content="k-"),
            delta(content=f"no: {written[:9]}"),
            call(0, '{"a": "', id="c", name=f"f {KEY}"),
            call(0, written[:11]),
            delta(content=f"{written[9:]}, s"),
            call(0, written[11:]),
            call(0, '", "b": "s'),
            call(1, "s", id="d", name="g"),
            delta("tool_calls"),
        )

    *pieces, finish = answer(respond, key=KEY)
    assert finish == Finish()
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == "It is sk-no: [key], s"
    calls = [piece for piece in pieces if isinstance(piece, CallPiece)]
    whole = ["".join(each.arguments for each in calls if each.number == n) for n in (0, 1)]
    assert whole == ['{"a": "[key]", "b": "s', "s"]
    assert [each.name for each in calls if each.name] == ["f [key]", "g"]


def test_usage_and_key_are_optional() -> None:
    async def respond(request: CompletionRequest) -> None:
        assert "authorization" not in request.headers
        await request.stream(delta(content="Hello"), delta("stop"))

    assert answer(respond) == ["Hello", Finish()]


def test_several_calls_arrive_in_pieces() -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.stream(
            delta(content="Let me see."),
            call(0, "", id="a", name="f"),
            call(0, '{"n":'),
            call(1, "{", id="b", name="g"),
            call(0, " 1}"),
            call(1, "}"),
            delta("tool_calls"),
        )

    assert answer(respond) == [
        "Let me see.",
        CallPiece(0, "", "f", "a"),
        CallPiece(0, '{"n":'),
        CallPiece(1, "{", "g", "b"),
        CallPiece(0, " 1}"),
        CallPiece(1, "}"),
        Finish(),
    ]


def test_calls_may_share_an_index_and_repeat_their_name() -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.stream(
            call(0, "{", id="a", name="f"),
            call(0, "}", id="a", name="f"),
            call(0, "{}", id="b", name="f"),
            delta("tool_calls"),
        )

    assert answer(respond) == [
        CallPiece(0, "{", "f", "a"),
        CallPiece(0, "}"),
        CallPiece(1, "{}", "f", "b"),
        Finish(),
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("length", Finish(Status.INCOMPLETE, "max_output_tokens")),
        ("content_filter", Finish(Status.INCOMPLETE, "content_filter")),
        ("eos", Finish()),
    ],
)
def test_the_finish_reason_is_passed_on(reason: str, finish: Finish) -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.stream(delta(content="Hel"), delta(reason))

    assert answer(respond) == ["Hel", finish]


def failure(message: str, code: str = "upstream_error") -> Finish:
    return Finish(Status.FAILED, code=code, message=message)


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error_body(message: str, **fields: object) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


EARLY = failure("The upstream closed the stream before the end of the response.")
TOO_LONG = error_body("Too long.", type="exceed_context_size_error", code=400)


@pytest.mark.parametrize(
    ("written", "finish"),
    [
        (
            http("401 No", error_body(f"Wrong key: {KEY}.", code="invalid_api_key")),
            failure("The upstream returned HTTP 401: Wrong key: [key]."),
        ),
        (
            http("404 No", error_body("model 'm' not found", code="model_not_found")),
            failure("The upstream returned HTTP 404: model 'm' not found."),
        ),
        (
            http("429 Slow", error_body("Slow down."), "Retry-After: 3"),
            failure(
                "The upstream returned HTTP 429: Slow down. Please try again in 3s.",
                "rate_limit_exceeded",
            ),
        ),
        (
            http("429 Pay", error_body("Pay first.", code="insufficient_quota")),
            failure("The upstream returned HTTP 429: Pay first.", "insufficient_quota"),
        ),
        (
            http("400 No", TOO_LONG),
            failure("The upstream returned HTTP 400: Too long.", "context_length_exceeded"),
        ),
        (
            http("500 Oops", b'{"error": "It fell over"}'),
            failure("The upstream returned HTTP 500: It fell over."),
        ),
        (
            http("500 Oops", error_body("Out of memory...\n"), "Retry-After: 3"),
            failure("The upstream returned HTTP 500: Out of memory. Please try again in 3s."),
        ),
        (
            http("500 Oops", error_body("Broken!"), "Retry-After: 3"),
            failure("The upstream returned HTTP 500: Broken! Please try again in 3s."),
        ),
        (http("502 Bad", b"<html>"), failure("The upstream returned HTTP 502.")),
        (http("503 No", b"x" * 100_000), failure("The upstream returned HTTP 503.")),
        (
            http("200 OK", b"{}", "Content-Type: application/json"),
            failure(
                "The upstream did not return an event stream: Expected response with content type"
                " 'text/event-stream', got 'application/json'."
            ),
        ),
        (b"".join([OPENING, CLOSING]), EARLY),
        (b"".join([OPENING, event(delta()), CLOSING]), EARLY),
        (
            b"".join([OPENING, event({"error": {"message": "No memory."}}), CLOSING]),
            failure("The upstream failed: No memory."),
        ),
        (
            b"".join([OPENING, event({"error": "No memory"}), CLOSING]),
            failure("The upstream failed: No memory."),
        ),
        (
            b"".join([OPENING, event({"error": {"code": 500}}), CLOSING]),
            failure("The upstream failed: unknown error."),
        ),
        (
            b"".join([OPENING, event({"object": "error", "message": "No."}), CLOSING]),
            failure("The upstream failed: No."),
        ),
        (
            b"".join([OPENING, data("[1]"), CLOSING]),
            failure("The upstream sent JSON that is not an object."),
        ),
        (
            b"".join([OPENING, data("{"), CLOSING]),
            failure(
                "The upstream sent invalid JSON: Expecting property name enclosed in double"
                " quotes: line 1 column 2 (char 1)."
            ),
        ),
    ],
)
def test_an_upstream_failure_fails_the_response(written: bytes, finish: Finish) -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.write(written)
        request.close()

    assert answer(respond, key=KEY) == [finish]


def test_a_lost_stream_keeps_the_text() -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.write(OPENING, event(delta(content="Hel")))
        request.close()

    hel, finish = answer(respond)
    assert hel == "Hel"
    assert isinstance(finish, Finish)
    assert finish.message.startswith("The connection to the upstream was lost: ")
    assert finish.message == sentence(finish.message)


def test_a_stream_lost_after_its_finish_reason_is_complete() -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.write(OPENING, event(delta("stop", content="Hello")))
        request.close()

    assert answer(respond) == ["Hello", Finish()]


def test_comments_and_empty_events_are_ignored() -> None:
    async def respond(request: CompletionRequest) -> None:
        comment, named = chunked(b": working\n\n"), chunked(b"event: ping\n\n")
        await request.write(OPENING, comment, named, event(delta("stop", content="Hello")), CLOSING)

    assert answer(respond) == ["Hello", Finish()]


def test_a_failed_stream_is_not_read_further() -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.write(OPENING, data("nonsense"))
        await request.wait_closed()
        request.close()

    (finish,) = answer(respond)
    assert isinstance(finish, Finish)
    assert finish.status is Status.FAILED


def test_a_silent_upstream_times_out() -> None:
    async def respond(request: CompletionRequest) -> None:
        await request.wait_closed()
        request.close()

    assert answer(respond, silent_seconds=0.1) == [failure("The upstream timed out.")]


def test_an_unreachable_upstream_fails_the_response() -> None:
    async def main() -> list[OutputPiece]:
        async with completions(_never) as url:
            pass
        async with connect_upstream(upstream(url, "m")) as engine:
            return [piece async for piece in engine.answer(QUESTION)]

    (finish,) = asyncio.run(main())
    assert isinstance(finish, Finish)
    assert finish.message.startswith("Cannot connect to the upstream: ")
    assert finish.message == sentence(finish.message)


async def _never(_request: CompletionRequest) -> None:
    pytest.fail("no request was expected")


def test_a_closed_keep_alive_connection_is_retried() -> None:
    answered = 0

    async def respond(request: CompletionRequest) -> None:
        nonlocal answered
        answered += 1
        if answered == 2:  # close the kept-alive connection of the first question
            request.close()
        else:
            await request.stream(delta("stop", content="Hello"))

    async def main() -> list[OutputPiece]:
        async with completions(respond) as url, connect_upstream(upstream(url, "m")) as engine:
            first = [piece async for piece in engine.answer(QUESTION)]
            return first + [piece async for piece in engine.answer(QUESTION)]

    assert asyncio.run(main()) == ["Hello", Finish()] * 2
    assert answered == 3


def test_audio_input_is_refused() -> None:
    async def main() -> list[OutputPiece]:
        async with completions(_never) as url, connect_upstream(upstream(url, "m")) as engine:
            spoken = Message("user", (Part("audio", data="AAAA"),))
            return [piece async for piece in engine.answer(ModelInput("", (spoken,)))]

    message = "The upstream does not support audio input."
    assert asyncio.run(main()) == [failure(message, "audio_not_supported")]


# ---------------------------------------------------------------------------------------- sessions


@asynccontextmanager
async def serve_upstream(respond: Respond) -> AsyncIterator[str]:
    """Run the server with that upstream. Yields its URL."""
    async with (
        completions(respond) as url,
        connect_upstream(upstream(url, "m")) as engine,
        run_server(engine) as front,
    ):
        yield front


async def turn(peer: Peer, asked: str) -> list[dict[str, Any]]:
    await peer.send(user(asked), reply())
    return await peer.until("response.done")


def test_a_cancel_closes_the_upstream_request() -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def respond(request: CompletionRequest) -> None:
            if request.body["messages"][-1]["content"] == "go on":
                said = [line.get("content") for line in request.body["messages"]]
                assert said == ["long", "Once ", "go on"]
                await request.stream(delta("stop", content="on"))
                return
            await request.write(OPENING, event(delta(content="Once ")))
            await request.wait_closed()
            closed.set()
            request.close()

        async with serve_upstream(respond) as url, ready(url) as peer:
            await peer.send(user("long"), reply())
            await peer.until("response.output_text.delta")
            await peer.send({"type": "response.cancel"})
            ended = (await peer.until("response.done"))[-1]["response"]
            assert ended["status"] == "cancelled"
            await asyncio.wait_for(closed.wait(), 20)
            assert text_of(await turn(peer, "go on")) == "on"

    asyncio.run(main())


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_disconnect_closes_the_upstream_request(has_begun: bool) -> None:
    async def main() -> None:
        requested, closed = asyncio.Event(), asyncio.Event()

        async def respond(request: CompletionRequest) -> None:
            if has_begun:
                await request.write(OPENING, event(delta(content="Once ")))
            requested.set()
            await request.wait_closed()
            closed.set()
            request.close()

        async with serve_upstream(respond) as url:
            async with ready(url) as peer:
                await peer.send(user("long"), reply())
                await asyncio.wait_for(requested.wait(), 20)
            await asyncio.wait_for(closed.wait(), 20)

    asyncio.run(main())


def test_a_failed_response_does_not_change_the_session() -> None:
    async def main() -> None:
        async def respond(request: CompletionRequest) -> None:
            if len(request.body["messages"]) == 1:
                await request.write(http("503 Busy", error_body("Busy."), "Retry-After: 2"))
            else:
                await request.stream(delta("length", content="He"), USAGE)

        async with serve_upstream(respond) as url, ready(url) as peer:
            failed = (await turn(peer, "hi"))[-1]["response"]
            assert (failed["status"], failed["output"], failed["usage"]) == ("failed", [], None)
            assert failed["status_details"]["error"] == {
                "type": "server_error",
                "code": "upstream_error",
                "message": "The upstream returned HTTP 503: Busy. Please try again in 2s.",
            }
            short = (await turn(peer, "again"))[-1]["response"]
            assert short["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
            assert short["usage"]["input_token_details"]["cached_tokens"] == 16

    asyncio.run(main())


def test_two_tool_calls_and_their_outputs() -> None:
    asked_for: list[dict[str, Any]] = []

    async def respond(request: CompletionRequest) -> None:
        asked_for.append(request.body)
        if len(asked_for) == 1:
            await request.stream(
                call(0, '{"city": "Oslo"}', id="a", name="f"),
                call(1, '{"city": "Rome"}', id="b", name="f"),
                delta("tool_calls"),
            )
        else:
            await request.stream(delta("stop", content="Both."))

    async def main() -> None:
        function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
        async with serve_upstream(respond) as url, ready(url) as peer:
            await peer.send(configure(tools=[function], instructions="Be brief."))
            calls = (await turn(peer, "weather"))[-1]["response"]["output"]
            for number, made in enumerate(calls):
                kind = {"type": "function_call_output", "call_id": made["call_id"]}
                item = {**kind, "output": f"{number} degrees"}
                await peer.send({"type": "conversation.item.create", "item": item})
            await peer.send(reply())
            assert text_of(await peer.until("response.done")) == "Both."

    asyncio.run(main())
    first, second = asked_for
    opening = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather"},
    ]
    described = {"name": "f", "description": "", "parameters": {"type": "object"}}
    assert first["messages"] == opening
    assert first["tools"] == second["tools"] == [{"type": "function", "function": described}]
    calls = [a_call("a", '{"city": "Oslo"}'), a_call("b", '{"city": "Rome"}')]
    assert second["messages"] == [
        *opening,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "0 degrees"},
        {"role": "tool", "tool_call_id": "b", "content": "1 degrees"},
    ]


def test_fifty_concurrent_sessions_are_independent() -> None:
    many, turns = 50, 3

    async def main() -> None:
        together = asyncio.Barrier(many)

        async def respond(request: CompletionRequest) -> None:
            said = [line["content"] for line in request.body["messages"]]
            await request.write(OPENING, event(delta(content=f"{len(said)} ")))
            await together.wait()  # all requests are active at once
            await request.write(event(delta("stop", content=said[-1])), data("[DONE]"), CLOSING)

        async def talk(url: str, number: int) -> None:
            async with ready(url) as peer:
                for index in range(turns):
                    asked = f"{number} {index}"
                    heard = text_of(await turn(peer, asked))
                    assert heard == f"{2 * index + 1} {asked}"

        async with (
            serve_upstream(respond) as url,
            asyncio.TaskGroup() as group,
        ):
            for number in range(many):
                group.create_task(talk(url, number))

    asyncio.run(main())


# ----------------------------------------------------------------------------- third-party servers


@pytest.fixture(scope="session")
def aimock_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of aimock's chat completions."""
    weather = {"name": "weather", "arguments": '{"city": "Oslo"}', "id": "call_1"}
    fixtures: list[object] = [
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi, scripted."}},
        {
            "match": {"userMessage": "slow"},
            "response": {"content": "One word at a time, for a long while. " * 20},
            "latency": 50,
            "chunkSize": 4,
        },
        {
            "match": {"userMessage": "boom"},
            "response": {
                "error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"},
                "status": 429,
            },
        },
        {
            "match": {"userMessage": "cut"},
            "response": {"content": "This will be cut off before its end."},
            "latency": 50,
            "chunkSize": 5,
            "disconnectAfterMs": 170,
        },
        {
            "match": {"userMessage": "Weather", "hasToolResult": False},
            "response": {"toolCalls": [weather]},
            "chunkSize": 5,
        },
        {"match": {"hasToolResult": True}, "response": {"content": "It is sunny."}},
    ]
    program = aimock.installed(tmp_path_factory.mktemp("aimock"))
    with aimock.running(program, fixtures, tmp_path_factory.mktemp("fixtures"), KEY) as url:
        yield url.replace("ws://", "http://").removesuffix("/realtime")


def test_aimock_through_the_official_client(aimock_api: str) -> None:
    async def main() -> None:
        async with connect_upstream(upstream(aimock_api, "gpt", KEY)) as engine:
            async with talking(engine) as connection:
                await ask(connection, "hello")
                assert text(await until(connection, "response.done")) == "Hi, scripted."
                await ask(connection, "boom")
                failed = done(await until(connection, "response.done"))
                assert failed.status_details is not None
                assert failed.status_details.error is not None
                assert failed.status_details.error.code == "rate_limit_exceeded"
                await ask(connection, "slow")
                await until(connection, "response.output_text.delta")
                await connection.response.cancel()
                assert done(await until(connection, "response.done")).status == "cancelled"
                await ask(connection, "cut")
                cut = await until(connection, "response.done")
                assert done(cut).status == "failed"
                assert "This will be cut off before its end.".startswith(text(cut))
            async with talking(engine) as connection:
                assert await hold_tool_round(connection, "sunny") == "It is sunny."

    asyncio.run(main())


def test_a_wrong_key_for_aimock_fails_the_response(aimock_api: str) -> None:
    async def main() -> list[OutputPiece]:
        async with connect_upstream(upstream(aimock_api, "gpt", "sk-wrong-0123456789")) as engine:
            return [piece async for piece in engine.answer(QUESTION)]

    (finish,) = asyncio.run(main())
    assert isinstance(finish, Finish)
    assert finish.message.startswith("The upstream returned HTTP 401")
    assert "sk-wrong" not in finish.message


_LLAMA = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.api_keys = sys.argv[1], [sys.argv[2]]
params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 4096, 2, False, -1
params.cpuparams.n_threads, params.ui = 1, False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def llama_api(data_home: Path) -> Iterator[str]:
    """The URL of llama.cpp's own server with the built-in model."""
    (gguf,) = data_home.rglob("*.gguf")
    with subprocess.Popen(
        [sys.executable, "-c", _LLAMA, gguf, KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OMP_WAIT_POLICY": "passive"},
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            pytest.skip("llama.cpp's server does not start here")
        yield f"{address}/v1"
        process.kill()


def test_llama_cpp_s_own_server(llama_api: str) -> None:
    async def main() -> None:
        target = upstream(llama_api, "smollm2", KEY)
        async with (
            connect_upstream(target) as engine,
            run_server(engine) as url,
            ready(url) as peer,
        ):
            await peer.send(user("What is the capital of France?"), reply(max_output_tokens=4))
            events = await peer.until("response.done")
            short = events[-1]["response"]
            assert text_of(events)
            assert short["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
            assert short["usage"]["input_tokens"] > 10
            assert short["usage"]["output_tokens"] == 4

            await peer.send(user("Tell me a long story about the sea."), reply())
            await peer.until("response.output_text.delta")
            await peer.send({"type": "response.cancel"})
            stopped = (await peer.until("response.done"))[-1]["response"]
            assert stopped["status"] == "cancelled"

            failed = (await turn(peer, "word " * 5000))[-1]["response"]
            assert failed["status_details"]["error"]["code"] == "context_length_exceeded"

    asyncio.run(main())


def test_a_wrong_key_for_llama_cpp_fails_the_response(llama_api: str) -> None:
    async def main() -> list[OutputPiece]:
        async with connect_upstream(upstream(llama_api, "smollm2", "sk-wrong")) as engine:
            return [piece async for piece in engine.answer(QUESTION)]

    assert asyncio.run(main()) == [failure("The upstream returned HTTP 401: Invalid API Key.")]
