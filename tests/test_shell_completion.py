"""Shell completion: what is offered, and that bash, zsh and fish offer it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtchat.cli.complete import split_line
from rtchat.cli.completion import SCRIPTS
from rtchat.core.values import Entry, Message, Part, State
from rtchat.history.store import FILE, Store
from tests.program import PATIENCE, Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program, with two conversations, a profile, a file and a folder."""
    program = Program(tmp_path)
    data = tmp_path / ".local" / "share" / "rtchat"
    data.mkdir(parents=True)
    with_store(data / FILE, "Web: sockets", "Other things")
    config = tmp_path / ".config" / "rtchat"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(
        '[profiles.lab]\nurl = "wss://lab.example/v1"\nmodel = "m"\n'
    )
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()
    return program


def with_store(path: Path, *questions: str) -> None:
    """Save a conversation for each question."""
    for question in questions:
        store = Store(path)
        store.begin()
        item = Message("user", (Part("text", question),))
        store.record(Entry(1, 0, item, State.COMPLETED, "gpt-used"))
        store.close()


def offered(program: Program, *words: str) -> tuple[str, dict[str, str]]:
    """The kind of paths, and the candidates with their help, as zsh gets them."""
    ran = program.run("__complete", "zsh", *words)
    assert (ran.code, ran.err) == (0, "")
    kind, *lines = ran.text.splitlines()
    pairs = [re.split(r"(?<!\\):", line, maxsplit=1) for line in lines]
    return kind, {pair[0].replace("\\:", ":"): "".join(pair[1:]) for pair in pairs}


def values(program: Program, *words: str) -> list[str]:
    """The candidates."""
    return list(offered(program, *words)[1])


def test_commands_are_completed(program: Program) -> None:
    assert values(program, "ta") == ["talk"]
    assert values(program, "tr") == ["transcribe", "translate"]
    assert offered(program, "")[1]["once"] == "Ask one question."
    assert values(program, "history", "s") == ["show", "search"]
    assert values(program, "help", "his") == ["history"]
    assert values(program, "a question", "") == []
    assert values(program, "history", "unknown", "") == []


def test_options_are_completed(program: Program) -> None:
    assert values(program, "once", "--mod") == ["--model"]
    assert "The model." in offered(program, "once", "--mod")[1]["--model"]
    assert values(program, "--contin") == ["--continue"]
    assert values(program, "once", "--model", "x", "--mod") == []
    assert values(program, "once", "--model=x", "--mod") == []
    assert values(program, "once", "-a", "x", "--att") == ["--attach"]  # it can be repeated
    assert values(program, "once", "--", "--mod") == []
    assert values(program, "keys", "mint", "--tt") == ["--ttl"]


def test_values_are_completed(program: Program) -> None:
    assert values(program, "once", "--dialect", "") == ["auto", "ga", "beta", "qwen", "xai"]
    assert values(program, "once", "--color=a") == ["--color=auto", "--color=always"]
    assert values(program, "history", "export", "-f", "m") == ["markdown"]
    assert values(program, "once", "--max-output-tokens", "") == ["inf"]
    assert values(program, "serve", "--engine", "s") == ["script:"]
    assert values(program, "completion", "show", "") == ["bash", "zsh", "fish"]


def test_profiles_and_models_are_completed(program: Program) -> None:
    assert values(program, "-p", "la") == ["lab"]
    assert offered(program, "keys", "set", "la")[1] == {"lab": "wss://lab.example/v1"}
    program.run("keys", "set", "lab", stdin=b"a-key-of-the-lab")
    assert offered(program, "keys", "set", "la")[1] == {"lab": "has a stored key"}
    assert {"m", "gpt-realtime", "gpt-used"} <= {*values(program, "once", "--model", "")}
    (program.home / ".config" / "rtchat" / "config.toml").write_text("not TOML")
    assert values(program, "-p", "la") == []


def test_conversations_are_completed_with_their_titles(program: Program) -> None:
    for words in (["talk", "--resume"], ["history", "show"], ["history", "delete", "1"]):
        assert offered(program, *words, "") == (
            "words",
            {"2": "Other things", "1": "Web: sockets"},
        )
    assert values(program, "history", "show", "1", "") == []


def test_without_a_history_none_is_created(tmp_path: Path) -> None:
    assert values(Program(tmp_path), "history", "show", "") == []
    assert not (tmp_path / ".local").exists()


