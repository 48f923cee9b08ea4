"""`GET /monitoring/performance`, and the same as metrics."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from prometheus_client.core import GaugeMetricFamily

from ml_microservice.api.monitoring import Watched, WindowLength, monitoring_of, seconds_of
from ml_microservice.monitoring.computation import Computation
from ml_microservice.monitoring.performance_result import Performance
from ml_microservice.settings import Settings

NAME = "performance"
FUNCTION = "ml_microservice.monitoring.performance:performance"


async def performance(
    request: Request,
    window: WindowLength = None,
    model_version: Annotated[str | None, Query(description="Only this version.", max_length=100)] = None,
) -> JSONResponse:
    """Metrics of each model version on the predictions that have feedback, beside its metrics in training.

    The result is at most `monitoring.refresh_seconds` old. A prediction counts at the time when it was made, so the
    window has to be longer than feedback takes to arrive.
    """
    monitoring = monitoring_of(request)
    seconds = seconds_of(window, monitoring.settings)
    return JSONResponse((await monitoring.computed(_computation(seconds, model_version))).result)


def watched(settings: Settings) -> Watched:
    """The performance in the window of `config.yaml`, as metrics."""
    return Watched(_computation(seconds_of(None, settings), None), _families)


def _computation(window_seconds: float, model_version: str | None) -> Computation:
    return Computation(NAME, FUNCTION, {"window_seconds": window_seconds, "model_version": model_version})


def _families(result: dict[str, Any]) -> Iterator[GaugeMetricFamily]:
    by_version, by_metric = ["model_version"], ["metric", "model_version"]
    given = GaugeMetricFamily("model_live_predictions", "Predictions in the window.", labels=by_version)
    coverage = GaugeMetricFamily("model_feedback_coverage", "Share of them that has feedback.", labels=by_version)
    live = GaugeMetricFamily("model_live_metric", "Metrics on those that have feedback.", labels=by_metric)
    trained = GaugeMetricFamily("model_training_metric", "The same on training's held-out rows.", labels=by_metric)
    error = GaugeMetricFamily("model_live_calibration_error", "Probabilities beside right answers.", labels=by_version)
    delay = GaugeMetricFamily(
        "model_feedback_delay_seconds", "From prediction to feedback.", labels=["model_version", "quantile"]
    )
    for model in Performance.model_validate(result).models:
        version = model.model_version
        given.add_metric([version], model.predictions)
        coverage.add_metric([version], model.coverage)
        for family, metrics in ((live, model.metrics), (trained, model.training_metrics or {})):
            for name, value in metrics.items():
                if value is not None:
                    family.add_metric([name, version], value)
        if model.calibration_error is not None:
            error.add_metric([version], model.calibration_error)
        if model.feedback_delay_seconds is not None:
            delay.add_metric([version, "0.5"], model.feedback_delay_seconds.median)
            delay.add_metric([version, "0.9"], model.feedback_delay_seconds.p90)
    yield from (given, coverage, live, trained, error, delay)
