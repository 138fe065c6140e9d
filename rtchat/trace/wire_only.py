"""Replays a recording without local events, which are inferred from the frames.

A request for a response is a question, a cancel is Ctrl-C, and a second session follows a lost
connection. The events that this program would send are not known, so each sent event is only
checked for being valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rtchat import wire
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.conversation import Conversation
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.ports import Machine
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.transcription import Transcription, TranscriptionSetup
from rtchat.core.translation import Translation, TranslationSetup
from rtchat.core.values import Channel, Dialect, JsonObject, Message, Options, ToolOutput
from rtchat.trace.reading import Recorded
from rtchat.trace.replay import CUT_OFF, Findings, Step, decode_recorded
from rtchat.wire import translations
from rtchat.wire.audio_options import is_transcription, turn_ends
from rtchat.wire.beta import to_ga
from rtchat.wire.client_events import decode_command

_MAX_UNKNOWN_FIELDS = 20
"""Maximum unknown fields in an event that are ignored."""
_LOST = ev.ConnectionLost(Problem(ExitCode.LINK, "connection lost"), ev.Retry.ALWAYS)


class WireReplay:
    """Replays a recording once."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self.findings = Findings()
        self._decoder = wire.Decoder()
        self._events = events
        self._machine, self._model = _machine(events)
        self._has_replies = isinstance(self._machine, Conversation)
        self._question = ""
        """The question since the last request for a response."""
        self._requested = 0
        """Requested responses that have not begun."""
        self._recorded_commands: dict[str, type[fx.Command]] = {}
        """The types of the recorded commands, by event id."""
        self._last_ids: dict[type[fx.Command], str] = {}
        """The event id of the last command of each type that the replay sent."""
        self._late_transcripts: list[fx.UserTranscript] = []
        """Transcripts of the user that arrived during a reply; they are shown after it."""
        self._time = 0.0
        self._updates: list[fx.Update] = []
        self._is_connecting = self._is_reply_due = False

    def steps(self) -> Iterator[Step]:
        """Replay the whole recording. A reply that it does not end is ended with `CUT_OFF`."""
        self._post(ev.Started())
        for recorded in self._events:
            self._time = recorded.time or self._time
            self._take(recorded)
            yield self._step(recorded.line, recorded.time)
        if self._is_reply_due:
            self._post(CUT_OFF)
            yield self._step(self._events[-1].line, None)

    def _step(self, line: int, time: float | None) -> Step:
        updates, self._updates = tuple(self._updates), []
        return Step(line, time, updates)

    def _take(self, recorded: Recorded) -> None:
        match recorded.direction:
            case "lost":
                is_last = recorded is self._events[-1]
                self._connect(ev.TimerFired(ev.Timer.RETRY), ev.Started())
                problem = Problem(ExitCode.LINK, str(recorded.data))
                self._is_connecting = False
                self._post(
                    ev.ConnectionLost(problem, ev.Retry.NEVER if is_last else ev.Retry.ALWAYS)
                )
            case "sent" if isinstance(recorded.data, dict):
                self._take_sent(recorded.line, recorded.data)
            case "received":
                for event in decode_recorded(recorded, self._decoder):
                    self._take_received(recorded.line, event)
            case _:
                pass

    def _post(self, event: ev.Event) -> None:
        for effect in self._machine.handle(event, self._time):
            match effect:
                case fx.Connect():
                    self._is_connecting = True
                case fx.Send(event_id, command):
                    self._last_ids[type(command)] = event_id
                case fx.Show(update):
                    self._show(update)
                case fx.Stop(code) if code is not ExitCode.OK:
                    self.findings.exit = code
                case _:
                    pass

    def _show(self, update: fx.Update) -> None:
        self._updates.append(update)
        if isinstance(update, fx.QuestionAsked | fx.ReplyOver):
            self._is_reply_due = isinstance(update, fx.QuestionAsked)
        if isinstance(update, fx.ReplyOver):
            self._updates += self._late_transcripts
            self._late_transcripts.clear()

    def _take_received(self, line: int, event: ev.ServerEvent) -> None:
        match event:
            case ev.Unknown():
                self.findings.unknown.append((line, event))
            case ev.SessionCreated(model=model):
                self._begin_session(model)
            case ev.ReplyStarted():
                if self._requested:
                    self._requested -= 1
                elif not self._is_reply_due:
                    self._ask("(spoken)")  # the reply is to speech, or was not requested
                event = replace(event, mark=self._last_ids.get(fx.CreateResponse, ""))
            case ev.ServerProblem(event_id=event_id):
                kind = self._recorded_commands.get(event_id)
                own_id = "" if kind is None else self._last_ids.get(kind, "")
                event = replace(event, event_id=own_id)
            case ev.ChannelDone(Channel.INPUT_TRANSCRIPT, text) if (
                text.strip() and self._has_replies
            ):
                if self._is_reply_due:
                    self._late_transcripts.append(fx.UserTranscript(text))
                else:
                    self._show(fx.UserTranscript(text))
            case _:
                pass
        self._post(event)

    def _begin_session(self, model: str) -> None:
        if model not in ("", self._model):
            self._model = model
            self._connect(ev.ModelSet(model))
        self._connect(_LOST, ev.TimerFired(ev.Timer.RETRY), ev.Started())
        self._is_connecting = False
        self._requested = 0
        self.findings.has_session = True
        self._post(ev.ConnectionOpened())

    def _connect(self, *reasons: ev.Event) -> None:
        """Post events until the conversation connects."""
        for reason in reasons:
            if not self._is_connecting:
                self._post(reason)

    def _take_sent(self, line: int, data: JsonObject) -> None:
        command = read_sent(data)
        if command is None:
            kind = data.get("type")
            self.findings.differences.append(
                (line, f"sent {kind}, which is not an event of the API")
            )
            return
        self._recorded_commands[str(data.get("event_id", ""))] = type(command)
        match command:
            case fx.AddItem(Message(role="user") as item):
                self._question = _question_text(item)
            case fx.AddItem(ToolOutput()):
                self._question = self._question or "(tool output)"
            case fx.CommitAudio() | fx.CloseSession() if not self._has_replies:
                self._post(ev.InputEnded())
            case fx.CommitAudio():
                self._question = self._question or "(spoken)"
            case fx.Cancel() if self._is_reply_due:
                self._post(ev.CancelPressed())
            case fx.CreateResponse():
                self._request()
            case _:
                pass

    def _request(self) -> None:
        if self._is_reply_due:
            self._post(ev.TimerFired(ev.Timer.LIMIT))
        else:
            self._ask(self._question or "(asked again)")
        self._question = ""
        self._requested += 1

    def _ask(self, question: str) -> None:
        if self._has_replies:
            self._post(ev.UserSaid(question))


