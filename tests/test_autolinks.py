"""Links without brackets: GFM's own examples of extended autolinks, and where we differ."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rtchat.markdown.dialect import parser, references


def found(text: str) -> list[tuple[str, str]]:
    """The label and the target of each link of a paragraph."""
    tokens = parser().parse(text, {"references": references({})})
    children = tokens[1].children or []
    return [
        (following.content, str(token.attrs["href"]))
        for token, following in pairwise(children)
        if token.type == "link_open"
    ]


def same(*urls: str) -> list[tuple[str, str]]:
    return [(url, url) for url in urls]


_SEARCH = "www.google.com/search?q="


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("www.commonmark.org", ["www.commonmark.org"]),
        ("Visit www.commonmark.org/help for more.", ["www.commonmark.org/help"]),
        ("Visit www.commonmark.org.", ["www.commonmark.org"]),
        ("Visit www.commonmark.org/a.b.", ["www.commonmark.org/a.b"]),
        (f"{_SEARCH}Markup+(business)", [f"{_SEARCH}Markup+(business)"]),
        (f"{_SEARCH}Markup+(business)))", [f"{_SEARCH}Markup+(business)"]),
        (f"({_SEARCH}Markup+(business))", [f"{_SEARCH}Markup+(business)"]),
        (f"({_SEARCH}Markup+(business)", [f"{_SEARCH}Markup+(business)"]),
        (f"{_SEARCH}(business))+ok", [f"{_SEARCH}(business))+ok"]),
        (f"{_SEARCH}commonmark&hl=en", [f"{_SEARCH}commonmark&hl=en"]),
        (f"{_SEARCH}commonmark&hl;", [f"{_SEARCH}commonmark"]),
        ("www.commonmark.org/he<lp", ["www.commonmark.org/he"]),
        ("xwww.a.example www.a_b.c www.", []),
    ],
)
def test_domains(text: str, domains: list[str]) -> None:
    assert found(text) == [(domain, f"http://{domain}") for domain in domains]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("http://commonmark.org", ["http://commonmark.org"]),
        ("(Visit https://a.example/s?q=M+(b))", ["https://a.example/s?q=M+(b)"]),
        ("https://a.example/a_b_c*d*e", ["https://a.example/a_b_c*d*e"]),
        (
            "*https://a.example/b*, **https://b.example**",
            ["https://a.example/b", "https://b.example"],
        ),
        ("[see https://a.example] [1]", ["https://a.example"]),
        ("请访问https://a.example查看", ["https://a.example"]),
        ("见https://a.example/b。**注意：**好", ["https://a.example/b"]),
        ("http://localhost:8000/a", ["http://localhost:8000/a"]),
        ("mailto:a@b.c. xmpp:a@b.c/d@e.", ["mailto:a@b.c", "xmpp:a@b.c/d@e"]),
        ("https://a.example/wiki/中文 https://a.example/é", []),
        ("`https://a.example` xhttps://a.example https:// ftp://", []),
        ("ftp://a.example/_x_*y, (ftp://b.example).", ["ftp://a.example/_x_*y", "ftp://b.example"]),
        ('see <a href="https://a.example">', []),
    ],
)
def test_urls(text: str, urls: list[str]) -> None:
    assert found(text) == same(*urls)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("foo@bar.baz", ["foo@bar.baz"]),
        (
            "hello@mail+xyz.example isn't, but hello+xyz@mail.example is.",
            ["hello+xyz@mail.example"],
        ),
        ("a.b-c_d@a.b a.b-c_d@a.b. a.b-c_d@a.b- a.b-c_d@a.b_", ["a.b-c_d@a.b", "a.b-c_d@a.b"]),
        ("a@b @b.c a@", []),
    ],
)
def test_addresses(text: str, addresses: list[str]) -> None:
    assert found(text) == [(address, f"mailto:{address}") for address in addresses]


def test_escapes_and_entities_in_a_url_are_read() -> None:
    assert found("https://a.example/?b=1&amp;c=2\\_d") == same("https://a.example/?b=1&c=2_d")


def test_a_label_contains_no_links() -> None:
    assert [href for _, href in found("[https://a.example/_b_](https://c.example)")] == [
        "https://c.example"
    ]
