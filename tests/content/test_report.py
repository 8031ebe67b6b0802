"""The report: one file that shows everything, runs nothing and loads nothing."""

import base64
import hashlib
import re
from datetime import UTC, datetime

import pytest

from plait.content.blocks import Citation, parse_block
from plait.content.html import MAX_RAW, MAX_ROWS
from plait.content.report import (
    Report,
    ReportDocument,
    ReportFacts,
    ReportTurn,
    render_report,
    write_report,
)
from plait.http.errors import InvalidInput

MOMENT = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00" * 20).decode()

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</style><script>x</script>",
    "</title></head><body onload=x>",
    "</details></article></main>",
    "</pre></code><iframe src=https://evil.example>",
    "<!-- --><?xml?><![CDATA[x]]>",
    "[x](javascript:alert(1)) ![p](https://tracker.example/p.png)",
    "[a](https://a.example/\"onmouseover=x) <https://b.example/'x>",
    "&lt;script&gt; &#x3c;b&#x3e; &amp;quot;",
    "\u202e\x00\x1b[31m\u200b",
    "| a |\n|---|\n| <b> |\n\n```\n</code></pre><script>\n```\n<style>*{display:none}</style>",
    "{{ x }} ${y} {% z %}",
]


def page_of(*blocks, **fields):
    """The HTML of a report with one answer."""
    turn = ReportTurn(question="Q?", blocks=[parse_block(block) for block in blocks], **fields)
    return render_report(Report(title="T", generated_at=MOMENT, turns=[turn]))


def everywhere(text):
    """A report with `text` in every place that takes text."""
    kinds = ["text", "code", "chart", "map", "image", "tool_use", "tool_result", "thinking"]
    blocks = [
        {
            "type": "text",
            "text": text,
            "citations": [{"name": text, "section": text, "page": text, "quote": text}],
        },
        {"type": "code", "language": text, "code": text},
        {
            "type": "table",
            "title": text,
            "columns": [text, {"name": text, "type": text}],
            "rows": [[text, {text: text}]],
        },
        {"type": "chart", "title": text, "spec": {"mark": text, "data": {"values": [{text: text}]}}},
        {"type": "chart", "title": text, "spec": {text: text}},
        {
            "type": "chart",
            "spec": {
                "title": text,
                "mark": "bar",
                "data": {"values": [{"a": text, "b": 1, "c": text}, {"a": "x", "b": 2, "c": "y"}]},
                "encoding": {
                    "x": {"field": "a", "title": text},
                    "y": {"field": "b", "type": "quantitative"},
                    "color": {"field": "c"},
                },
            },
        },
        {"type": "map", "title": text, "markers": [{"lat": 1, "lng": 2, "name": text}]},
        {"type": "map", "title": text, "geojson": {"type": text}},
        {"type": "image", "url": text, "alt": text},
        {"type": "image", "data": text, "media_type": text},
        {"type": "image", "data": PNG, "alt": text},
        {"type": "tool_use", "name": text, "input": {text: text}, "status": text},
        {"type": "tool_result", "name": text, "content": text},
        {"type": "thinking", "thinking": text},
        {"type": text, "raw": text},
        *({"type": kind, "x": text} for kind in kinds),
    ]
    turn = ReportTurn(
        question=text,
        blocks=[parse_block(block) for block in blocks],
        citations=[Citation(document_name=text)],
        status=text,
        problem=text,
    )
    document = ReportDocument(name=text, digest=text, status=text, reason=text, grounding=text)
    facts = ReportFacts(run_key=text, workspace=text, servers=[text, f"https://{text}"])
    return render_report(
        Report(title=text, generated_at=MOMENT, facts=facts, documents=[document], turns=[turn, turn])
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_becomes_markup(text, read_page):
    """Whatever stands in any field, the page holds only known elements, attributes and links."""
    html = everywhere(text)
    page = read_page(html)
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("style"), tags.count("head"), tags.count("body"), tags.count("main")) == (1, 1, 1, 1)
    assert page.words.count("\u202e") == 0
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", html)


def test_the_page_is_self_contained_and_forbids_everything_else(read_page):
    """No script, no remote source, and a policy that admits this style sheet and embedded pictures."""
    html = page_of({"type": "text", "text": "hi"}, {"type": "image", "data": PNG})
    page = read_page(html)
    policy = next(attributes for tag, attributes in page.tags if attributes.get("http-equiv"))["content"]
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"url\(|@import|https?:", style)
    assert page.doctypes == ["DOCTYPE html"]
    assert page.values("src") == [f"data:image/png;base64,{PNG}"]


def test_tables_are_real_tables(read_page):
    """Cells, headers with scope, a caption, and numbers to the right."""
    table = {
        "type": "table",
        "title": "Sales",
        "columns": ["Q", {"name": "USD", "type": "DECIMAL"}],
        "rows": [["Q1", "1,000.50"], ["<b>|", None]],
    }
    page = read_page(page_of(table))
    assert page.tables == [[["Q", "USD"], ["Q1", "1,000.50"], ["<b>|", ""]]]
    assert page.values("scope") == ["col", "col"]
    assert [tag for tag, attributes in page.tags if attributes.get("class") == "num"] == ["th", "td", "td"]
    assert "Sales" in page.words


def test_huge_tables_and_texts_are_cut_with_a_count(read_page):
    """A page stays of a size that opens, and says what it leaves out."""
    table = {"type": "table", "columns": ["n"], "rows": [[n] for n in range(MAX_ROWS + 234)]}
    page = read_page(page_of(table, {"type": "code", "code": "x" * (MAX_RAW + 5)}))
    assert len(page.tables[0]) == MAX_ROWS + 1
    assert "… 234 more rows" in page.words
    assert "… 5 more characters" in page.words


