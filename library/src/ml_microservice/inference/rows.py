"""The rows of bulk requests: validated all at once, and one by one if any of them breaks a rule."""

import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError
from pydantic_core import to_json

from ml_microservice.features.columns import Column, Columns, json_list
from ml_microservice.features.fields import ENTITY_ID
from ml_microservice.features.request import ID_MAX_LENGTH, STRICT, EntityId
from ml_microservice.features.spec import INT64
from ml_microservice.features.typed_columns import ColumnRule
from ml_microservice.inference.problems import Problem, invalid_request, too_many_rows
from ml_microservice.inference.served_model import Row, ServedModel

logger = logging.getLogger(__name__)
EntityIds = Sequence[str | int | None]


@dataclass(frozen=True)
class Rows:
    """Rows in order, each valid or with its problem."""

    columns: Columns
    """Values of the valid rows, by feature."""
    entity_ids: EntityIds
    """The entity id of each row; None where none was sent, or it cannot be echoed."""
    problems: Mapping[int, Problem]
    """The problem of each row that has one, by position."""

    def __len__(self) -> int:
        return len(self.entity_ids)

    def slices(self, size: int) -> Iterator["Rows"]:
        """Yield the rows in slices of at most `size`."""
        bad = sorted(self.problems)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            first, last = bisect_left(bad, start), bisect_left(bad, stop)
            valid = slice(start - first, stop - last)
            columns = {name: column[valid] for name, column in self.columns.items()}
            problems = {position - start: self.problems[position] for position in bad[first:last]}
            yield Rows(columns, self.entity_ids[start:stop], problems)


