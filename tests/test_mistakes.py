"""A mistyped command or option: what was meant is suggested, and nothing is asked or paid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.cli import all_commands, mistakes
from rtchat.config import meanings
from rtchat.config.resolve import resolve
from rtchat.config.settings import rows
from rtchat.core.errors import UsageError
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.program import Program, background, words_of


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that answers with the question."""
    with background(lambda: run_server(EchoEngine())) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    """The program, whose server is that one."""
    program = Program(tmp_path)
    program.environ["RTCHAT_URL"] = url
    return program


@pytest.mark.parametrize(
    "words",
    [
        ["What is a WebSocket?"],
        ["what", "is", "a", "websocket"],
        ["how", "do", "i", "exit", "vim"],  # "how" is similar to "show"
        ["can", "you", "tell", "me"],  # "can" is similar to "man"
        ["where is", "it"],
        ["--", "-x is a question"],
        ["once", "several", "words"],
        ["help", "me with this"],
    ],
)
def test_a_question_is_asked(program: Program, words: list[str]) -> None:
    ran = program.run(*words)
    asked = words[1:] if words[0] in ("--", "once") else words
    assert (ran.code, ran.text) == (0, f"{' '.join(asked)}\n")


def test_options_may_be_before_and_after_a_question(program: Program) -> None:
    for words in (["-q", "a question"], ["a question", "-q"], ["a", "long", "-q", "question"]):
        ran = program.run(*words)
        assert (ran.code, ran.text, ran.err) == (
            0,
            f"{' '.join(w for w in words if w != '-q')}\n",
            "",
        )


def test_piped_text_follows_the_question(program: Program) -> None:
    ran = program.run("a question", stdin=b"the text")
    assert (ran.code, ran.text) == (0, "a question\n\nthe text\n")
    assert program.run("-q", "summarize", stdin=b"it").text == "summarize\n\nit\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        # by spelling
        (["tlak"], "`rtchat talk`"),
        (["onse", "hi"], "`rtchat once hi`"),
        (["hisotry", "list"], "`rtchat history list`"),
        (["TALK"], "`rtchat talk`"),
        (["conf"], "`rtchat config`"),
        (["tlak", "a quoted question"], "`rtchat talk 'a quoted question'`"),
        (["--json", "tlak"], "`rtchat talk`"),
        (["history", "lst"], "`rtchat history list`"),
        (["config", "shwo"], "`rtchat config show`"),
        # by meaning
        (["chat"], "`rtchat talk`"),
        (["ask", "why is the sky blue"], "`rtchat once 'why is the sky blue'`"),
        (["login"], "`rtchat keys set`"),
        (["models"], "--model"),
        (["version"], "`rtchat --version`"),
        (["list", "three", "planets"], "`rtchat history list`"),
        (["search", "websocket"], "`rtchat history search`"),
        (["settings"], "`rtchat config edit`"),
        (["keys", "add"], "`rtchat keys set`"),
        (["keys", "rm"], "`rtchat keys remove`"),
        (["history", "rm"], "`rtchat history delete`"),
        (["local", "download"], "`rtchat local install`"),
        # not known
        (["hello"], "`rtchat --help`"),
        (["hello", "there"], "`rtchat once 'hello there'`"),
        (["history", "of", "rome"], "`rtchat once 'history of rome'`"),
    ],
)
def test_a_mistyped_command_is_not_asked(program: Program, words: list[str], meant: str) -> None:
    ran = program.run(*words)
    assert (ran.code, ran.text) == (2, "")
    assert ran.error.startswith("rtchat: unknown command '")
    assert meant in ran.hint


def test_an_upgrade_is_that_of_the_installer(program: Program) -> None:
    for word in ("update", "upgrade"):
        ran = program.run(word)
        assert (ran.code, ran.hint[:5]) == (2, "run `")


def test_options_before_a_command(program: Program) -> None:
    ran = program.run("--json", "once", "hi")
    assert (ran.code, ran.text) == (2, "")
    assert "`rtchat once --json" in ran.hint


