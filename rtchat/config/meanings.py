"""Options that other programs have, and what to use instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rtchat.config.settings import Settings, rows
from rtchat.config.table import Setting
from rtchat.core.suggestions import closest, did_you_mean

_KEYS = "no option takes a key: set OPENAI_API_KEY, or run `rtchat keys set` to store one"
_NO_OPTION = "the Realtime API has no such option"
_HINTS = {
    **dict.fromkeys(("key", "api-key", "apikey", "openai-api-key", "token", "k"), _KEYS),
    **dict.fromkeys(("top-p", "top-k", "seed", "stop", "frequency-penalty"), _NO_OPTION),
    **dict.fromkeys(("presence-penalty", "logit-bias", "logprobs"), _NO_OPTION),
    **dict.fromkeys(("stream", "no-stream", "streaming"), "replies are always streamed"),
    **dict.fromkeys(("config", "config-file"), "set RTCHAT_CONFIG to the path of the file"),
    **dict.fromkeys(("env-file", "dotenv"), "rtchat reads .env in the current folder"),
    **dict.fromkeys(("install-completion", "show-completion"), "run `rtchat completion install`"),
    "v": "run `rtchat --version`",
    "proxy": "set HTTPS_PROXY or ALL_PROXY to the URL of the proxy",
    **dict.fromkeys(("org", "organization"), "set OPENAI_ORG_ID"),
    "project": "set OPENAI_PROJECT_ID",
    "debug": "use --verbose, or set RTCHAT_DEBUG=1 to see the traceback of an error",
    **dict.fromkeys(("output", "o"), "redirect stdout to a file: > FILE"),
    **dict.fromkeys(("interactive", "i"), "run `rtchat talk`"),
}
"""Hints for options that are not options of rtchat."""
SAME_OPTIONS = {
    **dict.fromkeys(("temperature", "temp", "t"), "--set temperature=VALUE (older dialects only)"),
    "voice": "--voice-name NAME",
    **dict.fromkeys(("voice-name", "speaker"), "--set audio.output.voice=NAME"),
    "speed": "--set audio.output.speed=VALUE",
    **dict.fromkeys(("rate", "sample-rate", "samplerate"), "--raw RATE"),
    **dict.fromkeys(("aec", "no-echo", "no-echo-cancellation", "no-noise-suppression"), "--no-aec"),
    **dict.fromkeys(("modality", "modalities"), "--set output_modalities=LIST"),
    **dict.fromkeys(("vad-threshold", "threshold"), "--set audio.input.turn_detection.threshold=N"),
    **dict.fromkeys(("option", "param", "extra-body"), "--set KEY=VALUE"),
    **dict.fromkeys(("instructions", "instruction", "system-prompt", "role"), "--system TEXT"),
    **dict.fromkeys(("system-message", "prompt-system"), "--system TEXT"),
    **dict.fromkeys(("base-url", "api-base", "server", "endpoint", "host"), "--url URL"),
    **dict.fromkeys(("max-tokens", "max-completion-tokens", "num-predict"), "--max-output-tokens"),
    **dict.fromkeys(("effort", "reasoning-effort", "thinking", "think"), "--reasoning"),
    **dict.fromkeys(("file", "files", "image", "f", "attachment"), "--attach FILE"),
    **dict.fromkeys(("raw", "no-markdown", "no-md", "no-render", "text"), "--plain"),
    **dict.fromkeys(("markdown", "md"), "--render always"),
    **dict.fromkeys(("no-color", "no-colour", "no-colors"), "--color never"),
    **dict.fromkeys(("colour", "colors"), "--color"),
    **dict.fromkeys(("log", "log-file", "record", "dump"), "--trace FILE"),
    "silent": "--quiet",
    **dict.fromkeys(("no-save", "no-log", "private", "incognito", "ephemeral"), "--no-history"),
    **dict.fromkeys(("session", "conversation", "id", "cid", "chat"), "--resume ID"),
    **dict.fromkeys(("last", "latest"), "--continue"),
    **dict.fromkeys(("tool", "functions", "function"), "--tools FILE"),
    **dict.fromkeys(("format", "output-format"), "--json"),
    **dict.fromkeys(("target", "target-language", "lang", "language"), "--to LANGUAGE"),
    **dict.fromkeys(("mic", "microphone"), "--input-device DEVICE"),
    **dict.fromkeys(("speakers", "output-audio"), "--output-device DEVICE"),
    **dict.fromkeys(("cert", "cacert", "ca-cert", "ca"), "--ca-bundle FILE"),
    **dict.fromkeys(("provider", "vendor", "backend"), "--profile NAME"),
    **dict.fromkeys(("offline", "builtin"), "--local"),
    "local": "--engine local, which is the default",
    **dict.fromkeys(("budget", "max-price", "cost-limit"), "--max-cost USD"),
    **dict.fromkeys(("api-version", "protocol", "beta"), "--dialect"),
    **dict.fromkeys(("read-timeout", "wait"), "--timeout S"),
    **dict.fromkeys(("allow", "yes", "yolo", "auto-approve"), "--allow-tool NAME"),
    **dict.fromkeys(("vad-mode", "turn-detection"), "--vad"),
}
"""Options that other programs have, and the option of rtchat that does the same."""
TRANSCRIPTION_OPTIONS = {
    **dict.fromkeys(("output-format", "srt", "vtt", "subtitles"), "--format"),
    **dict.fromkeys(("lang", "spoken-language"), "--language CODE"),
    **dict.fromkeys(("initial-prompt", "hotwords", "vocabulary", "keywords"), "--prompt TEXT"),
    **dict.fromkeys(("diarize", "diarise", "diarization", "speaker-labels"), "--speakers"),
    **dict.fromkeys(("output-dir", "out-dir", "output-folder", "outdir"), "--output FOLDER"),
    **dict.fromkeys(("overwrite", "replace", "y"), "--force"),
}
"""Those of other transcription programs. They precede `SAME_OPTIONS`."""


def option_hint(option: str, known: Collection[str]) -> str:
    """What to use instead of an unknown option; empty if that is not known. `known` are the options
    of the command."""
    name = option.lstrip("-").lower().replace("_", "-")
    for instead in (TRANSCRIPTION_OPTIONS.get(name), SAME_OPTIONS.get(name)):
        if instead and instead.split()[0] in known:
            return f"use {instead}"
    if hint := _HINTS.get(name):
        return hint
    names = [each for each in known if each.startswith("--")]
    return did_you_mean([closest(option, [*names, "--version", "--help"])])


def setting_hint(key: str, known: Mapping[str, Setting[object]]) -> str:
    """What to write instead of an unknown key in the config file; empty if that is not known."""
    name = key.lower().replace("_", "-")
    options = {row.option: row.name for row in rows(Settings) if row.option}
    instead = SAME_OPTIONS.get(name, "")
    option, _, text = instead.partition(" ")
    if option == "--set" and text[:1].islower():
        return f"write it as {text.partition('=')[0]} in the table [session]"
    meant = options.get(option) or options.get(f"--{name}") or ""
    if meant in known:
        return did_you_mean([meant])
    return _HINTS.get(name) or did_you_mean([closest(key, known)])
