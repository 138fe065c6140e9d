"""The terminal is asked for its background; the answer may arrive at any time, or never."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from shutil import which

import pytest
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.ui.background import QUERY, background_of, can_answer
from rtchat.ui.key_decoder import KeyDecoder
from rtchat.ui.terminal_kind import TerminalKind
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal
from tests.test_tmux import Tmux

LIGHT = "\x1b]11;rgb:ffff/fafa/f0f0\x1b\\"
DARK = "\x1b]11;rgb:1e/1e/2e\x07"
RUBBISH = ("\x1b]11;?\x1b\\", "\x1b]11;rgb:zz/00/00\x07", "\x1b]11;#ffffff\x07", "\x1b]11\x1b\\")


# ------------------------------------------------------------------------------------ the answers


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (LIGHT, "light"),
        (DARK, "dark"),
        ("\x1b]11;rgb:0000/0000/0000\x9c", "dark"),
        ("\x1b]11;rgb:fdf6/e3ff/e300\x1b\\", "light"),
        ("\x1b]11;rgba:ffff/ffff/ffff/ffff\x1b\\", "light"),
        ("\x1b]11;rgb:F/F/F\x1b\\", "light"),
        ("\x1b]11;rgb:00/00/ff\x1b\\", "dark"),
        ("\x1b]11;rgb:00/ff/00\x1b\\", "light"),
        *((text, None) for text in RUBBISH),
    ],
)
def test_a_background_is_dark_or_light_as_the_eye_sees_it(answer: str, found: str | None) -> None:
    assert background_of(answer) == found


def test_terminals_that_cannot_answer_are_not_asked() -> None:
    kinds = {kind for kind in TerminalKind if not can_answer(kind)}
    assert kinds == {TerminalKind.BASIC, TerminalKind.SCREEN}


class Keyboard:
    """A decoder that may expect an answer, in front of prompt-toolkit's parser."""

    def __init__(self, *, expects: bool = True) -> None:
        self.pressed: list[KeyPress] = []
        self.found: list[str] = []
        self._parser = Vt100Parser(self.pressed.append)
        self._decoder = KeyDecoder(on_background=self.found.append)
        self._decoder.expects_background = expects

    def send(self, *parts: str) -> None:
        """Send these parts, with a time-out after each."""
        for part in parts:
            self._parser.feed(self._decoder.feed(part))
            self._parser.feed(self._decoder.flush())
            self._parser.flush()

    @property
    def letters(self) -> str:
        """What an entry would contain."""
        return "".join(each.data for each in self.pressed if not isinstance(each.key, Keys))


@pytest.mark.parametrize(("answer", "found"), [(LIGHT, "light"), (DARK, "dark")])
@pytest.mark.parametrize("count", [1, 2])
def test_an_answer_in_parts_is_not_taken_for_text(answer: str, found: str, count: int) -> None:
    for at in combinations(range(1, len(answer)), count):
        if at[0] == 1 and at[1:] and at[1] < LIGHT.index("rgb"):
            continue  # these may be keys after Esc
        keyboard = Keyboard()
        ends = [0, *at, len(answer)]
        keyboard.send("a", *(answer[a:b] for a, b in pairwise(ends)), "z")
        assert (keyboard.letters, keyboard.found) == ("az", [found]), at


def test_an_answer_may_come_between_keys_and_in_a_paste() -> None:
    keyboard = Keyboard()
    keyboard.send(f"one{LIGHT}two\x1b[A", f"\x1b[200~{DARK}\x1b[201~", "!")
    assert (keyboard.letters, keyboard.found) == ("onetwo!", ["light"])


@pytest.mark.parametrize("answer", RUBBISH)
def test_an_answer_without_a_colour_is_ignored(answer: str) -> None:
    keyboard = Keyboard()
    keyboard.send(f"a{answer}b")
    assert (keyboard.letters, keyboard.found) == ("ab", [])


@pytest.mark.parametrize("keys", ["\x1b", "\x1b]", "\x1bb", "\x1b[A", "\x1b[11;1R"])
def test_keys_work_while_no_answer_arrives(keys: str) -> None:
    waiting, other = Keyboard(), Keyboard(expects=False)
    for keyboard in (waiting, other):
        keyboard.send("1", keys, "x", "1")
    assert waiting.letters == other.letters


def test_the_keys_work_again_if_the_rest_of_an_answer_is_lost() -> None:
    keyboard = Keyboard()
    keyboard.send(LIGHT[:9], *"xyz")
    assert keyboard.letters.endswith("z")


# -------------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    engine = ScriptEngine(read_script({"rule": [{"text": "- item\n- `code`\n"}]}))
    with background(lambda: run_server(engine)) as url:
        program = Program(tmp_path)
        program.environ["RTCHAT_URL"] = url
        yield program


