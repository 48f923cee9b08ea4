"""The service that tutorials build: FastAPI, a DataFrame, predict and predict_proba."""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from request import Row

app = FastAPI()
pipeline = joblib.load(os.environ["BENCH_PIPELINE"])
classes = [str(label) for label in pipeline.classes_]


@app.post("/predict")
def predict(row: Row) -> dict[str, Any]:
    """Answer one row."""
    return _answers([row])[0]


@app.post("/predict/batch")
def predict_batch(rows: list[Row]) -> list[dict[str, Any]]:
    """Answer many rows."""
    return _answers(rows)


def _answers(rows: list[Row]) -> list[dict[str, Any]]:
    frame = pd.DataFrame([row.model_dump() for row in rows])
    labels = pipeline.predict(frame)
    probabilities = pipeline.predict_proba(frame)
    return [
        {"prediction": str(label), "probabilities": dict(zip(classes, map(float, row), strict=True))}
        for label, row in zip(labels, probabilities, strict=True)
    ]
