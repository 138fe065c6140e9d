"""The questions of `talk` and `once`: typed, piped or recorded, with attachments and templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtchat.config.settings import Settings
from rtchat.core.errors import Problem, UsageError
from rtchat.core.events import AudioSaid, InputEnded, LocalEvent, UserSaid
from rtchat.core.ports import Post, Source
from rtchat.core.values import ImageDetail
from rtchat.inputs.stdin import read_prompt


def typed_question(
    settings: Settings, prompt: str | None, stdin: int | None, say: Callable[[str], None]
) -> UserSaid:
    """The question, with the template if there is one. A template with a text may need no input."""
    template = settings.template
    if template is None or not template.text:
        return UserSaid(read_prompt(prompt, stdin, say))
    return UserSaid(template.fill(read_prompt(prompt, stdin, say, is_all=False)))


def spoken_question(
    settings: Settings,
    audio_in: str,
    prompt: str | None,
    stdin: int | None,
    say: Callable[[str], None],
    report: Callable[[Problem], None],
) -> AudioSaid:
    """A question from an audio file, with any text that accompanies it, also of a template. Calls
    `report` if the file is truncated or damaged."""
    from rtchat.audio.files import read
    from rtchat.audio.input_file import path_of

    if audio_in != "-":
        speech = read(path_of(audio_in), report, settings.raw)
        text = read_prompt(prompt, stdin, say, is_all=False)
    elif stdin is None or prompt == "-":
        raise UsageError("there is no audio on stdin for --audio-in -", hint="pipe in a WAV file")
    else:
        speech, text = read(stdin, report, settings.raw), prompt or ""
    return AudioSaid(speech, settings.template.fill(text) if settings.template else text)


def read_attachments(
    files: Sequence[str], stdin: int | None, detail: ImageDetail | None
) -> Sequence[LocalEvent]:
    """Read the files to attach to the first question."""
    if not files:
        return ()
    from rtchat.inputs.attachments import read_all

    return read_all(files, stdin, detail)


async def attachments_first(attached: Sequence[LocalEvent], source: Source, post: Post) -> None:
    """Post the attachments, then run the source."""
    for file in attached:
        post(file)
    await source(post)


async def no_input(post: Post) -> None:
    """End the input."""
    post(InputEnded())
