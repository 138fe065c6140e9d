"""Audio files with names and contents that are made to do harm."""

from __future__ import annotations

import socket
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.audio.completeness import find_damage
from rtchat.audio.file_format import recognise
from rtchat.audio.files import read
from rtchat.audio.pcm import RATE
from rtchat.core.errors import UsageError
from tests.audio_samples import SECONDS, USUAL, needs_ffmpeg, sample_file
from tests.test_audio import needs_audio

pytestmark = [needs_ffmpeg, needs_audio]

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


_QUICK = ("a box as large as can be", "an ID3 tag of 256 MB", "AU")


@pytest.mark.parametrize(
    "name",
    [each if each in _QUICK else pytest.param(each, marks=pytest.mark.full) for each in HOSTILE],
)
def test_a_hostile_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "said"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(UsageError) as caught:
        read(path)
    assert "\n" not in caught.value.message


def test_hostile_files_are_judged() -> None:
    for content in HOSTILE.values():
        file = BytesIO(content)
        known = recognise(file)
        assert known is not None
        assert isinstance(find_damage(file, known, 1.0), str)


@settings(max_examples=30)
@given(st.data())
def test_any_damage_is_judged(data: st.DataObject) -> None:
    whole = bytearray(sample_file(data.draw(st.sampled_from(USUAL))))
    for _ in range(data.draw(st.integers(0, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = BytesIO(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    if (known := recognise(file)) is not None:
        assert isinstance(find_damage(file, known, 1.0), str)
