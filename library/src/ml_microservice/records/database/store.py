"""Queries of the database of records: windows of predictions, their feedback, and deletion."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, bindparam, delete, exists, func, select, tuple_

from ml_microservice.database.columns import Id, Moment
from ml_microservice.database.engine import open_engine, reported
from ml_microservice.database.revision import migrate, require_current
from ml_microservice.records.database.tables import feedback, predictions
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.settings import Settings

PAGE = 2_000
"""Rows read in one query."""
PRUNE_BATCH = 5_000
"""Predictions deleted in one transaction. Short transactions do not block writers for long."""


@dataclass(frozen=True)
class Window:
    """Predictions of a period of time in columns of equal length."""

    inputs: dict[str, list[Any]]
    """Values by feature; None where a value is missing or not recorded."""
    predictions: list[str | float]
    probabilities: list[dict[str, float] | None]
    """Probabilities by class, for the likeliest classes."""
    times: list[str]
    """Times of the predictions, ascending."""
    count: int
    """Number of predictions in the period. The columns may hold a sample of them."""


@dataclass(frozen=True)
class Judged:
    """A prediction with its feedback."""

    model_version: str
    time: str
    prediction: str | float
    probabilities: dict[str, float] | None
    label: str | float
    received_at: str


@dataclass(frozen=True)
class Counts:
    """Number of predictions of a model version, and of those with feedback."""

    predictions: int
    with_feedback: int


@dataclass(frozen=True)
class Pruned:
    """Number of deleted predictions and feedback records."""

    predictions: int
    feedback: int


@contextmanager
def open_store(settings: Settings) -> Iterator["RecordStore"]:
    """Open the records of a project for the duration of the block.

    Raises:
        ConfigError: `database.url` cannot be used.
        DatabaseError: the database cannot be reached or has another revision, also if that happens within the block.
    """
    engine = open_engine(settings)
    try:
        with reported(engine):
            (migrate if settings.database.migrate else require_current)(engine)
            yield RecordStore(engine)
    finally:
        engine.dispose()


class RecordStore:
    """Reads and deletes records. A period of time includes its start and excludes its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def window(
        self, since: datetime, until: datetime, model_version: str | None = None, limit: int | None = None
    ) -> Window:
        """The predictions of a period. If there are more than `limit`, a uniform random sample."""
        within = _within(since, until, model_version)
        p = predictions.c
        wanted = select(p.inputs, p.label, p.value, p.probabilities, p.time).where(within)
        with self._engine.connect() as connection:
            count = connection.execute(select(func.count()).select_from(predictions).where(within)).scalar_one()
            if limit is not None and count > limit:
                # Ids are random, so the first ids are a random sample, which is the same in every call.
                rows = list(connection.execute(wanted.order_by(p.prediction_id).limit(limit)))
                rows.sort(key=lambda row: row.time)
            else:
                rows = list(connection.execute(wanted.order_by(p.time)))
        names = dict.fromkeys(name for row in rows for name in row.inputs)
        return Window(
            inputs={name: [row.inputs.get(name) for row in rows] for name in names},
            predictions=[_answer(row.label, row.value) for row in rows],
            probabilities=[row.probabilities for row in rows],
            times=[row.time for row in rows],
            count=count,
        )

    def counts(self, since: datetime, until: datetime, model_version: str | None = None) -> dict[str, Counts]:
        """Number of predictions with and without feedback, by model version."""
        has_feedback = exists().where(feedback.c.prediction_id == predictions.c.prediction_id)
        counted = (
            select(predictions.c.model_version, func.count(), func.count().filter(has_feedback))
            .where(_within(since, until, model_version))
            .group_by(predictions.c.model_version)
            .order_by(predictions.c.model_version)
        )
        with self._engine.connect() as connection:
            return {version: Counts(given, told) for version, given, told in connection.execute(counted)}

    def judged(
        self, since: datetime, until: datetime, model_version: str | None = None, limit: int | None = None
    ) -> list[Judged]:
        """Predictions with feedback, each with its latest label. If there are more than `limit`, a sample."""
        p, f = predictions.c, feedback.c
        wanted = (
            select(
                *(p.model_version, p.time, p.label, p.value, p.probabilities),
                *(f.label.label("true_label"), f.value.label("true_value"), f.received_at),
            )
            .select_from(predictions.join(feedback, and_(f.prediction_id == p.prediction_id, _is_last())))
            .where(_within(since, until, model_version))
            .order_by(p.prediction_id)  # a random order
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                Judged(
                    model_version=row.model_version,
                    time=row.time,
                    prediction=_answer(row.label, row.value),
                    probabilities=row.probabilities,
                    label=_answer(row.true_label, row.true_value),
                    received_at=row.received_at,
                )
                for row in connection.execute(wanted)
            ]

    def answered(
        self, since: datetime, until: datetime, model_version: str | None = None, *, labelled: bool = False
    ) -> Iterator[tuple[PredictionRecord, FeedbackRecord | None]]:
        """Predictions by time, each with its latest feedback; with `labelled`, only those that have feedback."""
        wanted = _with_feedback(only_labelled=labelled).where(_within(since, until, model_version))
        for row in self._pages(wanted, predictions.c.time, predictions.c.prediction_id):
            yield _prediction(row), _last_feedback(row)

    def latest(
        self, count: int, prediction_id: str | None = None
    ) -> list[tuple[PredictionRecord, FeedbackRecord | None]]:
        """The latest predictions, newest first, or the prediction with an id; each with its latest feedback."""
        p = predictions.c
        wanted = _with_feedback().order_by(p.time.desc(), p.prediction_id).limit(count)
        if prediction_id is not None:
            wanted = wanted.where(p.prediction_id == prediction_id)
        with self._engine.connect() as connection:
            return [(_prediction(row), _last_feedback(row)) for row in connection.execute(wanted)]

    def records(self, since: datetime, until: datetime) -> Iterator[Record]:
        """All predictions of a period by time, then all feedback received in it by time, for replaying them.

        An entity id that was an integer is returned as text.
        """
        p, f = predictions.c, feedback.c
        for row in self._pages(select(predictions).where(_within(since, until, None)), p.time, p.prediction_id):
            yield _prediction(row)
        received = select(feedback).where(f.received_at >= since, f.received_at < until)
        for row in self._pages(received, f.received_at, f.feedback_id):
            yield _feedback(row)

    def prune(self, before: datetime, batch: int = PRUNE_BATCH) -> Pruned:
        """Delete old predictions with their feedback, and old feedback without a prediction.

        Args:
            before: records older than this are deleted.
            batch: predictions deleted in one transaction.
        """
        p, f = predictions.c, feedback.c
        given = told = 0
        while True:
            with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
                oldest = select(p.time).where(p.time < before).order_by(p.time)
                edge = connection.execute(oldest.limit(1).offset(batch - 1)).scalar()
                condition = p.time < before if edge is None else p.time <= edge
                of_these = f.prediction_id.in_(select(p.prediction_id).where(condition))
                told += connection.execute(delete(feedback).where(of_these)).rowcount
                given += connection.execute(delete(predictions).where(condition)).rowcount
            if edge is None:
                break
        orphaned = ~exists().where(p.prediction_id == f.prediction_id)
        with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
            told += connection.execute(delete(feedback).where(f.received_at < before, orphaned)).rowcount
        return Pruned(given, told)

    def _pages(self, wanted: Select[Any], time: ColumnElement[Any], key: ColumnElement[Any]) -> Iterator[Row[Any]]:
        """Rows by time and key, read in pages so that no transaction stays open while rows are processed."""
        after = tuple_(time, key) > tuple_(bindparam("time", type_=Moment), bindparam("key", type_=Id))
        ordered, position = wanted.order_by(time, key).limit(PAGE), None
        while True:
            with self._engine.connect() as connection:
                page = ordered if position is None else ordered.where(after)
                rows = list(connection.execute(page, position or {}))
            yield from rows
            if len(rows) < PAGE:
                return
            last = rows[-1]._mapping
            position = {"time": last[time.name], "key": last[key.name]}


