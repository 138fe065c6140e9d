"""A conversation with Hugging Face's speech-to-speech server: a Realtime server we did not write.

It is installed lean, without speech: text in, text out, and behind it, as its model, aimock. The
tests are skipped, with the reason, where the two cannot be installed.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import aimock, pypi
from tests.program import Program, listening
from tests.terminal import PROMPT, Terminal

pytestmark = pytest.mark.full

RELEASE = "speech-to-speech==1.1.0"
NEEDS = (
    *("fastapi", "httpx", "jsonschema", "nltk", "numpy", "openai==2.28.0", "pillow", "pydantic"),
    *("requests", "rich", "scipy", "soxr", "uvicorn", "websockets"),
)
"""What it needs for text. Its own list has torch, and models for speech, too: gigabytes."""
LAUNCHER = '''
"""Its server and its pipeline of threads, with nothing where speech would be recognised."""
import sys
from queue import Queue
from threading import Event

from speech_to_speech import backend_registry as registry
from speech_to_speech.LLM.lm_output_processor import LMOutputProcessor
from speech_to_speech.api.openai_realtime.pipeline_unit import PipelineUnit
from speech_to_speech.api.openai_realtime.server import RealtimeServer
from speech_to_speech.api.openai_realtime.service import RealtimeService
from speech_to_speech.baseHandler import BaseHandler
from speech_to_speech.pipeline.cancel_scope import CancelScope
from speech_to_speech.pipeline.speculative_turns import SpeculativeTurnTracker
from speech_to_speech.pipeline.turn_latency import TurnLatencyStore
from speech_to_speech.utils.thread_manager import ThreadManager


class Deaf(BaseHandler):
    def process(self, item):
        return iter(())


def backend(table, name, **settings):
    spec = table[name]
    config = spec.config_type()
    for key, setting in settings.items():
        setattr(config, key, setting)
    return registry.BackendSelection(spec, spec.normalize(config))


def pipeline(index, model, stop):
    heard, prompts, answers, processed, audio, texts = (Queue() for _ in range(6))
    listening, playing, cancels = Event(), Event(), CancelScope()
    turns, latencies = SpeculativeTurnTracker(), TurnLatencyStore()

    def stage(selection, source, sink):
        context = registry.HandlerContext(
            stop_event=stop, queue_in=source, queue_out=sink, text_output_queue=texts,
            should_listen=listening, cancel_scope=cancels, speculative_turns=turns,
            pipeline_index=index, sample_rate=16000, enable_live_transcription=False,
            live_transcription_update_interval=0.5,
        )
        return registry.create_backend_handler(selection, context)

    chat = backend(
        registry.LLM_BACKENDS, "chat-completions", model_name="any", responses_api_base_url=model,
        responses_api_api_key="none", responses_api_stream=True,
    )
    voice = backend(registry.TTS_BACKENDS, "openai", openai_tts_base_url=model)
    between = {"speculative_turns": turns, "text_output_queue": texts}
    handlers = [
        Deaf(stop, queue_in=heard, queue_out=prompts),
        stage(chat, prompts, answers),
        LMOutputProcessor(stop, queue_in=answers, queue_out=processed, setup_kwargs=between),
        stage(voice, processed, audio),
    ]
    for handler in handlers:
        handler.pipeline_index, handler.turn_latency_store = index, latencies
    service = RealtimeService(
        text_prompt_queue=prompts, should_listen=listening, chat_size=50, speculative_turns=turns,
        turn_latency_store=latencies, default_instructions="Answer.",
    )
    return PipelineUnit(
        index=index, service=service, cancel_scope=cancels, should_listen=listening,
        response_playing=playing, input_queue=heard, output_queue=audio, text_output_queue=texts,
        text_prompt_queue=prompts, handlers=handlers,
    )


stop = Event()
pool = [pipeline(index, sys.argv[1], stop) for index in range(2)]
threads = ThreadManager([handler for unit in pool for handler in unit.handlers])
threads.start()
RealtimeServer(stop_event=stop, pool=pool, host="127.0.0.1", port=0).run()
'''
LONG = " ".join(f"word{number}" for number in range(400))
FIXTURES: list[object] = [
    {  # it tries its voice before it serves
        "match": {"endpoint": "speech"},
        "response": {"audio": b64encode(bytes(4800)).decode(), "format": "pcm"},
    },
    # Before the slow one: of a reply that was stopped it keeps nothing, and hands on both questions
    # as if they were one.
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello, you."}},
    {"match": {"userMessage": "slow"}, "response": {"content": LONG}, "latency": 30},
    {
        "match": {"userMessage": "weather", "hasToolResult": False},
        "response": {"toolCalls": [{"name": "weather", "arguments": '{"city": "Oslo"}'}]},
    },
    {"match": {"userMessage": "weather"}, "response": {"content": "It is sunny in Oslo."}},
    {"match": {}, "response": {"content": "I do not know: ask äöü €."}},
]

# --------------------------------------------------------------------------------------- the server


@contextmanager
def running(python: Path, model: str, folder: Path) -> Iterator[str]:
    """The server in front of a model; gives its URL."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "OPENAI_API_KEY": "none"}
    command: list[str | Path] = [python, "-c", LAUNCHER, model]
    with listening(command, r"running on http://(\S+)", environ, cwd=folder) as place:
        yield f"ws://{place}/v1/realtime"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("speech-to-speech")
    npm = aimock.installed(folder)
    python = pypi.installed(folder, *NEEDS, without_dependencies=RELEASE)
    with (
        aimock.running(npm, FIXTURES, folder, "none") as mock,
        running(python, mock.replace("ws:", "http:").removesuffix("/realtime"), folder) as where,
    ):
        yield where


