"""One row of the Open Inference Protocol with its data in JSON: the shortest way from tensors to values.

What is not plain goes the general way (`tensors.tensor_values`), which also finds the words for what is wrong. A test
with generated requests proves that what is taken here is taken there, and means the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_microservice.features.request import JsonObject
from ml_microservice.features.spec import Feature, VectorFeature
from ml_microservice.inference.tensors import BINARY_SIZE, NUMPY, Tensor, json_value

_NOT_PLAIN = object()


def plain_row(tensors: Sequence[Tensor], features: Mapping[str, Feature]) -> JsonObject | None:
    """The only row of the inputs; None if there is not exactly one, or anything unusual.

    Args:
        tensors: of a JSON document.
        features: by name.
    """
    row: JsonObject = {}
    for tensor in tensors:
        name = tensor["name"]
        value = _value(tensor, features.get(name))
        if value is _NOT_PLAIN or name in row:
            return None
        row[name] = value
    return row or None


def _value(tensor: Tensor, feature: Feature | None) -> Any:
    shape, data, datatype = tensor["shape"], tensor.get("data"), tensor["datatype"]
    if data is None or (datatype not in NUMPY and datatype != "BYTES"):
        return _NOT_PLAIN
    if BINARY_SIZE in (tensor.get("parameters") or ()):
        return _NOT_PLAIN
    if isinstance(feature, VectorFeature):
        return _vector(shape, data)
    if len(data) != 1 or not (shape == [1] or shape == [1, 1]) or type(data[0]) is list:
        return _NOT_PLAIN
    return json_value(data[0], datatype, feature)


def _vector(shape: Sequence[int], data: list[Any]) -> Any:
    """A whole vector, flat or nested."""
    row = data[0] if len(data) == 1 and type(data[0]) is list else data
    is_whole = bool(row) and shape == [1, len(row)] and all(type(value) in (float, int) for value in row)
    return row if is_whole else _NOT_PLAIN
