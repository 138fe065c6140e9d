"""List items: their numbers, which are shown as written or counted, and the boxes of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markdown_it.token import Token

from rtchat.core.values import value
from rtchat.markdown.inline_rule import BOX


@value
class ItemNumber:
    """The number of a list item. It is shown as written. Only if all items so far have the same
    number are they counted."""

    written: str
    """The digits in the source; "" for a bullet."""
    repeats: int | None = 0
    """How many items the list has before it, if all have the same number; otherwise None."""

    @property
    def shown(self) -> str:
        """The digits on the screen."""
        if not self.repeats:
            return self.written
        return str(int(self.written) + self.repeats).zfill(len(self.written))

    def next(self, written: str) -> ItemNumber:
        """The number of the next item, whose digits in the source are `written`."""
        if self.repeats is None or written != self.written:
            return ItemNumber(written, None)
        return ItemNumber(written, self.repeats + 1)


def add_boxes(tokens: Sequence[Token]) -> None:
    """Add the boxes of tasks to the text of a web page. On the terminal they are bullets."""
    for item, inline in zip(tokens, tokens[2:], strict=False):
        if BOX in item.meta:
            item.attrs["class"] = "task"
            box = Token("text", "", 0, content=f"{item.meta[BOX]} ")
            inline.children = [box, *(inline.children or ())]


def number_items(tokens: Iterable[Token]) -> None:
    """Give the list items of a web page the numbers that the screen shows."""
    lists: list[ItemNumber | None] = []
    for token in tokens:
        match token.type:
            case "ordered_list_open" | "bullet_list_open":
                lists.append(None)
            case "ordered_list_close" | "bullet_list_close":
                lists.pop()
            case "list_item_open" if token.info:
                before = lists[-1]
                number = before.next(token.info) if before else ItemNumber(token.info)
                if before and int(number.shown) != int(before.shown) + 1:
                    token.attrs["value"] = int(number.shown)
                lists[-1] = number
            case _:
                pass
