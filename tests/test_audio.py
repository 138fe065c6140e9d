"""Audio files: every WAV there is, those that lie, other formats, pipes, and what is no audio."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from importlib.util import find_spec
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.audio.files import LONGEST, RATE, arriving, level, read, stream
from rtchat.core.errors import UsageError
from tests.sounds import frequency, tone

needs_audio = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("soxr", "soundfile")),
    reason="the extra audio is not installed",
)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
TONE = tone(440, 0.5)


def wav(
    data: bytes = TONE,
    *,
    tag: int = PCM,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    size: int | None = None,
    after: bytes = b"",
) -> bytes:
    """A WAV; `size` is what it says of its length if that is not true."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    if tag == EXTENSIBLE:
        form += struct.pack(
            "<HHIH14s", 22, bits, 0, PCM, b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        )
    said = len(data) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", 3) + b"odd\0" + b"data" + struct.pack("<I", said) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks + after


def encoded(kind: str, *, rate: int, channels: int) -> bytes:
    """A second of a tone at 440 Hz in the first channel, and silence in the others."""
    import numpy as np

    sine = np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 0.8
    frames = np.zeros((rate, channels))
    frames[:, 0] = sine
    match kind:
        case "u8":
            return (frames * 127 + 128).astype("u1").tobytes()
        case "s24":
            whole = (frames * (2**31 - 1)).astype("<i4").reshape(-1, 1).view("u1")
            return bytes(whole.reshape(-1, 4)[:, 1:].tobytes())
        case "s16" | "s32":
            bits = int(kind[1:])
            return bytes((frames * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes())
        case _:
            return bytes(frames.astype(f"<f{int(kind[1:]) // 8}").tobytes())


@contextmanager
def piped(data: bytes, *, again: bytes = b"") -> Iterator[int]:
    """A pipe with something in it, and then without end whatever is to come again."""
    reading, writing = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=0) as file:
            file.write(data)
            while again:
                file.write(again)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()


def refusal(source: Path | int) -> str:
    with pytest.raises(UsageError) as caught:
        read(source)
    return str(caught.value)


def file_with(folder: Path, data: bytes) -> Path:
    path = folder / "some.wav"
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------- a WAV


def test_a_wav_as_the_api_wants_it_needs_no_other_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "soxr", "soundfile"):
        monkeypatch.setitem(sys.modules, name, None)
    assert read(file_with(tmp_path, wav())) == TONE


