"""Answers questions about the "Sales warehouse" with SQL that is shown and really run.

Questions become SQL by rules: known words choose table, measure and aggregate, values of the
database become conditions, `by`, `per`, `each` and `which` choose the grouping.
"""

import re
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from plait.sandbox.answer_blocks import (
    STAND_IN,
    AnswerBlock,
    ChartBlock,
    CodeBlock,
    Reply,
    TableBlock,
    TextBlock,
    ToolUseBlock,
)
from plait.sandbox.answer_search import stem
from plait.sandbox.answer_warehouse import open_warehouse

_NAMESPACE: Final = uuid.UUID("b8c7a8d2-8a3c-4c5f-8f9d-4ad2f0a4c7b1")
_DEFAULT_LIMIT: Final = 5
_MOST_ROWS: Final = 100
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_QUARTERS: Final = (("first", "Q1"), ("second", "Q2"), ("third", "Q3"), ("fourth", "Q4"))
_GROUPING: Final = r"\b(?:by|per|each|every|which|what|across)\s+(?:the\s+)?(?:\w+\s+)?{word}\b"
_TOP: Final = re.compile(
    r"\b(?:top|best|highest|largest|biggest|most|leading)\b(?:\s+(\d+|three|five|ten))?", re.IGNORECASE
)
_BOTTOM: Final = re.compile(
    r"\b(?:bottom|worst|lowest|smallest|least|fewest)\b(?:\s+(\d+|three|five|ten))?", re.IGNORECASE
)
_AVERAGE: Final = re.compile(r"\b(?:average|mean)\b", re.IGNORECASE)
_COUNT: Final = re.compile(
    r"\b(?:how many|count|number of|(?:most|fewest) (?:customers|clients))\b", re.IGNORECASE
)
_NUMBERS: Final = {"three": 3, "five": 5, "ten": 10}


@dataclass(frozen=True, slots=True)
class _Schema:
    """A table: the words that mean it, its measures, and the columns to group and filter by."""

    name: str
    words: frozenset[str]
    measures: Mapping[str, frozenset[str]]
    default: str
    dimensions: Mapping[str, str]
    """Column and the word people use for it."""


_SALES: Final = _Schema(
    name="sales",
    words=frozenset({"sell", "sold", "revenue", "turnover", "product", "unit", "quarter"}),
    measures={
        "revenue": frozenset({"revenue", "turnover", "sell", "income"}),
        "units": frozenset({"unit", "piece", "many"}),
    },
    default="revenue",
    dimensions={"quarter": "quarter", "region": "region", "product": "product", "year": "year"},
)
_CUSTOMERS: Final = _Schema(
    name="customers",
    words=frozenset({"customer", "client", "contract", "segment", "country"}),
    measures={"contract_value": frozenset({"contract", "value", "worth"})},
    default="contract_value",
    dimensions={"name": "customer", "country": "country", "region": "region", "segment": "segment"},
)


@dataclass(frozen=True, slots=True)
class _Intent:
    """What a question asks for; None where it does not say."""

    table: _Schema | None = None
    measure: str | None = None
    aggregate: str | None = None
    group: str | None = None
    descending: bool | None = None
    limit: int | None = None
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def after(self, earlier: "_Intent") -> "_Intent":
        """This question, completed by the one before it."""
        return replace(
            self,
            table=earlier.table,
            measure=self.measure or earlier.measure,
            aggregate=self.aggregate or earlier.aggregate,
            group=self.group or earlier.group,
            descending=self.descending if self.descending is not None else earlier.descending,
            limit=self.limit or earlier.limit,
            conditions={**earlier.conditions, **self.conditions},
        )


def ask_warehouse(question: str, earlier: Sequence[str] = ()) -> Reply:
    """The warehouse's answer, or a plain statement of what it holds. Blocking: call it in a thread."""
    with closing(open_warehouse()) as connection:
        intent = _Intent()
        for asked in (*earlier, question):
            read = _read(asked, connection)
            intent = read if read.table else read.after(intent)
        if intent.table is None:
            return Reply(blocks=(_note(question, None), TextBlock(text=_what_it_holds(connection))))
        sql = _sql(intent.table, intent)
        cursor = connection.execute(sql)
        columns = tuple(str(column[0]) for column in cursor.description)
        rows = tuple(tuple(row) for row in cursor.fetchmany(_MOST_ROWS))
    return Reply(blocks=(_note(question, sql), *_blocks(intent, sql, columns, rows)))


