"""Markdown for renderers we do not control: nothing of the vendor arrives as markup."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from plait.content.blocks import parse_block
from plait.content.markdown import Limits, to_markdown
from plait.content.prose import prose_html, safe_url
from plait.content.remark import code_span, escape_cell, escape_markdown, fenced, safe_markdown

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
RENDERER.validateLink = lambda _: True  # the most careless renderer there can be
"""Allows HTML, pictures and every link."""


def careless(markdown):
    """The tokens a careless renderer would act on."""
    flat = []
    for token in RENDERER.parse(markdown):
        flat += [token, *(token.children or [])]
    return flat


def assert_harmless(markdown):
    """No HTML, no picture, no link but to http, https and mailto."""
    tokens = careless(markdown)
    assert not [token for token in tokens if token.type in {"html_block", "html_inline", "image"}]
    links = [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]
    assert all(safe_url(link) for link in links), links


def visible(html):
    """Text without tags and without difference in white space."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a <b onmouseover=x>b</b> <!-- c --> <?php ?> <![CDATA[x]]>",
    "[x](javascript:alert(1)) [y](JaVaScRiPt:x) [z](data:text/html,x) [v](vbscript:x) [f](file:///etc/passwd)",
    "[x](<javascript:alert(1)>) <javascript:alert(1)>",
    "[r][1]\n\n[1]: javascript:alert(1)",
    "![t](https://tracker.example/pixel.png) ![](data:image/svg+xml;base64,AA)",
    "wow![x](https://a.example/)",
    "wow\\![x](https://a.example/) wow&#33;[x](https://a.example/)",
    "[![a](https://a.example/p.png)](https://b.example)",
    "```\n<script>\n```\n<script>x</script>",
    "````\n```\n<script>\n````\n",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x&#62;",
    "\\<script> \\[x\\](javascript:x) \\![x](y)",
    "a\n\n    <script>in code</script>\n\n<div>\n\n*x*\n\n</div>",
    "| a | b |\n|---|---|\n| `x|y` | <script> \\| z |",
    "> > <script>\n- - [x](javascript:x)\n1) <img>",
    "\u202ereversed\u202c zero\u200bwidth \x1b[31mred\x07",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_prose_is_only_text(text):
    """HTML, script links and pictures survive in no renderer, and the words stay to be read."""
    markdown = safe_markdown(text)
    assert_harmless(markdown)
    assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e]", markdown)
    assert visible(RENDERER.render(markdown)) == visible(prose_html(text))


PIECES = st.sampled_from(
    [*"<>[]()!|`*_~#-+=:&;\\ \n1.ax", "](", "javascript:", "![", "```", "    ", "https://a.example"]
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES, max_size=40))
def test_no_combination_of_markup_gets_through(pieces):
    """Whatever markup is thrown together, a careless renderer finds nothing to act on."""
    assert_harmless(safe_markdown("".join(pieces)))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="<>[]()!|`*_~#-+=:&;\\ 1.axé", max_size=30))
def test_an_escaped_line_is_its_own_text(text):
    """Escaped text is one paragraph of exactly these characters."""
    line = " ".join(text.split())
    html = RENDERER.renderInline(escape_markdown(line))
    unescaped = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert unescaped == line
    kinds = [token.type for token in RENDERER.parse(escape_markdown(line)) if token.nesting == 1]
    assert kinds == (["paragraph_open"] if line else [])


def test_ordinary_prose_keeps_its_form():
    """Headings, emphasis, lists, quotes, tables, code and links come through."""
    text = (
        "# T\n\n**b** *i* ~~s~~ `c` [l](https://a.example/x_y)\n\n- one\n  - two\n- three\n\n"
        "3. c\n4. d\n\n> q\n\n"
        "| a | n |\n| --- | --: |\n| x | 1 |\n\n```python\nprint(1)\n```\n\n---"
    )
    assert RENDERER.render(safe_markdown(text)) == RENDERER.render(text)


