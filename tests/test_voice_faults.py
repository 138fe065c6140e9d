"""Servers with faults in audio: the output, the audio files, and what is saved.

Each row is one fault, tried with `once` with audio files for question and answer, with `talk` on
lines from a pipe whose answers are recorded, and with `transcribe`. Other faults are in
`test_faults`.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.app.recording import Recorder
from rtchat.audio.wav import WavWriter
from rtchat.core.effects import AppendAudio, Play, Truncate
from rtchat.core.events import Delta, PlaybackCut
from rtchat.core.reply_audio import ReplyAudio
from rtchat.core.speech_input import MAX_TURN_MS, PIECE_MS, AudioClip, SpeechInput, SpeechOptions
from rtchat.core.values import BYTES_A_MS, Channel
from tests.faults import EXPIRED, hint, kept, names_only
from tests.faulty import Close, Mishap, Step, begun, done, error, frame, perform, sockets
from tests.program import Program, background
from tests.sounds import SECOND, tone, wav_audio, write_wav
from tests.terminal import Terminal

Steps: TypeAlias = Iterable[Step]
"""What a server does after an event."""
On: TypeAlias = Mapping[str, Iterable[Steps]]
"""By event type, what the server does after the first, the second…; then it behaves correctly."""

SESSION: dict[str, object] = {"type": "realtime", "id": "s", "model": "m"}
AUDIO = tone(440, 0.2)


def sound(audio: bytes = AUDIO, id: str = "r", item: str = "a") -> str:
    """An audio delta of a reply."""
    text = b64encode(audio).decode()
    place = {"response_id": id, "item_id": item, "output_index": 0, "content_index": 0}
    return frame("response.output_audio.delta", delta=text, **place)


def words(text: str, id: str = "r", item: str = "a") -> str:
    """A transcript delta of a reply."""
    place = {"response_id": id, "item_id": item, "output_index": 0, "content_index": 0}
    return frame("response.output_audio_transcript.delta", delta=text, **place)


def sound_done(id: str = "r", item: str = "a") -> str:
    place = {"response_id": id, "item_id": item, "output_index": 0, "content_index": 0}
    return frame("response.output_audio.done", **place)


def committed(item: str = "u") -> str:
    """The appended audio becomes a message."""
    return frame("input_audio_buffer.committed", item_id=item)


_HEARD = "conversation.item.input_audio_transcription"


def heard(text: str, item: str = "u") -> str:
    return frame(f"{_HEARD}.completed", item_id=item, content_index=0, transcript=text)


def hearing(text: str, item: str = "u") -> str:
    return frame(f"{_HEARD}.delta", item_id=item, content_index=0, delta=text)


def awaiting_transcript(item: str = "u") -> str:
    return frame(f"{_HEARD}.failed", item_id=item, content_index=0, error={"message": "noise"})


def answer(id: str) -> Steps:
    """A correct reply."""
    return (
        heard("When?"),
        begun(id),
        words("Noon.", id, f"a_{id}"),
        sound(AUDIO, id, f"a_{id}"),
        sound_done(id, f"a_{id}"),
        done(id=id),
    )


class AudioServer:
    """A server with audio that follows a script."""

    def __init__(self, on: On) -> None:
        self.on = {kind: list(each) for kind, each in on.items()}
        """By type of event, the steps with which the next ones are answered."""
        self._replies = 0
        self._transcribes = False
        self.appended: list[int] = []
        """For each connection, the bytes of audio that it received."""
        self.updates: list[dict[str, Any]] = []
        """The sessions that were asked for."""

    async def talk(self, client: ServerConnection) -> None:
        self.appended.append(0)
        await self._do(client, self._next("hello", (frame("session.created", session=SESSION),)))
        async for data in client:
            event: dict[str, Any] = json.loads(data)
            kind = event["type"]
            if kind == "session.update":
                self.updates.append(event["session"])
                self._transcribes = event["session"]["type"] == "transcription"
            if kind == "input_audio_buffer.append":
                self.appended[-1] += len(event["audio"]) * 3 // 4
            await self._do(client, self._next(kind, self._correct_steps(kind)), event)

    def _correct_steps(self, kind: str) -> Steps:
        match kind:
            case "session.update":
                return (frame("session.updated", session=SESSION),)
            case "input_audio_buffer.commit":
                return (committed(), heard("When?")) if self._transcribes else (committed(),)
            case "input_audio_buffer.clear":
                return (frame("input_audio_buffer.cleared"),)
            case "response.create":
                self._replies += 1
                return answer(f"fine_{self._replies}")
            case _:
                return ()

    def _next(self, kind: str, right: Steps) -> Steps:
        left = self.on.get(kind)
        return left.pop(0) if left else right

    async def _do(
        self, client: ServerConnection, steps: Steps, event: Mapping[str, Any] | None = None
    ) -> None:
        event_id = (event or {}).get("event_id", "")
        named = (s.replace("EVENT", event_id) if isinstance(s, str) else s for s in steps)
        await perform(client, named)


# ---------------------------------------------------------------------------------------- the runs


@dataclass(frozen=True)
class Seen:
    """The results of a run."""

    code: int
    out: str
    err: tuple[str, ...] = ()
    """The lines on stderr, without the times of replies; the server's address is HERE."""
    kept: str = ""
    """The saved items and their states, in order."""
    wavs: tuple[float, ...] = ()
    """Seconds of audio in each written file."""


