"""A model's prose: untrusted Markdown, read once and written again as HTML or Markdown.

Both outputs are made from the same parse tree, never from the author's own markup: raw HTML is
text, a picture is at most a link (loading it would tell its host), and a link goes to http, https
or mailto or is no link at all.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from plait.content.text import printable

MAX_PARSED: Final = 200_000
"""Characters beyond which prose is shown as it came: nobody reads it, and a parser may be slow."""

_SCHEMES: Final = frozenset({"http", "https", "mailto"})
_TAGS: Final = frozenset(
    {"a", "blockquote", "br", "code", "em", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "strong"}
    | {"table", "tbody", "td", "th", "thead", "tr", "ul"}
)
_ATTRIBUTES: Final = {"a": {"href", "title"}, "ol": {"start"}}
_CLASSES: Final = {"td": {"num"}, "th": {"num"}}

_parser: Final = MarkdownIt("commonmark", {"html": False, "maxNesting": 60}).enable(
    ["table", "strikethrough"]
)


def safe_url(url: str) -> str | None:
    """`url` when it is an absolute http, https or mailto address of plain characters, else None."""
    if not re.fullmatch(r"[\x21-\x7e]+", url) or re.search(r"[\"'<>\\^`{|}]", url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    reachable = parts.netloc or parts.scheme == "mailto"
    return url if parts.scheme.lower() in _SCHEMES and reachable else None


def prose_tokens(text: str) -> list[Token]:
    """The tree of `text` with unsafe links and pictures already replaced."""
    tokens = _parser.parse(printable(text))
    for token in tokens:
        if token.children is not None:
            token.children = list(_safe_inline(token.children))
    return tokens


def prose_html(text: str) -> str:
    """Sanitised HTML of `text`; its headings start below those of the report."""
    if len(text) > MAX_PARSED:
        return f'<pre class="prose">{nh3.clean_text(printable(text))}</pre>'
    tokens = prose_tokens(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 3)}"
        if token.type in {"td_open", "th_open"}:
            right = "right" in str(token.attrs.pop("style", ""))
            token.attrs |= {"class": "num"} if right else {}
    html = _parser.renderer.render(tokens, _parser.options, {})
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        allowed_classes={tag: set(names) for tag, names in _CLASSES.items()},
        url_schemes=set(_SCHEMES),
        link_rel="noopener noreferrer nofollow",
    )


def _safe_inline(children: Sequence[Token]) -> Iterator[Token]:
    dropped: list[bool] = []
    for token in children:
        if token.type == "link_open":
            dropped.append(safe_url(str(token.attrs.get("href", ""))) is None)
            if not dropped[-1]:
                yield token
        elif token.type == "link_close":
            if not dropped.pop():
                yield token
        elif token.type == "image":
            yield from _image_as_link(token, inside_link=bool(dropped))
        else:
            yield token


def _image_as_link(image: Token, *, inside_link: bool) -> Iterator[Token]:
    label = Token("text", "", 0, content=f"image: {image.content}" if image.content else "image")
    url = safe_url(str(image.attrs.get("src", "")))
    if url is None or inside_link:
        yield label
        return
    yield Token("link_open", "a", 1, attrs={"href": url})
    yield label
    yield Token("link_close", "a", -1)
