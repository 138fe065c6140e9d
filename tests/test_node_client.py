"""The official Node SDK, from npm, holds the conversation of its own example with `rtchat serve`.

Over TLS, as it speaks nothing else; in today's dialect and in the one before, which this release
has both, under `openai/realtime` and `openai/beta/realtime`. Not here: the Python SDK.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import npm
from tests.faulty import certificate
from tests.program import Program
from tests.test_serve import served

pytestmark = pytest.mark.full

PACKAGES = ("openai@7.57.0", "ws@8.23.0")
KEY = "sk-node-0123456789"

EXAMPLE = """
import { OpenAIRealtimeWS } from '%(package)s';

const rt = new OpenAIRealtimeWS({ model: '%(model)s' });
rt.socket.on('open', () => {
  console.log('open');
  rt.send({ type: 'session.update', session: %(session)s });
  const content = [{ type: 'input_text', text: 'Say a couple paragraphs!' }];
  rt.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  rt.send({ type: 'response.create' });
});
rt.on('error', (error) => { throw error; });
rt.on('session.created', (event) => console.log('session of', event.session.model));
rt.on('%(text)s.delta', (event) => process.stdout.write(event.delta));
rt.on('%(text)s.done', () => console.log());
rt.on('response.done', (event) => {
  console.log(event.response.status);
  rt.close();
});
rt.socket.on('close', () => console.log('closed'));
"""
FORMS = {
    "ga": {
        "package": "openai/realtime/ws",
        "model": "gpt-realtime-2025-08-28",
        "session": "{ type: 'realtime', output_modalities: ['text'], model: 'gpt-realtime' }",
        "text": "response.output_text",
    },
    "beta": {
        "package": "openai/beta/realtime/ws",
        "model": "gpt-4o-realtime-preview-2024-12-17",
        "session": "{ modalities: ['text'], model: 'gpt-4o-realtime-preview' }",
        "text": "response.text",
    },
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the SDK is installed."""
    place = tmp_path_factory.mktemp("node")
    npm.installed(place, *PACKAGES)
    return place


@pytest.mark.parametrize("form", FORMS)
def test_the_example_of_the_sdk(form: str, folder: Path, tmp_path: Path) -> None:
    program = Program(tmp_path)
    trusted, _ = certificate(tmp_path, "IP:127.0.0.1")
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "two.toml").write_text('[[rule]]\nmatch = "paragraphs"\ntext = "One.\\n\\nTwo."\n')
    example = folder / f"{form}.mjs"
    example.write_text(EXAMPLE % FORMS[form])
    arguments = ("--tls-cert", str(trusted), "--tls-key", str(tmp_path / "key.pem"))
    with served(program, "--engine", "script:two.toml", "--api-key-file", "key", *arguments) as (
        url,
        _,
    ):
        done = subprocess.run(
            [npm.node(), example],
            capture_output=True,
            text=True,
            env={
                "OPENAI_BASE_URL": url.replace("wss:", "https:").removesuffix("/realtime"),
                "OPENAI_API_KEY": KEY,
                "NODE_EXTRA_CA_CERTS": str(trusted),
            },
            timeout=60,
            check=False,
        )
    said = f"open\nsession of {FORMS[form]['model']}\nOne.\n\nTwo.\ncompleted\nclosed\n"
    assert (done.stdout, done.stderr, done.returncode) == (said, "", 0)
