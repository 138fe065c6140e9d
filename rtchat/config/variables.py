"""The environment variables that do not belong to a setting.

The variables of settings are in the rows of the settings. `.env.example` documents both.
"""

from __future__ import annotations

from rtchat.config.table import Variable

CONFIG = Variable(
    "RTCHAT_CONFIG", dotenv="no", help="The path of the config file.", example="rtchat.toml"
)
BASE_URL = Variable(
    "OPENAI_BASE_URL",
    dotenv="yes",
    help="The base URL of another server, as in OpenAI programs. RTCHAT_URL takes precedence.",
    example="https://api.openai.com/v1",
)
ORGANIZATION = Variable(
    "OPENAI_ORG_ID",
    dotenv="yes",
    help="The organization to bill, if the key belongs to several.",
    example="org-...",
)
PROJECT = Variable(
    "OPENAI_PROJECT_ID", dotenv="yes", help="The project to bill.", example="proj_..."
)
SAFETY_IDENTIFIER = Variable(
    "OPENAI_SAFETY_IDENTIFIER",
    dotenv="yes",
    help="A hash that identifies the user to OpenAI.",
    example="5f2c...",
)
UPSTREAM_KEY = Variable(
    "RTCHAT_UPSTREAM_KEY",
    dotenv="no",
    help="The key of the server behind rtchat serve --upstream."
    " --upstream-key-file takes precedence.",
    example="sk-...",
)
DOTENV = Variable("RTCHAT_DOTENV", dotenv="no", help="Read .env: on or off.", example="off")


def _key(name: str, help: str, example: str = "...") -> Variable:
    return Variable(name, dotenv="yes", help=help, example=example)


def _process(name: str, help: str, example: str) -> Variable:
    return Variable(name, dotenv="no", help=help, example=example)


ACCOUNT = (
    _key(
        "OPENAI_API_KEY",
        "The key. No option and no config file can contain it; rtchat keys set stores one.",
        "sk-...",
    ),
    BASE_URL,
    ORGANIZATION,
    PROJECT,
    SAFETY_IDENTIFIER,
)
"""Variables for OpenAI, or for a server that is used instead."""

PROFILES = (
    _key(
        "AZURE_OPENAI_ENDPOINT",
        "Your Azure resource, for the profiles azure, azure-entra and azure-preview.",
        "https://your-resource.openai.azure.com",
    ),
    _key("AZURE_OPENAI_API_KEY", "The key of that resource."),
    _key(
        "AZURE_VOICELIVE_ENDPOINT",
        "Your Azure resource, for the profile azure-voice-live.",
        "https://your-resource.cognitiveservices.azure.com",
    ),
    _key("AZURE_VOICELIVE_API_KEY", "The key of that resource."),
    _key("XAI_API_KEY", "The xAI key, for the profile xai.", "xai-..."),
    _key(
        "DASHSCOPE_API_KEY",
        "The key of Alibaba Model Studio, for the profiles dashscope and dashscope-intl.",
        "sk-...",
    ),
    _key("YANDEX_API_KEY", "The key of Yandex AI Studio, for the profile yandex.", "AQVN..."),
    _key("YANDEX_FOLDER_ID", "Your folder in Yandex AI Studio.", "b1g..."),
    _key("INWORLD_API_KEY", "The Inworld key as its portal shows it (base64)."),
    _key("LOCALAI_API_KEY", "The key of your LocalAI server, if it requires one."),
    _key("SPEACHES_API_KEY", "The key of your speaches server, if it requires one."),
    _key("LITELLM_API_KEY", "A key of your LiteLLM proxy, for the profile litellm.", "sk-..."),
)
"""Variables for the built-in profiles."""

PROCESS = (
    CONFIG,
    DOTENV,
    UPSTREAM_KEY,
    _process("RTCHAT_DEBUG", "Show the traceback of an error.", "1"),
    _process("NO_COLOR", "Do not use colours.", "1"),
    _process("FORCE_COLOR", "Use colours even if stdout is not a terminal.", "1"),
    _process("TERM", "The type of the terminal; dumb means plain text.", "dumb"),
    _process(
        "SSL_CERT_FILE",
        "A PEM file of certificate authorities to trust.",
        "/etc/ssl/certs/company.pem",
    ),
    _process("HTTPS_PROXY", "The proxy for wss:// servers.", "http://proxy.example:8080"),
    _process("ALL_PROXY", "The proxy to use if no other is set.", "socks5://proxy.example:1080"),
    _process("NO_PROXY", "Hosts to reach without a proxy.", "localhost,127.0.0.1"),
    _process("VISUAL", "The editor to use.", "vim"),
    _process("EDITOR", "The editor to use if VISUAL is not set.", "vi"),
    _process(
        "INPUTRC", "The init file of readline, which may set the editing mode.", "/home/me/.inputrc"
    ),
    _process("XDG_CONFIG_HOME", "The folder of the settings of programs.", "/home/me/.config"),
    _process("XDG_DATA_HOME", "The folder of the data of programs.", "/home/me/.local/share"),
)
"""Variables that only the environment can set."""
