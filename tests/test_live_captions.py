"""`talk --local --voice`: the words that the built-in Whisper recognises while one speaks."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest

from rtchat.server.local_voice import LocalVoice, missing
from tests.program import Program
from tests.sounds import silence, write_wav
from tests.soundserver import sound_server
from tests.terminal import PROMPT, Terminal
from tests.wer import errors

pytestmark = [pytest.mark.full, pytest.mark.alone]

if missing():
    pytest.skip(f"the extra voice-local is not installed: {missing()}", allow_module_level=True)

SENTENCE = (
    "Please tell me how to get from the old railway station at the end of the street "
    "to the small museum behind the yellow church on the other side of the river."
)
STEM = "conversation.item.input_audio_transcription"
HEARING = "\N{BLACK CIRCLE} hearing you"


async def speech(text: str) -> bytes:
    voice = LocalVoice()
    return b"".join([piece async for piece in voice.speak(text)]) + silence(1.5)


def shown_while_speaking(terminal: Terminal, *until: str) -> list[str]:
    """The different captions on the screen, in order, until these texts are shown."""
    shown = [""]
    for _ in terminal.updates(*until):
        row = terminal.screen.row(terminal.screen.cursor.y + 1)
        caption = row.rpartition(" \N{MIDDLE DOT} ")[2]
        if row.startswith(HEARING) and "Ctrl-T" not in caption and caption != shown[-1]:
            shown.append(caption)
    return shown[1:]


def test_captions_grow_while_one_speaks(tmp_path: Path, data_home: Path) -> None:
    program = Program(tmp_path)
    program.environ["XDG_DATA_HOME"] = str(data_home)
    said = write_wav(tmp_path / "said.wav", asyncio.run(speech(SENTENCE)))
    options = ["--local", "--voice", "--no-aec", "--trace", "trace.jsonl"]
    with sound_server() as sound:
        terminal = Terminal(program, options, sound.environ)
        terminal.resizes(24, 200)
        terminal.shows("connected in", "listening")
        with sound.play(said):
            captions = shown_while_speaking(terminal, "(spoken)")
        terminal.shows("(spoken)", "first token", PROMPT)
        below = terminal.screen.row(terminal.screen.cursor.y + 1)
        terminal.types("\x04")
        assert terminal.ends() == 0
    assert len(captions) >= 2
    for before, after in pairwise(captions):
        assert after.startswith(before)
    assert captions[0] not in below
    (question,) = (row for row in terminal.lines() if row.endswith("(spoken)"))
    assert len(errors(SENTENCE, question.removesuffix("(spoken)"))) <= 3

    lines = (tmp_path / "trace.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    types = [event["data"].get("type") for event in map(json.loads, lines)]
    before_the_end = types[: types.index("input_audio_buffer.speech_stopped")]
    assert before_the_end.count(f"{STEM}.delta") >= 2
    assert types.count(f"{STEM}.completed") == 1
