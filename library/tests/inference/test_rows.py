"""Rows that come as Arrow columns are accepted and refused exactly as the same rows in JSON, with the same words."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.features.columns import Columns, as_list
from ml_microservice.features.examples import example_rows
from ml_microservice.features.spec import FeatureSpec, as_utc
from ml_microservice.inference import rows
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import Row, ServedModel
from tests.generating import many

NAMES = ("a", "b c", "d[e]", "f/g")
WORDS = ("red", "white", "é", "", "5")


class Nothing:
    """A model that is never called."""

    def predict(self, columns: Columns) -> Predictions:
        """No model at all."""
        raise NotImplementedError


def reader_of(features: list[dict[str, Any]], **options: Any) -> RowReader:
    """A reader of rows by these features, with an entity id."""
    spec = FeatureSpec.model_validate({"task": "regression", "target": "y", "features": features})
    served = ServedModel(cast(Any, None), ModelSchema(spec, {}, (), "names"), Nothing(), "id")
    return RowReader(served, **options)


def comparable(value: Any) -> Any:
    """A value as it is, whatever holds it; a whole number may be held as a float, but no number equals True."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, datetime):
        return as_utc(value)
    if isinstance(value, np.ndarray | list):
        return [float(element) for element in value]
    return value


def outcome(found: Rows) -> list[Any]:
    """By row: its values and entity id, or the document of its problem."""
    columns = {name: iter(as_list(column)) for name, column in found.columns.items()}
    return [
        found.problems[index].as_json()
        if index in found.problems
        else ({name: comparable(next(column)) for name, column in columns.items()}, entity_id)
        for index, entity_id in enumerate(found.entity_ids)
    ]


def expected(reader: RowReader, items: list[dict[str, Any]]) -> list[Any]:
    """What the row model says of the same rows."""
    names = reader.served.schema.spec.names
    found: list[Any] = []
    for item in items:
        row = reader.served.row_or_problem(to_json(item, inf_nan_mode="constants"))
        if isinstance(row, Problem):
            found.append(row.as_json())
        else:
            values = dict(zip(names, map(comparable, row.values.values()), strict=True))
            found.append((values, row.entity_id))
    return found


numbers = st.floats(width=32) | st.integers(-20, 20).map(float) | st.sampled_from([2.0**63, -(2.0**63), 5e-324])
wholes = st.integers(-12, 12) | st.integers(-(2**63), 2**63 - 1)
texts = st.sampled_from(WORDS) | st.text(max_size=6)
moments = st.datetimes(datetime(1890, 1, 1), datetime(2100, 1, 1)) | st.datetimes()
KINDS: list[tuple[Any, Any]] = [
    (pa.float64(), numbers),
    (pa.float32(), numbers),
    (pa.float64(), st.integers(-3, 12).map(float)),
    (pa.int64(), wholes),
    (pa.int8(), st.integers(-12, 12)),
    (pa.uint64(), st.integers(0, 12) | st.integers(0, 2**64 - 1)),
    (pa.bool_(), st.booleans()),
    (pa.string(), texts),
    (pa.large_string(), texts),
    (pa.string_view(), texts),
    (pa.dictionary(pa.int32(), pa.string()), texts),
    (pa.timestamp("us"), moments),
    (pa.timestamp("ms", "Europe/Oslo"), moments.map(lambda moment: moment.replace(microsecond=0))),
    (pa.date32(), st.dates()),
    (pa.list_(pa.float64()), st.lists(numbers | st.none(), max_size=3)),
    (pa.list_(pa.float32(), 2), st.lists(numbers, min_size=2, max_size=2)),
    (pa.large_list(pa.int64()), st.lists(wholes, min_size=2, max_size=2)),
    (pa.list_(pa.string()), st.lists(texts, max_size=2)),
    (pa.null(), st.none()),
    (pa.binary(), st.binary(max_size=3)),
]
NATURAL = {"float": (0, 2, 3), "int": (3, 4, 2), "bool": (6,), "string": (7, 8, 9), "datetime": (11, 12, 13)}
NATURAL |= {"category": (7, 10, 3), "vector": (14, 15, 16)}


def as_sent(value: Any, kind: str | None) -> Any:
    """The JSON value that a caller would have sent: the definition in `features.arrow_values`, once more."""
    if isinstance(value, bytes):
        return {}
    if isinstance(value, datetime):
        return as_utc(value).isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).isoformat()
    if isinstance(value, float):
        value = None if value != value else value
        if value is not None and kind in ("int", "category", None) and value.is_integer():
            return int(value)
    return value


