"""The table of settings: one row for each.

Each row defines the option, the environment variable, the key in the config file, the entries in
`.env.example` and in the README, and the attribute of a `Settings` object. To add a setting, add a
row and use it. `resolve` finds the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rtchat.client.endpoint import BEARER, shown_url
from rtchat.config import parsers
from rtchat.config.parsers import Headers, Parser, choice
from rtchat.config.table import Group, Setting, Variable, shorten
from rtchat.core.dotted_keys import described
from rtchat.core.errors import CHECK_KEY
from rtchat.core.values import OPENAI_URL, Dialect, ImageDetail, JsonObject, ThemeName

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from rtchat.config.prompt_template import PromptTemplate
    from rtchat.core.models import Rate

DialectName: TypeAlias = Literal["auto", "ga", "beta", "qwen", "xai"]
When: TypeAlias = Literal["auto", "always", "never"]
Vad: TypeAlias = Literal["server", "semantic", "off"]

_VAD: Parser[Vad] = choice("server", "semantic", "off")
_DETAIL: Parser[ImageDetail] = choice("auto", "low", "high")

_ONCE = ("talk", "once")
_SPOKEN = (*_ONCE, "transcribe")
_SESSION = (*_SPOKEN, "translate")
_TEST = (*_SESSION, "doctor")
_MINT = "keys mint"
_CONNECTION = Group("Connection", (*_TEST, _MINT))
_REPLY = Group("Reply", _ONCE)
_HISTORY = Group("History", _ONCE)
_TOOL = Group("Tool", _ONCE)
_VOICE = Group("Voice", ("talk", "transcribe", "translate"))
_OUTPUT = Group("Output", _SESSION)


class Secret:
    """A key, which is never part of shown text. Only the handshake calls `reveal`."""

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The key itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(set)" if self._text else "Secret()"


def _show_headers(headers: Headers) -> str:
    return ", ".join(f"{name}: …" for name, _ in headers) or "none"


def _show_aliases(aliases: Mapping[str, str]) -> str:
    return shorten(", ".join(f"{alias} = {model}" for alias, model in aliases.items()) or "none")


def _show_styles(styles: Mapping[str, str]) -> str:
    shown = ", ".join(f"{name} = {style or 'none'}" for name, style in styles.items())
    return shorten(shown or "none")


def _show_options(options: JsonObject) -> str:
    return shorten(", ".join(described(options)) or "none")


@dataclass(frozen=True, repr=False)
class Settings:
    """The settings of a run."""

    model: Setting[str] = Setting(
        _CONNECTION,
        parsers.text,
        "gpt-realtime-2.1",
        "The model.",
        option="--model",
        short="-m",
        metavar="NAME",
        variable=Variable("RTCHAT_MODEL", dotenv="yes"),
    )
    aliases: Setting[Mapping[str, str]] = Setting(
        _CONNECTION,
        parsers.aliases,
        {},
        "Short names of models, for `--model`, `/model` and templates.",
        example={"mini": "gpt-realtime-2.1-mini"},
        is_merged=True,
        show=_show_aliases,
    )
    url: Setting[str] = Setting(
        _CONNECTION,
        parsers.text,
        OPENAI_URL,
        "The URL of the server: wss://host/path or ws://host/path.",
        option="--url",
        metavar="URL",
        variable=Variable("RTCHAT_URL", dotenv="yes"),
        is_confidential=True,
        show=shown_url,
    )
    dialect: Setting[DialectName] = Setting(
        _CONNECTION,
        choice("auto", "ga", "beta", "qwen", "xai"),
        "auto",
        "The version of the API: ga (current), beta (before May 2026), qwen or xai.",
        option="--dialect",
        commands=(*_SPOKEN, "doctor", _MINT),
        variable=Variable("RTCHAT_DIALECT", dotenv="yes"),
    )
    local: Setting[bool] = Setting(
        _CONNECTION,
        parsers.switch,
        False,
        "Use the small built-in model, which needs no server and no key.",
        option="--local",
        commands=(*_SPOKEN, "doctor"),
    )
    headers: Setting[Headers] = Setting(
        _CONNECTION,
        parsers.headers,
        (),
        "An additional header for the handshake.",
        example={"X-Name": "value"},
        option="--header",
        short="-H",
        is_confidential=True,
        show=_show_headers,
    )
    connect_timeout: Setting[float] = Setting(
        _CONNECTION,
        parsers.seconds,
        10.0,
        "How long to wait for the connection and for the session, in seconds.",
        option="--connect-timeout",
        variable=Variable("RTCHAT_CONNECT_TIMEOUT", dotenv="yes"),
    )
    timeout: Setting[float] = Setting(
        _CONNECTION,
        parsers.seconds,
        60.0,
        "How long to wait for the next event of the server during a reply, in seconds.",
        option="--timeout",
        commands=_TEST,
        variable=Variable("RTCHAT_TIMEOUT", dotenv="yes"),
    )
    insecure: Setting[bool] = Setting(
        _CONNECTION,
        parsers.switch,
        False,
        "Allow sending a key to another machine over plain ws://.",
        option="--insecure",
    )
    ca_bundle: Setting[Path | None] = Setting(
        _CONNECTION,
        parsers.path,
        None,
        "Trust only the certificate authorities in this PEM file.",
        example="company.pem",
        option="--ca-bundle",
        variable=Variable("RTCHAT_CA_BUNDLE", dotenv="no"),
    )
    key_env: Setting[tuple[str, ...]] = Setting(
        _CONNECTION,
        parsers.variables,
        ("OPENAI_API_KEY",),
        "The environment variables in which to look for the key.",
    )
    key_header: Setting[str] = Setting(
        _CONNECTION, parsers.key_header, BEARER, "The header in which the key is sent."
    )
    system: Setting[str | None] = Setting(
        _REPLY,
        parsers.instructions,
        None,
        "Instructions for the model, as text or in a file.",
        example="Answer briefly.",
        option="--system",
        short="-s",
        commands=(*_ONCE, _MINT),
        variable=Variable("RTCHAT_SYSTEM", dotenv="text"),
    )
    max_output_tokens: Setting[int | Literal["inf"] | None] = Setting(
        _REPLY,
        parsers.tokens,
        None,
        "The maximum length of a reply in tokens, or inf.",
        example="inf",
        option="--max-output-tokens",
        commands=(*_ONCE, _MINT),
        variable=Variable("RTCHAT_MAX_OUTPUT_TOKENS", dotenv="yes"),
    )
    max_reply_bytes: Setting[int] = Setting(
        _REPLY,
        parsers.size,
        4_000_000,
        "The maximum size of the text of one reply, in bytes.",
        option="--max-reply-bytes",
    )
    max_cost: Setting[float | None] = Setting(
        _REPLY,
        parsers.dollars,
        None,
        "Ask no more questions once the run has cost this amount, in US dollars.",
        example=0.5,
        option="--max-cost",
    )
    prices: Setting[Mapping[str, Rate]] = Setting(
        _REPLY,
        parsers.prices,
        {},
        "Prices of unknown models, in US dollars per million tokens or per minute of audio.",
        example={"my-model": {"input": 4.0, "cached": 0.4, "output": 24.0}},
        is_confidential=True,
        is_merged=True,
    )
    context: Setting[int | None] = Setting(
        _REPLY,
        parsers.token_count,
        None,
        "How many tokens of a conversation a new session receives (default: as many as it reads).",
        example=16000,
        option="--context",
        variable=Variable("RTCHAT_CONTEXT", dotenv="yes"),
    )
    warn_tokens: Setting[int] = Setting(
        _REPLY,
        parsers.token_count,
        20_000,
        "Show what a new session receives, and its cost, if it has at least this many tokens.",
        option="--warn-tokens",
    )
    image_detail: Setting[ImageDetail | None] = Setting(
        _REPLY,
        _DETAIL,
        None,
        "The level of detail of attached images.",
        example="low",
        option="--image-detail",
        variable=Variable("RTCHAT_IMAGE_DETAIL", dotenv="yes"),
    )
    session: Setting[JsonObject] = Setting(
        _REPLY,
        parsers.session,
        {},
        "Options of the session; `rtchat config options` lists them.",
        example={"reasoning": {"effort": "low"}, "audio": {"output": {"voice": "marin"}}},
        is_confidential=True,
        is_merged=True,
        show=_show_options,
    )
    response: Setting[JsonObject] = Setting(
        _REPLY,
        parsers.response,
        {},
        "Options of every response; `rtchat config options` lists them.",
        example={"metadata": {"topic": "notes"}},
        is_confidential=True,
        is_merged=True,
        show=_show_options,
    )
    history: Setting[bool] = Setting(
        _HISTORY,
        parsers.switch,
        True,
        "Save conversations on disk.",
        example=False,
        option="--no-history",
        option_help="Save nothing on disk.",
        commands=(*_ONCE, "transcribe"),
        variable=Variable("RTCHAT_HISTORY", dotenv="yes"),
    )
    keep_audio: Setting[bool] = Setting(
        _HISTORY,
        parsers.switch,
        False,
        "Save the audio of spoken conversations, in addition to the text.",
        example=True,
        option="--keep-audio",
        variable=Variable("RTCHAT_KEEP_AUDIO", dotenv="yes"),
    )
    tools: Setting[tuple[Path, ...]] = Setting(
        _TOOL,
        parsers.paths,
        (),
        "A Python file with functions that the model may call.",
        example=["tools.py"],
        option="--tools",
        metavar="FILE.py",
    )
    mcp: Setting[tuple[str, ...]] = Setting(
        _TOOL,
        parsers.texts,
        (),
        "The command that starts an MCP server whose tools the model may call.",
        example=["uvx mcp-server-time"],
        option="--mcp",
        metavar="COMMAND",
    )
    allow_tools: Setting[tuple[str, ...]] = Setting(
        _TOOL,
        parsers.texts,
        (),
        "A tool that may run without your approval.",
        example=["get_current_time"],
        option="--allow-tool",
        metavar="NAME",
    )
    max_tool_rounds: Setting[int] = Setting(
        _TOOL,
        parsers.count,
        10,
        "The maximum number of replies with tool calls in one turn.",
        option="--max-tool-rounds",
    )
    max_tool_calls: Setting[int] = Setting(
        _TOOL,
        parsers.count,
        100,
        "The maximum number of tool calls in one reply.",
        option="--max-tool-calls",
    )
    max_tool_bytes: Setting[int] = Setting(
        _TOOL,
        parsers.size,
        2_000_000,
        "The maximum size of the tool calls and their outputs in one turn, in bytes.",
        option="--max-tool-bytes",
    )
    voice: Setting[bool] = Setting(
        _VOICE,
        parsers.switch,
        False,
        "Speak and listen. You can still type.",
        example=True,
        option="--voice",
        commands=("talk",),
    )
    vad: Setting[Vad | None] = Setting(
        _VOICE,
        _VAD,
        None,
        "Voice activity detection: by silence (server), by the words (semantic), or none (off).",
        example="server",
        option="--vad",
        commands=("talk", "transcribe"),
        variable=Variable("RTCHAT_VAD", dotenv="yes"),
    )
    aec: Setting[bool] = Setting(
        _VOICE,
        parsers.switch,
        True,
        "Acoustic echo cancellation and noise suppression for the microphone.",
        example=False,
        option="--no-aec",
        option_help="Turn off acoustic echo cancellation and noise suppression.",
        commands=("talk", "translate"),
        variable=Variable("RTCHAT_AEC", dotenv="yes"),
    )
    input_device: Setting[str | None] = Setting(
        _VOICE,
        parsers.text,
        None,
        "The microphone, by number or part of its name; `rtchat devices` lists them.",
        example="USB",
        option="--input-device",
        metavar="DEVICE",
        variable=Variable("RTCHAT_INPUT_DEVICE", dotenv="yes"),
    )
    output_device: Setting[str | None] = Setting(
        _VOICE,
        parsers.text,
        None,
        "The speaker, by number or part of its name; `rtchat devices` lists them.",
        example="Headphones",
        option="--output-device",
        metavar="DEVICE",
        commands=("talk", "translate"),
        variable=Variable("RTCHAT_OUTPUT_DEVICE", dotenv="yes"),
    )
    raw: Setting[int | None] = Setting(
        _VOICE,
        parsers.sample_rate,
        None,
        "The audio is raw PCM, 16-bit little-endian, mono, at RATE Hz.",
        option="--raw",
        commands=("once", "transcribe", "translate"),
        in_file=False,
    )
    language: Setting[str | None] = Setting(
        _VOICE,
        parsers.language,
        None,
        "The language that is spoken, such as en or de (default: the model recognises it).",
        example="de",
        option="--language",
        commands=("transcribe",),
        variable=Variable("RTCHAT_LANGUAGE", dotenv="yes"),
    )
    transcription_prompt: Setting[str | None] = Setting(
        _VOICE,
        parsers.instructions,
        None,
        "Names and words to expect in the recording, as text or in a file.",
        example="rtchat, WebVTT, Ms. Nguyen",
        option="--prompt",
        commands=("transcribe",),
    )
    translate_to: Setting[str | None] = Setting(
        _VOICE,
        parsers.text,
        None,
        "The language that `rtchat translate` translates to, such as es or pt.",
        example="es",
        option="--to",
        option_help="The language to translate to, such as es or pt.",
        metavar="LANGUAGE",
        commands=("translate",),
        variable=Variable("RTCHAT_TRANSLATE_TO", dotenv="yes"),
    )
    output_schema: Setting[Path | None] = Setting(
        _OUTPUT,
        parsers.path,
        None,
        "Print a JSON value that fits the JSON schema in this file, or exit with code 1.",
        option="--output-schema",
        commands=("once",),
        in_file=False,
    )
    extract: Setting[bool] = Setting(
        _OUTPUT,
        parsers.switch,
        False,
        "Print only the last code block of the reply, or exit with code 1.",
        option="--extract",
        short="-x",
        commands=("once",),
        in_file=False,
    )
    extract_lang: Setting[str | None] = Setting(
        _OUTPUT,
        parsers.text,
        None,
        "Print only the last code block in this language.",
        option="--extract-lang",
        metavar="LANG",
        commands=("once",),
        in_file=False,
    )
    render: Setting[When] = Setting(
        _OUTPUT,
        choice("auto", "always", "never"),
        "auto",
        "When to render Markdown; auto means on a terminal.",
        option="--render",
        commands=_ONCE,
        variable=Variable("RTCHAT_RENDER", dotenv="yes"),
    )
    color: Setting[When] = Setting(
        _OUTPUT,
        choice("auto", "always", "never"),
        "auto",
        "When to use colours; auto means on a terminal.",
        option="--color",
        commands=_ONCE,
    )
    status: Setting[bool] = Setting(
        _OUTPUT,
        parsers.switch,
        True,
        "Show a status line below the prompt.",
        example=False,
        option="--no-status",
        option_help="Do not show a status line below the prompt.",
        commands=("talk",),
        variable=Variable("RTCHAT_STATUS", dotenv="yes"),
    )
    title: Setting[bool] = Setting(
        _OUTPUT,
        parsers.switch,
        True,
        "Show the title of the conversation in the title of the window.",
        example=False,
        option="--no-title",
        option_help="Do not change the title of the window.",
        commands=("talk",),
        variable=Variable("RTCHAT_TITLE", dotenv="yes"),
    )
    notify: Setting[Literal["auto", "bell", "off"]] = Setting(
        _OUTPUT,
        choice("auto", "bell", "off"),
        "auto",
        "How to announce a long reply in another window; auto means a notification if possible.",
        example="bell",
        option="--notify",
        commands=("talk",),
        variable=Variable("RTCHAT_NOTIFY", dotenv="yes"),
    )
    editing_mode: Setting[Literal["auto", "emacs", "vi"]] = Setting(
        _OUTPUT,
        choice("auto", "emacs", "vi"),
        "auto",
        "The keys that edit the prompt; auto means those of ~/.inputrc.",
        example="vi",
        option="--editing-mode",
        commands=("talk",),
        variable=Variable("RTCHAT_EDITING_MODE", dotenv="yes"),
    )
    theme: Setting[ThemeName] = Setting(
        _OUTPUT,
        choice("auto", "dark", "light", "mono", "high-contrast"),
        "auto",
        "The colours on a terminal; mono has none, high-contrast also has no dim text.",
        option="--theme",
        commands=(*_ONCE, "history list", "history show", "history search", "replay"),
        variable=Variable("RTCHAT_THEME", dotenv="yes"),
    )
    styles: Setting[Mapping[str, str]] = Setting(
        _OUTPUT,
        parsers.styles,
        {},
        "Styles that replace those of the theme.",
        example={"heading": "bold magenta", "code": "#d7875f", "quote": "italic"},
        is_merged=True,
        show=_show_styles,
    )
    quiet: Setting[bool] = Setting(
        _OUTPUT,
        parsers.switch,
        False,
        "Show only errors, without status and usage.",
        option="--quiet",
        short="-q",
        commands=(*_SESSION, "replay"),
        in_file=False,
    )
    verbose: Setting[bool] = Setting(
        _OUTPUT,
        parsers.switch,
        False,
        "Show more details about the connection, the usage and errors.",
        option="--verbose",
        short="-v",
        commands=(*_SESSION, "replay"),
        in_file=False,
    )
    trace: Setting[Path | None] = Setting(
        _OUTPUT,
        parsers.path,
        None,
        "Record every event, without keys, in a file; - means stderr.",
        example="trace.jsonl",
        option="--trace",
        metavar="FILE|-",
        variable=Variable("RTCHAT_TRACE", dotenv="no"),
    )
    trace_audio: Setting[bool] = Setting(
        _OUTPUT,
        parsers.switch,
        False,
        "Include audio and images in the trace.",
        option="--trace-audio",
        in_file=False,
    )

    key: Secret = field(default_factory=Secret)
    origins: Mapping[str, str] = field(default_factory=dict, kw_only=True, compare=False)
    """The source of each value, as text for the user; `key` is included only if there is a key."""
    template: PromptTemplate | None = field(default=None, kw_only=True, compare=False)
    """The template that was chosen. Its settings are among the values above."""
    profile: str = field(default="", kw_only=True, compare=False)
    """The name of the profile that is used, if any."""
    key_hint: str = field(default=CHECK_KEY, kw_only=True, compare=False)
    """What to do if the server refuses the key."""
    dotenv: Path | None = field(default=None, kw_only=True, compare=False)
    """The `.env` that was read."""

    def __repr__(self) -> str:
        return f"Settings({self.model!r})"  # headers, and even the URL, may contain a key

    @property
    def forced_dialect(self) -> Dialect | None:
        """The dialect, unless it is to be detected."""
        return None if self.dialect == "auto" else Dialect(self.dialect)


PROFILE: Setting[str] = Setting(
    _CONNECTION,
    parsers.text,
    "",
    "The profile, a named set of settings; `rtchat config profiles` lists all.",
    name="profile",
    example="work",
    option="--profile",
    short="-p",
    metavar="NAME",
    commands=(*_CONNECTION.commands, "config show"),
    variable=Variable("RTCHAT_PROFILE", dotenv="yes"),
    in_file=False,
)
TEMPLATE: Setting[str] = Setting(
    _REPLY,
    parsers.text,
    "",
    "The prompt template; `rtchat prompts list` lists all.",
    name="template",
    option="--template",
    short="-t",
    metavar="NAME",
    commands=(*_ONCE, "config show"),
    in_file=False,
)
API_KEY_COMMAND: Setting[tuple[str, ...]] = Setting(
    _CONNECTION,
    parsers.command,
    (),
    "A command that prints the key, such as that of a password manager.",
    name="api_key_command",
    example="pass show openai",
    is_confidential=True,
)
SET: Setting[tuple[str, ...]] = Setting(
    _REPLY,
    parsers.texts,
    (),
    "Set any option of the session or of responses; `rtchat config options` lists them.",
    name="set",
    option="--set",
    metavar="KEY=VALUE",
    commands=(*_SESSION, _MINT),
    in_file=False,
    is_confidential=True,
)
REASONING: Setting[str | None] = Setting(
    _REPLY,
    choice("none", "minimal", "low", "medium", "high", "xhigh"),
    None,
    "How much the model reasons before it replies.",
    name="reasoning",
    option="--reasoning",
    commands=(*_ONCE, _MINT),
    in_file=False,
)
VOICE_NAME: Setting[str] = Setting(
    _VOICE,
    parsers.text,
    "",
    "The voice of replies, the same as --set audio.output.voice; `rtchat voices` lists them.",
    name="voice_name",
    option="--voice-name",
    metavar="NAME",
    commands=(*_ONCE, _MINT),
    in_file=False,
)
SPEED: Setting[float | None] = Setting(
    _VOICE,
    parsers.speed,
    None,
    "How fast replies are spoken, from 0.25 to 1.5, the same as --set audio.output.speed.",
    name="speed",
    option="--speed",
    commands=(*_ONCE, _MINT),
    in_file=False,
)
_INPUTS = (PROFILE, TEMPLATE, API_KEY_COMMAND, SET, REASONING, VOICE_NAME, SPEED)
"""Rows that only affect the values of other rows. They are not attributes of `Settings`."""


def rows(schema: type[Settings] = Settings) -> list[Setting[Any]]:
    """Every row of a table, sorted by group."""
    own = attributes(schema)
    groups = list(dict.fromkeys(row.group for row in own))
    return sorted([*own, *_INPUTS], key=lambda row: groups.index(row.group))


def attributes(schema: type[DataclassInstance] = Settings) -> list[Setting[Any]]:
    """The rows that are attributes of `Settings` or of another schema."""
    return [each.default for each in fields(schema) if isinstance(each.default, Setting)]