QUESTION = 1.0
COMMANDS: Mapping[str, tuple[tuple[str, ...], bytes]] = {
    "once": (("once", "--audio-in", "q.wav", "--audio-out", "said/a.wav"), b""),
    "talk": (("talk", "--audio-out", "said"), b"one\ntwo\n"),
    "turns": (("transcribe", "q.wav", "--vad", "server"), b""),
    "whole": (("transcribe", "q.wav", "--vad", "off"), b""),
}


def observe(
    home: Path,
    command: str,
    on: On,
    *options: str,
    refusals: Iterable[tuple[int, str]] = (),
) -> Seen:
    """Run a command against a server with a fault."""
    program = Program(home)
    (home / "said").mkdir(parents=True)
    write_wav(home / "q.wav", tone(440, QUESTION))
    arguments, stdin = COMMANDS[command]
    with background(lambda: sockets(AudioServer(on).talk, refusals=refusals)) as url:
        ran = program.run(*arguments, "--url", url, *options, stdin=stdin)
    assert "Traceback" not in ran.err
    err = ran.err.replace(urlsplit(url).netloc, "HERE")
    err = re.sub(r"(retrying|reconnected) in [\d.]+ s", r"\1 in N s", err)
    err = re.sub(r" \((session|response) [^)]*\)$", "", err, flags=re.MULTILINE)
    lines = tuple(names_only(line) for line in err.splitlines() if " · first token " not in line)
    files = sorted((home / "said").iterdir())
    states = [f"{text} {state}" for text, state in kept(program)] if command in TALKS else []
    wavs = tuple(round(len(wav_audio(file)) / SECOND, 2) for file in files)
    return Seen(ran.code, ran.text, lines, " | ".join(states), wavs)


TALKS = ("once", "talk")
APPEND, COMMIT = "input_audio_buffer.append", "input_audio_buffer.commit"
UPDATE, CREATE = "session.update", "response.create"
LOST = "connection lost (1006)"
BROKEN = (f"rtchat: {LOST}", hint())
AGAIN = f"{LOST}; retrying in N s"
BACK = "reconnected in N s"
CLOSED = ("rtchat: connection lost (1011)", hint())
CLOSED_AGAIN = "connection lost (1011); retrying in N s"
NO_SOUND = ("rtchat: the reply contains no audio, so nothing was written to said/a.wav", hint())
REPLAYED = f"{BACK} · 1 turn replayed"
HEARD = "you said: When?"
HOUR = "connection lost (1001 Your session hit the maximum duration of 60 minutes.)"
HALF: Steps = (heard("When?"), begun(), words("Half"), sound())


