"""Rows as one parameter of a statement: the statement stays the same, however many rows there are."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    FromClause,
    String,
    bindparam,
    column,
    func,
    literal,
    select,
)


def rows_parameter(connection: Connection, rows: Sequence[Sequence[Any]], *columns: ColumnElement[Any]) -> FromClause:
    """A table of rows, in their order, to select from and to join with. On SQLite it cannot have binary columns.

    Args:
        connection: the connection that will execute the statement.
        rows: the rows, with values in the order of `columns`.
        columns: columns whose names and types the table has.
    """
    if connection.dialect.name == "postgresql":
        # One array for each column needs less work than one JSON document, and can hold binary values.
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [
            bindparam(f"rows_{one.key}", list(its), type_=ARRAY(one.type), unique=True)
            for one, its in zip(columns, values, strict=True)
        ]
        names = [column(str(one.key), one.type) for one in columns]
        return func.unnest(*arrays).table_valued(*names, name="given_rows").render_derived()
    document = literal(orjson.dumps([list(row) for row in rows]).decode(), String)
    each = func.json_each(document).table_valued("value")
    places = [
        func.json_extract(each.c.value, f"$[{index}]", type_=one.type).label(str(one.key))
        for index, one in enumerate(columns)
    ]
    return select(*places).subquery("given_rows")
