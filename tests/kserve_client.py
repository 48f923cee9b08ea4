"""Runs in an environment of KServe's client, which pins other versions than MLServer: asks a service, and prints JSON.

python kserve_client.py <host:port> <host:port of gRPC> <model> <rows as JSON>
"""

import asyncio
import json
import sys
from typing import Any

import pandas as pd
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig

TYPES = {"float64": "FP64", "int64": "INT64", "bool": "BOOL"}


def request_of(model: str, frame: pd.DataFrame, *, binary: bool) -> InferRequest:
    """The rows as KServe's client sends them."""
    inputs = []
    for name in frame:
        column = frame[name].to_numpy()
        datatype = TYPES.get(str(column.dtype), "BYTES")
        tensor = InferInput(name, [len(column)], datatype)
        tensor.set_data_from_numpy(column if datatype != "BYTES" else column.astype(object), binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model_name=model, infer_inputs=inputs, request_id="1")


def read(answer: InferResponse) -> dict[str, Any]:
    """The outputs as KServe's client reads them."""
    outputs = {output.name: output.as_numpy() for output in answer.outputs}
    labels = [label.decode() if isinstance(label, bytes) else str(label) for label in outputs["predict"]]
    return {"labels": labels, "probabilities": outputs["probabilities"].tolist()}


async def ask(address: str, grpc_address: str, model: str, frame: pd.DataFrame) -> dict[str, Any]:
    """What every client got."""
    base = f"http://{address}"
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await rest.is_server_live(base)
    assert await rest.is_server_ready(base)
    assert await rest.is_model_ready(base, model)
    found = {}
    for name, binary in (("JSON", False), ("bytes", True)):
        found[f"kserve, {name}"] = read(await rest.infer(base, request_of(model, frame, binary=binary), model))
    grpc = InferenceGRPCClient(grpc_address)
    assert await grpc.is_server_live()
    assert await grpc.is_model_ready(model)
    found["kserve, gRPC"] = read(await grpc.infer(request_of(model, frame, binary=True)))
    await grpc.close()
    await rest.close()
    return found


def main() -> None:
    """Print what every client got."""
    address, grpc_address, model, rows = sys.argv[1:]
    print(json.dumps(asyncio.run(ask(address, grpc_address, model, pd.DataFrame(json.loads(rows))))))


if __name__ == "__main__":
    main()
