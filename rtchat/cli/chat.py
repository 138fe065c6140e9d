"""`talk` and `once`: their options, and the settings that come of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtchat.cli.environment import environment_of, load_settings
from rtchat.core.errors import UsageError

if TYPE_CHECKING:
    from rtchat.app.chat import Past
    from rtchat.app.environment import Shape
    from rtchat.config.settings import Settings

Text = str | None
Model = Annotated[Text, typer.Option("-m", "--model", metavar="NAME", help="The model.")]
Url = Annotated[Text, typer.Option("--url", metavar="URL", help="A ws:// or wss:// endpoint.")]
DialectName = Annotated[
    Text,
    typer.Option("--dialect", metavar="auto|ga|beta|qwen|xai", help="The shape of the events."),
]
Profile = Annotated[
    Text, typer.Option("-p", "--profile", metavar="NAME", help="A named set of settings.")
]
Local = Annotated[
    bool, typer.Option("--local", help="The tiny built-in model: no key, no network.")
]
System = Annotated[
    Text, typer.Option("-s", "--system", metavar="TEXT|@FILE", help="Instructions to the model.")
]
MaxTokens = Annotated[
    Text, typer.Option("--max-output-tokens", metavar="N|inf", help="The longest reply.")
]
Reasoning = Annotated[
    Text,
    typer.Option(
        "--reasoning", metavar="minimal|low|medium|high|xhigh", help="How much it thinks first."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any option: rtchat config options."),
]
Tools = Annotated[
    list[str] | None,
    typer.Option("--tools", metavar="FILE.py", help="Its functions are for the model to call."),
]
Mcp = Annotated[
    list[str] | None, typer.Option("--mcp", metavar="COMMAND", help="Start an MCP server.")
]
AllowTools = Annotated[
    list[str] | None, typer.Option("--allow-tool", metavar="NAME", help="Run it without asking.")
]
ToolRounds = Annotated[
    Text, typer.Option("--max-tool-rounds", metavar="N", help="Replies with calls in one turn.")
]
ToolCalls = Annotated[
    Text, typer.Option("--max-tool-calls", metavar="N", help="Tool calls in one reply.")
]
ToolBytes = Annotated[
    Text,
    typer.Option("--max-tool-bytes", metavar="N", help="Bytes of calls and outputs in one turn."),
]
ReplyBytes = Annotated[
    Text, typer.Option("--max-reply-bytes", metavar="N", help="Bytes of text in one reply.")
]
MaxCost = Annotated[
    Text, typer.Option("--max-cost", metavar="USD", help="Ask nothing more once it cost so much.")
]
Attach = Annotated[
    list[str] | None,
    typer.Option("-a", "--attach", metavar="FILE", help="PNG, JPEG or text for the question."),
]
ConnectTimeout = Annotated[
    Text, typer.Option("--connect-timeout", metavar="S", help="Seconds to wait for a session.")
]
Timeout = Annotated[
    Text, typer.Option("--timeout", metavar="S", help="Seconds of silence in a reply.")
]
Headers = Annotated[
    list[str] | None,
    typer.Option("-H", "--header", metavar="'Name: value'", help="Another handshake header."),
]
Render = Annotated[
    Text, typer.Option("--render", metavar="auto|always|never", help="Show Markdown as such.")
]
Plain = Annotated[bool, typer.Option("--plain", help="The text as it is: --render never.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a reply on stdout.")]
Events = Annotated[bool, typer.Option("--events", help="Every server event as a JSON line.")]
Color = Annotated[
    Text, typer.Option("--color", metavar="auto|always|never", help="Colours on the terminal.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No status, no usage.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="More of both, and causes.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow a key over ws:// to another machine.")
]
CaBundle = Annotated[
    Text,
    typer.Option("--ca-bundle", metavar="FILE", help="Trust these authorities, and no others."),
]
Continue = Annotated[
    bool, typer.Option("-c", "--continue", help="Go on with the latest conversation.")
]
Resume = Annotated[
    int | None, typer.Option("--resume", metavar="ID", help="Go on with a kept conversation.")
]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Keep nothing on disk.")]
NoEnv = Annotated[bool, typer.Option("--no-env", help="Ignore the .env of this folder.")]
AudioIn = Annotated[
    Text, typer.Option("--audio-in", metavar="FILE|-", help="A question that was recorded.")
]
AudioOut = Annotated[
    Path | None,
    typer.Option("--audio-out", metavar="FILE", help="Speak the reply into this WAV."),
]
AudioFolder = Annotated[
    Path | None,
    typer.Option("--audio-out", metavar="FOLDER", help="Speak replies, into WAVs in there."),
]
VoiceFlag = Annotated[
    bool, typer.Option("--voice", help="Speak and listen; typing goes on working.")
]
Vad = Annotated[
    Text,
    typer.Option(
        "--vad", metavar="server|semantic|off", help="Who ends your turn; off: you, by Ctrl-T."
    ),
]
InputDevice = Annotated[
    Text, typer.Option("--input-device", metavar="NAME", help="The microphone: rtchat devices.")
]
OutputDevice = Annotated[Text, typer.Option("--output-device", metavar="NAME", help="The speaker.")]
KeepAudio = Annotated[
    bool, typer.Option("--keep-audio", help="History has the audio too, not only the words.")
]
NoStdin = Annotated[bool, typer.Option("--no-stdin", help="Do not read what is piped in.")]
TraceFile = Annotated[
    Text,
    typer.Option(
        "--trace", metavar="FILE|-", help="Record every event, keys redacted; - is stderr."
    ),
]
TraceAudio = Annotated[bool, typer.Option("--trace-audio", help="Audio and images in it too.")]


def talk(
    ctx: typer.Context,
    model: Model = None,
    url: Url = None,
    dialect: DialectName = None,
    profile: Profile = None,
    local: Local = False,
    system: System = None,
    continue_: Continue = False,
    resume: Resume = None,
    no_history: NoHistory = False,
    attach: Attach = None,
    voice: VoiceFlag = False,
    vad: Vad = None,
    input_device: InputDevice = None,
    output_device: OutputDevice = None,
    audio_out: AudioFolder = None,
    keep_audio: KeepAudio = False,
    max_output_tokens: MaxTokens = None,
    reasoning: Reasoning = None,
    set_: SetOption = None,
    max_cost: MaxCost = None,
    tools: Tools = None,
    mcp: Mcp = None,
    allow_tool: AllowTools = None,
    max_tool_rounds: ToolRounds = None,
    max_tool_calls: ToolCalls = None,
    max_tool_bytes: ToolBytes = None,
    max_reply_bytes: ReplyBytes = None,
    connect_timeout: ConnectTimeout = None,
    timeout: Timeout = None,
    header: Headers = None,
    render: Render = None,
    plain: Plain = False,
    json: Json = False,
    events: Events = False,
    color: Color = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    insecure: Insecure = False,
    ca_bundle: CaBundle = None,
    trace: TraceFile = None,
    trace_audio: TraceAudio = False,
    no_env: NoEnv = False,
) -> int:
    """A conversation. From a pipe, each line is a turn."""
    from rtchat.app.audio_io import AudioSettings
    from rtchat.app.chat import talk

    settings, around = settings_of(ctx.params), environment_of()
    # Where it is only a habit, a pipe still is one.
    sound = AudioSettings(
        audio_out=audio_out, is_live=voice or (settings.voice and around.stdin_is_terminal)
    )
    past = _past(ctx.params)
    return talk(settings, _shape(ctx.params), around, past, attach or (), sound)


def once(
    ctx: typer.Context,
    prompt: Annotated[Text, typer.Argument(metavar="[PROMPT]", show_default=False)] = None,
    model: Model = None,
    url: Url = None,
    dialect: DialectName = None,
    profile: Profile = None,
    local: Local = False,
    system: System = None,
    continue_: Continue = False,
    resume: Resume = None,
    no_history: NoHistory = False,
    attach: Attach = None,
    no_stdin: NoStdin = False,
    audio_in: AudioIn = None,
    audio_out: AudioOut = None,
    keep_audio: KeepAudio = False,
    max_output_tokens: MaxTokens = None,
    reasoning: Reasoning = None,
    set_: SetOption = None,
    max_cost: MaxCost = None,
    tools: Tools = None,
    mcp: Mcp = None,
    allow_tool: AllowTools = None,
    max_tool_rounds: ToolRounds = None,
    max_tool_calls: ToolCalls = None,
    max_tool_bytes: ToolBytes = None,
    max_reply_bytes: ReplyBytes = None,
    connect_timeout: ConnectTimeout = None,
    timeout: Timeout = None,
    header: Headers = None,
    render: Render = None,
    plain: Plain = False,
    json: Json = False,
    events: Events = False,
    color: Color = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    insecure: Insecure = False,
    ca_bundle: CaBundle = None,
    trace: TraceFile = None,
    trace_audio: TraceAudio = False,
    no_env: NoEnv = False,
) -> int:
    """One question, one reply. "-", or no PROMPT: the question is what is piped in."""
    from rtchat.app.audio_io import AudioSettings
    from rtchat.app.chat import run_once

    settings = settings_of(ctx.params)
    past = _past(ctx.params)
    sound = AudioSettings(audio_in, audio_out)
    streams = environment_of()
    if no_stdin:
        if "-" in (prompt, audio_in, *(attach or ())):
            raise UsageError("--no-stdin and - contradict each other", hint="leave out one of them")
        streams = replace(streams, stdin=None)
    return run_once(prompt, settings, _shape(ctx.params), streams, past, attach or (), sound)


def settings_of(params: Mapping[str, object]) -> Settings:
    """The settings of a command with some of these options; each that was not given is None, or
    nothing."""
    options = {key: value for key, value in params.items() if key in _SETTINGS and value}
    options |= {name: params.get(option) or None for option, name in _RENAMED.items()}
    if params.get("plain"):
        options["render"] = "never"
    if params.get("no_history"):
        options["history"] = False
    return load_settings(options, no_env=bool(params.get("no_env")))


_RENAMED = {"header": "headers", "allow_tool": "allow_tools", "set_": "set"}
_SETTINGS = frozenset(
    [
        "tools",
        "mcp",
        "model",
        "url",
        "dialect",
        "profile",
        "local",
        "system",
        "max_output_tokens",
        "reasoning",
        "max_cost",
        "max_tool_rounds",
        "max_tool_calls",
        "max_tool_bytes",
        "max_reply_bytes",
        "connect_timeout",
        "timeout",
        "render",
        "color",
        "quiet",
        "verbose",
        "insecure",
        "ca_bundle",
        "trace",
        "trace_audio",
        "voice",
        "vad",
        "input_device",
        "output_device",
        "keep_audio",
    ]
)


def _past(params: Mapping[str, object]) -> Past:
    number = params["resume"]
    if params["continue_"] and number is not None:
        raise UsageError("--continue and --resume name two conversations", hint="choose one")
    if params["continue_"]:
        return "latest"
    return number if isinstance(number, int) else None


def _shape(params: Mapping[str, object]) -> Shape:
    if params["json"] and params["events"]:
        raise UsageError("--json and --events both want stdout", hint="choose one")
    return "json" if params["json"] else "events" if params["events"] else "text"
