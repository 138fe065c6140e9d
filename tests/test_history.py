"""The `history` commands, run as a program on conversations that a store has written."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import stat
import struct
import subprocess
import termios
import wave
from base64 import b64encode
from contextlib import closing, suppress
from pathlib import Path

import pyte
import pytest

from rtchat.core.errors import ExitCode
from rtchat.core.values import (
    Entry,
    Message,
    OtherItem,
    Part,
    Role,
    State,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.history.store import FILE, Store
from tests.program import PATIENCE, Program


def _message(role: Role, text: str) -> Message:
    return Message(role, (Part("text", text),))


_PROMPT = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
_REPLY = "It is **one** TCP \x1b[31m connection\u202e.\n\n```sh\nls\n```\n"
_FIRST = (
    Entry(0, 0, _message("system", "Be brief."), State.COMPLETED),
    Entry(1, 0, _message("user", "What is *it*?\nIn short."), State.COMPLETED, "m1"),
    Entry(
        1,
        1,
        _message("assistant", _REPLY),
        State.COMPLETED,
        "m1",
        "",
        Usage(57, 16, 48, 105),
        0.21,
        1.9,
    ),
    Entry(2, 0, _message("user", "Go on"), State.FAILED, "m1", "no quota"),
    Entry(2, 1, ToolCall("get", "c1", '{"a": 1}'), State.COMPLETED, "m1"),
    Entry(2, 2, ToolOutput("c1", "4"), State.COMPLETED, "m1"),
    Entry(2, 3, OtherItem("odd", "", {"type": "odd"}), State.COMPLETED, "m1"),
    Entry(2, 4, _message("assistant", "So"), State.CANCELLED, "m1"),
    Entry(3, 0, Message("user", (Part("image", data="data:,"),)), State.FAILED, "m1", "no quota"),
)
_SECOND = (Entry(1, 0, _message("user", "An\tother " + "long " * 20), State.QUEUED, "model-2"),)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.environ |= {"XDG_DATA_HOME": str(tmp_path / "data"), "TZ": "UTC"}
    return program


@pytest.fixture
def path(program: Program) -> Path:
    return program.home / "data" / "rtchat" / FILE


@pytest.fixture
def filled(program: Program, path: Path) -> Program:
    now = 1763848632.0
    with closing(Store(path, now=lambda: now)) as store:
        for entry in _FIRST:
            store.record(entry)
        now += 3600
        store.begin()
        for entry in _SECOND:
            store.record(entry)
    return program


def _on_a_terminal(
    program: Program, *arguments: str, answer: str = "", term: str = "xterm-256color"
) -> tuple[int, list[str], bytes]:
    """Run a command on a terminal of 60 columns: its exit code, screen rows and raw output.

    `answer` is typed at its prompt.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    process = subprocess.Popen(
        program.command("history", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**program.environ, "TERM": term},
        cwd=program.home,
    )
    os.close(theirs)
    written = b""
    with suppress(OSError):  # EIO: the program has ended
        while piece := os.read(ours, 65536):
            written += piece
            if written.endswith(b"[y/N]: "):
                os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    screen = pyte.Screen(60, 40)
    pyte.ByteStream(screen).feed(written)
    code = process.wait(PATIENCE)
    return code, "\n".join(row.rstrip() for row in screen.display).rstrip().split("\n"), written


# ------------------------------------------------------------------------------------ list, search


def test_a_list_in_a_pipe_is_separated_by_tabs(filled: Program) -> None:
    ran = filled.run("history", "list")
    title = ("An other " + "long " * 20)[:79].rstrip() + "…"
    assert ran.text == (
        f"2\t2025-11-22 22:57\t1\tmodel-2\t{title}\t\n1\t2025-11-22 21:57\t3\tm1\tWhat is *it*?\t\n"
    )
    assert (ran.code, ran.err) == (0, "")
    assert filled.run("history", "list", "--limit", "1").text.count("\n") == 1


