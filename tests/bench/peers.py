"""Other terminal clients, set up for a server on this machine."""

from __future__ import annotations

import json
from pathlib import Path

KEY = "sk-mock-0123456789"
CODEX = """\
model = "mock"
model_provider = "mock"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
analytics.enabled = false
features = {{ daemon_auto_start = false, in_app_updates = false }}
projects."{home}".trust_level = "trusted"

[model_providers.mock]
name = "mock"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
"""
GEMINI = {
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
}


def set_up(home: Path, url: str) -> dict[str, str]:
    """Write the settings of codex and gemini-cli into an empty home folder. Returns the environment
    variables that they need to use the server at `url`."""
    for folder in (".codex", ".gemini"):
        (home / folder).mkdir(parents=True)
    (home / ".codex" / "config.toml").write_text(CODEX.format(home=home, url=url))
    (home / ".gemini" / "settings.json").write_text(json.dumps(GEMINI))
    return {
        "OPENAI_API_KEY": KEY,
        "GEMINI_API_KEY": KEY,
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "GOOGLE_GEMINI_BASE_URL": url,
    }
