"""The exported web page in a real browser: its contents, and that nothing is run or loaded.

Skipped if Chromium is not installed.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

import pytest

from rtchat.core.values import Entry, Message, Part, State, StoredConversation
from rtchat.history.export import export

pytestmark = pytest.mark.full

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium to read the page with", allow_module_level=True)

PATIENCE = 120
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)


def page_of(reply: str, question: str = "Hi?") -> str:
    entries = (
        Entry(1, 0, Message("user", (Part("text", question),)), State.COMPLETED),
        Entry(1, 1, Message("assistant", (Part("text", reply),)), State.COMPLETED, "m"),
    )
    return export(StoredConversation(7, question, 0.0, 0.0, "m", 1, entries), "html")


class Dom(HTMLParser):
    """The elements of a page in order, each with its attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, dict(attrs), list[str]())
        self.found.append(element)
        if tag not in ("br", "hr", "img", "meta"):
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text.append(data)

    def texts(self, *tags: str) -> list[str]:
        return ["".join(text).strip() for tag, _, text in self.found if tag in tags]

    def values(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes, _ in self.found if found == tag]


def seen(folder: Path, page: str) -> Dom:
    """The page in Chromium after it has loaded."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            *ARGUMENTS,
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            file.as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env={"PATH": os.defpath, "HOME": str(folder)},
    )
    return Dom(done.stdout)


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    """A web server, as `host:port`, and the requests that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


EVERYTHING = """\
# One
###### Six

Some *emphasis*, **strong**, ~~struck~~ and `code <b>`, a hard␠␠
break and one\\
more, and <kbd>raw</kbd> &amp; an entity.

| left | middle | right |
|:-----|:------:|------:|
| 1    | `a\\|b`  | **3** |
| a<br>b | [link](https://example.com/) |
| last |

1. first
   - nested
     - deeper
2. second

- [x] done
- [ ] not done

> quoted
>
> > twice

```python
if a < b:
    print("&amp;")
```

    indented code

---

<https://example.com/auto> <me@example.com> [titled](https://example.com/ "A title")
![a picture](https://example.com/p.png)

<details>
<summary>Raw</summary>
""".replace("␠", " ")


def test_all_markdown_elements_are_on_the_page(tmp_path: Path) -> None:
    dom = seen(tmp_path, page_of(EVERYTHING))
    assert dom.texts("h1") == ["Hi?", "One"]
    assert dom.texts("h6") == ["Six"]
    assert dom.texts("em", "strong", "s") == ["emphasis", "strong", "struck", "3"]
    assert dom.texts("th") == ["left", "middle", "right"]
    assert dom.texts("td") == ["1", "a|b", "3", "a\nb", "link", "", "last", ""]
    assert dom.values("td", "style")[:3] == [
        "text-align:left",
        "text-align:center",
        "text-align:right",
    ]
    assert dom.texts("ol") == ["first\n\nnested\n\ndeeper\n\n\n\n\nsecond"]
    items = [text.partition("\n")[0] for text in dom.texts("li")]
    assert items == ["first", "nested", "deeper", "second", "☑ done", "☐ not done"]
    assert dom.texts("blockquote") == ["quoted\n\ntwice", "twice"]
    assert dom.texts("pre") == [
        'if a < b:\n    print("&amp;")',
        "indented code",
        "<details>\n<summary>Raw</summary>",
    ]
    assert "language-python" in dom.values("code", "class")
    assert dom.texts("code")[0] == "code <b>"
    assert [tag for tag, *_ in dom.found].count("br") == 3
    assert "<kbd>raw</kbd> & an entity" in "".join(dom.texts("p"))
    assert list(zip(dom.texts("a"), dom.values("a", "href"), strict=True)) == [
        ("link", "https://example.com/"),
        ("https://example.com/auto", "https://example.com/auto"),
        ("me@example.com", "mailto:me@example.com"),
        ("titled", "https://example.com/"),
        ("a picture", "https://example.com/p.png"),
    ]
    assert dom.values("a", "title") == [None, None, None, "A title", None]


