"""The tool calls of one reply: which are allowed, which are running, and their outputs.

Every call gets an answer, even a refused one: until then servers accept no other question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, assert_never

from rtchat.core import notices
from rtchat.core.effects import (
    Effect,
    RunTool,
    Show,
    StopTools,
    ToolAsked,
    ToolBegan,
    ToolEnded,
)
from rtchat.core.events import Answer
from rtchat.core.text import on_a_line
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    JsonObject,
    ToolCall,
    ToolOutput,
    TurnLimits,
)

NO_CALLS: JsonObject = {"tool_choice": "none"}
"""The response option that prevents tool calls."""
REFUSED = "error: the user refused this call"
STOPPED = "error: the user stopped this call"
UNAVAILABLE = "error: this tool is not available"
_NOT_ALLOWED = "error: this tool is not allowed here"
LIMIT_REACHED = "error: no more calls are allowed in this turn; reply with the outputs so far"

Call: TypeAlias = ToolCall | Approval
Identity: TypeAlias = tuple[str | None, str]
"""What a permission covers: the remote MCP server, None for a local tool, and the tool."""


class ToolPolicy:
    """Which calls may be made. `can_ask` is whether a user can be asked; `is_external`
    whether all calls are made by another program, as when a recording is replayed."""

    def __init__(
        self,
        tools: Iterable[str] = (),
        allowed: Iterable[str] = (),
        *,
        servers: Mapping[str, str] | None = None,
        can_ask: bool = False,
        is_external: bool = False,
        limits: TurnLimits = TurnLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        """`allowed` has names in the form of `--allow-tool`, see `_name`; `servers` has the MCP
        server of each tool that has one."""
        self.tools = frozenset(tools)
        """The local tools."""
        self.servers = servers or {}
        self.can_ask = can_ask
        self.is_external = is_external
        self.limits = limits
        self._allowed = {_parse_name(name) for name in allowed}

    def allows(self, call: Call) -> bool:
        """Whether this call may be made without asking."""
        return _identity(call) in self._allowed

    def allow(self, call: Call) -> None:
        """Allow this call and all further calls of the same tool."""
        self._allowed.add(_identity(call))

    def describe(self) -> str:
        """List the tools, one per line."""
        rows = [(None, tool) for tool in self.tools]
        remote = [(server, tool) for server, tool in self._allowed if server is not None]
        return "\n".join(sorted(map(self._line, [*rows, *remote]))) or notices.NO_TOOLS

    def _line(self, identity: Identity) -> str:
        server, tool = identity
        name = on_a_line(tool if server is None else f"{server}/{tool}")
        origin = self.servers.get(tool) if server is None else None
        owner = f" of the MCP server {origin}" if origin else ""
        return f"{name}{owner}{' (allowed)' if identity in self._allowed else ''}"

    def handles(self, calls: Sequence[Call]) -> bool:
        """Whether these calls are answered here. Without local tools, function calls are only
        reported."""
        return any(self.tools or isinstance(call, Approval) for call in calls)


class ToolCallBatch:
    """The calls of one reply, numbered from 1 within the turn. Methods return the effects."""

    def __init__(self, calls: Sequence[Call], tool_policy: ToolPolicy, number: int) -> None:
        self.calls = tuple(calls)
        self.is_last = number >= tool_policy.limits.rounds
        self._policy = tool_policy
        self._waiting = list(calls)
        """The calls not yet allowed or refused, in order."""
        self._running: dict[str, ToolCall] = {}
        self._answers: dict[str, ToolOutput | ApprovalAnswer] = {}

    @property
    def is_done(self) -> bool:
        """Whether each call has an answer."""
        return len(self._answers) == len(self.calls)

    @property
    def answers(self) -> list[ToolOutput | ApprovalAnswer]:
        """The answers so far, in the order of the calls."""
        return [self._answers[key] for key in map(_key, self.calls) if key in self._answers]

    def begin(self) -> list[Effect]:
        """Make the allowed calls, refuse those that cannot be allowed, and ask about the first of
        the others."""
        done: list[Effect] = []
        asked: list[Call] = []
        for call in self._waiting:
            if isinstance(call, ToolCall) and call.name not in self._policy.tools:
                done += self._refuse(call, f"error: there is no tool {call.name}")
            elif self.is_last:
                done += self._refuse(call, LIMIT_REACHED)
            elif self._policy.allows(call):
                done += self._allow(call)
            elif self._policy.can_ask:
                asked.append(call)
            else:
                done.append(notices.call_not_allowed(_name(call)))
                done += self._refuse(call, _NOT_ALLOWED)
        self._waiting = asked
        return done + self._ask()

    def answer(self, answer: Answer) -> list[Effect]:
        """Take the user's answer about the first waiting call."""
        if not self._waiting:
            return []
        call = self._waiting.pop(0)
        match answer:
            case "no":
                done = self._refuse(call, REFUSED)
            case "yes":
                done = self._allow(call)
            case "always":
                self._policy.allow(call)
                others = [other for other in self._waiting if self._policy.allows(other)]
                self._waiting = [other for other in self._waiting if other not in others]
                done = [effect for one in (call, *others) for effect in self._allow(one)]
            case _:
                assert_never(answer)
        return done + self._ask()

    def finish(self, call_id: str, output: str) -> list[Effect]:
        """Take the output of a call; that of a stopped call is ignored."""
        call = self._running.pop(call_id, None)
        if call is None:
            return []
        self._answers[call_id] = ToolOutput(call_id, output)
        return [Show(ToolEnded(call, output))]

    def stop(self) -> list[Effect]:
        """Stop all calls because the turn is over; each call still gets an answer."""
        for call in self.calls:
            if _key(call) not in self._answers:
                self._answers[_key(call)] = _answer(call, STOPPED)
        self._waiting, self._running = [], {}
        return [StopTools()]

    def _ask(self) -> list[Effect]:
        if not self._waiting:
            return []
        call = self._waiting[0]
        server = self._policy.servers.get(call.name, "") if isinstance(call, ToolCall) else ""
        return [Show(ToolAsked(call, server))]

    def _allow(self, call: Call) -> list[Effect]:
        match call:
            case ToolCall():
                self._running[call.call_id] = call
                return [Show(ToolBegan(call)), RunTool(call)]
            case Approval():
                self._answers[call.id] = ApprovalAnswer(call.id, approve=True, id=_answer_id(call))
                return []
            case _:
                assert_never(call)

    def _refuse(self, call: Call, why: str) -> list[Effect]:
        self._answers[_key(call)] = _answer(call, why)
        return [Show(ToolEnded(call, why))] if isinstance(call, ToolCall) else []


def _identity(call: Call) -> Identity:
    return (call.server if isinstance(call, Approval) else None), call.name


def _parse_name(name: str) -> Identity:
    """The tool that a name for `--allow-tool` refers to. Names of local tools contain no slash."""
    server, slash, tool = name.partition("/")
    return (server, tool) if slash else (None, name)


def _name(call: Call) -> str:
    """The name for `--allow-tool`; the name of a remote tool includes its server."""
    return on_a_line(f"{call.server}/{call.name}" if isinstance(call, Approval) else call.name)


def _key(call: Call) -> str:
    return call.call_id if isinstance(call, ToolCall) else call.id


def _answer(call: Call, why: str) -> ToolOutput | ApprovalAnswer:
    if isinstance(call, ToolCall):
        return ToolOutput(call.call_id, why)
    return ApprovalAnswer(call.id, approve=False, id=_answer_id(call), reason=why)


def _answer_id(approval: Approval) -> str:
    """The API requires an id, of at most 32 characters."""
    return f"mcpa_{approval.id[-27:]}"
