"""The stored result of a chunk: one JSON document, whatever format the result is requested in later.

It holds the columns of the answers, the model that gave them, and the time. It names that model's classes, because
another model may be served when the result is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.problems import TYPE_PREFIX, FeatureError, Problem


@dataclass(frozen=True)
class ChunkResult:
    """The answers to the rows of a chunk."""

    answers: AnswerTable
    provenance: dict[str, str]
    """The model that answered, and the time."""
    classes: Sequence[str]
    """Class names in the order of the probabilities; empty for a regression."""


def pack(answers: AnswerTable, provenance: Mapping[str, str], classes: Sequence[str]) -> bytes:
    """Encode the answers to a chunk.

    Args:
        answers: the answers, in the order of the rows.
        provenance: the model that gave them, and the time.
        classes: the model's classes.
    """
    document = {
        "values": answers.values,
        "probabilities": None if answers.probabilities is None else np.ascontiguousarray(answers.probabilities),
        "problems": {str(row): problem.as_json() for row, problem in answers.problems.items()},
        "prediction_ids": answers.prediction_ids,
        "entity_ids": answers.entity_ids if any(entity_id is not None for entity_id in answers.entity_ids) else None,
        "is_logged": answers.is_logged,
        "provenance": dict(provenance),
        "classes": list(classes),
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def unpack(data: bytes) -> ChunkResult:
    """Decode what `pack` encoded."""
    document = orjson.loads(data)
    probabilities, values = document["probabilities"], document["values"]
    # A row without probabilities has null in JSON, which numpy reads as NaN.
    matrix = None if probabilities is None else np.asarray(probabilities, np.float64).reshape(len(values), -1)
    answers = AnswerTable(
        values,
        matrix,
        {int(row): _problem(problem) for row, problem in document["problems"].items()},
        document["prediction_ids"],
        document["entity_ids"] or [None] * len(values),
        document["is_logged"],
    )
    return ChunkResult(answers, document["provenance"], document["classes"])


def _problem(document: dict[str, Any]) -> Problem:
    errors = [FeatureError(**error) for error in document.get("errors", ())]
    kind = document["type"].removeprefix(TYPE_PREFIX)
    return Problem(document["status"], kind, document["title"], document["detail"], errors)
