"""The user's folders: rtchat creates them as private, and runs without them if it cannot."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.system.folders import make_private, why_unreachable
from rtchat.ui.input_history import InputHistory
from tests.program import PATIENCE, Program, Ran, background
from tests.script_server import scripted_server
from tests.sounds import tone, write_wav

KEY = "sk-0123456789abcdef"


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(path: Path) -> list[int]:
    """The modes of all folders inside a folder."""
    return [mode(Path(place)) for place, _, _ in os.walk(path)][1:]


# ---------------------------------------------------------------------------------- private folders


def test_missing_parents_are_private_too(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a" / "b" / "c")
    make_private(tmp_path / "a" / "b" / "c")
    assert (modes(tmp_path), mode(tmp_path)) == ([0o700] * 3, 0o755)


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_private(tmp_path / "a")
    make_private(tmp_path / "a" / "b")
    assert (mode(tmp_path / "a"), modes(tmp_path / "a")) == (0o755, [0o700])


def test_a_file_or_a_broken_link_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "file/a", "dangling", "dangling/a", "loop", "loop/a", "x" * 300):
        with pytest.raises(OSError, match=r"\[Errno"):
            make_private(tmp_path / name)


def test_no_other_module_creates_folders() -> None:
    root = Path(__file__).parents[1] / "rtchat"
    for path in root.rglob("*.py"):
        names = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
        assert path.name == "folders.py" or not names & {"mkdir", "makedirs"}, path


@pytest.mark.parametrize("mask", ["000", "022", "077"])
def test_every_folder_of_a_user_is_private(program: Program, mask: str) -> None:
    homes = {name: f"{program.home}/x/{name}/deep" for name in ("CONFIG", "DATA", "STATE")}
    environ = {f"XDG_{name}_HOME": path for name, path in homes.items()} | {"VISUAL": "true"}
    program.shell(f"umask {mask}; echo {KEY} | cat | rtchat keys set", environ)
    program.shell(f"umask {mask}; rtchat config edit", environ)
    made = program.home / "x"
    assert modes(made) == [0o700] * 6
    other = environ | {"XDG_DATA_HOME": f"{program.home}/y/data", "OPENAI_API_KEY": KEY}
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.shell(f"umask {mask}; rtchat once -q hi --url {url}", other)
    assert (ran.code, ran.text) == (0, "hi\n")
    assert modes(program.home / "y") == [0o700] * 2


def test_the_folder_of_the_input_history_is_private(tmp_path: Path, umask: int) -> None:
    history = InputHistory(tmp_path / "state" / "rtchat" / "input_history")
    history.store_string("hi")
    history.close()
    assert modes(tmp_path) == [0o700] * 2


# ------------------------------------------------------------------------------- unreadable folders

_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_PLACES = {
    "a device": ("/dev/null", "/dev/null cannot be read (Not a directory)"),
    "a file": ("%s/file", "%s/file cannot be read (Not a directory)"),
    "below a file": ("%s/file/a/b", "%s/file cannot be read (Not a directory)"),
    "a loop": ("%s/loop", "%s/loop cannot be read (Too many levels of symbolic links)"),
    "a long name": (f"%s/{'x' * 300}/a", f"%s/{'x' * 300} cannot be read (File name too long)"),
}


@pytest.fixture
def bad_places(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Paths at which no folder can be, and the message about each."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    return {
        name: (place.replace("%s", str(tmp_path)), line.replace("%s", str(tmp_path)))
        for name, (place, line) in _PLACES.items()
    }


def details(ran: Ran) -> list[str]:
    """The lines about paths that cannot be read, which only --verbose shows."""
    return [line for line in ran.err.splitlines() if "cannot be read (" in line]


@pytest.mark.parametrize("name", _PLACES)
@pytest.mark.parametrize("variable", _VARIABLES)
def test_a_home_that_cannot_be_read_is_like_an_empty_one(
    program: Program, bad_places: dict[str, tuple[str, str]], variable: str, name: str
) -> None:
    place, detail = bad_places[name]
    environ = {variable: place}
    has_no_history = variable in ("HOME", "XDG_DATA_HOME")
    is_noted = variable != "XDG_STATE_HOME"
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "--url", url, "-q", environ=environ)
        assert (ran.code, ran.text, details(ran)) == (0, "hi\n", [])
        notices = [line for line in ran.err.splitlines() if line.startswith("rtchat: the history ")]
        assert len(notices) == has_no_history
        others = [line for line in ran.err.splitlines() if not line.startswith("hint: ")]
        assert others == notices
        ran = program.run("once", "hi", "--url", url, "-v", "--no-history", environ=environ)
        assert (ran.code, details(ran)) == (0, [detail] if is_noted else [])
    ran = program.run("once", "hi", environ=environ)
    assert ran.code == 2
    assert "no key" in ran.error


def test_without_a_home_no_command_has_an_internal_error(program: Program) -> None:
    write_wav(program.home / "q.wav", tone(440, 0.2))
    environ = {"HOME": "/dev/null", "VISUAL": "true"}
    with background(lambda: run_server(EchoEngine())) as url:
        talked = program.run("talk", "--url", url, "-q", stdin=b"hi\n", environ=environ)
        assert (talked.code, talked.text) == (0, "hi\n")
        assert program.run("doctor", "--url", url, environ=environ).code == 0
    codes = {
        "config show": 0,
        "config path": 0,
        "config profiles": 0,
        "config edit": 6,
        "keys list": 2,
        "keys remove": 2,
        "history list": 6,
        "history show": 6,
        "local path": 2,
        "local remove": 0,
        "--help": 0,
    }
    for command, code in codes.items():
        ran = program.run(*command.split(), environ=environ)
        assert (command, ran.code) == (command, code)
        assert code == 0 or ran.error
    ran = program.run("keys", "set", stdin=KEY.encode(), environ=environ)
    assert ran.error.startswith("rtchat: /dev/null cannot be read (Not a directory)")


@pytest.mark.parametrize("name", _PLACES)
def test_the_input_history_works_without_a_folder(
    bad_places: dict[str, tuple[str, str]], name: str
) -> None:
    history = InputHistory(Path(bad_places[name][0]) / "rtchat" / "input_history")
    history.store_string("hi")
    assert list(history.load_history_strings()) == []


def test_a_config_file_that_cannot_be_read_is_an_error(program: Program) -> None:
    """It may set where to connect and what to save, so it cannot be ignored."""
    config = program.home / ".config" / "rtchat" / "config.toml"
    config.mkdir(parents=True)
    ran = program.run("once", "hi")
    assert ran.code == 2
    assert ran.error.startswith(f"rtchat: {config} cannot be read (Is a directory)")
    for named, error in (
        ("/dev/null/c.toml", "/dev/null/c.toml cannot be read ("),
        ("missing.toml", "file not found: missing.toml"),
        (".", ". cannot be read ("),
    ):
        ran = program.run("once", "hi", environ={"RTCHAT_CONFIG": named})
        assert (ran.code, ran.error.startswith(f"rtchat: {error}")) == (2, True)


def test_a_key_file_that_cannot_be_read_is_ignored(program: Program) -> None:
    (program.home / ".local" / "share" / "rtchat" / "keys.json").mkdir(parents=True)
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "--url", url, "-v", "--no-history")
    assert (ran.code, len(details(ran))) == (0, 1)
    assert "keys.json cannot be read (Is a directory)" in ran.err


def without_rights(
    program: Program, how: str, environ: Mapping[str, str], *arguments: str, cwd: str | Path = "/"
) -> Ran:
    """Run the program with fewer rights than root, to whom permissions do not apply."""
    drop = ["setpriv", *how.split()] if os.getuid() == 0 else []

    def run(command: Sequence[str]) -> Ran:
        done = subprocess.run(
            [*drop, *command],
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    try:
        ran = run(program.command("--version"))
    except OSError as error:
        pytest.skip(f"setpriv cannot be run ({error})")
    if ran.code:
        pytest.skip(f"the program cannot be run with fewer rights ({ran.err[-100:].strip()})")
    return run(program.command(*arguments))


@pytest.fixture
def environ(program: Program) -> dict[str, str]:
    """The environment without coverage, which would write a file."""
    return {name: text for name, text in program.environ.items() if "COVERAGE" not in name}


_WITHOUT_OVERRIDE = "--bounding-set=-dac_override,-dac_read_search"
"""What makes permissions apply to root."""


def test_a_home_without_permission(program: Program, environ: dict[str, str]) -> None:
    line = f"{program.home} cannot be read (Permission denied)"
    program.home.chmod(0)
    try:
        with background(lambda: run_server(EchoEngine())) as url:
            ran = without_rights(
                program, _WITHOUT_OVERRIDE, environ, "once", "hi", "--url", url, "-v"
            )
        assert (ran.code, ran.text, details(ran)) == (0, "hi\n", [line])
        assert "rtchat: the history " in ran.err
        ran = without_rights(program, _WITHOUT_OVERRIDE, environ, "once", "hi")
        assert ran.code == 2
        assert "no key" in ran.error
    finally:
        program.home.chmod(0o700)


@pytest.mark.parametrize("name", [".env", "."])
def test_a_dotenv_without_permission_is_a_warning(
    program: Program, environ: dict[str, str], name: str
) -> None:
    (program.home / "folder").mkdir()
    (program.home / "folder" / ".env").write_text("RTCHAT_MODEL=x\n")
    path = program.home / "folder" / name
    path.chmod(0)
    if name == "." and os.getuid() != 0:
        path.chmod(0o700)
        pytest.skip("only root can start in a folder without permission to enter it")
    try:
        with background(lambda: run_server(EchoEngine())) as url:
            arguments = ("once", "hi", "--url", url, "-q")
            ran = without_rights(
                program, _WITHOUT_OVERRIDE, environ, *arguments, cwd=program.home / "folder"
            )
    finally:
        path.chmod(0o700)
    assert (ran.code, ran.text) == (0, "hi\n")
    assert ".env" in ran.error
    assert "(Permission denied)" in ran.error


def test_a_user_without_a_home(program: Program, environ: dict[str, str]) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become an unknown user")
    del environ["HOME"]
    drop = "--reuid=424242 --clear-groups"
    with background(lambda: run_server(EchoEngine())) as url:
        ran = without_rights(program, drop, environ, "once", "hi", "--url", url, "-v")
    assert (ran.code, ran.text) == (0, "hi\n")
    assert details(ran) == ["/dev/null cannot be read (Not a directory)"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", ""),
        ("missing/a/b", ""),
        ("file/a/b", "%s/file cannot be read (Not a directory)"),
        ("loop/a/b", "%s/loop cannot be read (Too many levels of symbolic links)"),
    ],
)
def test_why_a_path_cannot_be_reached(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert why_unreachable(tmp_path / path) == message.replace("%s", str(tmp_path))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"talk --audio-out {'a' * 300}", 6),
        (f"transcribe a.wav -o {'a' * 300}", 6),
        (f"transcribe {'a' * 251}.wav -o out -f json", 6),
        (f"local install {'a' * 300}", 2),
    ],
)
def test_a_name_that_is_too_long_is_an_error(program: Program, command: str, code: int) -> None:
    for name in ("a.wav", f"{'a' * 251}.wav"):
        write_wav(program.home / name, tone(440, 0.1))
    (program.home / "out").mkdir()
    with scripted_server({"rule": [{"text": "Hi."}]}) as url:
        program.environ["RTCHAT_URL"] = url
        assert program.run(*command.split()).code == code


def test_a_folder_that_takes_no_folders_is_an_error() -> None:
    """Creating one in it says that it does not exist, although it does."""
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        make_private(Path("/proc/self/private/rtchat"))


def test_a_deleted_working_directory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        make_private(Path("private"))
