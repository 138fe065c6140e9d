"""The finished pieces of a long transcription, kept for the next run."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from pathlib import Path

import pytest

from rtchat.app.piece_store import MAX_AGE, PieceStore
from rtchat.core.effects import TextArrived, TurnTranscribed
from rtchat.core.pieces import FinishedPiece, PieceTranscript
from rtchat.core.values import TranscriptWord


def piece(number: int) -> FinishedPiece:
    turn = TurnTranscribed("u1", f"Text {number}.", words=(TranscriptWord("Text", 0.5, 1.0),))
    transcript = PieceTranscript((turn, TextArrived(turn.text)), turn.text)
    return FinishedPiece(60_000 * number, 60_000 * (number + 1), transcript)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"audio")
    return path


def loaded(
    recording: Path, *add: int, settings: str = "s", resumes: bool = True
) -> dict[int, FinishedPiece]:
    """What another run finds, which then adds these pieces."""

    async def run() -> dict[int, FinishedPiece]:
        store = PieceStore(recording.parent / "kept", recording, settings)
        found = await store.load(resumes=resumes)
        for number in add:
            store.keep(number, piece(number))
        store.close()
        return dict(found)

    return asyncio.run(run())


def kept(recording: Path) -> Path:
    (path,) = (recording.parent / "kept").iterdir()
    return path


def test_pieces_are_found_in_any_order_and_after_several_runs(recording: Path) -> None:
    assert loaded(recording, 1, 0) == {}
    assert loaded(recording, 2) == {0: piece(0), 1: piece(1)}
    assert loaded(recording) == {number: piece(number) for number in range(3)}
    assert stat.S_IMODE(kept(recording).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage", [b"", b"null\n", b"[1]\n", b"[7, {}]\n", b'["x", 5]\n', b"\xff\n", b"[9, {"]
)
def test_a_damaged_line_is_ignored(recording: Path, damage: bytes) -> None:
    loaded(recording, 0, 1)
    with kept(recording).open("ab") as file:
        file.write(damage)
    assert loaded(recording) == {0: piece(0), 1: piece(1)}


def test_every_cut_leaves_the_pieces_before_it(recording: Path) -> None:
    """As if the program was killed, or the disk was full, while it wrote."""
    loaded(recording, 0, 1)
    whole = kept(recording).read_bytes()
    second = whole.index(b"\n") + 1
    for size in (0, 1, second // 2, second - 1, second, second + 1, len(whole) - 2):
        kept(recording).write_bytes(whole[:size])
        assert loaded(recording) == ({0: piece(0)} if size >= second - 1 else {})


def test_other_settings_and_other_audio_have_other_pieces(recording: Path) -> None:
    loaded(recording, 0)
    assert loaded(recording, settings="other") == {}
    recording.write_bytes(b"other")
    assert loaded(recording) == {}


def test_a_run_that_does_not_resume_begins_anew(recording: Path) -> None:
    loaded(recording, 0)
    assert loaded(recording, 1, resumes=False) == {}
    assert loaded(recording) == {1: piece(1)}


def test_old_pieces_are_deleted(recording: Path) -> None:
    loaded(recording, 0)
    old = time.time() - MAX_AGE - 60
    os.utime(kept(recording), (old, old))
    assert loaded(recording) == {}


def test_a_folder_that_cannot_be_written_keeps_nothing(recording: Path) -> None:
    (recording.parent / "kept").write_text("")
    assert loaded(recording, 0) == {}
    assert loaded(recording) == {}