def test_options_of_the_session_are_completed(program: Program) -> None:
    assert values(program, "once", "--set", "audio.output.v") == [
        "audio.output.voice=",
        "audio.output.voice.id=",
    ]
    assert values(program, "once", "--set", "truncation=") == [
        "truncation=auto",
        "truncation=disabled",
    ]
    assert values(program, "once", "--set", "parallel_tool_calls=t") == ["parallel_tool_calls=true"]
    assert values(program, "once", "--set", "response.tool_choice=n") == [
        "response.tool_choice=none"
    ]
    assert "audio.output.voice=marin" in values(program, "once", "--set", "audio.output.voice=")
    for key in ("a..b", "metadata.x", "audio.output.voice.id"):  # any text, or none
        assert values(program, "once", "--set", f"{key}=") == []


def test_templates_are_completed(program: Program) -> None:
    folder = program.home / ".config" / "rtchat" / "prompts"
    folder.mkdir(parents=True)
    for name in ("review", "joke"):
        (folder / f"{name}.toml").write_text('text = ""', encoding="utf-8")
    for words in (("once", "-t", "r"), ("prompts", "show", "r")):
        assert values(program, *words) == ["review"]


def test_voices_and_formats_are_completed(program: Program) -> None:
    for command in ("talk", "once"):
        assert values(program, command, "--voice-name", "a") == ["alloy", "ash"]
    assert values(program, "transcribe", "-f", "") == ["txt", "srt", "vtt", "json", "tsv"]


def test_paths_are_completed(program: Program) -> None:
    assert offered(program, "once", "--attach", "") == ("files", {})
    assert offered(program, "replay", "") == ("files", {})
    assert offered(program, "transcribe", "") == ("files", {"-": ""})
    assert offered(program, "talk", "--audio-out", "") == ("folders", {})
    assert offered(program, "transcribe", "-o", "") == ("folders", {})
    assert offered(program, "once", "--ca-bundle", "") == ("files", {})
    assert values(program, "once", "-s", "@no") == ["@notes.txt"]
    assert values(program, "once", "-s", "@fo") == ["@folder/"]
    assert values(program, "once", "-s", "@.co") == ["@.config/"]
    assert not any(each.startswith("@.") for each in values(program, "once", "-s", "@"))
    assert values(program, "once", "-s", f"@{program.home}/no") == [f"@{program.home}/notes.txt"]


def test_hostile_titles_do_not_act_on_the_terminal(program: Program) -> None:
    with_store(program.home / ".local/share/rtchat" / FILE, "a\x1b]0;x\x07b")
    for shell in ("zsh", "fish"):
        ran = program.run("__complete", shell, "history", "show", "")
        assert not set("\x1b\x07") & set(ran.text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rtchat ", ["rtchat", ""]),
        ("rtchat ta", ["rtchat", "ta"]),
        ("rtchat 'a b", ["rtchat", "a b"]),
        ('rtchat once "a b" ', ["rtchat", "once", "a b", ""]),
        ("rtchat a\\", ["rtchat", "a"]),
        ("rtchat 'a ", ["rtchat", "a "]),
        ("", []),
    ],
)
def test_an_unfinished_line_is_split(line: str, words: list[str]) -> None:
    assert split_line(line) == words


# --------------------------------------------------------------------------------------- the shells


def _needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture
def environ(program: Program) -> dict[str, str]:
    """An environment in which `rtchat` is the program."""
    folder = program.home / "bin"
    folder.mkdir()
    script = folder / "rtchat"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rtchat "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join([str(folder), program.environ["PATH"]])
    root = str(Path(__file__).parents[1])
    return program.environ | {"PATH": path, "PYTHONPATH": root, "TERM": "dumb", "PS1": "ready> "}


