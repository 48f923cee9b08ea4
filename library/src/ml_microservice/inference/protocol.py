"""The Open Inference Protocol (v2), on any transport: metadata from `features.yaml`, and inference on tensors.

Every feature is an input of its own, named after it; an optional one may be left out, or have null in `data`. The
pandas content type of MLServer's clients is exactly that. All rows have to be valid: the protocol has no word for some.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ml_microservice.features.columns import Column, json_list
from ml_microservice.features.request import JsonObject
from ml_microservice.features.spec import Feature, VectorFeature
from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.core import Core, nobody_hangs_up
from ml_microservice.inference.plain_row import plain_row
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import Row, ServedModel
from ml_microservice.inference.tensors import Tensor, datatype_of, malformed, tensor_column

SMALL_BODY = 2**16
"""Bodies of more bytes are read beside the event loop."""
PLATFORM = "cookiecutter-ml-microservice"


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """An inference request."""

    tensors: Sequence[Tensor]
    binaries: Sequence[bytes | None]
    """Data of the tensors that came as bytes; empty if none did."""
    id: str | None
    parameters: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    """Parameters of the outputs that are wanted, by name; empty for all outputs."""


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of an answer."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Any
    """A value for each row: a list, or an array of `shape`."""


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The answer to an inference request."""

    request: ParsedRequest
    model_version: str
    parameters: Mapping[str, str | bool]
    """Which model answered, its classes as a JSON list, and `logged` if the predictions are not recorded."""
    outputs: Sequence[Output]


def server_metadata(name: str, version: str) -> JsonObject:
    """The answer to `GET /v2`."""
    return {"name": name, "version": version, "extensions": ["binary_tensor_data", "model_versions"]}


def model_metadata(served: ServedModel) -> JsonObject:
    """The answer to `GET /v2/models/{name}`: the inputs and outputs with their types."""
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
        "name": served.manifest.project,
        "versions": [served.manifest.version],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": outputs,
    }


def check_model(served: ServedModel, name: str, version: str | None) -> None:
    """Check that the requested model is the one that is served; it has the project's name.

    Raises:
        Problem: it is another one.
    """
    manifest = served.manifest
    if name != manifest.project:
        raise Problem(404, "unknown-model", "Unknown model", f"The model here is {manifest.project}.")
    if version not in (None, "", manifest.version):
        raise Problem(404, "unknown-version", "Unknown version", f"The version here is {manifest.version}.")


async def infer(
    core: Core,
    read: Callable[[], ParsedRequest],
    is_gone: Callable[[], bool] = nobody_hangs_up,
    started: float | None = None,
    *,
    is_small: bool,
) -> InferenceResult:
    """Answer an inference request.

    Args:
        core: answers the rows.
        read: parses the request.
        is_gone: whether the caller has hung up.
        started: when the request came, by `perf_counter`; now by default.
        is_small: whether `read` is quick enough for the event loop.

    Raises:
        Problem: the request is not of the protocol's form, or a row breaks a rule.
    """
    request = ParsedRequest((), (), None, {}, {})

    def read_rows(reader: RowReader) -> Row | Rows:
        nonlocal request
        request = read()
        rows = rows_of(request, reader)
        if isinstance(rows, Rows):
            _require_none(rows.problems, len(rows))
        return rows

    try:
        served, answers = await core.answer_rows(read_rows, is_gone, started, is_small=is_small)
    except Problem as refused:
        raise _of_row(refused, 0, 1) from None
    _require_none(answers.problems, len(answers.values))
    return _answer(request, served, answers)


def rows_of(request: ParsedRequest, reader: RowReader) -> Row | Rows:
    """The rows of a request; a single one by itself, so that it can share its call with other requests.

    Raises:
        Problem: the request is not of the protocol's form, has too many rows, or its only row breaks a rule.
    """
    known = [key for key, _, _ in _outputs(reader.served)] if request.outputs else []
    for output in request.outputs:
        if output not in known:
            raise malformed(f"there is no output {output[:100]!r}, there are {', '.join(known)}")
    row = None if request.binaries else plain_row(request.tensors, reader.features)
    if row is not None:
        return reader.record(row)
    columns = columns_of(request, reader.features)
    if all(len(values) == 1 for values in columns.values()):
        return reader.record({name: json_list(values)[0] for name, values in columns.items()})
    return reader.columns(columns)


def columns_of(request: ParsedRequest, features: Mapping[str, Feature]) -> dict[str, Column]:
    """The columns of a request, all of one length.

    Raises:
        Problem: the request is not of the protocol's form.
    """
    columns: dict[str, Column] = {}
    for position, tensor in enumerate(request.tensors):
        name = tensor["name"]
        if name in columns:
            raise malformed(f"the input {name[:100]!r} is there twice")
        binary = request.binaries[position] if request.binaries else None
        columns[name] = tensor_column(tensor, binary, features.get(name))
    if len({len(values) for values in columns.values()}) != 1:
        raise malformed("all inputs must have the same number of rows" if columns else "there are no inputs")
    return columns


def _require_none(problems: Mapping[int, Problem], count: int) -> None:
    """Check that no row has a problem.

    Raises:
        Problem: the first one.
    """
    for row in sorted(problems)[:1]:
        raise _of_row(problems[row], row, count)


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


def _answer(request: ParsedRequest, served: ServedModel, answers: AnswerTable) -> InferenceResult:
    values: dict[str, Any] = {"predict": answers.values, "prediction_id": answers.prediction_ids}
    if answers.probabilities is not None:
        values["probabilities"] = answers.probabilities
    wanted, count = request.outputs, len(answers.values)
    outputs = [
        Output(name, datatype, [count, *shape[1:]], values[name])
        for name, datatype, shape in _outputs(served)
        if name in values and (not wanted or name in wanted)
    ]
    parameters: dict[str, str | bool] = {
        key: text for key, text in served.provenance().items() if key != "model_version"
    }
    if served.schema.classes:
        parameters["classes"] = orjson.dumps(served.schema.classes).decode()
    if not answers.is_logged:
        parameters["logged"] = False
    return InferenceResult(request, served.manifest.version, parameters, outputs)