class RowReader:
    """Validates rows in any form by the rules of one model.

    Args:
        served: the model.
        max_rows: most rows of a request; more are a problem.
    """

    def __init__(self, served: ServedModel, max_rows: int | None = None) -> None:
        self.served = served
        self._max_rows = max_rows
        self.features = {feature.name: feature for feature in served.schema.spec.features}
        model: Any = served.request_model
        self._row = served.request_model.__pydantic_validator__
        self._rows: TypeAdapter[list[BaseModel]] = TypeAdapter(Annotated[list[model], FailFast()])

    def json_list(self, body: bytes) -> Rows:
        """Read a JSON list of objects.

        Raises:
            Problem: the body is not a list.
        """
        try:
            rows = self._valid(body)
        except ValidationError:
            items = self.items(body)
            self.check_count(len(items))
            return self.each([to_json(item, inf_nan_mode="constants") for item in items])
        self.check_count(len(rows))
        return rows

    def json_lines(self, body: bytes) -> Rows:
        """Read a JSON object from each line; empty lines do not count.

        Raises:
            Problem: there are too many.
        """
        lines = [line for line in body.splitlines() if line.strip()]
        self.check_count(len(lines))
        return self.each(lines)

    def records(self, records: Sequence[Mapping[str, Any]]) -> Rows:
        """Read JSON objects as Python has them; None counts as left out, so that a default applies.

        Raises:
            Problem: there are too many.
        """
        self.check_count(len(records))
        given = [{key: value for key, value in record.items() if value is not None} for record in records]
        try:
            return self._valid(to_json(given, inf_nan_mode="constants"))
        except ValidationError:
            entity_ids = [echoed(record.get(self.served.id_name or "")) for record in given]
            return self.each([to_json(record, inf_nan_mode="constants") for record in given], entity_ids)

    def record(self, record: Mapping[str, Any]) -> Row:
        """Read a single JSON object; see `records`.

        Raises:
            Problem: the row breaks a rule.
        """
        given = {key: value for key, value in record.items() if value is not None}
        try:
            values = dict(self._row.validate_python(given).__dict__)
        except ValidationError:
            return self.served.row(to_json(given, inf_nan_mode="constants"))
        return Row(values, values.pop(ENTITY_ID, None))

    def columns(self, columns: Mapping[str, Column]) -> Rows:
        """Read columns of one length, by name, in the form that `features.typed_columns` takes.

        Raises:
            Problem: there are too many rows.
        """
        count = len(next(iter(columns.values())))
        self.check_count(count)
        try:
            entity_ids: EntityIds = self._entity_ids.validate_python(
                columns.get(self.served.id_name or "", [None] * count)
            )
            known = {*self.features, self.served.id_name}
            if any(value is not None for name in columns.keys() - known for value in columns[name]):
                raise ValueError("something is no feature")
            typed = {
                name: rule.check(columns[name]) if name in columns else rule.absent(count)
                for name, rule in self._rules.items()
            }
        except ValueError:
            rows = zip(*(json_list(column) for column in columns.values()), strict=True)
            return self.records([dict(zip(columns, row, strict=True)) for row in rows])
        return Rows(typed, entity_ids, {})

    def table(self, table: Any, *, ignore_unknown: bool = False) -> Rows:
        """Read an Arrow table; `features.arrow_values` defines what its values mean.

        Args:
            table: the columns, in any order.
            ignore_unknown: whether to accept columns that are not features.

        Raises:
            Problem: there are too many rows.
        """
        from ml_microservice.features.arrow_columns import absent_column, check_column
        from ml_microservice.features.arrow_values import json_values, missing, plain

        count, id_name = table.num_rows, self.served.id_name
        self.check_count(count)
        known = {*self.features, *([id_name] if id_name else [])}
        names = [name for name in table.column_names if name in known or not ignore_unknown]
        arrays = {name: plain(table.column(name)) for name in names}
        checked = {
            name: check_column(feature, arrays[name]) if name in arrays else absent_column(feature, count)
            for name, feature in self.features.items()
        }
        entity_ids, bad = _entity_ids(arrays.get(id_name or ""), count)
        for column in checked.values():
            bad |= column.bad
        for name in arrays.keys() - known:
            bad |= ~missing(arrays[name])
        positions = np.flatnonzero(bad)
        if not len(positions):
            return Rows({name: column.column(~bad) for name, column in checked.items()}, entity_ids, {})

        def bodies(rows: Any) -> list[bytes]:
            values = {name: json_values(array.take(rows), self.features.get(name)) for name, array in arrays.items()}
            given = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)] or [{}] * len(
                rows
            )
            kept = [{name: value for name, value in row.items() if value is not None} for row in given]
            return [to_json(row, inf_nan_mode="constants") for row in kept]

        found = self.each(bodies(positions))
        if len(found.problems) < len(positions):
            logger.warning("columns and rows are not validated alike: rows are right")
            return self.each(bodies(np.arange(count)), entity_ids)
        problems = {int(positions[index]): problem for index, problem in found.problems.items()}
        return Rows({name: column.column(~bad) for name, column in checked.items()}, entity_ids, problems)

    def each(self, bodies: Sequence[bytes], entity_ids: EntityIds | None = None) -> Rows:
        """Validate JSON objects one by one.

        Args:
            bodies: the objects.
            entity_ids: the id of each row, echoed for rows with a problem too; by default, those of the valid rows.
        """
        rows = [self.served.row_or_problem(body) for body in bodies]
        valid = [row for row in rows if isinstance(row, Row)]
        problems = {index: row for index, row in enumerate(rows) if isinstance(row, Problem)}
        ids = [row.entity_id if isinstance(row, Row) else None for row in rows] if entity_ids is None else entity_ids
        return Rows(self.served.columns(valid), ids, problems)

    @cached_property
    def _rules(self) -> Mapping[str, ColumnRule]:
        return {name: ColumnRule(feature) for name, feature in self.features.items()}

    @cached_property
    def _entity_ids(self) -> TypeAdapter[list[str | int | None]]:
        return TypeAdapter(list[EntityId | None], config=STRICT)

    def check_count(self, count: int) -> None:
        """Check the number of rows against the limit.

        Raises:
            Problem: there are too many.
        """
        if self._max_rows is not None and count > self._max_rows:
            raise too_many_rows(count, self._max_rows)

    def _valid(self, body: bytes) -> Rows:
        """Read a JSON list of valid rows.

        Raises:
            ValidationError: a row is not valid.
        """
        values = [row.__dict__ for row in self._rows.validate_json(body)]
        columns = {name: [row[field] for row in values] for field, name in self.served.fields.items()}
        return Rows(columns, [row.get(ENTITY_ID) for row in values], {})

    def items(self, body: bytes) -> list[Any]:
        """The items of a JSON list, of any type.

        Raises:
            Problem: the body is not a list.
        """
        try:
            return _ANY.validate_json(body)
        except ValidationError as error:
            problem = invalid_request(error, self.served.schema.spec, self.served.id_name)
            if problem.kind == "invalid-json":
                raise problem from None
            detail = "The body must be a JSON list of objects."
            raise Problem(422, "invalid-batch", "The request is not a list of rows", detail) from None


_ANY: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


def _entity_ids(array: Any, count: int) -> tuple[EntityIds, NDArray[np.bool_]]:
    """The entity ids of a plain array, None where one is missing, and which values cannot be one."""
    if array is None:
        return [None] * count, np.zeros(count, dtype=bool)
    from ml_microservice.features.arrow_values import json_values

    sent = json_values(array, None)
    entity_ids = [echoed(value) for value in sent]
    return entity_ids, np.asarray([value is not one for value, one in zip(sent, entity_ids, strict=True)], dtype=bool)


def echoed(value: Any) -> str | int | None:
    """The value if it can be an entity id, otherwise None."""
    if isinstance(value, str):
        return value if len(value) <= ID_MAX_LENGTH else None
    return value if type(value) is int and -INT64 <= value < INT64 else None
