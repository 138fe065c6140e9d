"""What a `value` is: equal by its fields, hashed by them, and shown with their names."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest

from rtchat.core.translation import TranslationSetup
from rtchat.core.values import Approval, Message, Options, OtherItem, Part


def test_values_are_what_their_fields_are() -> None:
    part, text = Part("text", "hi"), "hi"
    assert part == Part("text", text="hi")
    assert part != Part("text", "ho")
    assert not part.__eq__(text)
    assert len({part, Part("text", "hi"), Part("text", "ho")}) == 2
    assert repr(part) == "Part(kind='text', text='hi', data='', detail=None)"


def test_a_value_cannot_be_changed() -> None:
    part = Part("text", "hi")
    for name in ("text", "no_such_field"):
        with pytest.raises(FrozenInstanceError):
            setattr(part, name, "ho")
    with pytest.raises(FrozenInstanceError):
        delattr(part, "text")
    assert part == Part("text", "hi")


def test_a_value_has_the_fields_of_its_base() -> None:
    setup = TranslationSetup("m", Options(), speaks=True)
    assert (setup.model, setup.speaks) == ("m", True)
    with pytest.raises(FrozenInstanceError):
        setup.model = "n"  # type: ignore[misc] # it cannot be changed


def test_a_value_is_a_dataclass() -> None:
    assert is_dataclass(Part)
    assert [each.name for each in fields(Part)] == ["kind", "text", "data", "detail"]
    item = {each.name: each for each in fields(OtherItem)}
    assert (item["id"].default, item["fields"].default_factory) == ("", dict)
    assert [each.kw_only for each in item.values()] == [False, False, False, True]
    names = [each.name for each in fields(TranslationSetup)]
    assert (names[0], names[-1], len(names)) == ("model", "speaks", len({*names}))


def test_a_copy_may_differ_in_a_field() -> None:
    part = Part("text", "hi")
    assert replace(part, text="ho") == Part("text", "ho")
    assert part == Part("text", "hi")


def test_a_copy_is_equal() -> None:
    one = Message("user", (Part("text", "Hi!"),))
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_a_default_is_made_for_each_object() -> None:
    assert OtherItem("a").fields is not OtherItem("a").fields
    assert OtherItem("a", fields={"b": 1}).fields == {"b": 1}


def test_a_field_without_a_default_must_be_given() -> None:
    with pytest.raises(TypeError):
        Approval("id", "name")  # type: ignore[call-arg] # the arguments are missing
