"""Ray Serve: one replica with dynamic batching, throughput optimisations on (see the environment in systems.py)."""

import os
import signal
import threading
from typing import Any

import ray
from predictor import load_predictor
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Bench:
    """The service."""

    def __init__(self) -> None:
        self.answer = load_predictor()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=float(os.environ.get("BENCH_BATCH_TIMEOUT", "0.01")))
    async def rows(self, rows: list[Any]) -> list[Any]:
        """Answer a batch of rows."""
        return self.answer(rows)

    async def __call__(self, request: Request) -> Any:
        """Answer one row, or a list of them."""
        body = await request.json()
        return self.answer(body) if isinstance(body, list) else await self.rows(body)


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    serve.run(Bench.bind(), route_prefix="/predict")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
