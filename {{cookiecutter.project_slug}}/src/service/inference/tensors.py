"""Tensors of the Open Inference Protocol: what a caller sends as JSON or bytes, one value for each row, and back."""

import struct
from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from service.features.spec import CategoryFeature, Feature, VectorFeature
from service.features.text_values import whole
from service.inference.problems import Problem

NUMPY = {
    "BOOL": "?",
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
"""Layout of binary data by datatype; BYTES has lengths of its own."""
DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES", "datetime": "BYTES", "vector": "FP64"}
BINARY_SIZE = "binary_data_size"

Parameters = dict[str, Any]


@with_config(ConfigDict(strict=True, use_attribute_docstrings=True))
class Tensor(TypedDict):
    """One input of a request; a dictionary, since a model of each costs more than all that is done with it."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=2)]
    """Rows, or rows and elements."""
    datatype: str
    parameters: NotRequired[Parameters | None]
    data: NotRequired[list[Any] | None]
    """Flat or nested; left out where it follows the JSON document as bytes."""


def datatype_of(feature: Feature) -> str:
    """The datatype of a feature's tensor."""
    if isinstance(feature, CategoryFeature):
        return "INT64" if isinstance(feature.values[0], int) else "BYTES"
    return DATATYPES[feature.type]


def tensor_values(tensor: Tensor, binary: bytes | None, feature: Feature | None) -> list[Any]:
    """The value of each row as JSON has it; None and NaN are missing.

    Args:
        tensor: with shape (rows,) or (rows, 1), and (rows, elements) for a vector.
        binary: its data, where it came as bytes.
        feature: what it holds; None if it is no feature.

    Raises:
        Problem: data and shape or datatype contradict each other.
    """
    if tensor["datatype"] != "BYTES" and tensor["datatype"] not in NUMPY:
        raise malformed(f"input {tensor['name']!r} has the datatype {tensor['datatype'][:20]!r}, which is not known")
    if binary is not None:
        data = _from_bytes(tensor, binary)
    elif (sent := tensor.get("data")) is not None:
        data = sent
    else:
        raise malformed(f"input {tensor['name']!r} has no data")
    if len(tensor["shape"]) == 1:
        rows = data
        if len(rows) != tensor["shape"][0]:
            raise _contradiction(tensor, len(rows))
    else:
        rows = _rows_of(tensor, data)
        if not isinstance(feature, VectorFeature):
            if tensor["shape"][1] != 1:
                raise malformed(f"input {tensor['name']!r} has the shape {tensor['shape']}, not [rows] or [rows, 1]")
            rows = [None if row is None else row[0] for row in rows]
    return [json_value(value, tensor["datatype"], feature) for value in rows]


def json_value(value: Any, datatype: str, feature: Feature | None) -> Any:
    """What an element of a tensor means as the JSON value of a feature; None is missing."""
    if isinstance(value, float):
        if value != value:
            return None
        # pandas keeps whole numbers with gaps as floats.
        return whole(value) if feature is None or feature.type in ("int", "category") else value
    if datatype == "BOOL" and type(value) is int and value in (0, 1):
        return bool(value)
    return value


def encode_values(values: Sequence[Any], datatype: str) -> bytes:
    """Values as the binary data of a tensor."""
    if datatype != "BYTES":
        return np.asarray(values, NUMPY[datatype]).tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def malformed(detail: str) -> Problem:
    """A request that is not of the protocol's form."""
    return Problem(400, "invalid-inference-request", "The request is not an inference request", detail)


def _rows_of(tensor: Tensor, data: list[Any]) -> list[Any]:
    """Rows of a tensor of two dimensions, whether its data is nested or flat."""
    count, length = tensor["shape"]
    if len(data) == count and data and all(row is None or isinstance(row, list) for row in data):
        different = [len(row) for row in data if row is not None and len(row) != length]
        if different:
            raise _contradiction(tensor, sum(0 if row is None else len(row) for row in data))
        return data
    if len(data) != count * length:
        raise _contradiction(tensor, len(data))
    chunks = [data[start : start + length] for start in range(0, count * length, length or 1)]
    return [None if all(value is None for value in chunk) else chunk for chunk in chunks]


def _contradiction(tensor: Tensor, count: int) -> Problem:
    name, shape = tensor["name"], tensor["shape"]
    return malformed(f"input {name!r} has {count} values, its shape {shape} means {prod(shape)}")


def _from_bytes(tensor: Tensor, binary: bytes) -> list[Any]:
    if tensor["datatype"] == "BYTES":
        return _texts(tensor, binary)
    layout = np.dtype(NUMPY[tensor["datatype"]])
    if len(binary) != prod(tensor["shape"]) * layout.itemsize:
        raise _contradiction(tensor, len(binary) // layout.itemsize)
    values: list[Any] = np.frombuffer(binary, layout).tolist()
    return values


def _texts(tensor: Tensor, binary: bytes) -> list[Any]:
    """Texts, each after its length in four bytes."""
    texts: list[Any] = []
    position = 0
    while position < len(binary):
        start = position + 4
        if start > len(binary):
            raise _contradiction(tensor, len(texts))
        position = start + int.from_bytes(binary[position:start], "little")
        try:
            texts.append(binary[start:position].decode())
        except UnicodeDecodeError:
            raise malformed(f"input {tensor['name']!r} has text that is not UTF-8") from None
    if position != len(binary) or len(texts) != prod(tensor["shape"]):
        raise _contradiction(tensor, len(texts))
    return texts
