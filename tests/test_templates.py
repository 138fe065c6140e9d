"""Prompt templates and the aliases of models."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from rtchat.app.templates import Templates
from rtchat.config.prompt_template import PromptTemplate
from rtchat.config.resolve import resolve
from rtchat.config.settings import Settings
from rtchat.config.table import Values
from rtchat.config.templates import START, read_template, template_names
from rtchat.core.errors import UsageError
from rtchat.core.events import (
    LocalEvent,
    LocalNotice,
    ModelSet,
    OptionSet,
    RetryAsked,
    SystemSet,
    UserSaid,
)
from rtchat.core.ports import Post
from rtchat.server.engine import Answer, ModelInput
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.slash_arguments import TemplateAsked
from rtchat.ui.slash_commands import parse
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal
from tests.test_config import editor

_KEY = {"OPENAI_API_KEY": "sk-x"}


class _Recorder(EchoEngine):
    """Echoes, and records its input."""

    def __init__(self) -> None:
        self.prompts: list[ModelInput] = []

    def answer(self, prompt: ModelInput) -> Answer:
        self.prompts.append(prompt)
        return super().answer(prompt)

    def asked(self) -> list[tuple[str, str]]:
        """The instructions and the question of each reply."""
        return [(prompt.instructions, prompt.question) for prompt in self.prompts]


@pytest.fixture
def engine() -> _Recorder:
    return _Recorder()


@pytest.fixture
def program(tmp_path: Path, engine: _Recorder) -> Iterator[Program]:
    with background(lambda: run_server(engine)) as url:
        program = Program(tmp_path)
        program.environ["RTCHAT_URL"] = url
        yield program


def _folder(program: Program) -> Path:
    return program.home / ".config" / "rtchat" / "prompts"


def _write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


# ------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("text", "given", "question"),
    [
        ("Explain {input}, please.", "this", "Explain this, please."),
        ("{input} and {input}", "a", "a and a"),
        ('Fill {"a": {b}, "c": [{}]} with\n{input}\n', "x", 'Fill {"a": {b}, "c": [{}]} with\nx'),
        ("Explain:\n", "this", "Explain:\n\nthis"),
        ("Tell a joke.", "", "Tell a joke."),
        ("", "this", "this"),
        ("{input}", "{input} {0} %s \\1", "{input} {0} %s \\1"),
        ("{ input } {INPUT}", "x", "{ input } {INPUT}\n\nx"),
    ],
)
def test_the_text_of_a_template_receives_the_input(text: str, given: str, question: str) -> None:
    assert PromptTemplate("t", text, Values()).fill(given) == question


def test_a_template_may_require_an_input() -> None:
    with pytest.raises(UsageError, match="requires an input"):
        PromptTemplate("t", "Explain {input}.", Values()).fill(" \n")


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("text = '''\nmodle = 1\n'''\nmodle = 'x'", "line 4: unknown setting 'modle'", "model"),
        ("\nurl = 'wss://a.example'", "line 2: a template cannot set url", "profile"),
        ("history = 'maybe'", "line 1: invalid value 'maybe' for history", ""),
        ("text = ['a']", "line 1: invalid value for text", ""),
        ("[session]\nreasoning.effort = 'huge'", "line 2: ", ""),
        ("text = 'a", "is not TOML (", "repair"),
    ],
)
def test_an_invalid_template_is_an_error_with_its_line(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    file = _write(tmp_path, "t", text)
    with pytest.raises(UsageError) as caught:
        read_template(tmp_path, "t")
    assert caught.value.message.startswith(f"{file} {message}")
    assert hint in caught.value.hint


def test_an_unknown_template_gets_a_suggestion(tmp_path: Path) -> None:
    _write(tmp_path, "review", "")
    (tmp_path / "notes.txt").touch()
    assert template_names(tmp_path) == ["review"]
    assert template_names(tmp_path / "missing") == []
    with pytest.raises(UsageError, match="'reviw'") as caught:
        read_template(tmp_path, "reviw")
    assert caught.value.hint == "did you mean review?"
    for name in ("xyz", "../review", str(tmp_path / "review"), ""):
        with pytest.raises(UsageError) as caught:
            read_template(tmp_path / "..", name)
        assert "rtchat prompts list" in caught.value.hint


def test_names_of_files_are_relative_to_the_folder_of_the_template(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text("Be brief.")
    _write(
        tmp_path, "t", "system = '@rules.txt'\ntools = ['tools.py', '/abs.py']\ntrace = 't.jsonl'"
    )
    values = read_template(tmp_path, "t").values
    assert values[Settings.system] == "Be brief."
    assert values[Settings.tools] == (tmp_path / "tools.py", Path("/abs.py"))
    assert values[Settings.trace] == tmp_path / "t.jsonl"


def test_the_precedence_of_a_template(tmp_path: Path) -> None:
    """option > environment > .env > template > profile > config file > default"""
    config, dotenv = tmp_path / "config.toml", tmp_path / ".env"
    _write(tmp_path, "t", "model = 'template'")

    def model(options: dict[str, object], environ: dict[str, str]) -> str:
        given = {"template": "t", "profile": "work", **options}
        return resolve(
            given, _KEY | environ, dotenv=dotenv, config=config, templates=tmp_path
        ).model

    config.write_text("model = 'config'\n[profiles.work]\nmodel = 'profile'")
    assert model({}, {}) == "template"
    _write(tmp_path, "t", "")
    assert model({}, {}) == "profile"
    _write(tmp_path, "t", "model = 'template'")
    dotenv.write_text("RTCHAT_MODEL=dotenv")
    assert model({}, {}) == "dotenv"
    assert model({}, {"RTCHAT_MODEL": "environment"}) == "environment"
    assert model({"model": "option"}, {"RTCHAT_MODEL": "environment"}) == "option"


def test_tables_of_a_template_are_merged(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[session]\nreasoning.effort = 'low'\naudio.output.voice = 'marin'")
    _write(tmp_path, "t", "session = { reasoning = { effort = 'high' } }")
    settings = resolve({"template": "t"}, _KEY, config=config, templates=tmp_path)
    assert settings.session == {
        "reasoning": {"effort": "high"},
        "audio": {"output": {"voice": "marin"}},
    }


# ----------------------------------------------------------------------------------------- aliases


@pytest.mark.parametrize(
    ("options", "environ", "template"),
    [
        ({"model": "fast"}, {}, ""),
        ({}, {"RTCHAT_MODEL": "fast"}, ""),
        ({"template": "t"}, {}, "model = 'fast'"),
        ({"profile": "work"}, {}, ""),
    ],
)
def test_an_alias_is_a_name_for_a_model(
    tmp_path: Path, options: dict[str, object], environ: dict[str, str], template: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("aliases = { fast = 'mini' }\n[profiles.work]\nmodel = 'fast'")
    _write(tmp_path, "t", template)
    settings = resolve(options, _KEY | environ, config=config, templates=tmp_path)
    assert settings.model == "mini"
    assert settings.origins["model"].endswith("(alias fast)")


def test_an_alias_names_a_model(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[aliases]\nfast = 'mini'\nslow = 3")
    with pytest.raises(UsageError, match=r"line 3: invalid value .* for aliases"):
        resolve({}, _KEY, config=config)


def test_aliases_are_shown(program: Program) -> None:
    _write(_folder(program).parent, "config", "[aliases]\nfast = 'mini'")
    shown = program.run("config", "show").text
    assert "fast = mini" in next(line for line in shown.splitlines() if line.startswith("aliases"))


# -------------------------------------------------------------------------------------------- runs


def test_once_with_a_template(program: Program, engine: _Recorder) -> None:
    text = "text = 'Explain {input}.'\nsystem = 'Be brief.'\nmodel = 'm'"
    _write(_folder(program), "explain", text)
    ran = program.run("once", "-t", "explain", "this", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.text)["model"] == "m"
    assert program.run("once", "-t", "explain", "-s", "No.", stdin=b"that\n").code == 0
    assert program.run("once", "-t", "explain", "a", stdin=b"b\n").code == 0
    assert engine.asked() == [
        ("Be brief.", "Explain this."),
        ("No.", "Explain that."),
        ("Be brief.", "Explain a\n\nb."),
    ]
    ran = program.run("once", "-t", "explain")
    assert (ran.code, ran.error) == (2, "rtchat: the template explain requires an input")
    ran = program.run("once", "-t", "explian", "this")
    assert (ran.code, ran.hint) == (2, "did you mean explain?")


def test_a_template_may_be_the_whole_question(program: Program, engine: _Recorder) -> None:
    _write(_folder(program), "joke", "text = 'Tell a joke.'")
    _write(_folder(program), "brief", "system = 'Be brief.'")
    assert program.run("once", "-t", "joke").text == "Tell a joke.\n"
    assert program.run("once", "-t", "brief", "Hi").text == "Hi\n"
    ran = program.run("once", "-t", "brief")
    assert (ran.code, ran.error) == (2, "rtchat: there is no prompt")


def test_each_line_of_a_pipe_is_an_input(program: Program, engine: _Recorder) -> None:
    _write(_folder(program), "explain", "text = 'Explain {input}.'\nsystem = 'Be brief.'")
    ran = program.run("talk", "-t", "explain", stdin=b"this\nthat\n")
    assert (ran.code, ran.text) == (0, "Explain this.\nExplain that.\n")


def test_a_template_in_the_working_directory_is_not_used(program: Program) -> None:
    folder = program.home / "project"
    _write(folder / "prompts", "mine", "text = 'x'")
    ran = program.shell(f"cd {folder} && RTCHAT_CONFIG=config.toml; rtchat once -t mine hi")
    assert (ran.code, ran.error) == (2, "rtchat: unknown template 'mine'")


def test_a_conversation_with_templates(program: Program, engine: _Recorder) -> None:
    _write(_folder(program), "explain", "text = 'Explain {input}.'\nsystem = 'Be brief.'")
    _write(_folder(program), "french", "text = 'In French: {input}'\nmodel = 'other'")
    terminal = Terminal(program, ["-t", "explain"], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("this\r")
    terminal.shows("Explain this.", "first token", PROMPT)
    terminal.types("why?\r")
    terminal.shows("first token", "why?", "first token", PROMPT)
    terminal.types("/t\r")
    terminal.shows("templates: explain, french", PROMPT)
    terminal.types("/t frensh hello\r")
    terminal.shows("unknown template 'frensh'", "did you mean french?", PROMPT)
    terminal.types("/t french hello\r")
    terminal.shows("model set to other", "In French: hello", "other · first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    assert engine.asked() == [
        ("Be brief.", "Explain this."),
        ("Be brief.", "why?"),
        ("Be brief.", "In French: hello"),
    ]


# ------------------------------------------------------------------------------- in a conversation


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("/t", "", ""),
        ("/t review", "review", ""),
        ("/t review  two words\nand a line", "review", "two words\nand a line"),
    ],
)
def test_the_command(line: str, name: str, text: str) -> None:
    assert parse(line) == TemplateAsked(name, text)


def test_a_template_changes_the_settings_of_a_conversation(tmp_path: Path) -> None:
    text = """
        model = "fast"
        system = "Be brief."
        max_output_tokens = 9
        session = { reasoning = { effort = "low" } }
        response = { metadata = { a = "b" } }
        history = false
    """
    _write(tmp_path, "t", text)
    templates = Templates(tmp_path, Settings(model="m", aliases={"fast": "mini"}))
    *events, notice, question = templates.events("t", "Hi")
    assert events == [
        ModelSet("fast"),
        SystemSet("Be brief."),
        OptionSet("session", "max_output_tokens", {"max_output_tokens": 9}),
        OptionSet("session", "reasoning", {"reasoning": {"effort": "low"}}),
        OptionSet("response", "metadata", {"metadata": {"a": "b"}}),
    ]
    assert isinstance(notice, LocalNotice)
    assert "history" in notice.text
    assert question == UserSaid("Hi")
    _write(tmp_path, "t", "model = 'fast'")
    same = Templates(tmp_path, Settings(model="mini", aliases={"fast": "mini"}))
    assert same.events("t", "") == []


def test_an_alias_names_a_model_in_a_conversation(tmp_path: Path) -> None:
    templates = Templates(tmp_path, Settings(model="m", aliases={"fast": "mini"}))
    asked = (ModelSet("fast"), RetryAsked("fast", "Sing."), RetryAsked("n"), RetryAsked())
    posted: list[LocalEvent] = []

    async def source(post: Post) -> None:
        for event in asked:
            post(event)

    asyncio.run(_run(templates.apply(source)(posted.append)))
    meant = [ModelSet("mini"), RetryAsked("mini", "Sing."), RetryAsked("n"), RetryAsked()]
    assert posted == meant
    _write(tmp_path, "t", "model = 'n'")
    assert templates.events("t", "") == []


async def _run(work: Awaitable[None]) -> None:
    await work


def test_without_templates_the_command_says_how_to_create_one(tmp_path: Path) -> None:
    (notice,) = Templates(tmp_path / "none", Settings()).events("", "")
    assert isinstance(notice, LocalNotice)
    assert "rtchat prompts edit" in notice.hint


# ---------------------------------------------------------------------------------------- commands


def test_templates_are_listed_and_shown(program: Program) -> None:
    ran = program.run("prompts", "list")
    assert (ran.code, ran.text) == (0, "")
    assert "rtchat prompts edit" in ran.err
    _write(_folder(program), "b", 'text = "Explain\\n{input}"')
    broken = _write(_folder(program), "a", "modle = 'x'")
    lines = program.run("prompts", "list").text.splitlines()
    assert lines == [f"a  ({broken} line 1: unknown setting 'modle')", "b  Explain {input}"]
    assert program.run("prompts", "show", "b").text == 'text = "Explain\\n{input}"'
    ran = program.run("prompts", "show", "c")
    assert (ran.code, ran.error) == (2, "rtchat: unknown template 'c'")


def test_a_template_is_created_and_checked(program: Program) -> None:
    ran = program.run("prompts", "edit", "new", environ={"EDITOR": "true"})
    assert (ran.code, ran.text, ran.err) == (0, "", "")
    file = _folder(program) / "new.toml"
    assert file.read_text() == START
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ran = program.run("prompts", "edit", "new", environ=editor(program.home, "text = 'modle = 1'"))
    assert (ran.code, ran.error) == (2, f"rtchat: {file} line 1: unknown setting 'modle'")
    for name in ("../new", "a/b", ".hidden", "-x y"):
        ran = program.run("prompts", "edit", "--", name, environ={"EDITOR": "true"})
        assert (ran.code, ran.error) == (2, f"rtchat: invalid name {name!r} for a template")


def test_the_new_template_works_once_its_comments_are_removed(tmp_path: Path) -> None:
    first, *rest = START.splitlines()
    _write(tmp_path, "t", "\n".join(line.removeprefix("#") for line in rest))
    assert first.startswith("# ")
    template = read_template(tmp_path, "t")
    assert template.fill("x") == "Explain this to a beginner:\n\nx"
    assert template.values[Settings.system] == "Answer briefly."
