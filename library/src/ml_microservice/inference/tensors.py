"""Tensors of the Open Inference Protocol: from JSON or bytes to one value for each row, and back."""

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Annotated, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict

from ml_microservice.features.columns import Column
from ml_microservice.features.spec import BoolFeature, CategoryFeature, Feature, FloatFeature, IntFeature, VectorFeature
from ml_microservice.features.text_values import whole
from ml_microservice.inference.problems import Problem

NUMPY = {
    "BOOL": "?",
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
"""Layout of binary data by datatype; BYTES has lengths of its own."""
DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES", "datetime": "BYTES", "vector": "FP64"}
WHOLE = ("int", "category")
"""Types of features whose numbers are whole."""
LENGTH = struct.Struct("<I")
"""What precedes each text in binary data."""
BINARY_SIZE = "binary_data_size"

Parameters = dict[str, Any]


@with_config(ConfigDict(strict=True, use_attribute_docstrings=True))
class Tensor(TypedDict):
    """One input of a request; a dictionary, since a Pydantic model would cost more than all other work on it."""

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


def tensor_column(tensor: Tensor, binary: bytes | None, feature: Feature | None) -> Column:
    """The value of each row, as `features.typed_columns` takes them.

    Args:
        tensor: with shape (rows,) or (rows, 1), and (rows, elements) for a vector.
        binary: its data, where it came as bytes.
        feature: what it holds; None if it is no feature.

    Raises:
        Problem: data and shape or datatype contradict each other.
    """
    name, shape, datatype = tensor["name"], tensor["shape"], tensor["datatype"]
    if datatype != "BYTES" and datatype not in NUMPY:
        raise malformed(f"input {name!r} has the datatype {datatype[:20]!r}, which is not known")
    is_vector = isinstance(feature, VectorFeature)
    if len(shape) == 2 and shape[1] != 1 and not is_vector:
        raise malformed(f"input {name!r} has the shape {shape}, not [rows] or [rows, 1]")
    if binary is not None and datatype != "BYTES":
        numbers = _numbers(tensor, binary)
        return _typed(numbers, feature) if numbers.size else []
    data = tensor.get("data") if binary is None else _texts(tensor, binary)
    if data is None:
        raise malformed(f"input {name!r} has no data")
    if len(shape) == 2:
        data = _rows_of(tensor, data)
        if not is_vector:
            data = [None if row is None else row[0] for row in data]
    elif len(data) != shape[0]:
        raise _contradiction(tensor, len(data))
    return _json_values(data, datatype, feature)


def json_value(value: Any, datatype: str, feature: Feature | None) -> Any:
    """The JSON value of a feature that an element of a tensor means; None if it is missing."""
    if isinstance(value, float):
        if value != value:
            return None
        # pandas keeps whole numbers with gaps as floats.
        return whole(value) if feature is None or feature.type in WHOLE else value
    if datatype == "BOOL" and type(value) is int and value in (0, 1):
        return bool(value)
    return value


def encode_values(values: Sequence[Any], datatype: str) -> bytes:
    """Values as the binary data of a tensor."""
    if datatype != "BYTES":
        return np.asarray(values, NUMPY[datatype]).tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(chain.from_iterable(zip(map(LENGTH.pack, map(len, texts)), texts, strict=True)))


def malformed(detail: str) -> Problem:
    """A request that is not of the protocol's form."""
    return Problem(400, "invalid-inference-request", "The request is not an inference request", detail)


def malformed_by(error: ValidationError, place: str = "") -> Problem:
    """The same, of what Pydantic found first.

    Args:
        error: what it found.
        place: where in the request that is which was validated.
    """
    item = error.errors(include_url=False, include_input=False)[0]
    path = ".".join([*([place] if place else []), *map(str, item["loc"])])
    return malformed(f"{path or 'the body'}: {item['msg']}")


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
    vectors = [data[start : start + length] for start in range(0, count * length, length or 1)]
    return [None if all(value is None for value in vector) else vector for vector in vectors]


def _contradiction(tensor: Tensor, count: int) -> Problem:
    name, shape = tensor["name"], tensor["shape"]
    return malformed(f"input {name!r} has {count} values, its shape {shape} means {prod(shape)}")


def _json_values(values: list[Any], datatype: str, feature: Feature | None) -> list[Any]:
    """Apply `json_value` to the values that it may change."""
    kinds = set(map(type, values))
    may_be_whole = feature is None or feature.type in WHOLE
    if (float in kinds and may_be_whole) or (int in kinds and datatype == "BOOL"):
        return [json_value(value, datatype, feature) for value in values]
    # NaN is the only number that differs from itself.
    return [None if value != value else value for value in values] if float in kinds else values


def _numbers(tensor: Tensor, binary: bytes) -> NDArray[Any]:
    layout = np.dtype(NUMPY[tensor["datatype"]])
    if len(binary) != prod(tensor["shape"]) * layout.itemsize:
        raise _contradiction(tensor, len(binary) // layout.itemsize)
    if tensor["datatype"] == "BOOL":
        layout = np.dtype(np.uint8)
    # No shape for no numbers: what it says of them could be anything.
    values: NDArray[Any] = np.frombuffer(binary, layout).reshape(tensor["shape"] if binary else 0)
    return values != 0 if tensor["datatype"] == "BOOL" else values


def _typed(values: NDArray[Any], feature: Feature | None) -> Column:
    """Numbers as the array that is right for their feature, or else as JSON values."""
    is_number, is_whole = values.dtype.kind in "iuf", values.dtype.kind in "iu" and values.dtype != np.uint64
    if isinstance(feature, VectorFeature):
        return values.astype(np.float64) if is_number and values.ndim == 2 else values.tolist()
    flat = values.reshape(-1)
    match feature:
        case FloatFeature() if is_number:
            return flat.astype(np.float64)
        case IntFeature() if is_whole:
            return flat.astype(np.int64)
        case BoolFeature() if not is_number:
            return flat
    return _json_values(flat.tolist(), "BOOL" if not is_number else "", feature)


def _texts(tensor: Tensor, binary: bytes) -> list[Any]:
    """Texts, each after its length."""
    texts: list[str] = []
    position, end, length_at = 0, len(binary), LENGTH.unpack_from
    try:
        while position < end:
            start = position + 4
            position = start + length_at(binary, position)[0]
            texts.append(binary[start:position].decode())
    except UnicodeDecodeError:
        raise malformed(f"input {tensor['name']!r} has text that is not UTF-8") from None
    except struct.error:  # less than a length is left
        raise _contradiction(tensor, len(texts)) from None
    if position != end or len(texts) != prod(tensor["shape"]):
        raise _contradiction(tensor, len(texts))
    return texts
