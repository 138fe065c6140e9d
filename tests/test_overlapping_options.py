"""What has an option of its own and can be set with --set, too: the option takes precedence over
--set, and --set over the environment and the config file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtchat.app.audio_io import AudioSettings, audio_config
from rtchat.config.resolve import resolve
from rtchat.config.settings import Settings
from rtchat.core.dotted_keys import flat
from rtchat.core.errors import UsageError
from rtchat.wire.audio_options import with_transcription

_HEARD = "audio.input.transcription"
_TURNS = "audio.input.turn_detection.type"
_OPTIONS = [
    # the setting, its value, the key, the same value there, another value there
    ("reasoning", "high", "reasoning.effort", "high", "low"),
    ("voice_name", "ash", "audio.output.voice", "ash", "marin"),
    ("speed", "1.25", "audio.output.speed", 1.25, 0.5),
    ("vad", "semantic", _TURNS, "semantic_vad", "server_vad"),
    ("language", "de", f"{_HEARD}.language", "de", "fr"),
    ("transcription_prompt", "Nguyen", f"{_HEARD}.prompt", "Nguyen", "Smith"),
]


def _sent(settings: Settings, key: str) -> object:
    """The value of an option of the session that a server receives."""
    if key.startswith(_HEARD):
        session = with_transcription(
            settings.session,
            model="w",
            vad=settings.vad,
            language=settings.language,
            prompt=settings.transcription_prompt,
        ).other
    else:
        session, _ = audio_config(settings, AudioSettings(is_live=True))
    return dict(flat(session))[key]


@pytest.mark.parametrize(("name", "value", "key", "same", "other"), _OPTIONS)
def test_an_option_takes_precedence_over_set(
    name: str, value: str, key: str, same: object, other: object
) -> None:
    options = {name: value, "set": [f"{key}={other}"]}
    assert _sent(resolve(options, {"OPENAI_API_KEY": "x"}), key) == same
    assert _sent(resolve({"set": [f"{key}={other}"]}, {"OPENAI_API_KEY": "x"}), key) == other


@pytest.mark.parametrize(
    ("name", "value", "key", "same", "other"),
    [each for each in _OPTIONS if "audio.input" in each[2]],
)
def test_set_takes_precedence_over_the_config_file(
    tmp_path: Path, name: str, value: str, key: str, same: object, other: object
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'{name} = "{value}"\n')
    environ = {"OPENAI_API_KEY": "x"}
    assert _sent(resolve({}, environ, config=config), key) == same
    assert _sent(resolve({"set": [f"{key}={other}"]}, environ, config=config), key) == other


@pytest.mark.parametrize("name", ["VAD", "LANGUAGE"])
def test_set_takes_precedence_over_the_environment(name: str) -> None:
    value, key, same, other = next(each[1:] for each in _OPTIONS if each[0] == name.lower())
    environ = {"OPENAI_API_KEY": "x", f"RTCHAT_{name}": value}
    assert _sent(resolve({}, environ), key) == same
    assert _sent(resolve({"set": [f"{key}={other}"]}, environ), key) == other


@pytest.mark.parametrize(
    ("key", "option"), [("instructions", "--system"), ("max_output_tokens", "--max-output-tokens")]
)
def test_set_refuses_what_only_an_option_sets(key: str, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"set": [f"{key}=5"]}, {"OPENAI_API_KEY": "x"})
    assert option in caught.value.hint


def test_set_can_turn_off_turn_detection() -> None:
    environ = {"OPENAI_API_KEY": "x", "RTCHAT_VAD": "server"}
    settings = resolve({"set": ["audio.input.turn_detection=null"]}, environ)
    session, speech = audio_config(settings, AudioSettings(is_live=True))
    assert dict(flat(session))["audio.input.turn_detection"] is None
    assert speech.push_to_talk
