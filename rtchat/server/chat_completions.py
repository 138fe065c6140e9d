"""The chat completions API, which most engines serve: its address, requests and responses.

Source: OpenAI's reference of `/v1/chat/completions`. Comments note where engines differ from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit, urlunsplit

from rtchat.core.errors import UsageError
from rtchat.core.text import sentence, shortened
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
"""The default time limit for the next piece of an answer. A small machine needs minutes to process
a large prompt."""

# ----------------------------------------------------------------------------------------- address


@value
class Upstream:
    """An engine's URL, the model to request, and the API key, if it needs one."""

    url: str
    model: str
    key: str = ""

    def __repr__(self) -> str:
        return f"Upstream({self.url!r}, {self.model!r})"

    @property
    def is_local(self) -> bool:
        """Whether the engine runs on this machine."""
        return is_loopback(urlsplit(self.url).hostname)


def upstream(url: str, model: str, key: str = "", *, insecure: bool = False) -> Upstream:
    """Make an `Upstream` from the base URL of its API (`http://host/v1`).

    Raises `UsageError` if the URL is invalid or the key would be sent unencrypted over a network.
    """
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        parts, is_valid = urlsplit(""), False
    if not is_valid or not url.isprintable() or " " in url or "@" in parts.netloc:
        message = "invalid value for --upstream (expected an http or https URL without a password)"
        hint = "use the form http://host:port/v1 and pass a key with --upstream-key-file"
        raise UsageError(message, hint=hint)
    if not (key.isascii() and key.isprintable()):
        raise UsageError("the upstream's key contains invalid characters")
    if key and parts.scheme == "http" and not (insecure or is_loopback(parts.hostname)):
        message = f"the upstream's key would be sent unencrypted to {parts.hostname}"
        raise UsageError(message, hint="use https://, or --insecure on a trusted network")
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith(_ENDPOINT):
        path += _ENDPOINT
    return Upstream(urlunsplit(parts._replace(path=path, fragment="")), model, key)


_ENDPOINT = "/chat/completions"


# ----------------------------------------------------------------------------------------- request


def write_request(prompt: ModelInput, model: str) -> JsonObject:
    """The body of a request."""
    body: dict[str, object] = {
        "model": model,
        "messages": _messages(prompt),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.max_output_tokens is not None:
        # Not `max_completion_tokens`, which some engines do not know yet.
        body["max_tokens"] = prompt.max_output_tokens
    return body | _tools(prompt.tools)


def not_supported(prompt: ModelInput) -> Finish | None:
    """The failure for a prompt that chat completions do not support (untranscribed audio)."""
    user_messages = [
        item for item in prompt.items if isinstance(item, Message) and item.role == "user"
    ]
    parts = user_messages[-1].parts if user_messages else ()
    if all(part.kind != "audio" or part.text for part in parts):
        return None
    return failed("The upstream does not support audio input.", "audio_not_supported")


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
    """Add calls, directly followed by their outputs: most engines refuse any other order."""
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
    # Engines whose templates parse the arguments would fail on every later request.
    try:
        return call.arguments if isinstance(json.loads(call.arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _message(item: Item) -> list[dict[str, object]]:
    if not isinstance(item, Message):
        return []  # outputs are added with their calls; engines do not support MCP
    if any(part.kind == "image" for part in item.parts):
        content = [_part(part) for part in item.parts if part.kind == "image" or part.text]
        return [{"role": item.role, "content": content}]
    # A string, because some engines do not accept a list for text only.
    text = "\n".join(part.text for part in item.parts if part.text)
    return [{"role": item.role, "content": text}] if text else []


def _part(part: Part) -> dict[str, object]:
    if part.kind == "image":
        detail = {"detail": part.detail} if part.detail else {}
        return {"type": "image_url", "image_url": {"url": part.data} | detail}
    return {"type": "text", "text": part.text}


# ------------------------------------------------------------------------------------------ answer

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_DONE = "[DONE]"
_FAILED = "upstream_error"
_CONTEXT_EXCEEDED = "context_length_exceeded"
_MAX_CHARS = 1000
_KNOWN = {
    "insufficient_quota": "insufficient_quota",
    "rate_limit_exceeded": "rate_limit_exceeded",
    _CONTEXT_EXCEEDED: _CONTEXT_EXCEEDED,
    "exceed_context_size_error": _CONTEXT_EXCEEDED,  # llama.cpp's
}
"""Error codes that are passed on to clients. Other codes, about the upstream's key, model or
address, would mislead a client."""


def failed(message: str, code: str = _FAILED) -> Finish:
    """The end of a failed response. The message gets exactly one full stop."""
    return Finish(Status.FAILED, code=code, message=sentence(shortened(message, _MAX_CHARS)))


def read_error(body: str, status: int, retry_after: str = "") -> Finish:
    """The failure for an HTTP status other than 200."""
    try:
        data = read_json(body)
    except (ValueError, RecursionError):
        data = None
    code, message = _error(data if isinstance(data, dict) else {})
    text = f"The upstream returned HTTP {status}{': ' if message else ''}{message}"
    if status == 429 and not code:
        code = "rate_limit_exceeded"
    if retry_after.isdecimal() and "try again in" not in text:
        text = f"{sentence(text)} Please try again in {int(retry_after[:6])}s"
    return failed(text, code or _FAILED)


def _error(data: JsonObject) -> tuple[str, str]:
    """The code, if known, and the message, from `{"error": {…}}` (most engines), `{"error": "…"}`
    or `{"message": "…"}`."""
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
        return failed(f"The upstream sent invalid JSON: {error}")
    if not isinstance(chunk, dict):
        return failed("The upstream sent JSON that is not an object.")
    if chunk.get("error") or chunk.get("object") == "error":
        code, message = _error(chunk)
        return failed(f"The upstream failed: {message or 'unknown error'}", code or _FAILED)
    return Fields(chunk, [])


@value
class _Call:
    number: int
    id: str


class ChunkReader:
    """Reads the events of one response stream."""

    def __init__(self) -> None:
        self._reason = ""
        self._usage: Usage | None = None
        self._calls: dict[int, _Call] = {}
        self._call_count = 0
        self.has_ended = False
        """Whether a `Finish` has been read."""
        self.has_failed = False
        """Whether that `Finish` was a failure, so that the rest of the stream can be ignored."""

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete."""
        return bool(self._reason)

    def read(self, data: str) -> Iterator[str | CallPiece | Finish]:
        """The pieces in an event. A `Finish` ends the answer."""
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
        """The `Finish` when the stream has ended."""
        if not self._reason:
            return failed("The upstream closed the stream before the end of the response.")
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
        # Some engines use the same index for every call; some repeat the name in every piece.
        is_new = known is None or (call_id not in ("", known.id) and name != "")
        if known is None or is_new:
            known = self._calls[index] = _Call(self._call_count, call_id)
            self._call_count += 1
        arguments = function.piece("arguments")
        if is_new:
            yield CallPiece(known.number, arguments, name, call_id)
        elif arguments:
            yield CallPiece(known.number, arguments)


def _usage(usage: Fields) -> Usage | None:
    prompt_tokens, output_tokens = (
        usage.integer("prompt_tokens"),
        usage.integer("completion_tokens"),
    )
    if not prompt_tokens and not output_tokens:
        return None
    cached = usage.fields("prompt_tokens_details").integer("cached_tokens")
    total = usage.integer("total_tokens") or prompt_tokens + output_tokens
    return Usage(prompt_tokens, cached, output_tokens, total)
