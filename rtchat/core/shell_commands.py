"""The commands that do not affect the conversation. They show something, or ask the shell to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.dotted_keys import flat
from rtchat.core.mode import Mode
from rtchat.core.question import Question
from rtchat.core.replay import by_turn, count_turns
from rtchat.core.saved_entries import SavedEntries
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output
from rtchat.core.spoken_turns import SpokenTurns
from rtchat.core.thinking import split
from rtchat.core.turns import Turns
from rtchat.core.values import Item, Message, OtherItem, StoredConversation

ShellCommand: TypeAlias = (
    ev.StatusAsked
    | ev.HistoryAsked
    | ev.ExportAsked
    | ev.SaveAsked
    | ev.TraceAsked
    | ev.EventsAsked
    | ev.VoiceAsked
    | ev.ReasoningAsked
    | ev.ThemeAsked
)
_EFFORT = "reasoning.effort"


class ShellCommands:
    """Handles these commands, and remembers what they show."""

    def __init__(
        self,
        shared: SharedState,
        turns: Turns,
        spoken: SpokenTurns,
        stored: StoredConversation | None,
    ) -> None:
        self._shared = shared
        self._turns = turns
        self._spoken = spoken
        self._saved = SavedEntries(stored)
        self._shows_events = False
        self._reasoning: list[str] = []
        """The summaries of the model's reasoning in the last turn that has any."""
        self._reasoned_about: Question | None = None
        """The question of that turn."""

    def handle(self, command: ShellCommand) -> Iterable[Output]:
        """Handle a command."""
        match command:
            case ev.StatusAsked():
                return [fx.ReportStatus(self._status())]
            case ev.HistoryAsked():
                saved = self._saved.conversation()
                return [
                    notices.NOTHING_TO_SHOW
                    if saved is None
                    else fx.Show(fx.WholeConversation(saved))
                ]
            case ev.ExportAsked(file, force):
                return [self._export(file, force=force)]
            case ev.SaveAsked():
                return [self._save(command)]
            case ev.TraceAsked(action, file):
                return [fx.RecordTrace(action, file)]
            case ev.EventsAsked(shows):
                self._shows_events = not self._shows_events if shows is None else shows
                shown = self._shows_events
                return [
                    fx.ShowEvents(shown),
                    notices.EVENTS_SHOWN if shown else notices.EVENTS_HIDDEN,
                ]
            case ev.VoiceAsked():
                return self._voice()
            case ev.ReasoningAsked():
                return [fx.Show(fx.Report(self._describe_reasoning(), may_be_long=True))]
            case ev.ThemeAsked(name):
                return [fx.Show(fx.ThemeChosen(name))]
            case _:
                assert_never(command)

    # ------------------------------------------------------------------------- what is remembered

    def note(self, effect: fx.Record | fx.StartRecord | fx.MoveTo | fx.Fork) -> None:
        """An entry is saved, the current branch changes, or a new conversation begins."""
        match effect:
            case fx.Record(entry):
                self._saved.add(entry)
            case fx.MoveTo(turn):
                self._saved.move_to(turn)
            case fx.Fork(turn):
                self._saved.fork(turn, self._shared.time.now)
            case fx.StartRecord():
                self.restart(None)
            case _:
                assert_never(effect)

    def restart(self, stored: StoredConversation | None) -> None:
        """Another conversation begins: a new one, or the saved conversation `stored`."""
        self._saved.restart(stored, self._shared.time.now)
        self._reasoned_about = None

    def reply_contains(self, question: Question | None, items: Iterable[Item]) -> Iterable[Output]:
        """The reply to a question contains these items. Announces a new summary of reasoning."""
        is_new = False
        if question is None:
            return []
        found = [item.reasoning for item in items if isinstance(item, OtherItem)]
        for summary in filter(None, found):
            if question is not self._reasoned_about:
                self._reasoned_about, self._reasoning = question, []
            if summary not in self._reasoning:  # an item may be reported twice
                self._reasoning.append(summary)
                is_new = True
        return [notices.REASONED] if is_new and self._shared.mode is Mode.CHAT else []

    # ------------------------------------------------------------------------------ what is shown

    def _status(self) -> fx.ConversationStatus:
        shared, connection = self._shared, self._shared.connection
        options = shared.options.describe()
        return fx.ConversationStatus(
            connection.model,
            connection.session,
            connection.phase.value,
            shared.time.now - connection.since,
            connection.dialect,
            count_turns(by_turn(shared.log.items)),
            shared.options.session.instructions or "",
            "" if options == notices.NO_OPTIONS else options,
            tuple(shared.tool_policy.tools),
            self._spoken.microphone,
            shared.speech.options.speaks,
        )

    def _export(self, file: str, *, force: bool) -> Output:
        conversation = self._saved.conversation()
        if conversation is None:
            return notices.NOTHING_TO_EXPORT
        return fx.Export(conversation, self._saved.age(self._shared.time.now), file, force)

    def _save(self, asked: ev.SaveAsked) -> Output:
        reply, question = self._shared.log.last_reply, self._shared.log.last_answered
        so_far, turn = self._turns.answer_so_far if asked.block else "", self._turns.current
        if so_far and turn is not None:
            question = turn.question
        if reply is None and not so_far:
            return notices.NOTHING_TO_SAVE
        title = question.text if question is not None else ""
        return fx.SaveReply(reply or "", asked.block, title, asked.file, asked.force, so_far)

    def _voice(self) -> Iterable[Output]:
        microphone, speaks = self._spoken.microphone, self._shared.speech.options.speaks
        if microphone is None:
            return [fx.Show(fx.Report(notices.no_voice(speaks=speaks)))]
        if not (microphone.is_on or microphone.is_opening or microphone.push_to_talk):
            return self._spoken.toggle_microphone()
        text = notices.voice(speaks=speaks, push_to_talk=microphone.push_to_talk)
        return [fx.Show(fx.Report(text))]

    def _describe_reasoning(self) -> str:
        effort = dict(flat(self._shared.options.session.other)).get(_EFFORT)
        reasoning = self._reasoning_by_turn()
        lines = [notices.reasoning_effort(effort)]
        if not reasoning:
            return "\n".join((*lines, notices.NO_REASONING))
        last, turn = self._shared.log.last_answered, max(reasoning)
        if last is not None and turn < last.turn:
            lines.append(notices.EARLIER_REASONING)
        return "\n".join((*lines, "\n\n".join(reasoning[turn])))

    def _reasoning_by_turn(self) -> dict[int, list[str]]:
        """The summaries and thoughts in the replies of the current branch, by turn."""
        found: dict[int, list[str]] = {}
        about = self._reasoned_about
        if about is not None and about in self._shared.log.branch:
            found[about.turn] = [*self._reasoning]
        saved = self._saved.conversation()
        for entry in saved.entries if saved is not None else ():
            match entry.item:
                case Message("assistant") as reply if thought := split(reply.text).thought:
                    found.setdefault(entry.turn, []).append(thought)
                case _:
                    pass
        return found
