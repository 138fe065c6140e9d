"""Every fault of a network or a server, as a script sees it: stdout, stderr, the exit code and the
saved conversation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import (
    EXPIRED,
    HALF,
    HOUR,
    RACE,
    SILENT,
    Row,
    Server,
    asked_again,
    cut,
    cut_off,
    failed,
    failing,
    fine,
    given_up,
    hint,
    nobody,
    nowhere,
    refused,
    refusing,
    replayed,
    saying_bytes,
    scripted,
    secured,
    silent,
    together,
)
from tests.faulty import (
    Close,
    Mishap,
    begun,
    done,
    error,
    frame,
    said,
    whole,
)

QUICK = ("--connect-timeout", "2")
PATIENCE = ("--url", "--timeout", "--connect-timeout")


def odd(*frames: str | bytes) -> Server:
    """Frames in the middle of a reply that are of no use to it."""
    return scripted((begun(), said("Be"), *frames, said("gin"), done()))


def turned_away(code: str, message: str, close: int) -> Server:
    """A server that opens the socket, says what it has against us, and closes it."""
    reason = f"invalid_request_error.{code}"
    return scripted(greetings=((error(code, message), Close(close, reason)),))


def close_rows() -> Iterator[Row]:
    """Each close code, before a reply and in the middle of it."""
    kinds: dict[int, tuple[int, *tuple[str, ...]]] = {
        1008: (4, "--url", "--model"),
        1009: (4,),
        3000: (3, "OPENAI_API_KEY"),
        4000: (4, "--url", "--model"),
        4004: (4, "--url", "--model"),
    }
    for code in (1000, 1001, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4004):
        lost = f"connection lost ({code} a reason)"
        before, during = (
            scripted((Close(code, "a reason"),)),
            scripted((*HALF, Close(code, "a reason"))),
        )
        if code in kinds:
            exit_code, *names = kinds[code]
            yield Row(f"{code} before the reply", before, given_up(exit_code, lost, *names))
            yield Row(f"{code} in mid reply", during, cut_off(exit_code, lost, *names))
        else:
            yield Row(f"{code} before the reply", before, replayed(lost))
            yield Row(f"{code} in mid reply", during, cut(lost))


CONNECTING = (
    Row(
        "refused",
        nobody,
        refused(4, "HERE refused the connection", "--url"),
    ),
    Row(
        "no such name",
        nowhere,
        refused(4, "host HERE not found", "--url"),
        ("--connect-timeout", "20"),
    ),
    Row(
        "a handshake that hangs",
        saying_bytes(b"", stays=True),
        given_up(
            4,
            "timed out: no response from HERE for 2 s",
            "--connect-timeout",
        ),
        QUICK,
    ),
    Row(
        "another protocol",
        saying_bytes(b"SSH-2.0-OpenSSH_9.2\r\n"),
        refused(4, "HERE is not a WebSocket server", "--url"),
    ),
    Row(
        "101, then silence",
        scripted(greetings=((Mishap.SILENCE,),)),
        given_up(4, "timed out: the server sent no session.created", *PATIENCE),
        QUICK,
    ),
    Row(
        "no answer to the settings",
        scripted(ready=(Mishap.SILENCE,)),
        given_up(4, "timed out: the server sent no answer to session.update", *PATIENCE),
        QUICK,
    ),
    Row(
        "the settings are refused",
        scripted(
            ready=(error("unknown_parameter", "Unknown: x.", param="x", event_id="rtchat_1"),)
        ),
        refused(
            2,
            "the server refused x: Unknown: x.",
            "--dialect",
        ),
    ),
    Row(
        "401",
        refusing((401, "")),
        refused(3, "the server responded with HTTP 401", "OPENAI_API_KEY"),
    ),
    Row(
        "402",
        refusing((402, "")),
        refused(5, "the server responded with HTTP 402"),
    ),
    Row(
        "403",
        refusing((403, "")),
        refused(3, "the server responded with HTTP 403"),
    ),
    Row(
        "404",
        refusing((404, "")),
        refused(4, "the server responded with HTTP 404", "--url", "--model"),
    ),
    Row(
        "429, a short wait",
        refusing((429, "0.2")),
        asked_again("the server responded with HTTP 429; retrying in N s"),
    ),
    Row(
        "429, a long wait",
        refusing((429, "31")),
        refused(
            5,
            "the server responded with HTTP 429",
        ),
    ),
    Row(
        "500",
        refusing((500, "")),
        asked_again("the server responded with HTTP 500; retrying in N s"),
    ),
    Row(
        "503 twice",
        refusing((503, ""), (503, "")),
        asked_again(*("the server responded with HTTP 503; retrying in N s",) * 2),
    ),
    Row(
        "503, a long wait",
        refusing((503, "31")),
        refused(4, "the server responded with HTTP 503"),
    ),
    Row(
        "a certificate that nobody signed",
        secured(expired=False),
        refused(
            4,
            "the certificate of HERE is not trusted (self-signed certificate)",
            "--ca-bundle",
            "SSL_CERT_FILE",
        ),
    ),
    Row(
        "a certificate that ran out",
        secured(expired=True),
        refused(
            4,
            "the certificate of HERE is not trusted (certificate has expired)",
        ),
    ),
    Row(
        "a wrong key",
        turned_away("invalid_api_key", "Incorrect API key provided: sk-w***.", 3000),
        refused(3, "Incorrect API key provided: sk-w***.", "OPENAI_API_KEY"),
    ),
    Row(
        "no such model",
        turned_away("model_not_found", "The model does not exist.", 4004),
        refused(2, "The model does not exist.", "--model"),
    ),
    Row(
        "no quota",
        turned_away("insufficient_quota", "You exceeded your quota.", 1013),
        refused(5, "You exceeded your quota."),
    ),
)
BREAKING = (
    Row("reset before the reply", scripted((Mishap.RESET,)), replayed("connection lost (1006)")),
    Row(
        "reset before the reply, twice",
        scripted((begun(), Mishap.RESET), (Mishap.RESET,)),
        replayed("connection lost (1006)", times=2),
    ),
    Row(
        "reset in mid reply, once",
        scripted((*HALF, Mishap.RESET)),
        cut("connection lost (1006)"),
    ),
    Row(
        "the session is over before the reply",
        scripted(EXPIRED),
        replayed(f"connection lost (1001 {HOUR})"),
    ),
    Row(
        "the session is over in mid reply",
        scripted((*HALF, *EXPIRED)),
        cut(f"connection lost (1001 {HOUR})"),
    ),
    Row(
        "half-open before the reply",
        scripted((Mishap.FREEZE,)),
        silent(2, "", *PATIENCE),
        SILENT,
    ),
    Row(
        "half-open in mid reply",
        scripted((*HALF, Mishap.FREEZE)),
        silent(2, "Half", *PATIENCE),
        SILENT,
    ),
    Row(
        "stall in mid reply",
        scripted((*HALF, Mishap.SILENCE)),
        silent(2, "Half", *PATIENCE),
        SILENT,
    ),
    Row(
        "a frame beyond the limit",
        scripted((*HALF, said("x" * 70_000_000))),
        cut_off(
            4,
            "connection lost (1009 frame with 70000128 bytes exceeds limit of 67108864 bytes)",
        ),
    ),
    *close_rows(),
)
REPLYING = (
    Row(
        "not JSON",
        odd("{", "", "null", "[]", "NaN", '{"type": 5}', "\u2028", "[" * 10_000),
        fine("Begin"),
    ),
    Row("binary", odd(b"\x00\xff", b"", b"{\xff}"), fine("Begin")),
    Row(
        "JSON in binary frames",
        scripted((begun(), said("Be"), said("gin").encode(), done())),
        fine("Begin"),
    ),
    Row(
        "unknown events",
        odd(frame("response.thought.delta", response_id="r", delta="Hm."), frame("x" * 5000)),
        fine("Begin"),
    ),
    Row(
        "events twice",
        scripted((begun(), begun(), said("Begin"), *[whole("Begin")] * 2, *[done()] * 3)),
        fine("Begin"),
    ),
    Row(
        "events out of order",
        scripted((said("Be"), begun(), whole("Begin"), said("gin"), done(), said("late"))),
        fine("Begin"),
    ),
    Row(
        "another response.created in mid reply",
        scripted(
            (*HALF, begun("r2"), said(" more", "r2"), said(" a word."), done(id="r2"), done())
        ),
        fine("Half a word.", "the server said, without being asked:  more"),
    ),
    Row(
        "an error before the reply",
        scripted((error("server_error", "Odd."), begun(), said("Begin"), done())),
        fine("Begin", "rtchat: the server reports: Odd."),
    ),
    Row(
        "an error during the reply",
        odd(error("server_error", "Odd.")),
        fine("Begin", "rtchat: the server reports: Odd."),
    ),
    Row(
        "an error instead of the reply",
        scripted((error("invalid_value", "Not that.", event_id="rtchat_3"),)),
        failed(1, "", "failed", "Not that."),
    ),
    Row(
        "the question is refused",
        scripted((error("invalid_value", "Not that.", event_id="rtchat_2"), begun(), done())),
        failed(1, "", "failed", "Not that."),
    ),
    Row(
        "failed",
        scripted(failing("server_error", "Oh no.", *HALF)),
        failed(1, "Half", "failed", "the reply failed: Oh no."),
    ),
    Row(
        "failed, no quota",
        scripted(failing("insufficient_quota", "No credit.")),
        failed(
            5,
            "",
            "failed",
            "the reply failed: No credit.",
            hint(),
        ),
    ),
    Row(
        "a short rate limit",
        scripted(failing("rate_limit_exceeded", "Please try again in 0.2s.")),
        asked_again("rate limit; retrying in N s"),
    ),
    Row(
        "a long rate limit",
        scripted(failing("rate_limit_exceeded", "Please try again in 1m2s.")),
        failed(
            5,
            "",
            "failed",
            "the reply failed: Please try again in 1m2s.",
            hint(),
        ),
    ),
    Row(
        "incomplete, too long",
        scripted((*HALF, done("incomplete", reason="max_output_tokens"))),
        failed(
            1,
            "Half",
            "incomplete",
            "the reply reached the output limit",
            hint("--max-output-tokens"),
        ),
    ),
    Row(
        "incomplete, filtered",
        scripted((*HALF, done("incomplete", reason="content_filter"))),
        failed(1, "Half", "incomplete", "the reply was stopped by the content filter"),
    ),
    Row(
        "cancelled by the server",
        scripted((*HALF, done("cancelled", reason="turn_detected"))),
        failed(1, "Half", "cancelled", "the reply was interrupted by speech"),
    ),
)


@pytest.mark.parametrize("row", [*CONNECTING, *BREAKING, *REPLYING], ids=lambda row: row.name)
def test_a_fault(tmp_path: Path, row: Row) -> None:
    once, talk = together(tmp_path, [(row, "once"), (row, "talk")])
    if row.ends[1].kept == RACE:
        talk = replace(talk, kept=RACE)
    assert (once, talk) == row.ends
