"""How rtchat was installed, and the command that adds an extra to that installation."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def extra_hint(extra: str) -> str:
    """How to install the packages of an optional feature."""
    return f"run `{extra_command(extra)}`"


def extra_command(extra: str, prefix: Path | None = None, package: Path | None = None) -> str:
    """The command that installs an extra as rtchat itself was installed.

    `prefix` is the virtual environment and `package` the folder of the package; the defaults are
    those of this process.
    """
    prefix, package = prefix or Path(sys.prefix), package or _PACKAGE
    source, is_editable = _source(package)
    if (prefix / "uv-receipt.toml").is_file():
        others = _extras_of_receipt(prefix / "uv-receipt.toml")
        editable = ["--editable"] if is_editable else []
        spec = _with_extra(source, ",".join(sorted({*others, extra})))
        return shlex.join(["uv", "tool", "install", *editable, spec])
    if (prefix / "pipx_metadata.json").is_file():
        return shlex.join(["pipx", "inject", "rtchat", _with_extra(source, extra)])
    if {"archive-v0", "environments-v2"} & set(prefix.parts):  # the cache of uv
        return shlex.join(["uvx", "--from", _with_extra(source, extra), "rtchat"])
    editable = ["-e"] if is_editable else []
    return shlex.join([*_pip_install(prefix), *editable, _with_extra(source, extra)])


def upgrade_command(prefix: Path | None = None, package: Path | None = None) -> str:
    """The command that installs the newest version as rtchat itself was installed."""
    prefix, package = prefix or Path(sys.prefix), package or _PACKAGE
    source, is_editable = _source(package)
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool upgrade rtchat"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx upgrade rtchat"
    if is_editable:
        return shlex.join(["git", "-C", source, "pull"])
    return shlex.join([*_pip_install(prefix), "--upgrade", source or "rtchat"])


def _source(package: Path) -> tuple[str, bool]:
    """What was installed, as pip names it, and whether it is an editable checkout."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("rtchat").read_text("direct_url.json")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return str(package.parent), True
    try:
        origin = json.loads(text or "{}")
        url = str(origin.get("url", ""))
    except (ValueError, AttributeError):
        return "", False
    if url.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        is_editable = bool(origin.get("dir_info", {}).get("editable"))
        return unquote(urlsplit(url).path), is_editable
    version_control = origin.get("vcs_info", {}).get("vcs")
    return (f"{version_control}+{url}" if version_control else url), False


def _with_extra(source: str, extra: str) -> str:
    if not source:
        return f"rtchat[{extra}]"
    if "://" in source or source.endswith((".whl", ".tar.gz")):
        location = source if "://" in source else f"file://{source}"
        return f"rtchat[{extra}] @ {location}"
    return f"{source}[{extra}]"


def _pip_install(prefix: Path) -> list[str]:
    """The command that installs into an environment."""
    python = str(prefix / "bin" / "python")
    if find_spec("pip") is None and shutil.which("uv"):
        return ["uv", "pip", "install", "--python", python]
    is_active = Path(shutil.which("pip") or "/").parent == prefix / "bin"
    return ["pip", "install"] if is_active else [python, "-m", "pip", "install"]


def _extras_of_receipt(path: Path) -> list[str]:
    """The extras with which `uv tool` installed rtchat. It would remove those not named again."""
    try:
        requirements = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["requirements"]
        return [
            str(extra)
            for each in requirements
            if each["name"] == "rtchat"
            for extra in each.get("extras", [])
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