def test_a_list_on_a_terminal_fits_it(filled: Program) -> None:
    code, rows, _ = _on_a_terminal(filled, "list")
    assert code == 0
    assert rows == [
        "2  2025-11-22  1 turn   model-2  An other long long long lo…",
        "1  2025-11-22  3 turns  m1       What is *it*?",
    ]


def test_a_list_as_json(filled: Program) -> None:
    lines = filled.run("history", "list", "--json").text.splitlines()
    assert json.loads(lines[1]) == {
        "version": 1,
        "id": 1,
        "name": None,
        "title": "What is *it*?",
        "began": 1763848632.0,
        "updated": 1763848632.0,
        "model": "m1",
        "turns": 3,
    }


def test_an_empty_history(program: Program) -> None:
    for arguments, words in (
        (("list",), "no saved conversations\n"),
        (("list", "--json"), "no saved conversations\n"),
        (("search", "x"), "no matches\n"),
        (("delete", "--all", "--yes"), "no saved conversations\n"),
    ):
        ran = program.run("history", *arguments)
        assert (ran.code, ran.out, ran.err) == (0, b"", words)
    for command in ("show", "export"):
        ran = program.run("history", command)
        assert (ran.code, ran.out) == (2, b"")
        assert "no saved conversations" in ran.err


def test_a_search_names_conversation_and_turn(filled: Program) -> None:
    ran = filled.run("history", "search", "TCP", "conn")
    assert ran.code == 0
    snippet = "It is **one** TCP ␛[31m connection<U+202E>. ```sh ls ```"
    assert ran.text == f"1\t2025-11-22 21:57\t1\t{snippet}\n"
    found = json.loads(filled.run("history", "search", "--json", "short").text)
    assert (found["id"], found["turn"], found["snippet"]) == (1, 1, "What is *it*? In short.")
    assert filled.run("history", "search", "--limit", "1", "it").text.count("\n") == 1


@pytest.mark.parametrize("words", ['"', "NOT", "a*b(", "col:x", "-- -"])
def test_any_search_text_is_valid(filled: Program, words: str) -> None:
    assert filled.run("history", "search", "--", words).code == 0


# ----------------------------------------------------------------------------- spoken conversations

_PCM = bytes(range(200)) * 24


def _spoken(role: Role, words: str, *, data: str = "") -> Message:
    return Message(role, (Part("audio", words, data),))


@pytest.fixture
def spoken(program: Program, path: Path) -> Program:
    kept = b64encode(_PCM).decode()
    with closing(Store(path, now=lambda: 1763848632.0)) as store:
        for turn, (question, reply) in enumerate(
            (
                (_spoken("user", "Is it late?", data=kept), _spoken("assistant", "Very.")),
                (
                    _spoken("user", "", data=kept + "QQ=="),
                    _spoken("assistant", "*No*", data=kept),
                ),
                (
                    Message("user", (Part("text", "Sum it up"), Part("audio", data="?"))),
                    _spoken("assistant", ""),
                ),
            ),
            start=1,
        ):
            store.record(Entry(turn, 0, question, State.COMPLETED, "m"))
            store.record(Entry(turn, 1, reply, State.COMPLETED, "m"))
        store.begin()
        store.record(Entry(1, 0, _spoken("user", ""), State.ASKED, "m"))
    return program


def test_spoken_text_is_told_apart_from_typed_text(spoken: Program) -> None:
    listed = spoken.run("history", "list").text.splitlines()
    assert [line.split("\t")[4] for line in listed] == ["(spoken)", "Is it late?"]
    assert spoken.run("history", "search", "late").text.endswith("\tIs it late?\n")
    assert spoken.run("history", "show", "1").text.replace(_PROMPT, ">") == (
        "> Is it late? (spoken)\n\nVery.\n\n> (spoken)\n\n*No*\n\n"
        "> Sum it up\n  (spoken)\n\n(spoken)\n"
    )
    rows = _on_a_terminal(spoken, "show", "1")[1]
    assert [row.replace(_PROMPT, ">") for row in rows] == [
        *("> Is it late? (spoken)", "", "Very.", "", "> (spoken)", "", "No", ""),
        *("> Sum it up", "  (spoken)", "", "(spoken)"),
    ]


