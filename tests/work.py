"""A count of the work that a call does, for tests of how its cost grows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

TraceFunction: TypeAlias = Callable[[FrameType, str, Any], Any]


class WorkCounter:
    """Counts the bytecode instructions that Python executes, which do not depend on the load of the
    machine."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> WorkCounter:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> TraceFunction:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self._trace
