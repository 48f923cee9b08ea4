"""`GET /monitoring/drift`, and the same as metrics."""

from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from prometheus_client.core import GaugeMetricFamily

from ml_microservice.api.monitoring import Watched, WindowLength, monitoring_of, seconds_of
from ml_microservice.api.routes import core_of
from ml_microservice.artefact.reference import REFERENCE
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.monitoring.computation import Computation
from ml_microservice.settings import Settings

NAME = "drift"
FUNCTION = "ml_microservice.monitoring.drift.windows:drift_document"


async def drift(request: Request, window: WindowLength = None) -> JSONResponse:
    """Drift of recent requests and predictions from the training data of the model that is served.

    The result is at most `monitoring.refresh_seconds` old.
    """
    monitoring, served = monitoring_of(request), core_of(request).served
    if REFERENCE not in served.manifest.files:
        raise no_reference(served)
    seconds = seconds_of(window, monitoring.settings)
    return JSONResponse((await monitoring.computed(_computation(seconds, served))).result)


def watched(settings: Settings, served: ServedModel) -> list[Watched]:
    """The drift in the window of `config.yaml`, as metrics; nothing for a model without a reference."""
    if REFERENCE not in served.manifest.files:
        return []
    return [Watched(_computation(seconds_of(None, settings), served), _families)]


def no_reference(served: ServedModel) -> Problem:
    """The problem of a model that was trained before references were kept."""
    detail = f"The model {served.manifest.version} has no reference to compare records with: train it again."
    return Problem(404, "no-reference", "No reference", detail)


def _computation(window_seconds: float, served: ServedModel) -> Computation:
    version = served.manifest.version
    return Computation(NAME, FUNCTION, {"window_seconds": window_seconds, "model_version": version})


def _families(result: dict[str, Any]) -> Iterator[GaugeMetricFamily]:
    labels = ["feature", "role"]
    psi = GaugeMetricFamily("drift_psi", "Population stability index since training.", labels=labels)
    alert = GaugeMetricFamily("drift_alert", "1 where something has drifted.", labels=labels)
    for found in result["drifts"]:
        values = [found["name"], found["role"]]
        alert.add_metric(values, found["status"] == "drift" and not found["ignored"])
        for measure in found["measures"]:
            if measure["name"] == "psi":
                psi.add_metric(values, measure["value"])
    rows = GaugeMetricFamily("drift_rows", "Predictions that were compared with training.", value=result["rows"])
    yield from (psi, alert, rows)
