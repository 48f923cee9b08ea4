"""Rows that are given to a statement as one parameter: however many there are, it is one statement, and the same."""

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


def given(connection: Connection, rows: Sequence[Sequence[Any]], *columns: ColumnElement[Any]) -> FromClause:
    """A table of these rows, in their order, to select from and to join with; on SQLite without binary columns.

    Args:
        connection: what the statement will be executed by.
        rows: values in the order of `columns`.
        columns: whose names and types the table's columns have.
    """
    if connection.dialect.name == "postgresql":
        # One array for each column: less work than one document, and it can hold what is binary.
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [
            bindparam(f"given_{one.key}", list(its), type_=ARRAY(one.type), unique=True)
            for one, its in zip(columns, values, strict=True)
        ]
        names = [column(str(one.key), one.type) for one in columns]
        return func.unnest(*arrays).table_valued(*names, name="given").render_derived()
    document = literal(orjson.dumps([list(row) for row in rows]).decode(), String)
    each = func.json_each(document).table_valued("value")
    places = [
        func.json_extract(each.c.value, f"$[{index}]", type_=one.type).label(str(one.key))
        for index, one in enumerate(columns)
    ]
    return select(*places).subquery("given")
