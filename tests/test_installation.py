"""A hint to install an extra fits how rtchat was installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rtchat.core.errors import RtchatError
from rtchat.system.installation import extra_command, extra_hint


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment that is active and has rtchat from an index."""
    (tmp_path / "bin").mkdir()
    pip = tmp_path / "bin" / "pip"
    pip.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    _install(tmp_path)
    return tmp_path


def _install(prefix: Path, origin: object = None) -> None:
    """Install rtchat from there; its metadata is what pip, pipx and uv write."""
    info = prefix / "site" / "rtchat-0.1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: rtchat\nVersion: 0.1.0\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


_FOLDER = {"url": "file:///src/my%20rtchat", "dir_info": {}}
_EDITABLE = {"url": "file:///src/rtchat", "dir_info": {"editable": True}}
_GIT = {"url": "https://a.example/rtchat", "vcs_info": {"vcs": "git", "commit_id": "1"}}
_WHEEL = {"url": "file:///dist/rtchat-0.1.0-py3-none-any.whl", "archive_info": {}}


@pytest.mark.parametrize(
    ("origin", "spec"),
    [
        (None, "'rtchat[voice]'"),
        (_FOLDER, "'/src/my rtchat[voice]'"),
        (_EDITABLE, "-e '/src/rtchat[voice]'"),
        (_GIT, "'rtchat[voice] @ git+https://a.example/rtchat'"),
        (_WHEEL, "'rtchat[voice] @ file:///dist/rtchat-0.1.0-py3-none-any.whl'"),
        ("damaged", "'rtchat[voice]'"),
    ],
)
def test_pip(prefix: Path, origin: object, spec: str) -> None:
    _install(prefix, origin)
    assert extra_command("voice", prefix) == f"pip install {spec}"


def test_the_pip_of_an_environment_that_is_not_active(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    python = prefix / "bin" / "python"
    assert extra_command("mcp", prefix) == f"{python} -m pip install 'rtchat[mcp]'"


def test_an_environment_of_uv_has_no_pip(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prefix / "bin" / "uv").touch(0o755)
    monkeypatch.setattr(sys, "path", [str(prefix / "site")])
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    python = prefix / "bin" / "python"
    found = extra_command("mcp", prefix)
    assert found == f"uv pip install --python {python} 'rtchat[mcp]'"


def test_pipx(prefix: Path) -> None:
    (prefix / "pipx_metadata.json").write_text("{}")
    assert extra_command("voice", prefix) == "pipx inject rtchat 'rtchat[voice]'"
    _install(prefix, _FOLDER)
    assert extra_command("voice", prefix) == "pipx inject rtchat '/src/my rtchat[voice]'"


def test_uv_tool_keeps_the_other_extras(prefix: Path) -> None:
    receipt = prefix / "uv-receipt.toml"
    receipt.write_text('[tool]\nrequirements = [{ name = "rtchat" }]\n')
    assert extra_command("voice", prefix) == "uv tool install 'rtchat[voice]'"
    receipt.write_text('[tool]\nrequirements = [{ name = "rtchat", extras = ["tools", "mcp"] }]\n')
    assert extra_command("voice", prefix) == "uv tool install 'rtchat[mcp,tools,voice]'"
    receipt.write_text("damaged")
    _install(prefix, _EDITABLE)
    assert extra_command("voice", prefix) == "uv tool install --editable '/src/rtchat[voice]'"


@pytest.mark.parametrize("cache", ["archive-v0", "environments-v2"])
def test_uvx(prefix: Path, cache: str) -> None:
    environment = prefix / "uv" / cache / "abc"
    assert extra_command("voice", environment) == "uvx --from 'rtchat[voice]' rtchat"


def test_a_checkout_that_is_not_installed(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    found = extra_command("voice", prefix, Path("/src/rtchat/rtchat"))
    assert found == "pip install -e '/src/rtchat[voice]'"


def test_a_hint_is_an_instruction() -> None:
    error = RtchatError("no package", hint=extra_hint("voice"))
    assert error.hint.startswith("run `")
    assert "[voice]" in error.hint
