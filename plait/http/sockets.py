"""How connections are made: HTTP/1.1, the environment's proxies, and what the kernel may hold back."""

import socket
import ssl
import struct
import sys
import urllib.request
from typing import Final, TypeAlias

import httpx

from plait.http.address import is_loopback

SocketOption: TypeAlias = tuple[int, int, int] | tuple[int, int, bytes]

_USER_TIMEOUT_MS: Final = 30_000
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)
"""Idle connections go before a server's usual 5 s: a write into one that is closing is ambiguous."""


def connections(url: httpx.URL) -> httpx.AsyncHTTPTransport:
    """Connections to the host of `url`.

    httpx's client above it is not used: it logs whole addresses, keeps cookies and carries custom
    credential headers across redirects. HTTP/2 is off because the permit cannot be taken in it
    (effect-protocol.md §8).
    """
    proxy = proxy_for(url)
    # Plain http without a proxy never shakes hands, so the certificates need not be read.
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.scheme == "http" and proxy is None else True
    return httpx.AsyncHTTPTransport(
        verify=trust, http1=True, http2=False, limits=_LIMITS, proxy=proxy, socket_options=socket_options()
    )


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy of the environment; never one for this machine, which a proxy could not reach."""
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def socket_options() -> list[SocketOption]:
    """What bounds the kernel's share of the landing time (effect-protocol.md §8).

    Closing discards what was not yet sent; data that nobody acknowledges is dropped after 30 s.
    """
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    options: list[SocketOption] = [(socket.SOL_SOCKET, socket.SO_LINGER, linger)]
    if sys.platform == "linux":
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS))
    return options
