"""Keys that are kept, in the system's keyring or in a file of our own, and those of a command."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rtchat.config.keys import KeyStore, last_four, run_key_command
from rtchat.core.errors import UsageError
from tests.program import PATIENCE, Program, Ran
from tests.terminal import Terminal

KEY = "sk-0123456789abcdef"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program where no keyring is."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "keyring.py").write_text("raise ImportError\n")
    return with_module(Program(tmp_path), tmp_path / "none")


def with_module(program: Program, folder: Path) -> Program:
    """The same program, which finds its modules there first."""
    program.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    return program


NO_KEY = "rtchat: no key was given; the stored keys are unchanged"


def file_of(program: Program) -> Path:
    return program.home / ".local" / "share" / "rtchat" / "keys.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def done(ran: Ran) -> tuple[int, str, str]:
    return ran.code, ran.text, ran.err


# ----------------------------------------------------------------------------------------- the file


def test_a_key_goes_into_a_file_of_ones_own_and_out_again(program: Program) -> None:
    file = file_of(program)
    assert done(program.run("keys", "list")) == (
        0,
        "",
        "no stored keys; run `rtchat keys set` to store one\n",
    )
    kept = program.run("keys", "set", stdin=f"  {KEY}\r\nmore\n".encode())
    assert done(kept) == (0, "", f"stored the key for default in {file}\n")
    program.run("keys", "set", "work", stdin=b"elevenchars\n")
    program.run("keys", "set", "a", stdin=b"twelve-chars")
    assert json.loads(file.read_text()) == {
        "default": KEY,
        "work": "elevenchars",
        "a": "twelve-chars",
    }
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert os.listdir(file.parent) == ["keys.json"]
    lines = f"a        …hars  {file}\ndefault  …cdef  {file}\nwork     …      {file}\n"
    assert done(program.run("keys", "list")) == (0, lines, "")
    removed = program.run("keys", "remove", "work")
    assert done(removed) == (0, "", "removed the key for work\n")
    assert program.run("keys", "remove").code == 0
    assert json.loads(file.read_text()) == {"a": "twelve-chars"}
    again = program.run("keys", "remove")
    assert done(again) == (
        2,
        "",
        "rtchat: there is no stored key for default\n"
        "hint: run `rtchat keys list` to list the stored keys\n",
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"", NO_KEY),
        (b" \n", NO_KEY),
        (
            "“sk”\n".encode(),
            "rtchat: the key contains characters that are not allowed in an HTTP header",
        ),
        (b"\xff\n", "rtchat: the key contains characters that are not allowed in an HTTP header"),
    ],
)
def test_what_is_no_key_is_not_kept(program: Program, given: bytes, words: str) -> None:
    ran = program.run("keys", "set", stdin=given)
    assert (ran.code, ran.text, ran.error, bool(ran.hint)) == (2, "", words, True)
    assert not file_of(program).exists()


def test_a_key_is_no_argument(program: Program) -> None:
    ran = program.run("keys", "set", "default", KEY, stdin=b"")
    assert ran.code == 2
    assert not file_of(program).exists()


def test_stdin_may_be_closed(program: Program) -> None:
    ran = program.shell("rtchat keys set <&-")
    assert (ran.code, ran.text, ran.error) == (2, "", NO_KEY)


def prompted(program: Program, typed: str) -> tuple[int, str]:
    """The exit code and the terminal after typing that at the prompt."""
    terminal, theirs = pty.openpty()
    with program.start(
        *("keys", "set", "work"), stdin=theirs, stdout=theirs, stderr=theirs, on_terminal=True
    ) as process:
        os.close(theirs)
        seen = b""
        while select.select((terminal,), (), (), PATIENCE)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if b"not shown" in seen + data and b"not shown" not in seen:
                os.write(terminal, typed.encode())
            seen += data
        os.close(terminal)
    return process.returncode, seen.decode()


def test_a_prompt_does_not_show_the_key(program: Program) -> None:
    file = file_of(program)
    kept = f"key for work (not shown): \r\nstored the key for work in {file}\r\n"
    assert prompted(program, f"{KEY}\n") == (0, kept)
    assert json.loads(file.read_text()) == {"work": KEY}


@pytest.mark.parametrize("typed", ["\n", "\x04"])
def test_a_prompt_may_be_left(program: Program, typed: str) -> None:
    code, seen = prompted(program, typed)
    assert (code, seen.splitlines()[-2]) == (2, NO_KEY)
    terminal = Terminal(program, ["set", "work"], {}, verb="keys")
    terminal.shows("not shown")
    assert terminal.ends_by_ctrl_c() == 130
    assert not file_of(program).exists()


def test_the_key_of_a_run_is_the_kept_one(program: Program) -> None:
    program.run("keys", "set", stdin=KEY.encode())
    shown = program.run("config", "show").text.splitlines()[-1]
    assert shown.split(maxsplit=2) == ["key", "…cdef", str(file_of(program))]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 5}', "\udcff"])
def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text, errors="surrogateescape")
    store = KeyStore(tmp_path)
    message = f"^{file} is not a valid key file\n"
    for act in (store.names, lambda: store.get("a"), lambda: store.set("a", KEY)):
        with pytest.raises(UsageError, match=message) as caught:
            act()
        assert caught.value.__context__ is None
    assert file.read_text(errors="surrogateescape") == text


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        KeyStore(tmp_path).get("a")


def test_a_folder_that_cannot_be_made(program: Program) -> None:
    file = file_of(program)
    file.parent.parent.mkdir(parents=True)
    file.parent.symlink_to(program.home / "nowhere")
    ran = program.run("keys", "set", stdin=KEY.encode())
    assert (ran.code, ran.text) == (6, "")
    assert f"{file} cannot be written (File exists)" in ran.error
    assert "the stored keys are unchanged" in ran.error


def test_a_full_disk_leaves_the_keys_as_they_were(program: Program) -> None:
    program.run("keys", "set", stdin=b"old-key\n")
    full = "unset ${!COVERAGE@}; trap '' XFSZ; ulimit -f 0"  # coverage would write a file as well
    ran = program.shell(f"{full}; echo {KEY} | cat | rtchat keys set")
    file = file_of(program)
    assert ran.code == 6
    assert f"{file} cannot be written (File too large)" in ran.error
    assert "the stored keys are unchanged" in ran.error
    assert json.loads(file.read_text()) == {"default": "old-key"}
    assert os.listdir(file.parent) == ["keys.json"]


@pytest.mark.parametrize(
    ("key", "shown"), [("", "…"), ("elevenchars", "…"), ("twelve-chars", "…hars")]
)
def test_no_more_than_the_end_is_shown(key: str, shown: str) -> None:
    assert last_four(key) == shown


# -------------------------------------------------------------------------------------- the keyring

KEYRING = """\
import json, pathlib, sys
from types import SimpleNamespace

