"""Runs in an environment of the clients: asks a service by Triton's and by MLServer's own code, and prints JSON.

python inference_clients.py <host:port> <model> <rows as JSON>
"""

import json
import sys
import urllib.request
from typing import Any

import numpy as np
import pandas as pd
import tritonclient.http as triton
from mlserver.codecs import PandasCodec
from mlserver.types import InferenceResponse
from tritonclient.utils import InferenceServerException

TYPES = {"float64": "FP64", "int64": "INT64", "bool": "BOOL"}


def by_triton(address: str, model: str, frame: pd.DataFrame, *, binary: bool) -> dict[str, Any]:
    """The outputs as tritonclient reads them; with `binary`, as it asks by default."""
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    described = {item["name"]: item for item in client.get_model_metadata(model)["inputs"]}
    inputs = []
    for name in frame:
        column = frame[name].to_numpy()
        datatype = TYPES.get(str(column.dtype), "BYTES")
        assert described[name]["datatype"] == datatype
        tensor = triton.InferInput(name, [len(column)], datatype)
        tensor.set_data_from_numpy(column if datatype != "BYTES" else column.astype(object), binary_data=binary)
        inputs.append(tensor)
    names = ("predict", "probabilities")
    wanted = None if binary else [triton.InferRequestedOutput(name, binary_data=False) for name in names]
    result = client.infer(model, inputs, outputs=wanted, request_id="1")
    labels = [label.decode() if isinstance(label, bytes) else str(label) for label in result.as_numpy("predict")]
    return {"labels": labels, "probabilities": result.as_numpy("probabilities").tolist()}


def refusal(address: str, model: str) -> str:
    """What tritonclient says of an input that is no feature."""
    tensor = triton.InferInput("nothing", [1], "FP64")
    tensor.set_data_from_numpy(np.zeros(1))
    try:
        triton.InferenceServerClient(address).infer(model, [tensor])
    except InferenceServerException as error:
        return str(error)
    return ""


def by_mlserver(address: str, model: str, frame: pd.DataFrame) -> dict[str, Any]:
    """The outputs as MLServer's codecs read them."""
    body = PandasCodec.encode_request(frame, use_bytes=False).model_dump_json(exclude_none=True).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://{address}/v2/models/{model}/infer", body, headers)
    with urllib.request.urlopen(request) as response:
        answer = InferenceResponse.model_validate_json(response.read())
    decoded = PandasCodec.decode_response(answer)
    return {"labels": decoded["predict"].tolist(), "probabilities": decoded["probabilities"].tolist()}


def main() -> None:
    """Print what every client got."""
    address, model, rows = sys.argv[1:]
    frame = pd.DataFrame(json.loads(rows))
    found = {
        "triton, bytes": by_triton(address, model, frame, binary=True),
        "triton, JSON": by_triton(address, model, frame, binary=False),
        "mlserver, pandas": by_mlserver(address, model, frame),
        "refusal": refusal(address, model),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
