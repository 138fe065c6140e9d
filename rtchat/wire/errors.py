"""Reads errors in all formats in which servers send them: in events, in replies, in HTTP bodies."""

from __future__ import annotations

import json
import re

from rtchat.core.text import whole_characters
from rtchat.core.values import JsonObject

_TITLE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_IS_HTML = re.compile(r"\s*<(!doctype|html|head|body)", re.IGNORECASE)


def error_object(data: JsonObject) -> JsonObject:
    """The error in a JSON object: its object `error`, or an object whose `message` is the text of
    `error`, `message` or `detail`."""
    error = data.get("error")
    if isinstance(error, dict):
        return {**error, **_message_of(error)}
    if message := _text(error):
        return {"message": message}
    return _message_of(data)


def _message_of(data: JsonObject) -> JsonObject:
    message = _text(data.get("message")) or _detail(data.get("detail"))
    return {"message": message} if message else {}


def _text(value: object) -> str:
    return _readable(whole_characters(value)) if isinstance(value, str) else ""


def _readable(text: str) -> str:
    """The text, or the title or first heading if it is an HTML page."""
    if not _IS_HTML.match(text):
        return text
    from html import unescape  # imported here because it would delay every start

    title = _TITLE.search(text)
    return " ".join(unescape(title[2]).split()) if title else ""


def _detail(value: object) -> str:
    """The text of `detail`, which is a list of objects if a field was invalid (FastAPI)."""
    if isinstance(value, list):
        messages = (entry.get("msg") for entry in value if isinstance(entry, dict))
        return "; ".join(filter(None, map(_text, messages)))
    return _text(value.get("message")) if isinstance(value, dict) else _text(value)


def read_error_body(body: bytes) -> str:
    """The message in the body of an HTTP error: that of a JSON object, the title or first heading
    of an HTML page, or the body itself."""
    text = body.decode(errors="replace")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return _readable(text)
    message = error_object(data).get("message") if isinstance(data, dict) else None
    return message if isinstance(message, str) else text
