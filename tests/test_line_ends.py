"""Line ends that the author intended are kept; those of wrapped prose are not."""

from __future__ import annotations

import random
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.markdown.line_ends import line_starts
from tests.test_list_numbers import page, shown

PROSE = {
    "English": (
        "A terminal emulator is a program that shows text in a window and sends what is typed to "
        "another program. Most of them follow the rules of hardware that was sold in the 1970s, "
        "which is why a shell still asks for a line at a time. When you run a command, the shell "
        "starts a process, waits for it, and shows its exit code. The process writes to standard "
        "output; the terminal reads that and draws each character in a cell of its grid. Wide "
        "characters take two cells, and combining ones take none."
    ),
    "names": (
        "In 1969 Ken Thompson and Dennis Ritchie of Bell Labs in Murray Hill, New Jersey, began to "
        "write Unix on a PDP-7. Brian Kernighan gave it the name. Later Bill Joy of Berkeley wrote "
        "the C shell and vi, and Richard Stallman started the GNU project in Boston. Linus "
        "Torvalds, then a student in Helsinki, published the first version of Linux in 1991 (on "
        "17 September). Guido van Rossum showed Python in Amsterdam in the same year."
    ),
    "short": (
        "The server sends a message when it is ready, and the client then opens the second "
        "connection and waits for an answer, which may take a few seconds on a slow network."
    ),
    "German": (
        "Die Donaudampfschifffahrtsgesellschaft betrieb seit dem neunzehnten Jahrhundert Schiffe "
        "auf der Donau und ihren Nebenflüssen. Ihre Geschäftsgrundlage war ein Abkommen "
        "zwischen dem Kaiserreich Österreich und dem Königreich Bayern. Die Bundesnetzagentur "
        "veröffentlicht Frequenznutzungspläne, in denen die Zuweisungen an Rundfunkdienste "
        "und Funkamateure aufgeführt sind; die Rechtsschutzversicherungsgesellschaften hingegen "
        "müssen ihre Allgemeinen Versicherungsbedingungen in jeder Geschäftsstelle auslegen."
    ),
    "markup": (
        "Use **`git rebase`** to move *commits* onto another [branch](https://example.com/b), but "
        "only if **nobody else** has them: `git push --force-with-lease` replaces what is on the "
        "server, and *other people* then have to **reset their copies**. A ~~good~~ safe way is "
        "`git merge`, which keeps `HEAD` and all of its *parents* as they were. See the "
        "[manual](https://example.com/manual) for what `-Xours` means, and `--no-ff` too."
    ),
    "French": (
        "Le langage a été conçu pour être lisible : ses mots-clés sont courts, l'indentation fait "
        "partie de la syntaxe, et la bibliothèque standard couvre l'essentiel des besoins d'un "
        "programme. On l'emploie aujourd'hui dans l'enseignement, dans la recherche et dans "
        "l'industrie, où il sert souvent de colle entre des composants écrits ailleurs."
    ),
    "Russian": (
        "Терминал показывает текст в окне и передаёт программе то, что набирает пользователь. "
        "Большинство терминалов следует правилам устройств, которые продавались полвека назад, "
        "поэтому оболочка по-прежнему читает по одной строке. Программа пишет в стандартный вывод, "
        "а терминал рисует каждый знак в отдельной клетке."
    ),
    "Hebrew": (
        "מסוף הוא תוכנית שמציגה טקסט בחלון ושולחת את מה שמקלידים לתוכנית אחרת. רוב המסופים פועלים "
        "לפי כללים של חומרה ישנה מאוד, ולכן המעטפת קוראת שורה אחת בכל פעם, מפעילה תהליך, מחכה לו "
        "ומציגה את קוד היציאה שלו. תווים רחבים תופסים שני תאים בשורה."
    ),
}
KEPT = {
    "poem": "Roses are red,\nViolets are blue,\nSugar is sweet,\nAnd so are you.",
    "poem in lower case": "the fog comes\non little cat feet.\nit sits looking\nover harbor and",
    "poem of long lines": (
        "This is the forest primeval. The murmuring pines and the hemlocks,\n"
        "Bearded with moss, and in garments green, indistinct in the twilight,\n"
        "Stand like Druids of eld, with voices sad and prophetic,\n"
        "Stand like harpers hoar, with beards that rest on their bosoms.\n"
        "Loud from its rocky caverns, the deep-voiced neighboring ocean\n"
        "Speaks, and in accents disconsolate answers the wail of the forest."
    ),
    "verse of fifty columns": (
        "[Verse]\nI walk along the river in the pouring rain tonight\n"
        "Looking for a lantern and a reason for the light\n(oh oh oh)"
    ),
    "haiku": "古池や\n蛙飛びこむ\n水の音",
    "indented poem": "Whose woods these are\n    I think I know.\nHis house is in",
    "lyrics": "Happy birthday to you\nHappy birthday to you\nHappy birthday dear Ann",
    "address": "Ann Smith\n12 Main Street\nSpringfield, IL 62701\nUSA",
    "signature": "Best regards,\nAnn Smith\nHead of Sales",
    "letter with a signature": "Thank you for your time.\nAnn",
    "records": "Name: Ann\nAge: 5\nCity: Paris",
    "bold keys": "**Name:** Ann\n**Age:** 5",
    "bold keys, long": (
        "**Pros:** it is fast, it is small, and everybody in the team knows it.\n"
        "**Cons:** it is old, and nobody maintains it any more.\n"
        "**Verdict:** use it for the prototype and replace it in the next version."
    ),
    "colon after bold": (
        "**Pros**: quick to learn, easy to read, and well supported today\n**Cons**: slow"
    ),
    "a record with a long line": (
        "Summary: the build failed because the disk of the build server is full\n"
        "Owner: the team of the build server\nStatus: open"
    ),
    "a list in lower case": (
        "For the pancakes that we make on Sunday mornings you need the following\neggs\nflour"
    ),
    "a list after a colon": "For the pancakes that we make on Sundays you need these things:\neggs",
    "a list of phrases": (
        "it is faster than all of the others that we have tried this year\n"
        "it is smaller\nit has fewer bugs"
    ),
    "letters": "Choose:\na) the first one\nb) the second one",
    "letters, long": (
        "What is the capital city of the country that borders seven others?\n"
        "a) Vienna, which lies on the Danube and has two million people\n"
        "b) Bern\nc) Prague"
    ),
    "letters in brackets": "(a) the first one\n(b) the second one",
    "capital letters": "A. Vienna\nB. Bern\nC. Prague",
    "Roman numbers": "i. the first\nii. the second\niii. the third",
    "numbers": (
        "The steps, in the order in which they must be carried out every day:\n2. open\n3. close"
    ),
    "bullets": "• one\n• two\n• three",
    "bullets, long": (
        "• The first point is that this line is long enough to look like prose\n"
        "• and the second begins in lower case"
    ),
    "dashes": "– one\n– two",
    "a dialogue": (
        "— Do you think that it will rain tomorrow, or will it be dry again?\n— Yes\n— Oh, really?"
    ),
    "a dialogue in quotes": '"Are you there?" she asked from the other end of the room.\n"I am."',
    "speakers": "Ann: Hello, how are you?\nBob: Fine, thanks.\nAnn: Good.",
    "arrows": "→ open the file\n→ edit it\n→ close it",
    "check marks": "✓ tests pass\n✓ no warnings\n✗ coverage",
    "boxes": "☐ buy milk\n☑ call Ann",
    "emoji": "🚀 The launch of the new version went well, and we are happy\n🐛 bugs were fixed",
    "emoji of the first plane": "✅ done\n❌ failed\n⚠️ skipped",
    "footnotes": "[^1]: The first note.\n[^2]: The second note.",
    "references": "[1] A. Author, A Title of a Paper, 1999.\n[2] B. Author, Another Title, 2001.",
    "an alert": "[!NOTE]\nThis is worth knowing.",
    "a menu": "Soup of the day 5.50\nBread and butter 2.00\nCheese 7.00",
    "menu with leaders": "Soup ........ 5.50\nBread ....... 2.00",
    "steps": "First, open the lid.\nThen press the button.\nFinally close it again.",
    "one sentence a line": (
        "The first sentence is long enough that it could have been wrapped by hand.\n"
        "The second one is shorter.\n"
        "The third sentence is about as long as the first one was, or nearly so."
    ),
    "two sentences, the first longer": (
        "The first sentence is long enough that it could have been wrapped by hand.\nThe second."
    ),
    "very long lines": "A sentence of a paragraph that its author never wrapped. " * 3
    + "\nand more.",
    "files": "src/main.py\nsrc/util.py\ntests/test_main.py",
    "files with comments": (
        "src/main.py - the entry point of the program, which reads the arguments\n"
        "src/util.py - helpers"
    ),
    "a tree": "project\n├── src\n│   └── main.py\n└── README.md",
    "a tree in ASCII": "project\n|-- src\n|   `-- main.py\n`-- README.md",
    "columns": "Name      Age\nAnn         5\nBob        12",
    "a drawing": "+-----+\n|  a  |\n+-----+",
    "rows": "a | b | c\nd | e | f",
    "commands": "$ cd project\n$ make\n$ ./run",
    "code without a fence": "x = 1\ny = 2\nprint(x + y)",
    "equations": "a = b + c\nd = e * f",
    "hours": "Mon 9-17\nTue 9-17\nWed closed",
    "bold lines": "**One**\n**Two**\n**Three**",
    "links": "https://example.com/a\nhttps://example.com/b",
    "a list of titles": "War and Peace\nAnna Karenina\nThe Idiot",
    "Korean lines": "나는 학교에 간다\n오늘은 날씨가 좋다",
}
WRAPPED = {
    "two lines": (
        "This sentence was wrapped by its author at the usual width of an email,\nand it ends here."
    ),
    "by eye": (
        "This paragraph was wrapped by hand, so that its lines are not all\n"
        "quite as long as they could have been, as people do in an editor\n"
        "that does not wrap by itself, and it ends somewhere in the line."
    ),
    "a dash in a sentence": (
        "The program that everybody in the building had been waiting for since May\n"
        "– the new one – arrived."
    ),
    "a name with an initial": (
        "The algorithm was described for the first time in a paper that was by John\n"
        "A. Smith and others, and it has been used in nearly all of the programs of\n"
        "this kind since."
    ),
    "a key in a sentence": (
        "There is one thing that everybody who wants to use this should know about\n"
        "Python: it is not a compiled language, and it is easy to learn and to read."
    ),
}


