"""The audio files that phones, browsers and recorders make: whole, truncated, damaged, empty and
piped; and files that are made to do harm."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.audio.completeness import find_damage
from rtchat.audio.file_format import recognise
from rtchat.audio.files import read, stream
from rtchat.audio.pcm import RATE
from rtchat.core.errors import ExitCode, Problem, UsageError
from tests.audio_samples import ALL, SAMPLES, SECONDS, USUAL, encode, needs_ffmpeg, sample_file
from tests.program import Program, piped
from tests.script_server import scripted_server
from tests.sounds import frequency
from tests.test_audio import needs_audio

pytestmark = [needs_ffmpeg, needs_audio]
_WITHOUT_FFMPEG = ("mp3", "ogg vorbis", "flac")


def read_bytes(folder: Path, data: bytes) -> tuple[bytes, list[Problem]]:
    """What is read from a file, and the damage that is reported."""
    path = folder / "some.txt"  # the name does not matter
    path.write_bytes(data)
    problems: list[Problem] = []
    return read(path, problems.append), problems


def cut(data: bytes) -> bytes:
    return data[: len(data) * 7 // 10]


@pytest.fixture(params=["with ffmpeg", "without ffmpeg"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Each of the two decoders."""
    for name in _WITHOUT_FFMPEG:
        sample_file(name)
    if request.param == "without ffmpeg":
        monkeypatch.setenv("PATH", str(tmp_path))
    return str(request.param)


# ------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize("name", ALL)
def test_a_file_is_read_completely(tmp_path: Path, name: str) -> None:
    audio, problems = read_bytes(tmp_path, sample_file(name))
    assert problems == []
    assert len(audio) / 2 / RATE == pytest.approx(SECONDS, abs=0.1)
    if name != "amr":
        assert frequency(audio[RATE // 2 : -RATE // 2]) == pytest.approx(440, rel=0.02)


@pytest.mark.parametrize(
    "name",
    ["m4a", *(pytest.param(name, marks=pytest.mark.full) for name in SAMPLES if name != "m4a")],
)
def test_a_piped_file_is_read_like_a_named_one(tmp_path: Path, name: str) -> None:
    whole, _ = read_bytes(tmp_path, sample_file(name))
    with piped(sample_file(name)) as pipe:
        assert read(pipe) == whole


@pytest.mark.parametrize("name", ALL)
def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    if sample.has_late_index:
        with pytest.raises(UsageError, match="damaged"):
            read_bytes(tmp_path, cut(sample_file(name)))
        return
    audio, problems = read_bytes(tmp_path, cut(sample_file(name)))
    assert 0.1 < len(audio) / 2 / RATE < SECONDS - 0.1
    assert [problem.exit for problem in problems] == ([] if sample.hides_cuts else [ExitCode.REPLY])


@pytest.mark.parametrize("name", _WITHOUT_FFMPEG)
@pytest.mark.parametrize("change", ["truncated", "damaged"])
def test_damage_is_reported_by_both_decoders(
    tmp_path: Path, decoder: str, name: str, change: str
) -> None:
    whole = sample_file(name)
    place = len(whole) * 8 // 10
    hole = whole[:place] + bytes(200) + whole[place + 200 :]
    audio, problems = read_bytes(tmp_path, cut(whole) if change == "truncated" else hole)
    assert audio
    assert [problem.exit for problem in problems] == [ExitCode.REPLY]
    assert read_bytes(tmp_path, whole)[1] == []


def test_the_missing_part_is_measured_if_it_is_known(tmp_path: Path, decoder: str) -> None:
    audio, (problem,) = read_bytes(tmp_path, cut(sample_file("mp3")))
    missing = SECONDS - len(audio) / 2 / RATE
    (number,) = [float(word) for word in problem.message.split() if word[:1].isdecimal()]
    assert number == pytest.approx(missing, abs=0.1)


def test_without_ffmpeg_the_error_names_the_format_and_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sample_file("m4a")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"is MPEG-4, .* ffmpeg") as caught:
        read_bytes(tmp_path, data)
    assert "install ffmpeg" in caught.value.hint


def test_with_ffmpeg_no_package_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("numpy", "soxr", "soundfile"):
        monkeypatch.setitem(sys.modules, package, None)
    assert read_bytes(tmp_path, sample_file("flac"))[1] == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -SEGV $$", "failed (signal 11)"),
        ("echo 'ffmpeg: error while loading shared libraries' >&2; exit 127", "(exit code 127)"),
        ("head -c 9000000 /dev/zero >&2; kill -KILL $$", "failed (signal 9)"),
    ],
)
def test_a_failure_of_ffmpeg_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    data = sample_file("m4a")
    (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UsageError) as caught:
        read_bytes(tmp_path, data)
    assert words in caught.value.message
    assert "ffmpeg" in caught.value.hint