@st.composite
def features(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to four features of any kind and with any rules."""
    made = []
    for name in NAMES[: draw(st.integers(1, 4))]:
        kind = draw(st.sampled_from(sorted(NATURAL)))
        feature: dict[str, Any] = {"name": name, "type": kind, "optional": draw(st.booleans())}
        if kind in ("float", "int", "vector") and draw(st.booleans()):
            feature |= {"min": draw(st.integers(-5, 0)), "max": draw(st.integers(1, 9))}
        if kind == "datetime" and draw(st.booleans()):
            feature |= {"min": "1950-01-01", "max": "2050-01-01T12:00:00+02:00"}
        feature |= {"string": {"max_length": 4}, "vector": {"length": 2}}.get(kind, {})
        if kind == "category":
            feature["values"] = draw(st.sampled_from([["red", "white", "é"], [1, 2, 5], ["5"]]))
        if draw(st.booleans()):
            spec = FeatureSpec.model_validate({"task": "regression", "target": "y", "features": [feature]})
            feature["default"] = next(example_rows(spec, 1, random.Random(1)))[name]
        made.append(feature)
    return made


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Any]:
    """Features, and a table that is mostly of their types, with gaps, now and then with a column too many."""
    spec = draw(features())
    count = draw(st.integers(0, 5))
    arrays = {}
    for feature in [*spec, {"name": "id", "type": "int"}, {"name": "ab", "type": "bool"}]:
        is_usual = draw(st.integers(0, 5)) > 0
        if is_usual if feature["name"] == "ab" else draw(st.integers(0, 9)) == 0:
            continue
        usual = st.sampled_from(NATURAL[feature["type"]])
        index = draw(st.integers(0, len(KINDS) - 1) if draw(st.integers(0, 4)) == 0 else usual)
        kind, values = KINDS[index]
        if feature["type"] == "category" and draw(st.booleans()):
            values = st.sampled_from(feature["values"])
            kind = pa.int64() if isinstance(feature["values"][0], int) else pa.string()
        gap = st.none() if draw(st.booleans()) else st.nothing()
        arrays[feature["name"]] = pa.array(draw(st.lists(values | gap, min_size=count, max_size=count)), kind)
    return spec, pa.table(arrays) if arrays else pa.table({"id": pa.nulls(count, pa.int64())})


@many(400)
@given(tables())
def test_columns_are_accepted_and_refused_as_the_row_model_does_with_the_same_words(
    case: tuple[list[dict[str, Any]], Any],
) -> None:
    reader, table = reader_of(case[0]), case[1]
    kinds = {feature["name"]: feature["type"] for feature in case[0]}
    sent = [{k: as_sent(v, kinds.get(k)) for k, v in row.items()} for row in table.to_pylist()]
    sent = [{k: v for k, v in row.items() if v is not None} for row in sent]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows.logger, "warning", pytest.fail)  # columns that are stricter than rows
        found = outcome(reader.table(table))
    assert found == expected(reader, sent)
    assert outcome(reader.records(sent)) == found


@pytest.fixture
def forbid_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no row be validated by itself."""

    def refuse(self: ServedModel, body: bytes) -> Row:
        raise AssertionError

    monkeypatch.setattr(ServedModel, "row", refuse)


@pytest.mark.usefixtures("forbid_rows")
def test_valid_columns_are_taken_as_arrays_and_no_row_is_looked_at_alone() -> None:
    plain = (("x", "float"), ("n", "int"), ("b", "bool"))
    features: list[dict[str, Any]] = [{"name": name, "type": kind} for name, kind in plain]
    features += [{"name": "t", "type": "datetime"}, {"name": "v", "type": "vector", "length": 2}]
    reader = reader_of([{**feature, "optional": True} for feature in features])
    table = pa.table({"x": [1.0, None], "n": [1, 2], "b": [True, False], "v": [[1.0, 2.0], [3.0, 4.0]]})
    taken = reader.table(table.append_column("t", pa.array([datetime(2024, 1, 1), None], pa.timestamp("s"))))
    kinds = {name: getattr(column, "dtype", None) for name, column in taken.columns.items()}
    assert kinds == {"x": "float64", "n": "int64", "b": "bool", "t": "datetime64[us]", "v": "float64"}
    with_gap = reader.table(pa.table({"n": [1, None], "b": [True, None]})).columns
    assert as_list(with_gap["n"]) == [1, None]
    assert getattr(with_gap["n"], "dtype", None) == "float64"
    assert list(with_gap["b"]) == [True, None]


@pytest.mark.parametrize(
    ("values", "feature", "found"),
    [
        ([1.0, None], {"type": "int", "optional": True}, [1, None]),
        ([2**60 + 1, None], {"type": "int", "optional": True}, [2**60 + 1, None]),
        ([1.5], {"type": "int"}, "x must be a whole number"),
        ([Decimal("1.5")], {"type": "float"}, [1.5]),
        ([float("nan")], {"type": "float"}, "x is required"),
        ([None], {"type": "float", "default": 3.0, "optional": True}, [3.0]),
        ([timedelta(1)], {"type": "int"}, "x must be a whole number"),
        ([{"x": 1}], {"type": "string"}, "x must be text"),
        (["2024-01-01T00:00:00Z"], {"type": "datetime"}, [datetime(2024, 1, 1, tzinfo=UTC)]),
        (["1"], {"type": "float"}, "x must be a number"),
        ([[[1.0]]], {"type": "vector", "length": 1}, "element 0 of x must be a list of numbers"),
    ],
)
def test_what_arrow_values_mean(values: list[Any], feature: dict[str, Any], found: Any) -> None:
    taken = reader_of([{"name": "x", **feature}]).table(pa.table({"x": pa.array(values)}))
    if isinstance(found, str):
        assert found in taken.problems[0].detail
    else:
        assert as_list(taken.columns["x"]) == found


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**62, None], pa.duration("s")),
        pa.array([1, None], pa.time32("s")),
        pa.array([b"a", None], pa.binary_view()),
        pa.array([[1.0], None], pa.list_view(pa.float64())),
        pa.array([{"x": 1}, None], pa.map_(pa.string(), pa.int64())),
        pa.array([[datetime(2024, 1, 1)], None]),
        pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
        pa.RunEndEncodedArray.from_arrays([1, 2], [1.0, 2.0]),
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"1" * 16, None], pa.binary(16))),
    ],
    ids=lambda array: str(array.type),
)
@pytest.mark.parametrize("kind", sorted(NATURAL))
def test_arrow_types_that_no_feature_takes_are_refused_by_the_features_own_words(array: Any, kind: str) -> None:
    needed: dict[str, dict[str, Any]] = {"category": {"values": ["a"]}, "vector": {"length": 1}}
    more = needed.get(kind, {})
    taken = reader_of([{"name": "x", "type": kind, "optional": True, **more}]).table(pa.table({"x": array}))
    assert "x must be" in taken.problems[0].detail


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("ticks", [-(2**63), -1, 2**63 - 1, 2**53])
def test_moments_beyond_the_calendar_are_refused_in_any_unit(unit: str, ticks: int) -> None:
    reader = reader_of([{"name": "x", "type": "datetime"}])
    taken = reader.table(pa.table({"x": pa.array([ticks], pa.int64()).cast(pa.timestamp(unit))}))
    seconds = ticks / {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    assert bool(taken.problems) is not (-62_135_000_000 < seconds < 253_402_000_000)


def test_slices_are_the_rows_in_order() -> None:
    reader = reader_of([{"name": "x", "type": "int", "min": 0}])
    taken = reader.table(pa.table({"x": [0, -1, 2, 3, -4, 5, 6], "id": list("abcdefg")}))
    slices = list(taken.slices(3))
    assert [as_list(one.columns["x"]) for one in slices] == [[0, 2], [3, 5], [6]]
    assert [list(one.problems) for one in slices] == [[1], [1], []]
    assert [list(one.entity_ids) for one in slices] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


@pytest.mark.parametrize("form", ["json_list", "json_lines", "records", "table"])
def test_too_many_rows_are_refused_in_every_form(form: str) -> None:
    reader = reader_of([{"name": "x", "type": "int"}], max_rows=2)
    items = [{"x": 1}] * 3
    body: Any = {"json_list": json.dumps(items).encode(), "json_lines": b'{"x": 1}\n' * 3, "records": items}.get(form)
    with pytest.raises(Problem) as caught:
        getattr(reader, form)(pa.Table.from_pylist(items) if body is None else body)
    assert caught.value.status == 413