def test_citations_are_numbered_once_and_linked_to_their_quotes(read_page):
    """A place cited twice has one number; the chip leads to document, section, page and quote."""
    first = {"name": "a.pdf", "section": "S", "page": 7, "quote": "the quote"}
    blocks = [
        {"type": "text", "text": "one", "citations": [first, {"name": "b.pdf"}]},
        {"type": "text", "text": "two", "citations": [first]},
    ]
    page = read_page(page_of(*blocks))
    chips = [attributes["href"] for _, attributes in page.tags if attributes.get("class") == "chip"]
    assert chips == ["#t1-s1", "#t1-s2", "#t1-s1"]
    assert "a.pdf, S, p. 7" in page.words
    assert page.words.count("the quote") == 1


def test_a_simple_chart_is_drawn_and_any_other_is_shown_as_data(read_page):
    """Bars become an SVG with the data behind it; a pie is a table with its specification."""
    values = [{"k": "a", "v": 1}, {"k": "b", "v": 2}]
    bar = {
        "mark": "bar",
        "data": {"values": values},
        "encoding": {"x": {"field": "k", "type": "nominal"}, "y": {"field": "v", "type": "quantitative"}},
    }
    pie = {"mark": "arc", "data": {"values": values}, "encoding": {"theta": {"field": "v"}}}
    page = read_page(page_of({"type": "chart", "spec": bar}, {"type": "chart", "spec": pie}))
    drawn = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawn) == 1
    assert drawn[0]["role"] == "img"
    assert page.tables == [[["k", "v"], ["a", "1"], ["b", "2"]]] * 2
    assert "'arc'" in page.words
    assert '"theta"' in page.words


def test_pictures_are_embedded_or_linked_never_loaded(read_page):
    """Bitmaps are shown from the page; addresses and SVG are not."""
    svg = base64.b64encode(b"<svg onload='x'/>").decode()
    page = read_page(
        page_of(
            {"type": "image", "url": "https://a.example/p.png", "alt": "remote"},
            {"type": "image", "data": svg, "media_type": "image/svg+xml", "alt": "vector"},
            {"type": "image", "data": "%%%", "media_type": "image/png", "alt": "broken"},
            {"type": "image", "data": PNG, "media_type": "text/html", "alt": "real"},
        )
    )
    assert page.values("src") == [f"data:image/png;base64,{PNG}"]
    assert page.values("alt") == ["real"]
    assert "https://a.example/p.png" in page.values("href")
    assert page.words.count("cannot be shown") == 2


@pytest.mark.parametrize(
    ("block", "summary"),
    [
        ({"type": "thinking", "thinking": "hm"}, "Reasoning"),
        ({"type": "tool_use", "name": "search", "input": {"q": 1}}, "Tool used: search"),
        ({"type": "tool_result", "content": "x", "is_error": True}, "Tool failed"),
        ({"type": "new", "x": 1}, "A block Plait could not read (new), as it came"),
    ],
)
def test_side_notes_are_folded(block, summary, read_page):
    """Reasoning, tools and unreadable blocks are there, behind their summary."""
    html = page_of(block)
    read_page(html)
    assert re.search(r'<details class="fold[^"]*"><summary>' + re.escape(summary), html)


def test_facts_show_no_secret_and_unknown_credits_as_unknown(read_page):
    """Addresses lose user, password, query and fragment; credits that are not known are not zero."""
    servers = ["https://user:pw@a.example:8443/api/v1?key=pk_live_x#f", "http://[broken"]
    facts = ReportFacts(run_key="k", workspace="W", servers=servers, duration=3723, credits=None)
    page = read_page(render_report(Report(title="T", generated_at=MOMENT, facts=facts)))
    assert "https://a.example:8443/api/v1" in page.words
    assert "(unreadable address)" in page.words
    for secret in ("user", "pw@", "pk_live_x"):
        assert secret not in page.words
    assert "Creditsunknown" in page.words
    assert "1 h 2 min" in page.words
    assert "No question was asked." in page.words


def test_documents_and_failed_turns_say_what_happened(read_page):
    """A failed or unknown item carries its word and its reason."""
    documents = [
        ReportDocument(name="a.pdf", digest="ab" * 32, grounding="document"),
        ReportDocument(name="b.pdf", status="failed", reason="no text layer"),
    ]
    turn = ReportTurn(question="Q", status="unknown", problem="the answer was lost")
    html = render_report(Report(title="T", generated_at=MOMENT, documents=documents, turns=[turn]))
    page = read_page(html)
    assert page.tables[0][1:] == [
        ["a.pdf", "ok", "document", "abababababab"],
        ["b.pdfno text layer", "failed", "", ""],
    ]
    assert "1 ok, 1 failed" in page.words
    assert "the answer was lost" in page.words
    assert 'class="badge unknown"' in html


def test_headings_make_an_outline(read_page):
    """One h1; the headings of an answer are below the question's."""
    page = read_page(page_of({"type": "text", "text": "# Big\n\n## Small"}))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels == [1, 2, 3, 4, 5]


def test_a_report_is_written_whole(tmp_path):
    """The file appears complete, in folders that did not exist, and replaces an older one."""
    path = tmp_path / "a" / "b" / "report.html"
    write_report(path, "first")
    write_report(path, "zweite Fassung ✓ é")
    assert path.read_text(encoding="utf-8") == "zweite Fassung ✓ é"
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """The error names the path and what to do, and nothing is left behind."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "report.html", tmp_path / "folder", tmp_path / "nul\x00"):
        with pytest.raises(InvalidInput, match="may write to") as caught:
            write_report(path, "text")
        assert repr(str(path)) in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]
