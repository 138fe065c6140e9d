"""Reads the chunks of text, usage and errors that llama.cpp returns."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.text import sentence
from rtchat.core.values import Status, Usage
from rtchat.server.engine import Finish
from rtchat.wire.fields import Fields

CONTEXT_EXCEEDED = "context_length_exceeded"
"""The code of a failed response whose prompt is longer than the context of the model."""


def read_chunk(chunk: Mapping[str, object]) -> tuple[str, Finish | None]:
    """The text in a chunk of the runtime, and the `Finish` if it is the last one."""
    fields = Fields(chunk, [])
    if "error" in chunk:
        return "", _read_error(fields.fields("error"))
    for choice in fields.list("choices"):
        text = choice.fields("delta").text("content")
        match choice.text("finish_reason"):
            case "":
                return text, None
            case "length":
                return text, Finish(Status.INCOMPLETE, "max_output_tokens", usage=read_usage(chunk))
            case _:
                return text, Finish(usage=read_usage(chunk))
    return "", None


def _read_error(error: Fields) -> Finish:
    if error.text("type") != "exceed_context_size_error":
        return failed("server_error", f"The model failed: {error.text('message')}")
    prompt_tokens, context = error.integer("n_prompt_tokens"), error.integer("n_ctx")
    message = (
        f"This model's maximum context length is {context} tokens; the prompt has {prompt_tokens}."
    )
    return failed(CONTEXT_EXCEEDED, message)


def failed(code: str, message: str) -> Finish:
    """The end of a response that failed."""
    return Finish(Status.FAILED, code=code, message=sentence(message))


def read_usage(chunk: Mapping[str, object]) -> Usage | None:
    """The usage so far, if the chunk reports it."""
    timings = Fields(chunk, []).fields("timings")
    if not timings.data:
        return None
    cached, output = timings.integer("cache_n"), timings.integer("predicted_n")
    input_tokens = cached + timings.integer("prompt_n")
    return Usage(input_tokens, cached, output, input_tokens + output)
