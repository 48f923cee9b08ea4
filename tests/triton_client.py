"""Runs in an environment of Triton's client: asks a service by it, and prints JSON.

python triton_client.py <host:port> <host:port of gRPC> <model> <rows as JSON>
"""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

TYPES = {"float64": "FP64", "int64": "INT64", "bool": "BOOL"}


def by_triton(client: Any, triton: Any, model: str, frame: pd.DataFrame, **data: bool) -> dict[str, Any]:
    """The outputs as tritonclient reads them, over HTTP or gRPC; by default, as bytes."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    metadata = {"as_json": True} if triton is triton_grpc else {}
    described = {item["name"]: item for item in client.get_model_metadata(model, **metadata)["inputs"]}
    inputs = []
    for name in frame:
        column = frame[name].to_numpy()
        datatype = TYPES.get(str(column.dtype), "BYTES")
        assert described[name]["datatype"] == datatype
        tensor = triton.InferInput(name, [len(column)], datatype)
        tensor.set_data_from_numpy(column if datatype != "BYTES" else column.astype(object), **data)
        inputs.append(tensor)
    names = ("predict", "probabilities")
    wanted = [triton.InferRequestedOutput(name, **data) for name in names]
    result = client.infer(model, inputs, outputs=wanted, request_id="1")
    labels = [label.decode() if isinstance(label, bytes) else str(label) for label in result.as_numpy("predict")]
    return {"labels": labels, "probabilities": result.as_numpy("probabilities").tolist()}


def refusal(client: Any, triton: Any, model: str) -> str:
    """What tritonclient says of an input that is no feature."""
    tensor = triton.InferInput("nothing", [1], "FP64")
    tensor.set_data_from_numpy(np.zeros(1))
    try:
        client.infer(model, [tensor])
    except InferenceServerException as error:
        return str(error)
    return ""


def main() -> None:
    """Print what every client got."""
    address, grpc_address, model, rows = sys.argv[1:]
    frame = pd.DataFrame(json.loads(rows))
    http = triton_http.InferenceServerClient(address), triton_http
    grpc = triton_grpc.InferenceServerClient(grpc_address), triton_grpc
    found = {
        "triton, bytes": by_triton(*http, model, frame),
        "triton, JSON": by_triton(*http, model, frame, binary_data=False),
        "triton, gRPC": by_triton(*grpc, model, frame),
        "refusals": [refusal(*http, model), refusal(*grpc, model)],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
