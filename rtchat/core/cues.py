"""Cues of subtitles, made from the turns of a transcription.

A cue has at most two lines and is shown for at most seven seconds. Cues end where a sentence, a
clause or at least a word ends. They are in order and never overlap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from unicodedata import category, combining, east_asian_width

from rtchat.core.effects import TurnTranscribed
from rtchat.core.values import TranscriptSegment, TranscriptWord, value

LINE_WIDTH = 42
"""Columns of a line; an ideograph takes two."""
MAX_LINES = 2
MAX_MS = 7_000
"""The longest time that a cue is shown, in milliseconds."""
MIN_MS = 1_000
"""The shortest time that a cue is shown, in milliseconds, unless something else is said."""
PAUSE_MS = 1_500
"""The pause after which a new cue begins, in milliseconds."""
CHARACTER_MS = 60
"""The assumed time to speak a character, in milliseconds, if times are not known."""
MAX_SECONDS = 100 * 3600
"""Times after this many seconds are invalid: programs that read subtitles expect hours of two
digits."""
MAX_NAME_WIDTH = 20
"""Columns of the name of a speaker."""
_SENTENCE_ENDS = frozenset(".!?…。！？।؟")
_CLAUSE_ENDS = frozenset(",;:–—，、；：،؛")
_QUOTES = "\"'”\u2019»)]"
"""Characters that may follow the end of a sentence."""


@value
class Cue:
    """Lines of text, and when to show them, in milliseconds. `speaker` may be empty."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str = ""


class Token(NamedTuple):
    """A word, or a part of a text that is written without spaces."""

    text: str
    start: float
    end: float
    """Its time in milliseconds."""
    follows_space: bool = True


class CueMaker:
    """Makes cues. If `names_speakers`, the text of each cue begins with its speaker."""

    def __init__(self, *, names_speakers: bool) -> None:
        self._names_speakers = names_speakers
        self._end = 0
        """The end of the last cue."""
        self.is_estimated = False
        """Whether the times of a turn, or times within one, had to be estimated."""

    def cues(self, turn: TurnTranscribed) -> list[Cue]:
        """The cues of the next turn."""
        made: list[Cue] = []
        for part in _parts(turn):
            tokens = self._tokens(part)
            label = f"{part.speaker}: " if part.speaker and self._names_speakers else ""
            groups = list(_groups(tokens, width(label)))
            self.is_estimated |= len(groups) > 1 and not part.words
            made += self._timed(groups, part, label)
        return made

    def _tokens(self, part: _Part) -> list[Token]:
        start, end = part.start, part.end
        if start is None or end is None or end <= start:
            self.is_estimated = True
            start = max(self._end, start or 0)
            end = start + CHARACTER_MS * len(part.text)
        return _timed_tokens(part.text, start, end, part.words)

    def _timed(self, groups: Sequence[Sequence[Token]], part: _Part, label: str) -> list[Cue]:
        cues = []
        starts = [group[0].start for group in groups[1:]]
        last_end = max(part.end or 0, groups[-1][-1].end)
        for group, limit in zip(groups, [*starts, last_end], strict=True):
            start = max(self._end, round(group[0].start))
            end = max(round(group[-1].end), min(round(limit), start + MIN_MS))
            if end <= start:  # somebody else spoke at the same time
                end = start + MIN_MS
            end = min(end, start + MAX_MS)
            cues.append(Cue(start, end, _lines(group, label), part.speaker))
            self._end = end
        return cues


# ------------------------------------------------------------------------------- what was said when


class _Part(NamedTuple):
    """A part of a turn, said by one speaker. Times are in milliseconds of the input."""

    text: str
    speaker: str
    start: float | None
    end: float | None
    words: Sequence[TranscriptWord]
    """Their times are in milliseconds, too."""


def _parts(turn: TurnTranscribed) -> list[_Part]:
    """The segments of a turn, if the server sent any, or the turn."""
    offset = offset_ms(turn)
    words = [
        TranscriptWord(word.text, word.start * 1000 + offset, word.end * 1000 + offset)
        for word in turn.words
        if word.text and _is_valid(word)
    ]
    has_times = any(segment.end > segment.start for segment in turn.segments)
    if not has_times or not all(map(_is_valid, turn.segments)):
        whole = _Part(_plain(turn.text), "", turn.start_ms, turn.end_ms, words)
        if any(segment.speaker for segment in turn.segments):
            return _untimed(turn, whole)
        return [whole] if whole.text else []
    parts = []
    for segment in turn.segments:
        start, end = segment.start * 1000 + offset, segment.end * 1000 + offset
        own = [word for word in words if start <= (word.start + word.end) / 2 <= end]
        part = _Part(_plain(segment.text), _name(segment.speaker), start, end, own)
        parts += [part] if part.text else []
    return sorted(parts, key=lambda part: part.start or 0)


def _is_valid(timed: TranscriptWord | TranscriptSegment) -> bool:
    return 0 <= timed.start <= timed.end <= MAX_SECONDS


def _untimed(turn: TurnTranscribed, whole: _Part) -> list[_Part]:
    """The segments of a turn without times: each takes as much time as its text is long."""
    texts = [_plain(segment.text) for segment in turn.segments]
    total = sum(map(len, texts))
    parts, said = [], 0
    for segment, text in zip(turn.segments, texts, strict=True):
        if not text:
            continue
        start: float | None = None
        end: float | None = None
        if whole.start is not None and whole.end is not None:
            length = whole.end - whole.start
            start = whole.start + length * said / total
            end = whole.start + length * (said + len(text)) / total
        parts.append(_Part(text, _name(segment.speaker), start, end, ()))
        said += len(text)
    return parts


