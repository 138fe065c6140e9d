"""Chat completions, the API that most engines serve: where one is, what it is asked, what it says.

Source: OpenAI's reference of `/v1/chat/completions`; where engines differ from it, the comments say
so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit, urlunsplit

from rtchat.core.errors import UsageError
from rtchat.core.values import (
    Item,
    JsonObject,
    Message,
    Part,
    Status,
    ToolCall,
    ToolOutput,
    Usage,
    value,
)
from rtchat.server.engine import CallPiece, Finish, ModelInput
from rtchat.system.network import is_loopback
from rtchat.wire.client_events import ToolSettings
from rtchat.wire.fields import Fields, read_json

UPSTREAM_SECONDS = 300.0
"""Seconds that an engine may take for the next piece of an answer: a small machine needs minutes
to read a large prompt."""

# -------------------------------------------------------------------------------------------- where


@value
class Upstream:
    """An engine's address, the model to ask it for, and the key that it wants, if any."""

    url: str
    model: str
    key: str = ""

    def __repr__(self) -> str:
        return f"Upstream({self.url!r}, {self.model!r})"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(urlsplit(self.url).hostname)


def upstream(url: str, model: str, key: str = "", *, insecure: bool = False) -> Upstream:
    """Check and put together where an engine is; `url` is that of its API (`http://host/v1`).

    Raises `UsageError` if that is no such URL, or the key would cross a network unencrypted.
    """
    try:
        parts = urlsplit(url)
        is_sound = bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        parts, is_sound = urlsplit(""), False
    if not is_sound or not url.isprintable() or " " in url or "@" in parts.netloc:
        message = "--upstream is no URL of an API, or has a password in it"
        raise UsageError(message, hint="write it as http://host:port/v1; keys: --upstream-key-file")
    if not (key.isascii() and key.isprintable()):
        raise UsageError("the upstream's key has characters that no key can have")
    if key and parts.scheme == "http" and not (insecure or is_loopback(parts.hostname)):
        message = f"refusing to send the upstream's key over plain http:// to {parts.hostname}"
        raise UsageError(message, hint="use https://, or --insecure if that network is yours")
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith(_ENDPOINT):
        path += _ENDPOINT
    return Upstream(urlunsplit(parts._replace(path=path, fragment="")), model, key)


_ENDPOINT = "/chat/completions"


# ------------------------------------------------------------------------------------------ request


