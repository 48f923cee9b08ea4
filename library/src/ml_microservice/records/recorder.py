"""Turns answered predictions into lines of the journal, without personal data and with the likeliest classes only."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from operator import itemgetter
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ml_microservice.features.columns import Column, Columns, as_list
from ml_microservice.features.fields import feature_fields
from ml_microservice.features.spec import Feature, FeatureSpec, as_utc
from ml_microservice.records.disk_sync import DiskSync, NotStored
from ml_microservice.records.journal import Journal
from ml_microservice.records.record import call_start, prediction_line, row_line
from ml_microservice.settings import RecordsSettings

HASH_BYTES = 16
Values = Callable[[Mapping[str, Any]], Sequence[Any]]


class Call(NamedTuple):
    """A request for many rows whose predictions are recorded."""

    route: str
    """How the predictions were requested: `predict`, `batch`, `infer` or `job`."""
    started: float
    """Value of `perf_counter` when the request arrived."""
    time: str
    """Time of the answer: ISO 8601, UTC."""


class Recorder:
    """Records the predictions of one process.

    Args:
        journal: stores the lines.
        settings: what is recorded, and what happens when the disk is full.
        on_unlogged: called with the number of predictions that are answered without a record.
    """

    def __init__(
        self, journal: Journal, settings: RecordsSettings, on_unlogged: Callable[[int], None] = lambda count: None
    ) -> None:
        self.journal = journal
        self.settings = settings
        self.on_unlogged = on_unlogged
        self.is_lenient = settings.when_full == "serve_unlogged"
        """Whether predictions are answered without a record while records cannot be stored."""

    def check(self) -> None:
        """Check whether predictions can be answered.

        Raises:
            NotStored: records cannot be stored, and the settings forbid answers without them.
        """
        if self.journal.full is not None and not self.is_lenient:
            raise NotStored(self.journal.full)

    def may_skip(self, count: int) -> bool:
        """Whether predictions may be answered without a record. If so, they are counted."""
        if self.is_lenient:
            self.on_unlogged(count)
        return self.is_lenient


class ModelRecorder:
    """Records the predictions of one model.

    Args:
        recorder: the recorder of the process.
        spec: the model's features.
        classes: the classes in the order of the probabilities; empty for a regression.
        version: the model's version.
        model_id: the model's id.
    """

    def __init__(
        self, recorder: Recorder, spec: FeatureSpec, classes: Sequence[str], version: str, model_id: str
    ) -> None:
        self.may_skip = recorder.may_skip
        self._append = recorder.journal.append
        settings = recorder.settings
        self._classes = list(classes)
        self._n_best = settings.n_best if settings.n_best < len(classes) else None
        """How many classes are recorded; None for all."""
        self._hash = PiiHash(settings.pii_key.get_secret_value()) if settings.pii_key is not None else None
        is_kept = {feature.name: not feature.pii or settings.pii == "hash" for feature in spec.features}
        self._features = [feature for feature in spec.features if is_kept[feature.name]]
        names = [feature.name for feature in self._features]
        fields = [field for field, name in feature_fields(spec).items() if is_kept[name]]
        self._inputs_of = _getter(fields)
        self._hashed = [place for place, feature in enumerate(self._features) if feature.pii]
        self._row_starts = _Starts(lambda route: call_start(version, model_id, route, names))
        self._call_starts = _Starts(lambda route: call_start(version, model_id, route))

    def line(
        self,
        route: str,
        time: bytes,
        latency_ms: float,
        prediction_id: str,
        entity_id: str | int | None,
        values: Mapping[str, Any],
        prediction: str | float,
        probabilities: Mapping[str, float] | None,
    ) -> bytes:
        """The line that records one prediction.

        Args:
            route: how the prediction was requested.
            time: when it is answered: ISO 8601, UTC.
            latency_ms: time since the request arrived.
            prediction_id: UUID of the prediction.
            entity_id: the row's entity id.
            values: the request's values, by field of the request model.
            prediction: the class, or the number.
            probabilities: by class.
        """
        inputs = self._inputs_of(values)
        if self._hashed:
            inputs = self._with_hashes(inputs)
        if self._n_best is not None and probabilities is not None:
            likeliest = sorted(probabilities, key=probabilities.__getitem__, reverse=True)[: self._n_best]
            probabilities = {name: probabilities[name] for name in likeliest}
        call = _call(self._row_starts[route], time, latency_ms)
        return row_line(
            call,
            prediction_id=prediction_id,
            entity_id=entity_id,
            inputs=inputs,
            prediction=prediction,
            probabilities=probabilities,
        )

    def keep(self, lines: Sequence[bytes]) -> DiskSync | None:
        """Store lines of predictions, all or none.

        Returns:
            The sync to wait for before answering, if one is needed.

        Raises:
            NotStored: the lines cannot be stored. `may_skip` says whether the predictions may be answered anyway.
        """
        return self._append(b"".join(lines), len(lines))

    def keep_rows(
        self,
        call: Call,
        prediction_ids: Sequence[str],
        entity_ids: Sequence[str | int | None],
        columns: Columns,
        predictions: Sequence[str | float],
        probabilities: NDArray[np.float64] | None,
    ) -> bool:
        """Record the n predictions of a call before they are answered. Call it in a thread: it may wait for a sync.

        Args:
            call: the call that is answered.
            prediction_ids: n UUIDs.
            entity_ids: n entity ids.
            columns: n values of each feature.
            predictions: n classes or numbers.
            probabilities: shape (n, classes).

        Returns:
            Whether the predictions are recorded.

        Raises:
            NotStored: they cannot be recorded, so they must not be answered.
        """
        line = prediction_line(
            _call(self._call_starts[call.route], call.time.encode(), (perf_counter() - call.started) * 1000),
            ids=prediction_ids,
            entity_ids=entity_ids if any(entity_id is not None for entity_id in entity_ids) else None,
            inputs={feature.name: self._column(feature, columns[feature.name]) for feature in self._features},
            predictions=predictions,
            probabilities=None if probabilities is None else self._best(probabilities),
        )
        try:
            stored = self._append(line, len(predictions))
            if stored is not None:
                stored.wait()
        except NotStored:
            if not self.may_skip(len(predictions)):
                raise
            return False
        return True

    def _with_hashes(self, inputs: Sequence[Any]) -> Sequence[Any]:
        assert self._hash is not None
        values = list(inputs)
        for place in self._hashed:
            values[place] = self._hash.of(values[place])
        return values

    def _column(self, feature: Feature, column: Column) -> Any:
        """A column as it is recorded. Integers that became floats, because some are missing, become integers again."""
        is_whole = feature.type in ("int", "category")
        if is_whole and isinstance(column, np.ndarray) and column.dtype.kind == "f":
            column = [None if value is None else int(value) for value in as_list(column)]
        if not feature.pii:
            return column
        assert self._hash is not None
        return [self._hash.of(value) for value in as_list(column)]

    def _best(self, probabilities: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        if self._n_best is not None:
            order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self._n_best]
            best = np.full_like(probabilities, np.nan)
            np.put_along_axis(best, order, np.take_along_axis(probabilities, order, axis=1), axis=1)
            probabilities = best
        return dict(zip(self._classes, np.ascontiguousarray(probabilities.T), strict=True))


class PiiHash:
    """Keyed hashes of personal data. Equal values have equal hashes; without the key, values cannot be guessed.

    Args:
        key: a secret of any length.
    """

    def __init__(self, key: str) -> None:
        self._key = blake2b(key.encode()).digest()

    def of(self, value: Any) -> str | None:
        """The hexadecimal hash of a value's JSON form; None for a missing value."""
        if value is None:
            return None
        plain = as_utc(value) if isinstance(value, datetime) else value
        text = orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY)
        return blake2b(text, key=self._key, digest_size=HASH_BYTES).hexdigest()


class _Starts(dict[str, bytes]):
    """The starts of lines by route, created when a route is first used."""

    def __init__(self, make: Callable[[str], bytes]) -> None:
        self._make = make

    def __missing__(self, route: str) -> bytes:
        start = self[route] = self._make(route)
        return start


def _call(start: bytes, time: bytes, latency_ms: float) -> bytes:
    """The start of a line, up to the fields of single rows."""
    return b'%b"time":"%b","latency_ms":%.3f,' % (start, time, latency_ms)


def _getter(fields: Sequence[str]) -> Values:
    """A function that takes the values of some fields out of a row; `itemgetter` is the fastest way."""
    if len(fields) > 1:
        return itemgetter(*fields)
    return lambda values: [values[field] for field in fields]
