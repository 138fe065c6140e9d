"""What a `value` is: equal by its fields, hashed by them, and shown with their names."""

from __future__ import annotations

from rtchat.core.values import Part


def test_values_are_what_their_fields_are() -> None:
    part, text = Part("text", "hi"), "hi"
    assert part == Part("text", text="hi")
    assert part != Part("text", "ho")
    assert not part.__eq__(text)
    assert len({part, Part("text", "hi"), Part("text", "ho")}) == 2
    assert repr(part) == "Part(kind='text', text='hi', data='')"