def test_spoken_text_is_exported_as_text(spoken: Program) -> None:
    markdown = spoken.run("history", "export", "1").text
    assert "## You (spoken)\n\nIs it late?\n\n## m\n\nVery.\n\n## You\n\n(spoken)\n" in markdown
    page = spoken.run("history", "export", "1", "-f", "html").text
    assert '<div class="question" dir="auto">Is it late?</div>' in page
    data = json.loads(spoken.run("history", "export", "1", "-f", "json").text)
    assert data["entries"][1]["item"]["content"] == [
        {"type": "output_audio", "transcript": "Very."}
    ]


def test_saved_audio_is_exported_as_wav_files(spoken: Program) -> None:
    ran = spoken.run("history", "export", "1", "--audio", "new/sound")
    assert (ran.code, ran.out, ran.err) == (0, b"", "3 files written to new/sound\n")
    folder = spoken.home / "new" / "sound"
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["001-user.wav", "002-user.wav", "003-assistant.wav"]
    for file in files:
        with wave.open(str(file)) as sound:
            assert sound.getparams()[:3] == (1, 2, 24_000)
            assert sound.readframes(10_000) == _PCM
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    files[0].unlink()
    again = spoken.run("history", "export", "1", "--audio", "new/sound")
    assert again.code == 2
    assert "new/sound/002-user.wav already exists" in again.err
    assert not files[0].exists()


def test_a_conversation_without_saved_audio(spoken: Program) -> None:
    ran = spoken.run("history", "export", "--audio", "sound")
    assert (ran.code, ran.out) == (2, b"")
    assert re.search("conversation 2 has no saved audio.*--keep-audio", ran.err, re.DOTALL)
    assert not (spoken.home / "sound").exists()


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (("-o", "a.md"), 2, "--audio"),
        (("-f", "json"), 2, "--audio"),
        ((), 6, "file/sound cannot be written (Not a directory)"),
    ],
)
def test_audio_that_cannot_be_exported(
    spoken: Program, options: tuple[str, ...], code: int, error: str
) -> None:
    (spoken.home / "file").touch()
    ran = spoken.run("history", "export", "1", "--audio", "file/sound", *options)
    assert (ran.code, ran.out) == (code, b"")
    assert error in ran.error


def test_a_folder_for_audio_whose_name_is_too_long_is_an_error(spoken: Program) -> None:
    assert spoken.run("history", "export", "1", "--audio", "a" * 300).code == 6


# --------------------------------------------------------------------------------------------- show

_SHOWN = f"""[instructions] Be brief.

› What is *it*?
  In short.

{_REPLY}
› Go on

[call get] {{"a": 1}}

[output c1] 4

[odd]

So
[cancelled]

›
[image]
[failed: no quota]
"""  # noqa: RUF001 # the prompt looks like this


