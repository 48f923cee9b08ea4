"""Golden rows: requests that an image has to answer as the model did in training."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_microservice.artefact.reader import Artefact
from ml_microservice.errors import Fault


def golden_faults(artefact: Artefact, answers: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """Compare the answers of an image with those recorded in training; returns a fault for each that differs.

    Args:
        artefact: with the rows, and the answers of training.
        answers: of the image to each row, as the API gives them.
    """
    faults = []
    for number, (row, answer) in enumerate(zip(artefact.golden, answers, strict=True), start=1):
        # By name, in the order of the classes.
        named = answer.get("probabilities")
        given = None if named is None else [named.get(name, -1) for name in artefact.schema.classes]
        if "prediction" not in answer or not row.agrees(answer["prediction"], given):
            trained: dict[str, Any] = {"prediction": row.prediction}
            if row.probabilities is not None:
                trained["probabilities"] = dict(zip(artefact.schema.classes, row.probabilities, strict=True))
            message = f"golden row {number} is answered {_said(answer)}, in training {_said(trained)}: {row.request}"
            faults.append(Fault(message, advice="train again where 'make lock' was run, then 'make image'"))
    return faults


def _said(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an answer that is the same in every call, or the problem document."""
    return {key: answer[key] for key in ("prediction", "probabilities") if key in answer} or dict(answer)