def _within(since: datetime, until: datetime, model_version: str | None) -> ColumnElement[bool]:
    time = predictions.c.time
    within = and_(time >= since, time < until)
    return within if model_version is None else and_(within, predictions.c.model_version == model_version)


def _is_last() -> ColumnElement[bool]:
    """Selects the latest feedback of each prediction. Within a millisecond, the order of ids decides."""
    later = feedback.alias("later")
    return ~exists().where(
        later.c.prediction_id == feedback.c.prediction_id,
        tuple_(later.c.received_at, later.c.feedback_id) > tuple_(feedback.c.received_at, feedback.c.feedback_id),
    )


def _with_feedback(*, only_labelled: bool = False) -> Select[Any]:
    """Predictions joined with their latest feedback."""
    is_its = and_(feedback.c.prediction_id == predictions.c.prediction_id, _is_last())
    columns = [*predictions.c, *(column.label(f"feedback_{column.name}") for column in feedback.c)]
    return select(*columns).select_from(predictions.join(feedback, is_its, isouter=not only_labelled))


def _last_feedback(row: Row[Any]) -> FeedbackRecord | None:
    return _feedback(row, "feedback_") if row.feedback_feedback_id is not None else None


def _answer(label: str | None, value: float | None) -> str | float:
    answer = label if value is None else value
    assert answer is not None
    return answer


def _prediction(row: Row[Any]) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=row.prediction_id,
        time=row.time,
        route=row.route,
        model_version=row.model_version,
        model_id=row.model_id,
        entity_id=row.entity_id,
        inputs=row.inputs,
        prediction=_answer(row.label, row.value),
        probabilities=row.probabilities,
        latency_ms=row.latency_ms,
    )


def _feedback(row: Row[Any], prefix: str = "") -> FeedbackRecord:
    values = {name.removeprefix(prefix): value for name, value in row._mapping.items() if name.startswith(prefix)}
    return FeedbackRecord(
        feedback_id=values["feedback_id"],
        prediction_id=values["prediction_id"],
        label=_answer(values["label"], values["value"]),
        observed_at=values["observed_at"],
        source=values["source"],
        received_at=values["received_at"],
    )
