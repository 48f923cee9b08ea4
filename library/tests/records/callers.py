"""Clients of a service that may be killed at any moment, who keep what they sent and what they were answered."""

import http.client
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from tests.records.serving import ask

BATCH_EVERY, BATCH_ROWS = 10, 20
"""Every so many requests, one is for so many rows; and one is feedback to the prediction before it."""


@dataclass(frozen=True)
class Answer:
    """A prediction as a client received it."""

    prediction_id: str
    prediction: str
    probabilities: dict[str, float]


class Caller(threading.Thread):
    """Asks on one connection at a time, one request after the other, until told to end.

    Args:
        port: of the service.
        name: the start of its entity ids and of its feedback's sources, no two of which are equal.
        is_mixed: whether it also sends many rows at once, and feedback; only single rows otherwise.
        pause: seconds between two requests.
    """

    def __init__(self, port: int, name: str, is_mixed: bool, pause: float) -> None:
        super().__init__(name=name, daemon=True)
        self.ended = threading.Event()
        self.requests = 0
        """Those that were answered."""
        self.answers: dict[str, Answer] = {}
        """By entity id."""
        self.unanswered: set[str] = set()
        """Entity ids and sources that were sent without an answer."""
        self.feedback: dict[str, tuple[str, str]] = {}
        """What was accepted: prediction id and label, by source."""
        self.seconds: list[tuple[float, float]] = []
        """When a single row was asked for, by the monotonic clock, and how long it took."""
        self.refused: list[Any] = []
        """Answers that are no 200 or 202."""
        self._port = port
        self._is_mixed, self._pause = is_mixed, pause
        self._random = random.Random(name)
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Ask."""
        number = 0
        while not self.ended.wait(self._pause):
            number += 1
            place = number % BATCH_EVERY if self._is_mixed else -1
            if place == 0:
                self._predict([self._row(f"{self.name}-{number}-{row}") for row in range(BATCH_ROWS)])
            elif place == 2 and self.answers:
                self._tell(f"{self.name}-{number}")
            else:
                self._predict([self._row(f"{self.name}-{number}")])

    def _row(self, name: str) -> dict[str, Any]:
        return {"floor area": round(self._random.uniform(20, 400), 2), "lift": True, "house id": name}

    def _predict(self, rows: Sequence[dict[str, Any]]) -> None:
        names = [row["house id"] for row in rows]
        is_single = len(rows) == 1
        began = time.monotonic()
        document = self._ask("/predict", rows[0], names) if is_single else self._ask("/predict/batch", rows, names)
        if document is None:
            return
        if is_single:
            self.seconds.append((began, time.monotonic() - began))
        for name, row in zip(names, [document] if is_single else document["predictions"], strict=True):
            self.answers[name] = Answer(row["prediction_id"], row["prediction"], row["probabilities"])

    def _tell(self, source: str) -> None:
        """Send feedback to the prediction that was answered last."""
        told = (next(reversed(self.answers.values())).prediction_id, self._random.choice(["yes", "no"]))
        body = {"prediction_id": told[0], "label": told[1], "source": source}
        if self._ask("/feedback", body, [source]) is not None:
            self.feedback[source] = told

    def _ask(self, path: str, body: Any, names: Sequence[str]) -> Any:
        """The document of an answer; None if there is none."""
        if not self._connect():
            return None
        assert self._connection is not None
        try:
            status, document = ask(self._connection, "POST", path, body)
        except (OSError, http.client.HTTPException, ValueError):
            self.unanswered |= set(names)
            self._connection.close()
            self._connection = None
            return None
        if status not in (200, 202):
            self.refused.append((status, document))
            return None
        self.requests += 1
        return document

    def _connect(self) -> bool:
        """Wait until somebody listens, unless the connection is there; False if told to end meanwhile."""
        while self._connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.connect()
                self._connection = connection
            except OSError:
                if self.ended.wait(0.05):
                    return False
        return True


class Callers:
    """All clients of a service."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        self._callers = callers

    @property
    def requests(self) -> int:
        """How many were answered so far."""
        return sum(caller.requests for caller in self._callers)

    @property
    def answers(self) -> dict[str, Answer]:
        """By entity id."""
        return {name: answer for caller in self._callers for name, answer in caller.answers.items()}

    @property
    def feedback(self) -> dict[str, tuple[str, str]]:
        """Prediction id and label, by source."""
        return {source: told for caller in self._callers for source, told in caller.feedback.items()}

    @property
    def unanswered(self) -> set[str]:
        """Entity ids and sources that were sent without an answer."""
        return {name for caller in self._callers for name in caller.unanswered}

    @property
    def refused(self) -> list[Any]:
        """Answers that are no 200 or 202."""
        return [answer for caller in self._callers for answer in caller.refused]

    def seconds(self, start: float, end: float) -> list[float]:
        """How long single rows took that were asked for within some time."""
        return [taken for caller in self._callers for began, taken in caller.seconds if start <= began < end]

    def end(self) -> None:
        """Wait for the last answers."""
        for caller in self._callers:
            caller.ended.set()
        for caller in self._callers:
            caller.join()


@contextmanager
def calling(port: int, count: int, is_mixed: bool = True, pause: float = 0.004) -> Iterator[Callers]:
    """So many clients, who ask until the block ends or they are told to end."""
    callers = [Caller(port, f"c{index}", is_mixed, pause) for index in range(count)]
    for caller in callers:
        caller.start()
    together = Callers(callers)
    try:
        yield together
    finally:
        together.end()


def assert_accounted_for(callers: Callers, records: Sequence[Record]) -> None:
    """What was answered is recorded exactly once and as it was answered; all else was sent, and had no answer."""
    assert not callers.refused, callers.refused[:3]
    predictions = [record for record in records if isinstance(record, PredictionRecord)]
    told = [record for record in records if isinstance(record, FeedbackRecord)]
    recorded = {
        str(record.entity_id): Answer(record.prediction_id, str(record.prediction), dict(record.probabilities or {}))
        for record in predictions
    }
    feedback = {str(record.source): (record.prediction_id, str(record.label)) for record in told}
    twice = len(predictions) - len(recorded) + len(told) - len(feedback)
    assert not twice, f"{twice} are recorded twice"
    for answered, kept in ((callers.answers, recorded), (callers.feedback, feedback)):
        lost = answered.keys() - kept.keys()
        assert not lost, f"{len(lost)} of {len(answered)} are lost: {sorted(lost)[:3]}"
        others = [(answer, kept[name]) for name, answer in answered.items() if answer != kept[name]]
        assert not others, f"{len(others)} are recorded otherwise: {others[:3]}"
        unknown = kept.keys() - answered.keys() - callers.unanswered
        assert not unknown, f"{len(unknown)} are recorded that nobody waited for: {sorted(unknown)[:3]}"
