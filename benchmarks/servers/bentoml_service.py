"""BentoML: one batchable API, whose dispatcher adapts the batches to the traffic."""

from typing import Any

import bentoml
from predictor import load_predictor


@bentoml.service(workers=1, traffic={"timeout": 60})
class Bench:
    """The service."""

    def __init__(self) -> None:
        self.answer = load_predictor()

    @bentoml.api(batchable=True, max_batch_size=100, max_latency_ms=60_000)
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer the rows of one or several requests."""
        return self.answer(rows)

    @bentoml.api
    def predict_many(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer many rows of one request."""
        return self.answer(rows)
