"""Images for a model: recognise a format, check that a file is complete, and scale it down.

PNG and JPEG files are checked by their structure alone. Pillow (the extra `images`) is imported
only to scale an image.
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
from rtchat.system.installation import extra_hint

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 2048
"""Pixels of the longer side of an image that is sent: models use no more."""
MAX_BYTES = 4_000_000
"""Bytes of an image that is sent, before base64. The API documents no limit, but servers have
closed the connection over large images (openai-agents-js #501)."""
MAX_PIXELS = 89_000_000
"""Pixels of an image that is scaled: Pillow treats more as a decompression bomb."""

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
class PreparedImage:
    """An image to send. `size` is its width and height; `original` is the size before scaling, None
    if it was not scaled."""

    mime: str
    data: bytes
    size: tuple[int, int]
    original: tuple[int, int] | None = None


class DamagedError(Exception):
    """A PNG or JPEG file is damaged or incomplete."""


def kind(data: bytes) -> str:
    """The format, recognised by content: PNG, JPEG, GIF, TIFF, WebP, BMP, HEIC or AVIF. Empty if it
    is none of these."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and data[6:10] == bytes(4) and len(data) > 26:
        return "BMP"
    return _BRANDS.get(data[8:12], "") if data[4:8] == b"ftyp" else ""


def prepare(data: bytes, name: str) -> PreparedImage:
    """Check a PNG or JPEG file, and scale it down if it is too large to send.

    Raises:
        UsageError: it is damaged, or too large and cannot be scaled.
    """
    is_png = kind(data) == "PNG"
    try:
        size = png_size(data) if is_png else jpeg_size(data)
    except DamagedError as error:
        hint = "open it in another program and save it again"
        raise UsageError(
            f"{name} is a damaged {'PNG' if is_png else 'JPEG'} file ({error})", hint=hint
        ) from error
    if len(data) <= MAX_BYTES and max(size) <= MAX_SIDE:
        return PreparedImage("image/png" if is_png else "image/jpeg", data, size)
    if size[0] * size[1] > MAX_PIXELS:
        raise UsageError(
            f"{name} has too many pixels ({_dimensions(size)})",
            hint=f"scale it down to {MAX_SIDE} pixels a side",
        )
    return _scaled(data, size, name)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG file. Raises DamagedError unless all chunks are complete and have
    the right checksum."""
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
            raise DamagedError("the file is truncated")
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        if len(data) < end:
            raise DamagedError("the file is truncated")
        name, body = data[place + 4 : place + 8], data[place + 8 : end - 4]
        if struct.unpack_from(">I", data, end - 4) != (zlib.crc32(body, zlib.crc32(name)),):
            raise DamagedError("wrong checksum")
        yield name, body
        place = end


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG file. Raises DamagedError unless it has a frame, a scan and an
    end."""
    place = 2
    size = 0, 0
    while True:
        if len(data) < place + 4:
            raise DamagedError("the file is truncated")
        if data[place] != 0xFF:
            raise DamagedError("missing marker")
        marker = data[place + 1]
        if marker == 0xFF:  # padding
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
    if data.find(b"\xff\xd9", place) < 0:  # not at the end: some cameras append data
        raise DamagedError("the file is truncated")
    return size


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _scaled(data: bytes, size: tuple[int, int], name: str) -> PreparedImage:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        limit = f"{MAX_SIDE} pixels a side, {MAX_BYTES // 1_000_000} MB"
        raise UsageError(
            f"{name} is larger than {limit} ({_dimensions(size)}, {format_size(len(data))})",
            hint=f"scale it down, or {extra_hint('images')}",
        ) from error
    try:
        # Pillow's warnings are about what was checked above, or do not matter for a scaled image.
        with (
            warnings.catch_warnings(action="ignore"),
            PIL.Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image,
        ):
            image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # decodes a JPEG at reduced size
            small = _normalised(PIL.ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow does not document which exceptions it raises
        hint = "open it in another program and save it again"
        raise UsageError(f"{name} cannot be read as an image ({error})", hint=hint) from error
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    mime, smaller = _encode(small, as_png=kind(data) == "PNG")
    return PreparedImage(mime, smaller, small.size, None if small.size == size else size)


def _normalised(image: Image) -> Image:
    """The image in a mode with 8 bits per channel; with an alpha channel only if it has
    transparency."""
    if image.mode.startswith("I"):  # 16-bit greyscale
        return image.point(lambda level: level / 256).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode == "L" else image.convert("RGB")


def _encode(image: Image, *, as_png: bool) -> tuple[str, bytes]:
    """The MIME type and bytes of the image: as PNG, which keeps text sharp, if requested and not
    too large, otherwise as JPEG."""
    if as_png:
        out = BytesIO()
        image.save(out, "PNG")
        if out.tell() <= MAX_BYTES:
            return "image/png", out.getvalue()
    if image.mode == "RGBA":
        import PIL.Image

        background = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(background, image).convert("RGB")
    data = b""
    for quality in _QUALITIES:
        out = BytesIO()
        image.save(out, "JPEG", quality=quality)
        data = out.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return "image/jpeg", data


def _dimensions(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"  # noqa: RUF001 # a multiplication sign


def describe(image: PreparedImage) -> str:
    """The dimensions and the size in bytes, for the user."""
    size = _dimensions(image.size)
    if image.original is not None:
        size = f"{_dimensions(image.original)} scaled to {size}"
    return f"{size}, {format_size(len(image.data))}"


def format_size(size: int) -> str:
    """A number of bytes, rounded: "12 kB"."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} kB" if size < 999_500 else f"{size / 1_000_000:.1f} MB"
