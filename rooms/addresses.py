"""Where a request comes from. ``X-Forwarded-For`` is believed of listed proxies alone: anybody can send one."""

from __future__ import annotations

import logging
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from rooms.conf import config

logger = logging.getLogger(__name__)

Networks = tuple[IPv4Network | IPv6Network, ...]
HOME = 64  # bits of an IPv6 address that one customer has: the rest is theirs to choose


def client_address(asked: Any) -> str:
    """The address of the client, of an ASGI scope or a Django request; empty when the server does not know it.

    Read from the right, each proxy wrote down whom it heard: the client is the first who is not one of
    ``ROOMS["TRUSTED_PROXIES"]``. What stands left of it is the client's own claim. Who comes over a Unix socket has no
    address and is a proxy of ours.
    """
    if isinstance(asked, dict):
        peer = (asked.get("client") or ("",))[0]
        named = [value.decode("latin-1") for name, value in asked["headers"] if name == b"x-forwarded-for"]
    else:
        peer = asked.META.get("REMOTE_ADDR", "")
        named = [asked.META.get("HTTP_X_FORWARDED_FOR", "")]
    address = _plain(peer or "")
    proxies = trusted(config().trusted_proxies)
    for hop in reversed([part for value in named for part in value.split(",") if part.strip()]):
        if not _is_among(address, proxies):
            _tell(address)
            break
        found = _plain(hop)
        if not found:  # not an address: nobody behind it is known
            break
        address = found
    return address


def is_proxy(scope: Any) -> bool:
    """Whether this scope comes from one of ``ROOMS["TRUSTED_PROXIES"]``, which may speak for its clients."""
    address = _plain((scope.get("client") or ("",))[0] or "")
    if _is_among(address, trusted(config().trusted_proxies)):
        return True
    _tell(address)
    return False


def home(address: str) -> str:
    """What is counted as one address: an IPv6 customer has a whole network."""
    return str(ip_network((address, HOME), strict=False)) if ":" in address else address


@lru_cache(maxsize=4)
def trusted(networks: tuple[str, ...]) -> Networks:
    """:raises ValueError: with what is no network."""
    return tuple(ip_network(network) for network in networks)


def _is_among(address: str, networks: Networks) -> bool:
    return not address or any(ip_address(address) in network for network in networks)


@lru_cache(maxsize=4_096)
def _plain(text: str) -> str:
    """An address without a port and brackets, IPv4 as such; empty for what is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str((found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found)


@lru_cache(maxsize=16)
def _tell(proxy: str) -> None:
    """Once of each: behind a proxy that is not listed a whole site has one address, and the limits of one."""
    if proxy and not ip_address(proxy).is_global:
        logger.warning('Forwarding headers come from %s, which is not in ROOMS["TRUSTED_PROXIES"]', proxy)