@needs_audio
@pytest.mark.parametrize("rate", [8000, 11025, 24000, 44100, 48000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("kind", ["u8", "s16", "s24", "s32", "f32", "f64"])
def test_any_other_wav_becomes_one(tmp_path: Path, kind: str, channels: int, rate: int) -> None:
    tag, bits = FLOAT if kind[0] == "f" else PCM, int(kind[1:])
    data = encoded(kind, rate=rate, channels=channels)
    audio = read(file_with(tmp_path, wav(data, tag=tag, bits=bits, rate=rate, channels=channels)))
    assert len(audio) // 2 == pytest.approx(RATE, abs=2)
    middle = audio[RATE // 2 : -RATE // 2]
    assert frequency(middle) == pytest.approx(440, rel=0.005)
    loudest = max(struct.unpack(f"<{len(middle) // 2}h", middle))
    assert loudest == pytest.approx(0.8 * 32767 / channels, rel=0.03)


@needs_audio
@needs_audio
def test_a_wav_whose_samples_stand_in_wider_ones(tmp_path: Path) -> None:
    data = encoded("s32", rate=RATE, channels=1)
    wider = bytearray(wav(data, bits=32))
    wider[34] = 24
    assert read(file_with(tmp_path, bytes(wider))) == read(file_with(tmp_path, wav(data, bits=32)))


@pytest.mark.parametrize("bits", [16, 24])
def test_a_wav_with_the_long_header(tmp_path: Path, bits: int) -> None:
    data = encoded(f"s{bits}", rate=RATE, channels=1)
    audio = read(file_with(tmp_path, wav(data, tag=EXTENSIBLE, bits=bits)))
    assert len(audio) == 2 * RATE
    assert frequency(audio) == pytest.approx(440, rel=0.005)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000, len(TONE) + 9])
def test_a_wav_that_lies_about_its_length_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    assert read(file_with(tmp_path, wav(size=size))) == TONE
    with piped(wav(size=size)) as pipe:
        assert read(pipe) == TONE


def test_half_a_sample_at_the_end_is_dropped(tmp_path: Path) -> None:
    assert read(file_with(tmp_path, wav(TONE + b"\1"))) == TONE
    assert read(file_with(tmp_path, wav(size=len(TONE) - 1))) == TONE[:-2]


def test_what_comes_after_the_audio_is_none(tmp_path: Path) -> None:
    assert read(file_with(tmp_path, wav(after=b"LIST\4\0\0\0abcd"))) == TONE


@needs_audio
def test_floats_that_are_too_large_or_no_numbers_are_heard_as_what_can_be(tmp_path: Path) -> None:
    data = struct.pack("<6d", nan, inf, -inf, 1e300, 0.5, -7.0)
    audio = read(file_with(tmp_path, wav(data, tag=FLOAT, bits=64)))
    assert struct.unpack("<6h", audio) == (0, 32767, -32768, 32767, 16384, -32768)


# -------------------------------------------------------------------------------------- no such WAV

WRONG = {
    b"": "is empty: give a recording",
    wav()[:11]: "is no audio, or damaged: give a WAV, FLAC, OGG or MP3 file",
    wav()[:30]: "is a damaged WAV (it ends in its header): open it in another program",
    wav(b""): "has no audio in it: record it again",
    wav(b"\1"): "has no audio in it: record it again",
    wav(channels=0): "is a damaged WAV (0 channels, 24000 Hz, 16 bits)",
    wav(rate=0): "is a damaged WAV (1 channels, 0 Hz, 16 bits)",
    b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd": "is a damaged WAV (it does not say its format)",
    b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff": "is a damaged WAV (it ends in its header)",
    b"RIFF\0\0\0\0WAVEfmt \2\0\0\0ab": "is a damaged WAV (it does not say its format)",
    b"Dear diary,\n" * 99: "is no audio, or damaged: give a WAV, FLAC, OGG or MP3 file",
    b"ID3\4" + bytes(999): "is no audio, or damaged: give a WAV, FLAC, OGG or MP3 file",
    wav(bits=64): "is no audio, or damaged: give a WAV, FLAC, OGG or MP3 file",
}


@needs_audio
@pytest.mark.parametrize("data", WRONG)
def test_what_is_no_recording_is_told_in_a_line(tmp_path: Path, data: bytes) -> None:
    path = file_with(tmp_path, data)
    assert refusal(path).startswith(f"{path} {WRONG[data]}")
    with piped(data) as pipe:
        assert refusal(pipe).startswith(f"stdin {WRONG[data]}")


def test_a_place_where_no_file_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path) == f"{tmp_path} is a folder: give a recording in it"
    assert refusal(tmp_path / "a\nb") == f"there is no file {tmp_path}/a\ufffdb: check its name"
    fifo = refusal(tmp_path / "fifo")
    assert fifo == f"{tmp_path}/fifo is not a regular file: pipe it in, and name it -"
    assert "cannot be read (embedded null byte)" in refusal(tmp_path / "a\0")


def test_a_descriptor_that_cannot_be_read(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert refusal(descriptor).startswith("stdin cannot be read (Is a directory)")
    finally:
        os.close(descriptor)


def test_without_the_extra_it_is_said_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = "pip install 'rtchat[audio]', or give a 24 kHz mono 16-bit WAV"
    monkeypatch.setitem(sys.modules, "soxr", None)
    path = file_with(tmp_path, wav(rate=16000))
    assert refusal(path) == f"{path} is not at 24 kHz, mono and 16-bit, which takes soxr: {hint}"
    monkeypatch.setitem(sys.modules, "soundfile", None)
    path.write_bytes(b"fLaC")
    assert refusal(path) == f"{path} is not a WAV of plain samples, which takes soundfile: {hint}"


def test_half_an_hour_is_the_most(tmp_path: Path) -> None:
    path = file_with(tmp_path, wav(b""))
    os.truncate(path, path.stat().st_size + LONGEST * 60 * RATE * 2)
    assert len(read(path)) == LONGEST * 60 * RATE * 2
    os.truncate(path, path.stat().st_size + 2)
    assert refusal(path).startswith(f"{path} is longer than 30 minutes: give a part of it")


HEADER = len(wav(b""))


@needs_audio
@settings(max_examples=300)
@given(st.data())
def test_no_header_does_more_than_be_refused(data: st.DataObject) -> None:
    whole = bytearray(wav(TONE[:400]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, HEADER - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    with piped(bytes(whole[:end])) as pipe, suppress(UsageError):
        assert read(pipe)


# ----------------------------------------------------------------------------- formats, and streams


@needs_audio
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "ULAW")],
)
def test_other_formats(tmp_path: Path, kind: str, subtype: str) -> None:
    import numpy as np
    import soundfile

    path = tmp_path / "some"
    # Floats: of integers libsndfile makes another MP3.
    samples = np.frombuffer(tone(440, 2, rate=44100), "<i2").astype("f4") / 32768
    soundfile.write(path, np.stack([samples, samples], 1), 44100, format=kind, subtype=subtype)
    with path.open("rb") as file:
        for audio in (read(path), read(file.fileno())):
            assert len(audio) / 2 / RATE == pytest.approx(2, abs=0.06)
            assert frequency(audio[RATE:-RATE]) == pytest.approx(440, rel=0.01)


