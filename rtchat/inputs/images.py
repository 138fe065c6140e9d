"""Pictures for a model: what some bytes are, whether they are whole, and how they get small enough.

PNG and JPEG are checked by their structure alone, with or without Pillow (the extra `images`),
which is loaded only to scale.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from rtchat.core.errors import UsageError
from rtchat.core.values import value

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SIDE = 2048
"""Pixels of the longer side of what is sent: models look at no more."""
MOST_BYTES = 4_000_000
"""Bytes of what is sent, before base64: connections have ended over large pictures
(openai-agents-js #501), and the API documents no limit."""
MOST_PIXELS = 89_000_000
"""Of a picture that is scaled; Pillow takes more for an attack."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF"}
_QUALITIES = (85, 60, 30)


@value
class Picture:
    """A picture to send. `original` is its width and height before it was scaled, if it was."""

    mime: str
    data: bytes
    size: tuple[int, int]
    original: tuple[int, int] | None = None


class DamagedError(Exception):
    """It is not what it begins as, or not all of it."""


def kind(data: bytes) -> str:
    """PNG, JPEG, GIF, TIFF, WebP, BMP, HEIC or AVIF by its content; empty if it is none."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and data[6:10] == bytes(4) and len(data) > 26:
        return "BMP"
    return _BRANDS.get(data[8:12], "") if data[4:8] == b"ftyp" else ""


def picture(data: bytes, name: str) -> Picture:
    """What to send of a PNG or a JPEG: itself, or a smaller one.

    Raises:
        UsageError: it is damaged, or too large and cannot be scaled.
    """
    is_png = kind(data) == "PNG"
    try:
        size = png_size(data) if is_png else jpeg_size(data)
    except DamagedError as error:
        hint = "open it in another program and save it again"
        raise UsageError(
            f"{name} is a damaged {'PNG' if is_png else 'JPEG'} ({error})", hint=hint
        ) from error
    if len(data) <= MOST_BYTES and max(size) <= LONGEST_SIDE:
        return Picture("image/png" if is_png else "image/jpeg", data, size)
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"{name} has too many pixels ({_by(size)})",
            hint=f"scale it down to {LONGEST_SIDE} a side",
        )
    return _scaled(data, size, name)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are all there, in order and as they were written."""
    names: list[bytes] = []
    size = 0, 0
    for name, body in _chunks(data):
        if not names:
            if name != b"IHDR" or len(body) != 13:
                raise DamagedError("no header")
            size = struct.unpack(">II", body[:8])
        names.append(name)
    if b"IDAT" not in names or 0 in size:
        raise DamagedError("no pixels")
    return size


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    name = b""
    while name != b"IEND":
        if len(data) < place + 12:
            raise DamagedError("it ends too early")
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        if len(data) < end:
            raise DamagedError("it ends too early")
        name, body = data[place + 4 : place + 8], data[place + 8 : end - 4]
        if struct.unpack_from(">I", data, end - 4) != (zlib.crc32(body, zlib.crc32(name)),):
            raise DamagedError("a checksum is wrong")
        yield name, body
        place = end


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG that has a frame, a scan and an end."""
    place = 2
    size = 0, 0
    while True:
        if len(data) < place + 4:
            raise DamagedError("it ends too early")
        if data[place] != 0xFF:
            raise DamagedError("no marker where there should be one")
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        if marker in _FRAMES and len(data) >= place + 9:
            height, width = struct.unpack_from(">HH", data, place + 5)
            size = width, height
        place += 2 + length
        if marker == 0xDA:
            break
    if 0 in size:
        raise DamagedError("no pixels")
    if data.find(b"\xff\xd9", place) < 0:  # some cameras append to it
        raise DamagedError("it ends too early")
    return size


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _scaled(data: bytes, size: tuple[int, int], name: str) -> Picture:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        limit = f"{LONGEST_SIDE} pixels a side, {MOST_BYTES // 1_000_000} MB"
        raise UsageError(
            f"{name} is larger than {limit} ({_by(size)}, {amount(len(data))})",
            hint="pip install 'rtchat[images]' has it scaled down",
        ) from error
    try:
        # What Pillow warns of is checked here already, or makes no difference to a smaller picture.
        with (
            warnings.catch_warnings(action="ignore"),
            PIL.Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image,
        ):
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # spares most of decoding a JPEG
            small = _flat(PIL.ImageOps.exif_transpose(image))
    except Exception as error:  # of many kinds: it is no interface of Pillow's
        hint = "open it in another program and save it again"
        raise UsageError(f"{name} cannot be read as a picture ({error})", hint=hint) from error
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    mime, smaller = _written(small, as_png=kind(data) == "PNG")
    return Picture(mime, smaller, small.size, None if small.size == size else size)


def _flat(image: Image) -> Image:
    """With eight bits a channel, and transparent only if it was."""
    if image.mode.startswith("I"):  # 16 bits of grey
        return image.point(lambda level: level / 256).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode == "L" else image.convert("RGB")


def _written(image: Image, *, as_png: bool) -> tuple[str, bytes]:
    """As PNG, which keeps lines of text sharp, if that is not too large."""
    if as_png:
        out = BytesIO()
        image.save(out, "PNG")
        if out.tell() <= MOST_BYTES:
            return "image/png", out.getvalue()
    if image.mode == "RGBA":
        import PIL.Image

        paper = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(paper, image).convert("RGB")
    data = b""
    for quality in _QUALITIES:
        out = BytesIO()
        image.save(out, "JPEG", quality=quality)
        data = out.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return "image/jpeg", data


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"  # noqa: RUF001 # the sign between two sides


def about(picture: Picture) -> str:
    """Its size as the user is told it."""
    size = _by(picture.size)
    if picture.original is not None:
        size = f"{_by(picture.original)} scaled to {size}"
    return f"{size}, {amount(len(picture.data))}"


def amount(size: int) -> str:
    """So many bytes, in round numbers."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} kB" if size < 999_500 else f"{size / 1_000_000:.1f} MB"