def write_request(prompt: ModelInput, model: str) -> JsonObject:
    """The body of a request."""
    body: dict[str, object] = {
        "model": model,
        "messages": _messages(prompt),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.max_output_tokens is not None:
        # Not `max_completion_tokens`, which is newer and not known everywhere.
        body["max_tokens"] = prompt.max_output_tokens
    return body | _tools(prompt.tools)


def not_supported(prompt: ModelInput) -> Finish | None:
    """Why it cannot be asked at all: chat completions hear no raw audio."""
    asked = [item for item in prompt.items if isinstance(item, Message) and item.role == "user"]
    parts = asked[-1].parts if asked else ()
    if all(part.kind != "audio" or part.text for part in parts):
        return None
    return failed("The upstream reads text and images, no audio.", "audio_not_supported")


def _tools(tools: ToolSettings) -> dict[str, object]:
    if not tools.functions:
        return {}
    functions = [
        {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
        }
        for tool in tools.functions
    ]
    body: dict[str, object] = {
        "tools": [{"type": "function", "function": function} for function in functions]
    }
    if tools.forced:
        body["tool_choice"] = {"type": "function", "function": {"name": tools.forced}}
    elif tools.choice != "auto":
        body["tool_choice"] = tools.choice
    if tools.parallel is not None:
        body["parallel_tool_calls"] = tools.parallel
    return body


def _messages(prompt: ModelInput) -> list[dict[str, object]]:
    chat: list[dict[str, object]] = []
    if prompt.instructions:
        chat.append({"role": "system", "content": prompt.instructions})
    outputs = {item.call_id: item.output for item in prompt.items if isinstance(item, ToolOutput)}
    calls: list[ToolCall] = []
    for item in prompt.items:
        if isinstance(item, ToolCall):
            if item.call_id in outputs or item.status != "incomplete":
                calls.append(item)
            continue
        _add_calls(chat, calls, outputs)
        calls = []
        chat += _message(item)
    _add_calls(chat, calls, outputs)
    return chat


def _add_calls(
    chat: list[dict[str, object]], calls: Sequence[ToolCall], outputs: dict[str, str]
) -> None:
    """Calls and what they gave: right behind each other, as most engines refuse other orders."""
    if not calls:
        return
    if not chat or chat[-1]["role"] != "assistant":
        chat.append({"role": "assistant", "content": None})
    chat[-1]["tool_calls"] = [
        {
            "id": call.call_id or call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": _arguments(call)},
        }
        for call in calls
    ]
    for call in calls:
        output = outputs.get(call.call_id, "There is no output yet.")
        chat.append({"role": "tool", "tool_call_id": call.call_id or call.id, "content": output})


def _arguments(call: ToolCall) -> str:
    # Engines whose templates read the arguments fail for ever on those that are no JSON.
    try:
        return call.arguments if isinstance(json.loads(call.arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _message(item: Item) -> list[dict[str, object]]:
    if not isinstance(item, Message):
        return []  # an output stands behind its call, and of MCP engines know nothing
    if any(part.kind == "image" for part in item.parts):
        content = [_part(part) for part in item.parts if part.kind == "image" or part.text]
        return [{"role": item.role, "content": content}]
    # A string: not every engine takes lists where there is nothing but text.
    text = "\n".join(part.text for part in item.parts if part.text)
    return [{"role": item.role, "content": text}] if text else []


def _part(part: Part) -> dict[str, object]:
    if part.kind == "image":
        return {"type": "image_url", "image_url": {"url": part.data}}
    return {"type": "text", "text": part.text}


# ----------------------------------------------------------------------------------------- answer

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_DONE = "[DONE]"
_FAILED = "upstream_error"
_TOO_LONG = "context_length_exceeded"
_LONGEST_MESSAGE = 1000
_KNOWN = {
    "insufficient_quota": "insufficient_quota",
    "rate_limit_exceeded": "rate_limit_exceeded",
    _TOO_LONG: _TOO_LONG,
    "exceed_context_size_error": _TOO_LONG,  # llama.cpp's
}
"""Codes that mean to a client what they mean to us. Others would mislead it: the key, the model
and the address that they may be about are not the client's."""


def failed(message: str, code: str = _FAILED) -> Finish:
    """The end of a reply that failed."""
    return Finish(Status.FAILED, code=code, message=message[:_LONGEST_MESSAGE])


def read_error(body: str, status: int, retry_after: str = "") -> Finish:
    """What an answer of another HTTP status than 200 means."""
    try:
        data = read_json(body)
    except (ValueError, RecursionError):
        data = None
    code, message = _error(data if isinstance(data, dict) else {})
    said = f"The upstream answered HTTP {status}{': ' if message else ''}{message}".rstrip(".")
    if status == 429 and not code:
        code = "rate_limit_exceeded"
    if retry_after.isdecimal() and "try again in" not in said:
        said = f"{said}. Please try again in {int(retry_after[:6])}s"
    return failed(f"{said}.", code or _FAILED)


def _error(data: JsonObject) -> tuple[str, str]:
    """The code, if it is one of those known, and the message: of `{"error": {…}}`, as most have
    it, of `{"error": "…"}`, or of an object with the message itself."""
    error = data.get("error")
    if isinstance(error, str):
        return "", error
    fields = Fields(error if isinstance(error, dict) else data, [])
    code = _KNOWN.get(fields.text("code")) or _KNOWN.get(fields.text("type")) or ""
    return code, fields.text("message")


def _read_chunk(data: str) -> Fields | Finish:
    try:
        chunk = read_json(data)
    except (ValueError, RecursionError) as error:
        return failed(f"The upstream sent what is no JSON: {error}.")
    if not isinstance(chunk, dict):
        return failed("The upstream sent JSON that is no object.")
    if chunk.get("error") or chunk.get("object") == "error":
        code, message = _error(chunk)
        return failed(f"The upstream failed: {message or 'it did not say why'}", code or _FAILED)
    return Fields(chunk, [])


@value
class _Call:
    number: int
    id: str


class ChunkReader:
    """Reads the events of one stream."""

    def __init__(self) -> None:
        self._reason = ""
        self._usage: Usage | None = None
        self._calls: dict[int, _Call] = {}
        self._begun = 0
        self.has_ended = False
        """Whether a `Finish` has been read."""
        self.has_failed = False
        """Whether that was a failure: nothing more of the stream is worth hearing."""

    @property
    def is_over(self) -> bool:
        """Whether what has come is the whole answer."""
        return bool(self._reason)

    def read(self, data: str) -> Iterator[str | CallPiece | Finish]:
        """The pieces in an event; with a `Finish` the answer is over."""
        if not data:
            return
        if data.strip() == _DONE:
            self._reason = self._reason or "stop"
            self.has_ended = True
            yield self.end()
            return
        chunk = _read_chunk(data)
        if isinstance(chunk, Finish):
            self.has_ended = self.has_failed = True
            yield chunk
        else:
            yield from self._chunk(chunk)

    def end(self) -> Finish:
        """The end, when no more events come."""
        if not self._reason:
            return failed("The upstream broke off before the end of its answer.")
        if self._reason in _REASONS:
            return Finish(Status.INCOMPLETE, _REASONS[self._reason], usage=self._usage)
        return Finish(usage=self._usage)

    def _chunk(self, chunk: Fields) -> Iterator[str | CallPiece]:
        self._usage = _usage(chunk.fields("usage")) or self._usage
        for choice in chunk.list("choices")[:1]:
            delta = choice.fields("delta")
            text = delta.piece("content") or delta.piece("refusal")
            if text:
                yield text
            for call in delta.list("tool_calls"):
                yield from self._call(call)
            self._reason = choice.text("finish_reason") or self._reason

    def _call(self, call: Fields) -> Iterator[CallPiece]:
        function = call.fields("function")
        index, call_id, name = call.integer("index"), call.text("id"), function.text("name")
        known = self._calls.get(index)
        # Some engines give every call the same index; some repeat the name with every piece.
        is_new = known is None or (call_id not in ("", known.id) and name != "")
        if known is None or is_new:
            known = self._calls[index] = _Call(self._begun, call_id)
            self._begun += 1
        arguments = function.piece("arguments")
        if is_new:
            yield CallPiece(known.number, arguments, name, call_id)
        elif arguments:
            yield CallPiece(known.number, arguments)


def _usage(usage: Fields) -> Usage | None:
    heard, said = usage.integer("prompt_tokens"), usage.integer("completion_tokens")
    if not heard and not said:
        return None
    cached = usage.fields("prompt_tokens_details").integer("cached_tokens")
    return Usage(heard, cached, said, usage.integer("total_tokens") or heard + said)
