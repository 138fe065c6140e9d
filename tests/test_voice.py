"""`talk --voice` with a private sound server: speech is played into its microphone, and its speaker
is recorded. Also: what happens without audio devices.

Skipped if no such server can run. The prompt in voice mode is in `test_voice_terminal`.
"""

from __future__ import annotations

import asyncio
import json
import re
from array import array
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rtchat.core.values import BYTES_A_MS
from rtchat.server.tone_voice import CHARACTER_MS
from tests.program import Program, background
from tests.script_server import scripted_server
from tests.sounds import QUIET, SECOND, tone, transcript_of, trim_silence, wav_audio
from tests.soundserver import SoundServer, sound_server
from tests.terminal import PROMPT, Terminal
from tests.test_recorded_servers import playing
from tests.test_recordings import read

SHORT = "It is noon. All is well."
SHORT_MS = (len(SHORT) - 1) * CHARACTER_MS
"""The text that is hummed: two sentences without a space between them."""
STORY = "Once upon a time. " * 20
LAST = "I see."
SCRIPT: dict[str, object] = {
    "heard": ["What is the time?", "Tell me a story.", "Stop."],
    "rule": [
        {"match": "time", "text": SHORT},
        {"match": "story", "text": STORY},
        {"text": LAST},
    ],
}


@pytest.fixture(scope="module")
def sound() -> Iterator[SoundServer]:
    with sound_server() as server:
        yield server


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    with scripted_server(SCRIPT) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@contextmanager
def talking(program: Program, sound: SoundServer, *options: str) -> Iterator[Terminal]:
    """A voice conversation in a terminal."""
    terminal = Terminal(program, ["--voice", "-v", *options], sound.environ)
    try:
        terminal.shows("connected in", "listening")
        yield terminal
        terminal.shows("connected in", PROMPT)  # no reply is pending
    finally:
        terminal.types("\x15\x04")
        code = terminal.ends()
    assert code == 0


def sounds_for(audio: bytes) -> float:
    """Milliseconds of audio that are not silent. On a busy machine there may be gaps."""
    return sum(map(any, pairwise(array("h", audio)))) * 2 / BYTES_A_MS