LINKS = {
    "https://host/x": "https://host/x",
    "HTTP://host/x": "HTTP://host/x",
    "mailto:a@b.example": "mailto:a@b.example",
    "//host/share": "https://host/share",
    "///etc/passwd": None,
    "/etc/passwd": None,
    "etc/passwd": None,
    "../x": None,
    "?q": None,
    "#here": None,
    "\\\\\\\\host\\\\share": None,
    "/\\\\host/share": None,
    "file:///etc/passwd": None,
    "javascript:alert(1)": None,
    "vbscript:x": None,
    "data:text/html,x": None,
    "data:image/png;base64,QQ==": None,
    "blob:x": None,
    "ms-settings:x": None,
}
"""The target of each link; None if it is not a link."""


def test_only_links_to_the_web_work(tmp_path: Path) -> None:
    reply = "\n\n".join(f"[label {n}]({url})" for n, url in enumerate(LINKS))
    dom = seen(tmp_path, page_of(reply))
    expected = {f"label {n}": led for n, led in enumerate(LINKS.values()) if led}
    assert dict(zip(dom.texts("a"), dom.values("a", "href"), strict=True)) == expected
    paragraphs = " ".join(dom.texts("p"))
    assert all(f"label {n}" in paragraphs for n in range(len(LINKS)))


def hostile(host: str) -> list[str]:
    """Text that would send a request or change the page if it were not escaped."""
    url = f"http://{host}"
    return [
        f"![x]({url}/md.png) [![x]({url}/badge.png)]({url}/)",
        f"![x](//{host}/relative.png)",
        f'<img src="{url}/img.png" onerror="document.title=\'changed\'">',
        f"<img src='{url}/a.png' srcset='{url}/b.png 2x'>",
        "<script>document.body.append('changed'); document.title = 'changed'</script>",
        f'<script src="{url}/script.js"></script>',
        f'<link rel="stylesheet" href="{url}/style.css">',
        f'<link rel="preload" as="image" href="{url}/preload.png">',
        f"<style>@import '{url}/import.css'; body {{ background: url({url}/bg.png) }}</style>",
        f'<div style="background: url({url}/inline.png)">x</div>',
        f'<iframe src="{url}/frame"></iframe> <object data="{url}/object"></object>',
        f'<video src="{url}/video" poster="{url}/poster"></video>',
        f'<meta http-equiv="refresh" content="0;url={url}/refresh">',
        f'<base href="{url}/">',
        "<svg onload=\"document.title='changed'\"></svg>",
        f'<svg><image href="{url}/svg.png"/></svg>',
        "<body onload=\"document.title='changed'\">",
        f"</div></section></main><script>document.title='changed'</script><img src={url}/out>",
        f"[x](javascript:document.title='changed') <{url}/autolink>",
        f'```"><img src={url}/fence>\nx\n```',
        f"| <img src={url}/head> |\n|---|\n| <img src={url}/cell> |",
        f"[x]({url}/prefetch \"' onmouseover=document.title='changed'\")",
    ]


def test_no_script_runs_and_no_request_is_sent(tmp_path: Path) -> None:
    with counting() as (host, asked):
        control = f'<title>x</title><img src="http://{host}/control"><script>'
        seen(tmp_path, f"{control}document.title='changed'</script>")
        assert asked == ["/control"]  # else the absence of requests would prove nothing
        reply = "\n\n".join(hostile(host))
        dom = seen(tmp_path, page_of(reply, reply))
        assert asked == ["/control"]
    assert dom.texts("title")[0].startswith("![x](http://")
    assert not dom.texts("body")[0].endswith("changed")
    assert dom.texts("script", "iframe", "object", "video", "svg", "img") == []
    assert [tag for tag, *_ in dom.found].count("body") == 1


def test_an_image_is_shown(tmp_path: Path) -> None:
    url = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"
        "DwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    message = Message("user", (Part("image", "", url), Part("text", "What is it?")))
    kept = StoredConversation(7, "x", 0.0, 0.0, "m", 1, (Entry(1, 0, message, State.COMPLETED),))
    dom = seen(tmp_path, export(kept, "html"))
    assert dom.values("img", "src") == [url]
    assert "What is it?" in dom.texts("main")[0]
