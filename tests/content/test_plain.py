"""Text for a terminal: nothing that a terminal would obey, and columns that line up."""

import pytest

from plait.content.blocks import parse_block
from plait.content.plain import MAX_ROWS, align, display_width, to_plain
from plait.content.text import one_line, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07", "]0;title"),
        ("a\rb\r\nc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("a\u200bb\ufeff\U000e0041", "ab"),
        ("\x9b31m tab\t", "31m tab\t"),
        ("שלום عربي é 👩‍💻", "שלום عربي é 👩‍💻"),
    ],
)
def test_control_and_invisible_characters_go(text, expected):
    """Escapes, reordering marks and hidden characters are removed; writing of any script stays."""
    assert printable(text) == expected


def test_one_line_folds_and_cuts():
    """White space folds to single spaces and a cut ends with an ellipsis."""
    assert one_line(" a\n\tb  c ") == "a b c"
    assert one_line("abcdef", 4) == "abc…"


def test_columns_line_up_by_display_width():
    """Wide characters take two columns, numbers are set to the right."""
    lines = align(["Name", "N"], [["日本", "1"], ["e\u0301x", "100"]], frozenset({1})).split("\n")
    assert lines == ["Name    N", "────  ───", "日本    1", "e\u0301x    100"]
    assert display_width("日本e\u0301") == 5


def test_a_long_table_is_cut_with_a_count():
    """The terminal shows the first rows and says how many follow."""
    block = parse_block(
        {"type": "table", "title": "T", "columns": ["n"], "rows": [[n] for n in range(MAX_ROWS + 7)]}
    )
    lines = to_plain([block]).split("\n")
    assert lines[0] == "T"
    assert lines[-1] == "… 7 more rows"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "code", "code": "a\nb\n"}, "    a\n    b"),
        ({"type": "image", "url": "https://a.example/x\x1b", "alt": "A"}, "[Image: A] https://a.example/x"),
        ({"type": "tool_use", "name": "s", "status": "done"}, "[tool used: s, done]"),
        ({"type": "tool_result", "content": "x", "is_error": True}, "[tool failed] x"),
        ({"type": "map", "markers": [{"lat": 1, "lng": -2}]}, "Map\nPlace  Shape  Position"),
        ({"type": "map", "geojson": {"type": "Nonsense"}}, 'Map: {\n  "type": "Nonsense"\n}'),
        ({"type": "chart", "spec": {"data": {"values": [{"a": 1}]}}}, "Chart\na\n─\n1"),
        ({"type": "chart", "spec": {"series": 1}}, 'Chart: {\n  "series": 1\n}'),
        ({"type": "thinking", "thinking": "x"}, ""),
        ({"type": "new"}, '[a block Plait could not read (new)] {"type": "new"}'),
        ({"type": "table", "columns": []}, "(an empty table)"),
        (
            {
                "type": "text",
                "text": "t",
                "citations": [{"name": "a", "section": "s", "page": 3, "quote": "q"}],
            },
            "t\n  [1] a, s, p. 3\n      “q”",
        ),
    ],
)
def test_every_block_has_a_plain_form(raw, expected):
    """Each kind of block is readable without any markup."""
    assert to_plain([parse_block(raw)]).startswith(expected)
    assert bool(expected) == bool(to_plain([parse_block(raw)]))
