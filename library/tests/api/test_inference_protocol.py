"""The Open Inference Protocol over HTTP: metadata, tensors in JSON and in bytes, errors as the protocol has them."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import Settings, load_settings

INFER = "/v2/models/houses/infer"


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    """An input in JSON."""
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


AREA, LIFT = tensor("floor area", "FP64", [300.0, 50.0]), tensor("lift", "BOOL", [True, False])


def infer(client: TestClient, *inputs: dict[str, Any], **more: Any) -> Any:
    """The response to an inference request."""
    return client.post(INFER, json={"inputs": inputs, **more})


def outputs(response: Any) -> dict[str, Any]:
    """Outputs by name."""
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


def test_server_and_model_are_live_ready_and_described(client: TestClient, served: ServedModel) -> None:
    version = served.manifest.version
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data", "model_versions"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/houses", f"/v2/models/houses/versions/{version}"):
        assert client.get(f"{path}/ready").json() == {"name": "houses", "ready": True}
        document = client.get(path).json()
        assert (document["name"], document["versions"]) == ("houses", [version])
    assert [(i["name"], i["datatype"], i["shape"]) for i in document["inputs"]] == [
        ("floor area", "FP64", [-1]),
        ("class", "INT64", [-1]),
        ("garden[ha]", "FP64", [-1]),
        ("colour", "BYTES", [-1]),
        ("lift", "BOOL", [-1]),
        ("owner", "BYTES", [-1]),
        ("built", "BYTES", [-1]),
        ("view", "FP64", [-1, 2]),
    ]
    assert document["outputs"][:2] == [
        {"name": "predict", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
    ]


def test_rows_are_answered_as_they_are_elsewhere(client: TestClient, served: ServedModel) -> None:
    response = infer(client, AREA, LIFT, id="abc")
    found = outputs(response)
    assert found["predict"]["data"] == ["yes", "no"]
    assert found["probabilities"]["shape"] == [2, 2]
    rows = [{"floor area": 300.0, "lift": True}, {"floor area": 50.0, "lift": False}]
    other = client.post("/predict/batch", json=rows).json()["predictions"]
    expected = [probability for row in other for probability in row["probabilities"].values()]
    assert found["probabilities"]["data"] == pytest.approx(expected, abs=1e-12)
    document = response.json()
    assert (document["id"], document["model_name"]) == ("abc", "houses")
    assert document["model_version"] == served.manifest.version
    assert document["parameters"]["model_id"] == served.manifest.id


def test_a_single_row_and_a_version_are_answered_too(client: TestClient, served: ServedModel) -> None:
    body = {"inputs": [tensor("floor area", "FP64", [300]), tensor("lift", "BOOL", [1])]}
    for path in (INFER, f"/v2/models/houses/versions/{served.manifest.version}/infer"):
        found = outputs(client.post(path, json=body))
        assert found["predict"] == {**found["predict"], "shape": [1], "data": ["yes"]}
        assert sum(found["probabilities"]["data"]) == pytest.approx(1)


def test_every_type_of_feature_has_its_tensor_and_optional_ones_may_be_null_or_left_out(client: TestClient) -> None:
    more = [
        tensor("class", "INT64", [[4], [None]], [2, 1]),
        tensor("garden[ha]", "FP32", [None, 0.5]),
        tensor("colour", "BYTES", ["red", None]),
        tensor("owner", "BYTES", [None, "Ada"]),
        tensor("built", "BYTES", ["1950-02-03T00:00:00Z", None]),
        tensor("house id", "INT64", [1, 2]),
    ]
    for view in ([0.5, 1.0, None, None], [[0.5, 1.0], None]):
        found = outputs(infer(client, AREA, LIFT, *more, tensor("view", "FP64", view, [2, 2])))
        assert found["predict"]["data"] == ["yes", "no"]


def test_pandas_requests_are_answered_by_a_row_of_probabilities_for_each(client: TestClient) -> None:
    found = outputs(infer(client, AREA, LIFT, parameters={"content_type": "pd"}))
    assert [len(row) for row in found["probabilities"]["data"]] == [2, 2]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([AREA], "row 0: The request breaks 1 rule of the model's features: lift is required"),
        ([tensor("floor area", "FP64", [300, 5]), LIFT], "row 1: The request breaks 1 rule"),
        ([tensor("lift", "BOOL", [True])], "The request breaks 1 rule of the model's features: floor area is required"),
        ([AREA, LIFT, tensor("colour", "BYTES", ["red", "pink"])], "colour must be one of 'red'"),
        ([AREA, LIFT, tensor("colr", "BYTES", ["red", "pink"])], "did you mean 'colour'?"),
        ([AREA, tensor("lift", "BOOL", [True])], "the same number of rows"),
        ([AREA, AREA, LIFT], "twice"),
        ([], "no inputs"),
        ([tensor("floor area", "FP65", [1])], "datatype 'FP65'"),
        ([tensor("floor area", "FP64", [1, 2], [3])], "has 2 values, its shape [3] means 3"),
        ([tensor("floor area", "FP64", [1, 2], [1, 2])], "not [rows] or [rows, 1]"),
        ([tensor("floor area", "FP64", [1], [-1])], "inputs.0.shape.0"),
        ([tensor("floor area", "FP64", [1], [1, 1, 1])], "inputs.0.shape"),
        ([{"name": "lift", "datatype": "BOOL", "shape": [1]}], "has no data"),
        ([tensor("lift", "BOOL", [1], parameters={"binary_data_size": 9})], "bytes that the body has"),
        ([AREA, LIFT, tensor("view", "FP64", [[1], [2]], [2, 2])], "has 2 values"),
    ],
)
def test_errors_are_the_protocols_own(client: TestClient, inputs: list[dict[str, Any]], words: str) -> None:
    response = infer(client, *inputs)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert words in response.json()["error"]


def test_other_refusals_have_the_protocols_form_too(client: TestClient, settings: Settings) -> None:
    for path in ("/v2/models/other", "/v2/models/houses/versions/none/ready", "/v2/nothing"):
        response = client.get(path)
        assert (response.status_code, list(response.json())) == (404, ["error"])
    assert client.post(INFER, content=b"{").status_code == 400
    assert infer(client, AREA, LIFT, outputs=[{"name": "x"}]).status_code == 400
    environment = {"SERVICE__API__KEYS": "key", "SERVICE__API__MAX_BATCH_ROWS": "1"}
    limited = TestClient(create_app(load_settings(settings.root, environment)))
    refused = infer(limited, AREA, LIFT)
    assert (refused.status_code, list(refused.json())) == (401, ["error"])
    limited.headers["x-api-key"] = "key"
    assert infer(limited, AREA, LIFT).status_code == 413
    del limited.headers["x-api-key"]
    assert limited.get("/v2/models/houses").status_code == 401
    assert limited.get("/v2/health/ready").status_code == 200


def packed(*texts: str) -> bytes:
    """Text as binary data."""
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def binary(client: TestClient, parts: list[tuple[str, str, list[int], bytes]], **more: Any) -> Any:
    """The response to a request whose tensors follow as bytes."""
    inputs = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(data)}}
        for name, kind, shape, data in parts
    ]
    header = json.dumps({"inputs": inputs, **more}).encode()
    body = header + b"".join(data for *_, data in parts)
    return client.post(INFER, content=body, headers={"Inference-Header-Content-Length": str(len(header))})


FLAT = [
    ("floor area", "FP32", [2, 1], np.array([300, 50], np.float32).tobytes()),
    ("lift", "BOOL", [2], b"\x01\x00"),
    ("class", "UINT8", [2], b"\x04\x01"),
    ("colour", "BYTES", [2], packed("red", "white")),
    ("view", "FP64", [2, 2], np.array([[0, 1], [2, 3]], np.float64).tobytes()),
]


def test_tensors_may_be_bytes_both_ways(client: TestClient) -> None:
    found = outputs(binary(client, FLAT))
    assert found["predict"]["data"] == ["yes", "no"]
    response = binary(client, FLAT, parameters={"binary_data_output": True})
    length = int(response.headers["Inference-Header-Content-Length"])
    document, rest = json.loads(response.content[:length]), response.content[length:]
    sizes = {output["name"]: output["parameters"]["binary_data_size"] for output in document["outputs"]}
    assert rest[: sizes["predict"]] == packed("yes", "no")
    start = sizes["predict"]
    probabilities = np.frombuffer(rest[start : start + sizes["probabilities"]], "<f8")
    assert probabilities == pytest.approx(found["probabilities"]["data"], abs=1e-12)
    assert len(rest) == sum(sizes.values())
    wanted = [{"name": "predict", "parameters": {"binary_data": True}}]
    only = binary(client, FLAT, outputs=wanted)
    assert only.content.endswith(packed("yes", "no"))


@pytest.mark.parametrize(
    "part",
    [
        ("floor area", "FP32", [2], b"\x00" * 7),
        ("owner", "BYTES", [2], packed("a")),
        ("owner", "BYTES", [1], b"\x05\x00\x00\x00a"),
        ("owner", "BYTES", [1], b"\x05\x00"),
        ("owner", "BYTES", [1], b"\x01\x00\x00\x00\xff"),
    ],
)
def test_bytes_that_contradict_their_shape_are_refused(
    client: TestClient, part: tuple[str, str, list[int], bytes]
) -> None:
    assert binary(client, [part]).status_code == 400


@pytest.mark.parametrize("length", ["9999", "x", "-1", "3", "9" * 40])
def test_a_wrong_length_of_the_document_is_refused(client: TestClient, length: str) -> None:
    body = json.dumps({"inputs": [AREA, LIFT]}).encode()
    assert client.post(INFER, content=body, headers={"Inference-Header-Content-Length": length}).status_code == 400


def test_the_protocol_is_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v2/models/{name}/infer"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    assert "Tensor" in document["components"]["schemas"]
    identifiers = [item["operationId"] for path in document["paths"].values() for item in path.values()]
    assert len(set(identifiers)) == len(identifiers)
