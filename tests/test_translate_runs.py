"""`translate`, and `transcribe` with speakers: the program with a scripted server."""

from __future__ import annotations

import json
import signal
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.core.effects import Notice, ReplyOver, SourceArrived, TextArrived, Update
from rtchat.core.values import Status
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.ui.plain_view import StatusWriter
from rtchat.ui.translation_view import TranslationView
from tests.faulty import Close, Step, error, frame, perform, sockets
from tests.program import PATIENCE, Program, background
from tests.sounds import SECOND, tone, wav_audio, without_silence, write_wav
from tests.soundserver import SoundServer, sound_server
from tests.terminal import Terminal
from tests.test_echo_canceller import level, syllables
from tests.test_voice_faults import AudioServer, committed, heard

SESSION = {"type": "translation", "id": "sess_1", "model": "gpt-realtime-translate"}
APPEND, CLOSE = "session.input_audio_buffer.append", "session.close"


def said(text: str, elapsed_ms: int | None = None) -> str:
    time = {} if elapsed_ms is None else {"elapsed_ms": elapsed_ms}
    return frame("session.output_transcript.delta", delta=text, **time)


def source(text: str) -> str:
    return frame("session.input_transcript.delta", delta=text)


def spoken(audio: bytes) -> str:
    delta = b64encode(audio).decode()
    return frame("session.output_audio.delta", delta=delta, sample_rate=24000, format="pcm16")


END = (frame("session.closed"), Close(1000))
SPEECH = tone(440, 0.5)
WHOLE: tuple[Step, ...] = (
    source("Good day. "),
    said("Buenos"),
    spoken(SPEECH[:9001]),
    source("How are you?"),
    said(" días."),
    spoken(SPEECH[9001:]),
    *END,
)


class TranslationServer:
    """A server for translations. `end` are its steps at the end of the session, and `on_audio`
    those at the first audio of each session."""

    def __init__(
        self,
        end: Sequence[Step] = WHOLE,
        *,
        on_audio: Sequence[Sequence[Step]] = (),
        update: str = "",
    ) -> None:
        self._end = end
        self._on_audio = list(on_audio)
        self._update = update
        self.paths: list[str] = []
        self.updates: list[dict[str, Any]] = []
        self.audio: list[bytes] = []
        """The audio received in each session."""
        self.heard = threading.Event()

    async def talk(self, client: ServerConnection) -> None:
        """Its side of a connection."""
        assert client.request is not None
        self.paths.append(client.request.path)
        self.audio.append(b"")
        await client.send(frame("session.created", session=SESSION))
        async for data in client:
            event: dict[str, Any] = json.loads(data)
            match event["type"]:
                case "session.update":
                    self.updates.append(event["session"])
                    answer = frame("session.updated", session=SESSION | event["session"])
                    await client.send(self._update or answer)
                case "session.input_audio_buffer.append":
                    is_first = not self.audio[-1]
                    self.audio[-1] += b64decode(event["audio"])
                    if len(self.audio[-1]) >= SECOND // 2:
                        self.heard.set()
                    if is_first and self._on_audio:
                        await perform(client, self._on_audio.pop(0))
                case "session.close":
                    await perform(client, self._end)
                case kind:
                    await client.send(error("invalid_value", f"Invalid value: {kind}"))


@contextmanager
def served(
    tmp_path: Path, server: TranslationServer, environ: dict[str, str] | None = None
) -> Iterator[Program]:
    """A program that connects to the server, and a recording."""
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    program = Program(tmp_path)
    with background(lambda: sockets(server.talk)) as url:
        program.environ |= {"RTCHAT_URL": url, **(environ or {})}
        yield program


def test_a_file_is_translated(tmp_path: Path) -> None:
    server = TranslationServer()
    with served(tmp_path, server) as program:
        ran = program.run("translate", "q.wav", "--to", "es")
    assert (ran.code, ran.text) == (0, "Buenos días.\n")
    assert server.paths == ["/v1/realtime/translations?model=gpt-realtime-translate"]
    assert server.updates == [{"audio": {"output": {"language": "es"}}}]
    assert server.audio == [tone(440, 1.0)]
    assert "1.0 s of audio" in ran.err


@pytest.mark.parametrize("arguments", [["-"], []])
def test_a_pipe_is_translated(tmp_path: Path, arguments: list[str]) -> None:
    with served(tmp_path, TranslationServer(), {"RTCHAT_TRANSLATE_TO": "es"}) as program:
        audio = (tmp_path / "q.wav").read_bytes()
        ran = program.run("translate", *arguments, "-q", stdin=audio)
    assert (ran.code, ran.text, ran.err) == (0, "Buenos días.\n", "")


