"""The examples in `--help` and in the manual, by command."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("rtchat", "start a conversation"),
        ('rtchat "What is a WebSocket?"', "ask one question"),
        ('git diff | rtchat "Write a commit message"', "ask about piped text"),
        ("rtchat --local", "try it without a key"),
        ("rtchat keys set", "store your key"),
    ),
    "talk": (
        ("rtchat talk", "start a conversation"),
        ("rtchat talk --continue", "continue the latest one"),
        ("rtchat talk --voice", "speak and listen"),
        ("rtchat talk --url ws://127.0.0.1:8000/v1/realtime", "use another server"),
        ("rtchat talk < questions.txt", "each line is a turn"),
    ),
    "once": (
        ('rtchat once "What is a WebSocket?"', "print the answer"),
        ('git diff | rtchat once "Write a commit message"', "ask about piped text"),
        ('rtchat once -a photo.jpg "What is this?"', "ask about a file"),
        ('rtchat once --json "Hi" | jq .usage', "print the usage of a reply"),
    ),
    "transcribe": (
        ("rtchat transcribe interview.wav", "print what is said"),
        ("rtchat transcribe talk.mp3 -f srt > talk.srt", "write subtitles"),
        ("rtchat transcribe recordings -o texts", "transcribe a folder"),
        ("rtchat transcribe", "transcribe the microphone"),
    ),
    "translate": (
        ("rtchat translate --to es talk.wav", "print a Spanish translation"),
        ("rtchat translate --to es --play", "translate while you speak"),
    ),
    "voices": (
        ("rtchat voices", "list the voices of OpenAI's models"),
        ("rtchat voices --local", "list the built-in model's voice"),
    ),
    "serve": (
        ("rtchat serve", "serve the built-in model"),
        ("rtchat serve --engine echo", "repeat what the client says"),
        (
            "rtchat serve --upstream http://localhost:11434/v1 --upstream-model llama3.2",
            "use a chat completions server",
        ),
    ),
    "replay": (
        ("rtchat replay bug.jsonl --speed inf", "show a recording at once"),
        ("rtchat replay --check bug.jsonl", "compare it with this version"),
    ),
    "doctor": (("rtchat doctor", "test the connection"),),
    "history": (
        ("rtchat history list", "list the conversations"),
        ("rtchat history show 12", "show one of them"),
        ("rtchat history search websocket", "find words"),
        ("rtchat history export 12 -o talk.md", "save it as Markdown"),
    ),
    "prompts": (
        ("rtchat prompts edit commit", "create or change a template"),
        ("git diff | rtchat once -t commit", "use it"),
    ),
    "keys": (
        ("rtchat keys set", "store your OpenAI key"),
        ("rtchat keys set xai", "store the key of a profile"),
        ("pass show openai | rtchat keys set", "store a key that a program prints"),
    ),
    "config": (
        ("rtchat config edit", "change the settings"),
        ("rtchat config show", "show them and where each is set"),
        ("rtchat config options", "list the names for --set"),
    ),
    "local": (("rtchat local install", "download the built-in model"),),
    "completion": (
        ("rtchat completion install", "add completion to your shell"),
        ("rtchat completion show zsh", "print the script"),
    ),
    "man": (
        ("rtchat man", "read the manual"),
        ("rtchat man > rtchat.1", "save its source"),
    ),
}
"""For each command, and for the program (""), command lines and what they do."""