def is_asked(terminal: Terminal) -> None:
    """Wait until the program is idle. It has asked once."""
    terminal.shows("connected", PROMPT)
    assert terminal.output.count(QUERY.encode()) == 1


def asks(terminal: Terminal, number: int = 1) -> bytes:
    """What the program writes for a question, the first or a later one, and its reply."""
    before = len(terminal.output)
    terminal.types("q\r")
    terminal.shows(*["code", "first token"] * number, PROMPT)
    return terminal.output[before:]


@pytest.mark.parametrize(
    ("answer", "theme", "mark"),
    [(LIGHT, "auto (light)", "\x1b[34m•"), (DARK, "auto (dark)", "\x1b[36m•")],
)
def test_the_theme_follows_the_answer(program: Program, answer: str, theme: str, mark: str) -> None:
    terminal = Terminal(program, [], {})
    is_asked(terminal)
    terminal.types(answer)
    terminal.types("/theme\r")
    terminal.shows(theme, PROMPT)
    assert mark.encode() in asks(terminal)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_a_late_answer_changes_what_is_painted_from_then_on(program: Program) -> None:
    terminal = Terminal(program, [], {})
    is_asked(terminal)
    assert b"\x1b[36m\xe2\x80\xa2" in asks(terminal)
    terminal.types(LIGHT[:12])
    terminal.types(LIGHT[12:])
    assert b"\x1b[34m\xe2\x80\xa2" in asks(terminal, 2)
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize("answer", ["", *RUBBISH])
def test_without_an_answer_nothing_changes(program: Program, answer: str) -> None:
    terminal = Terminal(program, [], {})
    is_asked(terminal)
    terminal.types(answer + "/theme\r")
    terminal.shows("theme: auto ·", PROMPT)
    assert b"\x1b[36m\xe2\x80\xa2" in asks(terminal)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_an_answer_at_the_end_does_not_reach_the_shell(program: Program) -> None:
    terminal = Terminal(program, [], {}, shell=True)
    terminal.shows("connected", PROMPT)
    terminal.types(f"\x04{LIGHT}")
    terminal.shows("connected", "bash-")
    terminal.types("echo $((20 + 22))\r")
    terminal.shows("42")
    assert not any("rgb:" in line for line in terminal.lines())
    terminal.types("exit\r")
    terminal.ends()


def test_the_prompt_follows_the_theme_at_once(program: Program) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT, "connected")
    assert b"\x1b[2mgpt-realtime" in terminal.output
    terminal.types("/theme high-contrast\r")
    terminal.shows("theme: high-contrast", PROMPT)
    terminal.types("x")
    terminal.shows("theme: high-contrast", f"{PROMPT} x", "connected")
    after = terminal.output[terminal.output.rindex(b"theme: high") :]
    assert b"gpt-realtime" in after
    assert b"\x1b[2m" not in after
    terminal.types("\x15\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ([], {"TERM": "linux"}),
        ([], {"STY": "1"}),
        (["--color", "never"], {}),
        ([], {"NO_COLOR": "1"}),
    ],
)
def test_no_question_without_colours_or_if_no_answer_is_possible(
    program: Program, arguments: list[str], environ: dict[str, str]
) -> None:
    terminal = Terminal(program, arguments, environ)
    terminal.shows("connected", PROMPT)
    assert QUERY.encode() not in terminal.output
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_once_reads_colorfgbg_and_does_not_ask(program: Program) -> None:
    terminal = Terminal(program, ["q"], {"COLORFGBG": "0;15"}, verb="once")
    assert terminal.ends() == 0
    assert QUERY.encode() not in terminal.output
    assert b"\x1b[34m\xe2\x80\xa2" in terminal.output


@pytest.mark.parametrize(("style", "theme"), [("bg=white", "light"), ("bg=#101010", "dark")])
def test_tmux_answers_if_its_windows_have_a_background(
    program: Program, tmp_path: Path, style: str, theme: str
) -> None:
    if which("tmux") is None:
        pytest.skip("tmux is not installed")
    tmux = Tmux(tmp_path)
    variables = [f"{name}={value}" for name, value in program.environ.items()]
    command = shlex.join(["env", *variables, *program.command("talk")])
    try:
        tmux("new-session", "-d", "-x", "90", "-y", "24", "cat")
        tmux("set-option", "-g", "window-style", style)
        tmux("new-window", "-c", str(program.home), command)
        tmux.says("connected", "capture-pane", "-p")
        tmux("send-keys", "/theme", "Enter")
        assert f"auto ({theme})" in tmux.says("theme: ", "capture-pane", "-p")
    finally:
        tmux("kill-server")