def test_a_conversation_in_a_pipe_is_the_original_text(filled: Program) -> None:
    ran = filled.run("history", "show", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.text.replace("› \n", "›\n") == _SHOWN  # noqa: RUF001
    assert filled.run("history", "show").text.startswith("› An\tother long")  # noqa: RUF001


@pytest.fixture
def branched(program: Program, path: Path) -> Program:
    """A conversation whose second turn was repeated, and a fork of its first turn."""
    with closing(Store(path, now=lambda: 1795384632.0)) as store:
        for turn, parent, question, reply in (
            (1, 0, "one", "First."),
            (2, 1, "two", "Second."),
            (3, 1, "two", "Deux."),
        ):
            store.record(Entry(turn, 0, _message("user", question), State.COMPLETED, parent=parent))
            done = Entry(turn, 1, _message("assistant", reply), State.COMPLETED, parent=parent)
            store.record(done)
        store.fork(1)
    return program


_TREE = """branches (* marks the current one):
1 * one → First.
├─ 2   two → Second.
└─ 3 * two → Deux.
"""


def test_a_conversation_with_branches_shows_the_current_one_and_the_tree(
    branched: Program,
) -> None:
    shown = "› one\n\nFirst.\n\n› two\n\nDeux.\n\n"  # noqa: RUF001
    assert branched.run("history", "show", "1").text == shown + _TREE
    code, rows, _ = _on_a_terminal(branched, "show", "1")
    assert code == 0
    assert rows == (shown + _TREE).rstrip("\n").split("\n")


def test_all_turns_are_shown_with_their_numbers_and_parents(branched: Program) -> None:
    shown = (
        "[turn 1, current branch]\n\n› one\n\nFirst.\n\n"  # noqa: RUF001
        "[turn 2 after turn 1]\n\n› two\n\nSecond.\n\n"  # noqa: RUF001
        "[turn 3 after turn 1, current branch]\n\n› two\n\nDeux.\n\n"  # noqa: RUF001
    )
    assert branched.run("history", "show", "1", "--all").text == shown + _TREE
    _, rows, _ = _on_a_terminal(branched, "show", "1", "--all")
    assert [row for row in rows if row] == [row for row in (shown + _TREE).split("\n") if row]


def test_a_fork_names_its_origin(branched: Program) -> None:
    shown = "[forked from conversation 1]\n\n› one\n\nFirst.\n"  # noqa: RUF001
    assert branched.run("history", "show", "2").text == shown
    _, rows, _ = _on_a_terminal(branched, "show", "2")
    assert [row for row in rows if row] == [row for row in shown.split("\n") if row]


def test_an_export_has_the_current_branch_or_all_branches(branched: Program) -> None:
    def turns(*options: str) -> list[tuple[int, int]]:
        data = json.loads(branched.run("history", "export", "1", "-f", "json", *options).text)
        assert data["head"] == 3
        found = [(entry["turn"], entry["parent"]) for entry in data["entries"]]
        return list(dict.fromkeys(found))

    assert turns() == [(1, 0), (3, 1)]
    assert turns("--all") == [(1, 0), (2, 1), (3, 1)]
    assert "Second" not in branched.run("history", "export", "1").text
    assert branched.run("history", "export", "1", "--all").code == ExitCode.USAGE


def test_a_search_finds_all_branches(branched: Program) -> None:
    assert branched.run("history", "search", "second").text.split("\t")[2] == "2"


def test_a_conversation_on_a_terminal_looks_as_in_talk(filled: Program) -> None:
    code, rows, written = _on_a_terminal(filled, "show", "1")
    assert code == 0
    assert rows == [
        "[instructions] Be brief.",
        "",
        "› What is *it*?",  # noqa: RUF001
        "  In short.",
        "",
        "It is one TCP ␛[31m connection<U+202E>.",
        "",
        "── sh",
        "ls",
        "",
        "m1 · first token 0.21 s · 1.9 s · 28 tok/s · 57 in (16 cache",
        "d) · 48 out",
        "",
        "› Go on",  # noqa: RUF001
        "",
        '[call get] {"a": 1}',
        "",
        "[output c1] 4",
        "",
        "[odd]",
        "",
        "So",
        "",
        "cancelled",
        "",
        "›",  # noqa: RUF001
        "[image]",
        "failed: no quota",
    ]
    assert b"\x1b[1mone" in written
    assert b"\x1b[31m conn" not in written


def test_a_dumb_terminal_gets_escaped_text(filled: Program) -> None:
    _, rows, written = _on_a_terminal(filled, "show", "1", term="dumb")
    assert "It is **one** TCP ␛[31m connection<U+202E>." in rows
    assert b"\x1b" not in written


def test_no_color_disables_colours(filled: Program) -> None:
    filled.environ["NO_COLOR"] = "1"
    written = _on_a_terminal(filled, "show", "1")[2]
    assert b"\x1b[33m" not in written
    assert b"\x1b[1mone" in written


@pytest.mark.parametrize("command", [("show",), ("export",), ("delete", "--yes")])
@pytest.mark.parametrize("number", ["3", "0", "99999999999999999999"])
def test_a_conversation_that_does_not_exist(
    filled: Program, command: tuple[str, ...], number: str
) -> None:
    ran = filled.run("history", *command, number)
    assert (ran.code, ran.out) == (2, b"")
    words = f"there is no conversation {number}.*rtchat history list"
    assert re.search(words, ran.err, re.DOTALL)


# ------------------------------------------------------------------------------------------- export


def test_export_writes_markdown_to_stdout(filled: Program) -> None:
    ran = filled.run("history", "export", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.text.startswith("# What is \\*it\\*?\n\n2025-11-22 21:57 · m1 · 3 turns\n")
    assert _REPLY in ran.text
    _, _, written = _on_a_terminal(filled, "export", "1")
    assert b"\x1b" not in written


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [
        ("a.md", (), "# What"),
        ("a", (), "# What"),
        ("a.json", (), "{\n"),
        ("a.HTML", (), "<!doctype html>"),
        ("a.htm", (), "<!doctype html>"),
        ("a.markdown", (), "# What"),
        ("a.json", ("--format", "html"), "<!doctype html>"),
        ("a.txt", ("--format", "markdown"), "# What"),
    ],
)
def test_the_file_extension_sets_the_format(
    filled: Program, name: str, options: tuple[str, ...], start: str
) -> None:
    ran = filled.run("history", "export", "1", "-o", name, *options)
    assert (ran.code, ran.out, ran.err) == (0, b"", f"written to {name}\n")
    assert (filled.home / name).read_text().startswith(start)
    assert stat.S_IMODE((filled.home / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["talk.pdf", "talk.docx", "talk.htmlx", "talk.1", "a.md.bak"])
def test_an_unknown_file_extension(filled: Program, name: str) -> None:
    ran = filled.run("history", "export", "1", "-o", name)
    assert (ran.code, ran.out) == (2, b"")
    assert ".md, .markdown, .json, .html, .htm" in ran.hint
    assert not (filled.home / name).exists()


def test_a_pipe_or_device_is_written_to(filled: Program) -> None:
    whole = filled.run("history", "export", "1").text
    assert filled.run("history", "export", "1", "-o", "/dev/stdout").text == whole
    assert filled.shell("rtchat history export 1 -o >(cat)").text == whole
    assert filled.run("history", "export", "1", "-o", "/dev/null").code == 0


def test_the_latest_conversation_is_exported_by_default(filled: Program) -> None:
    assert json.loads(filled.run("history", "export", "-f", "json", "-o", "-").text)["id"] == 2


def test_a_file_is_overwritten_only_with_force(filled: Program) -> None:
    file = filled.home / "a.md"
    file.write_text("mine" * 10_000)
    ran = filled.run("history", "export", "1", "-o", "a.md")
    assert ran.code == 2
    assert re.search("a.md already exists.*--force", ran.err, re.DOTALL)
    assert file.read_text() == "mine" * 10_000
    assert filled.run("history", "export", "1", "-o", "a.md", "--force").code == 0
    assert file.read_text() == filled.run("history", "export", "1").text


def test_a_file_that_cannot_be_written(filled: Program) -> None:
    ran = filled.run("history", "export", "1", "-o", "none/a.md")
    assert ran.code == 6
    assert "none/a.md cannot be written (No such file or directory)" in ran.err
    ran = filled.run("history", "export", "1", "-o", "/dev/full", "--force")
    assert (ran.code, ran.out) == (6, b"")


def test_an_unknown_format(filled: Program) -> None:
    ran = filled.run("history", "export", "--format", "pdf")
    assert ran.code == 2
    assert "invalid format 'pdf' (expected markdown, json, html)" in ran.err


@pytest.mark.parametrize("command", ["list", "show", "export", "search it"])
def test_a_full_stdout(filled: Program, command: str) -> None:
    with open("/dev/full", "wb") as full:
        ran = filled.run("history", *command.split(), stdout=full)
    assert ran.code == 6
    assert "stdout cannot be written (No space left on device)" in ran.err


def test_a_reader_that_has_gone_away(filled: Program, gone: int) -> None:
    ran = filled.run("history", "show", "1", stdout=gone)
    assert (ran.code, ran.err) == (141, "")


# ------------------------------------------------------------------------------------------- delete


def _ids(program: Program) -> str:
    return program.shell("rtchat history list | cut -f 1 | tr '\\n' ' '").text


def test_delete_asks_on_a_terminal(filled: Program) -> None:
    question = "Permanently delete conversation 1, 'What is *it*?'? [y/N]: "
    code, rows, _ = _on_a_terminal(filled, "delete", "1", answer="n")
    assert code == 0
    assert [row for row in rows if row.startswith(question)]
    assert rows[-1] == "nothing was deleted"
    assert _ids(filled) == "2 1 "
    code, rows, _ = _on_a_terminal(filled, "delete", "1", answer="y")
    assert (code, rows[-1]) == (0, "deleted conversation 1, 'What is *it*?'")
    assert _ids(filled) == "2 "


def test_delete_does_not_ask_off_a_terminal(filled: Program) -> None:
    ran = filled.run("history", "delete", "1", "2", "1", "--yes")
    assert (ran.code, ran.out, ran.err) == (0, b"", "deleted 2 conversations\n")
    assert _ids(filled) == ""


def test_delete_all(filled: Program, path: Path) -> None:
    ran = filled.run("history", "delete", "--all", "-y")
    assert (ran.code, ran.err) == (0, "deleted 2 conversations\n")
    assert b"brief" not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("1",), "--yes"),
        ((), "--all"),
        (("1", "--all"), "--all"),
    ],
)
def test_invalid_uses_of_delete(filled: Program, arguments: tuple[str, ...], error: str) -> None:
    ran = filled.run("history", "delete", *arguments)
    assert ran.code == 2
    assert error in f"{ran.error} {ran.hint}"
    assert _ids(filled) == "2 1 "


