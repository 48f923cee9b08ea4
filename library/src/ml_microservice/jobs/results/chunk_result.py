"""The result of a chunk in the one form that is stored, whatever format it is asked for in later.

JSON: the columns of the answers, which model gave them and when. The classes are those of that model: by the time that
somebody asks, another one may be served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.problems import TYPE_PREFIX, FeatureError, Problem


@dataclass(frozen=True)
class Result:
    """What became of the rows of a chunk."""

    answers: AnswerTable
    provenance: dict[str, str]
    """Which model answered, and when."""
    classes: Sequence[str]
    """In the order of the probabilities; none for a regression."""


def pack(answers: AnswerTable, provenance: Mapping[str, str], classes: Sequence[str]) -> bytes:
    """Answers as they are stored.

    Args:
        answers: to the rows of a chunk.
        provenance: which model gave them, and when.
        classes: of that model.
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


def unpack(data: bytes) -> Result:
    """What `pack` made the bytes of."""
    document = orjson.loads(data)
    probabilities, values = document["probabilities"], document["values"]
    # JSON has no NaN: what stands for a row without probabilities is null, which numpy reads as NaN.
    matrix = None if probabilities is None else np.asarray(probabilities, np.float64).reshape(len(values), -1)
    answers = AnswerTable(
        values,
        matrix,
        {int(row): _problem(problem) for row, problem in document["problems"].items()},
        document["prediction_ids"],
        document["entity_ids"] or [None] * len(values),
        document["is_logged"],
    )
    return Result(answers, document["provenance"], document["classes"])


def _problem(document: dict[str, Any]) -> Problem:
    errors = [FeatureError(**error) for error in document.get("errors", ())]
    kind = document["type"].removeprefix(TYPE_PREFIX)
    return Problem(document["status"], kind, document["title"], document["detail"], errors)
