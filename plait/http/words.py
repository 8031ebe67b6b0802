"""What a vendor says when it says no, in whatever shape it comes, made safe to print.

Shapes: `detail` as text, list or object (officeplane.md §2.3, planck.md §2.2), `error` as text
or object, `code` and `message` side by side (pletor.md §2.2), plain text, HTML, nothing.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import unescape
from http import HTTPStatus
from typing import Any, Final

MESSAGE_LIMIT: Final = 500
_DETAIL_LIMIT: Final = 50
_DEPTH_LIMIT: Final = 6
_SHORTEST_SECRET: Final = 4
_SECRET_NAME: Final = re.compile(r"auth|key|token|secret|passw|cookie|signature", re.IGNORECASE)
_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class Words:
    """A vendor's refusal: what to show a person, its code, and the rest of it."""

    message: str
    code: str | None = None
    details: Any = None


def clean(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """One line without control or direction-changing characters, cut to `limit` characters."""
    printable = ("" if unicodedata.category(c) in {"Cf", "Cs"} else c for c in text[: 4 * limit])
    line = " ".join("".join(" " if unicodedata.category(c or "a") == "Cc" else c for c in printable).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


class Redactor:
    """Removes our own credentials from text that comes back from a vendor."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        values = {value for name, value in headers.items() if _SECRET_NAME.search(name)}
        values |= {part for value in values for part in value.split()}
        # Longest first, so that no part of a longer one is left over.
        self._secrets = sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` with every secret replaced by `***`."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def read_words(status: int, content: bytes, redact: Redactor) -> Words:
    """What the body of a refusal says; never raises, whatever the bytes are."""
    text = redact(content.decode("utf-8", "replace"))
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return Words(_plain(text) or _phrase(status))
    words = _from_json(body)
    return Words(clean(words.message) or _phrase(status), words.code, _tame(words.details))


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase}, without further words"
    except ValueError:
        return f"status {status}, without further words"


def _plain(text: str) -> str:
    if "<" in text[:1000] and re.search(r"<(!doctype|html|head|body|h1|title)\b", text[:1000], re.IGNORECASE):
        title = re.search(r"<(title|h1)[^>]*>(.*?)</\1", text[:20_000], re.IGNORECASE | re.DOTALL)
        bare = re.sub(r"<[^>]*>", " ", title[2] if title else text[:5000])
        return clean(f"an HTML page: {unescape(bare)}")
    return clean(text)


def _from_json(body: Any) -> Words:
    if isinstance(body, str):
        return Words(body)
    if isinstance(body, list):
        return Words(_listed(body), details=body)
    if not isinstance(body, Mapping):
        return Words("" if body is None else str(body))
    for name in ("detail", "error", "errors"):
        if inner := body.get(name):
            words = _from_json(inner)
            rest = {k: v for k, v in body.items() if k not in {name, "message"}}
            if not words.message or isinstance(inner, str):
                words = Words(_text(body.get("message")) or words.message, words.code, words.details)
            return Words(words.message, words.code or _code(body), words.details or rest or None)
    message = _text(body.get("message")) or _text(body.get("msg"))
    rest = {k: v for k, v in body.items() if k not in {"message", "msg", "code"}}
    return Words(
        message or json.dumps(_tame(body), ensure_ascii=False),
        _code(body),
        body.get("details") or rest or None,
    )


def _code(body: Mapping[str, Any]) -> str | None:
    value = body.get("code") or body.get("type")
    return clean(str(value), 80) if isinstance(value, str | int) and value else None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return _listed(value)
    return value if isinstance(value, str) else ""


def _listed(items: Iterable[Any]) -> str:
    return "; ".join(filter(None, map(_item, items)))


def _item(item: Any) -> str:
    if not isinstance(item, Mapping):
        return item if isinstance(item, str) else ""
    said = item.get("msg") or item.get("message") or item.get("issue") or ""
    where = item.get("loc") or item.get("field") or ""
    place = ".".join(map(str, where)) if isinstance(where, list) else str(where)
    return f"{place}: {said}" if place else str(said)


def _tame(value: Any, depth: int = 0) -> Any:
    """`value` with long text cut, secrets hidden, and the caller's own inputs left out."""
    if isinstance(value, str):
        return clean(value)
    if depth >= _DEPTH_LIMIT:
        return "…"
    if isinstance(value, Mapping):
        # FastAPI repeats in `input` and `ctx` what we sent, a password too (officeplane.md §2.3).
        kept = [(str(k), v) for k, v in value.items() if k not in {"input", "ctx"}][:_DETAIL_LIMIT]
        return {clean(k, 80): _HIDDEN if _hides(k, v) else _tame(v, depth + 1) for k, v in kept}
    if isinstance(value, list):
        return [_tame(item, depth + 1) for item in value[:_DETAIL_LIMIT]]
    return value


def _hides(name: str, value: Any) -> bool:
    return isinstance(value, str) and _SECRET_NAME.search(name) is not None
