"""A reader of produced HTML that notes everything a browser would act on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest

VOID = {"meta", "br", "hr", "img"}
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "footer",
        "nav",
        "section",
        "article",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "div",
        "span",
        "a",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "time",
    ),
    *(
        "code",
        "pre",
        "blockquote",
        "strong",
        "em",
        "s",
        "br",
        "hr",
        "b",
        "cite",
        "details",
        "summary",
        "figure",
    ),
    *("figcaption", "img", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "rect", "line", "circle", "polyline", "polygon", "text"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "href", "class", "id", "rel", "title", "role"),
    *("tabindex", "datetime", "src", "alt", "scope", "open", "start", "aria-label", "aria-labelledby"),
    *("aria-hidden", "viewbox", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "width", "height"),
    *("points", "transform", "text-anchor"),
}


@dataclass
class Page(HTMLParser):
    """Elements, links, sources and text of one HTML text; refuses unbalanced tags."""

    html: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    doctypes: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self.open_tags: list[str] = []
        self.feed(self.html)
        self.close()
        assert self.open_tags == [], f"never closed: {self.open_tags}"

    def handle_starttag(self, tag, attrs):
        """Note the element; a table cell starts a cell."""
        assert len(dict(attrs)) == len(attrs), f"{tag} repeats an attribute"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open_tags.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        """Note an element that closes itself."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        """Check that the innermost element is the one that closes."""
        assert self.open_tags[-1:] == [tag], f"</{tag}> closes {self.open_tags[-1:]}"
        self.open_tags.pop()

    def handle_data(self, data):
        """Note what a reader sees."""
        if "style" in self.open_tags:
            return
        self.text.append(data)
        if {"td", "th"} & set(self.open_tags):
            self.tables[-1][-1][-1] += data

    def handle_decl(self, decl):
        """Note the document type."""
        self.doctypes.append(decl)

    def handle_comment(self, data):
        """Refuse comments: they hide markup."""
        raise AssertionError(f"a comment survived: {data}")

    def handle_pi(self, data):
        """Refuse processing instructions."""
        raise AssertionError(f"a processing instruction survived: {data}")

    @property
    def words(self) -> str:
        """All text a reader sees."""
        return "".join(self.text)

    def values(self, attribute: str) -> list[str]:
        """Every value of one attribute."""
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]

    def check_harmless(self) -> None:
        """Only known elements and attributes, safe links, and nothing that loads."""
        for tag, attributes in self.tags:
            assert tag in TAGS, f"<{tag}> survived"
            for name in attributes:
                assert name in ATTRIBUTES, f"{tag}[{name}] survived"
        for url in self.values("href"):
            assert url.startswith(("#", "https://", "http://", "mailto:")), url
        for url in self.values("src"):
            assert url.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")), url
        ids = self.values("id")
        assert len(ids) == len(set(ids)), "an id is used twice"
        assert {url[1:] for url in self.values("href") if url.startswith("#")} <= set(ids)


@pytest.fixture
def read_page() -> Callable[[str], Page]:
    """Parse HTML and check that it is harmless."""

    def read(html: str) -> Page:
        page = Page(html)
        page.check_harmless()
        return page

    return read
