"""The database sink: a record is stored once, for good, and never at the cost of another."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from ml_microservice.database.engine import open_engine
from ml_microservice.database.revision import migrate
from ml_microservice.records.database.store import open_store
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.sinks.database import DatabaseSink
from ml_microservice.records.sinks.sink import Refused, SinkDown
from ml_microservice.settings import Settings, load_settings

TIME = "2026-01-01T00:00:00.000+00:00"
ALL = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def prediction(**others: Any) -> PredictionRecord:
    values: dict[str, Any] = {
        "prediction_id": str(uuid4()),
        "time": TIME,
        "route": "predict",
        "model_version": "one",
        "model_id": "m",
        "entity_id": 7,
        "inputs": {"a": 1},
        "prediction": "yes",
        "probabilities": None,
        "latency_ms": 1.0,
    }
    return PredictionRecord(**{**values, **others})


def stored(settings: Settings) -> set[str]:
    with open_store(settings) as store:
        ids = [record.id for record in store.records(*ALL)]
    assert len(ids) == len(set(ids))
    return set(ids)


def test_a_record_that_comes_twice_is_stored_once(database_settings: Settings) -> None:
    sink = DatabaseSink(database_settings)
    records: list[Record] = [prediction() for _ in range(50)]
    records += [FeedbackRecord(str(uuid4()), records[0].id, "no", None, None, TIME)]
    sink.send(records)
    sink.send([*records[10:], prediction(prediction_id=str(UUID(int=1))), *records[-3:]])
    assert stored(database_settings) == {record.id for record in records} | {str(UUID(int=1))}


def test_records_that_the_database_refuses_are_found_and_the_others_stored(database_settings: Settings) -> None:
    sink = DatabaseSink(database_settings)
    records = [prediction() for _ in range(200)]
    bad = {
        3: prediction(inputs={"a": "\ud800"}),  # half a character has no form in UTF-8
        77: prediction(prediction=None),
        78: prediction(latency_ms=None),
        199: prediction(time="no moment"),
    }
    for position, record in bad.items():
        records[position] = record
    with pytest.raises(Refused) as refused:
        sink.send(records)
    assert refused.value.reasons.keys() == bad.keys()
    assert all(refused.value.reasons.values())
    assert stored(database_settings) == {record.id for place, record in enumerate(records) if place not in bad}


def test_text_with_nul_is_stored_which_postgresql_has_no_form_for(database_settings: Settings) -> None:
    texts = ["x\0y\0", "\0", "\\u0000", "\\\0", "\0\0", '"\0']
    record = prediction(inputs={str(place): text for place, text in enumerate(texts)}, entity_id="h\0")
    DatabaseSink(database_settings).send([record])
    with open_store(database_settings) as store:
        (read,) = store.records(*ALL)
    assert isinstance(read, PredictionRecord)
    stands_for_nul = "\0" if database_settings.database.url.startswith("sqlite") else "\ufffd"
    assert [*read.inputs.values(), read.entity_id] == [one.replace("\0", stands_for_nul) for one in [*texts, "h\0"]]


def test_postgresql_refuses_what_its_ids_cannot_hold(postgresql_settings: Settings) -> None:
    sink = DatabaseSink(postgresql_settings)
    good = prediction()
    with pytest.raises(Refused) as refused:
        sink.send([good, prediction(prediction_id="no UUID"), prediction()])
    assert refused.value.reasons.keys() == {1}
    assert good.id in stored(postgresql_settings)


def test_a_server_that_goes_and_comes_back_costs_nothing(postgresql: Any, postgresql_settings: Settings) -> None:
    sink = DatabaseSink(postgresql_settings)
    first, second = [prediction() for _ in range(20)], [prediction() for _ in range(20)]
    sink.send(first)
    postgresql.stop()
    try:
        for _ in range(3):
            with pytest.raises(SinkDown):
                sink.send(second)
    finally:
        postgresql.start()
    sink.send(second)
    assert stored(postgresql_settings) == {record.id for record in first + second}


def test_a_connection_that_is_cut_in_the_middle_costs_nothing(postgresql_settings: Settings) -> None:
    sink = DatabaseSink(postgresql_settings)
    sink.send([prediction()])
    with open_engine(postgresql_settings).begin() as other:
        other.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"))
    records = [prediction()]
    try:
        sink.send(records)
    except SinkDown:
        sink.send(records)
    assert records[0].id in stored(postgresql_settings)


def test_a_server_that_is_not_there_at_the_start_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: houses\n")
    url = "postgresql://user@127.0.0.1:1/name"
    sink = DatabaseSink(load_settings(tmp_path, {"SERVICE__DATABASE__URL": url}))
    with pytest.raises(SinkDown):
        sink.send([prediction()])


def test_a_file_that_another_process_writes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_microservice.database.engine.BUSY_SECONDS", 0.2)
    (tmp_path / "config.yaml").write_text("name: houses\n")
    settings = load_settings(tmp_path, {})
    sink = DatabaseSink(settings)
    sink.send([prediction()])
    other = sqlite3.connect(tmp_path / "var/records.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    record = prediction()
    with pytest.raises(SinkDown, match="locked"):
        sink.send([record])
    other.execute("ROLLBACK")
    sink.send([record])
    assert record.id in stored(settings)


def test_a_database_of_a_newer_revision_is_waited_for_and_not_written(database_settings: Settings) -> None:
    engine = open_engine(database_settings)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SinkDown, match="a newer service has changed it"):
        DatabaseSink(database_settings).send([prediction()])


def test_without_migrate_the_tables_are_somebody_else_s_to_make(database_settings: Settings) -> None:
    database = database_settings.database.model_copy(update={"migrate": False})
    sink = DatabaseSink(database_settings.model_copy(update={"database": database}))
    record = prediction()
    with pytest.raises(SinkDown, match="ml-service records migrate"):
        sink.send([record])
    migrate(open_engine(database_settings))
    sink.send([record])
    assert stored(database_settings) == {record.id}


def test_records_beyond_their_retention_are_deleted_once_a_day(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = database_settings.records.model_copy(update={"retention_days": 30})
    sink = DatabaseSink(database_settings.model_copy(update={"records": records}))
    now = datetime.now(UTC)
    old, new = (prediction(time=(now - timedelta(days=days)).isoformat(timespec="milliseconds")) for days in (31, 29))
    sink.send([old, new])
    assert stored(database_settings) == {new.id}
    sink.send([old])
    assert stored(database_settings) == {old.id, new.id}
    monkeypatch.setattr("ml_microservice.records.sinks.database.monotonic", lambda: time.monotonic() + 25 * 3600)
    sink.send([new])
    assert stored(database_settings) == {new.id}
