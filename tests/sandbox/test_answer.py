"""Answers from documents and from the database: facts, citations, tables, and honest silence."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.sandbox.answer import answer
from plait.sandbox.answer_blocks import ChartBlock, CodeBlock, Reply, TableBlock, TextBlock, ToolUseBlock
from plait.sandbox.answer_passages import SourceText, passages, split_message
from plait.sandbox.answer_search import terms
from plait.sandbox.answer_sql import ask_warehouse
from plait.sandbox.answer_warehouse import open_warehouse, sales
from plait.sandbox.extract import extract, to_markdown
from plait.sandbox.extract_markdown import escape, unescape

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("office-lease.pdf", "employee-handbook.docx", "quarterly-sales.xlsx", "board-update.pptx")


@cache
def library() -> tuple[SourceText, ...]:
    """All example documents."""
    return tuple(
        SourceText(name, to_markdown(extract(EXAMPLES / name, name)), f"id of {name}") for name in NAMES
    )


def citation_of(reply: Reply):
    """The first citation of the answer."""
    return next(block for block in reply.blocks if isinstance(block, TextBlock)).citations[0]


@pytest.mark.parametrize(
    ("question", "fact", "document", "section", "page"),
    [
        ("How much is the security deposit?", "€46,500", "office-lease.pdf", "3.2 Security deposit", 3),
        (
            "What is the annual rent in the third year of the lease?",
            "€197,328",
            "office-lease.pdf",
            "3.3 Payment schedule",
            3,
        ),
        (
            "When can the tenant end the lease early?",
            "31 December 2029",
            "office-lease.pdf",
            "2.2 Break option",
            2,
        ),
        ("Which court has jurisdiction?", "Rotterdam", "office-lease.pdf", "6.4 Law and courts", 6),
        ("How many days of parental leave are there?", "45", "employee-handbook.docx", "Entitlement", 2),
        ("What is the limit for a hotel per night?", "€165", "employee-handbook.docx", "Expenses", 3),
        ("How big is the training budget?", "€1,800", "employee-handbook.docx", "Training", 3),
        ("Who is the sales lead for Iberia?", "Rafael Nogueira", "quarterly-sales.xlsx", "Targets", 5),
        (
            "How much was the Sensor Kit revenue in Benelux in Q2?",
            "€133,250",
            "quarterly-sales.xlsx",
            "Q2 2026",
            3,
        ),
        ("What gross margin was reached?", "46.8%", "board-update.pptx", "Highlights", 2),
        (
            "Who owns the risk of a single supplier of detectors?",
            "Priya Nair",
            "board-update.pptx",
            "Main risks",
            5,
        ),
        (
            "How much is the investment in a second calibration line?",
            "€275,000",
            "board-update.pptx",
            "Decisions asked of the board",
            6,
        ),
    ],
)
def test_facts_with_citation(question, fact, document, section, page):
    """Asked over all four documents, the answer states the fact and cites the place it stands at."""
    reply = answer(question, library())
    citation = citation_of(reply)
    assert fact in reply.text
    assert (citation.document_name, citation.section, citation.page) == (document, section, page)
    assert citation.document_id == f"id of {document}"
    assert fact in citation.quote


def test_table_answers_bring_the_table():
    """An answer out of a table carries the whole table as a block."""
    reply = answer("What is the monthly rent in year 5?", library())
    table = next(block for block in reply.blocks if isinstance(block, TableBlock))
    assert reply.text.startswith("Year 5: Monthly rent €17,445")
    assert table.columns[-1] == "Monthly rent"
    assert len(table.rows) == 5


def test_prose_answers_bring_no_table():
    """An answer out of a paragraph carries none."""
    reply = answer("How much is the security deposit?", library())
    assert not any(isinstance(block, TableBlock) for block in reply.blocks)


def test_two_questions_in_one():
    """Each half of a double question is answered."""
    reply = answer("What is the monthly rent in Year 4 and how much is the security deposit?", library())
    assert "€16,937" in reply.text
    assert "€46,500" in reply.text


@pytest.mark.parametrize(
    "question",
    ["What is the capital of France?", "Who won the world cup?", "What does the CEO earn?", "?", ""],
)
def test_says_when_nothing_matches(question):
    """Without a fitting passage it says so, names the documents, and cites nothing."""
    reply = answer(question, library())
    assert reply.text.startswith("I found nothing")
    assert all(name in reply.text for name in NAMES)
    assert not any(block.citations for block in reply.blocks if isinstance(block, TextBlock))


def test_without_documents():
    """No document at all is said in other words."""
    assert "names no document" in answer("How much is the rent?", ()).text


def test_says_what_it_is_once():
    """The note is in the tool use, not in the prose."""
    reply = answer("How much is the security deposit?", library())
    note = next(block for block in reply.blocks if isinstance(block, ToolUseBlock))
    assert "without a language model" in note.input["note"]
    assert "language model" not in reply.text


def test_follow_up():
    """A question that points back is understood with the one before it."""
    earlier = ["How many days of care leave do employees get?"]
    assert answer("And how is it paid?", library(), earlier).text.startswith("Care leave: Paid 85%")
    alone = answer("And how is it paid?", library()).text
    assert "Care leave" not in alone


def test_inline_documents():
    """Documents inside a message are taken out whole, and the rest is the question."""
    message = (
        '<<<document name="lease.pdf">>>\n# Lease\n\n*Page 2*\n\nThe rent is €900.\n<<<end>>>\n'
        '<<<document name="b.docx">>>\n# Other\n<<<end>>>\n\nHow high is the rent?'
    )
    question, documents = split_message(message)
    assert question == "How high is the rent?"
    assert [document.name for document in documents] == ["lease.pdf", "b.docx"]
    reply = answer(question, documents)
    citation = citation_of(reply)
    assert "€900" in reply.text
    assert (citation.document_name, citation.page, citation.document_id) == ("lease.pdf", 2, None)


@pytest.mark.parametrize(
    ("message", "question", "bodies"),
    [
        ("no documents here", "no documents here", []),
        ('<<<document name="a">>>\nunclosed', "", ["unclosed"]),
        ('<<<document name="a">>>\none\n<<<document name="b">>>\ntwo\n<<<end>>>\nq', "q", ["one", "two"]),
        ('q before\n<<<document name="a">>>\none\n<<<end>>>\nq after', "q before\nq after", ["one"]),
        ('text <<<document name="a">>> in a line', 'text <<<document name="a">>> in a line', []),
        ('<<<document name="a">>>\r\none\r\n<<<end>>>\r\nq', "q", ["one"]),
    ],
)
def test_odd_messages(message, question, bodies):
    """Unclosed, nested, interleaved and look-alike delimiters never lose the question."""
    asked, documents = split_message(message)
    assert asked == question
    assert [document.markdown for document in documents] == bodies


def test_passages_know_their_place():
    """Headings, page markers, lists and tables come back from the Markdown."""
    found = passages(library()[0])
    row = next(passage for passage in found if passage.text.startswith("Year 2;"))
    assert (row.chapter, row.section, row.page, row.row) == (
        "3. Rent and Deposit",
        "3.3 Payment schedule",
        3,
        1,
    )
    bullet = next(passage for passage in found if passage.text.startswith("maintenance of lifts"))
    assert (bullet.section, bullet.page) == ("4.1 Service charge", 4)


@given(st.text(max_size=60))
def test_escaping_is_undone(text):
    """What Markdown escapes, the reader gives back, but for runs of blanks."""
    assert unescape(escape(text)) == " ".join(text.split())


@given(st.text(max_size=200))
def test_any_markdown_can_be_read(text):
    """No Markdown and no question makes the reader fail."""
    _, documents = split_message(text)
    answer(text, [SourceText("x.md", text), *documents])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("payments", "paid"),
        ("third quarter", "Q3"),
        ("charges", "charge"),
        ("€1,200", "1200"),
        ("cities", "city"),
    ],
)
def test_words_meet(one, other):
    """Different forms of a word or number are one term."""
    assert sorted(terms(one)) == sorted(terms(other))


@pytest.mark.parametrize(
    ("question", "sql", "first"),
    [
        (
            "What is the total revenue by region?",
            (
                "SELECT region, SUM(revenue) AS total_revenue\nFROM sales\nGROUP BY region\n"
                "ORDER BY total_revenue DESC;"
            ),
            ("DACH", 2_781_700),
        ),
        (
            "Which region had the highest revenue in the third quarter?",
            (
                "SELECT region, SUM(revenue) AS total_revenue\nFROM sales\nWHERE quarter = 'Q3'\n"
                "GROUP BY region\nORDER BY total_revenue DESC\nLIMIT 1;"
            ),
            ("DACH", 970_900),
        ),
        (
            "How many units of Sensor Kit were sold in Benelux in Q2?",
            (
                "SELECT SUM(units) AS total_units\nFROM sales\nWHERE quarter = 'Q2' AND region = 'Benelux'"
                " AND product = 'Sensor Kit';"
            ),
            (205,),
        ),
        (
            "How many customers are in Germany?",
            "SELECT COUNT(*) AS number_of_customers\nFROM customers\nWHERE country = 'Germany';",
            (2,),
        ),
        (
            "Average contract value per segment",
            (
                "SELECT segment, ROUND(AVG(contract_value), 2) AS average_contract_value\nFROM customers\n"
                "GROUP BY segment\nORDER BY average_contract_value DESC;"
            ),
            ("Chemicals", 655_200.0),
        ),
        (
            "Top 3 customers by contract value",
            (
                "SELECT name, SUM(contract_value) AS total_contract_value\nFROM customers\nGROUP BY name\n"
                "ORDER BY total_contract_value DESC\nLIMIT 3;"
            ),
            ("Rheinwerk Chemie", 655_200),
        ),
    ],
)
def test_database_questions(question, sql, first):
    """The SQL shown is the SQL run: run again, it gives the rows of the table block."""
    reply = ask_warehouse(question)
    code = next(block for block in reply.blocks if isinstance(block, CodeBlock))
    table = next(block for block in reply.blocks if isinstance(block, TableBlock))
    assert code.code == sql
    assert table.rows[0] == first
    assert tuple(open_warehouse().execute(code.code)) == table.rows


def test_database_chart():
    """A grouped answer has a Vega-Lite chart of the same numbers."""
    reply = ask_warehouse("Revenue per quarter for DACH")
    chart = next(block for block in reply.blocks if isinstance(block, ChartBlock))
    expected = [
        sum(sale.revenue for sale in sales() if sale.region == "DACH" and sale.quarter == quarter)
        for quarter in ("Q1", "Q2", "Q3")
    ]
    assert [value["total_revenue"] for value in chart.spec["data"]["values"]] == expected
    assert "vega-lite" in chart.spec["$schema"]
    assert chart.spec["mark"] == "line"


def test_database_follow_up():
    """A question without a subject keeps the one before it."""
    assert "Q1 352,500" in ask_warehouse("And for Iberia?", ["Revenue per quarter for DACH"]).text


def test_database_says_what_it_holds():
    """A question it cannot turn into SQL is answered with the tables there are."""
    reply = ask_warehouse("Will it rain tomorrow?")
    assert "sales (year, quarter, region" in reply.text
    assert not any(isinstance(block, CodeBlock) for block in reply.blocks)


@given(st.text(max_size=80))
def test_no_question_breaks_the_database(question):
    """Whatever is asked, the SQL made of it is valid."""
    ask_warehouse(f"revenue by region {question}")
