"""Every option of a session and of a reply: from the command line, the config file and /set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from openai.types.realtime.realtime_audio_config_output import Voice

from rtchat.config.resolve import resolve
from rtchat.config.settings import Settings
from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.dotted_keys import described, flat, has, merged, nested, without
from rtchat.core.effects import (
    AddItem,
    ClearTimer,
    Command,
    Configure,
    Connect,
    Connecting,
    CreateResponse,
    Notice,
    QuestionAsked,
    Raw,
    ReplyOver,
    Send,
    SetTimer,
    Show,
    Timing,
)
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import (
    ConnectionOpened,
    LocalEvent,
    LocalNotice,
    NewConversationAsked,
    OptionsAsked,
    OptionSet,
    RawSaid,
    ReplyEnded,
    ReplyStarted,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    Started,
    SystemSet,
    Timer,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.values import Dialect, JsonObject, Message, Options, Part, Status
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.slash_commands import parse
from rtchat.wire import ask_for, encode
from rtchat.wire.client_events import decode_command
from rtchat.wire.commands import write_options
from rtchat.wire.options import (
    AT_THE_START,
    RESPONSE_OPTIONS,
    SESSION_OPTIONS,
    VOICES,
    OptionScope,
    change,
    read_value,
    words,
)
from tests.oracle import assert_client_event, response_options, session_options
from tests.playbook import QUIET, Playbook
from tests.program import Program, background, words_of

# ----------------------------------------------------------------------------------- every option

_TOOL = {"type": "function", "name": "now", "parameters": {"type": "object"}}
_MCP = {"type": "mcp", "server_label": "docs", "server_url": "https://a.example"}
_FOR_BOTH: dict[str, tuple[str, JsonObject]] = {
    "output_modalities": ('["audio"]', {"output_modalities": ["audio"]}),
    "tools": (json.dumps([_TOOL, _MCP]), {"tools": [_TOOL, _MCP]}),
    "tool_choice": ("required", {"tool_choice": "required"}),
    "tool_choice.type": (
        '{"type": "function", "name": "now"}',
        {"tool_choice": {"type": "function", "name": "now"}},
    ),
    "tool_choice.name": ("now", {"tool_choice": {"type": "function", "name": "now"}}),
    "tool_choice.server_label": (
        "docs",
        {"tool_choice": {"type": "mcp", "server_label": "docs"}},
    ),
    "parallel_tool_calls": ("false", {"parallel_tool_calls": False}),
    "reasoning.effort": ("xhigh", {"reasoning": {"effort": "xhigh"}}),
    "prompt.id": ("pmpt_1", {"prompt": {"id": "pmpt_1"}}),
    "prompt.version": ('{"id": "p", "version": "2"}', {"prompt": {"id": "p", "version": "2"}}),
    "prompt.variables": (
        '{"id": "p", "variables": {"a": "b"}}',
        {"prompt": {"id": "p", "variables": {"a": "b"}}},
    ),
    "audio.output.format.type": (
        "audio/pcmu",
        {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    ),
    "audio.output.format.rate": (
        '{"type": "audio/pcm", "rate": 24000}',
        {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}},
    ),
    "audio.output.voice": ("marin", {"audio": {"output": {"voice": "marin"}}}),
    "audio.output.voice.id": ("voice_1", {"audio": {"output": {"voice": {"id": "voice_1"}}}}),
}


def _heard(**fields: object) -> JsonObject:
    return {"audio": {"input": {"transcription": fields}}}


def _vad(kind: str, **fields: object) -> JsonObject:
    return {"audio": {"input": {"turn_detection": {"type": kind, **fields}}}}


_VAD = "audio.input.turn_detection"
_RETENTION = {"type": "retention_ratio", "retention_ratio": 0.8}
_LIMITED = {**_RETENTION, "token_limits": {"post_instructions": 1000}}
_SESSION: dict[str, tuple[str, JsonObject]] = {
    **_FOR_BOTH,
    "model": ("gpt-x", {"model": "gpt-x"}),
    "truncation": ("disabled", {"truncation": "disabled"}),
    "truncation.type": (json.dumps(_RETENTION), {"truncation": _RETENTION}),
    "truncation.retention_ratio": ("0.8", {"truncation": _RETENTION}),
    "truncation.token_limits.post_instructions": (json.dumps(_LIMITED), {"truncation": _LIMITED}),
    "tracing": ("auto", {"tracing": "auto"}),
    "tracing.workflow_name": ("w", {"tracing": {"workflow_name": "w"}}),
    "tracing.group_id": ("g", {"tracing": {"group_id": "g"}}),
    "tracing.metadata": ('{"a": 1}', {"tracing": {"metadata": {"a": 1}}}),
    "include": (
        '["item.input_audio_transcription.logprobs"]',
        {"include": ["item.input_audio_transcription.logprobs"]},
    ),
    "audio.input.format.type": (
        "audio/pcma",
        {"audio": {"input": {"format": {"type": "audio/pcma"}}}},
    ),
    "audio.input.format.rate": (
        '{"type": "audio/pcm", "rate": 24000}',
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}},
    ),
    "audio.input.transcription.model": ("gpt-4o-transcribe", _heard(model="gpt-4o-transcribe")),
    "audio.input.transcription.language": ("en", _heard(language="en")),
    "audio.input.transcription.languages": ('["en"]', _heard(languages=["en"])),
    "audio.input.transcription.prompt": ("names", _heard(prompt="names")),
    "audio.input.transcription.keywords": ('["rtchat"]', _heard(keywords=["rtchat"])),
    "audio.input.transcription.delay": ("low", _heard(delay="low")),
    "audio.input.noise_reduction.type": (
        "far_field",
        {"audio": {"input": {"noise_reduction": {"type": "far_field"}}}},
    ),
    "audio.input.noise_reduction.strength": (
        "0.5",
        {"audio": {"input": {"noise_reduction": {"strength": 0.5}}}},
    ),
    f"{_VAD}.type": ("semantic_vad", _vad("semantic_vad")),
    f"{_VAD}.threshold": ("0.4", _vad("server_vad", threshold=0.4)),
    f"{_VAD}.prefix_padding_ms": ("100", _vad("server_vad", prefix_padding_ms=100)),
    f"{_VAD}.silence_duration_ms": ("700", _vad("server_vad", silence_duration_ms=700)),
    f"{_VAD}.idle_timeout_ms": ("5000", _vad("server_vad", idle_timeout_ms=5000)),
    f"{_VAD}.eagerness": ("low", _vad("semantic_vad", eagerness="low")),
    f"{_VAD}.create_response": (
        '{"type": "server_vad", "create_response": false}',
        _vad("server_vad", create_response=False),
    ),
    f"{_VAD}.interrupt_response": (
        '{"type": "server_vad", "interrupt_response": true}',
        _vad("server_vad", interrupt_response=True),
    ),
    "audio.output.speed": ("1.25", {"audio": {"output": {"speed": 1.25}}}),
}
_ITEM = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Hi"}],
}
_RESPONSE: dict[str, tuple[str, JsonObject]] = {
    **_FOR_BOTH,
    "instructions": ("Be brief.", {"instructions": "Be brief."}),
    "max_output_tokens": ("100", {"max_output_tokens": 100}),
    "conversation": ("none", {"conversation": "none"}),
    "input": (json.dumps([_ITEM]), {"input": [_ITEM]}),
    "metadata": ('{"a.b": "c"}', {"metadata": {"a.b": "c"}}),
}
"""What is typed for each option, and what becomes of it. A value that is an object is typed for
what the option is in."""
_NULLS = {
    "tracing": {"tracing": None},
    "audio.input.transcription": {"audio": {"input": {"transcription": None}}},
    "audio.input.noise_reduction": {"audio": {"input": {"noise_reduction": None}}},
    _VAD: {"audio": {"input": {"turn_detection": None}}},
}


def _line(key: str, text: str) -> str:
    """The argument of --set."""
    whole = text.startswith("{") and not key.endswith("metadata")
    parent = "truncation" if key.startswith("truncation") else key.rpartition(".")[0]
    return f"{parent if whole else key}={text}"


def _settled(*lines: str, **options: object) -> Settings:
    return resolve({"set": lines, **options}, {"OPENAI_API_KEY": "sk-x"})


def _configured(settings: Settings, dialect: Dialect = Dialect.GA) -> Mapping[str, object]:
    asked = ask_for("text", settings.system, settings.max_output_tokens, settings.session)
    event = encode(Configure(asked), "e", dialect)
    if dialect is Dialect.GA:
        assert_client_event(event)
    session = event["session"]
    assert isinstance(session, dict)
    return session


def _requested(settings: Settings, dialect: Dialect = Dialect.GA) -> Mapping[str, object]:
    event = encode(
        CreateResponse(Options(None, "text", None, settings.response), is_marked=False),
        "e",
        dialect,
    )
    if dialect is Dialect.GA:
        assert_client_event(event)
    response = event["response"]
    assert isinstance(response, dict)
    return response


def test_every_option_of_the_api_is_known_and_tried() -> None:
    nullable = {key for key in _NULLS if key != "tracing"}
    own = {"type"}
    older = {"temperature"}
    assert set(SESSION_OPTIONS) == session_options() - own | nullable | older
    assert set(RESPONSE_OPTIONS) == response_options() | older
    assert set(_SESSION) == set(SESSION_OPTIONS) - set(AT_THE_START) - nullable - older
    assert set(_RESPONSE) == set(RESPONSE_OPTIONS) - older


@pytest.mark.parametrize("key", _SESSION)
def test_an_option_of_the_session(key: str, tmp_path: Path) -> None:
    text, fields = _SESSION[key]
    settings = _settled(_line(key, text))
    expected = {"type": "realtime", "output_modalities": ["text"], **fields}
    assert _configured(settings) == expected
    assert (settings.response, settings.origins["session"]) == ({}, "--set")
    assert has(settings.session, key)
    config = tmp_path / "config.toml"
    config.write_text("\n".join(("[session]", *_toml(fields))))
    assert resolve({}, {"OPENAI_API_KEY": "x"}, config=config).session == fields


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("reasoning.effort", effort)
            for effort in ("none", "minimal", "medium", "high", "xhigh")
        ),
        *(("conversation", id) for id in ("auto", "none", "conv_1", "mine", "")),
        *(("max_output_tokens", limit) for limit in (1, 4096, 32_000, 200_000, "inf")),
    ],
)
def test_all_values_of_an_option(key: str, value: object) -> None:
    """Also those that the types of the official package lack."""
    settings = _settled(f"response.{key}={json.dumps(value)}")
    asked = CreateResponse(Options(other=settings.response), is_marked=False)
    for dialect in (Dialect.GA, Dialect.BETA):
        read = decode_command(encode(asked, "e", dialect), dialect)
        assert isinstance(read, CreateResponse)
        assert write_options(read.options) == nested(key, value)


def _toml(fields: JsonObject) -> Iterator[str]:
    """A line for each value; JSON of these is TOML, too, but for objects."""
    for key, value in flat(fields):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{key} = [{', '.join(map(_inline, value))}]"
        else:
            yield f"{key} = {json.dumps(value)}"


def _inline(table: Mapping[str, object]) -> str:
    return f"{{{', '.join(_toml(table))}}}"


@pytest.mark.parametrize("key", _RESPONSE)
def test_an_option_of_every_reply(key: str) -> None:
    text, fields = _RESPONSE[key]
    settings = _settled(_line(f"response.{key}", text))
    assert _requested(settings) == {"output_modalities": ["text"], **fields}
    assert settings.session == {}


@pytest.mark.parametrize(
    ("scope", "options"), [("session", SESSION_OPTIONS), ("response", RESPONSE_OPTIONS)]
)
def test_the_words_of_an_option_are_valid_and_in_its_help(
    scope: OptionScope, options: Mapping[str, str]
) -> None:
    for key, text in options.items():
        for word in words(scope, key):
            assert change(scope, key, read_value(word))
            assert (
                word in text
                or key in ("audio.output.voice", "include", "metadata")
                or (word == "null")
            )
    assert any(words(scope, key) for key in options)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("reasoning.effort", ("none", "minimal", "low", "medium", "high", "xhigh")),
        ("audio.input.turn_detection.create_response", ("true", "false")),
        ("audio.input.turn_detection.eagerness", ("low", "medium", "high", "auto")),
        ("audio.input.turn_detection", ("null",)),
        ("tracing", ("auto", "null")),
        ("prompt.id", ()),
        ("prompt.version", ()),
        ("audio.output.speed", ()),
        ("temperature", ()),
        ("no_such_option", ()),
        ("a..b", ()),
        ("", ()),
    ],
)
def test_the_words_of_an_option(key: str, expected: tuple[str, ...]) -> None:
    assert words("session", key) == expected


def test_the_voices_are_those_of_the_api() -> None:
    (voices,) = (kind for kind in get_args(Voice) if get_origin(kind) is Literal)
    assert set(words("session", "audio.output.voice")) == set(get_args(voices))


@pytest.mark.parametrize("key", _NULLS)
def test_what_can_be_nothing(key: str) -> None:
    """Null undoes these, says the reference; the official types have it for some only."""
    assert _settled(f"{key}=null").session == _NULLS[key]


def test_options_are_put_together() -> None:
    lines = (
        "audio.output.voice=ash",
        "audio.output.voice=marin",
        "audio.output.speed = 1.1",
        f"{_VAD}.threshold=0.4",
        f"{_VAD}.silence_duration_ms=300",
        "truncation.retention_ratio=0.8",
        "truncation=disabled",
        "response.metadata.topic=a=b",
        'response.metadata.n="1"',
    )
    settings = _settled(*lines, system="Be brief.", max_output_tokens="5", reasoning="low")
    assert _configured(settings) == {
        "type": "realtime",
        "output_modalities": ["text"],
        "instructions": "Be brief.",
        "max_output_tokens": 5,
        "truncation": "disabled",
        "reasoning": {"effort": "low"},
        "audio": {
            "input": {
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.4,
                    "silence_duration_ms": 300,
                }
            },
            "output": {"voice": "marin", "speed": 1.1},
        },
    }
    metadata = {"topic": "a=b", "n": "1"}
    assert _requested(settings) == {"output_modalities": ["text"], "metadata": metadata}


def test_another_type_takes_the_place_of_an_object() -> None:
    lines = (f"{_VAD}.threshold=0.4", f"{_VAD}.eagerness=low")
    assert _settled(*lines).session == _vad("semantic_vad", eagerness="low")


# ---------------------------------------------------------------------------------------- dialects

_SPOKEN = (
    "audio.output.voice=ash",
    "audio.output.speed=1.1",
    "audio.output.format.type=audio/pcm",
    f"{_VAD}.threshold=0.4",
    "audio.input.transcription.model=whisper-1",
    f"tools={json.dumps([_TOOL])}",
    "temperature=0.7",
    "response.audio.output.voice=ash",
    "response.temperature=0.8",
    'response.input=[{"type": "message", "role": "assistant",'
    ' "content": [{"type": "output_text", "text": "Hi"}]}]',
)
_NESTED = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}


def _beta(**more: object) -> JsonObject:
    return {
        "modalities": ["text"],
        "max_response_output_tokens": 5,
        "temperature": 0.7,
        "voice": "ash",
        "speed": 1.1,
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {"type": "server_vad", "threshold": 0.4},
        "output_audio_format": "pcm16",
        "tools": [_TOOL],
        **more,
    }


@pytest.mark.parametrize(
    ("dialect", "session", "part"),
    [
        (Dialect.BETA, _beta(), "text"),
        (Dialect.QWEN, _beta(output_audio_format="pcm", tools=[_NESTED]), "text"),
        (
            Dialect.XAI,
            {
                "modalities": ["text"],
                "max_output_tokens": 5,
                "temperature": 0.7,
                "voice": "ash",
                "turn_detection": {"type": "server_vad", "threshold": 0.4},
                "audio": {
                    "input": {"transcription": {"model": "whisper-1"}},
                    "output": {"speed": 1.1, "format": {"type": "audio/pcm"}},
                },
                "tools": [_TOOL],
            },
            "output_text",
        ),
    ],
)
def test_an_older_dialect_has_its_own_names(
    dialect: Dialect, session: JsonObject, part: str
) -> None:
    settings = _settled(*_SPOKEN, max_output_tokens=5)
    assert _configured(settings, dialect) == session
    content = [{"type": part, "text": "Hi"}]
    assert _requested(settings, dialect) == {
        "modalities": ["text"],
        "voice": "ash",
        "temperature": 0.8,
        "input": [{"type": "message", "role": "assistant", "content": content}],
    }


@pytest.mark.parametrize(
    ("dialect", "part"), [(Dialect.QWEN, "text"), (Dialect.XAI, "output_text")]
)
def test_what_a_vendor_s_dialect_makes_of_an_item(dialect: Dialect, part: str) -> None:
    event = encode(AddItem(Message("assistant", (Part("text", "Hi"),))), "e", dialect)
    item = {"type": "message", "role": "assistant", "content": [{"type": part, "text": "Hi"}]}
    assert event == {"event_id": "e", "type": "conversation.item.create", "item": item}


@pytest.mark.parametrize("tool", [_MCP, _NESTED, 5])
def test_a_tool_that_is_no_function_or_nested_already(tool: object) -> None:
    session = encode(Configure(Options(other={"tools": [tool]})), "e", Dialect.QWEN)["session"]
    assert session == {"tools": [tool]}
    session = encode(Configure(Options(other={"tools": tool})), "e", Dialect.QWEN)["session"]
    assert session == {"tools": tool}


# --------------------------------------------------------------------------------- what cannot work


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("reasonin.effort=low", ("reasonin.effort", "reasoning.effort")),
        ("zzz=1", ("unknown option zzz", "rtchat config options")),
        ("response.metdata.x=1", ("response.metdata.x", "response.metadata")),
        ("reasoning.effort=hgih", ("reasoning.effort", "'hgih'", "'minimal', 'low', 'medium'")),
        ("audio.output.speed=3", ("'audio.output.speed'", "0.25 to 1.5", "3")),
        ("audio.output.speed=fast", ("'audio.output.speed'", "a decimal", "a string")),
        ("temperature=5", ("'temperature'", "0.0 to 2.0", "5")),
        (
            f"response.metadata={json.dumps(dict.fromkeys(map(str, range(17)), ''))}",
            ("'response.metadata'", "16", "17"),
        ),
        (
            f"response.metadata.{'k' * 65}=v",
            (f"'response.metadata.{'k' * 65}'", "length 64", "length 65"),
        ),
        (
            f"response.metadata.k={'v' * 513}",
            ("'response.metadata.k'", "length 512", "length 513"),
        ),
        ("instructions=x", ("instructions", "use --system")),
        ("max_output_tokens=5", ("max_output_tokens", "use --max-output-tokens")),
        ("type=x", ("type", "rtchat transcribe")),
        ("tracing", ("tracing", "--set KEY=VALUE")),
        ("=x", ("--set KEY=VALUE",)),
        ("a..b=x", ("'a..b'",)),
        ("prompt.version=2x", ("missing required parameter: 'prompt.id'",)),
    ],
)
def test_an_invalid_option(line: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        _settled(line)
    message = words_of(caught.value)
    assert "--set" in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[session]\nreasoning.effort = "hgih"',
            "line 2: invalid option reasoning.effort (inv",
        ),
        (
            '[session.reasoning]\neffort = "hgih"',
            "line 1: invalid option reasoning.effort (inv",
        ),
        ('[session]\n\ninclude = ["x"]\n', "line 3: invalid option include[0] (invalid value"),
        (
            "[session]\nx = 1",
            "line 2: unknown option x in session\nhint: run `rtchat",
        ),
        (
            "[response]\nx = 1",
            "line 2: unknown option response.x in response\nhint: run",
        ),
        (
            "[profiles.p]\n[profiles.p.session]\nx = 1",
            "line 3: unknown option x in session\nhint: run `rtc",
        ),
        ("session = 5", "line 1: invalid value for session (expected a table)"),
        (
            '[session]\ninstructions = "x"',
            "line 2: the option instructions cannot be set in session\nhint: use --system",
        ),
    ],
)
def test_a_config_file_names_the_line(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve({}, {"OPENAI_API_KEY": "x"}, config=config)
    assert words_of(caught.value).startswith(f"{config} {words}")


def test_a_config_file_with_a_part_of_an_option(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[session]\nprompt.version = "2"')
    with pytest.raises(UsageError) as caught:
        resolve({}, {"OPENAI_API_KEY": "x"}, config=config)
    assert "missing required parameter: 'prompt.id'" in caught.value.message
    assert caught.value.message.endswith(f" in {config} line 1")


def test_a_profile_is_laid_over_the_file_and_an_option_over_both(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[session]\naudio.output = {voice = "ash", speed = 1.1}\ntracing = "auto"\n'
        '[response.metadata]\na = "1"\n'
        '[profiles.p.session]\naudio.output.voice = "marin"\nreasoning.effort = "low"\n'
    )
    options = {"profile": "p", "set": ["audio.output.speed=1.2"], "reasoning": "high"}
    settings = resolve(options, {"OPENAI_API_KEY": "x"}, config=config)
    assert settings.session == {
        "audio": {"output": {"voice": "marin", "speed": 1.2}},
        "tracing": "auto",
        "reasoning": {"effort": "high"},
    }
    assert settings.response == {"metadata": {"a": "1"}}
    place = f"{config} line 1, profile p in {config} line 6"
    assert settings.origins["session"] == f"{place}, --set"


# -------------------------------------------------------------------------------------------- /set


def _set(key: str, change: JsonObject | None = None) -> OptionSet:
    return OptionSet("session", key, change)


_LIMIT = "truncation.token_limits.post_instructions"
_LINES: list[tuple[str, LocalEvent]] = [
    ("/set", OptionsAsked()),
    ("/set reasoning.effort low", _set("reasoning.effort", {"reasoning": {"effort": "low"}})),
    ("/set max_output_tokens  inf ", _set("max_output_tokens", {"max_output_tokens": "inf"})),
    (
        f"/set {_LIMIT} 9",
        _set(
            _LIMIT,
            {"truncation": {"type": "retention_ratio", "token_limits": {"post_instructions": 9}}},
        ),
    ),
    (
        "/set response.metadata.a b c",
        OptionSet("response", "metadata.a", {"metadata": {"a": "b c"}}),
    ),
    ("/set tracing", _set("tracing")),
    ("/set tracing=auto", _set("tracing", {"tracing": "auto"})),
    ("/set\ttracing =\nnull", _set("tracing", {"tracing": None})),
    ("/set response.metadata.a", OptionSet("response", "metadata.a")),
    ('/raw {"type": "x", "a": [1]}', RawSaid({"type": "x", "a": [1]})),
]


@pytest.mark.parametrize(("line", "event"), _LINES)
def test_a_typed_line(line: str, event: LocalEvent) -> None:
    assert parse(line) == event


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("/set instructions x", ["/set", "instructions", "/system"]),
        ("/set output_modalities audio", ["/set", "output_modalities", "--set"]),
        ("/set tracin auto", ["tracin", "tracing?", "/raw"]),
        ("/raw", ["/raw", "needs an argument", "JSON"]),
        ("/raw []", ["/raw", "not an object with a type"]),
        ('/raw {"type": 5}', ["/raw", "not an object with a type"]),
        ("/raw [1e999]", ["/raw", "invalid JSON", "out of range"]),
    ],
)
def test_a_typed_line_with_a_mistake(line: str, named: list[str]) -> None:
    notice = parse(line)
    assert isinstance(notice, LocalNotice)
    assert notice.is_error
    assert [name for name in named if name not in f"{notice.text} {notice.hint}"] == []


_OPTIONS = Options(None, "text", None, {"tracing": "auto"})
_VOICE = {"audio": {"output": {"voice": "ash"}}}


def _ready(response: Options = Options()) -> Playbook:  # noqa: B008 - a frozen value
    play = Playbook(Conversation("m", _OPTIONS, mode=Mode.CHAT, response=response))
    return play.skip(
        Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m")
    )


def _info(text: str) -> Show:
    return Show(Notice("info", text))


def _error(text: str) -> Show:
    return Show(Notice("error", text))


def _with(**other: object) -> Options:
    return Options(None, "text", None, {"tracing": "auto", **other})


def test_an_option_is_sent_at_once_and_merged() -> None:
    play = _ready()
    configured = Send("rtchat_2", Configure(_with(**_VOICE)))
    play >> OptionSet("session", "audio.output.voice", _VOICE)
    play << [notices.option_set("audio.output.voice"), configured]
    play >> SessionUpdated("s", "m")
    speed = {"audio": {"output": {"speed": 1.1}}}
    play >> OptionSet("session", "audio.output.speed", speed)
    both = _with(audio={"output": {"voice": "ash", "speed": 1.1}})
    play << [notices.option_set("audio.output.speed"), Send("rtchat_3", Configure(both))]
    play >> OptionsAsked()
    play << _info('tracing="auto"\naudio.output.voice="ash"\naudio.output.speed=1.1')


def test_an_option_that_the_server_refuses_is_taken_back() -> None:
    play = _ready().skip(OptionSet("session", "audio.output.voice", _VOICE))
    play.skip(OptionSet("session", "include", {"include": []}))
    refusal = ServerProblem("Not now.", param="session.audio.output.voice", event_id="rtchat_2")
    play >> refusal << _error("the server refused session.audio.output.voice: Not now.")
    play >> OptionsAsked() << _info('tracing="auto"')


def test_what_was_taken_stays_when_the_next_is_refused() -> None:
    play = _ready().skip(OptionSet("session", "audio.output.voice", _VOICE))
    play.skip(SessionUpdated("s", "m"), OptionSet("session", "include", {"include": []}))
    play.skip(ServerProblem("Not now.", param="session.include", event_id="rtchat_3"))
    play >> OptionsAsked() << _info('tracing="auto"\naudio.output.voice="ash"')


def test_what_is_taken_back_takes_a_new_session_once_nobody_waits() -> None:
    play = _ready()
    renewed = [*QUIET, Show(Connecting("m")), Connect("m")]
    (play >> OptionSet("session", "tracing") << [notices.option_removed("tracing"), *renewed])
    play >> ConnectionOpened() << SetTimer(Timer.START, 10)
    bare = Options(None, "text")
    play >> SessionCreated("s2", "m") << Send("rtchat_2", Configure(bare))
    play.skip(SessionUpdated("s2", "m"), UserSaid("hi"), ReplyStarted("r"))
    play.skip(OptionSet("session", "include", {"include": []}))
    play >> OptionSet("session", "include") << notices.option_removed("include")
    over = ReplyOver(Status.COMPLETED, "", "m", response_id="r", timing=Timing(0.0, None, 0.0))
    play >> ReplyEnded("r", Status.COMPLETED)
    play << [ClearTimer(Timer.STALL), Show(over), *renewed]
    play >> OptionSet("session", "zzz") << notices.option_not_set("zzz")
    play >> OptionSet("response", "zzz") << notices.option_not_set("response.zzz")


def test_an_option_of_replies_is_in_the_next_one() -> None:
    play = _ready(Options(other={"conversation": "auto"}))
    change = {"metadata": {"a": "b"}}
    play >> OptionSet("response", "metadata.a", change) << notices.option_set("response.metadata.a")
    play >> OptionsAsked()
    play << _info('tracing="auto"\nresponse.conversation="auto"\nresponse.metadata.a="b"')
    asked = Options(None, "text", None, {"conversation": "auto", **change})
    play >> UserSaid("hi")
    play << [
        Show(QuestionAsked("hi", "m")),
        Send("rtchat_2", AddItem(Message("user", (Part("text", "hi"),)))),
        Send("rtchat_3", CreateResponse(asked)),
        SetTimer(Timer.STALL, 60),
    ]
    problem = Problem(ExitCode.REPLY, "response.metadata: Too long.", code="x")
    over = ReplyOver(Status.FAILED, "", "m", problem=problem, timing=Timing(0.0, None, 0.0))
    play >> ServerProblem("Too long.", "", "x", "response.metadata", "rtchat_3")
    unmarked = CreateResponse(asked, is_marked=False)  # perhaps the mark was too much
    play << [Send("rtchat_4", unmarked), SetTimer(Timer.STALL, 60)]
    play >> ServerProblem("Too long.", "", "x", "response.metadata", "rtchat_4")
    play << [ClearTimer(Timer.STALL), Show(over)]
    (play >> OptionSet("response", "metadata.a") << notices.option_removed("response.metadata.a"))
    (
        play
        >> OptionSet("response", "conversation")
        << notices.option_removed("response.conversation")
    )
    play >> OptionsAsked() << _info('tracing="auto"')


def test_without_a_session_it_waits_for_the_next() -> None:
    play = Playbook(Conversation("m", Options(None, "text")))
    play.skip(Started())
    play >> OptionsAsked() << _info(notices.NO_OPTIONS)
    play >> OptionSet("session", "tracing", {"tracing": "auto"}) << notices.option_set("tracing")
    play >> RawSaid({"type": "x"}) << notices.NO_SESSION
    play >> ConnectionOpened() << SetTimer(Timer.START, 10)
    play >> SessionCreated("s", "m") << Send("rtchat_1", Configure(_OPTIONS))


def test_in_mid_reply_the_session_is_told_too() -> None:
    play = _ready().skip(UserSaid("hi"), ReplyStarted("r"))
    play >> SystemSet("Be brief.")
    told = Options("Be brief.", "text", None, {"tracing": "auto"})
    play << [notices.INSTRUCTIONS_SET, Send("rtchat_4", Configure(told))]


def test_options_outlive_a_new_conversation() -> None:
    play = _ready().skip(NewConversationAsked(), ConnectionOpened())
    play >> SessionCreated("s", "m") << Send("rtchat_2", Configure(_OPTIONS))


def test_any_event_is_sent_as_it_is() -> None:
    fields = {"type": "input_audio_buffer.clear"}
    play = _ready()
    play >> RawSaid(fields)
    play << [Send("rtchat_2", Raw(fields)), notices.raw_sent("input_audio_buffer.clear")]
    refusal = ServerProblem("No such event.", event_id="rtchat_2")
    play >> refusal << notices.raw_refused("input_audio_buffer.clear", "No such event.")


@pytest.mark.parametrize("dialect", Dialect)
def test_a_raw_event_is_in_nobody_s_dialect(dialect: Dialect) -> None:
    raw: Command = Raw({"type": "session.update", "session": {"output_modalities": ["text"]}})
    session = {"output_modalities": ["text"]}
    assert encode(raw, "e", dialect) == {
        "event_id": "e",
        "type": "session.update",
        "session": session,
    }
    assert encode(Raw({"type": "x", "event_id": "mine"}), "e", dialect)["event_id"] == "mine"


# ------------------------------------------------------------------------------------ dotted names


def test_dotted_names() -> None:
    base = {"a": {"b": {"c": 1}, "d": {}}, "e": [1]}
    assert nested("a.b.c", 1) == {"a": {"b": {"c": 1}}}
    assert list(flat(base)) == [("a.b.c", 1), ("a.d", {}), ("e", [1])]
    assert (has(base, "a.b"), has(base, "a.b.c"), has(base, "a.x"), has(base, "e.x")) == (
        True,
        True,
        False,
        False,
    )
    assert without(base, "a.b.c") == {"a": {"d": {}}, "e": [1]}
    assert without({"a": {"b": 1}}, "a.b") == {}
    assert merged(base, {"a": {"b": {"x": 2}}, "e": {}}) == {
        "a": {"b": {"c": 1, "x": 2}, "d": {}},
        "e": {},
    }
    assert base == {"a": {"b": {"c": 1}, "d": {}}, "e": [1]}


def test_what_may_be_long_or_secret_is_not_shown() -> None:
    tools = [{"type": "mcp", "authorization": "sk-x"}]
    assert described({"tools": tools, "a": "x" * 70}) == ["tools=[…]", f'a="{"x" * 58}…']


# ------------------------------------------------------------------------------------- the program


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with background(lambda: run_server(EchoEngine())) as url:
        yield url


def test_the_server_is_told(tmp_path: Path, url: str) -> None:
    program = Program(tmp_path)
    options = ("--set", "audio.output.voice=ash", "--reasoning", "high")
    reply = ("--set", "response.metadata.topic=x")
    ran = program.run("once", "hi", "--events", "--url", url, *options, *reply)
    assert ran.code == 0, ran.err
    events = {event["type"]: event for event in map(json.loads, ran.text.splitlines())}
    session = events["session.updated"]["session"]
    assert (session["reasoning"], session["audio"]["output"]["voice"]) == (
        {"effort": "high"},
        "ash",
    )
    assert events["response.done"]["response"]["metadata"]["topic"] == "x"
    ran = program.run("once", "hi", "--reasoning", "off", "--url", url)
    assert ran.code == 2
    assert "'off' for --reasoning" in ran.error
    assert "none, minimal, low, medium, high, xhigh" in ran.error


def test_the_voice_and_its_speed_have_options(tmp_path: Path, url: str) -> None:
    program = Program(tmp_path)
    asked = ("once", "hi", "--events", "--url", url)
    ran = program.run(*asked, "--voice-name", "ash", "--speed", "1.25")
    updated = next(
        event
        for event in map(json.loads, ran.text.splitlines())
        if event["type"] == "session.updated"
    )
    output = updated["session"]["audio"]["output"]
    assert (output["voice"], output["speed"]) == ("ash", 1.25)
    for speed in ("0.2", "1.6", "fast"):
        ran = program.run(*asked, "--speed", speed)
        assert (ran.code, "0.25 to 1.5" in ran.error) == (2, True)


def test_the_voices_are_listed(tmp_path: Path) -> None:
    program = Program(tmp_path)
    assert program.run("voices").text.split() == [*VOICES]
    (local,) = program.run("voices", "--local").text.split()
    ran = program.run("once", "hi", "--local", "--voice-name", "marin")
    assert (ran.code, local in ran.err) == (2, True)


def test_they_are_listed(tmp_path: Path) -> None:
    ran = Program(tmp_path).run("config", "options")
    names = [line.split()[0] for line in ran.text.splitlines()]
    expected = [key for key in SESSION_OPTIONS if key not in AT_THE_START]
    assert names == [*expected, *(f"response.{key}" for key in RESPONSE_OPTIONS)]
