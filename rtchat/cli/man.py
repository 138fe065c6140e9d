"""`man`: the manual."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rtchat.cli import all_commands
from rtchat.cli.environment import is_terminal, stdout
from rtchat.cli.examples import EXAMPLES
from rtchat.core.errors import UsageError


def man() -> int:
    """Show the manual, or print its source if stdout is not a terminal."""
    page = source()
    if not is_terminal(sys.stdout):
        stdout().write(page)
        return 0
    import shutil
    import signal
    import subprocess
    import tempfile

    viewer = shutil.which("man")
    if viewer is None:
        raise UsageError(
            "the program man is not installed",
            hint="run `rtchat --help`, or install man; `rtchat man > rtchat.1` saves the source",
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rtchat.1")
        file.write_text(page, encoding="utf-8")
        before = signal.signal(signal.SIGINT, lambda *_: None)  # it is for the viewer
        try:
            return subprocess.run([viewer, str(file)], check=False).returncode and 1
        finally:
            signal.signal(signal.SIGINT, before)


def source() -> str:
    """The source of the manual page."""
    from rtchat.app.manual import ManualCommand, manual_page

    commands = []
    seen: set[str] = set()
    for path, command in all_commands():
        context = command.context_class(command)
        own = [
            (_metavar(each), each.help or "")
            if _is_argument(each)
            else each.get_help_record(context)
            for each in command.params
            if getattr(each, "rich_help_panel", None) is None or path == "serve"
        ]
        arguments = map(_metavar, filter(_is_argument, command.params))
        top = path.partition(" ")[0]
        examples = () if top in seen else EXAMPLES.get(top, ())
        seen.add(top)
        usage = " ".join(["[OPTIONS]", *arguments] if command.params else [])
        options = [record for record in own if record is not None]
        commands.append(ManualCommand(path, usage, command.help or "", options, examples))
    return manual_page(commands, EXAMPLES[""])


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _metavar(argument: Any) -> str:
    """The placeholder of an argument. Typer itself adds brackets, but not in all versions."""
    return str(argument.metavar or argument.name.upper())
