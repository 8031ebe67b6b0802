"""What a call sends: checked once, then built anew for each of its requests."""

import json as jsonlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from plait.http.address import fill
from plait.http.answer import UNSET
from plait.http.errors import ConfigurationError, InvalidInput
from plait.http.multipart import Form, FormBody, Upload
from plait.http.operation import Operation

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """What every request of one call sends alike."""

    url: httpx.URL
    headers: Mapping[str, str]
    content: bytes | None = None
    form: Form | None = None

    def at(self, url: httpx.URL) -> "Draft":
        """The same, sent to another address of the same origin."""
        return replace(self, url=url)

    def request(self, op: Operation, check: Callable[[], None]) -> httpx.Request:
        """A request to send once; `check` is asked before each chunk of a file."""
        times = op.timeouts
        timeout = httpx.Timeout(connect=times.connect, read=times.read, write=times.write, pool=times.pool)
        request = httpx.Request(
            op.method,
            self.url,
            headers=self.headers,
            content=self.content,
            extensions={"timeout": timeout.as_dict()},
        )
        if self.form is not None:
            request.stream = FormBody(self.form, check)
        return request


async def draft(
    op: Operation,
    base: httpx.URL,
    headers: Mapping[str, str],
    *,
    path: Mapping[str, str] | None,
    query: Mapping[str, Any] | None,
    json: Any = UNSET,
    upload: Upload | None = None,
) -> Draft:
    """Check what the caller gave; `InvalidInput` before anything is sent.

    Without a body there is no content type: Fastify refuses an empty JSON body (placet.md §2.2).
    """
    url = fill(base, op.path, path or {}, query or {})
    headers = {"User-Agent": "plait", **headers}
    if upload is not None:
        if json is not UNSET:
            raise InvalidInput(f"{op.key} sends a file or JSON, not both")
        form = await Form.of(upload)
        return Draft(url, {**headers, **form.headers}, form=form)
    if json is UNSET:
        return Draft(url, headers)
    return Draft(url, {**headers, "Content-Type": "application/json"}, content=_encoded(op, json))


def _encoded(op: Operation, value: Any) -> bytes:
    try:
        return jsonlib.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Not its text: it may repeat the value, and a password with it.
        kind = type(error).__name__
        raise InvalidInput(
            f"the body of {op.key} cannot be written as JSON ({kind}): use text, finite "
            "numbers, booleans, null, lists and mappings"
        ) from None


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers`, if they can be sent; the error names the header, never its value."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a header name")
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the value of {name} is empty or holds spaces at its ends or characters outside ASCII; "
                "copy the key again"
            )
    return dict(headers)
