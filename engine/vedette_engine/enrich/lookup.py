"""`lookup`: fields from a table, by the value of a field of the event.

The table is CSV with a header, or JSON: a list of objects (rows), or an object of objects (key → row).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from vedette_engine.enrich.errors import TableError
from vedette_engine.enrich.operation import Operation, Options, require_free
from vedette_engine.normalise.flatten import Event

MAX_BYTES = 64 * 1024 * 1024
MAX_ROWS = 1_000_000

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """Which column holds the key: `name` when the manifest names one, else the one like `like`, else the first."""

    name: str | None
    like: str

    def choose(self, columns: Sequence[str]) -> str:
        """The column. Raises TableError when there is none of that name."""
        if self.name is None:
            return self.like if self.like in columns else columns[0]
        if self.name not in columns:
            raise TableError(f"there is no column {self.name!r}, only {', '.join(columns[:20])}")
        return self.name


def read_table(data: bytes, key: KeyColumn, form: str = "auto") -> dict[str, Row]:
    """Key → row; of rows with the same key the last one counts.

    Args:
        data: CSV with a header, or JSON.
        key: the column that holds the key.
        form: csv | json | auto, which looks at the first character.

    Raises:
        TableError: it is neither, lacks the column, or is too large.
    """
    if len(data) > MAX_BYTES:
        raise TableError(f"the table has {len(data)} bytes, more than {MAX_BYTES}")
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_json = text[:1] in {b"{", b"["} if form == "auto" else form == "json"
    return _read_json(text, key) if is_json else _read_csv(text, key)


def read_rows(rows: Iterable[Any], key: KeyColumn) -> dict[str, Row]:
    """As `read_table`, for rows that are objects already."""
    table: dict[str, Row] = {}
    for number, row in enumerate(rows, 1):
        if number > MAX_ROWS:
            raise TableError(f"the table has more than {MAX_ROWS} rows")
        if not isinstance(row, Mapping) or not row:
            raise TableError(f"row {number} is not an object of columns")
        table[str(row[key.choose(list(row))])] = row
    return table


def _read_json(text: bytes, key: KeyColumn) -> dict[str, Row]:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise TableError(f"the table is not JSON: {error}") from error
    if isinstance(data, list):
        return read_rows(data, key)
    if not isinstance(data, dict):
        raise TableError("the table is neither a list of rows nor an object of rows")
    if len(data) > MAX_ROWS:
        raise TableError(f"the table has more than {MAX_ROWS} rows")
    wrong = next((name for name, row in data.items() if not isinstance(row, dict)), None)
    if wrong is not None:
        raise TableError(f"the entry of {wrong!r} is not an object of columns")
    return data


def _read_csv(text: bytes, key: KeyColumn) -> dict[str, Row]:
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise TableError("the table is not UTF-8") from error
    lines = csv.reader(io.StringIO(decoded, newline=""), strict=True)
    table: dict[str, Row] = {}
    try:
        columns = [name.strip() for name in next(lines, [])]
        if not columns or "" in columns or len(set(columns)) < len(columns):
            raise TableError("the header has no columns, a nameless one, or one twice")
        place = columns.index(key.choose(columns))
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(columns):
                raise TableError(f"line {lines.line_num} has {len(cells)} columns, the header {len(columns)}")
            if len(table) >= MAX_ROWS:
                raise TableError(f"the table has more than {MAX_ROWS} rows")
            table[cells[place].strip()] = dict(zip(columns, map(str.strip, cells), strict=True))
    except csv.Error as error:
        raise TableError(f"line {lines.line_num} is not CSV: {error}") from error
    return table


def make_lookup(options: Options, data: bytes | None) -> Operation:
    """`{keyField, table, format, keyColumn, match, set: {event field: column}}`."""
    columns: Mapping[str, str] = options["set"]
    require_free(columns)
    key = KeyColumn(options.get("keyColumn"), options["keyField"])
    rows = (options.get("table") or {}).get("rows")
    if rows is not None:
        table = read_rows(rows, key)
    elif data is None:
        raise TableError("the table is missing")
    else:
        table = read_table(data, key, options.get("format", "auto"))
    _require_columns(table, columns)
    fold = options.get("match") == "ignoreCase"
    found = {name.casefold() if fold else name: _fields(row, columns) for name, row in table.items()}
    field: str = options["keyField"]

    def apply(event: Event) -> bool:
        value = event.get(field)
        if value is None:
            return False
        for one in value if isinstance(value, list) else (value,):
            name = str(one).lower() if isinstance(one, bool) else str(one)
            row = found.get(name.casefold() if fold else name)
            if row is not None:
                event.update(row)
                return bool(row)
        return False

    return Operation(apply, (field,))


def _require_columns(table: Mapping[str, Row], columns: Mapping[str, str]) -> None:
    known = {name for row in table.values() for name in row}
    missing = [column for column in columns.values() if column not in known]
    if missing and table:
        raise TableError(f"there is no column {missing[0]!r}")


def _fields(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """What a row gives an event; an empty cell gives nothing, nested JSON is no cell."""
    return {
        field: cell
        for field, column in columns.items()
        if isinstance(cell := row.get(column), str | int | float) and cell != ""
    }
