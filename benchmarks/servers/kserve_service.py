"""KServe: a custom model on its Python SDK, V1 protocol, access and latency logs off."""

import logging
import os
from typing import Any

import kserve
from predictor import load_predictor


class Bench(kserve.Model):
    """The service."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.load()

    def load(self) -> bool:
        """Load the model."""
        self.answer = load_predictor()
        self.ready = True
        return self.ready

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer the rows of a request."""
        return {"predictions": self.answer(payload["instances"])}


if __name__ == "__main__":
    logging.getLogger("uvicorn.access").disabled = True
    server = kserve.ModelServer(
        http_port=int(os.environ["BENCH_PORT"]), workers=1, enable_grpc=False, enable_latency_logging=False
    )
    server.start([Bench("bench")])