@needs_audio
def test_what_can_be_decoded_only_from_its_end_has_to_have_one() -> None:
    with piped(b"fLaC", again=bytes(1 << 20)) as pipe:
        assert refusal(pipe) == (
            "stdin has more than 64 MB: give the name of the file, or pipe in a WAV"
        )


@needs_audio
@pytest.mark.parametrize("rate", [RATE, 16000])
def test_a_pipe_without_end_is_heard_as_it_comes(rate: int) -> None:
    second = tone(400, 1, rate=rate)
    with piped(wav(b"", size=0, rate=rate), again=second) as pipe:
        pieces = stream(pipe)
        some = [next(pieces) for _ in range(30)]
    assert frequency(b"".join(some)) == pytest.approx(400, rel=0.01)
    assert {round(len(piece) / 2 / RATE, 1) for piece in some[1:]} == {0.1}


def test_pieces_are_all_that_there_is_and_no_more_than_is_asked_for(tmp_path: Path) -> None:
    pieces = list(stream(file_with(tmp_path, wav())))
    assert (b"".join(pieces), {len(piece) for piece in pieces}) == (TONE, {RATE // 10 * 2})


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    with piped(wav()) as pipe:
        os.set_blocking(pipe, False)
        assert read(pipe) == TONE


async def gathered(source: Path | int) -> bytes:
    return b"".join([piece async for piece in arriving(source)])


def test_a_loop_goes_on_while_audio_arrives(tmp_path: Path) -> None:
    whole = TONE * 40  # more than is read ahead
    assert asyncio.run(gathered(file_with(tmp_path, wav(whole)))) == whole
    with pytest.raises(UsageError, match="is a folder"):
        asyncio.run(gathered(tmp_path))


def test_who_has_heard_enough_leaves_no_thread_behind(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with aclosing(arriving(file_with(tmp_path, wav(TONE * 100)))) as pieces:
            return await anext(pieces)

    assert asyncio.run(main()) == TONE[: RATE // 10 * 2]
    for thread in threading.enumerate():
        if thread.name == "audio":
            thread.join(30)
            assert not thread.is_alive()


def test_a_program_can_end_while_a_pipe_is_silent() -> None:
    program = (
        "import asyncio\nfrom rtchat.audio.files import arriving\n"
        "async def main():\n async for piece in arriving(0):\n  print(len(piece)); return\n"
        "asyncio.run(main())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        child.stdin.write(wav(size=0)[: HEADER + 4800])
        child.stdin.flush()
        assert child.stdout.readline() == b"4800\n"
        assert child.wait(30) == 0


# ------------------------------------------------------------------------------------------- meters


def test_a_meter_shows_decibels() -> None:
    assert [level(b""), level(b"\1"), level(bytes(960))] == [0, 0, 0]
    assert level(tone(440, 0.02, loud=1)) == pytest.approx(0.95, abs=0.01)
    assert level(tone(440, 0.02, loud=0.1)) == pytest.approx(0.62, abs=0.01)
    assert level(struct.pack("<4h", *[-32768] * 4)) == 1
    assert level(struct.pack("<4h", 1, 1, 1, 1)) == 0
