"""`rtchat config`: where the settings are, what they come to, and changing them."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from rtchat.config.file import file_keys, read_config, template
from rtchat.config.settings import Settings, attributes
from tests.program import Program

KEY = "sk-0123456789abcdef"


def usual(program: Program) -> Path:
    return program.home / ".config" / "rtchat" / "config.toml"


# --------------------------------------------------------------------------------------------- path


def test_the_path_is_printed_whether_or_not_there_is_a_file(program: Program) -> None:
    assert program.run("config", "path").text == f"{usual(program)}\n"
    assert not usual(program).parent.exists()
    environ = {"RTCHAT_CONFIG": "other.toml"}
    assert program.run("config", "path", environ=environ).text == "other.toml\n"
    (program.home / ".env").write_text("RTCHAT_CONFIG=third.toml\n")
    ran = program.run("config", "path")
    assert ran.text == f"{usual(program)}\n"
    assert ran.error.startswith("rtchat: RTCHAT_CONFIG in .env is ignored")


# --------------------------------------------------------------------------------------------- show


def rows(text: str) -> dict[str, list[str]]:
    """The columns by the first of them."""
    return {line.split()[0]: re.split(r" {2,}", line)[1:] for line in text.splitlines()}


def test_every_setting_is_shown_without_a_key_too(program: Program) -> None:
    ran = program.run("config", "show")
    assert (ran.code, ran.err) == (0, "")
    shown = rows(ran.text)
    assert list(shown) == [*(row.name for row in attributes()), "key"]
    assert shown.pop("key") == ["none", "not set"]
    assert {origin for _, origin in shown.values()} == {"default"}
    assert shown["timeout"][0] == "60"
    assert shown["insecure"][0] == "false"
    ends = {line.rindex("default") for line in ran.text.splitlines()[:-1]}
    assert len(ends) == 1, "the columns are aligned"


def test_what_is_secret_is_not_shown(program: Program) -> None:
    config = usual(program)
    config.parent.mkdir(parents=True)
    config.write_text(
        '[profiles.work]\nurl = "wss://a.example/r?api-key=hunter2&x=1"\n'
        'headers = { X-Token = "hunter2", X-Other = "hunter2" }\nsystem = "a\\n\\u001b[31mb"\n'
        'key_env = "WORK_KEY"\n'
    )
    environ = {"OPENAI_API_KEY": "sk-other", "WORK_KEY": KEY, "RTCHAT_MODEL": "m" * 100}
    ran = program.run("config", "show", "--profile", "work", environ=environ)
    place = f"profile work in {config} line"
    shown = rows(ran.text)
    assert shown["url"] == ["wss://a.example/r?api-key=[key]&x=1", f"{place} 2"]
    assert shown["headers"] == ["X-Token: …, X-Other: …", f"{place} 3"]
    assert shown["system"] == ["a ␛[31mb", f"{place} 4"]
    assert shown["model"] == ["m" * 59 + "…", "RTCHAT_MODEL"]
    assert shown["key"] == ["…cdef", "WORK_KEY"]
    assert "hunter2" not in ran.text
    assert KEY not in ran.text


def test_show_says_what_cannot_work(program: Program) -> None:
    ran = program.run("config", "show", environ={"RTCHAT_TIMEOUT": "soon"})
    assert ran.code == 2
    assert "'soon' for RTCHAT_TIMEOUT" in ran.error


# --------------------------------------------------------------------------------------------- edit


def editor(folder: Path, code: str) -> dict[str, str]:
    """An editor that does this to `text`, as EDITOR."""
    script = folder / "my editor.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\npath = Path(sys.argv[-1])\n"
        f"text = path.read_text()\n{code}\npath.write_text(text)\n"
    )
    return {"EDITOR": shlex.join([sys.executable, str(script), "--wait"])}


def test_editing_begins_with_a_file_of_comments(program: Program) -> None:
    ran = program.run("config", "edit", environ=editor(program.home, ""))
    assert (ran.code, ran.text, ran.err) == (0, "", "")
    file = usual(program)
    assert file.read_text() == template()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert tomllib.loads(template()) == {}


def test_every_example_in_the_comments_works(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    examples = re.sub(r"^#(?=\S)", "", template(), flags=re.MULTILINE)
    file.write_text(examples)
    read_config(file, required=True)
    given = set(tomllib.loads(examples)) - {"profiles"}
    assert given == set(file_keys(Settings))


def test_editing_keeps_what_is_there_and_says_what_is_wrong(program: Program) -> None:
    file = program.home / "mine.toml"
    file.write_text("# mine\n")
    environ = editor(program.home, "text += 'timeout = \"soon\"\\n'") | {"RTCHAT_CONFIG": str(file)}
    ran = program.run("config", "edit", environ=environ)
    assert (ran.code, file.read_text()) == (2, '# mine\ntimeout = "soon"\n')
    assert ran.error.startswith(f"rtchat: {file} line 2: ")
    assert "'soon' for timeout" in ran.error
    environ |= editor(program.home, "text = 'model = '")
    ran = program.run("config", "edit", environ=environ)
    assert ran.code == 2
    assert ran.error.startswith(f"rtchat: {file} is not TOML (")


def test_visual_outranks_editor(program: Program) -> None:
    environ = editor(program.home, "text = 'model = \"x\"'") | {"VISUAL": "true"}
    assert program.run("config", "edit", environ=environ).code == 0
    assert usual(program).read_text() == template()


def test_the_usual_editor_is_vi(program: Program) -> None:
    folder = program.home / "bin"
    folder.mkdir()
    (folder / "vi").write_text('#!/bin/sh\necho "model = \\"by vi\\"" > "$1"\n')
    (folder / "vi").chmod(0o700)
    environ = {"PATH": f"{folder}{os.pathsep}{program.environ['PATH']}"}
    assert program.run("config", "edit", environ=environ).code == 0
    assert usual(program).read_text() == 'model = "by vi"\n'


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("/nowhere/vi", "the editor cannot be run (No such file or directory)"),
        ("vi 'x", "the editor cannot be run (No closing quotation)"),
        (" ", "the editor cannot be run (No such file or directory)"),
        ("false", "the editor failed with exit code 1"),
    ],
)
def test_an_editor_that_does_not_work(program: Program, named: str, words: str) -> None:
    ran = program.run("config", "edit", environ={"EDITOR": named})
    assert (ran.code, ran.error) == (2, f"rtchat: {words}")
    assert "VISUAL" in ran.hint


def test_a_place_where_nothing_can_be_written(program: Program) -> None:
    (program.home / "file").touch()
    environ = {"RTCHAT_CONFIG": "file/config.toml", "EDITOR": "true"}
    ran = program.run("config", "edit", environ=environ)
    assert ran.code == 6
    assert ran.error == "rtchat: file/config.toml cannot be written (File exists)"
    assert "RTCHAT_CONFIG" in ran.hint