def ends(source: str) -> set[str]:
    return {end.rstrip(" ") or end for end in line_starts(source)[1:]}


@pytest.mark.parametrize("name", KEPT)
def test_lines_are_kept(name: str) -> None:
    assert ends(KEPT[name]) == {"\n"}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_prose_is_joined(name: str) -> None:
    assert ends(WRAPPED[name]) == {" "}


@pytest.mark.parametrize("name", PROSE)
def test_prose_wrapped_at_any_width_is_joined(name: str) -> None:
    for width in range(60, 111):
        wrapped = textwrap.fill(PROSE[name], width, break_long_words=False, break_on_hyphens=False)
        assert "\n" not in ends(wrapped), f"at {width}"


@given(st.lists(st.text('aA.*|[- "漢\u00a0', max_size=70), min_size=1, max_size=5))
def test_any_text_has_line_ends(lines: list[str]) -> None:
    starts = line_starts("\n".join(lines))
    assert len(starts) == len(lines)
    assert not "".join(starts).strip(" \n")


def test_short_lines_of_any_kind_are_kept() -> None:
    chance = random.Random(15)
    words = " ".join(PROSE.values()).split()
    for _ in range(500):
        lines = [" ".join(chance.choices(words, k=chance.randint(1, 4))) for _ in range(5)]
        source = "\n".join(line[:49] for line in lines)
        assert ends(source) == {"\n"}, source


