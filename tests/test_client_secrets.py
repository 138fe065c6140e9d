"""The store of client secrets."""

from __future__ import annotations

from rtchat.core.values import Options
from rtchat.server.client_secrets import MAX_SECRETS, ClientSecrets
from rtchat.server.limits import MemoryBudget
from rtchat.wire.http_bodies import SecretRequest

REQUEST = SecretRequest(20, Options("Be brief."), transcribes=False)


def test_a_secret_is_valid_until_it_expires() -> None:
    secrets = ClientSecrets(MemoryBudget(1000))
    secrets.add("ek_1", REQUEST, 0.0)
    found = {now: secrets.find(b"ek_1", now) for now in (10.0, 19.9, 20.0, 30.0)}
    assert found == {10.0: REQUEST, 19.9: REQUEST, 20.0: None, 30.0: None}
    assert secrets.find(b"ek_2", 10.0) is None
    assert secrets.find(b"", 10.0) is None


def test_the_number_and_the_memory_of_secrets_are_limited() -> None:
    budget = MemoryBudget(1000)
    secrets = ClientSecrets(budget)
    for number in range(MAX_SECRETS):
        assert not secrets.is_full(0.0)
        secrets.add(f"ek_{number}", REQUEST, -10.0 if number else 0.0)
    assert secrets.is_full(0.0)
    assert budget.is_exhausted
    assert not secrets.is_full(10.0)
    assert secrets.find(b"ek_0", 10.0) == REQUEST
    assert not secrets.is_full(20.0)
    assert budget.used == 0