def test_nothing_is_deleted_if_one_does_not_exist(filled: Program) -> None:
    assert filled.run("history", "delete", "1", "9", "--yes").code == 2
    assert _ids(filled) == "2 1 "


# ------------------------------------------------------------------------------------ damaged files


def test_a_damaged_file_is_left_unchanged(program: Program, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)
    for command in ("list", "show", "export", "search x", "delete 1 --yes"):
        ran = program.run("history", *command.split())
        assert (ran.code, ran.out) == (6, b"")
        assert f"the history {path} is damaged or is not an rtchat history" in ran.err
    assert path.read_bytes() == b"not a database" * 100


@pytest.mark.parametrize(
    ("theme", "variable", "match"),
    [
        ([], "", b"\x1b[1;33mconnection"),
        (["--theme", "light"], "mono", b"\x1b[1;35mconnection"),
        ([], "mono", b"\x1b[1mconnection"),
    ],
)
def test_matches_are_drawn_in_the_theme(
    filled: Program, theme: list[str], variable: str, match: bytes
) -> None:
    filled.environ["RTCHAT_THEME"] = variable
    code, _, written = _on_a_terminal(filled, "search", "connection", *theme)
    assert code == 0
    assert match in written


def test_an_unknown_theme_is_an_error(filled: Program) -> None:
    ran = filled.run("history", "list", "--theme", "drak")
    assert ran.code == ExitCode.USAGE
    assert "dark" in ran.err
