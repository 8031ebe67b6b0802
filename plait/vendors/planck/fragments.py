"""One block of a streamed answer while its pieces arrive (planck.md §3.2, §5.1).

A block that is not text may come whole in its start, in one delta, or as pieces of JSON that are
joined and parsed at the end; all three are read.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from plait.content.blocks import ContentBlock, OpaqueBlock, parse_block

_TEXT_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("text", "texts", "prose", "markdown", "output_text"), "text"),
    **dict.fromkeys(("code", "codes", "source_code", "sql"), "code"),
    **dict.fromkeys(("thinking", "reasoning"), "thinking"),
}
"""Kinds whose content is text, and the field it goes to."""
_OTHER_TEXT: Final = frozenset({"content", "markdown", "source", "sql", "summary"})
"""Where a start may hold the text of such a kind instead."""
_TEXT_DELTAS: Final = frozenset({"", "text", "text_delta", "code_delta", "thinking_delta"})
_JSON_DELTAS: Final = frozenset({"", "input_json_delta", "json_delta"})
_WRAPPERS: Final = frozenset({"payload", "content", "block", "content_block", "value"})


@dataclass(slots=True)
class OpenBlock:
    """A block and what has arrived of it. `index` is its position in the finished list."""

    index: int
    kind: str
    fields: dict[str, Any]
    stopped: bool = False
    _texts: list[str] = field(default_factory=list)
    _json: list[str] = field(default_factory=list)

    @classmethod
    def begun(cls, index: int, fields: Mapping[str, Any]) -> "OpenBlock":
        """A block from the fields of its start; without a type it counts as text."""
        word = fields.get("type")
        kind = word if isinstance(word, str) and word else "text"
        return cls(index, kind, {key: value for key, value in fields.items() if key != "type"})

    @classmethod
    def implied(cls, index: int, delta: Any) -> "OpenBlock":
        """A block whose start never came: its kind is read off its first delta."""
        word = mapping(delta).get("type")
        kind = word.removesuffix("_delta") if isinstance(word, str) else "text"
        return cls(index, "tool_use" if kind == "input_json" else kind, {})

    @property
    def text(self) -> str:
        """The text so far, empty for kinds that are not text."""
        return self._opening() + "".join(self._texts)

    def restart(self, fields: Mapping[str, Any]) -> None:
        """A second start of the same block adds what the first did not have."""
        self.fields = {key: value for key, value in fields.items() if key != "type"} | self.fields

    def extend(self, delta: Any) -> str:
        """Take one delta; returns the new text, if it was text. Unknown types are skipped."""
        if isinstance(delta, str):
            return self._add_text(delta)
        said = mapping(delta)
        word = said.get("type")
        word = word if isinstance(word, str) else ""
        payload = {key: value for key, value in said.items() if key != "type"}
        if word == "citations_delta":
            self._add_citation(said.get("citation"))
        elif word in _JSON_DELTAS and isinstance(said.get("partial_json"), str):
            self._json.append(said["partial_json"])
        elif word in _TEXT_DELTAS and (text := _text_in(payload)) is not None:
            return self._add_text(text)
        elif word in {"", self.kind, f"{self.kind}_delta"}:
            self.fields |= _unwrapped(payload, self.kind)
        return ""

    def finished(self) -> ContentBlock:
        """The block as the answer has it; opaque with its raw text where it cannot be read."""
        raw = {"type": self.kind, **self.fields}
        if self.kind in _TEXT_FIELDS and (self.text or not _OTHER_TEXT & self.fields.keys()):
            raw[_TEXT_FIELDS[self.kind]] = self.text
        if not self._json:
            return parse_block(raw)
        joined = "".join(self._json)
        try:
            value = json.loads(joined)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, Mapping):
            return OpaqueBlock(kind=self.kind, raw=joined)
        if self.kind == "tool_use":
            return parse_block(raw | {"input": value})
        return parse_block(raw | _unwrapped(value, self.kind) | {"type": self.kind})

    def _add_text(self, text: str) -> str:
        """Text of a kind that is not text can only be pieces of its JSON."""
        if self.kind not in _TEXT_FIELDS:
            self._json.append(text)
            return ""
        self._texts.append(text)
        return text

    def _add_citation(self, citation: Any) -> None:
        known = self.fields.get("citations")
        self.fields["citations"] = [*(known if isinstance(known, list) else []), citation]

    def _opening(self) -> str:
        """Text that came with the start."""
        if self.kind not in _TEXT_FIELDS:
            return ""
        candidates = (self.fields.get(name) for name in (_TEXT_FIELDS[self.kind], "text"))
        return next((text for text in candidates if isinstance(text, str)), "")


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def credits_of(data: Mapping[str, Any]) -> float | None:
    """The credits an event names; None where it does not, or where it makes no sense."""
    for place in (data, mapping(data.get("usage")), mapping(data.get("delta"))):
        value = place.get("credits_consumed")
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value >= 0
        ):
            return float(value)
    return None


def _text_in(payload: Mapping[str, Any]) -> str | None:
    """The text of a delta that has nothing but text."""
    values = list(payload.values())
    if (
        len(values) == 1
        and isinstance(values[0], str)
        and next(iter(payload)) in {"text", "code", "thinking"}
    ):
        return values[0]
    return None


def _unwrapped(payload: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A payload may be nested once more, under its kind or a word for content."""
    if len(payload) == 1:
        [(key, value)] = payload.items()
        if isinstance(value, Mapping) and key in _WRAPPERS | {kind}:
            return dict(value)
    return dict(payload)
