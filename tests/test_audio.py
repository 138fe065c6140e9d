"""Audio files: all WAV formats, wrong headers, other formats, pipes, and invalid files."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
from contextlib import aclosing, suppress
from importlib.util import find_spec
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.audio.files import MAX_MINUTES, read, stream, stream_async
from rtchat.audio.pcm import RATE, level
from rtchat.core.errors import UsageError
from tests.program import Program, piped
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
    """A WAV file. `size` is the length in the header, if it is wrong."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    if tag == EXTENSIBLE:
        form += struct.pack(
            "<HHIH14s", 22, bits, 0, PCM, b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        )
    length = len(data) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", 3) + b"odd\0" + b"data" + struct.pack("<I", length) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks + after


def encoded(kind: str, *, rate: int, channels: int) -> bytes:
    """One second of a 440 Hz tone in the first channel, and silence in the others."""
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


def refusal(source: Path | int, *, hint: str = "") -> str:
    """The error message. Its hint must contain `hint` and not be empty."""
    with pytest.raises(UsageError) as caught:
        read(source)
    assert caught.value.hint
    assert hint in caught.value.hint
    return caught.value.message


def file_with(folder: Path, data: bytes) -> Path:
    path = folder / "some.wav"
    path.write_bytes(data)
    return path


# --------------------------------------------------------------------------------------------- WAV


def test_a_wav_in_the_api_format_needs_no_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "soxr", "soundfile"):
        monkeypatch.setitem(sys.modules, name, None)
    assert read(file_with(tmp_path, wav())) == TONE


@needs_audio
@pytest.mark.parametrize("rate", [8000, 11025, 24000, 44100, 48000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("kind", ["u8", "s16", "s24", "s32", "f32", "f64"])
def test_other_wav_formats_are_converted(
    tmp_path: Path, kind: str, channels: int, rate: int
) -> None:
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
def test_a_wav_with_padded_samples(tmp_path: Path) -> None:
    data = encoded("s32", rate=RATE, channels=1)
    wider = bytearray(wav(data, bits=32))
    wider[34] = 24
    assert read(file_with(tmp_path, bytes(wider))) == read(file_with(tmp_path, wav(data, bits=32)))


@pytest.mark.parametrize("bits", [16, 24])
def test_a_wav_with_an_extensible_header(tmp_path: Path, bits: int) -> None:
    data = encoded(f"s{bits}", rate=RATE, channels=1)
    audio = read(file_with(tmp_path, wav(data, tag=EXTENSIBLE, bits=bits)))
    assert len(audio) == 2 * RATE
    assert frequency(audio) == pytest.approx(440, rel=0.005)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000, len(TONE) + 9])
def test_a_wav_with_a_wrong_length_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    assert read(file_with(tmp_path, wav(size=size))) == TONE
    with piped(wav(size=size)) as pipe:
        assert read(pipe) == TONE


def test_an_incomplete_sample_at_the_end_is_dropped(tmp_path: Path) -> None:
    assert read(file_with(tmp_path, wav(TONE + b"\1"))) == TONE
    assert read(file_with(tmp_path, wav(size=len(TONE) - 1))) == TONE[:-2]


def test_chunks_after_the_audio_are_ignored(tmp_path: Path) -> None:
    assert read(file_with(tmp_path, wav(after=b"LIST\4\0\0\0abcd"))) == TONE


@needs_audio
def test_float_samples_are_clipped_and_nan_is_silence(tmp_path: Path) -> None:
    data = struct.pack("<6d", nan, inf, -inf, 1e300, 0.5, -7.0)
    audio = read(file_with(tmp_path, wav(data, tag=FLOAT, bits=64)))
    assert struct.unpack("<6h", audio) == (0, 32767, -32768, 32767, 16384, -32768)


# ----------------------------------------------------------------------------------- invalid files

INVALID = {
    b"": "empty",
    wav()[:11]: "not an audio file",
    wav()[:30]: "damaged WAV file (incomplete",
    wav(b""): "no audio",
    wav(b"\1"): "no audio",
    wav(channels=0): "damaged WAV file (0 channels, 24000 Hz, 16 bits)",
    wav(rate=0): "damaged WAV file (1 channels, 0 Hz, 16 bits)",
    b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd": "damaged WAV file (no format in its header)",
    b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff": "damaged WAV file (incomplete",
    b"RIFF\0\0\0\0WAVEfmt \2\0\0\0ab": "damaged WAV file (no format in its header)",
    b"Dear diary,\n" * 99: "not an audio file",
    b"ID3\4" + bytes(999): "damaged",
    wav(bits=64): "damaged",
}


@needs_audio
@pytest.mark.parametrize("data", INVALID)
def test_invalid_files_are_usage_errors_of_one_line(tmp_path: Path, data: bytes) -> None:
    path = file_with(tmp_path, data)
    message = refusal(path)
    assert message.startswith(f"{path} ")
    assert INVALID[data] in message
    with piped(data) as pipe:
        message = refusal(pipe)
        assert message.startswith("stdin ")
        assert INVALID[data] in message


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path) == f"{tmp_path} is a folder"
    assert f"{tmp_path}/a\ufffdb" in refusal(tmp_path / "a\nb")
    assert refusal(tmp_path / "fifo") == f"{tmp_path}/fifo is not a regular file"
    assert "(embedded null byte)" in refusal(tmp_path / "a\0")


