"""Prose written again as Markdown that means the same to every renderer.

A renderer may allow HTML, load pictures, or read a character our parser took as text. So nothing
of the author's markup is passed through: the tree is printed anew, and every character of text
that could mean something is escaped.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from plait.content.prose import MAX_PARSED, prose_tokens
from plait.content.text import one_line, printable

_SPECIAL: Final = re.compile(r"([\\`*_\[\]~|]|!(?=\[|\Z))")
_LINE_START: Final = re.compile(r"^([ \t]*)([-+=:]|#{1,6}|\d+[.)])(?=\s|$|[-=])", re.MULTILINE)
_BARE_URL: Final = re.compile(r"(?i)\b(https?|ftp):(?=//)|\b(www)\.")
_STOP: Final = {":": "&#58;", ".": "&#46;"}


def escape_markdown(text: str) -> str:
    """`text` as literal characters in any Markdown dialect, HTML included; line ends stay."""
    entities = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    literal = _SPECIAL.sub(r"\\\1", entities)
    unlinked = _BARE_URL.sub(lambda found: f"{found[1] or found[2]}{_STOP[found[0][-1]]}", literal)
    return _LINE_START.sub(lambda found: f"{found[1]}{_escape_marker(found[2])}", unlinked)


def escape_cell(text: str, limit: int | None = None) -> str:
    """`text` on one line, literal inside a cell of a pipe table."""
    return escape_markdown(one_line(text, limit))


def fenced(code: str, language: str = "") -> str:
    """A code fence longer than any run of backticks inside."""
    body = printable(code)
    fence = "`" * max(3, 1 + longest_run(body))
    word = language if re.fullmatch(r"[\w+#.-]{1,30}", language) else ""
    word = "" if word.lower() == "mermaid" else word  # a renderer would run it
    return f"{fence}{word}\n{body.rstrip(chr(10))}\n{fence}"


def code_span(text: str) -> str:
    """An inline code span that holds any backticks."""
    body = one_line(text)
    fence = "`" * (1 + longest_run(body))
    edge = " " if body.startswith("`") or body.endswith("`") or not body else ""
    return f"{fence}{edge}{body}{edge}{fence}"


def longest_run(text: str) -> int:
    """The length of the longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)


def safe_markdown(text: str) -> str:
    """Prose for a renderer we do not control, such as Prefect's artifacts."""
    if len(text) > MAX_PARSED:
        return fenced(text)
    root = SyntaxTreeNode(prose_tokens(text))
    return "\n\n".join(_block(node) for node in root.children)


def _escape_marker(marker: str) -> str:
    return f"{marker[:-1]}\\{marker[-1]}"


def _block(node: SyntaxTreeNode) -> str:
    printer = _PRINTERS.get(node.type, _inline_of)
    return printer(node)


def _heading(node: SyntaxTreeNode) -> str:
    return f"{'#' * int(node.tag[1])} {' '.join(_inline_of(node).split())}"


def _quote(node: SyntaxTreeNode) -> str:
    return _indent("\n\n".join(_block(child) for child in node.children), "> ", "> ")


def _list(node: SyntaxTreeNode) -> str:
    start = int(node.attrs.get("start", 1))
    items = []
    for number, item in enumerate(node.children):
        marker = f"{start + number}. " if node.type == "ordered_list" else "- "
        tight = any(child.hidden for child in item.children)
        body = ("\n" if tight else "\n\n").join(_block(child) for child in item.children)
        items.append(_indent(body, marker, " " * len(marker)))
    return "\n".join(items)


def _indent(body: str, first: str, rest: str) -> str:
    lines = body.split("\n")
    return "\n".join(f"{rest if number else first}{line}".rstrip() for number, line in enumerate(lines))


def _table(node: SyntaxTreeNode) -> str:
    rows = [[_cell(cell) for cell in row.children] for part in node.children for row in part.children]
    heads = node.children[0].children[0].children
    right = frozenset(number for number, head in enumerate(heads) if "right" in str(head.attrs.get("style")))
    return pipe_table(rows[0], rows[1:], right)


def _cell(node: SyntaxTreeNode) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", _inline_of(node))  # a code span may hold bare pipes


def pipe_table(header: list[str], rows: list[list[str]], numeric: frozenset[int] = frozenset()) -> str:
    """A pipe table of cells that are escaped already; columns in `numeric` are right-aligned."""
    rule = ["--:" if number in numeric else "---" for number in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def _inline_of(node: SyntaxTreeNode) -> str:
    tokens = [child.token for child in node.children if child.type == "inline" and child.token]
    own = [node.token] if node.type == "inline" and node.token else []
    return "".join(part for token in own + tokens for part in _inline(token.children or []))


def _inline(tokens: list[Token]) -> Iterator[str]:
    hrefs: list[str] = []
    for token in tokens:
        match token.type:
            case "code_inline":
                yield code_span(token.content)
            case "softbreak":
                yield "\n"
            case "hardbreak":
                yield "\\\n"
            case "link_open":
                hrefs.append(str(token.attrs["href"]))
                yield "["
            case "link_close":
                yield f"](<{hrefs.pop()}>)"
            case "strong_open" | "strong_close":
                yield "**"
            case "em_open" | "em_close":
                yield "*"
            case "s_open" | "s_close":
                yield "~~"
            case _:
                yield escape_markdown(token.content)


_PRINTERS: Final[Mapping[str, Callable[[SyntaxTreeNode], str]]] = {
    "heading": _heading,
    "fence": lambda node: fenced(node.content, node.info.split(" ")[0]),
    "code_block": lambda node: fenced(node.content),
    "blockquote": _quote,
    "bullet_list": _list,
    "ordered_list": _list,
    "table": _table,
    "hr": lambda _: "---",
}