def test_help_is_also_a_word(program: Program) -> None:
    assert program.run("help").text == program.run("--help").text
    assert program.run("help", "keys").text == program.run("keys", "--help").text


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        # by spelling
        (["once", "--modle", "x"], "--model"),
        (["--modle", "x"], "--model"),
        (["once", "--max_output_tokens", "5"], "--max-output-tokens"),
        (["once", "--conect-timeout", "5"], "--connect-timeout"),
        (["--verison"], "--version"),
        (["history", "list", "--lmit", "3"], "--limit"),
        (["serve", "--prot", "3"], "--port"),
        # by meaning
        (["once", "--temperature", "1"], "--set temperature="),
        (["once", "--key", "sk-x"], "rtchat keys set"),
        (["once", "--api-key=sk-x"], "OPENAI_API_KEY"),
        (["once", "--stream"], "streamed"),
        (["once", "--top-p", "1"], "no such option"),
        (["once", "--max-tokens", "1"], "--max-output-tokens"),
        (["once", "--system-prompt", "x"], "--system"),
        (["once", "--base-url", "x"], "--url"),
        (["once", "--voice", "marin"], "--voice-name NAME"),
        (["talk", "--no-echo-cancellation"], "--no-aec"),
        (["transcribe", "--output_format", "srt"], "--format"),
        (["transcribe", "--initial_prompt", "x"], "--prompt TEXT"),
        (["transcribe", "--diarize"], "--speakers"),
        (["transcribe", "--lang", "de"], "--language CODE"),
        (["transcribe", "--sample-rate", "8000"], "--raw RATE"),
        (["serve", "--local"], "--engine local"),
        (["once", "--no-color"], "--color never"),
        (["translate", "--lang", "es"], "--to"),
        # an option of another command
        (["once", "--vad", "off"], "`rtchat talk`"),
        (["talk", "--no-stdin"], "`rtchat once`"),
        (["talk", "--engine", "echo"], "`rtchat serve`"),
        # not known
        (["once", "--frobnicate"], "`rtchat once --help`"),
        (["history", "list", "--frobnicate"], "`rtchat history list --help`"),
        # without its value
        (["transcribe", "--language"], "`rtchat transcribe --help`"),
        # no option at all
        (["talk", "hi", "there"], "`rtchat once 'hi there'`"),
        (["translate", "it", "to", "french"], "`rtchat once 'translate it to french'`"),
    ],
)
def test_an_unknown_option(program: Program, arguments: list[str], meant: str) -> None:
    ran = program.run(*arguments)
    assert (ran.code, ran.text) == (2, "")
    assert meant in ran.hint
    assert "sk-x" not in ran.err


_VAD, _NO_AEC = ["--vad", "off"], ["--no-aec"]
_INPUT, _OUTPUT = ["--input-device", "USB"], ["--output-device", "USB"]
_WITHOUT_EFFECT = [
    *((["talk", *option], "requires --voice") for option in (_VAD, _NO_AEC, _INPUT, _OUTPUT)),
    (["transcribe", "a.wav", *_INPUT], "is for the microphone"),
    (["transcribe", *_INPUT], "is for the microphone"),  # stdin is a pipe
    (["translate", "a.wav", "--play", "--to", "es", *_INPUT], "is for the microphone"),
    (["translate", "a.wav", "--play", "--to", "es", *_NO_AEC], "is for the microphone"),
    (["translate", "a.wav", "--to", "es", *_OUTPUT], "requires --play"),
]
_ALWAYS_USED = {
    *(("talk", name) for name in ("voice", "voice_name", "speed")),
    *(("transcribe", name) for name in ("vad", "raw", "language", "transcription_prompt")),
    *(("translate", name) for name in ("raw", "translate_to")),
}
"""Commands, and their settings of the group Voice that have an effect without another option; raw
audio has a test of its own."""


@pytest.mark.parametrize(("arguments", "reason"), _WITHOUT_EFFECT, ids=str)
def test_an_option_without_effect(program: Program, arguments: list[str], reason: str) -> None:
    ran = program.run(*arguments, stdin=b"hi\n")
    assert (ran.code, ran.text) == (2, "")
    assert ran.error.removeprefix("rtchat: ").split(" ", 1)[1] == reason
    assert ran.hint


def test_every_option_for_audio_always_has_an_effect_or_is_refused() -> None:
    options = {
        (command, row.name): row.option
        for row in rows()
        if row.group.title == "Voice"
        for command in row.commands
        if command in ("talk", "transcribe", "translate")
    }
    refused = {
        key
        for key, option in options.items()
        if any(key[0] == arguments[0] and option in arguments for arguments, _ in _WITHOUT_EFFECT)
    }
    assert refused | _ALWAYS_USED == set(options)


def test_the_environment_may_have_settings_for_other_commands(program: Program) -> None:
    program.environ |= {"RTCHAT_VAD": "off", "RTCHAT_AEC": "off"}
    program.environ |= {"RTCHAT_INPUT_DEVICE": "USB", "RTCHAT_OUTPUT_DEVICE": "USB"}
    ran = program.run("talk", "-q", stdin=b"hi\n")
    assert (ran.code, ran.text, ran.err) == (0, "hi\n", "")


