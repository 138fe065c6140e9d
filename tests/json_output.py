"""Checks objects of `--json` against the table of their fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from rtchat.core.json_output import OUTPUTS, schema_of


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema_of(name))
    return Draft202012Validator(schema_of(name))


def check(name: str, data: object) -> None:
    """Fail if an object is not of this kind."""
    _validator(name).validate(data)


def check_lines(arguments: Sequence[str], out: bytes) -> None:
    """Check the complete lines of a command that was run with these arguments."""
    words = " ".join(arguments)
    if "--json" not in arguments:
        return
    for name, output in OUTPUTS.items():
        if any(words.startswith(f"{command} ") for command in output.commands.split(", ")):
            for line in out.split(b"\n")[:-1]:
                check(name, json.loads(line))
