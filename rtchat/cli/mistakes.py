"""Errors of the command line with hints: what was probably meant, by spelling or by meaning."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from typing import Any

from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean

MEANINGS = {
    **dict.fromkeys(("chat", "start", "repl", "shell", "converse", "interactive"), "talk"),
    **dict.fromkeys(("ask", "prompt", "question", "query", "complete", "send"), "once"),
    **dict.fromkeys(("login", "auth", "signin", "key", "apikey", "token", "register"), "keys set"),
    **dict.fromkeys(("logout", "signout"), "keys remove"),
    **dict.fromkeys(("models", "model"), "talk --model NAME"),
    **dict.fromkeys(("version", "ver"), "--version"),
    **dict.fromkeys(("usage", "commands"), "--help"),
    **dict.fromkeys(("voice", "speak", "listen", "mic"), "talk --voice"),
    **dict.fromkeys(("stt", "dictate", "whisper", "asr"), "transcribe"),
    **dict.fromkeys(("interpret",), "translate --to LANGUAGE"),
    **dict.fromkeys(("microphones", "speakers", "mics"), "devices"),
    **dict.fromkeys(("server", "mock", "listen", "daemon"), "serve"),
    **dict.fromkeys(("record",), "once --trace FILE"),
    **dict.fromkeys(("play", "playback"), "replay"),
    **dict.fromkeys(("check", "diagnose", "ping", "status", "debug"), "doctor"),
    **dict.fromkeys(("list", "ls", "sessions", "conversations", "logs", "log"), "history list"),
    **dict.fromkeys(("show", "view"), "history show"),
    **dict.fromkeys(("search", "find", "grep"), "history search"),
    **dict.fromkeys(("export", "save"), "history export"),
    **dict.fromkeys(("delete", "rm", "clear"), "history delete"),
    **dict.fromkeys(("resume", "continue"), "talk --continue"),
    **dict.fromkeys(("settings", "configure", "setup", "init", "set"), "config edit"),
    **dict.fromkeys(("profiles", "profile", "providers"), "config profiles"),
    **dict.fromkeys(("options",), "config options"),
    **dict.fromkeys(("install", "download", "pull"), "local install"),
    **dict.fromkeys(("completions", "autocomplete"), "completion install"),
    **dict.fromkeys(("manual", "docs", "doc"), "man"),
    **dict.fromkeys(("mint", "secret"), "keys mint"),
}
"""Words that are not commands, but mean what a command does."""
_OF_GROUPS = {
    "list": ("ls", "all", "get"),
    "set": ("add", "new", "store", "save", "create", "login"),
    "remove": ("rm", "del", "delete", "unset", "clear", "logout"),
    "delete": ("rm", "del", "remove", "clear"),
    "show": ("view", "cat", "print", "open", "display", "get", "list"),
    "search": ("find", "grep", "query"),
    "edit": ("set", "change", "init", "open"),
    "path": ("where", "file", "location", "which"),
    "install": ("download", "add", "pull", "setup"),
    "uninstall": ("rm", "remove", "delete"),
    "mint": ("secret", "token", "ephemeral"),
    "export": ("save", "write", "download"),
}
"""For the commands of groups, other words that mean the same."""


def meant_command(word: str, commands: Collection[str]) -> str:
    """What was probably meant by a word that is not a command, as arguments of rtchat; empty if
    that is not known."""
    # Many short words, such as "can" and "who", are similar to short commands.
    return closest(word, commands if len(word) > 3 else (), MEANINGS)


def is_question(words: Sequence[str], commands: Collection[str]) -> bool:
    """Whether words that begin with none of the commands are a question.

    A mistyped command must not become a question, which costs money: one or two unquoted words are
    not enough, nor are words of which the first is similar to a command.
    """
    if _contains_key(words):
        return False
    if " " in words[0].strip() or not words[0].strip():
        return True  # an empty prompt is refused elsewhere
    if meant_command(words[0], commands):
        return False
    return len(words) > 2 or any(" " in word.strip() for word in words)


def unknown_command(words: Sequence[str], commands: Collection[str], path: str) -> UsageError:
    """The first word is not a command of the group at `path`, such as "rtchat keys"."""
    if _contains_key(words):
        return _key_as_argument()
    word, *rest = words
    _, _, group = path.partition(" ")
    near = _meant_of_group(word, commands) if group else meant_command(word, commands)
    if word.lower() in ("update", "upgrade") and not group:
        from rtchat.system.installation import upgrade_command

        return UsageError(f"unknown command {word!r}", hint=f"run `{upgrade_command()}`")
    if near:
        line = f"{near} {shlex.join(rest)}".strip() if near in commands else near
        hint = did_you_mean([f"`{path} {line}`"])
    else:
        hint = f"run `{path} --help` to list the commands"
    if rest or not (group or near):
        question = shlex.quote(" ".join([*group.split(), *words]))
        to_ask = f"to ask a question, run `rtchat once {question}`"
        hint = f"{hint} T{to_ask[1:]}" if hint.endswith("?") else f"{hint}; {to_ask}"
    return UsageError(f"unknown command {word!r}", hint=hint)


def _meant_of_group(word: str, commands: Collection[str]) -> str:
    same = [each for each, others in _OF_GROUPS.items() if word.lower() in others]
    return next((each for each in same if each in commands), "") or closest(word, commands)


def _contains_key(words: Sequence[str]) -> bool:
    return any(re.match(r"(OPENAI_API_KEY=|sk-|ek_|xai-)", word) for word in words)


def _key_as_argument() -> UsageError:
    """A key was given as an argument, so no message quotes the arguments."""
    hint = "run `rtchat keys set`, then enter the key, or set OPENAI_API_KEY"
    return UsageError("a key cannot be an argument", hint=hint)


def argument_error(
    error: Any, arguments: Sequence[str], others: Callable[[str], Sequence[str]]
) -> UsageError:
    """The error for an exception of typer about the arguments of the program.

    `others` returns the commands that have an option.
    """
    is_option_unknown = "possibilities" in vars(error)
    if _contains_key(arguments) and not is_option_unknown:
        return _key_as_argument()
    message = str(error.message if is_option_unknown else error.format_message()).rstrip(".")
    message = message[:1].lower() + message[1:]
    context = error.ctx
    path = f"rtchat {arguments[0]}" if context is None else context.command_path
    hint = ""
    if context is not None and is_option_unknown:
        hint = _hint_for_option(error.option_name, context, others)
    elif path == f"rtchat {arguments[0]}" and "extra argument" in message:
        words = arguments[1:] if arguments[0] == "talk" else arguments
        hint = f"to ask a question, run `rtchat once {shlex.quote(' '.join(words))}`"
    return UsageError(message, hint=hint or f"run `{path} --help`")


def _hint_for_option(option: str, context: Any, others: Callable[[str], Sequence[str]]) -> str:
    from rtchat.config.meanings import option_hint

    params = context.command.get_params(context)
    if hint := option_hint(option, [name for each in params for name in each.opts]):
        return hint
    commands = [f"`rtchat {each}`" for each in others(option)]
    return f"{option} is an option of {' and '.join(commands[:2])}" if commands else ""


def misplaced(option: str, command: str) -> UsageError:
    """An option is before the command."""
    message = f"the command {command} must be the first argument"
    return UsageError(message, hint=f"write it as `rtchat {command} {option} …`")
