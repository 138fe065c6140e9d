"""The frame headers of audio that is a sequence of frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtchat.core.audio_frames import (
    ac3_frame,
    adts_frame,
    amr_frame,
    amr_wb_frame,
    is_free_mpeg,
    mp3_frame,
    mpeg_frame,
    mpeg_frame_seconds,
)


@pytest.mark.parametrize(
    ("header", "length", "milliseconds"),
    [
        ("fffbe000", 1044, 26.12),  # layer III, 320 kbit/s, 44.1 kHz
        ("fffb9264", 418, 26.12),  # with padding
        ("fff380c0", 208, 26.12),  # MPEG 2, 64 kbit/s, 22.05 kHz
        ("ffe318c4", 72, 72.0),  # MPEG 2.5, 8 kbit/s, 8 kHz
        ("fffde400", 1152, 24.0),  # layer II, 384 kbit/s, 48 kHz
        ("fff5e000", 1044, 52.24),  # MPEG 2, 160 kbit/s, 22.05 kHz
        ("ffffc400", 384, 8.0),  # layer I, 384 kbit/s, 48 kHz
        ("ffffc200", 420, 8.71),  # 384 kbit/s, 44.1 kHz, with padding
        ("fff7e400", 512, 16.0),  # MPEG 2, 256 kbit/s, 24 kHz
    ],
)
def test_mpeg_frames(header: str, length: int, milliseconds: float) -> None:
    frame = bytes.fromhex(header)
    assert mpeg_frame(frame) == length
    assert mpeg_frame_seconds(frame) * 1000 == pytest.approx(milliseconds, abs=0.01)
    is_layer_3 = frame[1] & 6 == 2
    assert mp3_frame(frame) == (length if is_layer_3 else 0)


def test_free_format_is_told_apart() -> None:
    assert is_free_mpeg(bytes.fromhex("fffb0000"))
    assert not is_free_mpeg(bytes.fromhex("fffb9000"))


@pytest.mark.parametrize(
    ("frame_length", "header", "length"),
    [
        (adts_frame, "fff150400b7ffc", 91),
        (ac3_frame, "0b771ef84c40", 416),  # 96 kbit/s, 44.1 kHz
        (ac3_frame, "0b771ef84d40", 418),
        (ac3_frame, "0b7700000c40", 384),  # 96 kbit/s, 48 kHz
        (ac3_frame, "0b7700008c40", 576),  # 96 kbit/s, 32 kHz
        (ac3_frame, "0b7700cf7287", 416),  # E-AC-3
        (amr_frame, "3c", 32),  # 12.2 kbit/s
        (amr_frame, "04", 13),  # 4.75 kbit/s
        (amr_frame, "44", 6),  # comfort noise
        (amr_frame, "7c", 1),  # silence
        (amr_wb_frame, "44", 61),  # 23.85 kbit/s
        (amr_wb_frame, "74", 1),  # lost
    ],
)
def test_other_frames(frame_length: Callable[[bytes], int], header: str, length: int) -> None:
    assert frame_length(bytes.fromhex(header)) == length


@pytest.mark.parametrize(
    ("frame_length", "header"),
    [
        (mpeg_frame, "fffb90"),  # too short
        (mpeg_frame, "ffdb9000"),  # no sync
        (mpeg_frame, "00fb9000"),
        (mpeg_frame, "ffeb9000"),  # reserved version
        (mpeg_frame, "fff99000"),  # reserved layer
        (mpeg_frame, "fffb0000"),  # free format
        (mpeg_frame, "fffbf000"),  # invalid bit rate
        (mpeg_frame, "fffb9c00"),  # reserved sample rate
        (adts_frame, "fff150400b"),
        (adts_frame, "fff750400b7f"),
        (ac3_frame, "0b77000000"),
        (ac3_frame, "0b7800000c40"),
        (ac3_frame, "0b770000cc40"),  # reserved sample rate
        (ac3_frame, "0b7700003f40"),  # reserved bit rate
        (ac3_frame, "0b7700cf72f8"),  # unknown version
        (amr_frame, ""),
        (amr_frame, "4c"),  # reserved type
        (amr_wb_frame, "54"),
    ],
)
def test_what_is_no_frame(frame_length: Callable[[bytes], int], header: str) -> None:
    assert frame_length(bytes.fromhex(header)) == 0
