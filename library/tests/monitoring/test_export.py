"""Records as files: the labelled frame is laid out as the training frame, so that it can be trained on."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.artefact.schema import ModelSchema, TargetColumn
from ml_microservice.errors import DatabaseError, InputFileError
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.monitoring.export import AFTER, BEFORE, Selection, export_records
from ml_microservice.monitoring.labelled_frame import export_labelled, labelled_frame
from ml_microservice.records.database.store import RecordStore, open_store
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, records_in
from ml_microservice.records.sinks.database import DatabaseSink
from ml_microservice.settings import Settings, load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train

ALL = Selection(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def recording(project: Path) -> Settings:
    """Settings of a project whose records are its own."""
    return load_settings(project, {"SERVICE__RECORDS__SHIPPING": "separate"})


@pytest.fixture
def houses(house_hooks: Hooks) -> pd.DataFrame:
    """The training frame."""
    frame: pd.DataFrame = house_hooks.data_loader().load_data()
    return frame


@pytest.fixture
def store(recording: Settings, houses: pd.DataFrame) -> Iterator[RecordStore]:
    """The database after every row of the training frame was predicted, and its truth told for all but ten."""
    rows = json.loads(houses.drop(columns="sold").to_json(orient="records", date_format="iso"))
    rows = [{key: value for key, value in row.items() if value is not None} for row in rows]
    with TestClient(create_app(recording)) as client:
        answered = client.post("/predict/batch", json=rows).json()
        assert answered["failed"] == 0
        told = zip(answered["predictions"][10:], houses["sold"][10:], strict=True)
        sent = [{"prediction_id": one["prediction_id"], "label": label} for one, label in told]
        assert client.post("/feedback", json=sent).json()["failed"] == 0
    sink = DatabaseSink(recording)
    for segment in (recording.records_directory / "segments").glob("*.jsonl"):
        sink.send([record for line in segment.read_bytes().splitlines()[1:] for record in records_in(line)])
    sink.close()
    with open_store(recording) as opened:
        yield opened


def by_area(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("floor area").reset_index(drop=True)


def test_the_labelled_frame_is_the_training_frame(
    store: RecordStore, served: ServedModel, houses: pd.DataFrame
) -> None:
    frame, notes = labelled_frame(store, ALL, served.schema)
    spec = served.schema.spec
    expected = houses[10:]
    layout = FrameLayout.from_json(served.schema.layout)
    expected = layout.from_frame(expected).assign(sold=expected["sold"], owner=None)
    expected = expected.astype({"owner": layout.dtypes["owner"]})
    assert list(frame.columns) == [*spec.names, "sold"]
    pd.testing.assert_frame_equal(by_area(frame), by_area(expected))
    assert notes == ["owner is personal data (pii), which is not recorded as it is: fill its column to train on it"]


def test_a_model_is_trained_on_the_labelled_file(
    store: RecordStore, recording: Settings, served: ServedModel, house_hooks: Hooks, tmp_path: Path
) -> None:
    file = tmp_path / "labelled.parquet"
    assert export_labelled(store, ALL, served.schema, file).rows == 110

    class Loader:
        def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
            return pd.read_parquet(file).assign(owner="Ada")  # what is pii has to come from elsewhere

    hooks = Hooks(Loader, *(getattr(house_hooks, name) for name in list(vars(house_hooks))[1:]))
    trained = train(recording, hooks)
    assert trained.manifest.rows == 110
    assert trained.evaluation.metrics["accuracy"] is not None


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_labelled_frame_in_each_format_has_its_rows_and_columns(
    store: RecordStore, served: ServedModel, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"labelled.{suffix}"
    export_labelled(store, ALL, served.schema, file)
    read: dict[str, Any] = {
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }
    frame = read[suffix](file)
    assert list(frame.columns) == [*served.schema.spec.names, "sold"]
    assert len(frame) == 110
    view = frame["view"][0]
    assert len(json.loads(view) if suffix == "csv" else view) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_prediction_is_exported_with_what_is_known_of_it(
    store: RecordStore, served: ServedModel, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"all.{suffix}"
    assert export_records(store, ALL, served.schema, file).rows == 120
    read: dict[str, Any] = {
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }
    frame = read[suffix](file)
    assert list(frame.columns) == [*BEFORE, *served.schema.spec.names, *AFTER]
    assert frame["label"].notna().sum() == 110
    assert set(frame["entity_id"]) == {f"h{index}" for index in range(120)}
    assert frame["prediction"].isin(["yes", "no"]).all()


def schema_of(features: list[dict[str, Any]], frame: pd.DataFrame, target: TargetColumn, *classes: str) -> ModelSchema:
    task = "classification" if classes else "regression"
    spec = FeatureSpec.model_validate({"task": task, "target": "y", "features": features})
    return ModelSchema(spec, FrameLayout.of(frame, spec).as_json(), classes, "names", target)


def put(recording: Settings, inputs: dict[str, Any], prediction: str | float, label: str | float) -> None:
    time = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds")
    given = PredictionRecord(str(uuid4()), time, "predict", "v", "m", None, inputs, prediction, None, 1.0)
    sink = DatabaseSink(recording)
    sink.send([given, FeedbackRecord(str(uuid4()), given.id, label, None, None, time)])
    sink.close()


def test_labels_have_the_form_of_the_target(recording: Settings) -> None:
    features = [{"name": "a", "type": "int"}]
    numbers = pd.DataFrame({"a": [1]})
    put(recording, {"a": 5}, "0", "1")
    with open_store(recording) as store:
        for dtype, values in (("int64", (0, 1)), ("bool", (False, True)), ("str", ("0", "1")), ("category", (0, 1))):
            schema = schema_of(features, numbers, TargetColumn(dtype, values), "0", "1")
            frame, notes = labelled_frame(store, ALL, schema)
            assert (str(frame["y"].dtype), frame["y"].tolist(), notes) == (dtype, [values[1]], [])
            assert frame["a"].dtype == "int64"
        frame, notes = labelled_frame(store, ALL, schema_of(features, numbers, TargetColumn("int64", (7, 8)), "7", "8"))
        assert frame["y"].tolist() == ["1"]
        assert notes == ["y has labels that the model does not know: 1"]


def test_numbers_have_the_dtype_of_the_target_where_they_fit(recording: Settings) -> None:
    schema = schema_of([{"name": "a", "type": "int"}], pd.DataFrame({"a": [1]}), TargetColumn("int64"))
    put(recording, {"a": 5}, 1.5, 3.0)
    with open_store(recording) as store:
        assert labelled_frame(store, ALL, schema)[0]["y"].tolist() == [3]
        assert labelled_frame(store, ALL, schema)[0]["y"].dtype == "int64"
    put(recording, {}, 1.5, 3.5)
    with open_store(recording) as store:
        frame, notes = labelled_frame(store, ALL, schema)
    assert frame.dtypes.map(str).to_dict() == {"a": "float64", "y": "float64"}
    assert notes == ["a was not recorded in 1 of 2 rows: the column has gaps"]


def test_a_feature_with_the_name_of_another_column_is_told_apart(recording: Settings, tmp_path: Path) -> None:
    schema = schema_of([{"name": "time", "type": "int"}], pd.DataFrame({"time": [1]}), TargetColumn("float64"))
    put(recording, {"time": 5}, 1.5, 3.0)
    with open_store(recording) as store:
        export_records(store, ALL, schema, tmp_path / "all.parquet")
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert frame["inputs.time"].tolist() == [5]
    assert frame["time"].dtype == "datetime64[ms, UTC]"


def test_large_numbers_and_whole_ones_are_exported_as_the_floats_that_they_are(
    recording: Settings, tmp_path: Path
) -> None:
    features: list[dict[str, Any]] = [{"name": "a", "type": "float"}, {"name": "b", "type": "vector", "length": 2}]
    frame = pd.DataFrame({"a": [1.5], "b": [[0.5, 1.5]]})
    put(recording, {"a": 10**16 + 2, "b": [10**17, 1]}, 1.5, 3.0)  # as PostgreSQL gives 1e16, 1e17 and 1.0
    file = tmp_path / "not there yet" / "all.parquet"
    with open_store(recording) as store:
        export_records(store, ALL, schema_of(features, frame, TargetColumn("float64")), file)
    exported = pd.read_parquet(file)
    assert exported["a"].tolist() == [1e16 + 2]
    assert exported["b"][0].tolist() == [1e17, 1.0]


def test_a_file_that_cannot_be_written_is_told(recording: Settings, served: ServedModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open_store(recording) as store, pytest.raises(InputFileError, match="cannot be written"):
        export_records(store, ALL, served.schema, tmp_path / "file" / "all.csv")


def test_without_feedback_there_is_no_labelled_frame(recording: Settings, served: ServedModel) -> None:
    with open_store(recording) as store, pytest.raises(DatabaseError, match="POST /feedback"):
        labelled_frame(store, ALL, served.schema)