def test_a_file_without_sound_is_a_usage_error(tmp_path: Path) -> None:
    picture = encode(
        "mp4", *("-f", "lavfi", "-i", "testsrc=duration=1"), "-map", "1", "-c:v", "mpeg4"
    )
    with pytest.raises(UsageError, match="contains no audio"):
        read_bytes(tmp_path, picture)


def test_closing_the_stream_ends_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "long.m4a"
    path.write_bytes(sample_file("flac", 60.0))
    with closing(stream(path)) as pieces:
        next(pieces)
        assert _children() == ["ffmpeg"]
    assert _children() == []


def _children() -> list[str]:
    """The names of the processes that this one has started and that still run ffmpeg."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, _, rest = (process / "stat").read_text().rpartition(") ")
            if rest.split()[1] == str(os.getpid()) and name.endswith("(ffmpeg"):
                found.append("ffmpeg")
    return found


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name",
    [
        "-i.m4a",
        "http://x.m4a",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("a\nb.m4a", "concat:a|b", "file:x", "pipe:0", "%d.m4a", "ä")
        ),
    ],
)
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sample_file("m4a"))
    assert len(read(path)) / 2 / RATE == pytest.approx(SECONDS, abs=0.1)


# ----------------------------------------------------------------------------------- hostile files


def _playlists(url: str) -> dict[str, str]:
    return {
        "m3u": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{url}/a.m4a'\nfile secret.m4a\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        "pls": f"[playlist]\nFile1={url}/a.mp3\nNumberOfEntries=1\n",
        "dash": f'<?xml version="1.0"?>\n<MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
        "asx": f'<asx version="3.0"><entry><ref href="{url}/a.wma"/></entry></asx>',
        "text": "Dear diary,\n" * 1000,
    }


@pytest.mark.parametrize(
    "name",
    [
        "m3u",
        "ffconcat",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("sdp", "pls", "dash", "asx", "text")
        ),
    ],
)
def test_a_playlist_opens_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.m4a").write_bytes(sample_file("m4a"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = _playlists(f"http://127.0.0.1:{server.getsockname()[1]}")[name]
        for prefix in ("", "ID3\4\0\0\0\0\0\0"):
            path = tmp_path / "list.mp3"
            path.write_text(prefix + text)
            with pytest.raises(UsageError):
                read(path)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def _box(name: bytes, content: bytes, size: int | None = None) -> bytes:
    length = len(content) + 8 if size is None else size
    return length.to_bytes(4, "big") + name + content


def _nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = _box(b"moov", content)
    return _box(b"ftyp", b"M4A \0\0\0\0") + content


HOSTILE = {
    "a box as large as can be": _box(b"ftyp", b"M4A \0\0\0\0") + _box(b"moov", b"", 0xFFFF_FFFF),
    "a box of 64-bit length": _box(b"ftyp", b"M4A \0\0\0\0") + _box(b"mdat", b"\xff" * 8, 1),
    "a box shorter than its header": _box(b"ftyp", b"", 3),
    "nested boxes": _nested(5000),
    "EBML without end": b"\x1aE\xdf\xa3\x01" + b"\xff" * 7,
    "nested EBML": b"\x1aE\xdf\xa3" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 3000,
    "an ID3 tag of 256 MB": b"ID3\4\0\0" + b"\x7f" * 4 + bytes(100),
    "ID3 tags without end": b"ID3\4\0\0\0\0\0\0" * 5000,
    "an Ogg page of nothing": b"OggS" + bytes(23),
    "an ASF header of 2**63 bytes": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c"
    + b"\xff" * 14,
    "a FLAC of unknown everything": b"fLaC\x80\0\0\x22" + b"\xff" * 34,
    "AIFF chunks": b"FORM\xff\xff\xff\xffAIFFSSND\xff\xff\xff\xff" + bytes(20),
    "CAF chunks": b"caff\0\1\0\0desc" + b"\x7f" * 8 + bytes(40),
    "W64 chunks": b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + bytes(24) + b"\xff" * 40,
    "AU": b".snd" + b"\xff" * 20,
    "TTA frames": b"TTA1\1\0\xff\xff\xff\xff" + b"\xff" * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_bytes(tmp_path, HOSTILE[name])
    assert "\n" not in caught.value.message


@settings(max_examples=30)
@given(st.data())
def test_any_damage_is_judged(data: st.DataObject) -> None:
    whole = bytearray(sample_file(data.draw(st.sampled_from(USUAL))))
    for _ in range(data.draw(st.integers(0, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = BytesIO(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    if (known := recognise(file)) is not None:
        assert isinstance(find_damage(file, known, 1.0), str)


# ------------------------------------------------------------------------- what is no damage


def _damage(data: bytes, seconds: float = SECONDS) -> str:
    file = BytesIO(data)
    known = recognise(file)
    assert known is not None
    return find_damage(file, known, seconds)


def test_mp3_files_may_be_tagged_and_joined() -> None:
    mp3, plain = sample_file("mp3"), sample_file("mp3 without length")
    id3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    for tag in (b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(200), bytes(3000)):
        assert _damage(mp3 + tag) == ""
        assert _damage(plain + tag) == ""
    assert _damage(id3 + id3 + mp3 + id3 + mp3, 2 * SECONDS) == ""
    assert _damage(plain + b"junk" * 50 + plain) != ""
    assert _damage(plain[:-3]) != ""
    assert _damage(plain, SECONDS / 2) != ""


def test_ogg_files_may_be_chained() -> None:
    ogg = sample_file("ogg vorbis")
    assert _damage(ogg + ogg) == ""
    last = ogg.rindex(b"OggS")
    assert "incomplete" in _damage(ogg[:last])
    assert "incomplete" in _damage(ogg[: last + 10])
    assert "damaged" in _damage(ogg[:last] + ogg[last:].replace(b"OggS", b"NggS"))
    assert "damaged" in _damage(ogg[:-1] + bytes([ogg[-1] ^ 1]))
    pages = sample_file("ogg opus").split(b"OggS")
    assert len(pages) > 5
    assert "damaged" in _damage(b"OggS".join(pages[:4] + pages[5:]))


# --------------------------------------------------------------------------------------- programs


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    script = {"heard": ["What is the time?"] * 9, "rule": [{"text": "Noon."}]}
    program = Program(tmp_path)
    with scripted_server(script) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@pytest.mark.full
@pytest.mark.parametrize("name", SAMPLES)
def test_the_exit_code_says_whether_all_was_read(program: Program, name: str) -> None:
    """Each kind, whole, truncated, empty and piped."""
    sample, whole = SAMPLES[name], sample_file(name)
    part = (2, b"") if sample.has_late_index else (0 if sample.hides_cuts else 1, b"What")
    contents = {"whole": (whole, (0, b"What")), "cut": (cut(whole), part), "empty": (b"", (2, b""))}
    for content, expected in contents.values():
        (program.home / "said").write_bytes(content)
        run = partial(program.run, "transcribe", "--vad", "off")
        for ran in (run("said"), run("-", stdin=content)):
            assert (ran.code, ran.out[:4]) == expected
            if ran.code:
                assert ran.error
                assert ran.hint


@pytest.mark.parametrize(
    ("name", "is_cut", "code"),
    [
        pytest.param("m4a streamed", False, 0, marks=pytest.mark.full),
        ("m4a streamed", True, 1),
        pytest.param("m4a", True, 2, marks=pytest.mark.full),
        pytest.param("flac", True, 1, marks=pytest.mark.full),
    ],
)
def test_a_question_from_a_phone(program: Program, name: str, is_cut: bool, code: int) -> None:
    content = sample_file(name)
    (program.home / "question").write_bytes(cut(content) if is_cut else content)
    ran = program.run("once", "--audio-in", "question")
    assert (ran.code, ran.text) == (code, "" if code == 2 else "Noon.\n")
    assert not code or ran.error