def _read(question: str, connection: sqlite3.Connection) -> _Intent:
    words = {stem(word.lower()) for word in _WORD.findall(question)}
    conditions = {table.name: _conditions(table, question, connection) for table in (_SALES, _CUSTOMERS)}
    table = _table(words, conditions)
    shape = table or _SALES
    measure = _measure(shape, words)
    top, bottom = _TOP.search(question), _BOTTOM.search(question)
    superlative = top or bottom
    group = _group(shape, question)
    if superlative and group is None:
        group = _named_dimension(shape, words)
    return _Intent(
        table=table,
        measure=measure,
        aggregate=_aggregate(shape, question, measure),
        group=group,
        descending=None if superlative is None else bool(top),
        limit=_limit(superlative, question, group),
        conditions=conditions[shape.name],
    )


def _table(words: set[str], conditions: Mapping[str, Mapping[str, Any]]) -> _Schema | None:
    """The table whose words the question uses most; customers on a draw, its words are rarer."""
    scores = {table.name: len(words & {stem(word) for word in table.words}) for table in (_SALES, _CUSTOMERS)}
    if not any(scores.values()):
        named = [
            name
            for name, column in (("sales", "product"), ("customers", "name"))
            if column in conditions[name]
        ]
        return {"sales": _SALES, "customers": _CUSTOMERS}[named[0]] if named else None
    return _CUSTOMERS if scores["customers"] >= scores["sales"] else _SALES