@pytest.mark.parametrize("code", ["plain", "a\n```\nb", "````", "`~`~` ``````\n``"])
def test_no_code_ends_its_own_fence(code):
    """A fence is longer than any run of backticks inside."""
    (token,) = RENDERER.parse(fenced(code, "python"))
    assert (token.type, token.content, token.info) == ("fence", f"{code}\n", "python")


@pytest.mark.parametrize("language", ["mermaid", "a b", "x\n<script>", "`", "MERMAID"])
def test_a_language_word_starts_nothing(language):
    """A fence names only plain languages, and none that a renderer executes."""
    (token,) = RENDERER.parse(fenced("x", language))
    assert token.info == ""


@pytest.mark.parametrize("text", ["a`b", "``", "`x`", ""])
def test_code_spans_hold_backticks(text):
    """An inline span shows its text, backticks included."""
    html = RENDERER.renderInline(code_span(text))
    assert re.fullmatch(r"<code>\s*" + re.escape(text) + r"\s*</code>", html) or not text


def test_cells_do_not_break_their_table():
    """Pipes, line ends and markup in a cell stay in the cell."""
    table = {
        "type": "table",
        "columns": ["a|b", "c\nd"],
        "rows": [["x|y", "1\n2"], ["`|`", "\\|"], ["<b>", None]],
    }
    html = RENDERER.render(to_markdown([parse_block(table)]))
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", html)
    assert cells == ["a|b", "c d", "x|y", "1 2", "`|`", "\\|", "&lt;b&gt;", ""]


def test_long_tables_say_how_many_rows_are_missing():
    """Rows over the limit are counted, not dropped in silence."""
    block = parse_block({"type": "table", "columns": ["n"], "rows": [[n] for n in range(1205)]})
    markdown = to_markdown([block], Limits(rows=5))
    assert "… 1,200 more rows" in markdown
    assert markdown.count("\n| ") == 6


def test_long_prose_and_too_many_blocks_are_counted():
    """What is cut from a text and which blocks do not fit is said."""
    long = parse_block({"type": "text", "text": "word " * 100})
    assert "… 400 more characters" in to_markdown([long], Limits(text=100))
    assert "… 2 more blocks" in to_markdown([long] * 3, Limits(total=600))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "image", "url": "javascript:x", "alt": "a]b"}, "*Image: a\\]b*"),
        ({"type": "image", "url": "https://a.example/x.png"}, "[Image](<https://a.example/x.png>)"),
        ({"type": "tool_use", "name": "se`arch", "status": "<b>"}, "*Tool used:* ``se`arch``, &lt;b&gt;"),
        ({"type": "thinking", "thinking": "secret"}, ""),
        ({"type": "code", "language": "sql", "code": "select 1\n"}, "```sql\nselect 1\n```"),
    ],
)
def test_other_blocks(raw, expected):
    """Pictures are never embedded, tools are one line, reasoning is left out."""
    assert to_markdown([parse_block(raw)]) == expected


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "<script>", "x": "```\n<script>"},
        {"type": "chart", "title": "<b>", "spec": {"a": "```"}},
        {"type": "chart", "spec": {"mark": "bar", "data": {"values": [{"<i>": "|"}]}}},
        {"type": "map", "title": "[x](javascript:x)", "markers": [{"lat": 1, "lng": 2, "name": "<img>|"}]},
        {"type": "map", "geojson": {"type": "<script>"}},
        {"type": "tool_result", "content": "```\n<script>", "is_error": True},
        {
            "type": "text",
            "text": "t",
            "citations": [{"name": "<b>|", "section": "![x](y)", "quote": "<script>\n# h"}],
        },
    ],
)
def test_every_block_is_harmless(raw):
    """Titles, names, data and raw text of any block are only text."""
    markdown = to_markdown([parse_block(raw)])
    assert markdown
    assert_harmless(markdown)


def test_bare_addresses_are_not_made_links():
    """A renderer that links bare addresses finds none: its own escaping would break them."""
    markdown = escape_cell("see https://a.example/b_c and www.a.example")
    assert not re.search(r"https?://|www\.", markdown)
    assert "https://a.example/b_c and www.a.example" in RENDERER.renderInline(markdown)