def test_a_pipe_ended_by_ctrl_c_is_translated_completely(tmp_path: Path) -> None:
    server = TranslationServer()
    with (
        served(tmp_path, server) as program,
        program.start("translate", "-", "--to", "es") as process,
    ):
        assert process.stdin is not None
        process.stdin.write((tmp_path / "q.wav").read_bytes()[:30_000])
        process.stdin.flush()
        assert server.heard.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "Buenos días.\n".encode())


def test_the_spoken_translation_is_recorded(tmp_path: Path) -> None:
    with served(tmp_path, TranslationServer()) as program:
        ran = program.run("translate", "q.wav", "--to", "es", "--audio-out", "a.wav")
    assert ran.code == 0
    assert wav_audio(tmp_path / "a.wav") == SPEECH


def test_a_translation_without_audio_is_reported(tmp_path: Path) -> None:
    with served(tmp_path, TranslationServer((said("Hola."), *END))) as program:
        ran = program.run("translate", "q.wav", "--to", "es", "--audio-out", "a.wav")
    assert (ran.code, ran.text) == (1, "Hola.\n")
    assert "nothing was written to a.wav" in ran.error
    assert not (tmp_path / "a.wav").exists()


def test_what_was_said_is_shown_on_request(tmp_path: Path) -> None:
    server = TranslationServer()
    with served(tmp_path, server) as program:
        ran = program.run("translate", "q.wav", "--to", "es", "--show-original", "-q")
    assert (ran.code, ran.text) == (0, "Buenos días.\n")
    assert ran.err == "› Good day.\n› How are you?\n"  # noqa: RUF001 - the mark of speech
    transcription = {"model": "gpt-realtime-whisper"}
    assert server.updates[0]["audio"]["input"] == {"transcription": transcription}


def test_json_has_both_texts_and_the_cost(tmp_path: Path) -> None:
    prices = "[prices.gpt-realtime-translate]\nminute = 6\n[prices.w]\nminute = 12\n"
    (tmp_path / "rtchat.toml").write_text(prices)
    options = ("--show-original", "--set", "audio.input.transcription.model=w")
    with served(tmp_path, TranslationServer(), {"RTCHAT_CONFIG": "rtchat.toml"}) as program:
        ran = program.run("translate", "q.wav", "--to", "es", "--json", *options)
    data = json.loads(ran.text)
    assert (ran.code, data["status"]) == (0, "completed")
    assert (data["heard"], data["text"]) == ("Good day. How are you?", "Buenos días.")
    assert data["usage"] == {"seconds": 1.0, "cost_usd": 0.3}
    assert "$0.3000" in ran.err


def test_a_lost_connection_is_replaced(tmp_path: Path) -> None:
    lost = (said("Buenos", 2500), Close(1011))
    server = TranslationServer((said("días."), *END), on_audio=[lost])
    with served(tmp_path, server) as program:
        ran = program.run("translate", "q.wav", "--to", "es")
    assert (ran.code, ran.text) == (0, "Buenos\ndías.\n")
    assert "reconnected" in ran.err
    assert server.audio[1] == tone(440, 1.0)[SECOND // 2 :]


def test_a_file_is_not_translated_twice(tmp_path: Path) -> None:
    server = TranslationServer(on_audio=[(said("Buenos"), Close(1011))])
    with served(tmp_path, server) as program:
        ran = program.run("translate", "q.wav", "--to", "es")
    assert (ran.code, ran.text) == (4, "Buenos\n")
    assert "connection lost" in ran.error


def test_the_server_may_refuse_the_language(tmp_path: Path) -> None:
    refused = error("invalid_value", "Unknown language.", param="session.audio.output.language")
    with served(tmp_path, TranslationServer(update=refused)) as program:
        ran = program.run("translate", "q.wav", "--to", "xx")
    assert (ran.code, ran.text) == (2, "")
    assert "Unknown language" in ran.error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--to"),
        (["--to", "es", "--local"], "--local"),
    ],
)
def test_invalid_usage_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    environ = {"OPENAI_API_KEY": "sk-x"}
    ran = Program(tmp_path).run("translate", "q.wav", *arguments, environ=environ)
    assert (ran.code, ran.text) == (2, "")
    assert says in ran.error + ran.hint


