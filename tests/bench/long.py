"""How a turn of `rtchat serve` grows with the conversation: `python tests/bench/long.py [TURNS]`.

The engine `echo` answers 3,000 questions in one session without a socket. CPU time of a turn, the
median of 50 at the start and at the end.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.server.engine import Finish
from rtchat.server.outputs import StartResponse
from rtchat.server.protocol import ProtocolSession
from rtchat.server.script import EchoEngine
from rtchat.server.tone_voice import ToneVoice

TURNS = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdecimal() else 3000
SAMPLE = 50
QUESTION = "What is a WebSocket, in two sentences? " * 4
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}
EVENTS = (
    json.dumps({"type": "conversation.item.create", "item": ITEM}),
    json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}),
)


async def turn(session: ProtocolSession) -> float:
    """One turn; its CPU seconds."""
    before = time.process_time()
    outputs = [output for event in EVENTS for output in session.receive(event)]
    (started,) = (output for output in outputs if isinstance(output, StartResponse))
    async for piece in started.answer:
        if isinstance(piece, Finish):
            session.finish(started.response_id, piece)
        elif isinstance(piece, str):
            session.add_piece(started.response_id, piece)
    return time.process_time() - before


async def measured() -> tuple[float, float]:
    """The CPU milliseconds of a turn at the start and at the end."""
    numbers = count()
    session = ProtocolSession(
        EchoEngine(),
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
        now=0.0,
        voice=ToneVoice(()),
    )
    seconds = [await turn(session) for _ in range(SAMPLE + TURNS)]
    first, last = (statistics.median(each) for each in (seconds[:SAMPLE], seconds[-SAMPLE:]))
    return 1000 * first, 1000 * last


def ratios() -> dict[str, float]:
    """How much longer the last turn takes, by name."""
    first, last = asyncio.run(measured())
    return {f"serve, turn {TURNS:,} / turn 1": last / first}


def main() -> None:
    """Measure, print."""
    first, last = asyncio.run(measured())
    sys.stdout.write(f"turn 1: {first:.2f} ms, turn {TURNS:,}: {last:.2f} ms\n")


if __name__ == "__main__":
    main()