class KeyringError(Exception): pass
class NoKeyringError(KeyringError): pass
class InitError(KeyringError): pass
class KeyringLocked(KeyringError): pass
class PasswordDeleteError(KeyringError): pass
errors = SimpleNamespace(**{name: value for name, value in globals().items() if "Err" in name})

folder = pathlib.Path(__file__).parent
how = (folder / "how").read_text()
file = folder / "safe.json"

def _safe():
    if how == "locked":
        raise KeyringLocked("sk-0123456789abcdef")
    if how == "no backend":
        raise NoKeyringError
    return json.loads(file.read_text()) if file.exists() else {}

def set_password(service, name, key):
    safe = _safe()
    if how != "null":
        file.write_text(json.dumps(safe | {f"{service} {name}": key}))

def get_password(service, name):
    return _safe().get(f"{service} {name}")

def delete_password(service, name):
    safe = _safe()
    if f"{service} {name}" not in safe:
        raise PasswordDeleteError
    del safe[f"{service} {name}"]
    file.write_text(json.dumps(safe))
"""
"""A keyring as the package of that name offers one; `how` is what is wrong with it."""


class Keyring:
    """A keyring, and the program that finds it."""

    def __init__(self, folder: Path, how: str = "fine") -> None:
        self.place = folder / "some"
        self.place.mkdir()
        (self.place / "keyring.py").write_text(KEYRING)
        self.becomes(how)
        self.program = with_module(Program(folder), self.place)

    def becomes(self, how: str) -> None:
        (self.place / "how").write_text(how)

    def safe(self) -> object:
        return json.loads((self.place / "safe.json").read_text())


def test_a_keyring_keeps_the_key_and_the_file_its_name(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path)
    program = keyring.program
    kept = program.run("keys", "set", "work", stdin=KEY.encode())
    assert done(kept) == (0, "", "stored the key for work in the system keyring\n")
    assert keyring.safe() == {"rtchat work": KEY}
    assert json.loads(file_of(program).read_text()) == {"work": None}
    assert program.run("keys", "list").text == "work  …cdef  the system keyring\n"
    assert program.run("keys", "remove", "work").err == "removed the key for work\n"
    assert (keyring.safe(), json.loads(file_of(program).read_text())) == ({}, {})
    assert program.run("keys", "remove", "work").code == 2


def test_a_key_is_in_one_place_only(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, "no backend")
    keyring.program.run("keys", "set", stdin=b"old-key")
    keyring.becomes("fine")
    keyring.program.run("keys", "set", stdin=KEY.encode())
    assert json.loads(file_of(keyring.program).read_text()) == {"default": None}


@pytest.mark.parametrize("how", ["no backend", "null"])
def test_a_keyring_that_keeps_nothing_counts_as_not_there(tmp_path: Path, how: str) -> None:
    program = Keyring(tmp_path, how).program
    program.run("keys", "set", stdin=KEY.encode())
    assert json.loads(file_of(program).read_text()) == {"default": KEY}
    assert program.run("keys", "remove").code == 0
    assert json.loads(file_of(program).read_text()) == {}


def test_a_locked_keyring_is_said_so(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, "locked")
    words = "rtchat: the system keyring cannot be used (KeyringLocked)\nhint: unlock the keyring\n"
    assert done(keyring.program.run("keys", "set", stdin=KEY.encode())) == (2, "", words)
    keyring.becomes("fine")
    keyring.program.run("keys", "set", stdin=KEY.encode())
    keyring.becomes("locked")
    assert done(keyring.program.run("once", "hi")) == (2, "", words)
    assert done(keyring.program.run("keys", "remove")) == (2, "", words)
    row = "default  …  the system keyring cannot be used (KeyringLocked); unlock the keyring\n"
    assert done(keyring.program.run("keys", "list")) == (0, row, "")


def test_a_key_that_is_gone_from_the_keyring(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path)
    keyring.program.run("keys", "set", stdin=KEY.encode())
    (keyring.place / "safe.json").unlink()
    row = "default  …  missing from the system keyring\n"
    assert keyring.program.run("keys", "list").text == row
    assert keyring.program.run("once", "hi").error == "rtchat: there is no key"


def test_a_keyring_that_is_no_longer_installed(program: Program) -> None:
    program.run("keys", "set", stdin=KEY.encode())
    file_of(program).write_text('{"default": null}')
    for command in (("once", "hi"), ("keys", "remove")):
        ran = program.run(*command)
        assert (ran.code, ran.text) == (2, "")
        assert "the package keyring is not installed" in ran.error
        assert "[keyring]" in ran.hint


def test_a_run_asks_no_keyring_without_need(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, "locked")
    show = keyring.program.run("config", "show")
    assert (show.code, show.text.splitlines()[-1].split()) == (0, ["key", "none", "not", "set"])
    keyring.becomes("fine")
    keyring.program.run("keys", "set", stdin=KEY.encode())
    keyring.becomes("locked")
    environ = {"OPENAI_API_KEY": KEY}
    assert keyring.program.run("config", "show", environ=environ).code == 0


@pytest.mark.skipif(find_spec("keyring") is None, reason="the package keyring is not installed")
def test_the_real_keyring_takes_a_key(tmp_path: Path) -> None:
    backend = (
        "import keyring.backend\n"
        "class Memory(keyring.backend.KeyringBackend):\n"
        "    priority = 1\n"
        "    safe = {}\n"
        "    def set_password(self, service, name, key): self.safe[service, name] = key\n"
        "    def get_password(self, service, name): return self.safe.get((service, name))\n"
        "    def delete_password(self, service, name): del self.safe[service, name]\n"
    )
    (tmp_path / "memory.py").write_text(backend)
    program = (
        "import sys\nfrom pathlib import Path\nfrom rtchat.config.keys import KeyStore\n"
        "store = KeyStore(Path(sys.argv[1]))\n"
        "print(store.set('a', 'key'), store.get('a'), store.remove('a'), store.get('a'))\n"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])]),
    }
    for named, expected in (
        ("memory.Memory", "the system keyring ('key', 'the system keyring') True None\n"),
        (
            "keyring.backends.fail.Keyring",
            f"{tmp_path / 'keys.json'} ('key', '{tmp_path / 'keys.json'}') True None\n",
        ),
        (
            "keyring.backends.null.Keyring",
            f"{tmp_path / 'keys.json'} ('key', '{tmp_path / 'keys.json'}') True None\n",
        ),
    ):
        out = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=environ | {"PYTHON_KEYRING_BACKEND": named},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (out.stdout, out.stderr) == (expected, "")


# --------------------------------------------------------------------------------------- a command


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


@pytest.mark.parametrize("printed", [KEY, f"{KEY}\n", f" {KEY}\r\nuser: me\n"])
def test_the_first_line_of_a_command_is_the_key(printed: str) -> None:
    assert run_key_command(python(f"print({printed!r}, end='')")) == KEY


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            python(f"import sys; print({KEY!r}); sys.exit(3)"),
            f"{sys.executable} failed with exit code 3",
        ),
        (
            python("pass"),
            f"{sys.executable} printed no key",
        ),
        (
            python(f"print(); print({KEY!r})"),
            f"{sys.executable} printed no key",
        ),
        (
            ("/nowhere/pass", KEY),
            "/nowhere/pass cannot be run (No such file or directory)",
        ),
    ],
)
def test_a_command_that_gives_no_key(command: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_key_command(command)
    assert caught.value.message == f"api_key_command {message}"
    assert caught.value.hint


def test_a_command_has_its_time() -> None:
    with pytest.raises(UsageError) as caught:
        run_key_command(
            python(f"import time; print({KEY!r}, flush=True); time.sleep(600)"), timeout=0.5
        )
    assert caught.value.__cause__ is None
    assert caught.value.message == f"api_key_command {sys.executable} printed no key within 0.5 s"
    assert caught.value.hint


def test_a_command_runs_in_no_shell_and_leaves_the_question_alone(program: Program) -> None:
    folder = program.home / ".config" / "rtchat"
    folder.mkdir(parents=True)
    script = "import sys; sys.stderr.write('asking\\n'); print(sys.argv[1] + sys.stdin.read())"
    command = f"'{sys.executable}' -c \"{script}\" 'a-$HOME;key'"
    (folder / "config.toml").write_text(f"api_key_command = {json.dumps(command)}\n")
    ran = program.run("config", "show", stdin=b"the question")
    assert ran.err == "asking\n"
    key = ran.text.splitlines()[-1].split(maxsplit=2)
    assert key == ["key", "…", f"api_key_command of {folder / 'config.toml'} line 1"]
