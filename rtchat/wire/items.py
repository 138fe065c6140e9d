"""Converts conversation items and their content parts to JSON and back."""

from __future__ import annotations

from typing import assert_never

from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    ImageDetail,
    Item,
    Message,
    OtherItem,
    Part,
    PartKind,
    Phase,
    RemoteCall,
    Role,
    ToolCall,
    ToolOutput,
)
from rtchat.wire.errors import error_object
from rtchat.wire.fields import Fields

_PART_KINDS: dict[str, PartKind] = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "input_audio": "audio",
    "output_audio": "audio",
    "audio": "audio",
    "input_image": "image",
}

_PHASES: dict[str, Phase] = {"commentary": "commentary", "final_answer": "final_answer"}
_DETAILS: dict[str, ImageDetail] = {"auto": "auto", "low": "low", "high": "high"}


def read_part(fields: Fields) -> Part | None:
    kind = _PART_KINDS.get(fields.text("type"))
    match kind:
        case "text":
            return Part("text", fields.text("text"))
        case "audio":
            return Part("audio", fields.text("transcript"), fields.text("audio"))
        case "image":
            detail = _DETAILS.get(fields.text("detail"))
            return Part("image", data=fields.text("image_url"), detail=detail)
        case None:
            return None
    assert_never(kind)


def write_part(part: Part, role: Role) -> dict[str, object]:
    match part.kind:
        case "text":
            return {
                "type": "output_text" if role == "assistant" else "input_text",
                "text": part.text,
            }
        case "audio":
            out: dict[str, object] = {
                "type": "output_audio" if role == "assistant" else "input_audio"
            }
            if part.data:
                out["audio"] = part.data
            if part.text:
                out["transcript"] = part.text
            return out
        case "image":
            image: dict[str, object] = {"type": "input_image", "image_url": part.data}
            return image | ({"detail": part.detail} if part.detail else {})
    assert_never(part.kind)


_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


def read_item(fields: Fields) -> Item:
    kind, item_id = fields.text("type"), fields.text("id")
    if kind == "message" and (role := _ROLES.get(fields.text("role"))):
        parts = tuple(part for entry in fields.list("content") if (part := read_part(entry)))
        phase = _PHASES.get(fields.text("phase"))
        return Message(role, parts, item_id, fields.text("status"), phase)
    if kind == "function_call":
        name, call_id = fields.text("name"), fields.text("call_id")
        return ToolCall(
            name, call_id, fields.json_text("arguments"), item_id, fields.text("status")
        )
    if kind == "function_call_output":
        return ToolOutput(fields.text("call_id"), fields.text("output"), item_id)
    if kind == "mcp_approval_request":
        name, server = fields.text("name"), fields.text("server_label")
        return Approval(item_id, name, fields.json_text("arguments"), server)
    if kind == "mcp_approval_response":
        request, approve = fields.text("approval_request_id"), fields.data.get("approve")
        return ApprovalAnswer(request, approve is True, item_id, fields.text("reason"))
    if kind == "mcp_call":
        error = error_object(fields.data).get("message")
        return RemoteCall(
            fields.text("server_label"),
            fields.text("name"),
            fields.json_text("arguments"),
            fields.text("output"),
            error if isinstance(error, str) else "",
            item_id,
        )
    reasoning = _reasoning(fields) if kind == "reasoning" else ""
    return OtherItem(kind, item_id, fields.data, reasoning=reasoning)


def _reasoning(fields: Fields) -> str:
    """The summary of an item of reasoning, as in the Responses API, or else its text."""
    parts = fields.list("summary") or fields.list("content")
    return "\n\n".join(filter(None, (part.text("text").strip() for part in parts)))


def write_item(item: Item) -> dict[str, object]:
    """An item as a GA JSON object, with only the fields that are known."""
    out = _item_fields(item)
    if isinstance(item, Message | ToolCall) and item.status:
        out["status"] = item.status
    return {"id": item.id} | out if item.id else out


def _item_fields(item: Item) -> dict[str, object]:
    match item:
        case Message():
            content = [write_part(part, item.role) for part in item.parts]
            phase = {"phase": item.phase} if item.phase else {}
            return {"type": "message", "role": item.role, **phase, "content": content}
        case ToolCall():
            return {
                "type": "function_call",
                "name": item.name,
                "call_id": item.call_id,
                "arguments": item.arguments,
            }
        case ToolOutput():
            return {
                "type": "function_call_output",
                "call_id": item.call_id,
                "output": item.output,
            }
        case Approval():
            return {
                "type": "mcp_approval_request",
                "server_label": item.server,
                "name": item.name,
                "arguments": item.arguments,
            }
        case ApprovalAnswer():
            answer: dict[str, object] = {
                "type": "mcp_approval_response",
                "approval_request_id": item.request_id,
                "approve": item.approve,
            }
            return answer | ({"reason": item.reason} if item.reason else {})
        case RemoteCall():
            return {
                "type": "mcp_call",
                "server_label": item.server,
                "name": item.name,
                "arguments": item.arguments,
                "output": item.output,
                "error": {"message": item.error} if item.error else None,
            }
        case OtherItem():
            return dict(item.fields)
    assert_never(item)
