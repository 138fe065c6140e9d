"""Attached images: which are accepted, which are damaged, and how they are scaled."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.errors import UsageError
from rtchat.core.values import Part
from rtchat.inputs import images
from rtchat.inputs.attachments import read
from tests.samples import BY, JPEG, chunk, png, refusal, write


@pytest.mark.parametrize("data", [JPEG + b"of the maker's", JPEG[:2] + b"\xff\xff" + JPEG[3:]])
def test_a_jpeg_may_have_padding_and_trailing_data(data: bytes) -> None:
    assert images.prepare(data, "x").size == (1, 1)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GIF89a" + bytes(20), "GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic" + bytes(16), "HEIC"),
        (b"\0\0\0\x18ftypavif" + bytes(16), "AVIF"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0" + bytes(20), "BMP"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
    ],
)
def test_unsupported_formats_are_named(tmp_path: Path, data: bytes, kind: str) -> None:
    path = write(tmp_path, "photo.png", data)
    assert refusal(path).startswith(f"photo.png is a {kind} image")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png()[:-1], "PNG file (the file is truncated)"),
        (png()[:40], "PNG file (the file is truncated)"),
        (png()[:8], "PNG file (the file is truncated)"),
        (png()[:30] + b"?" + png()[31:], "PNG file (wrong checksum)"),
        (png(0, 2), "PNG file (no pixels)"),
        (png()[:33] + chunk(b"IEND", b""), "PNG file (no pixels)"),
        (png()[:8] + chunk(b"IEND", b""), "PNG file (no header)"),
        (JPEG[:-2], "JPEG file (the file is truncated)"),
        (JPEG[:100], "JPEG file (the file is truncated)"),
        (JPEG[:3], "JPEG file (the file is truncated)"),
        (JPEG[:2] + JPEG[20:89] + JPEG[102:], "JPEG file (no pixels)"),
        (JPEG[:20] + bytes(9) + JPEG[29:], "JPEG file (missing marker)"),
    ],
)
def test_damaged_images(tmp_path: Path, data: bytes, why: str) -> None:
    assert refusal(write(tmp_path, "photo", data)).startswith(f"photo is a damaged {why}")


@given(st.binary(), st.integers(0, 200))
def test_no_damage_raises_an_unexpected_error(noise: bytes, place: int) -> None:
    for whole in (png(), JPEG):
        try:
            prepared = images.prepare(whole[:place] + noise + whole[place:], "x")
        except UsageError:
            continue
        assert min(prepared.size) > 0


def pixels(part: Part, mime: str) -> Any:
    """Open the image of a part with Pillow."""
    image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    head, _, data = part.data.partition(",")
    assert head == f"data:{mime};base64"
    return image.open(BytesIO(b64decode(data)))


def drawn(mode: str, size: tuple[int, int], kind: str, **options: Any) -> bytes:
    image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    out = BytesIO()
    image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "scaled", "mime"),
    [
        ("RGB", "JPEG", "RGB", "image/jpeg"),
        ("L", "JPEG", "L", "image/jpeg"),
        ("CMYK", "JPEG", "RGB", "image/jpeg"),
        ("RGB", "PNG", "RGB", "image/png"),
        ("RGBA", "PNG", "RGBA", "image/png"),
        ("LA", "PNG", "RGBA", "image/png"),
        ("P", "PNG", "RGB", "image/png"),
        ("1", "PNG", "RGB", "image/png"),
        ("I;16", "PNG", "L", "image/png"),
    ],
)
def test_a_large_image_is_scaled_down(
    tmp_path: Path, mode: str, kind: str, scaled: str, mime: str
) -> None:
    attached = read(write(tmp_path, "photo", drawn(mode, (4096, 1000), kind)))
    image = pixels(attached.part, mime)
    assert (image.size, image.mode) == ((2048, 500), scaled)
    assert attached.name.startswith(f"photo (4096{BY}1000 scaled to 2048{BY}500, ")


def test_16_bit_greyscale_stays_grey() -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    out = BytesIO()
    image.new("I;16", (4096, 2), 40000).save(out, "PNG")
    prepared = images.prepare(out.getvalue(), "x")
    assert image.open(BytesIO(prepared.data)).getpixel((9, 0)) == 40000 // 256


def test_a_rotated_photo_stays_upright() -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    exif = image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    assert images.prepare(drawn("RGB", (4096, 1000), "JPEG", exif=exif), "x").size == (500, 2048)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_png_of_too_many_bytes_becomes_a_jpeg(mode: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    out = BytesIO()
    size = 2048, 1024
    image.frombytes(mode, size, os.urandom(size[0] * size[1] * len(mode))).save(out, "PNG")
    prepared = images.prepare(out.getvalue(), "x")
    assert (prepared.mime, prepared.size, prepared.original) == ("image/jpeg", size, None)
    assert len(prepared.data) <= images.MAX_BYTES


def test_a_decompression_bomb_is_rejected(tmp_path: Path) -> None:
    refused = refusal(write(tmp_path, "bomb", png(50_000, 50_000)))
    assert refused.startswith(f"bomb has too many pixels (50000{BY}50000)")


def test_a_large_image_that_cannot_be_decoded(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    header = struct.pack(">IIBBBBB", 4096, 4096, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"no zlib"), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)
    assert refusal(write(tmp_path, "odd", data)).startswith("odd cannot be read as an image (")


def test_without_pillow_only_small_images_can_be_attached(
    tmp_path: Path,
) -> None:
    write(tmp_path, "small", png())
    write(tmp_path, "large", png(3000, 10))
    program = """\
import sys
sys.modules["PIL"] = None
from pathlib import Path
from rtchat.inputs.attachments import read
print(read(Path("small")).name)
try:
    read(Path("large"))
except Exception as error:
    print(error)
    print(error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    small, large = done.stdout.split("\n", 1)
    assert (done.stderr, small) == ("", f"small (3{BY}2, {len(png())} B)")
    limit = f"2048 pixels a side, 4 MB (3000{BY}10, {len(png(3000, 10))} B)"
    assert large.startswith(f"large is larger than {limit}")
    assert "[images]" in large
