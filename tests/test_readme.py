"""The README is true: its map is complete, its examples run, its picture is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from rtchat.core.errors import ExitCode
from tests import generate

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_map_names_every_folder_and_where_to_start() -> None:
    section = README.partition("## How it is built")[2]
    rows = re.findall(r"^\| `(\w+)/` \|.*\| `(\w+\.py)` \|$", section, re.M)
    assert {folder for folder, _ in rows} == {
        path.name for path in (ROOT / "rtchat").iterdir() if (path / "__init__.py").exists()
    }
    for folder, start in rows:
        assert (ROOT / "rtchat" / folder / start).exists()


def test_the_python_examples_are_the_tested_ones() -> None:
    folder = ROOT / "tests" / "examples"
    tested = [(folder / f"{name}.py").read_text() for name in ("text", "events", "tools")]
    assert re.findall(r"```python\n(.*?)```", README, re.DOTALL) == tested


def test_the_settings_and_commands_are_those_of_the_tables() -> None:
    """`python -m tests.generate` writes them."""
    assert generate.readme(README) == README


def test_hints_install_extras_that_there_are_as_the_readme_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rtchat").rglob("*.py"))
    extras = set(re.findall(r"extra_hint\([\"']([a-z-]+)[\"']\)", code))
    assert extras
    assert extras <= set(project["optional-dependencies"])
    assert "`pip install '.[voice,tools]'`" in README


def test_every_exit_code_is_explained() -> None:
    table = README.partition("## Exit codes")[2].partition("##")[0]
    codes = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")
    }
    assert codes == {code.value for code in ExitCode}


def test_the_picture_is_there() -> None:
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert (ROOT / picture).read_text(encoding="utf-8").startswith("<svg")