def reply(*more: Step, hears: bool = True) -> Steps:
    """A reply with a fault in it."""
    return (*([heard("When?")] if hears else ()), begun(), words("Noon."), sound(), *more, done())


def fine(*err: str, said: str = "When?", wavs: tuple[float, ...] = (0.2,)) -> Seen:
    """The result of `once` with a complete reply."""
    return Seen(0, "Noon.\n", err, f"{said} completed | Noon. completed", wavs)


BOTH = "one completed | Noon. completed | two completed | Noon. completed"


def fine_lines(*err: str, wavs: tuple[float, ...] = (0.2, 0.2)) -> Seen:
    """The result of two lines with complete replies."""
    return Seen(0, "Noon.\nNoon.\n", err, BOTH, wavs)


def bad_lines(text: str, state: str, *err: str) -> Seen:
    """The result of two lines if the first reply is incomplete."""
    states = f"one {state} | {text} {state} | two completed | Noon. completed"
    return Seen(1, f"{text}\nNoon.\n", err, states, (0.2, 0.2))


def transcribed(*err: str, out: str = "When?\n") -> Seen:
    """The result of `transcribe` with a complete transcript."""
    return Seen(0, out, err)


SILENT = (
    "rtchat: timed out: no response for 2 s",
    hint("--url", "--timeout", "--connect-timeout"),
)
REFUSED = "rtchat: the server refused session.audio: Unknown parameter."
NO_SETTINGS = error(
    "unknown_parameter", "Unknown parameter.", param="session.audio", event_id="EVENT"
)
NO_COMMIT = error("input_audio_buffer_commit_empty", "Too small.", event_id="EVENT")
LIMIT = {"code": "rate_limit_exceeded", "message": "Please try again in 0.2s"}
OOPS = {"code": "server_error", "message": "Oops."}


