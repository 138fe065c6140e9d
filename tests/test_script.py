"""Engines without a model: the script file and its answers."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path

import pytest

from rtchat.core.errors import UsageError
from rtchat.core.events import ServerProblem
from rtchat.core.values import Item, Message, OtherItem, Part, Status, ToolCall, ToolOutput, Usage
from rtchat.server import script
from rtchat.server.engine import Answer, CallPiece, CloseConnection, Finish, ModelInput, OutputPiece
from rtchat.server.factory import voice_of
from rtchat.server.local_voice import LocalVoice, missing
from rtchat.server.script import EchoEngine, Rule, Script, ScriptEngine, load_script, read_script
from rtchat.server.tone_voice import ToneVoice
from rtchat.wire.validators import FieldError
from tests.sounds import tone, transcript_of


def prompt(text: str, *, limit: int | None = None) -> ModelInput:
    return ModelInput("Be brief.", (Message("user", (Part("text", text),)),), limit)


def answers(
    engine: ScriptEngine | EchoEngine, asked: ModelInput
) -> list[OutputPiece] | ServerProblem:
    answer = engine.answer(asked)
    if isinstance(answer, ServerProblem):
        return answer

    async def collect() -> list[OutputPiece]:
        return [piece async for piece in answer]

    return asyncio.run(collect())


def engine(*rules: Rule) -> ScriptEngine:
    return ScriptEngine(Script(rules))


def test_echo_repeats_the_message_in_pieces() -> None:
    assert answers(EchoEngine(), prompt("hello there, friend")) == [
        "hello th",
        "ere, fri",
        "end",
        Finish(usage=Usage(input=5, output=3, total=8)),
    ]


def test_a_token_limit_ends_the_response_early() -> None:
    assert answers(EchoEngine(), prompt("hello there, friend", limit=2)) == [
        "hello th",
        "ere, fri",
        Finish(Status.INCOMPLETE, "max_output_tokens", usage=Usage(input=5, output=2, total=7)),
    ]


def test_the_first_matching_rule_answers_the_last_message() -> None:
    scripted = engine(
        Rule(regex="^weather in (.+)$", deltas=("sunny",)),
        Rule(match="WEATHER", deltas=("where?",)),
        Rule(deltas=("what?",)),
    )
    results = [answers(scripted, prompt(text)) for text in ("weather in Oslo", "Weather", "hi")]
    assert [pieces[0] for pieces in results if isinstance(pieces, list)] == [
        "sunny",
        "where?",
        "what?",
    ]


def test_the_use_of_a_rule_can_be_limited() -> None:
    scripted = engine(Rule(times=2, deltas=("a",)), Rule(times=0, deltas=("b",)))
    ends = [answers(scripted, prompt("hi")) for _ in range(3)]
    assert [pieces[0] for pieces in ends if isinstance(pieces, list)] == [
        "a",
        "a",
        Finish(
            Status.FAILED,
            code="no_rule",
            message="No rule of the script matches 'hi'.",
            usage=Usage(input=3, total=3),
        ),
    ]


def test_the_delay_applies_before_each_delta() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    rules = (Rule(deltas=("a", "b"), delay=0.5),)
    answers(ScriptEngine(Script(rules), sleep=sleep), prompt("hi"))
    assert waited == [0.5, 0.5]


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (
            Finish(Status.FAILED, code="c", message="m"),
            Finish(Status.FAILED, code="c", message="m", usage=Usage(1, 0, 1, 2)),
        ),
        (CloseConnection(1001, "bye"), CloseConnection(1001, "bye")),
    ],
)
def test_a_rule_sets_the_end_of_the_response(
    end: Finish | CloseConnection, last: OutputPiece
) -> None:
    rule = Rule(deltas=("a",), usage=Usage(1, 0, 1, 2), end=end)
    assert answers(engine(rule), prompt("hi")) == ["a", last]


def test_a_rule_may_return_an_error() -> None:
    problem = ServerProblem("No.", "server_error", "c")
    assert answers(engine(Rule(end=problem)), prompt("hi")) == problem


def test_connections_use_the_connect_entries_in_order() -> None:
    scripted = ScriptEngine(Script(connects=(CloseConnection(1013), CloseConnection(1001))))
    assert [scripted.on_connect() for _ in range(3)] == [
        CloseConnection(1013),
        CloseConnection(1001),
        None,
    ]


def test_every_kind_of_item_counts_as_input() -> None:
    items: tuple[Item, ...] = (
        Message("user", (Part("text", "a b"),)),
        ToolCall("f", "c", "{} {}"),
        ToolOutput("c", "d e f"),
        OtherItem("x"),
    )
    pieces = answers(engine(Rule(deltas=("y",))), ModelInput("", items))
    assert pieces == ["y", Finish(usage=Usage(input=7, output=1, total=8))]


def after(*outputs: str) -> ModelInput:
    """A prompt that ends with these tool outputs."""
    asked = Message("user", (Part("text", "Weather?"),))
    calls = tuple(ToolCall("f", f"c{number}", "{}") for number, _ in enumerate(outputs))
    given = tuple(ToolOutput(f"c{number}", output) for number, output in enumerate(outputs))
    return ModelInput("", (asked, *calls, *given))


def test_tool_outputs_are_answered_by_output_rules_only() -> None:
    scripted = engine(
        Rule(match="weather", deltas=("a call",)),
        Rule(match_output="SUNNY", deltas=("good",)),
        Rule(match="time", match_output="", deltas=("what time?",)),
        Rule(match_output="", deltas=("whatever",)),
    )
    asked = (prompt("Weather?"), after("12", "sunny, 21"), after("12", "rain"), after(""))
    results = [answers(scripted, one) for one in asked]
    assert [pieces[0] for pieces in results if isinstance(pieces, list)] == [
        "a call",
        "good",
        "whatever",
        "whatever",
    ]


def test_an_output_without_a_matching_rule_fails_the_response() -> None:
    assert answers(engine(Rule(deltas=("hi",))), after("21")) == [
        Finish(
            Status.FAILED,
            code="no_rule",
            message="No rule of the script matches '21'.",
            usage=Usage(input=3, total=3),
        )
    ]


def test_a_rule_calls_tools_after_its_text_within_the_limit() -> None:
    calls = (CallPiece(0, '{"a"', "f"), CallPiece(0, ":1}"), CallPiece(1, "{}", "g"))
    scripted = engine(Rule(deltas=("Well,",), calls=calls))
    assert answers(scripted, prompt("hi")) == [
        "Well,",
        *calls,
        Finish(usage=Usage(input=3, output=4, total=7)),
    ]
    assert answers(scripted, prompt("hi", limit=2)) == [
        "Well,",
        calls[0],
        Finish(Status.INCOMPLETE, "max_output_tokens", usage=Usage(input=3, output=2, total=5)),
    ]


# ----------------------------------------------------------------------------------------- reading

WHOLE = """
model = "scripted"
heard = ["Hello.", "More."]
[[connect]]
close = {code = 1013, reason = "busy", error = {code = "server_busy", message = "Busy."}}
[[rule]]
match = "weather"
times = 1
text = "Sunny, 21 degrees."
chunk = 7
delay = 0.05
usage = {input = 12, cached = 4, output = 5}
[[rule]]
regex = "^a"
deltas = ["x", "", "y"]
fail = {code = "rate_limit_exceeded", message = "Please try again in 2.5s."}
[[rule]]
match_output = "21"
tool_calls = [{name = "f", arguments = {n = 1}}, {name = "g", arguments = ""}]
chunk = 5
[[rule]]
incomplete = "content_filter"
[[rule]]
close = {code = 1006}
[[rule]]
stall = true
[[rule]]
error = {code = "c", message = "m", type = "t", param = "p"}
"""


def test_all_fields_of_a_script_are_read(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(WHOLE, encoding="utf-8")
    assert load_script(path) == Script(
        (
            Rule(
                "weather",
                times=1,
                deltas=("Sunny, ", "21 degr", "ees."),
                delay=0.05,
                usage=Usage(12, 4, 5, 17),
            ),
            Rule(
                regex="^a",
                deltas=("x", "", "y"),
                end=Finish(
                    Status.FAILED,
                    code="rate_limit_exceeded",
                    message="Please try again in 2.5s.",
                ),
            ),
            Rule(
                match_output="21",
                calls=(CallPiece(0, '{"n":', "f"), CallPiece(0, " 1}"), CallPiece(1, "", "g")),
            ),
            Rule(end=Finish(Status.INCOMPLETE, "content_filter")),
            Rule(end=CloseConnection(1006)),
            Rule(end=None),
            Rule(end=ServerProblem("m", "t", "c", "p")),
        ),
        (CloseConnection(1013, "busy", ServerProblem("Busy.", "server_error", "server_busy")),),
        "scripted",
        ("Hello.", "More."),
    )


def test_a_script_can_be_json(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"rule": [{"text": "hi"}]}), encoding="utf-8")
    assert load_script(path) == Script((Rule(deltas=("hi",)),))


def test_each_line_of_the_documented_example_is_valid() -> None:
    lines = [line.strip() for line in str(script.__doc__).splitlines() if " = " in line]
    assert len(lines) > 12
    for line in lines:
        is_of_the_file = line.startswith(("model", "heard"))
        read = read_script(tomllib.loads(line if is_of_the_file else f"[[rule]]\n{line}"))
        assert len(read.rules) == (not is_of_the_file)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ([], "the script"),
        ({"rules": []}, "rules"),
        ({"rule": [{"txt": "a"}]}, "rule[0].txt"),
        ({"rule": [{}, {"text": 5}]}, "rule[1].text"),
        ({"rule": [{"regex": "("}]}, "rule[0]"),
        ({"rule": [{"text": "a", "deltas": ["a"]}]}, "rule[0]"),
        ({"rule": [{"stall": True, "incomplete": "x"}]}, "rule[0]"),
        ({"rule": [{"text": "a", "error": {"code": "c", "message": "m"}}]}, "rule[0]"),
        ({"rule": [{"tool_calls": [{"name": "f"}]}]}, "rule[0].tool_calls[0].arguments"),
        (
            {"rule": [{"tool_calls": [], "error": {"code": "c", "message": "m"}}]},
            "rule[0]",
        ),
        ({"rule": [{"close": {"code": 5}}]}, "rule[0].close.code"),
        ({"connect": [{}]}, "connect[0].close"),
        ({"heard": ["a", 5]}, "heard[1]"),
    ],
)
def test_an_invalid_script_is_refused_with_the_field(data: object, param: str) -> None:
    with pytest.raises(FieldError) as caught:
        read_script(data)
    assert caught.value.param == param
    assert param in str(caught.value)


@pytest.mark.parametrize(
    ("name", "contents", "why"),
    [
        ("a.toml", b"rule = [", "Invalid value"),
        ("a.json", b"{", "Expecting property name"),
        ("a.toml", b"\xff", "can't decode"),
        ("a.toml", b"colour = 1", "Unknown parameter: 'colour'"),
        ("a.toml", None, "No such file"),
    ],
)
def test_an_invalid_script_file_is_a_usage_error(
    tmp_path: Path, name: str, contents: bytes | None, why: str
) -> None:
    path = tmp_path / name
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(UsageError) as caught:
        load_script(path)
    assert str(path) in caught.value.message
    assert why in caught.value.message
    assert caught.value.hint


def test_engines_without_a_model_use_the_tone_voice() -> None:
    async def main() -> list[str]:
        voice = voice_of(ScriptEngine(Script(heard=("one",))))
        assert isinstance(voice, ToneVoice)
        speech = tone(440, 0.1)
        return [await transcript_of(voice, audio) for audio in (bytes(4800), speech, speech)]

    assert asyncio.run(main()) == ["", "one", ""]
    assert isinstance(voice_of(EchoEngine()), ToneVoice)


class ModelEngine:
    """An engine with a model."""

    model = "m"
    instructions = ""

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def on_connect(self) -> CloseConnection | None:
        return None

    async def answer(self, prompt: ModelInput) -> Answer:
        yield Finish()


def test_other_engines_use_the_local_voice_or_say_how_to_install_it() -> None:
    voice, absent = voice_of(ModelEngine()), missing()
    if not absent:
        assert isinstance(voice, LocalVoice)
    else:
        assert isinstance(voice, str)
        assert all(name in voice for name in absent)
        assert "rtchat[voice-local]" in voice
