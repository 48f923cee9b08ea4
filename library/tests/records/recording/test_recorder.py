"""What is recorded of a prediction, and that a line gives back what went into it."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ml_microservice.features.spec import FeatureSpec
from ml_microservice.records.record import PredictionRecord, Record, call_start, prediction_line, records_in, row_line
from ml_microservice.records.recorder import Call, ModelRecorder, PiiHash, Recorder
from ml_microservice.settings import RecordsSettings
from tests.generating import many

SPEC = FeatureSpec.model_validate(
    {
        "task": "classification",
        "target": "sold",
        "features": [
            {"name": "floor area", "type": "float"},
            {"name": "rooms", "type": "int", "optional": True},
            {"name": "owner", "type": "string", "optional": True, "pii": True},
            {"name": "born", "type": "datetime", "optional": True, "pii": True},
        ],
    }
)
CLASSES = ["no", "maybe", "yes", "never"]
CALL = Call("predict", 0.0, "2026-11-21T04:04:17.517+00:00")
BORN = datetime(1990, 5, 1, 12, tzinfo=UTC)
ROW = {"f0": 120.5, "f1": 3, "f2": "Ada Lovelace", "f3": BORN}

Made = Callable[..., ModelRecorder]


@pytest.fixture
def recorders(journals: Any) -> Made:
    """Makes recorders of the model of this module."""

    def made(**settings: Any) -> ModelRecorder:
        journal = journals(**settings)
        recorder = Recorder(journal, RecordsSettings.model_validate(settings))
        return ModelRecorder(recorder, SPEC, CLASSES, "v1", "m1")

    return made


def keep_both(
    records: ModelRecorder, row: dict[str, Any] = ROW, probabilities: Sequence[float] = (0.1, 0.2, 0.4, 0.3)
) -> None:
    """Record a row alone, and the same row as a table."""
    named = dict(zip(CLASSES, probabilities, strict=True))
    records.keep([records.line("predict", CALL.time.encode(), 0.5, "id1", "h1", row, "yes", named)])
    columns = {
        "floor area": np.asarray([row["f0"]]),
        "rooms": np.asarray([math.nan if row["f1"] is None else row["f1"]], dtype=np.float64),
        "owner": np.asarray([row["f2"]], dtype=object),
        "born": np.asarray([row["f3"].astimezone(UTC).replace(tzinfo=None)], dtype="M8[us]"),
    }
    records.keep_rows(CALL, ["id1"], ["h1"], columns, ["yes"], np.asarray([probabilities]))


def test_a_row_and_a_table_of_it_make_the_same_record(recorders: Made, tmp_path: Path, read: Any) -> None:
    keep_both(recorders(pii="hash", pii_key=SecretStr("key"), n_best=2))
    one, many = read(tmp_path)
    assert one == PredictionRecord(**{**many.as_json(), "latency_ms": one.latency_ms})
    assert one.inputs["rooms"] == 3
    assert one.probabilities == {"yes": 0.4, "never": 0.3}
    assert (one.entity_id, one.prediction, one.model_version, one.model_id) == ("h1", "yes", "v1", "m1")
    assert (one.route, one.time) == ("predict", CALL.time)


def test_the_latency_of_a_call_is_the_time_since_it_came(recorders: Made, tmp_path: Path, read: Any) -> None:
    columns: dict[str, list[Any]] = {"floor area": [1.0], "rooms": [None]}
    call = Call("batch", perf_counter() - 2.5, CALL.time)
    recorders().keep_rows(call, ["id1"], [None], columns, ["yes"], None)
    [record] = read(tmp_path)
    assert 2500 <= record.latency_ms < 10_000
    assert record.entity_id is record.probabilities is None


def test_all_classes_are_recorded_where_they_are_no_more_than_the_best(
    recorders: Made, tmp_path: Path, read: Any
) -> None:
    keep_both(recorders(n_best=4))
    assert [record.probabilities for record in read(tmp_path)] == [
        dict(zip(CLASSES, (0.1, 0.2, 0.4, 0.3), strict=True))
    ] * 2


def test_of_equal_probabilities_the_first_classes_are_the_best(recorders: Made, tmp_path: Path, read: Any) -> None:
    keep_both(recorders(n_best=2), probabilities=[0.25] * 4)
    assert [list(record.probabilities) for record in read(tmp_path)] == [["no", "maybe"]] * 2


def everything_in(directory: Path) -> bytes:
    """All that is in the files of a folder."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_personal_data_is_omitted(recorders: Made, tmp_path: Path, read: Any) -> None:
    keep_both(recorders())
    assert [list(record.inputs) for record in read(tmp_path)] == [["floor area", "rooms"]] * 2
    assert b"Lovelace" not in everything_in(tmp_path)
    assert b"owner" not in everything_in(tmp_path)