def nonsense(start: object, end: object, item: str) -> Steps:
    """A turn with impossible times."""
    return (
        frame("input_audio_buffer.speech_started", item_id=item, audio_start_ms=start),
        frame("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=end),
        committed(item),
        heard(f"{item}?", item),
    )


ROWS: Mapping[str, tuple[On, Mapping[str, Seen]]] = {
    "lost before the session": (
        {"hello": [(Mishap.RESET,)]},
        {
            "once": fine(AGAIN, HEARD),
            "talk": fine_lines(AGAIN),
            "turns": transcribed(AGAIN),
            "whole": transcribed(AGAIN),
        },
    ),
    "lost while audio is sent": (
        {APPEND: [(Mishap.RESET,)]},
        {
            "once": fine(AGAIN, REPLAYED, HEARD),
            "turns": transcribed(AGAIN, BACK),
            "whole": Seen(4, "", BROKEN),
        },
    ),
    "lost after the commit": (
        {COMMIT: [(committed(), Mishap.RESET)]},
        {
            "once": fine(AGAIN, REPLAYED, HEARD),
            "turns": transcribed(AGAIN, BACK),
            "whole": Seen(4, "", BROKEN),
        },
    ),
    "lost in the middle": (
        {CREATE: [(*HALF, Close(1011))], COMMIT: [(committed(),), (committed(),)]},
        {
            "once": Seen(
                4, "Half\n", (HEARD, *CLOSED), "When? interrupted | Half interrupted", (0.2,)
            ),
            "talk": bad_lines("Half", "interrupted", *CLOSED, CLOSED_AGAIN, REPLAYED),
        },
    ),
    "lost in the middle of words": (
        {COMMIT: [(committed(), hearing("Wh"), Close(1011))]},
        {
            "turns": transcribed(CLOSED_AGAIN, BACK, out="Wh\nWhen?\n"),
            "whole": Seen(4, "Wh\n", CLOSED),
        },
    ),
    "the hour is over": (
        {COMMIT: [tuple(EXPIRED)], CREATE: [tuple(EXPIRED)]},
        {
            "talk": fine_lines(f"{HOUR}; retrying in N s", REPLAYED),
            "turns": transcribed(f"{HOUR}; retrying in N s", BACK),
        },
    ),
    "a rate limit": (
        {CREATE: [(begun(), done("failed", error=LIMIT))]},
        {
            "once": fine("rate limit; retrying in N s", HEARD),
            "talk": fine_lines("rate limit; retrying in N s"),
        },
    ),
    "a reply that fails": (
        {CREATE: [(*HALF, done("failed", error=OOPS))]},
        {
            "once": Seen(
                1,
                "Half\n",
                (HEARD, "rtchat: the reply failed: Oops."),
                "When? failed | Half failed",
                (0.2,),
            ),
            "talk": bad_lines("Half", "failed", "rtchat: the reply failed: Oops."),
        },
    ),
    "no quota": (
        {COMMIT: [(error("insufficient_quota", "Pay."),)]},
        {
            "turns": Seen(5, "", ("rtchat: Pay.", hint())),
        },
    ),
    "the commit is refused": (
        {COMMIT: [(NO_COMMIT,)]},
        {
            "once": Seen(1, "", ("rtchat: Too small.",), " failed"),
            "turns": Seen(0, "", ("no speech found",)),  # the server had committed all speech
            "whole": Seen(1, "", ("rtchat: the server reports: Too small.",)),
        },
    ),
    "words that cannot be had": (
        {COMMIT: [(committed(), awaiting_transcript())]},
        {
            "once": fine("rtchat: the transcription failed: noise", said=""),
            "turns": Seen(1, "", ("rtchat: the transcription failed: noise",)),
        },
    ),
    "words that never come": (
        {COMMIT: [(committed(),)], CREATE: [reply(hears=False)]},
        {"once": fine(said=""), "turns": Seen(4, "", SILENT)},
    ),
    "words after the reply": (
        {CREATE: [(*reply(hears=False), heard("Late?"))]},
        {"once": fine("you said: Late?", said="Late?")},
    ),
    "words twice": (
        {COMMIT: [(committed(), heard("When?"), heard("When again?"))]},
        {"once": fine(HEARD), "turns": transcribed()},
    ),
    "words of nobody": (
        {COMMIT: [(committed(), heard("Who?", "else"), heard("When?"))]},
        {"once": fine("you said: Who?", said="Who?"), "turns": transcribed(out="Who?\nWhen?\n")},
    ),
    "sound of another reply, and after the end": (
        {CREATE: [(*reply(sound(id="other", item="b")), sound(), sound())]},
        {"once": fine(HEARD), "talk": fine_lines()},
    ),
    "8 MB at once": (
        {CREATE: [(heard("When?"), begun(), words("Noon."), sound(bytes(8_000_000)), done())]},
        {"once": fine(HEARD, wavs=(166.67,)), "talk": fine_lines(wavs=(166.67, 0.2))},
    ),
    "every item has the same id": (
        {CREATE: [reply(), (begun("s"), words("Noon.", "s"), sound(id="s"), done(id="s"))]},
        {"talk": fine_lines()},
    ),
    "no word of the commit": ({COMMIT: [()]}, {"once": fine(said="")}),
    "the commit twice": (
        {COMMIT: [(committed(), committed(), committed("v"), heard("When?"))]},
        {"once": fine(HEARD)},
    ),
    "a turn at an impossible time": (
        {APPEND: [nonsense(-5, -(10**30), "x"), nonsense(10**17, "soon", "y")]},
        {"turns": transcribed(out="x?\ny?\nWhen?\n")},
    ),
    "settings refused": (
        {UPDATE: [(NO_SETTINGS,)]},
        {
            "once": Seen(2, "", (REFUSED, hint("--dialect")), " failed"),
            "turns": Seen(2, "", (REFUSED, hint("--language --prompt --vad --set --dialect"))),
        },
    ),
    "a server without a voice": (
        {CREATE: [(heard("When?"), begun(), words("Noon."), done())]},
        {
            "once": Seen(1, "Noon.\n", (HEARD, *NO_SOUND), "When? completed | Noon. completed", ()),
            "talk": fine_lines(wavs=(0.2,)),
        },
    ),
    "nothing is read": (
        {APPEND: [(Mishap.FREEZE,)]},
        {"turns": Seen(4, "", SILENT)},
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_results_of_each_fault(name: str, tmp_path: Path) -> None:
    on, ends = ROWS[name]

    def run(command: str) -> Seen:
        is_waiting = SILENT[0] in ends[command].err  # the others may take long on a busy machine
        hurry = ("--timeout", "2") if is_waiting else ()
        return observe(tmp_path / command, command, on, *hurry)

    with ThreadPoolExecutor(len(ends)) as pool:
        assert dict(zip(ends, pool.map(run, ends), strict=True)) == ends


@pytest.mark.parametrize(
    ("refusals", "code", "out"),
    [
        ([(429, "0.1")], 0, "When?\n"),
        ([(503, "")], 0, "When?\n"),
        ([(429, "31")], 5, ""),
        ([(401, "")], 3, ""),
    ],
    ids=["a short wait", "busy", "a long wait", "no key"],
)
def test_a_refused_transcription(
    tmp_path: Path, refusals: list[tuple[int, str]], code: int, out: str
) -> None:
    seen = observe(tmp_path, "whole", {}, refusals=refusals)
    assert (seen.code, seen.out) == (code, out)
    assert len([line for line in seen.err if not line.startswith("hint:")]) == 1


def test_an_unwritable_trace_of_a_transcription_sets_the_exit_code(tmp_path: Path) -> None:
    seen = observe(tmp_path, "turns", {}, "--trace", "/dev/full")
    assert (seen.code, seen.out, len(seen.err)) == (6, "When?\n", 2)


def test_words_before_an_interruption_are_printed(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(440, QUESTION))
    server = AudioServer({COMMIT: [(committed(), hearing("I scream"))]})
    with background(lambda: sockets(server.talk)) as url:
        options = ["q.wav", "--vad", "off", "--url", url]
        terminal = Terminal(Program(tmp_path), options, {}, verb="transcribe")
        terminal.shows("I scream")
        terminal.types("\x03")
        assert terminal.ends() == 130
    assert terminal.lines()[0] == "I scream"


def test_final_words_replace_those_recognised_before(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(440, QUESTION))
    frames = (committed(), hearing("I scream"), heard("Ice cream."))
    server = AudioServer({COMMIT: [frames]})
    with background(lambda: sockets(server.talk)) as url:
        options = ["q.wav", "--vad", "off", "--url", url]
        terminal = Terminal(Program(tmp_path), options, {}, verb="transcribe")
        assert terminal.ends() == 0
    shown = [line for line in terminal.lines() if line]
    assert shown[0] == "Ice cream."
    assert not any("I scream" in line for line in shown)


# ------------------------------------------------------------------------------------ flow control


class ClosingAudioServer(AudioServer):
    """A server that processes no audio and closes the connection after a number of bytes."""

    def __init__(self, after: int) -> None:
        super().__init__({})
        self._after = after

    def _next(self, kind: str, right: Steps) -> Steps:
        first = len(self.appended) == 1
        if kind == APPEND and first and self.appended[0] > self._after:
            return (Mishap.RESET,)
        return super()._next(kind, right)


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_an_unprocessed_file_is_sent_again(tmp_path: Path, piped: bool) -> None:
    """A file is sent faster than it is processed, so much of it is lost with the connection."""
    file = write_wav(tmp_path / "long.wav", tone(440, 1.0) * 90)
    server = ClosingAudioServer(60 * SECOND)
    stdin = file.read_bytes() if piped else b""
    with background(lambda: sockets(server.talk)) as url:
        program = Program(tmp_path)
        name = "-" if piped else "long.wav"
        ran = program.run("transcribe", name, "--vad", "server", "--url", url, stdin=stdin)
    assert (ran.code, ran.text) == (0, "When?\n")
    assert server.appended[1:] == [90 * SECOND]


# ------------------------------------------------------------------------------------------ memory

OPEN = SpeechOptions(has_microphone=True, push_to_talk=False)
SECONDS = MAX_TURN_MS // 1000


def ms(count: int, sample: int = 1) -> bytes:
    return sample.to_bytes(2, "little") * (count * BYTES_A_MS // 2)


def test_a_turn_never_ended_by_the_user_is_not_buffered_forever() -> None:
    speech = SpeechInput(SpeechOptions(has_microphone=True))
    speech.toggle()
    for number in range(SECONDS + 5):
        speech.captured(ms(1000, number), has_session=True)
    said = speech.toggle()
    assert said == b"".join(ms(1000, number) for number in range(5, SECONDS + 5))
    speech.toggle()
    assert speech.toggle() == b""


def test_a_turn_never_ended_by_the_server_is_not_buffered_forever() -> None:
    speech = SpeechInput(OPEN)
    speech.started(0)
    for number in range(SECONDS + 5):
        speech.captured(ms(1000, number), has_session=True)
    (clip,) = speech.committed()
    assert len(clip.audio) == MAX_TURN_MS * BYTES_A_MS


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (1000, 2000, ms(1000, 2)),
        (-5, -7, ms(1000) + ms(1000, 2)),
        (10**15, 10**16, ms(1000) + ms(1000, 2)),
        (0, -(10**15), ms(1000) + ms(1000, 2)),
    ],
)
def test_a_turn_with_impossible_times_is_clamped(start: int, end: int, said: bytes) -> None:
    speech = SpeechInput(OPEN)
    for number in (1, 2):
        speech.captured(ms(1000, number), has_session=True)
    speech.started(start)
    speech.stopped(end)
    assert b"".join(clip.audio for clip in speech.committed()) == said


def test_audio_waiting_for_a_session_is_sent_in_limited_events() -> None:
    speech = SpeechInput(OPEN)
    said = ms(2 * PIECE_MS) + ms(20, 2)
    speech.hold_first([AudioClip(said, 0)])
    pieces = [ms(PIECE_MS), ms(PIECE_MS), ms(20, 2)]
    assert list(speech.opened()) == [AppendAudio(piece, live=False) for piece in pieces]


def test_speech_times_of_one_session_do_not_apply_to_the_next() -> None:
    replies = ReplyAudio(speaks=True)
    audio = Delta(Channel.AUDIO, b64encode(ms(20)).decode(), "r1", "a1")
    assert replies.play(audio) == Play("a1", 0, ms(20))
    cut = PlaybackCut("a1", 0, 10)
    assert replies.truncate(cut) == [Truncate("a1", 0, 10)]
    replies.close()
    assert replies.truncate(cut) == []
    assert replies.play(audio) == Play("a1", 0, ms(20))


def test_only_one_recording_is_open_at_a_time(tmp_path: Path) -> None:
    made: list[WavWriter] = []
    counts: list[int] = []

    def begin() -> WavWriter:
        counts.append(len(os.listdir("/proc/self/fd")))
        made.append(WavWriter.next_in(tmp_path))
        return made[-1]

    recorder = Recorder(begin)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        recorder.play(f"a{number}", 0, ms(20))
        recorder.end(f"a{number}")
    recorder.close()
    assert recorder.failure is None
    assert counts == [before, *[before + 1] * 4]
    assert len(os.listdir("/proc/self/fd")) == before
    assert [wav_audio(file.path) for file in made] == [ms(20)] * 5
