"""Runs in an environment of MLServer, whose messages clash with Triton's in one process: asks a service, prints JSON.

python mlserver_client.py <host:port> <host:port of gRPC> <model> <rows as JSON>
"""

import json
import sys
import urllib.request
from typing import Any

import grpc
import pandas as pd
from mlserver.codecs import PandasCodec
from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest, InferenceResponse


def by_http(address: str, model: str, request: InferenceRequest) -> InferenceResponse:
    """The answer over HTTP."""
    body = request.model_dump_json(exclude_none=True).encode()
    url, headers = f"http://{address}/v2/models/{model}/infer", {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        return InferenceResponse.model_validate_json(response.read())


def by_grpc(address: str, model: str, request: InferenceRequest) -> InferenceResponse:
    """The answer over gRPC, in typed lists."""
    with grpc.insecure_channel(address) as channel:
        message = ModelInferRequestConverter.from_types(request, model_name=model)
        return ModelInferResponseConverter.to_types(GRPCInferenceServiceStub(channel).ModelInfer(message))


def outputs(answer: InferenceResponse) -> dict[str, Any]:
    """Labels and rows of probabilities, from flat data."""
    found = {output.name: output for output in answer.outputs}
    count = found["predict"].shape[0]
    labels = [label.decode() if isinstance(label, bytes) else label for label in found["predict"].data]
    flat = list(found["probabilities"].data)
    width = len(flat) // count
    return {"labels": labels, "probabilities": [flat[row * width : (row + 1) * width] for row in range(count)]}


def main() -> None:
    """Print what every client got."""
    address, grpc_address, model, rows = sys.argv[1:]
    frame = pd.DataFrame(json.loads(rows))
    request = PandasCodec.encode_request(frame, use_bytes=False)
    decoded = PandasCodec.decode_response(by_http(address, model, request))
    pandas = {"labels": decoded["predict"].tolist(), "probabilities": decoded["probabilities"].tolist()}
    over_grpc = outputs(by_grpc(grpc_address, model, PandasCodec.encode_request(frame)))
    print(json.dumps({"mlserver, pandas": pandas, "mlserver, gRPC": over_grpc}))


if __name__ == "__main__":
    main()
