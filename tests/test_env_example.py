"""`.env.example` names every variable, and each example in it works."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from rtchat.config import variables
from rtchat.config.resolve import resolve
from rtchat.config.settings import Secret, Settings, rows
from tests import generate

_ROOT = generate.ROOT
_TEXT = generate.ENV_EXAMPLE.read_text(encoding="utf-8")
_LINES = _TEXT.splitlines()
_EXAMPLE = re.compile(r"#([A-Z][A-Z0-9_]*)=(\S.*)")
_EXAMPLES = {found[1]: found[2] for line in _LINES if (found := _EXAMPLE.fullmatch(line))}

_OF_SETTINGS = {row.variable.name: row.variable.dotenv for row in rows() if row.variable}
_NOT_IN_DOTENV = {
    *(name for name, may in _OF_SETTINGS.items() if may == "no"),
    variables.CONFIG.name,
}

_BY_LIBRARIES = {"SSL_CERT_FILE", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "VISUAL", "EDITOR"}
"""Read by Python's own TLS, by websockets and by the prompt."""
_OF_READLINE = {"INPUTRC"}
_NOT_THE_USER_S = {
    *("OMP_WAIT_POLICY", "SSH_CONNECTION", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "SQLITE_BUSY"),
    *("TERM_PROGRAM", "VTE_VERSION", "WT_SESSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION"),
    *("XTERM_VERSION", "LC_TERMINAL", "ALACRITTY_WINDOW_ID"),
    *("PULSE_SINK", "PULSE_SOURCE", "PCM_16", "MPEG_LAYER_III"),
}
"""What the built-in model's runtime is told, what a desktop, sshd or a terminal says of itself, and
what is no variable."""


def _named_in_the_code() -> set[str]:
    names = set()
    for path in (_ROOT / "rtchat").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names |= set(re.findall(r"^(?:[A-Z][A-Z0-9]*_[A-Z0-9_]+|TERM)$", node.value))
    profiles = tomllib.loads(
        (_ROOT / "rtchat" / "config" / "profiles.toml").read_text(encoding="utf-8")
    )
    for profile in profiles.values():
        names |= {*profile.get("key_env", ()), *re.findall(r"\{([A-Z_]+)\}", str(profile))}
    return names


def test_it_is_what_the_table_of_settings_says() -> None:
    """`python -m tests.generate` writes it."""
    assert generate.env_example() == _TEXT


def test_it_names_every_variable_and_no_other() -> None:
    read = _named_in_the_code() - _NOT_THE_USER_S
    assert read >= {*_OF_SETTINGS, "OPENAI_API_KEY", "RTCHAT_DEBUG", "NO_COLOR", "TERM"}
    assert set(_EXAMPLES) == read | _BY_LIBRARIES | _OF_READLINE


def test_everything_is_commented_out_and_explained() -> None:
    assert [line for line in _LINES if line and not line.startswith("#")] == []
    for number, line in enumerate(_LINES):
        if _EXAMPLE.fullmatch(line):
            assert re.fullmatch(r"# [A-Z].*[.]", _LINES[number - 1]), f"{line} is not explained"


def test_every_example_works(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[profiles.work]\n")
    text = "\n".join(f"{name}={value}" for name, value in _EXAMPLES.items())
    dotenv = tmp_path / ".env"
    dotenv.write_text(text, encoding="utf-8")
    warnings: list[str] = []
    found = resolve(
        {},
        {},
        dotenv=dotenv,
        config=tmp_path / "config.toml",
        warn=lambda text, _: warnings.append(text),
    )
    assert found == Settings(
        system="Answer briefly.",
        max_output_tokens="inf",
        context=16_000,
        image_detail="low",
        headers=(
            ("OpenAI-Organization", "org-..."),
            ("OpenAI-Project", "proj_..."),
            ("OpenAI-Safety-Identifier", "5f2c..."),
        ),
        history=False,
        vad="server",
        aec=False,
        input_device="USB",
        output_device="Headphones",
        language="de",
        translate_to="es",
        keep_audio=True,
        status=False,
        title=False,
        notify="bell",
        editing_mode="vi",
        key=Secret("sk-..."),
    )
    ignored = {line.partition(" ")[0] for line in warnings if "is ignored" in line}
    assert ignored == _NOT_IN_DOTENV
    environ = {name: _EXAMPLES[name] for name in ignored}
    config = tmp_path / environ["RTCHAT_CONFIG"]
    config.touch()
    environ |= {"RTCHAT_CONFIG": str(config), "OPENAI_API_KEY": "sk-..."}
    assert resolve({}, environ) == Settings(
        trace=Path("trace.jsonl"), ca_bundle=Path("company.pem"), key=Secret("sk-...")
    )


@pytest.mark.parametrize(
    "variable",
    [
        *("RTCHAT_DEBUG", "NO_COLOR", "SSL_CERT_FILE", "RTCHAT_DOTENV"),
        *sorted(_NOT_IN_DOTENV),
    ],
)
def test_it_says_what_dotenv_cannot_give(variable: str) -> None:
    assert _TEXT.index("only from the environment") < _TEXT.index(f"#{variable}=")
