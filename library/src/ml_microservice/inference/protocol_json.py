"""The Open Inference Protocol in JSON, with the data of tensors in it or as bytes behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NotRequired, cast

import numpy as np
import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ml_microservice.features.request import JsonObject
from ml_microservice.inference.core import Core, nobody_hangs_up
from ml_microservice.inference.protocol import SMALL_BODY, InferenceResult, ParsedRequest, infer
from ml_microservice.inference.tensors import BINARY_SIZE, Parameters, Tensor, encode_values, malformed, malformed_by


class RequestedOutput(TypedDict):
    """An output that the caller wants."""

    name: str
    parameters: NotRequired[Parameters | None]


@with_config(ConfigDict(strict=True))
class InferenceRequest(TypedDict):
    """The JSON document of a request."""

    id: NotRequired[str | None]
    parameters: NotRequired[Parameters | None]
    inputs: list[Tensor]
    outputs: NotRequired[list[RequestedOutput] | None]


@cache
def requests() -> TypeAdapter[InferenceRequest]:
    """The validator of requests, built for the first one."""
    return TypeAdapter(InferenceRequest)


@dataclass(frozen=True)
class InferenceBody:
    """The body of an answer, and the length of its JSON document if bytes follow that."""

    body: bytes
    header_length: int | None


async def infer_json(
    core: Core,
    body: bytes,
    header_length: int | None,
    is_gone: Callable[[], bool] = nobody_hangs_up,
    started: float | None = None,
) -> InferenceBody:
    """Answer an inference request.

    Args:
        core: answers the rows.
        body: a JSON document, which binary tensors may follow.
        header_length: length of the JSON document, if so.
        is_gone: whether the caller has hung up.
        started: when the request came, by `perf_counter`; now by default.

    Raises:
        Problem: the request is not of the protocol's form, or a row breaks a rule.
    """
    read = partial(_read, body, header_length)
    inferred = await infer(core, read, is_gone, started, is_small=len(body) < SMALL_BODY)
    return _written(core.served.manifest.project, inferred)


def _read(body: bytes, header_length: int | None) -> ParsedRequest:
    length = len(body) if header_length is None else header_length
    if length > len(body):
        raise malformed("Inference-Header-Content-Length is more than the length of the body")
    try:
        request = requests().validator.validate_json(body[:length])
    except ValidationError as error:
        raise malformed_by(error) from None
    tensors, parameters = request["inputs"], request.get("parameters") or {}
    outputs = {output["name"]: output.get("parameters") or {} for output in request.get("outputs") or ()}
    return ParsedRequest(tensors, _binaries(tensors, body, length), request.get("id"), parameters, outputs)


def _binaries(tensors: list[Tensor], body: bytes, position: int) -> list[bytes | None]:
    """The data that follows the document, for each tensor; nothing if none has any."""
    sizes = [(tensor.get("parameters") or {}).get(BINARY_SIZE) for tensor in tensors]
    binaries: list[bytes | None] = []
    for tensor, size in zip(tensors, sizes, strict=True):
        if size is None:
            binaries.append(None)
        elif type(size) is int and 0 <= size <= len(body) - position:
            binaries.append(body[position : position + size])
            position += size
        else:
            raise malformed(f"input {tensor['name']!r}: {BINARY_SIZE} is not a number of bytes that the body has")
    if position != len(body):
        raise malformed(f"{len(body) - position} bytes follow the last input")
    return binaries if any(size is not None for size in sizes) else []


def _written(name: str, inferred: InferenceResult) -> InferenceBody:
    request = inferred.request
    is_pandas = request.parameters.get("content_type") == "pd"
    all_binary = bool(request.parameters.get("binary_data_output"))
    outputs, parts = [], []
    for made in inferred.outputs:
        output: JsonObject = {"name": made.name, "datatype": made.datatype, "shape": made.shape}
        if request.outputs.get(made.name, {}).get("binary_data", all_binary):
            parts.append(encode_values(made.values, made.datatype))
            output["parameters"] = {BINARY_SIZE: len(parts[-1])}
        else:
            # MLServer's codecs go by the content type; its pandas codec makes a series of rows only of nested data.
            if made.datatype == "BYTES":
                output["parameters"] = {"content_type": "str"}
            output["data"] = _listed(made.values, is_nested=is_pandas)
        outputs.append(output)
    document: JsonObject = {"model_name": name, "model_version": inferred.model_version}
    if request.id is not None:
        document["id"] = request.id
    header = orjson.dumps({**document, "parameters": inferred.parameters, "outputs": outputs})
    return InferenceBody(header + b"".join(parts), len(header) if parts else None)


def _listed(values: Any, *, is_nested: bool) -> list[Any]:
    if isinstance(values, np.ndarray):
        return cast(list[Any], (values if is_nested else values.ravel()).tolist())
    return list(values)
