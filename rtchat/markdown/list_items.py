"""List items: their numbers, as written or counted if all items have the same one, and boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markdown_it.token import Token

from rtchat.core.values import value
from rtchat.markdown.dialect import BOX


@value
class Number:
    """The number of an item of a list."""

    written: str
    """Its digits in the source; "" for a bullet."""
    repeats: int | None = 0
    """How many items the list has before it, if all of them have the same number; else None."""

    @property
    def shown(self) -> str:
        """Its digits on the screen."""
        if not self.repeats:
            return self.written
        return str(int(self.written) + self.repeats).zfill(len(self.written))

    def next(self, written: str) -> Number:
        """The number of the next item."""
        if self.repeats is None or written != self.written:
            return Number(written, None)
        return Number(written, self.repeats + 1)


def add_boxes(tokens: Sequence[Token]) -> None:
    """Put the boxes of tasks before their text. A web page needs this, the terminal does not."""
    for item, inline in zip(tokens, tokens[2:], strict=False):
        if BOX in item.meta:
            item.attrs["class"] = "task"
            box = Token("text", "", 0, content=f"{item.meta[BOX]} ")
            inline.children = [box, *(inline.children or ())]


def number_items(tokens: Iterable[Token]) -> None:
    """Give the list items of a web page the numbers that the screen shows."""
    lists: list[Number | None] = []
    for token in tokens:
        match token.type:
            case "ordered_list_open" | "bullet_list_open":
                lists.append(None)
            case "ordered_list_close" | "bullet_list_close":
                lists.pop()
            case "list_item_open" if token.info:
                before = lists[-1]
                number = before.next(token.info) if before else Number(token.info)
                if before and int(number.shown) != int(before.shown) + 1:
                    token.attrs["value"] = int(number.shown)
                lists[-1] = number
            case _:
                pass
