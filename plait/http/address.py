"""Addresses: checking a base URL, filling in a path, and which redirect may be followed."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from plait.http.errors import ConfigurationError, InvalidInput

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_KEEPS_METHOD: Final = frozenset({307, 308})
_FOLLOWED_ON_GET: Final = frozenset({301, 302, 307, 308})


def base_address(text: str) -> httpx.URL:
    """An http(s) base URL without a trailing slash; `ConfigurationError` names what is wrong with it."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ConfigurationError("the base URL cannot be read; write it as https://host/path") from None
    if url.userinfo:
        raise ConfigurationError(f"the base URL for {url.host} holds a user or password; leave them out")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(f"the base URL {str(url)!r} is not an http or https address with a host")
    if url.query or url.fragment:
        raise ConfigurationError(f"the base URL for {url.host} has a query or a fragment; leave them out")
    return url.copy_with(raw_path=url.raw_path.rstrip(b"/") or b"/")


def public_address(text: str, *, secure: bool, base: httpx.URL | None = None) -> httpx.URL:
    """A public address, relative to `base` if there is one; `InvalidInput` never repeats its query."""
    try:
        url = httpx.URL(text.strip()) if base is None else base.join(text)
    except httpx.InvalidURL:
        raise InvalidInput("the address of the file cannot be read; write it as https://host/path") from None
    if url.userinfo:
        raise InvalidInput(f"the address of the file at {url.host} holds a user or password; leave them out")
    if url.scheme not in ({"https"} if secure else {"http", "https"}) or not url.host:
        wanted = "https, like the address it came from" if secure else "http or https"
        raise InvalidInput(
            f"a file is fetched only over {wanted}, not from {url.scheme or 'no scheme'}://{url.host}"
        )
    return url.copy_with(fragment=None)


def fill(base: httpx.URL, template: str, path: Mapping[str, str], query: Mapping[str, Any]) -> httpx.URL:
    """The URL of one call. Parameters are percent-encoded whole; a `None` in the query is left out."""
    names = _PARAMETER.findall(template)
    if set(names) != set(path):
        raise InvalidInput(f"{template} takes the parameters {sorted(names)}, not {sorted(path)}")
    filled = _PARAMETER.sub(lambda found: _segment(found[1], path[found[1]]), template)
    url = base.copy_with(raw_path=base.raw_path.rstrip(b"/") + filled.encode("ascii"))
    pairs = [(name, item) for name, value in query.items() for item in _values(value)]
    return url.copy_with(params=pairs) if pairs else url


def _segment(name: str, value: str) -> str:
    if value in {"", ".", ".."}:
        raise InvalidInput(f"{name} must not be {value!r}: it would name another address")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidInput(f"{name} holds half a character (a lone surrogate): {value!r}") from None


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [text for item in value for text in _values(item)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value)]


def slash_redirect(method: str, status: int, asked: httpx.URL, location: str | None) -> httpx.URL | None:
    """Where to ask again, if a redirect only adds or drops the last slash of the same address.

    Anything else would carry `X-API-Key` to another place (planck.md §7 no. 13, pletor.md §7 no. 12).
    """
    if location is None or status not in (_FOLLOWED_ON_GET if method == "GET" else _KEEPS_METHOD):
        return None
    try:
        target = asked.join(location)
    except httpx.InvalidURL:
        return None
    old, new = _path(asked), _path(target)
    same_place = not target.userinfo and origin(target) == origin(asked)
    if not same_place or (new != old + b"/" and old != new + b"/") or target.query not in {b"", asked.query}:
        return None
    return asked.copy_with(raw_path=new + (b"?" + asked.query if asked.query else b""))


def _path(url: httpx.URL) -> bytes:
    return url.raw_path.partition(b"?")[0]


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port, the port never left out."""
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine; names other than localhost are not looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
