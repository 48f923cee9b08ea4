"""Feedback on predictions: validated against the served model, and in the journal before it is answered."""

import asyncio
import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import time_ns
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ml_microservice.errors import did_you_mean, listed
from ml_microservice.features.feedback import SOURCE_MAX_LENGTH
from ml_microservice.features.spec import as_utc
from ml_microservice.inference.problems import FeatureError, Problem, record_not_stored, too_many_rows
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.records.disk_sync import NotStored
from ml_microservice.records.journal import Journal
from ml_microservice.records.record import FeedbackRecord, feedback_line

MANY_BYTES = 16 * 2**10
"""Larger bodies are read in a thread, so that they do not hold up predictions."""


class FeedbackReceiver:
    """Receives the feedback of one process.

    Args:
        journal: stores the feedback, as it does predictions.
        max_items: most items of a list.
    """

    def __init__(self, journal: Journal, max_items: int) -> None:
        self._journal = journal
        self._max_items = max_items
        self._stamps = ReceivedStamps()

    async def take(self, served: ServedModel, body: bytes) -> bytes:
        """Store one item of feedback, or a list in which each item succeeds or fails alone.

        Raises:
            Problem: the single item or the whole list is not valid, or nothing can be stored.
        """
        read = self._read_many if body.lstrip()[:1] == b"[" else self._read_one
        if len(body) > MANY_BYTES:
            records, answer = await asyncio.to_thread(read, served, body)
        else:
            records, answer = read(served, body)
        if records:
            try:
                stored = self._journal.append(feedback_line(records), len(records))
                if stored is not None:
                    await stored
            except NotStored as failed:
                raise record_not_stored(failed.reason) from None
        return orjson.dumps(answer)

    def _read_one(self, served: ServedModel, body: bytes) -> tuple[list[FeedbackRecord], dict[str, Any]]:
        record = self._record(served, body)
        return [record], _accepted(record)

    def _read_many(self, served: ServedModel, body: bytes) -> tuple[list[FeedbackRecord], dict[str, Any]]:
        try:
            items = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _not_valid_json(str(error)) from None
        if len(items) > self._max_items:
            raise too_many_rows(len(items), self._max_items)
        records, answers, failed = [], [], 0
        for item in items:
            try:
                record = self._record(served, orjson.dumps(item))
            except Problem as problem:
                failed += 1
                answers.append({"error": problem.as_json()})
            else:
                records.append(record)
                answers.append(_accepted(record))
        return records, {"feedback": answers, "failed": failed}

    def _record(self, served: ServedModel, body: bytes) -> FeedbackRecord:
        try:
            sent: Any = served.feedback_model.__pydantic_validator__.validate_json(body)
        except ValidationError as error:
            raise invalid_feedback(error, served.schema.classes) from None
        feedback_id, received_at = self._stamps.next()
        observed = None if sent.observed_at is None else as_utc(sent.observed_at).isoformat(timespec="milliseconds")
        return FeedbackRecord(feedback_id, str(sent.prediction_id), sent.label, observed, sent.source, received_at)


class ReceivedStamps:
    """Makes ids and times of feedback that sort in the order of arrival, even within a millisecond.

    The ids are UUIDs of version 7: 48 bits of milliseconds, 12 of their fraction, the rest at random.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> tuple[str, str]:
        """An id, and the time in UTC as ISO 8601, to the millisecond."""
        with self._lock:
            tick = self._last = max(time_ns() * 4096 // 1_000_000, self._last + 1)
        millisecond, fraction = divmod(tick, 4096)
        number = millisecond << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
        moment = datetime.fromtimestamp(millisecond // 1000, UTC).replace(microsecond=millisecond % 1000 * 1000)
        return str(UUID(int=number)), moment.isoformat(timespec="milliseconds")


def nothing_recorded() -> Problem:
    """The problem of feedback to a service that keeps no records."""
    detail = "The service keeps no records, and so no feedback: config.yaml names nothing in records.sinks."
    return Problem(404, "no-records", "Nothing is recorded", detail)


def invalid_feedback(error: ValidationError, classes: Sequence[str]) -> Problem:
    """The problem of feedback that breaks rules, or is not JSON; it repeats no value."""
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return _not_valid_json(str(details[0].get("ctx", {}).get("error", "")))
    errors = list(
        {(one.pointer, one.message): one for one in (_broken_rule(item, classes) for item in details)}.values()
    )
    detail = f"The feedback cannot be taken: {'; '.join(one.message for one in errors)}"
    return Problem(422, "invalid-feedback", "The feedback is not valid", detail, errors)


def _broken_rule(detail: ErrorDetails, classes: Sequence[str]) -> FeatureError:
    if not detail["loc"]:
        return FeatureError(pointer="#", rule="type", message="feedback must be a JSON object, or a list of them")
    key = str(detail["loc"][0])
    pointer = f"#/{key.replace('~', '~0').replace('/', '~1')}"
    if detail["type"] == "missing":
        return FeatureError(pointer=pointer, rule="required", message=f"{key} is required")
    if detail["type"] == "extra_forbidden":
        advice = did_you_mean(key, RULES, f"the keys are {listed(RULES)}")
        return FeatureError(pointer=pointer, rule="unknown", message=f"{key[:100]!r} is not a key; {advice}")
    if key == "label" and classes:
        message = f"label must be one of {listed(map(repr, classes))}"
        return FeatureError(pointer=pointer, rule="values", message=message)
    return FeatureError(pointer=pointer, rule="type", message=f"{key} must be {RULES[key]}")


RULES: Mapping[str, str] = {
    "prediction_id": "the UUID that the answer to the prediction has",
    "label": "a finite number",
    "observed_at": "a date and time as ISO 8601 text, such as 2026-01-31T12:00:00Z, or null",
    "source": f"text of at most {SOURCE_MAX_LENGTH} characters, or null",
}
"""The keys of feedback, each with the values that it takes."""


def _accepted(record: FeedbackRecord) -> dict[str, Any]:
    return {
        "feedback_id": record.feedback_id,
        "prediction_id": record.prediction_id,
        "received_at": record.received_at,
    }


def _not_valid_json(why: str) -> Problem:
    return Problem(422, "invalid-json", "The body is not valid JSON", f"Not valid JSON: {why}")
