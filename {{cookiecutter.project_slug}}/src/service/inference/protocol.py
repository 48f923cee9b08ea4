"""The Open Inference Protocol (v2), whatever carries it: metadata from `features.yaml`, and inference on tensors.

Every feature is an input of its own, named after it; an optional one may be left out, or have null in `data`. The
pandas content type of MLServer's clients is exactly that. All rows have to be valid: the protocol has no word for some.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from service.features.spec import VectorFeature
from service.inference.answers import Answers, Record
from service.inference.core import Core, nobody_hangs_up
from service.inference.problems import Problem
from service.inference.served_model import ServedModel
from service.inference.serving import provenance_of
from service.inference.tensors import BINARY_SIZE, Tensor, datatype_of, encode_values, malformed, tensor_values

SMALL_BODY = 2**16
"""Bodies of more bytes are read beside the event loop."""
PLATFORM = "cookiecutter-ml-microservice"


class RequestedOutput(BaseModel):
    """An output that the caller wants."""

    model_config = ConfigDict(defer_build=True)

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(BaseModel):
    """The JSON document of a request."""

    model_config = ConfigDict(strict=True, defer_build=True)

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[Tensor]
    outputs: list[RequestedOutput] | None = None


@dataclass(frozen=True)
class InferenceAnswer:
    """The body of an answer, and the length of the JSON document that it starts with, if bytes follow."""

    body: bytes
    header_length: int | None


def server_metadata(name: str, version: str) -> Record:
    """What `GET /v2` answers."""
    return {"name": name, "version": version, "extensions": ["binary_tensor_data", "model_versions"]}


def model_metadata(served: ServedModel, name: str) -> Record:
    """What `GET /v2/models/{name}` answers: the inputs and outputs, and their types."""
    inputs = [
        {
            "name": feature.name,
            "datatype": datatype_of(feature),
            "shape": [-1, feature.length] if isinstance(feature, VectorFeature) else [-1],
            "parameters": {"optional": not feature.required, "type": feature.type},
        }
        for feature in served.schema.spec.features
    ]
    outputs = [{"name": key, "datatype": kind, "shape": shape} for key, kind, shape in _outputs(served)]
    return {
        "name": name,
        "versions": [served.manifest.version],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": outputs,
    }


async def infer(
    core: Core, name: str, body: bytes, header_length: int | None, is_gone: Callable[[], bool] = nobody_hangs_up
) -> InferenceAnswer:
    """Answer an inference request.

    Args:
        core: answers the rows.
        name: of the model.
        body: a JSON document, which binary tensors may follow.
        header_length: length of the JSON document, if so.
        is_gone: whether the caller has hung up.

    Raises:
        Problem: the request is not of the protocol's form, or a row breaks a rule.
    """
    request = InferenceRequest(inputs=[])

    def read(served: ServedModel) -> list[Record]:
        nonlocal request
        request, records = _read(served, body, header_length)
        return records

    try:
        served, answers = await core.predict_records(read, is_gone, is_small=len(body) < SMALL_BODY)
    except Problem as refused:
        raise _of_row(refused, 0, 1) from None
    for row, problem in answers.problems.items():
        raise _of_row(problem, row, len(answers.values))
    return _written(request, served, name, answers)


def _read(served: ServedModel, body: bytes, header_length: int | None) -> tuple[InferenceRequest, list[Record]]:
    """The document of a request, and its rows as records."""
    length = len(body) if header_length is None else header_length
    if length > len(body):
        raise malformed("Inference-Header-Content-Length is more than the length of the body")
    try:
        request = InferenceRequest.model_validate_json(body[:length])
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        raise malformed(f"{'.'.join(map(str, item['loc'])) or 'the body'}: {item['msg']}") from None
    known = [key for key, _, _ in _outputs(served)]
    for output in request.outputs or ():
        if output.name not in known:
            raise malformed(f"there is no output {output.name[:100]!r}, there are {', '.join(known)}")
    columns, position = {}, length
    for tensor in request.inputs:
        if tensor.name in columns:
            raise malformed(f"the input {tensor.name[:100]!r} is there twice")
        size = (tensor.parameters or {}).get(BINARY_SIZE)
        if size is not None and not (type(size) is int and 0 <= size <= len(body) - position):
            raise malformed(f"input {tensor.name!r}: {BINARY_SIZE} is not a number of bytes that the body has")
        binary = None if size is None else body[position : position + size]
        position += size or 0
        columns[tensor.name] = tensor_values(tensor, binary, served.schema.spec.feature(tensor.name))
    if position != len(body):
        raise malformed(f"{len(body) - position} bytes follow the last input")
    return request, _records(columns)


def _records(columns: Mapping[str, Sequence[Any]]) -> list[Record]:
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) != 1:
        raise malformed("all inputs must have the same number of rows" if counts else "there are no inputs")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _of_row(problem: Problem, row: int, count: int) -> Problem:
    """The problem of a row as the problem of the request."""
    status = 400 if problem.kind == "invalid-features" else problem.status
    detail = problem.detail if count == 1 else f"row {row}: {problem.detail}"
    return Problem(status, problem.kind, problem.title, detail, problem.errors, problem.headers)


def _outputs(served: ServedModel) -> list[tuple[str, str, list[int]]]:
    """Names, datatypes and shapes of the outputs."""
    classes = served.schema.classes
    outputs: list[tuple[str, str, list[int]]] = [("predict", "BYTES" if classes else "FP64", [-1])]
    if classes:
        outputs.append(("probabilities", "FP64", [-1, len(classes)]))
    return [*outputs, ("prediction_id", "BYTES", [-1])]


def _written(request: InferenceRequest, served: ServedModel, name: str, answers: Answers) -> InferenceAnswer:
    values: dict[str, Any] = {"predict": answers.values, "prediction_id": answers.prediction_ids}
    if answers.probabilities is not None:
        values["probabilities"] = answers.probabilities
    is_pandas = (request.parameters or {}).get("content_type") == "pd"
    all_binary = bool((request.parameters or {}).get("binary_data_output"))
    wanted = {output.name: output.parameters or {} for output in request.outputs or ()}
    outputs, parts = [], []
    for key, datatype, shape in _outputs(served):
        if key not in values or (wanted and key not in wanted):
            continue
        counted = [len(answers.values), *shape[1:]]
        output: Record = {"name": key, "datatype": datatype, "shape": counted}
        if wanted.get(key, {}).get("binary_data", all_binary):
            parts.append(encode_values(values[key], datatype))
            output["parameters"] = {BINARY_SIZE: len(parts[-1])}
        else:
            # MLServer's codecs go by the content type; its pandas codec makes a series of rows only of nested data.
            if datatype == "BYTES":
                output["parameters"] = {"content_type": "str"}
            table = np.asarray(values[key])
            output["data"] = (table if is_pandas else table.ravel()).tolist()
        outputs.append(output)
    document: Record = {"model_name": name, "model_version": served.manifest.version}
    if request.id is not None:
        document["id"] = request.id
    parameters: Record = {key: text for key, text in provenance_of(served).items() if key != "model_version"}
    if served.schema.classes:
        parameters["classes"] = orjson.dumps(served.schema.classes).decode()
    if not answers.is_logged:
        parameters["logged"] = False
    header = orjson.dumps({**document, "parameters": parameters, "outputs": outputs})
    return InferenceAnswer(header + b"".join(parts), len(header) if parts else None)