def test_personal_data_is_hashed_by_the_key(recorders: Made, tmp_path: Path, read: Any) -> None:
    records = recorders(pii="hash", pii_key=SecretStr("a key"))
    keep_both(records)
    keep_both(records, {**ROW, "f2": None, "f3": BORN.astimezone(timezone(timedelta(hours=2)))})
    found = read(tmp_path)
    assert [record.inputs["owner"] for record in found] == [PiiHash("a key").of("Ada Lovelace")] * 2 + [None] * 2
    assert len({record.inputs["born"] for record in found}) == 1
    assert PiiHash("another").of("Ada Lovelace") != found[0].inputs["owner"]
    assert not any(secret in everything_in(tmp_path) for secret in (b"Lovelace", b"1990", b"a key"))


# What goes in comes out -----------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
COLUMNS: dict[str, tuple[Any, Any]] = {
    "float64": (FLOATS, lambda values: np.asarray(values, dtype=np.float64)),
    "float64 with gaps": (
        st.none() | FLOATS,
        lambda values: np.asarray([math.nan if value is None else value for value in values], dtype=np.float64),
    ),
    "int64": (WHOLE, lambda values: np.asarray(values, dtype=np.int64)),
    "bool": (st.booleans(), lambda values: np.asarray(values, dtype=bool)),
    "datetime64": (MOMENTS, lambda values: np.asarray(values, dtype="M8[us]")),
    "datetime64 with gaps": (st.none() | MOMENTS, lambda values: np.asarray(values, dtype="M8[us]")),
    "object": (st.none() | TEXT, lambda values: np.asarray([*values, None], dtype=object)[:-1]),
    "vector": (
        st.lists(FLOATS, min_size=3, max_size=3),
        lambda values: np.asarray(values, dtype=np.float64).reshape(len(values), 3),
    ),
    "list": (st.none() | FLOATS | WHOLE | TEXT | st.booleans() | MOMENTS | st.lists(FLOATS), list),
    "list of vectors": (
        st.none() | st.lists(FLOATS, min_size=2, max_size=2),
        lambda values: [None if value is None else np.asarray(value) for value in values],
    ),
}


def plain(value: Any) -> Any:
    """A value as a reader of JSON gets it."""
    return value.replace(tzinfo=UTC).isoformat() if isinstance(value, datetime) else value


@st.composite
def calls(draw: Any) -> tuple[dict[str, list[Any]], dict[str, Any], int]:
    """Values by column, the same as columns, and how many rows there are."""
    count = draw(st.integers(1, 6))
    values = {name: draw(st.lists(kind, min_size=count, max_size=count)) for name, (kind, _) in COLUMNS.items()}
    return values, {name: COLUMNS[name][1](column) for name, column in values.items()}, count


@many(50)
@given(calls(), st.lists(st.none() | TEXT | WHOLE, min_size=6, max_size=6), st.booleans())
def test_the_line_of_a_call_gives_back_what_was_put_in(
    call: tuple[dict[str, list[Any]], dict[str, Any], int], ids: list[Any], has_ids: bool
) -> None:
    values, columns, count = call
    start = call_start("v1", "m1", "batch") + b'"time":"now","latency_ms":1.5,'
    chances = np.linspace(0, 1, count * 2).reshape(count, 2)
    best = {"a": np.where(chances[:, 0] < 0.5, np.nan, chances[:, 0]), "b": chances[:, 1]}
    names = [str(row) for row in range(count)]
    line = prediction_line(
        start,
        ids=names,
        entity_ids=ids[:count] if has_ids else None,
        inputs=columns,
        predictions=names,
        probabilities=best,
    )
    assert line.count(b"\n") == 1
    for row, record in enumerate(records_in(line)):
        assert isinstance(record, PredictionRecord)
        assert record.inputs == {name: plain(column[row]) for name, column in values.items()}
        assert record.entity_id == (ids[row] if has_ids else None)
        assert record.probabilities == {
            **({"a": chances[row, 0]} if chances[row, 0] >= 0.5 else {}),
            "b": chances[row, 1],
        }
        assert (record.prediction_id, record.prediction) == (str(row), str(row))
        assert (record.time, record.latency_ms, record.route) == ("now", 1.5, "batch")
    assert row + 1 == count


@many(50)
@given(st.dictionaries(TEXT, COLUMNS["list"][0], max_size=5), st.none() | TEXT | WHOLE, TEXT | FLOATS)
def test_the_line_of_a_row_gives_back_what_was_put_in(inputs: dict[str, Any], entity_id: Any, prediction: Any) -> None:
    start = call_start("v1", "m1", "predict", list(inputs)) + b'"time":"now","latency_ms":1.5,'
    line = row_line(
        start,
        prediction_id="id1",
        entity_id=entity_id,
        inputs=tuple(inputs.values()),
        prediction=prediction,
        probabilities={"a": 0.5},
    )
    expected: list[Record] = [
        PredictionRecord(
            prediction_id="id1",
            time="now",
            route="predict",
            model_version="v1",
            model_id="m1",
            entity_id=entity_id,
            inputs={name: plain(value) for name, value in inputs.items()},
            prediction=prediction,
            probabilities={"a": 0.5},
            latency_ms=1.5,
        )
    ]
    assert records_in(line) == expected


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"1", b"null", b'{"kind": "x"}', b'{"kind": "prediction", "ids": [1]}']
)
def test_what_is_no_line_of_records_is_told(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"record|line 1"):
        records_in(line)