@pytest.mark.parametrize(
    "words",
    [
        *(["login"], ["keys", "set", "work"], ["keys", "add"], [], ["keys"], ["translate", "a"]),
        ["my", "key", "is"],
    ],
)
def test_a_key_among_the_arguments_is_not_shown(program: Program, words: list[str]) -> None:
    ran = program.run(*words, "sk-x")
    assert (ran.code, "sk-x" in ran.err) == (2, False)
    assert "`rtchat keys set`" in ran.hint


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"dialect": "gaa"}, "ga"),
        ({"color": "off"}, "never"),
        ({"render": "yes"}, "always"),
        ({"reasoning": "hgih"}, "high"),
        ({"set": ["reasoning.effort=hgih"]}, "high"),
        ({"set": ["audio.input.turn_detection.type=server"]}, "server_vad"),
        ({"set": ["voice=marin"]}, "audio.output.voice"),
        ({"set": ["voise=marin"]}, "audio.output.voice"),
        ({"set": ["audio.voice=marin"]}, "audio.output.voice"),
        ({"set": ["effort=low"]}, "reasoning.effort"),
        ({"set": ["vad=off"]}, "audio.input.turn_detection.type"),
        ({"set": ["threshold=1"]}, "audio.input.turn_detection.threshold"),
        ({"set": ["audio.output.voice.name=x"]}, "audio.output.voice"),
        ({"set": ["metadata.topic=x"]}, "response.metadata.topic"),
        ({"set": ["metdata.topic=x"]}, "response.metadata.topic"),
        ({"set": ["response.voice=marin"]}, "response.audio.output.voice"),
        ({"set": ["response.metdata.x=1"]}, "response.metadata.x"),
        ({"set": ["max_tokens=5"]}, "--max-output-tokens"),
        ({"set": ["system=x"]}, "--system"),
        ({"set": ["top_p=1"]}, "no such option"),
        ({"set": ["toolz.x=1"]}, "tools"),
        ({"profile": "opneai"}, "openai"),
        ({"profile": "grok"}, "xai"),
    ],
)
def test_an_unknown_value(options: dict[str, object], meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(options, {"OPENAI_API_KEY": "x"})
    assert meant in caught.value.hint


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('modle = "x"', "did you mean model?"),
        ('max-output-tokens = "5"', "did you mean max_output_tokens?"),
        ('max_tokens = "5"', "did you mean max_output_tokens?"),
        ('header = "a: b"', "did you mean headers?"),
        ('base_url = "x"', "did you mean url?"),
        ('system_prompt = "x"', "did you mean system?"),
        ("temperature = 1", "temperature in the table [session]"),
        ('voice_name = "marin"', "audio.output.voice in the table [session]"),
        ('api_key = "sk-x"', "rtchat keys set"),
        ("zzz = 1", "use one of"),
    ],
)
def test_an_unknown_key_in_the_config_file(tmp_path: Path, line: str, meant: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(line)
    with pytest.raises(UsageError) as caught:
        resolve({}, {"OPENAI_API_KEY": "x"}, config=config)
    assert meant in caught.value.hint
    assert "sk-x" not in words_of(caught.value)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["history", "export", "-f", "htlm"], "html"),
        (["history", "export", "-f", "md"], "markdown"),
        (["serve", "--engine", "ecoh"], "echo"),
        (["serve", "--engine", "scirpt:"], "script:FILE"),
        (["completion", "show", "bsh"], "bash"),
        (["keys", "remove", "wrok"], "work"),
    ],
)
def test_an_unknown_value_of_another_option(
    program: Program, arguments: list[str], meant: str
) -> None:
    program.run("keys", "set", "work", stdin=b"the-key-of-work")
    ran = program.run(*arguments)
    assert (ran.code, ran.text, ran.hint) == (2, "", f"did you mean {meant}?")


def test_a_switch_in_the_environment(program: Program) -> None:
    ran = program.run("once", "hi", environ={"RTCHAT_HISTORY": "false"})
    assert (ran.code, ran.hint) == (2, "did you mean off?")
    ran = program.run("once", "hi", environ={"RTCHAT_DOTENV": "1"})
    assert (ran.code, ran.hint) == (2, "did you mean on?")


def test_suggested_options_and_commands_exist() -> None:
    options = {
        name for _, command in all_commands() for each in command.params for name in each.opts
    }
    commands = {path for path, _ in all_commands()} | {"--version", "--help"}
    for line in mistakes.MEANINGS.values():
        assert any(f"{line} ".startswith(f"{command} ") for command in commands), line
    both = meanings.SAME_OPTIONS | meanings.TRANSCRIPTION_OPTIONS
    suggested = {text.split()[0] for text in both.values()}
    assert suggested <= options