def offset_ms(turn: TurnTranscribed) -> int:
    """What to add to the times of words and segments, in milliseconds. They should count from the
    beginning of the turn; those of some servers count from the beginning of the session."""
    start, end = turn.start_ms, turn.end_ms
    timed: list[TranscriptWord | TranscriptSegment] = [*turn.words, *turn.segments]
    if start is None or end is None or not timed:
        return start or 0
    first, last = min(each.start for each in timed), max(each.end for each in timed)
    is_of_session = first * 1000 >= start and last * 1000 > end - start + MIN_MS
    return 0 if is_of_session else start


def _plain(text: str) -> str:
    """The text on one line, without control characters."""
    words = ("".join(c for c in word if category(c) not in ("Cc", "Cs")) for word in text.split())
    return " ".join(filter(None, words))


def _name(speaker: str) -> str:
    name = _plain(speaker)
    while width(name) > MAX_NAME_WIDTH:
        name = name[:-1]
    return name.strip()


def _timed_tokens(
    text: str, start: float, end: float, words: Sequence[TranscriptWord]
) -> list[Token]:
    """The tokens of a text, each with its time. The times between the beginnings and the ends of
    words are interpolated."""
    positions, times = [0.0], [start]
    for word in words:
        said = positions[-1]
        positions += [said, said + _weight(word.text)]
        times += [max(times[-1], word.start), max(times[-1], word.end)]
    if words:
        del positions[0], times[0]
    else:
        positions, times = [0.0, 1.0], [start, end]
    tokens = list(_split(text))
    scale = positions[-1] / sum(_weight(token) for token, _ in tokens)
    timed, before = [], 0.0
    for token, follows_space in tokens:
        after = before + _weight(token) * scale
        first = _at(before, positions, times, bisect_right(positions, before + 1e-9))
        last = _at(after, positions, times, bisect_left(positions, after - 1e-9))
        timed.append(Token(token, first, max(first, last), follows_space))
        before = after
    return timed


def _at(position: float, positions: Sequence[float], times: Sequence[float], index: int) -> float:
    """The time at a position between `positions[index - 1]` and `positions[index]`."""
    index = max(1, min(index, len(positions) - 1))
    (first, last), (start, end) = positions[index - 1 : index + 1], times[index - 1 : index + 1]
    return start + (end - start) * (position - first) / (last - first) if last > first else end


def _weight(text: str) -> int:
    """How long it takes to say a text, in relation to others."""
    return max(1, sum(char.isalnum() for char in text))


# ------------------------------------------------------------------------------------ lines of text


def width(text: str) -> int:
    """The columns of a text."""
    return sum(0 if combining(c) else 2 if _is_wide(c) else 1 for c in text)


def _is_wide(char: str) -> bool:
    return east_asian_width(char) in ("W", "F")


def _split(text: str) -> Iterator[tuple[str, bool]]:
    """The tokens of a text, and whether there is a space before each."""
    for word in text.split():
        follows_space = True
        for token in _pieces(word):
            yield token, follows_space
            follows_space = False


def _pieces(word: str) -> Iterator[str]:
    """The parts of a word that may be on different lines: each ideograph, with the punctuation
    after it, and parts of other words that are longer than a line."""
    piece = ""
    for char in word:
        joins = combining(char) or category(char) in ("Mc", "Me", "Mn", "Cf")
        closes = _is_wide(char) and category(char) in ("Pd", "Pe", "Pf", "Po")
        is_full = width(piece + char) > LINE_WIDTH
        breaks = (_is_wide(char) or (piece and _is_wide(piece[-1]))) and not closes
        if piece and not joins and (is_full or breaks):
            yield piece
            piece = ""
        piece += char
    yield piece


def _lines(tokens: Iterable[Token], label: str) -> tuple[str, ...]:
    """The lines of a text. The first begins with the label."""
    lines = [label]
    for token in tokens:
        space = " " if token.follows_space and lines[-1] and lines[-1] != label else ""
        if lines[-1] and width(lines[-1] + space + token.text) > LINE_WIDTH:
            lines.append(token.text)
        else:
            lines[-1] += space + token.text
    return tuple(line.rstrip() for line in lines)


def _groups(tokens: Sequence[Token], indent: int) -> Iterator[Sequence[Token]]:
    """The tokens of each cue. `indent` is the width in columns of the label before the first
    line."""
    first = 0
    while first < len(tokens):
        end = _longest(tokens, first, indent)
        if end < len(tokens):
            end = _good_end(tokens, first, end)
        yield tokens[first:end]
        first = end


def _longest(tokens: Sequence[Token], first: int, indent: int) -> int:
    """The end of the longest cue that begins with this token."""
    lines, used = 1, indent
    for index in range(first, len(tokens)):
        token = tokens[index]
        if index > first:
            is_pause = token.start - tokens[index - 1].end >= PAUSE_MS
            if is_pause or token.end - tokens[first].start > MAX_MS:
                return index
        columns = width(token.text)
        space = int(token.follows_space and index > first)
        if used and used + space + columns > LINE_WIDTH:
            lines, used = lines + 1, columns
        else:
            used += space + columns
        if lines > MAX_LINES:
            return index
    return len(tokens)


def _good_end(tokens: Sequence[Token], first: int, end: int) -> int:
    """Where to end a cue that is full at `end`: there if a pause follows, else after the last
    sentence that ends after the first word, else after the last clause that ends in the second
    half, else at `end`."""
    if tokens[end].start - tokens[end - 1].end >= PAUSE_MS:
        return end
    for marks, least in ((_SENTENCE_ENDS, 1), (_CLAUSE_ENDS, (end - first) // 2)):
        for index in range(end, first + least, -1):
            if tokens[index - 1].text.rstrip(_QUOTES)[-1:] in marks:
                return index
    return end
