"""The built-in model: its prompts (with a small fake model), and the real model."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtchat.core.errors import UsageError
from rtchat.core.values import Item, Message, Part, Role, Status, Usage
from rtchat.server.engine import Finish, ModelInput, OutputPiece
from rtchat.server.factory import open_engine
from rtchat.server.llama import (
    SMOLLM2,
    LlamaEngine,
    ModelConfig,
    load_model,
    plain_config,
    recent_turns,
)
from rtchat.server.llama_chunks import read_chunk
from rtchat.server.sockets import run_server
from tests.loopback import ready, reply, text_of, user

TIMINGS = {"cache_n": 3, "prompt_n": 4, "predicted_n": 2}
USAGE = Usage(7, 3, 2, 9)
TOO_LONG = Finish(Status.INCOMPLETE, "max_output_tokens", usage=USAGE)


def text_message(text: str, role: Role = "user") -> Message:
    return Message(role, (Part("text", text),))


class FakeModel:
    """A runtime that answers with the words of the question, with a context of `room` words."""

    def __init__(self, context: int = 10**6) -> None:
        self.context = context
        self.requests: list[dict[str, Any]] = []
        self.turn = threading.Semaphore(10**6)
        self.is_busy = threading.Event()

    def handle_chat_completions(
        self, request: dict[str, Any], emit: Callable[[dict[str, object]], bool]
    ) -> object:
        self.requests.append(request)
        chat = request["messages"]
        size = sum(len(line["content"].split()) for line in chat)
        if size > self.context:
            error = {
                "type": "exceed_context_size_error",
                "n_prompt_tokens": size,
                "n_ctx": self.context,
            }
            emit({"error": error})
            return None
        words = chat[-1]["content"].split()
        for word in words[: request["max_tokens"]]:
            self.is_busy.set()
            self.turn.acquire()
            choices = [{"finish_reason": None, "delta": {"content": word}}]
            timings = TIMINGS if request["timings_per_token"] else {}
            if emit({"choices": choices, "timings": timings}):
                return None
        reason = "length" if len(words) > request["max_tokens"] else "stop"
        emit({"choices": [{"finish_reason": reason, "delta": {}}], "timings": TIMINGS})
        return None

    @property
    def asked(self) -> list[list[str]]:
        """The conversation of each request, without the opening."""
        return [[line["content"] for line in request["messages"][1:]] for request in self.requests]


PLAIN = ModelConfig("m", context=1000, budget=400, max_tokens=100, sampling={"temperature": 0})


def with_engine(
    model: FakeModel,
    check: Callable[[LlamaEngine], Awaitable[None]],
    config: ModelConfig = PLAIN,
) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as worker:
            await check(LlamaEngine(model, config, worker))

    asyncio.run(main())


async def collect(
    engine: LlamaEngine, *items: Item, most: int | None = None, is_spoken: bool = False
) -> list[OutputPiece]:
    prompt = ModelInput("Be brief.", items, most, is_spoken=is_spoken)
    return [piece async for piece in engine.answer(prompt)]


def ask(
    model: FakeModel,
    *items: Item,
    most: int | None = None,
    is_spoken: bool = False,
    config: ModelConfig = PLAIN,
) -> list[OutputPiece]:
    pieces: list[OutputPiece] = []

    async def check(engine: LlamaEngine) -> None:
        pieces.extend(await collect(engine, *items, most=most, is_spoken=is_spoken))

    with_engine(model, check, config)
    return pieces


def test_a_question_is_answered_with_its_usage() -> None:
    model = FakeModel()
    assert ask(model, text_message("one two")) == ["one", "two", Finish(usage=USAGE)]
    assert model.requests == [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "one two"},
            ],
            "stream": True,
            "timings_per_token": True,
            "max_tokens": 100,
            "temperature": 0,
        }
    ]


def test_a_prompt_is_processed_in_advance() -> None:
    model = FakeModel()
    items = [text_message("one two"), text_message("Two.", "assistant"), text_message("three")]

    async def check(engine: LlamaEngine) -> None:
        engine.prepare(ModelInput("Be brief.", items))
        assert await collect(engine, *items) == ["three", Finish(usage=USAGE)]

    with_engine(model, check)
    prepared, answered = model.requests
    assert prepared == {"messages": answered["messages"], "max_tokens": 1}


def test_only_the_last_prompt_is_processed_in_advance() -> None:
    model = FakeModel()
    model.turn = threading.Semaphore(0)

    async def check(engine: LlamaEngine) -> None:
        answer = asyncio.create_task(collect(engine, text_message("one")))
        await asyncio.to_thread(model.is_busy.wait)
        for text in ("a", "b"):
            engine.prepare(ModelInput("Be brief.", [text_message(text)]))
        engine.prepare(ModelInput("Be brief.", [text_message("c")]))
        model.turn.release(10)
        await answer
        await collect(engine)

    with_engine(model, check)
    assert model.asked[:2] == [["one"], ["c"]]


def test_a_prompt_that_is_too_long_is_not_processed_in_advance() -> None:
    model = FakeModel()

    async def check(engine: LlamaEngine) -> None:
        engine.prepare(ModelInput("Be brief.", [text_message("x" * 40_000)]))
        await collect(engine, text_message("one"))

    with_engine(model, check)
    assert model.asked == [["one"]]


def test_a_limit_makes_the_response_incomplete() -> None:
    assert ask(FakeModel(), text_message("one two"), most=1) == ["one", TOO_LONG]


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (
            "one. two three 4. five. six",
            ["one.", "two", "three", "4.", "five.", Finish(usage=USAGE)],
        ),
        ("a b", ["a", "b", Finish(usage=USAGE)]),
        ("one two three four five six", ["one", "two", "three", "four", "five", TOO_LONG]),
    ],
)
def test_a_spoken_answer_ends_with_a_sentence(text: str, spoken: list[OutputPiece]) -> None:
    config = replace(PLAIN, max_spoken_tokens=5)
    assert ask(FakeModel(), text_message(text), is_spoken=True, config=config) == spoken
    written = [*text.split(), Finish(usage=USAGE)]
    assert ask(FakeModel(), text_message(text), config=config) == written
    assert ask(FakeModel(), text_message(text), is_spoken=True) == written


def test_the_examples_come_first_and_are_warmed_up() -> None:
    model = FakeModel()

    async def check(engine: LlamaEngine) -> None:
        engine.warm_up()
        await collect(engine, text_message("hi"))

    with_engine(model, check, SMOLLM2)
    warm, asked = (request["messages"] for request in model.requests)
    assert [line["role"] for line in warm] == ["system", *["user", "assistant"] * 3, "user"]
    assert asked[1:-1] == warm[1:-1]
    assert asked[-1] == {"role": "user", "content": "hi"}


def test_a_user_s_own_model_gets_no_examples() -> None:
    config = plain_config(Path("models/big.gguf"))
    assert (config.model, config.examples, config.sampling) == ("big", (), {})


def test_the_oldest_turns_are_dropped_and_then_the_beginning_is_stable() -> None:
    turns = [[{"role": "user", "content": f"{n:02}" + "x" * 88}] for n in range(13)]
    kept = [
        [turn[0]["content"][:2] for turn in recent_turns(turns[:n], 400)] for n in range(11, 14)
    ]
    assert [(first[0], first[-1]) for first in kept] == [
        ("00", "10"),
        ("00", "11"),
        ("07", "12"),
    ]


def test_a_long_question_shortens_the_history() -> None:
    turns = [[{"role": "user", "content": f"{n:02}" + "x" * 88}] for n in range(11)]
    long = [{"role": "user", "content": "x" * 700}]
    assert recent_turns([*turns, long], 400) == [*turns[6:], long]


def test_a_shortened_history_is_processed_before_the_next_question() -> None:
    model = FakeModel()
    roles: tuple[Role, Role] = "user", "assistant"
    lines = [text_message(char * 90, roles[n % 2]) for n, char in enumerate("0123456789a")]
    ask(model, *lines)
    first_answer = text_message("a" * 90, "assistant")
    ask(model, *lines, first_answer, text_message("next"))
    first, ahead, asked = model.asked
    assert [chat[0][0] for chat in (first, ahead, asked)] == ["0", "8", "8"]
    assert (ahead[:-1], model.requests[1]["max_tokens"]) == (asked[:-1], 1)


def test_the_last_turn_is_kept_whatever_its_length() -> None:
    turn = [{"role": "user", "content": "x" * 10_000}]
    assert recent_turns([turn], 400) == [turn]


def test_more_turns_are_dropped_if_the_prompt_does_not_fit() -> None:
    model = FakeModel(context=8)
    items = [
        item
        for n in range(4)
        for item in (text_message(f"q{n} a b"), text_message(f"a{n}", "assistant"))
    ]
    pieces = ask(model, *items[:-1])
    assert pieces[-1] == Finish(usage=Usage(7, 3, 2, 9))
    assert model.asked[0][0] == "q0 a b"
    assert model.asked[-1] == ["q3 a b"]


def test_a_question_longer_than_the_context_fails() -> None:
    (finish,) = ask(FakeModel(context=5), text_message("a " * 50))
    assert isinstance(finish, Finish)
    assert (finish.status, finish.code) == (Status.FAILED, "context_length_exceeded")
    assert "52" in finish.message
    assert "5 tokens" in finish.message


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_input_other_than_text_fails(kind: Any) -> None:
    (finish,) = ask(FakeModel(), Message("user", (Part("text", "this?"), Part(kind, data="x"))))
    assert isinstance(finish, Finish)
    assert (finish.status, finish.code) == (Status.FAILED, f"{kind}_not_supported")


def test_a_runtime_exception_fails_the_response() -> None:
    class Broken(FakeModel):
        def handle_chat_completions(self, request: Any, emit: Any) -> object:
            raise RuntimeError("out of memory")

    assert ask(Broken(), text_message("hi")) == [
        Finish(Status.FAILED, code="server_error", message="The model failed: out of memory.")
    ]


def test_a_runtime_error_fails_the_response() -> None:
    text, end = read_chunk({"error": {"type": "server_error", "message": "bad template"}})
    assert (text, end) == (
        "",
        Finish(Status.FAILED, code="server_error", message="The model failed: bad template."),
    )


def test_chunks_without_text_are_ignored() -> None:
    chunks: Sequence[dict[str, object]] = [
        {},
        {"choices": []},
        {"choices": [{"finish_reason": None, "delta": {"role": "assistant", "content": None}}]},
    ]
    assert [read_chunk(chunk) for chunk in chunks] == [("", None)] * 3


def test_a_cancelled_answer_stops_and_the_next_request_is_answered() -> None:
    model = FakeModel()
    model.turn = threading.Semaphore(1)

    async def check(engine: LlamaEngine) -> None:
        first = engine.answer(ModelInput("", (text_message("one two three"),)))
        assert await anext(first) == "one"
        waiting = [
            asyncio.ensure_future(collect(engine, text_message(text))) for text in ("b", "c")
        ]
        await asyncio.to_thread(model.is_busy.wait)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        await first.aclose()
        for _ in range(2):  # one to discard the history, one for the last question
            model.turn.release()
        assert (await waiting[1])[0] == "c"

    with_engine(model, check)
    assert [chat[-1] for chat in model.asked] == ["one two three", "c"]


# ----------------------------------------------------------------------------------------- loading


@pytest.mark.parametrize(
    ("contents", "message"), [(None, "cannot read"), (b"text", "is not a model")]
)
def test_a_file_that_is_not_a_model_is_a_usage_error(
    tmp_path: Path, contents: bytes | None, message: str
) -> None:
    path = tmp_path / "a.gguf"
    if contents is not None:
        path.write_bytes(contents)

    async def main() -> None:
        async with load_model(path, PLAIN, environ={}):
            pass

    with pytest.raises(UsageError, match=message):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "gguf", "message"),
    [
        ("oracle", None, "'oracle'"),
        ("upstream", None, "upstream needs a URL"),
        ("echo", Path("a.gguf"), "--gguf .* local"),
        ("local", Path("nowhere.gguf"), "nowhere.gguf"),
        ("script:nowhere.toml", None, "nowhere.toml"),
    ],
)
def test_an_unavailable_engine_is_a_usage_error(
    tmp_path: Path, name: str, gguf: Path | None, message: str
) -> None:
    async def main() -> None:
        async with open_engine(name, data_dir=tmp_path, environ={}, gguf=gguf):
            pass

    with pytest.raises(UsageError, match=message):
        asyncio.run(main())


def test_an_engine_is_opened_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('model = "mine"', encoding="utf-8")

    async def main() -> list[str]:
        models = []
        for name in ("echo", f"script:{path}"):
            async with open_engine(name, data_dir=tmp_path, environ={}) as engine:
                models.append(engine.model)
        return models

    assert asyncio.run(main()) == ["echo", "mine"]


# ---------------------------------------------------------------------------------------- for real

HAS_RUNTIME = importlib.util.find_spec("xllamacpp") is not None


@pytest.mark.skipif(not HAS_RUNTIME, reason="xllamacpp is not installed")
def test_a_damaged_model_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"GGUF" + bytes(100))

    async def main() -> None:
        async with load_model(path, PLAIN, environ={}):
            pass

    with pytest.raises(UsageError, match="cannot load the model"):
        asyncio.run(main())


def test_a_conversation_with_the_real_model(
    data_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = {"LANG": "C"}

    async def main() -> None:
        async with (
            open_engine("local", data_dir=data_home / "rtchat", environ=environ) as engine,
            run_server(engine) as url,
            ready(url) as peer,
        ):
            await peer.send(user("What is the capital of France?"), reply())
            first = await peer.until("response.done")
            assert "Paris" in text_of(first)
            usage = first[-1]["response"]["usage"]
            assert usage["input_tokens"] > usage["input_token_details"]["cached_tokens"] > 0
            assert usage["output_tokens"] > 0

            await peer.send(user("Tell me a long story about the sea."), reply())
            await peer.until("response.output_text.delta")
            await peer.send({"type": "response.cancel"})
            stopped = await peer.until("response.done")
            assert stopped[-1]["response"]["status"] == "cancelled"

            await peer.send(user("Tell me another."), reply(max_output_tokens=3))
            short = await peer.until("response.done")
            assert short[-1]["response"]["status_details"]["reason"] == "max_output_tokens"
            assert short[-1]["response"]["usage"]["output_tokens"] == 3

            await peer.send(user("word " * 4000), reply(conversation="none"))
            failed = (await peer.until("response.done"))[-1]["response"]
            assert failed["status_details"]["error"]["code"] == "context_length_exceeded"

    asyncio.run(main())
    assert environ["OMP_WAIT_POLICY"] == "passive"
    assert capfd.readouterr() == ("", "")
