"""Inference requests and answers as messages: tensors in typed lists, or as bytes where the caller sent bytes."""

from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ml_microservice.api.grpc.messages import CLASSES
from ml_microservice.inference.protocol import InferenceResult, Output, ParsedRequest
from ml_microservice.inference.tensors import Tensor, encode_values, malformed, malformed_by

CONTENTS = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    "INT64": "int64_contents",
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The list of a tensor's values by its datatype."""
_TENSORS: TypeAdapter[list[Tensor]] = TypeAdapter(list[Tensor])


def read_request(request: Any) -> ParsedRequest:
    """An inference request from its message.

    Raises:
        Problem: it is not of the protocol's form.
    """
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise malformed(f"there are {len(request.inputs)} inputs, but raw_input_contents has {len(raw)}")
    heads = [{"name": item.name, "shape": list(item.shape), "datatype": item.datatype} for item in request.inputs]
    try:
        tensors = _TENSORS.validate_python(heads)
    except ValidationError as error:
        raise malformed_by(error, "inputs") from None
    if not raw:
        for tensor, item in zip(tensors, request.inputs, strict=True):
            tensor["data"] = _data(item)
    return ParsedRequest(tensors, raw, request.id or None, {}, {output.name: {} for output in request.outputs})


def write_answer(name: str, inferred: InferenceResult) -> Any:
    """The message of an answer."""
    answer = CLASSES["ModelInferResponse"](
        model_name=name, model_version=inferred.model_version, id=inferred.request.id or ""
    )
    for key, value in inferred.parameters.items():
        setattr(answer.parameters[key], "bool_param" if isinstance(value, bool) else "string_param", value)
    for output in inferred.outputs:
        tensor = answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if inferred.request.binaries:
            answer.raw_output_contents.append(encode_values(output.values, output.datatype))
        else:
            getattr(tensor.contents, CONTENTS[output.datatype]).extend(_elements(output))
    return answer


def _data(item: Any) -> list[Any] | None:
    field = CONTENTS.get(item.datatype)
    if field is None:
        return None
    values = list(getattr(item.contents, field))
    if item.datatype != "BYTES":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise malformed(f"input {item.name!r} has text that is not UTF-8") from None


def _elements(output: Output) -> Any:
    if output.datatype == "BYTES":
        return [str(value).encode() for value in output.values]
    return np.asarray(output.values).ravel().tolist()
