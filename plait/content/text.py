"""Text from outside made harmless for the eye and the terminal."""

import re
from typing import Final

_INVISIBLE: Final = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"  # controls, escape among them
    "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"  # marks that reorder what is read
    "\u200b\u2060\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # text nobody sees
    "\ud800-\udfff"
    "]"
)
_LINE_END: Final = re.compile("\r\n|[\r\x85\u2028\u2029]")
_SPACES: Final = re.compile(r"\s+")


def printable(text: str) -> str:
    """`text` without control, reordering and invisible characters; line ends become line feeds."""
    return _INVISIBLE.sub("", _LINE_END.sub("\n", text))


def one_line(text: str, limit: int | None = None) -> str:
    """Printable text with its white space folded; cut to `limit` characters with an ellipsis."""
    line = _SPACES.sub(" ", printable(text)).strip()
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,200 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """`1.5 s`, `2 min 3 s`, `4 h 5 min`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