@pytest.mark.parametrize("name", ["", "https://example.org/a.wav"])
@pytest.mark.parametrize("command", [["once", "--audio-in"], ["translate", "--to", "es"]])
def test_what_is_no_name_of_a_file_is_refused(
    tmp_path: Path, command: list[str], name: str
) -> None:
    ran = Program(tmp_path).run(*command, name, "--url", "ws://127.0.0.1:1")
    assert (ran.code, ran.text, bool(ran.hint)) == (2, "", True)


def test_an_unreadable_descriptor_is_a_usage_error(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert refusal(descriptor) == "stdin cannot be read (Is a directory)"
    finally:
        os.close(descriptor)


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "soxr", None)
    path = file_with(tmp_path, wav(rate=16000))
    assert "needs the package soxr" in refusal(path, hint="[audio]")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    path.write_bytes(b"fLaC")
    assert "needs the package soundfile" in refusal(path, hint="[audio]")


def test_the_length_of_a_file_is_limited(tmp_path: Path) -> None:
    path = file_with(tmp_path, wav(b""))
    os.truncate(path, path.stat().st_size + MAX_MINUTES * 60 * RATE * 2)
    assert len(read(path)) == MAX_MINUTES * 60 * RATE * 2
    os.truncate(path, path.stat().st_size + 2)
    assert refusal(path) == f"{path} is longer than 30 minutes"


def test_the_length_of_a_header_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with path.open("wb") as file:
        file.write(b"RIFF\0\0\0\0WAVE")
        for _ in range(2):
            file.write(b"JUNK" + struct.pack("<I", 40_000_000))
            file.seek(40_000_000, os.SEEK_CUR)
        file.write(wav(TONE)[12:])
    assert "too long header" in refusal(path)


HEADER = len(wav(b""))


@needs_audio
@settings(max_examples=300)
@given(st.data())
def test_any_header_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(wav(TONE[:400]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, HEADER - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    with piped(bytes(whole[:end])) as pipe, suppress(UsageError):
        assert read(pipe)


# ---------------------------------------------------------------------------- formats, and streams


@needs_audio
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "ULAW")],
)
def test_other_formats(tmp_path: Path, kind: str, subtype: str) -> None:
    import numpy as np
    import soundfile

    path = tmp_path / "some"
    # Floats, because libsndfile encodes integers as a different MP3.
    samples = np.frombuffer(tone(440, 2, rate=44100), "<i2").astype("f4") / 32768
    soundfile.write(path, np.stack([samples, samples], 1), 44100, format=kind, subtype=subtype)
    with path.open("rb") as file:
        for audio in (read(path), read(file.fileno())):
            assert len(audio) / 2 / RATE == pytest.approx(2, abs=0.06)
            assert frequency(audio[RATE:-RATE]) == pytest.approx(440, rel=0.01)


@needs_audio
def test_the_size_of_a_piped_file_without_streaming_is_limited() -> None:
    with piped(b"fLaC", again=bytes(1 << 20)) as pipe:
        assert refusal(pipe) == "stdin is larger than 64 MB"


@needs_audio
@pytest.mark.parametrize("rate", [RATE, 16000])
def test_an_endless_pipe_is_streamed(rate: int) -> None:
    second = tone(400, 1, rate=rate)
    with piped(wav(b"", size=0, rate=rate), again=second) as pipe:
        pieces = stream(pipe)
        some = [next(pieces) for _ in range(30)]
    assert frequency(b"".join(some)) == pytest.approx(400, rel=0.01)
    assert {round(len(piece) / 2 / RATE, 1) for piece in some[1:]} == {0.1}


def test_async_streaming_is_complete_and_reads_ahead_a_limited_amount(tmp_path: Path) -> None:
    pieces = list(stream(file_with(tmp_path, wav())))
    assert (b"".join(pieces), {len(piece) for piece in pieces}) == (TONE, {RATE // 10 * 2})


def test_a_non_blocking_pipe_is_waited_for() -> None:
    with piped(wav()) as pipe:
        os.set_blocking(pipe, False)
        assert read(pipe) == TONE


async def collect(source: Path | int) -> bytes:
    return b"".join([piece async for piece in stream_async(source)])


def test_async_streaming_does_not_block_the_loop(tmp_path: Path) -> None:
    whole = TONE * 40  # more than is read ahead
    assert asyncio.run(collect(file_with(tmp_path, wav(whole)))) == whole
    with pytest.raises(UsageError, match="is a folder"):
        asyncio.run(collect(tmp_path))


def test_closing_the_stream_ends_its_thread(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with aclosing(stream_async(file_with(tmp_path, wav(TONE * 100)))) as pieces:
            return await anext(pieces)

    assert asyncio.run(main()) == TONE[: RATE // 10 * 2]
    for thread in threading.enumerate():
        if thread.name == "audio":
            thread.join(30)
            assert not thread.is_alive()


def test_the_program_can_exit_while_a_pipe_is_silent() -> None:
    program = (
        "import asyncio\nfrom rtchat.audio.files import stream_async\n"
        "async def main():\n async for piece in stream_async(0):\n  print(len(piece)); return\n"
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


# ------------------------------------------------------------------------------------------- level


def test_the_level_is_linear_in_decibels() -> None:
    assert [level(b""), level(b"\1"), level(bytes(960))] == [0, 0, 0]
    assert level(tone(440, 0.02, loud=1)) == pytest.approx(0.95, abs=0.01)
    assert level(tone(440, 0.02, loud=0.1)) == pytest.approx(0.62, abs=0.01)
    assert level(struct.pack("<4h", *[-32768] * 4)) == 1
    assert level(struct.pack("<4h", 1, 1, 1, 1)) == 0
