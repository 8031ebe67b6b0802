"""Files at public or signed addresses: fetched without any credential of ours."""

import asyncio
from pathlib import Path
from typing import Final, TypeVar

import httpx

from plait.http.address import public_address
from plait.http.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    MalformedResponse,
    NotFound,
    NotSent,
    PermissionDenied,
    PlaitError,
    RequestRejected,
    ServerFailed,
)
from plait.http.files import Downloaded, save
from plait.http.retry import CONNECT_FAILURES
from plait.http.sockets import connections
from plait.http.words import clean

E = TypeVar("E", bound=PlaitError)

_REDIRECTS: Final = 5
_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=30.0, write=30.0, pool=30.0)
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}
_REJECTED: Final = {401: AuthenticationFailed, 403: PermissionDenied, 404: NotFound, 410: NotFound}


async def fetch_public(
    url: str, destination: Path, *, limit: int | None = None, deadline: float = 300.0, secure: bool = False
) -> Downloaded:
    """Fetch a public or signed http(s) address into `destination`, which appears whole or not at all.

    At most five redirects are followed, never from https to http; with `secure` the first address must
    be https too. `limit` is bytes, `deadline` seconds. Errors name the host, never the whole address:
    it may be signed. Raises `InvalidInput`, `RequestRejected`, `NotSent`, `ServerFailed`,
    `DeadlineExceeded`, `MalformedResponse`, `LimitExceeded`, `ConfigurationError`.
    """
    target = public_address(url, secure=secure)
    try:
        async with asyncio.timeout(deadline):
            for _ in range(_REDIRECTS + 1):
                got = await _fetch(target, destination, limit)
                if not isinstance(got, str):
                    return got
                target = public_address(got, secure=target.scheme == "https", base=target)
    except TimeoutError as error:
        raise _error(DeadlineExceeded, target, f"not complete within {deadline:g} s") from error
    raise _error(MalformedResponse, target, f"more than {_REDIRECTS} redirects")


async def _fetch(url: httpx.URL, destination: Path, limit: int | None) -> Downloaded | str:
    """One request: the file, or where to look instead."""
    async with connections(url) as network:
        try:
            request = httpx.Request("GET", url, headers=_HEADERS, extensions={"timeout": _TIMEOUT.as_dict()})
            response = await network.handle_async_request(request)
            try:
                if response.has_redirect_location:
                    return str(response.headers["location"])
                if not response.is_success:
                    raise _refused(url, response.status_code)
                return await save(response, response.aiter_bytes(), destination, limit)
            finally:
                await response.aclose()
        except CONNECT_FAILURES as error:
            raise _error(NotSent, url, f"cannot connect: {clean(str(error))}") from error
        except httpx.TransportError as error:
            raise _error(ServerFailed, url, f"the connection broke: {type(error).__name__}") from error
        except httpx.DecodingError as error:
            raise _error(MalformedResponse, url, "the answer's compression is damaged") from error


def _refused(url: httpx.URL, status: int) -> PlaitError:
    if httpx.codes.is_client_error(status):
        rejected = _REJECTED.get(status, RequestRejected)
        return _error(
            rejected, url, "the file is not given out; check the link, and that it is still valid", status
        )
    if httpx.codes.is_server_error(status):
        return _error(ServerFailed, url, "no file came", status)
    return _error(MalformedResponse, url, "no file came", status)


def _error(kind: type[E], url: httpx.URL, message: str, status: int | None = None) -> E:
    return kind(f"{url.host}: {message}", system="web", operation="fetch", status=status)
