"""`once --output-schema` and `once --extract`: what scripts receive."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from threading import Event

import pytest

from rtchat.app.reply_checks import CheckedView, CodeExtraction, OutputSchema
from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived, ToolBegan
from rtchat.core.errors import UsageError
from rtchat.core.events import ServerProblem
from rtchat.core.values import Message, Part, Phase, Status, ToolCall
from rtchat.markdown.code_blocks import CodeBlock, code_blocks, last_block
from rtchat.server.engine import Answer, ModelInput
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.ui.plain_view import StatusWriter
from tests.program import PATIENCE, Program, background

_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_ADA = {"name": "Ada", "age": 36}
_SCRIPT: dict[str, object] = {
    "rule": [
        {"match": "does not fit", "times": 1, "text": '{"name": "Ada", "age": 36}'},
        {"match": "does not fit", "text": "Sorry."},
        {"match": "fits", "text": '{\n  "name": "Ada", "age": 36}\n', "chunk": 3},
        {"match": "fence", "text": 'Here:\n\n```json\n{"name": "Ada", "age": 36}\n```\nDone.'},
        {"match": "almost", "text": '{"name": "Ada"}', "usage": {"input": 7, "output": 3}},
        {"match": "prose", "text": "Ada is 36."},
        {"match": "broken", "text": '{"na', "fail": {"code": "server_error", "message": "Oh no."}},
        {"match": "limit", "text": '{"name"', "incomplete": "max_output_tokens"},
        {"match": "quota", "fail": {"code": "insufficient_quota", "message": "No credit."}},
        {"match": "code", "text": "A\n```py\nprint(1)\n```\nB\n```sh\nls\n```\nC\n"},
        {"match": "odd", "text": "```\n\x1b[31mred\n```\n"},
        {"match": "forever", "text": "word " * 10_000, "chunk": 5, "delay": 0.01},
        {"text": "No code."},
    ],
}


class _Recorder(ScriptEngine):
    """Answers from the script, and records its input."""

    def __init__(self) -> None:
        super().__init__(read_script(_SCRIPT))
        self.prompts: list[ModelInput] = []
        self.was_asked = Event()

    def answer(self, prompt: ModelInput) -> Answer | ServerProblem:
        self.was_asked.set()
        self.prompts.append(prompt)
        return super().answer(prompt)


@pytest.fixture
def engine() -> _Recorder:
    return _Recorder()


@pytest.fixture
def program(tmp_path: Path, engine: _Recorder) -> Iterator[Program]:
    with background(lambda: run_server(engine)) as url:
        program = Program(tmp_path)
        program.environ["RTCHAT_URL"] = url
        (tmp_path / "person.json").write_text(json.dumps(_PERSON))
        yield program


_SCHEMA = ("--output-schema", "person.json")


# -------------------------------------------------------------------------------- a value that fits


@pytest.mark.parametrize("question", ["fits", "fence", "almost", "prose"])
def test_stdout_has_the_value_alone(program: Program, question: str) -> None:
    ran = program.run("once", question, *_SCHEMA)
    assert (ran.code, ran.text) == (0, '{"name":"Ada","age":36}\n'), ran.err


def test_the_model_is_asked_for_the_schema(program: Program, engine: _Recorder) -> None:
    assert program.run("once", "fits", *_SCHEMA, "-s", "Be brief.").code == 0
    assert program.run("once", "fits", *_SCHEMA, "--set", "response.instructions=Quick.").code == 0
    assert program.run("once", "prose", "-s", "Be kind.").code == 0
    assert program.run("once", "fits", *_SCHEMA, "-c").code == 0
    assert program.run("once", "prose", "-c").code == 0
    first, second, _, fourth, last = (prompt.instructions for prompt in engine.prompts)
    schema = json.dumps(_PERSON, separators=(",", ":"))
    for instructions, start in ((first, "Be brief.\n\n"), (second, "Quick.\n\n")):
        assert instructions.startswith(start)
        assert instructions.endswith(schema)
    assert fourth.startswith("Be kind.\n\n")
    assert fourth.endswith(schema)
    assert last == "Be kind."


def test_one_correction_is_asked_for_in_the_same_session(
    program: Program, engine: _Recorder
) -> None:
    ran = program.run("once", "almost", *_SCHEMA, "--json")
    assert ran.code == 0, ran.err
    first, second = engine.prompts
    assert [*second.items[:1]] == [*first.items]
    assert [item.text for item in second.items if isinstance(item, Message)][1] == '{"name": "Ada"}'
    assert "'age' is a required property" in second.question
    data = json.loads(ran.text)
    assert (data["parsed"], json.loads(data["text"]), data["error"]) == (_ADA, _ADA, None)
    assert data["usage"]["total_tokens"] > 10
    assert "asking for a correction" in ran.err
    assert program.run("history", "list", "--json").text.count('"turns":2') == 1


# ------------------------------------------------------------------------- a value that never fits


def test_a_reply_that_never_fits(program: Program, engine: _Recorder) -> None:
    assert program.run("once", "almost", *_SCHEMA).code == 0  # uses up the good correction
    ran = program.run("once", "almost", *_SCHEMA)
    assert (ran.code, ran.text) == (1, "")
    assert ran.error.startswith("rtchat: the reply does not fit the JSON schema (it is not JSON")
    assert ran.hint
    assert ran.err.endswith("\nSorry.\n")
    assert len(engine.prompts) == 4
    ran = program.run("once", "almost", *_SCHEMA, "--json")
    data = json.loads(ran.text)
    assert (ran.code, data["parsed"], data["status"]) == (1, None, "failed")
    assert (data["reason"], data["error"]["code"]) == ("schema_mismatch", "schema_mismatch")
    assert data["text"] == "Sorry."


@pytest.mark.parametrize(("question", "code"), [("broken", 1), ("limit", 1), ("quota", 5)])
@pytest.mark.parametrize("options", [_SCHEMA, ("-x",)])
def test_an_incomplete_reply_is_not_printed(
    program: Program, question: str, code: int, options: tuple[str, ...]
) -> None:
    ran = program.run("once", question, *options)
    assert (ran.code, ran.text) == (code, "")
    assert ran.error
    ran = program.run("once", question, *options, "--json")
    data = json.loads(ran.text)
    assert (ran.code, data["parsed"], data["extracted"]) == (code, None, None)
    assert data["status"] != "completed"


@pytest.mark.parametrize("options", [_SCHEMA, ("-x",)])
def test_an_interrupted_reply_is_not_printed(
    program: Program, engine: _Recorder, options: tuple[str, ...]
) -> None:
    with program.start("once", "forever", "--no-stdin", *options) as process:
        assert engine.was_asked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_value_that_cannot_be_written_is_an_error(program: Program, gone: int) -> None:
    for options in (_SCHEMA, ("-x",)):
        question = "fits" if options == _SCHEMA else "code"
        with open("/dev/full", "wb") as full:
            assert program.run("once", question, *options, stdout=full).code == 6
        assert program.run("once", question, *options, stdout=gone).code == 141


def test_a_server_that_cannot_be_reached(program: Program) -> None:
    ran = program.run("once", "hi", *_SCHEMA, "--url", "ws://127.0.0.1:9/v1", "--json")
    assert ran.code == 4
    assert json.loads(ran.text)["error"]["message"] in ran.err


# --------------------------------------------------------------------------------------- the check


def _schema(folder: Path, schema: object) -> OutputSchema:
    file = folder / "schema.json"
    file.write_text(json.dumps(schema))
    return OutputSchema(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        (" [1, 2.50]\n", [1, 2.5]),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("```\n[]\n```", []),
        ("<think>\n```json\n1\n```\n</think>\n\n2", 2),
        ("<think>\n3\n</think>\n\n```json\n1\n```", 1),
        ("~~~JSON\nnull\n~~~", None),
        ("```json\n1\n```\n```python\n2\n```", 1),
        ('"\\ud800\\u202e"', "\ud800\u202e"),
    ],
)
def test_what_is_printed_is_what_was_checked(tmp_path: Path, text: str, value: object) -> None:
    checked = _schema(tmp_path, True)(text)
    assert checked.problem is None
    assert json.loads(checked.output) == checked.fields["parsed"] == value
    assert checked.output.encode().isascii() or checked.output.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        *("", "yes", "NaN", "[Infinity]", "1e999", "{'a': 1}", '{"a": 1} {"b": 2}', "9" * 5000),
        "[" * 100_000,
        "```python\n[1\n```",
    ],
)
def test_what_is_not_json(tmp_path: Path, text: str) -> None:
    checked = _schema(tmp_path, True)(text)
    assert checked.problem is not None
    assert "not JSON" in checked.problem.message
    assert "not JSON" in checked.correction
    assert len(checked.problem.message) < 1000


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "format": "date"}, '"soon"'),
        ({"$defs": {"a": {"type": "array"}}, "$ref": "#/$defs/a"}, "1"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1}, "0"),
        ({"type": "array", "items": {"$ref": "#"}}, "[" * 300 + "]" * 300),
        ({"items": {"type": "integer"}}, json.dumps(["x" * 10_000] * 100)),
    ],
)
def test_what_does_not_fit(tmp_path: Path, schema: object, text: str) -> None:
    checked = _schema(tmp_path, schema)(text)
    assert checked.problem is not None
    assert checked.problem.code == "schema_mismatch"
    assert len(checked.correction) < 5000


def test_a_schema_is_never_loaded_from_elsewhere(tmp_path: Path) -> None:
    for reference in ("http://127.0.0.1:9/schema.json", "other.json", "#/$defs/none"):
        with pytest.raises(UsageError, match="refers to"):
            _schema(tmp_path, {"$ref": reference})("1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON schema"),
        ("3", "is not a JSON schema"),
        ('{"type": "thing"}', "is not a JSON schema ($.type"),
        ('{"pattern": "("}', "is not a JSON schema"),
        (None, "file not found"),
    ],
)
def test_a_schema_that_cannot_be_used(program: Program, text: str | None, words: str) -> None:
    file = program.home / "s.json"
    if text is not None:
        file.write_text(text)
    ran = program.run("once", "fits", "--output-schema", "s.json")
    assert (ran.code, ran.text) == (2, "")
    assert words in ran.error


def test_the_library_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(UsageError) as caught:
        _schema(tmp_path, True)
    assert "schema" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["once", "hi", *_SCHEMA, "-x"], "--output-schema and --extract"),
        (["once", "hi", *_SCHEMA, "--extract-lang", "py"], "--output-schema and --extract"),
        (["once", "hi", *_SCHEMA, "--events"], "--events"),
        (["once", "hi", "-x", "--events"], "--events"),
    ],
)
def test_what_cannot_be_combined(program: Program, arguments: list[str], words: str) -> None:
    ran = program.run(*arguments)
    assert (ran.code, ran.text) == (2, "")
    assert words in ran.error


# ------------------------------------------------------------------------------------- code blocks


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("-x",), "ls\n"),
        (("--extract-lang", "py"), "print(1)\n"),
        (("--extract-lang", "Python"), "print(1)\n"),
        (("-x", "--extract-lang", "bash"), "ls\n"),
        (("--extract", "--plain", "-q"), "ls\n"),
    ],
)
def test_stdout_has_the_block_alone(program: Program, options: tuple[str, ...], text: str) -> None:
    ran = program.run("once", "code", *options)
    assert (ran.code, ran.text) == (0, text), ran.err


def test_a_pipe_receives_a_block_byte_for_byte(program: Program) -> None:
    assert program.run("once", "odd", "-x").text == "\x1b[31mred\n"


def test_no_such_block(program: Program) -> None:
    for options, words in ((("-x",), "no code block"), (("--extract-lang", "rust"), "in rust")):
        ran = program.run("once", "something", *options)
        assert (ran.code, ran.text) == (1, "")
        assert words in ran.error
        assert ran.err.endswith("\nNo code.\n")
        data = json.loads(program.run("once", "something", *options, "--json").text)
        assert (data["extracted"], data["error"]["code"]) == (None, "no_code_block")
        assert data["text"] == "No code."
    data = json.loads(program.run("once", "code", "-x", "--json").text)
    assert (data["extracted"], data["error"]) == ("ls\n", None)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", []),
        ("text `code` text", []),
        ("    indented\n", [("", "indented\n")]),
        ("```Python title=x\na\n```", [("python", "a\n", "x")]),
        ("~~~\n```\ninner\n```\n~~~\n", [("", "```\ninner\n```\n")]),
        ("- a\n\n  ```sh\n  ls\n  ```\n", [("sh", "ls\n")]),
        ("```js\nopen", [("js", "open\n")]),
    ],
)
def test_the_blocks_of_a_text(text: str, blocks: list[tuple[str, ...]]) -> None:
    assert code_blocks(text) == [CodeBlock(*block) for block in blocks]


def test_the_last_block_of_a_language() -> None:
    text = "```py\n1\n```\n```\n2\n```\n```made-up\n3\n```\n"
    assert last_block(text) == CodeBlock("made-up", "3\n")
    assert last_block(text, "PYTHON3") == CodeBlock("py", "1\n")
    assert last_block(text, "made-up") == CodeBlock("made-up", "3\n")
    assert last_block(text, "unknown") is None


# ------------------------------------------------------------------------------------- the view


def _shown(*updates: QuestionAsked | TextArrived | ToolBegan | ReplyOver) -> tuple[str, str]:
    out, err = BytesIO(), StringIO()
    view = CheckedView(CodeExtraction(""), out, StatusWriter(err), None, raw=False)
    for update in updates:
        view.show(update)
    return out.getvalue().decode(), err.getvalue()


_CODE = "```\nx\x1b\n```"


def test_a_terminal_receives_a_block_without_control_characters() -> None:
    over = ReplyOver(Status.COMPLETED, _CODE, "m")
    assert _shown(QuestionAsked("q", "m"), TextArrived(_CODE), over)[0] == "x\u241b\n"


def test_only_the_text_after_the_last_call_counts() -> None:
    call = ToolBegan(ToolCall("now", "c", "{}"))
    over = ReplyOver(Status.COMPLETED, f"{_CODE}\n\nDone.", "m")
    out, err = _shown(TextArrived(_CODE), call, TextArrived("\n\nDone."), over)
    assert out == ""
    assert "no code block" in err


def test_the_thoughts_of_the_model_are_not_checked() -> None:
    thought = f"<think>\n{_CODE}\n</think>\n\n"
    for text, words in ((thought + "Done.", "no code block"), (f"{thought}```\nyes\n```", "")):
        out, err = _shown(TextArrived(text), ReplyOver(Status.COMPLETED, text, "m"))
        assert out == ("" if words else "yes\n")
        assert words in err


def test_only_the_final_answer_counts() -> None:
    def message(text: str, phase: Phase) -> Message:
        return Message("assistant", (Part("text", text),), phase=phase)

    messages = (message("```\nno\n```", "commentary"), message("```\nyes\n```", "final_answer"))
    text = "\n\n".join(each.text for each in reversed(messages))
    over = ReplyOver(Status.COMPLETED, text, "m", messages=messages)
    assert _shown(TextArrived(text), over)[0] == "yes\n"


# ------------------------------------------------------------------------------------- templates


def test_a_template_can_ask_for_a_value(program: Program) -> None:
    folder = program.home / ".config" / "rtchat" / "prompts"
    folder.mkdir(parents=True)
    (folder / "person.toml").write_text("text = 'fits'\noutput_schema = 'person.json'")
    (folder / "person.json").write_text(json.dumps(_PERSON))
    (folder / "code.toml").write_text("text = 'code'\nextract_lang = 'py'")
    (program.home / "person.json").unlink()
    assert json.loads(program.run("once", "-t", "person").text) == _ADA
    assert program.run("once", "-t", "code").text == "print(1)\n"
    ran = program.run("talk", "-t", "code", stdin=b"hi\n")
    assert (ran.code, ran.text) == (2, "")
    assert "rtchat once" in ran.hint
