"""Estimates of how many tokens an item is for a model.

Only the server counts tokens exactly, and only once it has replied. The estimates are for text in
any language: a token is about four bytes of UTF-8.
"""

from __future__ import annotations

from typing import assert_never

from rtchat.core.text import compact_json
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Item,
    Message,
    Options,
    OtherItem,
    Part,
    RemoteCall,
    ToolCall,
    ToolOutput,
)

_BYTES = 4
"""Bytes of UTF-8 per token."""
_ITEM_TOKENS = 4
"""The role and the limits of an item."""
_IMAGE_TOKENS = 800
_SMALL_IMAGE_TOKENS = 85
"""The tokens of an image with low detail."""
_AUDIO_CHARACTERS = 6_400
"""Base64 characters of audio per token, which is 100 ms of the user's speech."""


def text_tokens(text: str) -> int:
    """An estimate for a text."""
    return -(-len(text.encode(errors="replace")) // _BYTES)


def item_tokens(item: Item) -> int:
    """An estimate for an item."""
    return _ITEM_TOKENS + _content_tokens(item)


def options_tokens(options: Options) -> int:
    """An estimate for the instructions and the tools of a session."""
    tools = options.other.get("tools")
    described = compact_json({"tools": tools}) if tools else ""
    return text_tokens(options.instructions or "") + text_tokens(described)


def _content_tokens(item: Item) -> int:
    match item:
        case Message():
            return sum(map(_part_tokens, item.parts))
        case ToolCall() | Approval():
            return text_tokens(item.name) + text_tokens(item.arguments)
        case ToolOutput():
            return text_tokens(item.output)
        case RemoteCall():
            return sum(map(text_tokens, (item.name, item.arguments, item.output)))
        case ApprovalAnswer():
            return text_tokens(item.reason)
        case OtherItem():
            return text_tokens(compact_json(item.fields))
    assert_never(item)


def _part_tokens(part: Part) -> int:
    match part.kind:
        case "text":
            return text_tokens(part.text)
        case "image":
            return _SMALL_IMAGE_TOKENS if part.detail == "low" else _IMAGE_TOKENS
        case "audio":
            return -(-len(part.data) // _AUDIO_CHARACTERS)
    assert_never(part.kind)
