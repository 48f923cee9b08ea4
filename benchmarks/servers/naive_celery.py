"""The jobs that tutorials build: one task for each request, a DataFrame in the worker, and a result to poll for."""

import os
from typing import Any

import joblib
import pandas as pd
from celery import Celery
from celery.result import AsyncResult
from celery.signals import worker_process_init
from fastapi import FastAPI
from request import Row

queue = Celery("naive", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app = FastAPI()
loaded: dict[str, Any] = {}


@worker_process_init.connect
def load(**_: Any) -> None:
    """Once in each process of the worker."""
    loaded["pipeline"] = joblib.load(os.environ["BENCH_PIPELINE"])


@queue.task(name="predict")
def predict(row: dict[str, Any]) -> dict[str, Any]:
    """Answer one row."""
    pipeline, frame = loaded["pipeline"], pd.DataFrame([row])
    label = pipeline.predict(frame)[0]
    probabilities = pipeline.predict_proba(frame)[0]
    classes = map(str, pipeline.classes_)
    return {"prediction": str(label), "probabilities": dict(zip(classes, map(float, probabilities), strict=True))}


@app.post("/predict")
def submit(row: Row) -> dict[str, str]:
    """Queue a task."""
    return {"task_id": predict.delay(row.model_dump()).id}


@app.get("/result/{task_id}")
def result(task_id: str) -> dict[str, Any]:
    """The state of a task, and its result."""
    task = AsyncResult(task_id, app=queue)
    return {"status": task.status, "result": task.result if task.successful() else None}
