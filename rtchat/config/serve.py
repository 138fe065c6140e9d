"""The settings of `rtchat serve`. Only options can set them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtchat.config import parsers
from rtchat.config.table import Group, Setting

_SERVER = Group("Server", ("serve",), in_file=False)
_UPSTREAM = Group("Upstream", ("serve",), in_file=False)
_ACCESS = Group("Access", ("serve",), in_file=False)
_LIMIT = Group("Limit", ("serve",), in_file=False)


@dataclass(frozen=True, repr=False)
class ServeSettings:
    """The settings of a server. Times are in seconds."""

    host: Setting[str] = Setting(
        _SERVER,
        parsers.text,
        "127.0.0.1",
        "The address to listen on.",
        option="--host",
    )
    port: Setting[int] = Setting(
        _SERVER,
        parsers.port,
        8765,
        "The port; 0 means any free port.",
        option="--port",
    )
    engine: Setting[str | None] = Setting(
        _SERVER,
        parsers.text,
        None,
        "What generates the responses; the default is local.",
        option="--engine",
        metavar="local|echo|script:FILE|upstream",
    )
    gguf: Setting[Path | None] = Setting(
        _SERVER,
        parsers.path,
        None,
        "A model file for the local engine.",
        option="--gguf",
    )
    grace: Setting[float] = Setting(
        _SERVER,
        parsers.duration,
        2.0,
        "How long responses may continue after SIGTERM.",
        option="--grace",
        metavar="SECONDS",
    )
    upstream: Setting[str | None] = Setting(
        _UPSTREAM,
        parsers.text,
        None,
        "The chat completions server that generates the responses: http://host/v1.",
        option="--upstream",
        metavar="URL",
    )
    upstream_model: Setting[str | None] = Setting(
        _UPSTREAM,
        parsers.text,
        None,
        "The model that the upstream uses.",
        option="--upstream-model",
        metavar="NAME",
    )
    upstream_key_file: Setting[Path | None] = Setting(
        _UPSTREAM,
        parsers.path,
        None,
        "The file with the upstream's key; alternatively, set RTCHAT_UPSTREAM_KEY.",
        option="--upstream-key-file",
    )
    insecure: Setting[bool] = Setting(
        _UPSTREAM,
        parsers.switch,
        False,
        "Allow sending the upstream's key over plain http://.",
        option="--insecure",
    )
    allow_image_urls: Setting[bool] = Setting(
        _UPSTREAM,
        parsers.switch,
        False,
        "Allow clients to send URLs of images, which the upstream fetches.",
        option="--allow-image-urls",
    )
    upstream_timeout: Setting[float] = Setting(
        _UPSTREAM,
        parsers.seconds,
        300.0,
        "How long to wait for the next data from the upstream.",
        option="--upstream-timeout",
        metavar="SECONDS",
    )
    api_key_file: Setting[Path | None] = Setting(
        _ACCESS,
        parsers.path,
        None,
        "The file with the key that clients must send.",
        option="--api-key-file",
    )
    tls_cert: Setting[Path | None] = Setting(
        _ACCESS,
        parsers.path,
        None,
        "The TLS certificate, to serve wss://.",
        option="--tls-cert",
    )
    tls_key: Setting[Path | None] = Setting(
        _ACCESS,
        parsers.path,
        None,
        "The private key of the certificate.",
        option="--tls-key",
    )
    allow_origins: Setting[tuple[str, ...]] = Setting(
        _ACCESS,
        parsers.texts,
        (),
        "Accept connections from web pages of this origin.",
        option="--allow-origin",
        metavar="ORIGIN",
    )
    max_sessions: Setting[int] = Setting(
        _LIMIT,
        parsers.count,
        100,
        "The maximum number of sessions.",
        option="--max-sessions",
    )
    max_session_mb: Setting[int] = Setting(
        _LIMIT,
        parsers.count,
        256,
        "The maximum memory for the items and audio of a session, in MB.",
        option="--max-session-mb",
        metavar="MB",
    )
    max_total_mb: Setting[int] = Setting(
        _LIMIT,
        parsers.count,
        1024,
        "The maximum memory for all sessions together, in MB.",
        option="--max-total-mb",
        metavar="MB",
    )
    max_events: Setting[int] = Setting(
        _LIMIT,
        parsers.count,
        1000,
        "The maximum number of events per second from one client.",
        option="--max-events",
    )
    client_timeout: Setting[float] = Setting(
        _LIMIT,
        parsers.seconds,
        40.0,
        "How long a client may ignore pings or read nothing.",
        option="--client-timeout",
        metavar="SECONDS",
    )
    response_timeout: Setting[float] = Setting(
        _LIMIT,
        parsers.seconds,
        900.0,
        "How long a response may take.",
        option="--response-timeout",
        metavar="SECONDS",
    )
