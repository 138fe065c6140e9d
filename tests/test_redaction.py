"""Redaction of keys in texts, in any encoding and however the texts are split. Nothing else
changes, and no more text is held back than could be the start of a key."""

from __future__ import annotations

import re
from base64 import b64encode
from html import escape
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.redaction import REPLACEMENT, Redactor, StreamRedactor, is_secret

KEY = "sk-0123456789/abc+def&Z"
_LETTERS = 'ab-/&\\"%u0s😀é'


def _escaped(char: str) -> str:
    pairs = char.encode("utf-16-be")
    return "".join(f"\\u{pairs[at : at + 2].hex()}" for at in range(0, len(pairs), 2))


SPELLINGS = (
    lambda char: char,
    _escaped,
    lambda char: "".join(f"%{byte:02X}" for byte in char.encode()),
    lambda char: "".join(f"\\x{byte:02x}" for byte in char.encode()),
    lambda char: f"&#{ord(char)};",
    lambda char: f"&#x{ord(char):x};",
)
keys = st.text(_LETTERS, min_size=4, max_size=10).filter(is_secret)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Keys, and a text in pieces that contains them and their beginnings."""
    secrets = draw(st.lists(keys, min_size=1, max_size=2))
    parts = []
    for _ in range(draw(st.integers(0, 5))):
        key = draw(st.sampled_from(secrets))
        spell = draw(st.sampled_from(SPELLINGS))
        written = "".join(map(spell, key))
        parts.append(
            draw(
                st.one_of(
                    st.text(_LETTERS, max_size=4),
                    st.just(key),
                    st.just(written),
                    st.sampled_from([written[:end] for end in range(len(written))]),
                )
            )
        )
    text = "".join(parts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    ends = [0, *cuts, len(text)]
    return secrets, [text[start:end] for start, end in pairwise(ends)]


@given(cases())
def test_redaction_does_not_depend_on_how_a_text_is_split(
    case: tuple[list[str], list[str]],
) -> None:
    secrets, pieces = case
    redactor = Redactor(secrets)
    stream = StreamRedactor(redactor)
    whole = redactor.redact("".join(pieces))
    given_out, so_far = "", ""
    for piece in pieces:
        so_far += piece
        given_out += stream.feed(piece)
        assert whole.startswith(given_out)
        assert so_far.endswith(stream.held)
        # If the text ends here, this is all of it.
        assert given_out + Redactor(secrets).redact(stream.held) == redactor.redact(so_far)
    assert given_out + stream.end() == whole


@given(cases())
def test_no_key_is_left(case: tuple[list[str], list[str]]) -> None:
    secrets, pieces = case
    out = Redactor(secrets).redact("".join(pieces))
    assert not any(secret in out for secret in secrets)


@given(cases())
def test_a_text_without_keys_is_unchanged(case: tuple[list[str], list[str]]) -> None:
    _, pieces = case
    stream = StreamRedactor(Redactor(["another-key"]))
    assert "".join(map(stream.feed, pieces)) + stream.end() == "".join(pieces)


@given(keys, st.lists(st.integers(0, 5), min_size=10, max_size=10), st.text("xyz"))
def test_every_encoding_of_a_character_is_found(key: str, ways: list[int], text: str) -> None:
    written = "".join(SPELLINGS[way](char) for char, way in zip(key, ways, strict=False))
    assert Redactor([key]).redact(f"{text}{written}{text}") == f"{text}{REPLACEMENT}{text}"


@given(st.text("abk-s", max_size=40))
def test_only_the_start_of_a_key_is_held_back(text: str) -> None:
    key = "sk-ab"
    stream = StreamRedactor(Redactor([key]))
    stream.feed(text)
    assert stream.held == "" or (key.startswith(stream.held) and stream.held != key)
    longest = max(n for n in range(len(key)) if text.endswith(key[:n]))
    assert stream.held == key[:longest]


@pytest.mark.parametrize(
    "form",
    [
        KEY.replace("/", "\\/"),
        KEY.replace("&", "\\u0026"),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower().replace("z", "Z"),
        quote(KEY),
        escape(KEY),
        b64encode(KEY.encode()).decode(),
        b64encode(f"x:{KEY}".encode()).decode(),
        b64encode(f"me:{KEY}:it".encode()).decode().replace("/", "\\/").replace("=", "%3d"),
    ],
)
def test_encoded_keys_are_found_however_they_are_split(form: str) -> None:
    redactor = Redactor([KEY])
    whole = redactor.redact(f"It is {form}.")
    assert REPLACEMENT in whole
    for at in range(len(form)):
        stream = StreamRedactor(redactor)
        said = stream.feed(f"It is {form[:at]}") + stream.feed(f"{form[at:]}.") + stream.end()
        assert said == whole
        assert redactor.may_be_in_json(f'"{form}"')


def test_the_longest_key_is_redacted() -> None:
    redactor = Redactor(["key-1", "key-1-and-more"])
    assert redactor.redact("key-1, key-1-and-more, key-1-and") == "[key], [key], [key]-and"
    stream = StreamRedactor(redactor)
    assert stream.feed("key-1-and") == ""
    assert stream.end() == "[key]-and"


def test_values_that_are_not_secrets_are_unchanged() -> None:
    redactor = Redactor(["", "test", "ollama", "a-b"])
    assert (redactor.secrets, redactor.redact("test ollama a-b")) == ((), "test ollama a-b")


def test_a_text_continued_after_its_end_reveals_no_key() -> None:
    stream = StreamRedactor(Redactor(["sk-secret"]))
    said = stream.feed("sk-sec") + stream.end()
    assert said == "sk-sec"
    assert stream.feed("ret!") == "[key]!"
    said = stream.feed("sk-") + stream.end() + stream.feed("sec") + stream.end()
    assert said == "sk-[key]"
    assert stream.feed("ret") == "ret"
    assert stream.end() == ""


def test_a_surrogate_pair_in_a_key_may_be_split() -> None:
    stream = StreamRedactor(Redactor(["a-😀-b"]))
    assert stream.feed("xa-\ud83d") == "x"
    assert stream.feed("\ude00-") == ""
    assert stream.feed("b") == "[key]"


def test_redaction_takes_linear_time() -> None:
    redactor = Redactor(["s" * 20])
    text = ("s" * 19 + "x") * 500
    assert redactor.redact(text) == text
    assert re.sub("s{20}", REPLACEMENT, "s" * 45) == redactor.redact("s" * 45)