def _conditions(table: _Schema, question: str, connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Columns and the stored values that the question names."""
    text = question.lower()
    for word, quarter in _QUARTERS:
        text = text.replace(f"{word} quarter", quarter.lower())
    found: dict[str, tuple[str, ...]] = {}
    for column in table.dimensions:
        named = tuple(value for value in _values(table, column, connection) if _mentions(text, value))
        if named:
            found[column] = named
    return found


def _values(table: _Schema, column: str, connection: sqlite3.Connection) -> list[str]:
    statement = f"SELECT DISTINCT {column} FROM {table.name}"  # noqa: S608 - names of our own schema
    return [str(row[0]) for row in connection.execute(statement)]


def _mentions(text: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value.lower())}s?(?!\w)", text) is not None


def _measure(table: _Schema, words: set[str]) -> str | None:
    scores = {name: len(words & {stem(word) for word in known}) for name, known in table.measures.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] else None


def _aggregate(table: _Schema, question: str, measure: str | None) -> str | None:
    if _AVERAGE.search(question):
        return "AVG"
    if _COUNT.search(question):
        return "COUNT" if table is _CUSTOMERS else "SUM"
    return "SUM" if measure or re.search(r"\btotal\b", question, re.IGNORECASE) else None


def _group(table: _Schema, question: str) -> str | None:
    for column, word in table.dimensions.items():
        if re.search(_GROUPING.format(word=_plural(word)), question, re.IGNORECASE):
            return column
    return None


def _named_dimension(table: _Schema, words: Iterable[str]) -> str | None:
    known = set(words)
    return next((column for column, word in table.dimensions.items() if stem(word) in known), None)


def _plural(word: str) -> str:
    return f"{word[:-1]}(?:y|ies)" if word.endswith("y") else f"{word}s?"


def _limit(superlative: re.Match[str] | None, question: str, group: str | None) -> int | None:
    if superlative is None:
        return None
    if superlative.group(1):
        word = superlative.group(1).lower()
        return min(_NUMBERS.get(word) or int(word), _MOST_ROWS)
    single = group is not None and re.search(rf"\b(?:which|what)\s+{group}\b", question, re.IGNORECASE)
    return 1 if single else _DEFAULT_LIMIT


def _sql(table: _Schema, intent: _Intent) -> str:
    """The statement as it is shown and run. All names are ours, all values come from the database."""
    measure = intent.measure or table.default
    where = _where(intent.conditions)
    if table is _CUSTOMERS and intent.aggregate is None and intent.group is None:
        head = f"SELECT name, country, region, segment, contract_value\nFROM customers{where}"
        return f"{head}\nORDER BY contract_value {_direction(intent)}{_limited(intent)};"
    value = (
        "COUNT(*) AS number_of_customers"
        if intent.aggregate == "COUNT"
        else _value(intent.aggregate, measure)
    )
    if intent.group is None:
        return f"SELECT {value}\nFROM {table.name}{where};"
    alias = value.rsplit(" ", 1)[1]
    by_time = intent.group == "quarter" and intent.descending is None
    order = "quarter" if by_time else f"{alias} {_direction(intent)}"
    head = f"SELECT {intent.group}, {value}\nFROM {table.name}{where}"
    return f"{head}\nGROUP BY {intent.group}\nORDER BY {order}{_limited(intent)};"


def _value(aggregate: str | None, measure: str) -> str:
    if aggregate == "AVG":
        return f"ROUND(AVG({measure}), 2) AS average_{measure}"
    return f"SUM({measure}) AS total_{measure}"


def _where(conditions: Mapping[str, tuple[str, ...]]) -> str:
    clauses = []
    for column, values in conditions.items():
        quoted = ["'{}'".format(value.replace("'", "''")) for value in values]
        clauses.append(f"{column} IN ({', '.join(quoted)})" if len(quoted) > 1 else f"{column} = {quoted[0]}")
    return f"\nWHERE {' AND '.join(clauses)}" if clauses else ""


def _direction(intent: _Intent) -> str:
    return "ASC" if intent.descending is False else "DESC"


def _limited(intent: _Intent) -> str:
    return f"\nLIMIT {intent.limit}" if intent.limit else ""


def _note(question: str, sql: str | None) -> ToolUseBlock:
    asked = {"sql": sql} if sql else {}
    return ToolUseBlock(
        id=str(uuid.uuid5(_NAMESPACE, question)),
        name="query_database",
        input={"database": "Sales warehouse", **asked, "note": STAND_IN.format(method="SQL made by rules")},
    )


def _blocks(
    intent: _Intent, sql: str, columns: tuple[str, ...], rows: tuple[tuple[Any, ...], ...]
) -> list[AnswerBlock]:
    title = _title(columns, intent)
    blocks: list[AnswerBlock] = [
        TextBlock(text=_prose(columns, rows, intent)),
        CodeBlock(language="sql", code=sql),
        TableBlock(title=title, columns=columns, rows=rows),
    ]
    if intent.group is not None and len(rows) > 1:
        blocks.append(ChartBlock(title=title, spec=_chart(columns, rows, title)))
    return blocks


def _title(columns: tuple[str, ...], intent: _Intent) -> str:
    what = columns[-1].replace("_", " ").capitalize()
    return f"{what} by {intent.group}" if intent.group else what


def _prose(columns: tuple[str, ...], rows: tuple[tuple[Any, ...], ...], intent: _Intent) -> str:
    scope = ", ".join(" and ".join(values) for values in intent.conditions.values())
    where = f" for {scope}" if scope else ""
    what = columns[-1].replace("_", " ")
    money = " (EUR)" if "revenue" in what or "contract" in what else ""
    if not rows or rows[0][-1] is None:
        return f"The warehouse holds nothing{where}."
    if len(rows) == 1 and len(columns) == 1:
        return f"The {what}{where}{money} is {_shown(rows[0][0])}."
    if len(columns) > len(("group", "value")):
        first = f"{rows[0][0]} with {what}{money} {_shown(rows[0][-1])}"
        return f"{len(rows)} customers{where}, the first is {first}."
    listed = "; ".join(f"{row[0]} {_shown(row[-1])}" for row in rows)
    return f"The {what} by {columns[0]}{where}{money}: {listed}."


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _chart(columns: tuple[str, ...], rows: tuple[tuple[Any, ...], ...], title: str) -> dict[str, Any]:
    x, y = columns[0], columns[-1]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": title,
        "data": {"values": [{x: row[0], y: row[-1]} for row in rows]},
        "mark": "line" if x == "quarter" else "bar",
        "encoding": {
            "x": {"field": x, "type": "nominal", "sort": None, "title": x.replace("_", " ")},
            "y": {"field": y, "type": "quantitative", "title": y.replace("_", " ")},
        },
    }


def _what_it_holds(connection: sqlite3.Connection) -> str:
    names = {
        table.name: ", ".join(column[1] for column in connection.execute(f"PRAGMA table_info({table.name})"))
        for table in (_SALES, _CUSTOMERS)
    }
    tables = "; ".join(f"{name} ({columns})" for name, columns in names.items())
    return f"I cannot make a query of this question. The Sales warehouse holds these tables: {tables}."
