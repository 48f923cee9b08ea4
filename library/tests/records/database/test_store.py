"""What the database tells of predictions and feedback, and what it forgets."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ml_microservice.records.database.store import Counts, RecordStore, open_store
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.sinks.database import DatabaseSink
from ml_microservice.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)


def moment(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def ident(number: int) -> str:
    return str(UUID(int=number))


def prediction(number: int, **others: Any) -> PredictionRecord:
    """Prediction `number`, answered at that minute."""
    values: dict[str, Any] = {
        "prediction_id": ident(number),
        "time": moment(number),
        "route": "predict",
        "model_version": "one",
        "model_id": "m",
        "entity_id": f"h{number}",
        "inputs": {"floor area": number + 0.5, "colour": None, "view": [0.1, 0.2], "owner": 'Zoë "x"'},
        "prediction": "yes",
        "probabilities": {"yes": 0.7, "no": 0.3},
        "latency_ms": 1.25,
    }
    return PredictionRecord(**{**values, **others})


def feedback(number: int, about: int, label: str | float = "no", **others: Any) -> FeedbackRecord:
    """Feedback `number` about a prediction, received at that minute."""
    values: dict[str, Any] = {"observed_at": None, "source": None, "received_at": moment(number), **others}
    return FeedbackRecord(ident(10_000 + number), ident(about), label, **values)


@pytest.fixture
def sink(database_settings: Settings) -> Iterator[DatabaseSink]:
    """The sink of an empty database."""
    made = DatabaseSink(database_settings)
    yield made
    made.close()


@pytest.fixture
def store(database_settings: Settings) -> Iterator[RecordStore]:
    """Its store."""
    with open_store(database_settings) as opened:
        yield opened


DAY = (START, START + timedelta(days=1))


def test_records_come_back_as_they_were_sent(sink: DatabaseSink, store: RecordStore) -> None:
    sent: list[Record] = [
        prediction(1),
        prediction(2, prediction=0.1 + 0.2, probabilities=None, entity_id=None),
        feedback(3, about=2, label=1e300, observed_at=moment(2.5), source="a claim"),
        feedback(4, about=77),
    ]
    sink.send(sent)
    assert list(store.records(*DAY)) == sent


def test_a_window_has_its_start_and_not_its_end(sink: DatabaseSink, store: RecordStore) -> None:
    sink.send([prediction(number) for number in range(10)])
    window = store.window(START + timedelta(minutes=2), START + timedelta(minutes=5))
    assert window.times == [moment(2), moment(3), moment(4)]
    assert window.count == 3


def test_a_window_is_by_columns_with_none_where_nothing_was_recorded(sink: DatabaseSink, store: RecordStore) -> None:
    sink.send(
        [
            prediction(1, inputs={"a": 1}),
            prediction(2, inputs={"a": None, "b": "x"}, prediction=2.5, probabilities=None),
            prediction(3, model_version="two"),
        ]
    )
    window = store.window(*DAY, model_version="one")
    assert window.inputs == {"a": [1, None], "b": [None, "x"]}
    assert window.predictions == ["yes", 2.5]
    assert window.probabilities == [{"yes": 0.7, "no": 0.3}, None]


def test_more_than_the_limit_is_a_sample_of_the_whole_window(sink: DatabaseSink, store: RecordStore) -> None:
    ids = [str(UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)) for number in range(1000)]
    sink.send([prediction(number, prediction_id=ids[number]) for number in range(1000)])
    window = store.window(*DAY, limit=200)
    assert (len(window.times), window.count) == (200, 1000)
    assert window.times == sorted(window.times)
    halves = [time < moment(500) for time in window.times]
    assert 60 < sum(halves) < 140
    assert store.window(*DAY, limit=200) == window


def test_of_several_feedbacks_the_one_received_last_counts(sink: DatabaseSink, store: RecordStore) -> None:
    sink.send([prediction(1), prediction(2), prediction(3, model_version="two")])
    sink.send([feedback(30, about=1, label="second"), feedback(20, about=1, label="first")])
    sink.send([feedback(31, about=2, label="a"), feedback(32, about=2, label="b", received_at=moment(31))])
    assert [(one.label, one.received_at) for one in store.judged(*DAY)] == [("second", moment(30)), ("b", moment(31))]
    assert store.counts(*DAY) == {"one": Counts(2, 2), "two": Counts(1, 0)}
    answered = list(store.answered(*DAY))
    assert [(record.prediction_id, told and told.label) for record, told in answered] == [
        (ident(1), "second"),
        (ident(2), "b"),
        (ident(3), None),
    ]
    assert [record.prediction_id for record, _ in store.answered(*DAY, labelled=True)] == [ident(1), ident(2)]
    assert sum(isinstance(record, FeedbackRecord) for record in store.records(*DAY)) == 4  # the history is kept


def test_many_records_of_the_same_moment_are_each_read_once(sink: DatabaseSink, store: RecordStore) -> None:
    sink.send([prediction(number, time=moment(5)) for number in range(4_500)])
    ids = [record.prediction_id for record, _ in store.answered(*DAY)]
    assert len(ids) == len(set(ids)) == 4_500


def test_pruning_deletes_the_old_with_all_their_feedback_in_batches(sink: DatabaseSink, store: RecordStore) -> None:
    sink.send([prediction(number) for number in range(100)])
    sink.send([prediction(number, time=moment(7)) for number in range(200, 230)])
    sink.send([feedback(500, about=3), feedback(501, about=3), feedback(502, about=80)])
    sink.send([feedback(1, about=999), feedback(90, about=998)])  # of predictions that are not here
    pruned = store.prune(START + timedelta(minutes=50), batch=7)
    assert (pruned.predictions, pruned.feedback) == (80, 3)
    left = list(store.records(START - timedelta(days=1), DAY[1]))
    assert {record.id for record in left} == {
        *(ident(number) for number in range(50, 100)),
        *(ident(10_000 + number) for number in (502, 90)),
    }