@pytest.fixture
def program(url: str, tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.environ |= {"RTCHAT_PROFILE": "hf", "RTCHAT_URL": url}
    tool = 'def weather(city: str) -> str:\n    """The weather."""\n    return f"sunny in {city}"\n'
    (tmp_path / "tools.py").write_text(tool, encoding="utf-8")
    return program


def events(trace: Path, direction: str, kind: str) -> list[dict[str, object]]:
    """The recorded events that went one way and are of this type."""
    lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    events = [line["data"] for line in lines if line.get("direction") == direction]
    return [event for event in events if event["type"] == kind]


# ---------------------------------------------------------------------------------------- the tests


def test_a_conversation_of_several_turns(program: Program) -> None:
    ran = program.run("talk", "-q", "--json", stdin="hello\nand what is äöü €?\nhello\n".encode())
    replies = [json.loads(line) for line in ran.text.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert [(reply["text"], reply["status"]) for reply in replies] == [
        ("Hello, you.", "completed"),
        ("I do not know: ask äöü €.", "completed"),
        ("Hello, you.", "completed"),
    ]
    # The server counts what it tells its model: each question comes with all that was said before.
    first, second, third = (reply["usage"]["input_tokens"] for reply in replies)
    assert 0 < first < second < third
    assert len({reply["conversation_id"] for reply in replies}) == 1


def test_a_kept_conversation_goes_on(program: Program) -> None:
    alone = json.loads(program.run("once", "-q", "--json", "hello").text)
    ran = program.run("once", "-q", "--json", "--continue", "hello")
    again = json.loads(ran.text)
    assert (ran.code, again["text"]) == (0, "Hello, you.")
    assert again["usage"]["input_tokens"] > alone["usage"]["input_tokens"]


def test_a_tool_round(program: Program) -> None:
    allowed = ("--tools", "tools.py", "--allow-tool", "weather", "--trace", "trace")
    ran = program.run("talk", "-q", "--json", *allowed, stdin=b"hello\nweather?\nhello\n")
    replies = [json.loads(line) for line in ran.text.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    texts = [reply["text"] for reply in replies]
    assert texts == ["Hello, you.", "It is sunny in Oslo.", "Hello, you."]
    assert [len(reply["tool_calls"]) for reply in replies] == [0, 1, 0]
    (call,) = replies[1]["tool_calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Oslo"})
    sent = events(program.home / "trace", "sent", "conversation.item.create")
    outputs = [event["item"] for event in sent if "call_id" in event["item"]]  # type: ignore[operator] # JSON
    assert outputs == [
        {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny in Oslo"}
    ]


def test_a_reply_is_stopped_and_the_next_question_answered(program: Program) -> None:
    terminal = Terminal(program, ["--trace", "trace"], {})
    terminal.shows(PROMPT)
    terminal.types("slow\r")
    terminal.shows("word1")
    terminal.types("\x03")
    terminal.shows("interrupted", PROMPT)
    terminal.types("hello\r")
    lines = terminal.shows("interrupted", "Hello, you.", "first token", PROMPT)
    assert not any("word399" in line for line in lines)
    terminal.types("\x04")
    assert terminal.ends() == 0
    trace = program.home / "trace"
    assert len(events(trace, "sent", "response.cancel")) == 1
    ends = [event["response"]["status"] for event in events(trace, "received", "response.done")]  # type: ignore[index] # JSON
    assert ends == ["cancelled", "completed"]
    assert events(trace, "received", "error") == []