def test_the_built_in_model_does_not_translate(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    (tmp_path / "rtchat.toml").write_text("local = true\n")
    environ = {"RTCHAT_CONFIG": "rtchat.toml"}
    ran = Program(tmp_path).run("translate", "q.wav", "--to", "es", environ=environ)
    assert (ran.code, ran.text) == (2, "")
    assert "built-in model" in ran.error


def test_rtchat_serve_refuses_translations(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    with background(lambda: run_server(ScriptEngine(read_script({"model": "m"})))) as url:
        ran = Program(tmp_path).run("translate", "q.wav", "--to", "es", "--url", url)
    assert (ran.code, ran.text) == (4, "")
    assert "HTTP 404 (This server cannot translate speech.)" in ran.error


@pytest.mark.parametrize("command", [("transcribe", "q.wav"), ("once", "hi")])
def test_another_command_names_translate(tmp_path: Path, command: tuple[str, ...]) -> None:
    with served(tmp_path, TranslationServer()) as program:
        ran = program.run(*command)
    assert (ran.code, ran.text) == (2, "")
    assert "rtchat translate" in ran.hint


def test_a_trace_of_a_translation_can_be_replayed(tmp_path: Path) -> None:
    with served(tmp_path, TranslationServer()) as program:
        options = ("--to", "es", "--audio-out", "a.wav", "--show-original", "--trace", "t.jsonl")
        assert program.run("translate", "q.wav", *options).code == 0
        checked = program.run("replay", "--check", "t.jsonl")
        assert checked.code == 0
        assert "replies: 1, completed: 1, ignored: 0, differences: 0" in checked.text
        shown = program.run("replay", "--speed", "1000", "t.jsonl")
    assert (shown.code, shown.text) == (0, "Buenos días.\n")


def test_a_recording_of_another_program_can_be_replayed(tmp_path: Path) -> None:
    steps = (
        ("received", frame("session.created", session=SESSION)),
        ("sent", frame("session.update", session={"audio": {"output": {"language": "es"}}})),
        ("received", frame("session.updated", session=SESSION)),
        ("sent", frame(APPEND, audio="AAAA")),
        ("sent", frame(CLOSE)),
        ("received", said("Buenos días.")),
        ("received", frame("session.closed")),
    )
    lines = [{"direction": way, "data": json.loads(data)} for way, data in steps]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    program = Program(tmp_path)
    checked = program.run("replay", "--check", "t.jsonl")
    assert (checked.code, "completed: 1" in checked.text) == (0, True), checked.text
    assert program.run("replay", "--speed", "1000", "t.jsonl").text == "Buenos días.\n"


@pytest.fixture
def sound() -> Iterator[SoundServer]:
    with sound_server() as server:
        yield server


@pytest.mark.parametrize("is_recorded", [False, True])
def test_speech_is_translated_live(
    tmp_path: Path, sound: SoundServer, *, is_recorded: bool
) -> None:
    server = TranslationServer(
        (spoken(tone(660, 0.5)), *END), on_audio=[(said("Hola."), spoken(tone(440, 0.5)))]
    )
    with served(tmp_path, server) as program, sound.record("speaker") as speaker:
        recording = ["--audio-out", "a.wav"] if is_recorded else []
        options = ["--to", "es", "--play", "-q", *recording]
        terminal = Terminal(program, options, sound.environ, verb="translate")
        terminal.shows("Hola.")
        terminal.types("\x03")
        assert terminal.ends() == 0
        assert len(without_silence(speaker.audio)) > 0.9 * SECOND
    assert server.audio[0]
    if is_recorded:
        assert wav_audio(tmp_path / "a.wav") == tone(440, 0.5) + tone(660, 0.5)


def test_a_translation_that_is_played_is_not_translated_again(
    tmp_path: Path, sound: SoundServer
) -> None:
    pytest.importorskip("pywebrtc_audio")
    voice = syllables(10.0)

    def received(*options: str) -> float:
        """The level of what the server receives while the voice is played, once the canceller
        knows the echo."""
        server = TranslationServer(END, on_audio=[(said("Hola."), spoken(voice))])
        with served(tmp_path, server) as program, sound.room(-12, 60):
            arguments = ["--to", "es", "--play", "-q", *options]
            with sound.record() as speaker:
                terminal = Terminal(program, arguments, sound.environ, verb="translate")
                terminal.shows("Hola.")
                speaker.waits(lambda audio: any(audio) and not any(audio[-SECOND:]))
            terminal.types("\x03")
            assert terminal.ends() == 0
        return level(server.audio[0], 6, 10)

    assert received() < received("--no-aec") - 15


# ----------------------------------------------------------------------------------------- the view


def shown(make: Callable[[BytesIO, StringIO], TranslationView], *updates: Update) -> str:
    """What a terminal shows that is both stdout and stderr; stderr is in brackets."""
    log: list[str] = []

    class Out(BytesIO):
        def write(self, data: Any) -> int:
            log.append(bytes(data).decode())
            return len(data)

    class Err(StringIO):
        def write(self, text: str) -> int:
            log.append(f"[{text}]")
            return len(text)

    view = make(Out(), Err())
    for update in updates:
        view.show(update)
        view.tick()
    view.close()
    return "".join(log)


UPDATES = (
    SourceArrived("Good "),
    TextArrived("Buenos"),
    SourceArrived("day. How"),
    TextArrived(" días."),
    SourceArrived(" are you\x1b[2J"),
    TextArrived(" ¿Qué tal?"),
    Notice("warning", "slow"),
    ReplyOver(Status.COMPLETED, "", "t"),
)


@pytest.mark.parametrize(
    ("is_shared", "text"),
    [
        (
            True,
            "Buenos\n[› Good day.\n]días. ¿Qué tal?\n[rtchat: slow\n][› How are you␛[2J\n]",  # noqa: RUF001
        ),
        (
            False,
            "Buenos[› Good day.\n] días. ¿Qué tal?[rtchat: slow\n][› How are you␛[2J\n]\n",  # noqa: RUF001
        ),
    ],
    ids=["terminal", "files"],
)
def test_both_languages_have_lines_of_their_own(is_shared: bool, text: str) -> None:
    def make(out: BytesIO, err: StringIO) -> TranslationView:
        return TranslationView(
            out, err, StatusWriter(err), raw=not is_shared, shares_terminal=is_shared
        )

    assert shown(make, *UPDATES) == text


def test_a_closed_stderr_is_no_problem() -> None:
    out = BytesIO()
    view = TranslationView(out, None, StatusWriter(None), raw=True, shares_terminal=False)
    for update in UPDATES:
        view.show(update)
    assert out.getvalue().decode() == "Buenos días. ¿Qué tal?\n"


# ----------------------------------------------------------------------------------------- speakers


_HEARD = "conversation.item.input_audio_transcription"
_COMMIT = "input_audio_buffer.commit"
DIARIZE = "gpt-4o-transcribe-diarize"


def segment(number: int, speaker: str, text: str) -> str:
    place = {"item_id": "u", "content_index": 0, "id": f"seg_{number}"}
    times = {"start": float(number), "end": number + 0.5}
    return frame(f"{_HEARD}.segment", speaker=speaker, text=text, **place, **times)


TOLD = (
    committed(),
    segment(0, "A", "When does it start?"),
    segment(1, "B", "At noon."),
    segment(1, "B", "At noon."),
    segment(2, "B", "Or so."),
    frame(
        f"{_HEARD}.completed",
        item_id="u",
        content_index=0,
        transcript="When does it start? At noon. Or so.",
        usage={"type": "duration", "seconds": 3.0},
        languages=["en"],
    ),
)


def transcribed(tmp_path: Path, *options: str, steps: Sequence[Step] = TOLD) -> tuple[int, str]:
    """Run `transcribe` with a server that answers the commit with these steps."""
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    server = AudioServer({_COMMIT: [tuple(steps)]})
    with background(lambda: sockets(server.talk)) as url:
        ran = Program(tmp_path).run("transcribe", "q.wav", "--url", url, *options)
    return ran.code, ran.text


def test_the_text_names_the_speakers(tmp_path: Path) -> None:
    text = "A: When does it start?\nB: At noon. Or so.\n"
    assert transcribed(tmp_path, "-m", DIARIZE) == (0, text)


def test_without_segments_there_are_no_speakers(tmp_path: Path) -> None:
    steps = (committed(), heard("When?"))
    assert transcribed(tmp_path, "-m", DIARIZE, steps=steps) == (0, "When?\n")


def test_other_models_have_no_speakers_in_the_text(tmp_path: Path) -> None:
    assert transcribed(tmp_path, "-m", "w") == (0, "When does it start? At noon. Or so.\n")


@pytest.mark.parametrize("model", [DIARIZE, "w"])
def test_json_has_a_line_for_each_turn_with_its_segments(tmp_path: Path, model: str) -> None:
    code, text = transcribed(tmp_path, "-m", model, "--json")
    (line,) = map(json.loads, text.splitlines())
    assert code == 0
    assert [each["speaker"] for each in line["segments"]] == ["A", "B", "B"]
    assert line["segments"][0] == {
        "id": "seg_0",
        "speaker": "A",
        "text": "When does it start?",
        "start": 0.0,
        "end": 0.5,
    }
    del line["segments"]
    assert line == {
        "version": 1,
        "item_id": "u",
        "text": "When does it start? At noon. Or so.",
        "start": 0.0,
        "end": 1.0,
        "words": [],
        "model": model,
        "usage": {"seconds": 3.0, "cost_usd": None},
        "languages": ["en"],
        "error": None,
    }


def test_json_has_the_error_of_a_turn(tmp_path: Path) -> None:
    failed = frame(f"{_HEARD}.failed", item_id="u", content_index=0, error={"message": "noise"})
    code, text = transcribed(tmp_path, "--json", steps=(committed(), failed))
    line = json.loads(text)
    assert (code, line["text"], line["error"]) == (1, "", "noise")
