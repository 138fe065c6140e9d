"""Audio files as phones, browsers and recorders make them: whole, cut, damaged, empty, piped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path

import pytest

from rtchat.audio.completeness import find_damage
from rtchat.audio.file_format import recognise, skip_id3
from rtchat.audio.files import read, stream
from rtchat.audio.pcm import RATE
from rtchat.core.errors import ExitCode, Problem, UsageError
from tests.audio_samples import (
    ALL,
    SAMPLES,
    SECONDS,
    Sample,
    encode,
    needs_ffmpeg,
    sample_file,
)
from tests.program import Program, piped
from tests.script_server import scripted_server
from tests.sounds import SECOND, frequency, without_silence
from tests.test_audio import needs_audio

pytestmark = [needs_ffmpeg, needs_audio]
_WITHOUT_FFMPEG = ("mp3", "ogg vorbis", "flac")


def read_bytes(folder: Path, data: bytes) -> tuple[bytes, list[Problem]]:
    """What is read from a file, and the damage that is reported."""
    path = folder / "some.txt"  # the name does not matter
    path.write_bytes(data)
    problems: list[Problem] = []
    return read(path, problems.append), problems


def cut(data: bytes, part: float = 0.7) -> bytes:
    return data[: round(len(data) * part)]


def seconds_of(audio: bytes) -> float:
    return len(audio) / 2 / RATE


@pytest.fixture
def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in _WITHOUT_FFMPEG:
        sample_file(name)  # which ffmpeg makes
    monkeypatch.setenv("PATH", str(tmp_path))


# ------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize("name", ALL)
def test_each_kind_of_file(tmp_path: Path, name: str) -> None:
    """A file, whole and cut."""
    sample, data = SAMPLES[name], sample_file(name)
    audio, problems = read_bytes(tmp_path, data)
    assert problems == []
    assert seconds_of(audio) == pytest.approx(SECONDS, abs=0.1 + sample.padding)
    if name != "amr":
        assert frequency(audio[RATE // 2 : -RATE // 2]) == pytest.approx(440, rel=0.02)
    _check_cut(tmp_path, cut(data), sample, audio)


_PICTURE = (
    "-f",
    "lavfi",
    "-i",
    "testsrc=size=64x64:duration=2:rate=5",
    "-map",
    "0:a",
    "-map",
    "1:v",
)
_LATE = ("-af", "asetpts=PTS+1/TB")
_PAUSE = ("-af", "asetpts=PTS+gt(T\\,0.7)/TB")


@pytest.mark.parametrize(
    ("muxer", "options", "silence"),
    [
        ("mp4", (*_PICTURE, "-c:a", "aac", *_LATE), 1.0),
        ("mov", (*_PICTURE, "-c:a", "pcm_s16le", *_LATE), 1.0),
        ("matroska", (*_PICTURE, "-c:a", "aac", *_LATE), 1.0),
        ("webm", (*_PICTURE, "-c:v", "libvpx", "-c:a", "libopus", *_LATE), 1.0),
        ("flv", (*_PICTURE, "-c:a", "aac", *_LATE), 1.0),
        ("asf", (*_PICTURE, "-c:a", "wmav2", *_LATE), 1.0),
        ("mp4", ("-c:a", "aac", *_PAUSE), 1.0),
        ("matroska", ("-c:a", "aac", "-output_ts_offset", "5000"), 0.0),
    ],
)
def test_the_times_of_a_file_are_kept(
    tmp_path: Path, muxer: str, options: tuple[str, ...], silence: float
) -> None:
    """Sound that begins later than the picture, or that has a gap; but a recording that was cut out
    of a longer one has no silence before it."""
    audio, problems = read_bytes(tmp_path, encode(muxer, *options))
    assert problems == []
    assert seconds_of(audio) == pytest.approx(SECONDS + silence, abs=0.1)
    assert len(without_silence(audio)) / SECOND == pytest.approx(SECONDS, abs=0.1)


def test_joined_files_are_read_to_their_end(tmp_path: Path) -> None:
    late = encode("matroska", *_PICTURE, "-c:a", "aac", *_LATE)
    for data, silence in ((sample_file("webm opus"), 0.0), (late, 1.0)):
        audio, problems = read_bytes(tmp_path, 2 * data)
        assert problems == []
        assert seconds_of(audio) == pytest.approx(2 * SECONDS + silence, abs=0.1)


def _check_cut(tmp_path: Path, data: bytes, sample: Sample, whole: bytes) -> None:
    """A file of which a part is missing is read as far as it goes, and the damage is reported,
    unless all of its audio is there."""
    if sample.has_late_index:
        with pytest.raises(UsageError, match="its index, which is at its end, is missing"):
            read_bytes(tmp_path, data)
        return
    audio, problems = read_bytes(tmp_path, data)
    assert 0.1 < seconds_of(audio) <= seconds_of(whole)
    assert {problem.exit for problem in problems} <= {ExitCode.REPLY}
    is_less = seconds_of(audio) < seconds_of(whole) - 0.01
    assert problems or sample.hides_cuts or not is_less


@pytest.mark.full
@pytest.mark.parametrize("name", SAMPLES)
def test_each_kind_of_file_piped_and_cut_elsewhere(tmp_path: Path, name: str) -> None:
    sample, data = SAMPLES[name], sample_file(name)
    whole, _ = read_bytes(tmp_path, data)
    with piped(data) as pipe:
        assert read(pipe) == whole
    for part in (0.85, 0.97):
        if part < 0.9 or not sample.has_late_index:
            _check_cut(tmp_path, cut(data, part), sample, whole)


def test_a_piped_file_is_read_like_a_named_one(tmp_path: Path) -> None:
    whole, _ = read_bytes(tmp_path, sample_file("m4a"))
    with piped(sample_file("m4a")) as pipe:
        assert read(pipe) == whole


@pytest.mark.parametrize(
    "name",
    [
        each if each == "mp2" else pytest.param(each, marks=pytest.mark.full)
        for each, sample in SAMPLES.items()
        if sample.frame_length
    ],
)
def test_a_cut_between_frames_cannot_be_noticed(tmp_path: Path, name: str) -> None:
    """The length of these files is written nowhere."""
    data, frame_length = sample_file(name), SAMPLES[name].frame_length
    assert frame_length is not None
    place = data.index(b"\n") + 1 if name == "amr" else skip_id3(BytesIO(data))
    while place < len(data) // 2:
        place += frame_length(data[place : place + 6])
    audio, problems = read_bytes(tmp_path, data[:place])
    assert seconds_of(audio) == pytest.approx(SECONDS / 2, abs=0.2)
    assert problems == []
    assert read_bytes(tmp_path, data[: place + 7])[1] != []


@pytest.mark.parametrize("name", _WITHOUT_FFMPEG)
def test_damage_in_the_middle_is_reported(tmp_path: Path, name: str) -> None:
    audio, problems = read_bytes(tmp_path, with_hole(sample_file(name)))
    assert audio
    assert [problem.exit for problem in problems] == [ExitCode.REPLY]


def with_hole(data: bytes) -> bytes:
    place = len(data) * 8 // 10
    return data[:place] + bytes(200) + data[place + 200 :]


@pytest.mark.usefixtures("without_ffmpeg")
def test_damage_is_reported_without_ffmpeg(tmp_path: Path) -> None:
    for name in _WITHOUT_FFMPEG:
        data = sample_file(name)
        assert read_bytes(tmp_path, data)[1] == []
        for changed in (cut(data), with_hole(data)):
            audio, problems = read_bytes(tmp_path, changed)
            assert audio
            assert [problem.exit for problem in problems] == [ExitCode.REPLY], name


@pytest.mark.usefixtures("without_ffmpeg")
def test_the_missing_part_is_measured_if_it_is_known(tmp_path: Path) -> None:
    audio, (problem,) = read_bytes(tmp_path, cut(sample_file("mp3")))
    missing = SECONDS - seconds_of(audio)
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
@pytest.mark.parametrize("content", ["whole", "cut", "empty"])
def test_the_exit_code_says_whether_all_was_read(program: Program, content: str) -> None:
    """Each kind, in one run; those that `_check_cut` expects to fail are named."""
    failed = set()
    for name, sample in SAMPLES.items():
        data = sample_file(name)
        data = {"whole": data, "cut": cut(data), "empty": b""}[content]
        (program.home / name).write_bytes(data)
        if content == "empty" or (content == "cut" and not sample.hides_cuts):
            failed.add(name)
    ran = program.run("transcribe", "--vad", "off", "-o", "out", *SAMPLES)
    assert ran.code == (1 if failed else 0)
    found = [line.rpartition("failed: ")[2] for line in ran.err.splitlines() if "failed: " in line]
    assert set(found) == failed
    has_text = {
        "whole": {*SAMPLES},
        "cut": {name for name, sample in SAMPLES.items() if not sample.has_late_index},
        "empty": set[str](),
    }
    assert {path.stem for path in (program.home / "out").iterdir()} == has_text[content]


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("m4a", "whole", 0), ("m4a", "cut", 2), ("flac", "cut", 1), ("flac", "empty", 2)],
)
def test_the_exit_code_for_piped_files(
    program: Program, name: str, content: str, code: int
) -> None:
    data = sample_file(name)
    stdin = {"whole": data, "cut": cut(data), "empty": b""}[content]
    ran = program.run("transcribe", "--vad", "off", "-", stdin=stdin)
    assert (ran.code, ran.out[:4]) == (code, b"" if code == 2 else b"What")
    assert not code or (ran.error and ran.hint)


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
