"""What the peers predict with: the plain pipeline, or our compiled engine out of the baked project."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
Answers = list[dict[str, Any]]


def load_predictor() -> Callable[[Rows], Answers]:
    """A function from rows to answers, of which the environment says which."""
    return engine(os.environ["BENCH_PROJECT"]) if os.environ["BENCH_ENGINE"] == "1" else pipeline()


def pipeline() -> Callable[[Rows], Answers]:
    """The scikit-learn pipeline on a DataFrame; one call answers both the class and its probability."""
    import joblib
    import pandas as pd

    fitted = joblib.load(os.environ["BENCH_PIPELINE"])
    classes = [str(label) for label in fitted.classes_]

    def predict(rows: Rows) -> Answers:
        return _answers(classes, None, fitted.predict_proba(pd.DataFrame(rows)))

    return predict


def engine(project: str) -> Callable[[Rows], Answers]:
    """The predictor of the baked project, without its server."""
    from ml_microservice.artefact.store import ArtefactStore
    from ml_microservice.inference.served_model import load_served_model

    folder = ArtefactStore(Path(project) / "model_bin").path("current")
    served = load_served_model(folder, Path(project).name, None)
    names, classes = served.schema.spec.names, list(served.schema.classes)

    def predict(rows: Rows) -> Answers:
        predictions = served.predictor.predict({name: [row.get(name) for row in rows] for name in names})
        return _answers(classes, predictions.values, predictions.probabilities)

    return predict


def _answers(classes: list[str], labels: Any, probabilities: Any) -> Answers:
    if labels is None:
        labels = [classes[index] for index in probabilities.argmax(axis=1)]
    return [
        {"prediction": label, "probabilities": dict(zip(classes, row, strict=True))}
        for label, row in zip(labels, probabilities.tolist(), strict=True)
    ]
