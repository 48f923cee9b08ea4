"""LitServe: a batching LitAPI behind one API server, with the queue that is recommended for high throughput.

The batch timeout is the default, which takes what has queued: waiting made single requests three times slower here.
"""

import os
from typing import Any

import litserve
from predictor import load_predictor


class Bench(litserve.LitAPI):
    """The service."""

    def setup(self, device: str) -> None:
        """Load the model, once for each worker."""
        self.answer = load_predictor()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # an annotation would make it a query parameter
        """The row as it came."""
        return request

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Rows stay a list: the predictor makes the frame."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Answer a batch of rows."""
        return self.answer(x)

    def unbatch(self, output: Any) -> Any:
        """One answer for each row."""
        return output

    def encode_response(self, output: Any) -> Any:
        """The answer as it is."""
        return output


if __name__ == "__main__":
    api = Bench(max_batch_size=64, batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60, fast_queue=True)
    port = int(os.environ["BENCH_PORT"])
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
