"""Typing and speaking in random order: no typed text is lost, and the entry or the question about a
call is always on the screen."""

from __future__ import annotations

import asyncio
import io
import random
from collections import deque
from collections.abc import Callable

from prompt_toolkit.input import PipeInput, create_pipe_input
from rich.text import Text

from rtchat.core.effects import (
    Notice,
    QuestionAsked,
    ReplyOver,
    TextArrived,
    ToolAsked,
    Update,
    UserTranscript,
)
from rtchat.core.events import CancelPressed, LocalEvent, ToolAnswered, UserSaid
from rtchat.core.values import Status, ToolCall
from rtchat.inputs import attachments
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests import screen as screens
from tests.chunks import seeds
from tests.entry import SizedOutput
from tests.scripted import NothingSaved, Screen
from tests.terminal import PROMPT

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _Meters:
    level = 0.5
    is_playing = False


class _View(Screen):
    """A view that prints the ends of replies."""

    def __init__(self, panel: LivePanel) -> None:
        super().__init__()
        self._panel = panel
        self.replies: list[str] = []

    def show(self, update: Update) -> None:
        super().show(update)
        if isinstance(update, TextArrived):
            self._panel.paint(Text("a reply"))
        if isinstance(update, ReplyOver):
            self._panel.clear()
            self._panel.print(Text(f"reply {update.text}"))
            self.replies.append(update.text)


class _Conversation:
    """A simulation of the conversation, as far as the terminal depends on it."""

    def __init__(self, terminal: Terminal) -> None:
        self.show = terminal.show
        self.said: list[str] = []
        self.asked = 0
        self._queue: deque[str] = deque()
        self._current: QuestionAsked | None = None
        self._calls = False

    def post(self, event: LocalEvent) -> None:
        loop = asyncio.get_running_loop()
        match event:
            case UserSaid(text):
                self.said.append(text)
                self._queue.append(text)
                loop.call_soon(self._next)
            case CancelPressed():
                loop.call_soon(self.end, Status.CANCELLED)
            case ToolAnswered():
                assert self._calls
                self._calls = False
            case _:
                raise AssertionError(event)

    @property
    def waits(self) -> bool:
        """Whether it waits for an answer."""
        return self._calls

    def speak(self) -> None:
        """The user speaks."""
        if self._current is not None:
            self._over(Status.CANCELLED)
        self._ask(QuestionAsked("", "m", spoken=True))

    def go_on(self) -> None:
        """The next delta of the reply."""
        if self._current is not None and not self._calls:
            self.show(TextArrived("word "))

    def call(self) -> None:
        """The model calls a tool."""
        if self._current is not None and not self._calls:
            self._calls = True
            self.show(ToolAsked(ToolCall("tool", "c", "{}")))

    def end(self, status: Status = Status.COMPLETED) -> bool:
        """End the reply. Returns whether there was one."""
        if self._current is None:
            return False
        self._over(status)
        self._next()
        return True

    def _over(self, status: Status) -> None:
        self._current, self._calls = None, False
        self.show(ReplyOver(status, str(self.asked), "m"))

    def _next(self) -> None:
        if self._current is None and self._queue:
            self._ask(QuestionAsked(self._queue.popleft(), "m"))

    def _ask(self, asked: QuestionAsked) -> None:
        self.asked += 1
        self._current = asked
        self.show(asked)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110 - nothing signals this
        await asyncio.sleep(0.001)


async def _live(seed: int, keys: PipeInput) -> tuple[str, str, list[str], int]:
    rng = random.Random(seed)
    screen = screens.Screen()
    panel = LivePanel(screen.console)
    prompt = Prompt(panel, None, input=keys, output=SizedOutput(screen), meters=_Meters())
    view = _View(panel)
    clipboard = Clipboard(io.StringIO(), {})
    terminal = Terminal(
        view, prompt, clipboard, attachments, NothingSaved(), templates=lambda *_: []
    )
    conversation = _Conversation(terminal)
    typed = ""

    def types() -> None:
        nonlocal typed
        if not conversation.waits:  # text typed at an approval prompt is its answer
            letters = rng.choice(LETTERS) * rng.randrange(1, 4)
            typed += letters
            keys.send_text(letters)

    acts: list[Callable[[], object]] = [
        conversation.call,
        *(types, types, lambda: keys.send_text("\r")),
        *(conversation.speak, conversation.go_on, conversation.end),
        lambda: keys.send_text("N\r") if conversation.waits else None,
        lambda: terminal.show(UserTranscript("late")),
        lambda: terminal.show(Notice("info", "news")),
    ]
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(terminal.run(conversation.post))
        await _until(lambda: PROMPT in "".join(screen.visible()))
        for _ in range(60):
            act = rng.choice(acts)
            if act == conversation.call:
                await _turns(20)  # pending keys would be taken as the answer
            act()
            await _turns(rng.choice((0, 0, 1, 2, 5, 20)))
            assert any(PROMPT in line for line in screen.visible()), act
        async with asyncio.timeout(10):
            await _until(lambda: not conversation.end())
            keys.send_text("!")
            while "!" not in "".join(
                conversation.said
            ):  # else a reply to an Enter comes in between
                await _until(lambda: not conversation.end())
                keys.send_text("\r")
                await _turns(20)
            await _until(lambda: not conversation.end())
        assert screen.visible()[-1].startswith(PROMPT)
        running.cancel()
    assert not wrong
    said = "".join(conversation.said)
    return typed, "".join(c for c in said if c in LETTERS), view.replies, conversation.asked


@seeds(15, 40)
def test_typing_and_speaking_at_any_time(seed: int) -> None:
    async def live() -> tuple[str, str, list[str], int]:
        with create_pipe_input() as keys:
            return await _live(seed, keys)

    typed, said, replies, asked = asyncio.run(live())
    assert said == typed
    assert replies == [str(number) for number in range(1, asked + 1)]
