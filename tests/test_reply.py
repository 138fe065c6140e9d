"""The text of one response: in order, complete and without repetition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.events import ChannelDone, Delta, PartDone
from rtchat.core.reply import Reply
from rtchat.core.values import Channel, Item, Message, OtherItem, Part
from tests.documents import cut

Event = Delta | ChannelDone | PartDone


def _output(item: str) -> int:
    """The output index of an item: `a` and `i0` are the first, `b` and `i1` the second…"""
    return int(item[1:]) if item[1:].isdecimal() else "abc".index(item[0])


def _delta(text: str, item: str = "a", index: int = 0, channel: Channel = Channel.TEXT) -> Delta:
    return Delta(channel, text, "r", item, _output(item), index)


def _done(
    text: str, item: str = "a", index: int = 0, channel: Channel = Channel.TEXT
) -> ChannelDone:
    return ChannelDone(channel, text, "r", item, _output(item), index)


def _part(text: str, item: str = "a", index: int = 0) -> PartDone:
    return PartDone("r", item, _output(item), index, Part("text", text))


def _message(item: str, *texts: str) -> Message:
    return Message("assistant", tuple(Part("text", text) for text in texts), item)


def _feed(reply: Reply, event: Event) -> str:
    match event:
        case Delta():
            return reply.add(event)
        case ChannelDone():
            return reply.channel_done(event)
        case PartDone():
            return reply.part_done(event)


def _shown(events: Sequence[Event], items: Sequence[Item] = ()) -> tuple[list[str], str]:
    """The text shown after each event and at the end, and the whole text."""
    reply = Reply("r")
    pieces = [_feed(reply, event) for event in events]
    return [*pieces, reply.finish(items)], reply.text


_CASES: dict[str, tuple[list[Event], list[Item], list[str], str]] = {
    "deltas are shown as they arrive": (
        [_delta("Hel"), _delta("lo"), _done("Hello"), _part("Hello")],
        [_message("a", "Hello")],
        ["Hel", "lo", "", "", ""],
        "Hello",
    ),
    "only deltas": ([_delta("Hel"), _delta("lo")], [], ["Hel", "lo", ""], "Hello"),
    "only the done event": ([_done("Hello")], [], ["Hello", ""], "Hello"),
    "only the finished part": ([_part("Hello")], [], ["Hello", ""], "Hello"),
    "only the end": ([], [_message("a", "Hello")], ["Hello"], "Hello"),
    "the done event completes the deltas": (
        [_delta("Hel"), _done("Hello")],
        [],
        ["Hel", "lo", ""],
        "Hello",
    ),
    "the end completes the deltas": (
        [_delta("Hel")],
        [_message("a", "Hello")],
        ["Hel", "lo"],
        "Hello",
    ),
    "the done event takes precedence over the deltas": (
        [_delta("Hallo"), _done("Hello")],
        [],
        ["Hallo", "", ""],
        "Hello",
    ),
    "an empty done event removes nothing": (
        [_delta("Hello"), _done(""), _part("")],
        [_message("a", "")],
        ["Hello", "", "", ""],
        "Hello",
    ),
    "a delta after the done event is ignored": (
        [_delta("Hel"), _done("Hello"), _delta("lo")],
        [],
        ["Hel", "lo", "", ""],
        "Hello",
    ),
    "a second part waits for the first": (
        [_delta("one"), _delta("two", "b"), _delta("!"), _done("one!"), _delta(".", "b")],
        [_message("a", "one!"), _message("b", "two.")],
        ["one", "", "!", "\n\ntwo", ".", ""],
        "one!\n\ntwo.",
    ),
    "parts of one item": (
        [_delta("one"), _done("one"), _delta("two", "a", 1)],
        [_message("a", "one", "two")],
        ["one", "", "\n\ntwo", ""],
        "one\n\ntwo",
    ),
    "an unfinished part holds back the next until the end": (
        [_delta("one"), _delta("two", "b")],
        [],
        ["one", "", "\n\ntwo"],
        "one\n\ntwo",
    ),
    "an empty part adds no separator": (
        [_delta("", "a"), _done("", "a"), _delta("two", "b")],
        [],
        ["", "", "two", ""],
        "two",
    ),
    "ids that change at the end": (
        [_delta("Hello", "a"), _done("Hello", "a")],
        [_message("other", "Hello")],
        ["Hello", "", ""],
        "Hello",
    ),
    "the same text in two messages": (
        [],
        [_message("a", "Yes."), _message("b", "Yes.")],
        ["Yes.\n\nYes."],
        "Yes.\n\nYes.",
    ),
    "a spoken reply": (
        [
            _delta("Hel", channel=Channel.TRANSCRIPT),
            _delta("AAAA", channel=Channel.AUDIO),
            _delta("lo", channel=Channel.TRANSCRIPT),
            _done("", channel=Channel.AUDIO),
            _done("Hello", channel=Channel.TRANSCRIPT),
            PartDone("r", "a", 0, 0, Part("audio", "Hello")),
        ],
        [Message("assistant", (Part("audio", "Hello"),), "a")],
        ["Hel", "", "lo", "", "", "", ""],
        "Hello",
    ),
    "a finished part without its text": (
        [
            PartDone("r", "a", 0, 0, Part("text")),
            _delta("Hel", channel=Channel.TRANSCRIPT),
            PartDone("r", "a", 0, 0, Part("text")),
            _delta("lo", channel=Channel.TRANSCRIPT),
        ],
        [],
        ["", "Hel", "", "lo", ""],
        "Hello",
    ),
    "a part is either text or audio": (
        [
            _delta("Hello"),
            _delta("Hello", channel=Channel.TRANSCRIPT),
            _done("Hello", channel=Channel.TRANSCRIPT),
        ],
        [],
        ["Hello", "", "", ""],
        "Hello",
    ),
    "other texts and items are ignored": (
        [_delta("{}", channel=Channel.ARGUMENTS), _done("x", channel=Channel.INPUT_TRANSCRIPT)],
        [
            Message("user", (Part("text", "hi"),), "u"),
            OtherItem("mcp_call", "m", {}),
            Message("assistant", (), "e"),
        ],
        ["", "", ""],
        "",
    ),
}


@pytest.mark.parametrize(
    ("events", "items", "pieces", "text"),
    _CASES.values(),
    ids=[name.replace(" ", "-") for name in _CASES],
)
def test_a_reply(events: list[Event], items: list[Item], pieces: list[str], text: str) -> None:
    assert _shown(events, items) == (pieces, text)


def test_the_text_so_far() -> None:
    reply = Reply()
    reply.add(_delta("one"))
    reply.add(_delta("two", "b"))
    assert reply.text == "one\n\ntwo"


def test_each_event_may_give_the_item_another_id() -> None:
    reply = Reply("r")
    reply.announce(_message("x"))
    shown = [
        reply.add(Delta(Channel.TEXT, "Hel", "r", "i1")),
        reply.add(Delta(Channel.TEXT, "lo", "r", "i2")),
        reply.channel_done(ChannelDone(Channel.TEXT, "Hello!", "r", "i3")),
        reply.part_done(PartDone("r", "i4", 0, 0, Part("text", "Hello!"))),
    ]
    shown.append(reply.message_done(_message("y", "Hello!"), 0))
    shown.append(reply.finish([_message("z", "Hello!")]))
    assert shown == ["Hel", "lo", "!", "", "", ""]
    assert reply.text == "Hello!"


def test_announced_ids_distinguish_items_with_the_same_output_index() -> None:
    reply = Reply("r")
    for item in "ab":
        reply.announce(_message(item))
        reply.add(Delta(Channel.TEXT, item, "r", item, 0, 0))
    assert reply.text == "a\n\nb"


def test_text_that_only_the_finished_item_has_is_shown() -> None:
    reply = Reply("r")
    assert reply.message_done(_message("a", "Hello"), 0) == "Hello"
    assert reply.finish() == ""


_TEXT = st.text(alphabet="ab \n", min_size=1, max_size=12)
_CUTS = st.lists(st.integers(0, 20), max_size=4)


@st.composite
def _interleaved(draw: st.DrawFn) -> tuple[list[str], list[Event]]:
    """Different texts and their deltas, interleaved in any order that keeps that of each part."""
    texts = draw(st.lists(_TEXT, min_size=1, max_size=3, unique=True))
    queues: list[list[Event]] = []
    for number, text in enumerate(texts):
        item = f"i{number}"
        events: list[Event] = [_delta(piece, item) for piece in cut(text, draw(_CUTS))]
        if draw(st.booleans()):
            events.append(_done(text, item))
        if draw(st.booleans()):
            events.append(_part(draw(st.sampled_from(["", text])), item))
        queues.append(events)
    # The parts begin in order, which determines the order of the texts.
    out = [queue.pop(0) for queue in queues]
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        out.append(queue.pop(0))
    return texts, out


@given(_interleaved(), st.booleans())
def test_the_text_does_not_depend_on_how_deltas_are_cut_and_interleaved(
    interleaved: tuple[list[str], list[Event]], reported: bool
) -> None:
    texts, events = interleaved
    items = [_message(f"i{number}", text) for number, text in enumerate(texts)] if reported else []
    pieces, text = _shown(events, items)
    assert "".join(pieces) == text == "\n\n".join(texts)


@given(st.lists(_TEXT, min_size=1, max_size=3, unique=True), st.data())
def test_missing_text_is_added_at_the_end(texts: list[str], data: st.DataObject) -> None:
    parts = list(enumerate(texts))
    arrived = data.draw(st.integers(0, len(parts)))
    events: list[Event] = [
        _delta(text[: data.draw(st.integers(0, len(text)))], f"i{number}")
        for number, text in parts[:arrived]
    ]
    pieces, text = _shown(events, [_message(f"i{number}", text) for number, text in parts])
    assert "".join(pieces) == text == "\n\n".join(texts)


def test_a_character_split_between_deltas_is_joined() -> None:
    reply = Reply()
    shown = [reply.add(_delta(text)) for text in ("a \ud83d", "\ude00 b", "\ude00", "c\ud83d")]
    assert shown == ["a ", "\U0001f600 b", "\ufffd", "c"]
    assert reply.finish() == ""
    assert reply.text == "a \U0001f600 b\ufffdc"


def test_held_back_text_is_shown_once_it_is_known_not_to_be_a_key() -> None:
    def held(text: str, held: str) -> Delta:
        return Delta(Channel.TEXT, text, "r", "a", held=held)

    reply = Reply("r")
    assert not reply.has_begun
    assert (reply.add(held("", "s")), reply.has_begun, reply.text) == ("", True, "")
    assert (reply.add(held("so ", "sk")), reply.cut()) == ("so ", "sk")
    assert (reply.cut(), reply.text) == ("", "so sk")
    other = Reply("r")
    assert (other.add(held("so ", "sk")), other.add(held("[key]!", ""))) == ("so ", "[key]!")
    assert (other.finish(), other.text) == ("", "so [key]!")
    whole = Reply("r")
    assert (whole.add(held("so ", "s")), whole.channel_done(_done("so is"))) == ("so ", "is")
    assert (whole.cut(), whole.text) == ("", "so is")
