"""The audio of replies (PCM16, mono, 24 kHz): what is played, how much of it was heard, and a check
that it is not in the format of a file."""

from __future__ import annotations

from base64 import b64decode
from collections import deque

from rtchat.core.audio_frames import adts_frame, mp3_frame
from rtchat.core.effects import Play, ReplyHeard, Show, StopPlaying, Truncate
from rtchat.core.events import ChannelDone, Delta, PlaybackAdvanced, PlaybackCut
from rtchat.core.reply import BETWEEN_PARTS, Reply
from rtchat.core.values import BYTES_A_MS, AudioFormat

MAX_PLAYED = 1000
"""How many of the last items with audio are remembered."""
_MAX_REPLIES = 8
"""How many of the last replies with audio are remembered. Fewer are ever waiting to be played."""
_MAX_CHARACTERS = 200
"""The maximum length of the words heard last, in characters."""


class FormatError(Exception):
    """Audio in a format that is not supported; the message is its name."""


class ReplyAudio:
    """The played audio of the replies in one conversation; none unless it `speaks`."""

    def __init__(self, *, speaks: bool) -> None:
        self._speaks = speaks
        self.was_cut_by_speech = False
        """Whether the user's speech interrupted the last reply."""
        self._played: dict[str, None] = {}
        """The ids of this session's last items with audio."""
        self._parts: dict[tuple[str, int], bytes] = {}
        """The parts being played, each with the first byte of an incomplete sample, if any."""
        self._replies: deque[Reply] = deque(maxlen=_MAX_REPLIES)
        """The last replies with audio."""
        self.cut_replies: list[Reply] = []
        """The reply whose playback was interrupted last, and those that were to be played next."""
        self.is_heard_due = False
        """Whether it is to be shown at the end of the turn how much of them was heard."""
        self.truncations: list[Truncate] = []
        """What to send when the current reply is over: its playback ended before."""
        self._heard = ""
        """What was heard so far of the part that is playing."""
        self._position: PlaybackAdvanced | None = None
        """How far playback had advanced by the last report; None if nothing is playing."""

    def silence(self, *, by_speech: bool) -> list[StopPlaying]:
        """Stop playback."""
        if not self._speaks:
            return []
        self.was_cut_by_speech = by_speech
        self.end()
        self._parts.clear()
        return [StopPlaying()]

    def truncate(self, cut: PlaybackCut) -> list[Truncate]:
        """Tell the server how much was heard of an item, if it is of this session."""
        is_known = cut.item_id in self._played
        return [Truncate(cut.item_id, cut.content_index, cut.played_ms)] if is_known else []

    def note_reply(self, reply: Reply, play: Play) -> None:
        """Note that `play` is audio of this reply."""
        if reply not in self._replies:
            self._replies.append(reply)
        reply.played(play.item_id, play.content_index, len(play.audio) / BYTES_A_MS)

    @property
    def playing(self) -> str:
        """The last words that were heard of the part that is playing; empty if none is."""
        return self._heard[-_MAX_CHARACTERS:]

    def advance(self, at: PlaybackAdvanced) -> None:
        """Playback of a part has advanced."""
        self._position = at
        texts = (reply.heard_at(at) for reply in reversed(self._replies))
        heard = next((text for text in texts if text is not None), "")
        # The estimate may become smaller as more audio arrives.
        self._heard = self._heard if self._heard.startswith(heard) else heard

    def end(self) -> None:
        """Nothing is playing any more."""
        self._heard, self._position = "", None

    def leave(self) -> None:
        """The conversation is left: if a reply is playing, note how much of it was heard."""
        if self._position is not None:
            at = self._position
            self.cut(PlaybackCut(at.item_id, at.content_index, at.played_ms))

    def cut(self, cut: PlaybackCut) -> None:
        """Note how much of the replies was heard before playback was interrupted."""
        replies = list(self._replies)
        matching = (at for at in reversed(range(len(replies))) if replies[at].cut_playback(cut))
        self.cut_replies = replies[next(matching, len(replies)) :]
        for reply in self.cut_replies[1:]:
            reply.skip_playback()

    @property
    def heard(self) -> ReplyHeard:
        """How much of `cut_replies` was heard."""
        texts: list[str] = []
        rests: list[str] = []
        for message in (message for reply in self.cut_replies for message in reply.messages):
            end = len(message.text) if message.heard is None else message.heard
            texts.append(message.text[:end])
            rests.append(message.text[end:])
        heard, unheard = (BETWEEN_PARTS.join(filter(None, part)) for part in (texts, rests))
        return ReplyHeard(heard, unheard)

    def show_heard(self) -> list[Show]:
        """Show how much of `cut_replies` was heard, unless all of it was."""
        self.is_heard_due = False
        heard = self.heard
        return [Show(heard)] if heard.unheard.strip() else []

    @property
    def parts(self) -> int:
        """How many parts are being played."""
        return len(self._parts)

    def finish(self) -> list[Play]:
        """End all parts being played, even if the server has not reported their end."""
        last = [Play(item_id, index, b"", is_last=True) for item_id, index in self._parts]
        self._parts.clear()
        return last

    def close(self) -> list[Play]:
        """The session is closed."""
        self._played.clear()
        self.truncations = []
        return self.finish()

    def play(self, event: Delta | ChannelDone) -> Play | None:
        """Decode the next audio of a reply; return what to play, if anything.

        Raises:
            ValueError: the audio is not base64.
            FormatError: the audio is in a format that is not supported.
        """
        if not self._speaks:
            return None
        key = event.item_id, event.content_index
        if isinstance(event, ChannelDone):
            return None if self._parts.pop(key, None) is None else Play(*key, b"", is_last=True)
        self._played[event.item_id] = None
        if len(self._played) > MAX_PLAYED:
            del self._played[next(iter(self._played))]
        if event.format is not None and event.format.resolved(AudioFormat()) is None:
            raise FormatError(str(event.format))
        audio = read_audio(event)
        if key not in self._parts and (name := container_of(audio)):
            raise FormatError(name)
        audio = self._parts.get(key, b"") + audio
        whole = len(audio) // 2 * 2
        self._parts[key] = audio[whole:]
        return Play(*key, audio[:whole]) if whole else None


def read_audio(delta: Delta) -> bytes:
    """The audio of a delta. Raises ValueError if it is not base64."""
    # Some encoders insert line breaks.
    return b64decode("".join(delta.text.split()), validate=True)


_CONTAINERS = {
    b"ID3": "MP3",
    b"RIFF": "WAV",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"\x1aE\xdf\xa3": "WebM",
    b"#!AMR": "AMR",
}


def container_of(audio: bytes) -> str:
    """The file format of the first audio of a part; empty if it may be raw samples."""
    for magic, name in _CONTAINERS.items():
        if audio.startswith(magic):
            return name
    if audio[4:8] == b"ftyp":
        return "MP4"
    # Samples may look like a frame header, so another frame must follow the first one.
    mp3, aac = (mp3_frame(audio), 0x0C), (adts_frame(audio), 0xFC)
    for name, (length, fixed) in (("MP3", mp3), ("AAC", aac)):
        following = audio[length : length + 3]
        is_header = following[:2] == audio[:2] and len(following) == 3
        if length and is_header and following[2] & fixed == audio[2] & fixed:
            return name
    return ""
