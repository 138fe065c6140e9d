"""`talk --voice` with a loudspeaker in a room: the microphone captures what the speaker plays.

A private sound server, and real speech: hibari speaks, Whisper transcribes. Simulated rooms are in
`test_echo_canceller`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.server.local_voice import LocalVoice, missing
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.soundserver import SoundServer, sound_server
from tests.terminal import PROMPT, Terminal

pytestmark = [pytest.mark.full, pytest.mark.alone]

if missing():
    pytest.skip(f"the extra voice-local is not installed: {missing()}", allow_module_level=True)

VOICE = LocalVoice()
SHORT = "It is noon, and all is well."
STORY = (  # about 18 s
    "Once upon a time there was a small village at the foot of a mountain. "
    "An old clockmaker lived in that village, who had never been seen without his hat. "
    "Every evening he wound the big clock in the tower, and the children listened to its bells. "
    "One day a stranger came, and asked him for the time, but the clockmaker did not know it."
)
LAST = "All right."
SCRIPT: dict[str, object] = {
    "rule": [
        {"match": "stop", "text": LAST},
        {"match": "story", "text": STORY},
        {"match": "time", "text": SHORT},
        {"text": "What did you say? I did not understand it."},
    ],
}


@pytest.fixture(scope="module")
def sound() -> Iterator[SoundServer]:
    pytest.importorskip("pywebrtc_audio")
    with sound_server() as server:
        yield server


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    engine = ScriptEngine(read_script(SCRIPT))
    with background(lambda: run_server(engine, voice=VOICE)) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def speech(text: str) -> bytes:
    async def speak() -> bytes:
        return b"".join([piece async for piece in VOICE.speak(text)])

    return asyncio.run(speak())


def received(program: Program, kind: str) -> list[dict[str, object]]:
    """The events of a type that the server sent."""
    lines = (program.home / "trace.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    events = [event["data"] for event in map(json.loads, lines)]
    return [event for event in events if event.get("type") == kind]


def is_playing(audio: bytes) -> bool:
    """Whether a story has been played for two seconds."""
    return len(audio.lstrip(b"\0")) > 2 * 48_000


@pytest.mark.parametrize("db", [-6, -20, -30])
@pytest.mark.parametrize("delay_ms", [60, 200])
def test_a_question_gets_one_reply_and_stop_is_understood_during_it(
    program: Program, sound: SoundServer, db: int, delay_ms: int
) -> None:
    time, story, stop = map(speech, ("What time is it?", "Tell me a story.", "Stop, please stop."))
    with sound.room(db, delay_ms):
        options = ["--voice", "-v", "--trace", "trace.jsonl"]
        terminal = Terminal(program, options, sound.environ)
        terminal.shows("connected in", "listening")
        with sound.record() as speaker:
            sound.says(time, program.home)
            terminal.shows(SHORT, "first token")
            speaker.waits(lambda audio: any(audio) and not any(audio[-96_000:]))
        with sound.record() as speaker:
            sound.says(story, program.home)
            speaker.waits(is_playing)
            sound.says(stop, program.home)
            terminal.shows(LAST, "first token")
            speaker.waits(lambda audio: any(audio) and not any(audio[-96_000:]))
        terminal.shows(LAST, "first token", PROMPT)
        terminal.types("\x04")
        assert terminal.ends() == 0
    replies = received(program, "response.created")
    heard = [
        str(event["transcript"])
        for event in received(program, "conversation.item.input_audio_transcription.completed")
    ]
    assert len(replies) == 3, heard
    assert any("stop" in words.lower() for words in heard), heard
    assert received(program, "conversation.item.truncated")
