"""A row that is added to the table of settings is seen everywhere; each row is complete."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from rtchat.app import transcribe, translate
from rtchat.cli import command_line
from rtchat.cli.complete import candidates
from rtchat.cli.configure import describe
from rtchat.config.file import template
from rtchat.config.parsers import choice
from rtchat.config.resolve import resolve
from rtchat.config.serve import ServeSettings
from rtchat.config.settings import Settings, attributes, rows
from rtchat.config.table import Group, Setting, Variable
from rtchat.core.errors import UsageError
from tests import generate

_KEY = {"OPENAI_API_KEY": "sk-x"}


@dataclass(frozen=True, repr=False)
class More(Settings):
    """The settings, and one more."""

    taste: Setting[Literal["sweet", "sour", "salty"]] = Setting(
        Group("Taste", ("once",)),
        choice("sweet", "sour", "salty"),
        "sweet",
        "The taste of replies.",
        example="sour",
        option="--taste",
        variable=Variable("RTCHAT_TASTE", dotenv="yes"),
    )


def _run(*arguments: str) -> str:
    app = command_line(arguments[0], More)
    return CliRunner().invoke(app, arguments, prog_name="rtchat").stdout


def test_a_new_row_is_an_option_of_its_commands() -> None:
    shown = " ".join(_run("once", "--help").split())
    assert "--taste sweet|sour|salty The taste of replies." in shown
    assert "[env var: RTCHAT_TASTE; default: sweet]" in shown
    assert "--taste" not in _run("talk", "--help")


def test_commands_for_audio_show_their_own_default_model() -> None:
    assert f"The model. [default: {transcribe.MODEL}]" in " ".join(_run("transcribe", "-h").split())
    assert f"The model. [default: {translate.MODEL}]" in " ".join(_run("translate", "-h").split())


def test_a_new_row_is_completed() -> None:
    def completed(*words: str) -> list[str]:
        return [each.value for each in candidates(words, More).words]

    assert completed("once", "--taste", "s") == ["sweet", "sour", "salty"]
    assert completed("once", "--tas") == ["--taste"]


def test_a_new_row_is_resolved_from_every_source(tmp_path: Path) -> None:
    config, dotenv = tmp_path / "config.toml", tmp_path / ".env"
    place = f"{config} line 1"

    def found(options: dict[str, object], environ: dict[str, str]) -> tuple[object, str]:
        settings = resolve(options, _KEY | environ, dotenv=dotenv, config=config, schema=More)
        assert isinstance(settings, More)
        assert describe(settings)["taste"] == (settings.taste, settings.origins["taste"])
        return settings.taste, settings.origins["taste"]

    assert found({}, {}) == ("sweet", "default")
    config.write_text('taste = "sour"')
    assert found({}, {}) == ("sour", place)
    dotenv.write_text("RTCHAT_TASTE=salty")
    assert found({}, {}) == ("salty", "RTCHAT_TASTE in .env")
    assert found({}, {"RTCHAT_TASTE": "sour"}) == ("sour", "RTCHAT_TASTE")
    assert found({"taste": "sweet"}, {"RTCHAT_TASTE": "sour"}) == ("sweet", "--taste")
    config.write_text('taste = "bitter"')
    with pytest.raises(UsageError, match="'bitter' for taste"):
        found({}, {})
    config.write_text('tatse = "sour"')
    with pytest.raises(UsageError, match="did you mean taste"):
        found({}, {})


def test_a_new_row_is_documented() -> None:
    assert "# The taste of replies.\n#RTCHAT_TASTE=sour\n" in generate.env_example(More)
    assert '# The taste of replies.\n#taste = "sour"\n' in template(More)
    row = next(line for line in generate.reference(More).splitlines() if "taste" in line)
    for text in ("`taste`", "`--taste sweet\\|sour\\|salty`", "`RTCHAT_TASTE`", "`sweet`"):
        assert text in row


def test_settings_are_typed_and_never_changed() -> None:
    settings = Settings(model="m", timeout=5.0)
    assert (settings.model, settings.timeout, settings.render) == ("m", 5.0, "auto")
    assert replace(settings, model="n") == Settings(model="n", timeout=5.0) != settings
    with pytest.raises(FrozenInstanceError):
        settings.__setattr__("model", "n")
    with pytest.raises(TypeError):
        Settings(modle="m")  # type: ignore[call-arg] # what is tested


def test_every_default_is_valid() -> None:
    for row in [*attributes(), *attributes(ServeSettings)]:
        if row.default is not None:
            assert row.parse(row.default, row.name) == row.default, row.name


def test_a_row_is_complete() -> None:
    for row in [*rows(), *attributes(ServeSettings)]:
        assert re.fullmatch(r"[A-Z].*\.", row.help), row.name
        assert len(row.help) < 100, row.name
        assert bool(row.option) == bool(row.commands), row.name
        if row.option:
            assert re.fullmatch("--[a-z-]+", row.option), row.name
        assert row.in_file or row.option, row.name
        if row.variable is not None:
            assert row.variable.name == f"RTCHAT_{row.name.upper()}"
        if row.in_file:
            row.parse(row.example, row.name)
