"""Recognises audio files by their first bytes, never by their names."""

from __future__ import annotations

from typing import BinaryIO

from rtchat.core.audio_frames import (
    ac3_frame,
    adts_frame,
    is_free_mpeg,
    mp3_frame,
    mpeg_frame,
)
from rtchat.core.values import value

_HEAD = 4096
"""Bytes in which a file is recognised, after its ID3 tags."""
_TS_PACKETS = {188: 0, 192: 4}
"""The lengths of MPEG-TS packets in bytes, and the position of the sync byte in each: packets of
camcorders begin with a time stamp."""


@value
class FileFormat:
    """A format of files with audio. `demuxer` is ffmpeg's name for it; empty if ffmpeg cannot read
    it. `by_soundfile` is whether `soundfile` reads it, at least with the usual codecs."""

    name: str
    demuxer: str
    by_soundfile: bool = False


MP3 = FileFormat("MP3", "mp3", by_soundfile=True)
_MP2 = FileFormat("MPEG audio", "mp3", by_soundfile=True)
"""MPEG audio of layer I or II. ffmpeg tells the layers apart itself."""
_FREE = FileFormat("MPEG audio of free format", "", by_soundfile=True)
_AAC = FileFormat("AAC", "aac")
_AC3 = FileFormat("AC-3", "ac3")
_MPEG_4 = FileFormat("MPEG-4", "mov")
_WMA = FileFormat("Windows Media", "asf")
_MPEG_TS = FileFormat("MPEG-TS", "mpegts")

_BY_MAGIC = {
    b"fLaC": FileFormat("FLAC", "flac", by_soundfile=True),
    b"OggS": FileFormat("Ogg", "ogg", by_soundfile=True),
    b".snd": FileFormat("AU", "au", by_soundfile=True),
    b"caff": FileFormat("CAF", "caf", by_soundfile=True),
    b"RF64": FileFormat("RF64", "wav", by_soundfile=True),
    b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb": FileFormat("Wave64", "w64", by_soundfile=True),
    b"Creative Voice File\x1a": FileFormat("VOC", "voc", by_soundfile=True),
    b"\x1aE\xdf\xa3": FileFormat("WebM or Matroska", "matroska"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": _WMA,
    b"#!AMR\n": FileFormat("AMR", "amr"),
    b"#!AMR-WB\n": FileFormat("AMR-WB", "amr"),
    b"FLV\x01": FileFormat("Flash video", "flv"),
    b".RMF": FileFormat("RealMedia", "rm"),
    b".ra\xfd": FileFormat("RealAudio", "rm"),
    b"\0\0\x01\xba": FileFormat("MPEG", "mpeg"),
    b"wvpk": FileFormat("WavPack", "wv"),
    b"TTA1": FileFormat("True Audio", "tta"),
    b"MAC ": FileFormat("Monkey's Audio", "ape"),
    b"MPCK": FileFormat("Musepack", "mpc8"),
    b"MP+": FileFormat("Musepack", "mpc"),
    b"DSD ": FileFormat("DSF", "dsf"),
    b"\x7f\xfe\x80\x01": FileFormat("DTS", "dts"),
}
_BY_RIFF_KIND = {
    b"WAVE": FileFormat("WAV", "wav", by_soundfile=True),
    b"AVI ": FileFormat("AVI", "avi"),
    b"QLCM": FileFormat("QCP", "qcp"),
}
_AIFF = FileFormat("AIFF", "aiff", by_soundfile=True)
_MPEG_4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def recognise(file: BinaryIO) -> FileFormat | None:
    """The format of a file; None if it is not known. Playlists and other text are never known."""
    start = skip_id3(file)
    file.seek(start)
    head = file.read(_HEAD)
    file.seek(0)
    return _by_magic(head) or _by_frames(head) or (MP3 if start else None)


def skip_id3(file: BinaryIO, start: int = 0) -> int:
    """The position after the ID3v2 tags at `start`, which may contain a picture."""
    while True:
        file.seek(start)
        header = file.read(10)
        if len(header) < 10 or header[:3] != b"ID3" or max(header[6:]) > 127:
            return start
        size = 0
        for byte in header[6:]:
            size = size << 7 | byte
        has_footer = header[5] & 0x10
        start += size + (20 if has_footer else 10)


def _by_magic(head: bytes) -> FileFormat | None:
    for magic, known in _BY_MAGIC.items():
        if head.startswith(magic):
            return known
    if head[:4] == b"RIFF":
        return _BY_RIFF_KIND.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    return _MPEG_4 if head[4:8] in _MPEG_4_BOXES else None


def _by_frames(head: bytes) -> FileFormat | None:
    """A format without a magic number, whose frames begin with a few fixed bits."""
    if ts_packet(head):
        return _MPEG_TS
    frames = ((MP3, mp3_frame), (_MP2, mpeg_frame), (_AAC, adts_frame), (_AC3, ac3_frame))
    for known, frame in frames:
        length = frame(head)
        if length and (len(head) <= length or head[length : length + 2] == head[:2]):
            return known
    # Later frames begin with the same bits, apart from the padding bit.
    if is_free_mpeg(head) and head.find(bytes([*head[:2], head[2] & 0xFC]), 4) > 0:
        return _FREE
    return None


def ts_packet(head: bytes) -> int:
    """The length in bytes of the packets of an MPEG-TS file; 0 if it is another file."""
    for length, start in _TS_PACKETS.items():
        if head[start : start + 2 * length + 1 : length] == b"GGG":
            return length
    return 0