WRAPPED_PROSE = textwrap.fill(PROSE["English"], 72)


def flowing(source: str) -> list[str]:
    """The lines of prose without line ends."""
    return shown(" ".join(source.split()))


@pytest.mark.parametrize("start", ["", "- ", "> ", "1. ", "> - "])
def test_wrapped_prose_fills_the_screen(start: str) -> None:
    following = start if start == "> " else start.replace("- ", "  ").replace("1. ", "   ")
    source = start + WRAPPED_PROSE.replace("\n", "\n" + following)
    assert shown(source) == shown(start + " ".join(WRAPPED_PROSE.split()))


def test_wrapped_prose_in_items_and_lazy_lines_of_a_quote() -> None:
    items = (
        "".join(f"- {WRAPPED_PROSE}\n" for _ in range(2))
        .replace("\n", "\n  ")
        .replace("  - ", "- ")
    )
    assert shown(items) == 2 * shown("- " + " ".join(WRAPPED_PROSE.split()))
    assert shown("> " + WRAPPED_PROSE) == shown("> " + " ".join(WRAPPED_PROSE.split()))


@pytest.mark.parametrize("width", [60, 72, 80, 100])
def test_markup_across_lines_of_wrapped_prose(width: int) -> None:
    source = textwrap.fill(PROSE["markup"], width, break_on_hyphens=False)
    assert shown(source) == flowing(PROSE["markup"])


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("*a\nb* c\nd", ["a", "b c", "d"]),
        ("**a\nb**\nc", ["a", "b", "c"]),
        ("`a` x\n`b` y", ["a x", "b y"]),
        ("`a\nb` c\nd", ["a b c", "d"]),
        ("a  \nb\nc\\\nd", ["a", "b", "c", "d"]),
        ("a<br>\nb<br/> \nc\nd", ["a", "b", "c", "d"]),
        ("[a\nb](https://example.com) c\nd", ["a", "b (https://example.com) c", "d"]),
        ("a &amp;\nb", ["a &", "b"]),
        ("a\n  b\n    c\nd", ["a", "  b", "    c", "d"]),
        ("def f():\n    return 1", ["def f():", "    return 1"]),
        ("- a\n    b\n    c", ["• a", "  b", "  c"]),
        ("- a\nb", ["• a", "  b"]),
        ("> a\nb", ["▌ a", "▌ b"]),
        ("   a\nb\n c", ["   a", "b", " c"]),
        ("  a\n  b\n   c", ["a", "b", " c"]),
        ("> a\n>   b", ["▌ a", "▌   b"]),
        ("- a\n\n   b\n  c", ["• a", "", "   b", "  c"]),
        ("  a", ["a"]),
        ("  " + "word " * 15 + "\nword word word.", ["word " * 15 + "word", "word word."]),
        ("a\nb\n===", ["a b"]),
    ],
)
def test_line_ends_between_markup(source: str, lines: list[str]) -> None:
    assert shown(source) == lines