@contextmanager
def _interactive(program: Program, environ: dict[str, str], *command: str) -> Iterator[int]:
    """A terminal with a shell in it."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        cwd=program.home,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield terminal
        finally:
            process.kill()
            os.close(terminal)


def _until(terminal: int, text: str) -> str:
    """What the terminal shows up to a text."""
    seen = ""
    while text not in seen:
        assert select.select((terminal,), (), (), PATIENCE)[0], seen
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    ("shell", "options"),
    [
        pytest.param("bash", ["--noprofile", "-i"], marks=_needs("bash")),
        pytest.param("zsh", ["-i"], marks=_needs("zsh")),
    ],
)
def test_an_installed_completion_completes(
    program: Program, environ: dict[str, str], shell: str, options: list[str]
) -> None:
    startup = program.home / f".{shell}rc"
    startup.write_text("PS1='ready> '\nbind 'set enable-bracketed-paste off' 2>/dev/null")
    ran = program.run("completion", "install", shell)
    assert (ran.code, ran.text) == (0, "")
    with _interactive(program, environ, shell, *options) as terminal:
        _until(terminal, "ready> ")
        for typed, completed in (
            ("rtchat hist\texp\t", "rtchat history export "),
            ("rtchat once --set audio.output.sp\t1", "rtchat once --set audio.output.speed=1"),
            ("rtchat -p la\t", "rtchat -p lab "),
            ("rtchat replay no\t", "rtchat replay notes.txt "),
            ("rtchat once -s @fol\t", "rtchat once -s @folder/"),
        ):
            os.write(terminal, f"\x15{typed}".encode())  # Ctrl-U clears the line
            _shows(terminal, completed)


def _shows(terminal: int, line: str) -> None:
    """Wait until the line that was typed and completed is shown."""
    seen = ""
    while line not in _shown(seen):
        assert select.select((terminal,), (), (), PATIENCE)[0], seen
        seen += os.read(terminal, 65536).decode(errors="replace")


def _shown(text: str) -> str:
    """The text without control sequences, and with backspaces applied."""
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x07|\x1b[=>]", "", text)
    out: list[str] = []
    for character in text:
        if character == "\b":
            del out[-1:]
        else:
            out.append(character)
    return "".join(out)


@_needs("bash")
def test_bash_shows_what_candidates_mean(program: Program, environ: dict[str, str]) -> None:
    script = program.home / "completion.bash"
    script.write_text(SCRIPTS["bash"])
    line = "rtchat history show "
    code = f'. {script}; COMP_LINE="{line}" COMP_POINT={len(line)} COMP_TYPE=63; _rtchat rtchat; '
    done = subprocess.run(
        ["bash", "--norc", "-c", code + r'printf "%s\n" "${COMPREPLY[@]}"'],
        env=environ,
        cwd=program.home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "2  (Other things)\n1  (Web: sockets)\n"


@_needs("fish")
def test_fish_completes(program: Program, environ: dict[str, str]) -> None:
    assert program.run("completion", "install", "fish").code == 0

    def offered(line: str) -> list[str]:
        done = subprocess.run(
            ["fish", "-c", f"complete -C '{line}'"],
            env=environ,
            cwd=program.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout.splitlines()

    assert offered("rtchat ta") == ["talk\tStart a conversation."]
    assert offered("rtchat history show ") == ["2\tOther things", "1\tWeb: sockets"]
    assert offered("rtchat once --set truncation=d") == ["truncation=disabled"]
    assert [line.partition("\t")[0] for line in offered("rtchat replay no")] == ["notes.txt"]


# ------------------------------------------------------------------------------------ installing it


def test_it_is_installed_once_and_uninstalled(program: Program) -> None:
    startup = program.home / ".zshrc"
    startup.write_text("mine")  # no newline at the end
    for _ in range(2):
        assert program.run("completion", "install", "zsh").code == 0
    lines = startup.read_text().splitlines()
    assert (lines[0], len(lines)) == ("mine", 2)
    assert program.run("completion", "uninstall", "zsh").err == "removed the completion\n"
    assert startup.read_text() == "mine\n"
    assert program.run("completion", "uninstall", "zsh").err == "no completion is installed\n"
    assert list(program.home.glob(".local/share/zsh/site-functions/*")) == []


def test_the_shell_is_that_of_the_user(program: Program) -> None:
    for shell, script in SCRIPTS.items():
        ran = program.run("completion", "show", environ={"SHELL": f"/usr/bin/{shell}"})
        assert (ran.code, ran.text) == (0, script)
        assert program.run("completion", "show", shell).text == script
    ran = program.run("completion", "show", environ={"SHELL": "/bin/tcsh"})
    assert (ran.code, ran.error) == (2, "rtchat: there is no completion for tcsh")
    assert "fish" in ran.hint
    assert program.run("completion", "install").code == 2


def test_a_file_that_cannot_be_written(program: Program) -> None:
    (program.home / ".bashrc").mkdir()
    ran = program.run("completion", "install", "bash")
    assert ran.code == 6
    assert "`rtchat completion show`" in ran.hint


@pytest.mark.parametrize("shell", [each for each in SCRIPTS if shutil.which(each)])
def test_a_script_is_valid(shell: str) -> None:
    done = subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=False, timeout=30)
    assert done.returncode == 0
