"""Errors that the server reports about the reply, or that may have ended it."""

from __future__ import annotations

from typing import assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import server_errors
from rtchat.core.replies import Replies, ReplyPhase
from rtchat.core.signals import Output, ReplyDone
from rtchat.core.values import Status


class ReplyErrors:
    """What follows an error while a reply is pending."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies

    def concerns(self, command: fx.CreateResponse | fx.Raw | fx.AddItem | fx.CommitAudio) -> bool:
        """Whether a command requested the current reply, or sent the question that it answers."""
        turn = self._replies.turn if self._replies.is_due else None
        match command:
            case fx.CreateResponse():
                return True
            case fx.Raw(fields):
                return fields is self._replies.raw
            case fx.AddItem(item):
                return turn is not None and turn.question.item is item
            case fx.CommitAudio():
                return turn is not None
            case _:
                assert_never(command)

    def refused(self, error: ev.ServerProblem) -> list[Output]:
        """The server refused to create the reply, or to cancel it."""
        match self._replies.phase:
            case ReplyPhase.ENDING:
                return self._replies.stopped()
            case ReplyPhase.ASKED if error.code == server_errors.ACTIVE_RESPONSE:
                return self._busy(error)
            case ReplyPhase.ASKED if self._replies.ownership.refuses_mark(error):
                return self._replies.ask()
            case ReplyPhase.ASKED:
                return [ReplyDone(Status.FAILED, "", server_errors.of_error(error))]
            case _:
                return []

    def _busy(self, error: ev.ServerProblem) -> list[Output]:
        """The server refused to create the reply because it is generating a response. If that is
        not the reply, the reply is requested again after it. Otherwise the server began the reply
        by itself and will announce it."""
        turn, ownership = self._replies.turn, self._replies.ownership
        assert turn is not None
        if ownership.is_holding or ownership.unrequested.is_active:
            turn.server_was_busy = True
            return ownership.reject() if ownership.is_holding else []
        if ownership.unrequested.has_ended:
            return self._replies.ask()
        return [self._replies.deadline.reported(error)]

    def reported(self, error: ev.ServerProblem) -> list[Output]:
        """The server reported an error that names no command. It may have ended the reply; or the
        server was busy and did not begin an expected reply."""
        replies, deadline = self._replies, self._replies.deadline
        is_asked = replies.phase is ReplyPhase.ASKED
        if error.code in server_errors.NOTHING_TO_CANCEL:
            return replies.stopped() if replies.phase is ReplyPhase.ENDING else []
        if error.code == server_errors.ACTIVE_RESPONSE:
            if replies.turn is not None and is_asked:
                replies.turn.server_was_busy |= not replies.turn.is_requested
            return []
        if is_asked and replies.ownership.refuses_mark(error):
            return replies.ask()
        is_about_session = error.code == server_errors.EXPIRED  # the server closes it
        is_awaited = deadline.is_running and not deadline.ends
        if not replies.is_due or is_awaited or is_about_session:
            return []
        return [deadline.reported(error)]