@pytest.mark.parametrize("source", ["`a | b` *x*\n`c | d` *x*", "*x* $P(A | B)$\n*x* \\(|a| \\)"])
def test_pipes_in_code_and_formulas_make_no_rows(source: str) -> None:
    assert "*x*" not in "".join(shown(source))


def test_an_alert_has_a_line_of_its_own() -> None:
    assert shown("> [!NOTE]\n> Text.\n\n> [!Warning]  \n>\n> - a\n") == [
        *("▌ NOTE", "▌ Text.", "", "▌ Warning", "▌", "▌ • a"),
    ]
    assert shown("> [!NOTE] text\n\n[!TIP]\ntext\n") == ["▌ [!NOTE] text", "", "[!TIP]", "text"]


@pytest.mark.parametrize(
    "rows",
    [
        "a | b*c | d\ne | f*g | h",
        "| a | b |\n|--|\n| `c` | __d__ |",
        "| a | b |\n| 1 | 2 |\n| &amp; | [x] |",
        "name | age\n---|---|---\nAnn | 5",
        "project\n├── __init__.py\n│   └── *.py\n└── `x`.md",
        "┌─────┐\n│ *a* │\n└─────┘",
        "src\n|-- a\n|   |-- *b*\n|   `-- c\n`-- d",
        "src\n+-- *a*\n|   \\-- b\n\\-- c",
        " /\\_/\\\n( *.* )",
        "  /\\\n /  \\\n/____\\",
        "+-----+\n| *a* |\n+-----+",
        " X | *O* | X\n---+---+---\n O | X | O",
    ],
)
def test_tables_without_their_second_row_and_drawings_are_shown_as_written(rows: str) -> None:
    assert shown(rows) == rows.split("\n")
    assert page(rows).count("<br") == rows.count("\n")


@pytest.mark.parametrize(
    ("line", "following", "joined"),
    [
        ("中文", "日本", "中文日本"),
        ("中文。", "あ", "中文。あ"),
        ("中文", "abc", "中文 abc"),
        ("한국", "어", "한국 어"),
    ],
)
def test_lines_of_scripts_without_spaces_are_joined_without_one(
    line: str, following: str, joined: str
) -> None:
    rest = "字" * 38
    source = f"{rest}{line}\n{following}{rest}\n{rest}中文\n{rest}"
    assert shown(source, 400)[0].startswith(f"{rest}{joined}{rest}")


CHINESE = (
    "终端模拟器是一种在窗口中显示文字的程序，它把用户输入的内容发送给另一个程序。大多数终端遵循上世纪七十年代硬件的规则，"
    "因此命令行解释器仍然一次读取一行。当你运行一条命令时，它会启动一个进程，等待其结束，然后显示退出状态。"
    "宽字符占用两个单元格，组合字符不占用单元格，所以计算宽度并不容易。"
)


@pytest.mark.parametrize("length", range(28, 56))
def test_wrapped_prose_without_spaces_is_joined(length: int) -> None:
    lines = []
    rest = CHINESE
    while rest:
        end = length
        while rest[end : end + 1] in ("，", "。"):
            end -= 1
        lines.append(rest[:end])
        rest = rest[end:]
    assert shown("\n".join(lines), 400) == [CHINESE]


def test_a_web_page_keeps_the_same_lines() -> None:
    assert page("Roses are red,\nViolets are blue.").count("<br") == 1
    assert page(WRAPPED_PROSE).count("<br") == 0
