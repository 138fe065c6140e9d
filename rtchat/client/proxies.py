"""The proxy that the environment sets for a connection."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from rtchat.client.endpoint import Endpoint
from rtchat.system.network import is_loopback


def proxy_of(endpoint: Endpoint) -> str | None:
    """The proxy that the environment sets for an endpoint; None for one on this machine."""
    url = urlsplit(endpoint.url)
    if is_loopback(url.hostname) or proxy_bypass(url.netloc):
        return None
    proxies = getproxies()
    return proxies.get("https") or proxies.get("all")  # the library ignores ALL_PROXY


def proxy_keys(endpoint: Endpoint) -> list[str]:
    """The password of an endpoint's proxy, alone and with the user name, if there is one."""
    try:
        proxy = urlsplit(proxy_of(endpoint) or "")
    except ValueError:  # reported when the proxy is used
        return []
    name, password = unquote(proxy.username or ""), unquote(proxy.password or "")
    return [password, f"{name}:{password}"] if password else []
