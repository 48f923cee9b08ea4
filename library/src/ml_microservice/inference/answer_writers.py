"""Writers of answers to many rows as JSON, JSON lines and CSV, one slice of rows at a time."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from ml_microservice.features.columns import as_list
from ml_microservice.features.request import JsonObject
from ml_microservice.inference.answer_table import NONE, AnswerTable


@dataclass(frozen=True)
class Heading:
    """What the answers to all rows of a request share."""

    classes: Sequence[str]
    id_name: str | None
    """The column of entity ids; None if no row was sent with one."""
    has_text_ids: bool
    """Whether the column of entity ids holds text; otherwise it holds whole numbers."""
    provenance: Mapping[str, str]
    """The model that answers, and the time."""
    has_logged: bool
    """Whether tables have a column that says which predictions are recorded."""


class Writer(Protocol):
    """Writes answers in one format."""

    def __init__(self, heading: Heading) -> None: ...

    def write(self, answers: AnswerTable) -> bytes:
        """Write the next rows."""
        ...

    def end(self) -> bytes:
        """Write what follows the last rows."""
        ...


def probability_columns(classes: Sequence[str]) -> list[str]:
    """The columns of the probabilities in a table."""
    return [f"probability_{name}" for name in classes]


def answer_columns(answers: AnswerTable, classes: Sequence[str]) -> dict[str, Sequence[Any]]:
    """AnswerTable as the columns of a table, without the entity ids."""
    names = probability_columns(classes)
    if answers.probabilities is None:
        probabilities = {name: [None] * len(answers.values) for name in names}
    else:
        probabilities = {name: as_list(answers.probabilities[:, i]) for i, name in enumerate(names)}
    errors: list[str | None] = [None] * len(answers.values)
    for row, problem in answers.problems.items():
        errors[row] = problem.detail
    ids = answers.prediction_ids
    return {"prediction": answers.values, **probabilities, "prediction_id": ids, "error": errors}


def answer_documents(answers: AnswerTable, classes: Sequence[str], id_name: str | None) -> list[JsonObject]:
    """AnswerTable as JSON objects; a problem is a whole problem document."""
    documents: list[JsonObject] = []
    probabilities = None if answers.probabilities is None else answers.probabilities.tolist()
    for row, value in enumerate(answers.values):
        if row in answers.problems:
            documents.append({"error": answers.problems[row].as_json()})
            continue
        document: JsonObject = {"prediction": value}
        if probabilities is not None:
            document["probabilities"] = dict(zip(classes, probabilities[row], strict=True))
        document["prediction_id"] = answers.prediction_ids[row]
        if id_name is not None and answers.entity_ids[row] is not None:
            document[id_name] = answers.entity_ids[row]
        if not answers.is_logged:
            document["logged"] = False
        documents.append(document)
    return documents


class JsonWriter:
    """One document with a list of answers, the number of those that failed, and the provenance."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._failed = 0
        self._before = b'{"predictions":['

    def write(self, answers: AnswerTable) -> bytes:
        """See `Writer`."""
        documents = answer_documents(answers, self._heading.classes, self._heading.id_name)
        self._failed += answers.failed
        written = self._before + orjson.dumps(documents)[1:-1]
        self._before = b"," if documents else self._before
        return written

    def end(self) -> bytes:
        """See `Writer`."""
        start = self._before if self._before != b"," else b""
        return start + b'],"failed":%d,' % self._failed + orjson.dumps(self._heading.provenance)[1:]


class JsonLinesWriter:
    """An answer on each line."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading

    def write(self, answers: AnswerTable) -> bytes:
        """See `Writer`."""
        documents = answer_documents(answers, self._heading.classes, self._heading.id_name)
        return b"".join(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE) for document in documents)

    def end(self) -> bytes:
        """See `Writer`."""
        return b""


class CsvWriter:
    """A header and a line for each answer."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._has_header = False

    def write(self, answers: AnswerTable) -> bytes:
        """See `Writer`."""
        columns = table_columns(answers, self._heading)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._has_header:
            writer.writerow(columns)
            self._has_header = True
        writer.writerows(zip(*columns.values(), strict=True))
        return text.getvalue().encode()

    def end(self) -> bytes:
        """See `Writer`."""
        return b"" if self._has_header else self.write(NONE)


def table_columns(answers: AnswerTable, heading: Heading) -> dict[str, Any]:
    """AnswerTable as the columns of a table."""
    ids = {heading.id_name: answers.entity_ids} if heading.id_name is not None else {}
    logged = {"logged": _logged(answers)} if heading.has_logged else {}
    return {**answer_columns(answers, heading.classes), **logged, **ids}


def _logged(answers: AnswerTable) -> list[bool | None]:
    """Whether each prediction is recorded; None for a row that has a problem."""
    return [None if row in answers.problems else answers.is_logged for row in range(len(answers.values))]