def read_sent(data: JsonObject) -> fx.Command | None:
    """The command of an event that a client sent, in either dialect; None if it is not valid."""
    if translations.is_close(data):
        return fx.CloseSession()
    data = to_ga(translations.to_ga(data))
    session = data.get("session")
    transcribes = isinstance(session, dict) and is_transcription(session)
    for _ in range(_MAX_UNKNOWN_FIELDS):
        command = decode_command(data, transcribes=transcribes)
        if not isinstance(command, ev.ServerProblem):
            return command
        if command.code != "unknown_parameter":
            return None
        data = _without(data, command.param.split("."))
    return None


def _without(data: JsonObject, path: list[str]) -> JsonObject:
    out = dict(data)
    dropped = out.pop(path[0], None)
    if len(path) > 1 and isinstance(dropped, dict):
        out[path[0]] = _without(dropped, path[1:])
    return out


def _question_text(item: Message) -> str:
    """The text of a question, or what it contains."""
    kinds = " and ".join(dict.fromkeys(part.kind for part in item.parts if part.kind != "text"))
    return item.text or f"({kinds or 'nothing'})"


def _machine(events: Sequence[Recorded]) -> tuple[Machine, str]:
    """The state machine that handles the events, and the model of the first session."""
    created = _first_created(events)
    model = (created and created.model) or "unknown"
    options = _first_options(events)
    if created is not None and created.dialect is Dialect.TRANSLATION:
        return Translation(TranslationSetup(model, options)), model
    if created is not None and is_transcription(created.fields):
        options = replace(options, other={"type": "transcription", **options.other})
        has_turns, *_ = turn_ends(options.other)
        setup = TranscriptionSetup(model, options, has_turns=has_turns)
        return Transcription(setup), model
    return Conversation(model, options, tool_policy=ToolPolicy(is_external=True)), model


def _first_created(events: Sequence[Recorded]) -> ev.SessionCreated | None:
    decoder = wire.Decoder()
    for recorded in events:
        if recorded.direction == "received":
            for event in decode_recorded(recorded, decoder):
                if isinstance(event, ev.SessionCreated):
                    return event
    return None


def _first_options(events: Sequence[Recorded]) -> Options:
    """The first options that the client set."""
    for recorded in events:
        if recorded.direction == "sent" and isinstance(recorded.data, dict):
            command = read_sent(recorded.data)
            if isinstance(command, fx.Configure):
                return command.options
    return Options(modality="text")
