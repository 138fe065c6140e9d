"""Conversion of audio between the program's format and those of servers."""

from __future__ import annotations

import random
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from itertools import chain

import pytest

from rtchat.audio.codec import converter
from rtchat.client.session import Session, SessionParts
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    ClearAudio,
    CloseSession,
    Command,
    CommitAudio,
    ReplyOver,
    UseFormats,
)
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.events import (
    ChannelDone,
    Delta,
    InputEnded,
    ReplyEnded,
    ServerEvent,
    SessionCreated,
    SessionEnded,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.ports import Post
from rtchat.core.reply_audio import read_audio
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import (
    AudioFormat,
    Channel,
    Encoding,
    Message,
    NamedFormat,
    Options,
    Part,
    Status,
)
from tests.scripted import HELLO, Emit, Screen, ScriptedServer, run_fast
from tests.sounds import tone

np = pytest.importorskip("numpy", reason="the extra audio is not installed")
pytest.importorskip("soxr", reason="the extra audio is not installed")
pytest.importorskip("soundfile", reason="the extra audio is not installed")

from rtchat.app.audio_conversion import SessionAudio  # noqa: E402 - after the checks

OURS = AudioFormat()
PCM_16 = AudioFormat(rate=16_000)
G711 = [AudioFormat(encoding, 8_000) for encoding in (Encoding.ULAW, Encoding.ALAW)]
FORMATS = [
    *G711,
    AudioFormat(Encoding.ULAW, 16_000),
    *(AudioFormat(rate=rate) for rate in (8_000, 16_000, 22_050, 44_100, 48_000)),
]
LOUDEST_ERROR = {Encoding.PCM: 2, Encoding.ULAW: 600, Encoding.ALAW: 600}
"""G.711 is exact to about 3 % of the sample."""
LEVELS = b"".join(sample.to_bytes(2, "little", signed=True) for sample in range(-0x8000, 0x8000))
"""Every sample."""
SOUND = tone(440, 0.5)


def samples(audio: bytes) -> list[int]:
    return [int(sample) for sample in np.frombuffer(audio, "<i2")]


# --------------------------------------------------------------------------------- the formats


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_audio_keeps_its_length_and_nearly_its_samples(format: AudioFormat) -> None:
    encoded = converter(OURS, format)(SOUND, last=True)
    width = 2 if format.encoding is Encoding.PCM else 1
    assert len(encoded) / width / format.rate == pytest.approx(0.5, abs=0.001)
    decoded = converter(format, OURS)(encoded, last=True)
    assert len(decoded) == pytest.approx(len(SOUND), abs=4)
    pairs = list(zip(samples(SOUND), samples(decoded), strict=False))[500:-500]
    assert max(abs(a - b) for a, b in pairs) <= LOUDEST_ERROR[format.encoding]


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_pieces_of_any_size_are_converted_as_the_whole(format: AudioFormat) -> None:
    encode, decode = converter(OURS, format), converter(format, OURS)
    whole = encode(SOUND, last=True)
    for seed in range(3):  # a converter begins anew after the last piece
        pieces = in_pieces(SOUND, random.Random(seed))
        encoded = b"".join(encode(piece, last=False) for piece in pieces) + encode(b"", last=True)
        assert encoded == whole
        pieces = in_pieces(whole, random.Random(seed))
        decoded = b"".join(decode(piece, last=False) for piece in pieces)
        assert decoded + decode(b"", last=True) == converter(format, OURS)(whole, last=True)


def in_pieces(audio: bytes, rng: random.Random) -> list[bytes]:
    """Pieces, some of them empty or with half a sample."""
    cuts = sorted(rng.randrange(len(audio)) for _ in range(40))
    return [audio[a:b] for a, b in zip([0, *cuts], [*cuts, len(audio)], strict=True)]


@pytest.mark.parametrize("format", G711, ids=str)
def test_g711_is_that_of_another_program(format: AudioFormat) -> None:
    """Every code means the same; of two nearest codes, programs choose either."""
    other = {Encoding.ULAW: "mulaw", Encoding.ALAW: "alaw"}[format.encoding]
    plain = AudioFormat(rate=8_000)
    codes = bytes(range(256))
    decode = converter(format, plain)
    decoded = decode(codes, last=True)
    assert decoded == ffmpeg(codes, other, "s16le")
    ours = converter(plain, format)(LEVELS, last=True)
    theirs = ffmpeg(LEVELS, "s16le", other)
    differ = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    assert len(differ) < 0.02 * len(ours)
    steps = sorted(set(samples(decoded)))
    value = samples(decoded)
    assert all(abs(steps.index(value[a]) - steps.index(value[b])) == 1 for a, b in differ)


@pytest.mark.parametrize(
    ("package", "format", "is_needed"),
    [("soxr", PCM_16, True), ("soundfile", PCM_16, False), ("soundfile", G711[0], True)],
)
def test_without_the_extra_the_error_says_what_to_install(
    package: str, format: AudioFormat, is_needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert converter(OURS, OURS)(b"\1\2", last=True) == b"\1\2"
    for formats in ((OURS, format), (format, OURS)):
        if not is_needed:
            converter(*formats)
            continue
        with pytest.raises(UsageError) as caught:
            converter(*formats)
        assert package in caught.value.problem.message
        assert str(format.rate) in caught.value.problem.message
        assert "[audio]" in caught.value.problem.hint


def ffmpeg(audio: bytes, source: str, target: str) -> bytes:
    command = ["ffmpeg", "-loglevel", "error", "-f", source, "-ar", "8000", "-i", "-"]
    try:
        ran = subprocess.run([*command, "-f", target, "-"], input=audio, stdout=subprocess.PIPE)
    except FileNotFoundError:
        pytest.skip("ffmpeg is not installed")
    return ran.stdout


# ---------------------------------------------------------------------------- audio of a session


def audio_of(commands: list[Command]) -> bytes:
    return b"".join(each.audio for each in commands if isinstance(each, AppendAudio))


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_what_is_sent_is_converted(format: AudioFormat) -> None:
    session = SessionAudio(format, None)
    expected = converter(OURS, format)(SOUND, last=True)
    appends = [AppendAudio(SOUND[at : at + 960]) for at in range(0, len(SOUND), 960)]
    for _ in range(2):  # each turn begins anew
        sent = [each for append in appends for each in session.outgoing(append)]
        commands = [*sent, *session.outgoing(CommitAudio())]
        assert audio_of(commands) == expected
        assert commands[-1] == CommitAudio()
    item = Message("user", (Part("audio", data=b64encode(SOUND).decode()), Part("text", "Hi.")))
    (command,) = session.outgoing(AddItem(item))
    assert isinstance(command, AddItem)
    assert isinstance(command.item, Message)
    assert command.item.parts[0].data == b64encode(expected).decode()
    assert command.item.parts[1] == Part("text", "Hi.")
    close = CloseSession()
    sent = [each for append in appends for each in session.outgoing(append)]
    assert audio_of([*sent, *session.outgoing(close)]) == expected
    list(session.outgoing(AppendAudio(SOUND[:1000])))
    assert list(session.outgoing(ClearAudio())) == [ClearAudio()]


def spoken(audio: bytes, item: str = "i", response: str = "r") -> Delta:
    return Delta(Channel.AUDIO, b64encode(audio).decode(), response, item)


def heard(session: SessionAudio, *events: ServerEvent) -> dict[str, bytes]:
    """The audio of each item."""
    out: dict[str, bytes] = {}
    for event in chain.from_iterable(map(session.incoming, events)):
        if isinstance(event, Delta):
            out[event.item_id] = out.get(event.item_id, b"") + read_audio(event)
    return out


ENDS: list[ServerEvent] = [
    ChannelDone(Channel.AUDIO, "", "r", "i"),
    ReplyEnded("r", Status.COMPLETED),
    ReplyEnded("", Status.COMPLETED),
    SessionEnded(),
]


@pytest.mark.parametrize("end", ENDS, ids=str)
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_what_is_received_is_converted_to_its_last_sample(
    format: AudioFormat, end: ServerEvent
) -> None:
    session = SessionAudio(None, format)
    encoded = converter(OURS, format)(SOUND, last=True)
    whole = converter(format, OURS)(encoded, last=True)
    for _ in range(2):
        deltas = [spoken(encoded[at : at + 333]) for at in range(0, len(encoded), 333)]
        assert heard(session, *deltas, end) == {"i": whole}
        assert list(session.incoming(end)) == [end]


def test_parts_may_interleave_and_another_reply_may_end_meanwhile() -> None:
    ulaw = G711[0]
    session = SessionAudio(None, ulaw)
    one, two = (converter(OURS, ulaw)(tone(hertz, 0.2), last=True) for hertz in (300, 500))
    first, second = (converter(ulaw, OURS)(each, last=True) for each in (one, two))
    other = ReplyEnded("other", Status.CANCELLED)
    early = spoken(one[:700], "a"), spoken(two[:300], "b")
    late = spoken(one[700:], "a"), spoken(two[300:], "b")
    events = *early, other, *late, ReplyEnded("r", Status.COMPLETED)
    assert heard(session, *events) == {"a": first, "b": second}


def test_a_part_keeps_the_format_in_which_it_began() -> None:
    ulaw, alaw = G711
    session = SessionAudio(None, OURS)
    code = b"\x10" * 2400
    done = ChannelDone(Channel.AUDIO, "", "r", "i")
    assert heard(session, spoken(code))["i"] == code
    session.use(UseFormats(None, ulaw))
    assert heard(session, spoken(code))["i"] == code
    assert heard(session, done) == {}
    expected = converter(ulaw, OURS)(code, last=True)
    early = heard(session, spoken(code))["i"]
    session.use(UseFormats(None, alaw))
    assert early + heard(session, done)["i"] == expected
    expected = converter(alaw, OURS)(code, last=True)
    assert heard(session, spoken(code), done)["i"] == expected
    session.reset()
    assert heard(session, spoken(code), done)["i"] == code


def test_audio_without_an_item_has_each_new_format_at_once() -> None:
    session = SessionAudio(None, OURS)
    assert heard(session, spoken(b"\x10" * 100, item=""))[""] == b"\x10" * 100
    session.use(UseFormats(None, AudioFormat(Encoding.ULAW, 24_000)))
    assert len(heard(session, spoken(b"\x10" * 100, item=""))[""]) == 200


def test_a_delta_may_name_its_format() -> None:
    """As those of translations do."""
    session = SessionAudio(None, OURS)
    expected = converter(G711[0], OURS)(b"\x10" * 2400, last=True)
    named = NamedFormat("pcmu", 8_000, Encoding.ULAW)
    delta = replace(spoken(b"\x10" * 2400, item=""), format=named)
    assert heard(session, delta, SessionEnded())[""] == expected
    wide = NamedFormat("pcm16", 48_000, Encoding.PCM)
    both = [delta, replace(spoken(bytes(9600), item=""), format=wide)]
    heard(session, *both)
    assert len(heard(session, *both, SessionEnded())[""]) <= len(expected) + 4800


@pytest.mark.parametrize("delta", [spoken(b"OggS" + bytes(100)), Delta(Channel.AUDIO, "!", "r")])
def test_what_is_not_samples_is_left_to_the_conversation(delta: Delta) -> None:
    assert list(SessionAudio(None, G711[0]).incoming(delta)) == [delta]


def test_other_events_do_not_change() -> None:
    session = SessionAudio(G711[0], G711[0])
    created, text = SessionCreated("s", "m"), Delta(Channel.TEXT, "Hi.", "r", "i")
    assert [*session.incoming(created), *session.incoming(text)] == [created, text]
    assert list(session.outgoing(CommitAudio())) == [CommitAudio()]


def test_a_server_may_begin_any_number_of_parts() -> None:
    session = SessionAudio(None, G711[0])
    heard(session, *(spoken(b"\xff" * 10, item=f"{number}") for number in range(500)))
    assert len(heard(session, ReplyEnded("r", Status.COMPLETED))) <= 100


def test_a_server_whose_format_needs_a_missing_package_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The format is known only when the session is open."""
    ulaw = {"type": "audio/pcmu"}
    session = {"type": "realtime", "id": "s", "audio": {"output": {"format": ulaw}}}
    created, expected, _ = HELLO
    server = ScriptedServer(
        (created, expected, Emit({"type": "session.updated", "session": session}))
    )
    view = Screen()
    speech = SpeechOptions(speaks=True, output_rate=24_000)
    conversation = Conversation("m", Options(modality="audio"), mode=Mode.ONCE, speech=speech)
    ports = SessionParts(view, server.connect, conversion=SessionAudio(None, OURS))
    monkeypatch.setitem(sys.modules, "soundfile", None)

    async def ask(post: Post) -> None:
        post(UserSaid("Hi."))
        post(InputEnded())

    assert run_fast(lambda: Session(conversation, ports).run(ask)) is ExitCode.USAGE
    (over,) = (update for update in view.updates if isinstance(update, ReplyOver))
    assert over.problem is not None
    assert "soundfile" in over.problem.message
    assert [each["type"] for each in server.links[0].sent] == ["session.update"]


def test_a_session_frees_its_converters_at_its_end() -> None:
    server = ScriptedServer(HELLO)
    conversion = SessionAudio(PCM_16, None)
    ports = SessionParts(Screen(), server.connect, conversion=conversion)

    async def end(post: Post) -> None:
        post(InputEnded())

    assert run_fast(lambda: Session(Conversation("m", Options()), ports).run(end)) is ExitCode.OK
    audio = AppendAudio(bytes(4))
    assert list(conversion.outgoing(audio)) == [audio], "audio is still converted"