def is_over(audio: bytes) -> bool:
    """Whether something was played, followed by half a second of silence."""
    return bool(trim_silence(audio, above=QUIET)) and not trim_silence(
        audio[-SECOND // 2 :], above=QUIET
    )


def is_short(audio: bytes) -> bool:
    """Whether `SHORT` was played, followed by silence."""
    return is_over(audio) and sounds_for(audio) > SHORT_MS - 150


def test_a_spoken_question_is_answered_in_audio_and_text(
    program: Program, sound: SoundServer
) -> None:
    with sound.record() as speaker, talking(program, sound) as terminal:
        terminal.types("half a thought")
        sound.says(tone(440, 1.0), program.home)
        lines = terminal.shows("What is the time?", SHORT, "first token", "half a thought")
        recorded = speaker.waits(is_short)
    assert [line for line in lines if SHORT in line] == [SHORT]
    assert sounds_for(recorded) == pytest.approx(SHORT_MS, abs=150)
    counts = r"audio: \d+ speaker underruns, \d+ microphone overruns"
    assert re.search(counts, "\n".join(terminal.lines()))  # `test_devices` checks which


@pytest.mark.parametrize(
    "format", ["audio/pcm", pytest.param("audio/pcmu", marks=pytest.mark.full)]
)
def test_speech_interrupts_a_reply_and_truncates_it_on_the_server(
    program: Program, sound: SoundServer, format: str
) -> None:
    formats = [f"--set=audio.{way}.format.type={format}" for way in ("input", "output")]
    options = ("--trace", "trace.jsonl", *formats)
    with sound.record() as speaker, talking(program, sound, *options) as terminal:
        sound.says(tone(440, 1.0), program.home)
        terminal.shows(SHORT)
        speaker.waits(is_short)
        sound.says(tone(440, 1.0), program.home)
        terminal.shows("Tell me a story.")
        speaker.waits(lambda audio: not is_over(audio))
        sound.says(tone(880, 1.0), program.home)
        terminal.shows("Stop.", LAST, "first token")
        written = (program.home / "trace.jsonl").read_text(encoding="utf-8")
        lines = written[: written.rindex("\n")].splitlines()[1:]  # the program writes more
        sent = [event["data"] for event in map(json.loads, lines) if event["direction"] == "sent"]
        (cut,) = (event for event in sent if event["type"] == "conversation.item.truncate")
        said = SHORT_MS + cut["audio_end_ms"] + len(LAST) * CHARACTER_MS
        recorded = speaker.waits(lambda audio: is_over(audio) and sounds_for(audio) > said - 150)
    assert sounds_for(recorded) == pytest.approx(said, abs=150)
    # tests/bench/duplex.py measures exactly.
    assert cut["audio_end_ms"] < len(STORY) * CHARACTER_MS / 2
    assert "differences: 0" in program.run("replay", "--check", "trace.jsonl").text


def test_without_echo_cancellation_a_microphone_that_picks_up_the_speaker_is_muted(
    program: Program, sound: SoundServer
) -> None:
    echoing = SoundServer(sound.process, sound.environ | {"PULSE_SOURCE": "speaker.monitor"})
    options = ["--voice", "--no-aec", "-v", "--trace", "trace.jsonl"]
    terminal = Terminal(program, options, echoing.environ)
    terminal.shows("connected in", "listening")
    terminal.types("Tell me a story.\r")
    terminal.shows("the microphone was muted because it seems to pick up the speaker", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    lines = (program.home / "trace.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    kinds = [event["data"].get("type") for event in map(json.loads, lines)]
    assert 4 <= kinds.count("response.created") <= 6


def test_push_to_talk_asks_a_question(program: Program, sound: SoundServer) -> None:
    terminal = Terminal(program, ["--voice", "--vad", "off"], sound.environ)
    terminal.shows("connected in", "Ctrl-T to talk")
    terminal.types("\x14")
    terminal.shows("recording")
    sound.says(tone(440, 1.0), program.home)
    terminal.types("\x14")
    terminal.shows("What is the time?", SHORT, "first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_the_microphone_is_transcribed_until_ctrl_c(program: Program, sound: SoundServer) -> None:
    options = ["-v", "--vad", "server"]
    terminal = Terminal(program, options, sound.environ, verb="transcribe")
    terminal.shows("connected in", "listening")
    sound.says(tone(440, 1.0), program.home)
    sound.says(tone(440, 1.0), program.home)
    terminal.shows("What is the time?", "Tell me a story.")
    terminal.types("\x03")
    assert terminal.ends() == 0


@pytest.mark.full
def test_the_text_conversation_survives_a_dead_sound_server(program: Program) -> None:
    with sound_server() as sound:
        terminal = Terminal(program, ["--voice"], sound.environ)
        terminal.shows("connected in", "listening")
        sound.dies()
        terminal.shows("lost the ", "lost the ", PROMPT, "○ no microphone")
        terminal.types("the time?\r")
        lines = terminal.shows("the time?", SHORT, "first token", "○ no microphone")
        terminal.types("\x04")
        assert terminal.ends() == 0
    assert sum(line.startswith("rtchat: ") or "lost the " in line for line in lines) == 2


def test_the_text_conversation_works_without_audio_devices(program: Program) -> None:
    if program.run("devices").code == 0:
        pytest.skip("this machine has a sound device")
    terminal = Terminal(program, ["--voice"], {})
    terminal.shows("connected in", "○ no microphone")
    terminal.types("the time?\r")
    lines = terminal.shows("the time?", SHORT, "first token", "○ no microphone")
    assert any("device" in line or "PortAudio" in line for line in lines)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_a_recorded_session_with_microphone_and_playback(
    tmp_path: Path, sound: SoundServer
) -> None:
    lines = read("openai-audio-in-vad-turn")
    sent: list[dict[str, Any]] = []
    deltas = [data["delta"] for _, data in lines if data["type"] == "response.output_audio.delta"]
    said = b"".join(map(b64decode, deltas))
    program = Program(tmp_path)
    with background(partial(playing, lines, sent)) as url:
        options = ("--url", url, "--audio-out", "said")
        with talking(program, sound, *options) as terminal:
            terminal.shows(
                "Hello, my name is Marcelo.",
                "Hello, Marcelo! Great to meet you. How can I help you today?",
                "gpt-realtime",
            )
    assert said
    assert wav_audio(tmp_path / "said" / "reply-001.wav") == said[: len(said) // 2 * 2]
    (session,) = (event["session"] for event in sent if event["type"] == "session.update")
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["turn_detection"] == {"type": "server_vad"}


# --------------------------------------------------------------------- recorded and local servers


def test_local_speech_works_without_a_network(
    tmp_path: Path, data_home: Path, sound: SoundServer
) -> None:
    local_voice = pytest.importorskip("rtchat.server.local_voice")
    if absent := local_voice.missing():
        pytest.skip(f"not installed: {absent}")
    voice = local_voice.LocalVoice()

    async def speech(text: str) -> bytes:
        return b"".join([piece async for piece in voice.speak(text)])

    question = asyncio.run(speech("What is the capital of France?"))
    program = Program(tmp_path)
    program.environ["XDG_DATA_HOME"] = str(data_home)
    with sound.record() as speaker, talking(program, sound, "--local") as terminal:
        sound.says(question, tmp_path)
        terminal.shows("What is the capital of France?", "Paris", "first token", PROMPT)
        recorded = speaker.waits(is_over)
    assert "Paris" in asyncio.run(transcript_of(voice, trim_silence(recorded, above=QUIET)))
