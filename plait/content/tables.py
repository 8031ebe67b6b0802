"""Tables in the shapes vendors send them, read into names and rows (planck.md §3.2)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

_NAME_KEYS: Final = ("name", "title", "label", "header", "headerName", "field", "key", "id")
_TYPE_KEYS: Final = ("type", "data_type", "dataType", "dtype")
_ROW_KEYS: Final = ("rows", "data", "records", "values")
_HEADER_KEYS: Final = ("columns", "headers", "schema")
_NUMERIC_WORDS: Final = (
    "int",
    "num",
    "dec",
    "float",
    "double",
    "real",
    "fixed",
    "money",
    "long",
    "percent",
    "currency",
)


class Column(BaseModel):
    """A column's name and, where the vendor tells, its type in the vendor's own word."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    type: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether the type's word names numbers."""
        return any(word in (self.type or "").lower() for word in _NUMERIC_WORDS)


def read_table(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Bring `raw` into `columns` of name and type, and `rows` as lists of equal length.

    Reads columns as strings or objects, rows as lists or objects, and Snowflake's `result_set`.
    Raises ValueError where there are neither rows nor columns.
    """
    found = dict(raw)
    result_set = found.pop("result_set", None) or found.pop("resultSet", None)
    if isinstance(result_set, Mapping):
        meta = result_set.get("resultSetMetaData") or {}
        found |= {"columns": meta.get("rowType"), "rows": result_set.get("data")}
    rows_key = next((key for key in _ROW_KEYS if isinstance(found.get(key), list)), None)
    names_key = next((key for key in _HEADER_KEYS if isinstance(found.get(key), list)), None)
    declared = found.pop(names_key) if names_key else None
    if rows_key is None and declared is None:
        msg = "a table needs columns or rows"
        raise ValueError(msg)
    rows = found.pop(rows_key) if rows_key else []
    columns = [_column(one) for one in declared] if declared is not None else _names_in(rows)
    listed = [_row(row, columns) for row in rows]
    width = max([len(columns), *map(len, listed)])
    columns += [{"name": f"Column {number + 1}"} for number in range(len(columns), width)]
    return found | {"columns": columns, "rows": [row + [None] * (width - len(row)) for row in listed]}


def _column(raw: Any) -> dict[str, Any]:
    if isinstance(raw, Column):
        return raw.model_dump()
    if not isinstance(raw, Mapping):
        return {"name": str(raw)}
    name = next((raw[key] for key in _NAME_KEYS if raw.get(key) is not None), "")
    word = next((raw[key] for key in _TYPE_KEYS if isinstance(raw.get(key), str)), None)
    return dict(raw) | {"name": str(name), "type": word}


def _names_in(rows: list[Any]) -> list[dict[str, Any]]:
    names = dict.fromkeys(key for row in rows if isinstance(row, Mapping) for key in row)
    return [{"name": name} for name in names]


def _row(raw: Any, columns: list[dict[str, Any]]) -> list[Any]:
    if isinstance(raw, Mapping):
        keys = ([str(column[key]) for key in _NAME_KEYS if key in column] for column in columns)
        return [next((raw[key] for key in names if key in raw), None) for names in keys]
    return list(raw) if isinstance(raw, list) else [raw]


def cell_text(value: Any) -> str:
    """A cell as people read it: null is empty, booleans are yes and no, nested values are JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def numeric_columns(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> frozenset[int]:
    """The positions of columns that hold numbers, by their type or else by every value."""
    sample = rows[:500]
    return frozenset(
        number
        for number, column in enumerate(columns)
        if column.numeric or (column.type is None and _all_numbers([row[number] for row in sample]))
    )


def _all_numbers(cells: Sequence[Any]) -> bool:
    present = [cell for cell in cells if cell is not None and cell != ""]
    return bool(present) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present
    )
