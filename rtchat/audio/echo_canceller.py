"""Removes from the microphone's audio what the speaker plays, suppresses noise and adjusts the
level, by WebRTC's audio processing.

Without the package for it, and where it does not find the echo, the microphone is gated instead
(see `echo_gate`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rtchat.audio.echo_gate import EchoGate
from rtchat.audio.pcm import RATE, WIDTH, decibels, is_silent
from rtchat.audio.played_audio import MAX_JITTER_SECONDS, PlayedAudio
from rtchat.audio.portaudio import Kind
from rtchat.audio.residual_echo import ResidualEcho

if TYPE_CHECKING:
    from pywebrtc_audio import AudioProcessor

_LEAD_SECONDS = 2 * MAX_JITTER_SECONDS
"""Audio is assumed to be played this much earlier than the devices report, because WebRTC cannot
cancel an echo that seems to precede its sound. It finds the rest of the delay, up to about half a
second, by itself."""
_TAIL_SECONDS = 1.5
"""How long after the last sound audio may be held back as an echo."""
_STEP_SECONDS = 0.02
"""The length of audio processed at a time."""
_GAP_SECONDS = 0.2
"""If no audio arrives for longer, the microphone was closed and opened again."""
_DELAY_SECONDS = 0.06
"""WebRTC holds back audio for at most this long."""
_QUIET_DB = -50.0
"""The canceller leaves at most this level of an echo, in decibels of full scale."""
_SPEECH_DB = -40.0
"""Audio that is louder than this, in decibels of full scale, or louder than the echo was, begins
speech. After the canceller, a syllable of the echo is sometimes louder than `_QUIET_DB`."""
_LEARNING_SECONDS = 1.5
"""How much of an echo the canceller needs to find its delay. The microphone is gated until then."""
_RESIDUE_SECONDS = 0.5
"""How long after the last sound quiet audio is held back."""
_OPEN_SECONDS = 0.3
"""How long quiet audio still passes after speech, so that words are not cut into pieces."""
_MAX_GAIN_DB = 12.0
"""How much quiet speech is amplified at most. More would amplify what is left of an echo."""


def is_installed() -> bool:
    """Whether echoes can be cancelled, not only gated. Imports nothing."""
    return find_spec("pywebrtc_audio") is not None


class EchoCanceller:
    """Connects a speaker and a microphone. Either may be closed and opened again.

    The speaker's thread calls `played` and `restarted`, the event loop the other functions.
    """

    def __init__(self, on_gated: Callable[[], None] = lambda: None) -> None:
        """`on_gated` is called once, when audio is first held back. Imports the packages, which
        takes a while."""
        self._on_gated = on_gated
        self._was_gated = False
        self._devices: dict[Kind, str] = {}
        self._configure(RATE)

    def _configure(self, rate: int) -> None:
        self._rate = rate
        self._played = PlayedAudio(rate)
        self._gate = EchoGate()
        self._rest = b""
        self._position = 0
        self._due: float | None = None
        self._silent_seconds = _TAIL_SECONDS
        """Since the last sound of the speaker."""
        self._is_cancelling = False
        """Whether audio passes through the canceller, which costs CPU time."""
        self._learned_seconds = 0.0
        """For how long the microphone captured anything while audio was played."""
        self._quiet_seconds = _OPEN_SECONDS
        """Since the last loud audio of the microphone, without the echo."""
        self._residual = ResidualEcho()
        self._canceller = _processor(rate, echo_cancellation=True)
        self._enhancer = _processor(
            rate,
            noise_suppression=True,
            high_pass_filter=True,
            auto_gain_control=True,
            agc_max_gain_db=_MAX_GAIN_DB,
        )

    def use(self, kind: Kind, device: str) -> None:
        """The microphone or the speaker is this device from now on. The echo of another device is
        unknown, so it is learned again."""
        if self._devices.get(kind, device) != device:
            self._configure(self._rate)
        self._devices[kind] = device

    def played(self, audio: bytes, rate: int, begins: float) -> None:
        """The speaker was given PCM16 mono at `rate` Hz. It begins to play it at `begins`, in
        seconds of the devices' clock."""
        self._played.add(audio, rate, begins)

    def restarted(self) -> None:
        """The speaker has dropped what it had not yet played."""
        self._played.restart()

    def clean(self, audio: bytes, rate: int, begins: float) -> bytes:
        """The next audio of the microphone without the echo: PCM16 mono at `rate` Hz, whose capture
        began at `begins`. The result may be shorter or longer by less than 20 ms."""
        if rate != self._rate:
            self._configure(rate)
        self._follow(begins, len(audio) // WIDTH)
        self._rest += audio
        step = 2 * round(rate * _STEP_SECONDS / 2)
        count = len(self._rest) // WIDTH // step * step
        if not count:
            return b""
        captured, self._rest = self._rest[: count * WIDTH], self._rest[count * WIDTH :]
        played = self._played.read(self._position + round(_LEAD_SECONDS * rate), count)
        self._position += count
        if not self._is_cancelling and self._silent_seconds >= _TAIL_SECONDS and is_silent(played):
            return _run(self._enhancer, captured)  # the same as step by step, for less CPU time
        steps = range(0, len(captured), step * WIDTH)
        return b"".join(
            self._process(captured[at : at + step * WIDTH], played[at : at + step * WIDTH])
            for at in steps
        )

    def _follow(self, begins: float, count: int) -> None:
        """Find the position of the next audio on the timeline. `count` is its length in
        samples."""
        if self._due is None or abs(begins - self._due) > MAX_JITTER_SECONDS:
            if self._due is not None and begins - self._due > _GAP_SECONDS:
                self._drop_delayed()
            self._rest = b""
            self._position, self._due = round(begins * self._rate), begins
        self._due += count / self._rate

    def _drop_delayed(self) -> None:
        """Drop the audio that WebRTC still holds, but not what it has learned of the echo."""
        silence = bytes(round(_DELAY_SECONDS * self._rate / 2) * 2 * WIDTH)
        _run(self._enhancer, _run(self._canceller, silence, silence))

    def _process(self, captured: bytes, played: bytes) -> bytes:
        self._silent_seconds = self._silent_seconds + _STEP_SECONDS if is_silent(played) else 0.0
        may_be_echo = self._silent_seconds < _TAIL_SECONDS
        if not (self._is_cancelling or may_be_echo):
            return _run(self._enhancer, captured)
        cleaned = _run(self._canceller, captured, played)
        # The canceller delays audio. Paused during speech, it would return that speech later.
        self._is_cancelling = may_be_echo or not self._is_quiet(decibels(captured))
        if may_be_echo and not self._passes(captured, cleaned, played):
            cleaned = bytes(len(cleaned))
        return _run(self._enhancer, cleaned)

    def _is_quiet(self, db: float, loud_db: float = _QUIET_DB) -> bool:
        """Whether the microphone has been quiet for `_OPEN_SECONDS`, which is longer than the
        canceller holds back audio. `db` is the level of the next step. Once it has been quiet, only
        a step louder than `loud_db` ends that."""
        was_quiet = self._quiet_seconds > _OPEN_SECONDS
        is_quiet = db <= (max(loud_db, _QUIET_DB) if was_quiet else _QUIET_DB)
        self._quiet_seconds = self._quiet_seconds + _STEP_SECONDS if is_quiet else 0.0
        return self._quiet_seconds > _OPEN_SECONDS

    def _passes(self, captured: bytes, cleaned: bytes, played: bytes) -> bool:
        """Whether the cleaned audio may be heard, or is held back because it may be an echo."""
        captured_db, played_db = decibels(captured), decibels(played)
        cleaned_db = decibels(cleaned)
        passes = self._gate.passes(captured_db, played_db, _STEP_SECONDS)
        if self._canceller is not None:
            if captured_db > _QUIET_DB:
                self._learned_seconds += _STEP_SECONDS
            self._residual.add(cleaned_db, played_db)
        loud_db = min(self._gate.echo_db, _SPEECH_DB)
        if self._is_quiet(cleaned_db, loud_db) and self._silent_seconds < _RESIDUE_SECONDS:
            return False
        is_echo = self._canceller is None or self._residual.is_echo
        if passes or not (is_echo or self._learned_seconds < _LEARNING_SECONDS):
            return True
        if is_echo and cleaned_db > _QUIET_DB and not self._was_gated:
            self._was_gated = True
            self._on_gated()
        return False


def _processor(rate: int, **options: Any) -> AudioProcessor | None:
    try:
        import numpy  # noqa: F401 - used by `_run`, where importing it would block the event loop
        from pywebrtc_audio import AudioProcessor
    except ImportError:
        return None
    return AudioProcessor(rate, 1, **options)


def _run(processor: AudioProcessor | None, *audio: bytes) -> bytes:
    """Process PCM16; without a processor, return the first audio unchanged."""
    if processor is None:
        return audio[0]
    import numpy as np

    samples: list[Any] = [np.frombuffer(each, np.int16) for each in audio]
    return bytes(processor.process(*samples).tobytes())
