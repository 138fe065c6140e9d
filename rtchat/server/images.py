"""Checks the images that clients send: they must be image data, not addresses.

An engine would fetch a URL from its own machine and could reach private addresses, files and pages
that the client cannot.
"""

from __future__ import annotations

import re
from base64 import b64decode

from rtchat.core.values import Item, Message
from rtchat.server.items import CommandError

_DATA_URL = re.compile(r"data:image/(png|jpeg|webp|gif);base64,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://", re.IGNORECASE)
_MAGIC = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "gif": re.compile(rb"GIF8[79]a"),
}


def check_images(item: Item, path: str, *, allow_urls: bool) -> None:
    """Raises `CommandError` for an image that is not a PNG, JPEG, WebP or GIF data URL. With
    `allow_urls`, `http:` and `https:` URLs are accepted as well."""
    if not isinstance(item, Message):
        return
    for index, part in enumerate(item.parts):
        if part.kind != "image" or (allow_urls and _WEB_URL.match(part.data)):
            continue
        if not _is_image(part.data):
            expected = "a PNG, JPEG, WebP or GIF image as a base64 data URL"
            if allow_urls:
                expected += ", or an http or https URL"
            param = f"{path}.content[{index}].image_url"
            raise CommandError("invalid_value", f"Invalid '{param}': expected {expected}.", param)


def _is_image(url: str) -> bool:
    found = _DATA_URL.match(url)
    if found is None:
        return False
    try:
        data = b64decode(url[found.end() :], validate=True)
    except ValueError:
        return False
    return _MAGIC[found[1].lower()].match(data) is not None
