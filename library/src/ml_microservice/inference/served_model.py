"""A model version, ready to answer: validated, replayed and warmed up before anything is swapped in."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from pydantic import BaseModel, ValidationError

from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.reader import Artefact, GoldenRow, read_artefact
from ml_microservice.artefact.schema import ModelSchema, dump_json
from ml_microservice.artefact.store import version_folder
from ml_microservice.errors import ArtefactError, Fault
from ml_microservice.extras import how_to_install
from ml_microservice.features.columns import Columns
from ml_microservice.features.feedback import build_feedback_model
from ml_microservice.features.fields import ENTITY_ID, feature_fields
from ml_microservice.features.request import build_request_model
from ml_microservice.inference.engine.compiled import CompiledPredictor
from ml_microservice.inference.predictor import Predictor, PythonPredictor
from ml_microservice.inference.problems import Problem, invalid_request
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)

EXTRAS = {"onnxruntime": "onnx"}
"""The extra that installs a library which compiled engines need."""


FAST_SECONDS = 0.001
"""Calls that take less run on the event loop, where a hand-over to a thread would cost more than it frees."""


@dataclass(frozen=True, slots=True)
class Row:
    """One validated row of a request."""

    values: dict[str, Any]
    """The value of each field of the request model; see `features.fields`."""
    entity_id: str | int | None


class ServedModel:
    """One model version with all that is needed to answer; immutable once it is loaded."""

    is_fast = False
    """Whether a call is so short that it may run on the event loop; measured when the model is loaded."""

    def __init__(self, manifest: Manifest, schema: ModelSchema, predictor: Predictor, id_name: str | None) -> None:
        self.manifest = manifest
        self.schema = schema
        self.predictor = predictor
        self.id_name = id_name
        self.request_model: type[BaseModel] = build_request_model(schema.spec, id_name)
        self._validator = self.request_model.__pydantic_validator__
        self.fields = feature_fields(schema.spec)

    @cached_property
    def feedback_model(self) -> type[BaseModel]:
        """The model of feedback to its predictions."""
        return build_feedback_model(self.schema.spec, self.schema.classes)

    def row(self, body: bytes) -> Row:
        """Validate a JSON object.

        Raises:
            Problem: it breaks a rule of `features.yaml`.
        """
        try:
            values = dict(self._validator.validate_json(body).__dict__)
        except ValidationError as error:
            raise invalid_request(error, self.schema.spec, self.id_name) from None
        return Row(values, values.pop(ENTITY_ID, None))

    def row_or_problem(self, body: bytes) -> Row | Problem:
        """Validate a JSON object; return the problem instead of raising it."""
        try:
            return self.row(body)
        except Problem as problem:
            # The traceback would keep alive all rows that its callers work on.
            problem.__context__ = None
            return problem.with_traceback(None)

    def provenance(self) -> dict[str, str]:
        """The keys of an answer that name the model."""
        return {
            "model_version": self.manifest.version,
            "model_id": self.manifest.id,
            "model_created_at": self.manifest.created_at.isoformat(),
        }

    def columns(self, rows: Sequence[Row]) -> Columns:
        """The values of rows, by feature."""
        return {name: [row.values[field] for row in rows] for field, name in self.fields.items()}


@dataclass(frozen=True)
class ReadModel:
    """A model version that was verified and read but never called: libraries that make threads have made none yet, so
    that a process may fork and its children share the model's memory."""

    served: ServedModel
    golden: Sequence[GoldenRow]

    def proved(self) -> ServedModel:
        """The model, replayed, warmed up and timed.

        Raises:
            ArtefactError: its answers differ from those that it gave when trained.
        """
        replay(self.served, self.golden)
        self.served.is_fast = _median_seconds(self.served, self.golden) < FAST_SECONDS
        logger.info("loaded model %s: %d golden rows replayed", self.served.manifest.version, len(self.golden))
        return self.served


def load_served_model(folder: Path, project: str, id_name: str | None) -> ServedModel:
    """Read, verify, replay and warm up a model version.

    Raises:
        ArtefactError: the version is damaged, foreign, or no longer gives the answers that it gave when trained.
    """
    return read_model(folder, project, id_name).proved()


def read_configured_model(settings: Settings) -> ReadModel:
    """Read and verify the model version that `config.yaml` serves, without calling it.

    Raises:
        ArtefactError: there is none, or it is damaged or foreign.
    """
    return read_model(version_folder(settings), settings.name, settings.id_name)


def read_model(folder: Path, project: str, id_name: str | None) -> ReadModel:
    """Read and verify a model version, without calling it.

    Raises:
        ArtefactError: the version is damaged or foreign.
    """
    artefact = read_artefact(folder, project)
    if id_name is not None and id_name in artefact.schema.spec.names:
        message, advice = f"id_name {id_name!r} is a feature of the model {folder.name}", "set another id_name"
        raise ArtefactError(Fault(message, file="config.yaml", advice=advice))
    served = ServedModel(artefact.manifest, artefact.schema, _predictor(artefact), id_name)
    return ReadModel(served, artefact.golden)


def replay(served: ServedModel, golden: Sequence[GoldenRow]) -> None:
    """Answer the golden rows again, which also warms the model up.

    Raises:
        ArtefactError: an answer is not the one that was given in training.
    """
    version = served.manifest.version
    advice = "train again with the libraries that are installed now, or install those that the manifest lists"
    try:
        rows = [served.row(dump_json(row.request)) for row in golden]
        predictions = served.predictor.predict(served.columns(rows))
    except Exception as error:
        message = f"the golden rows cannot be answered: {type(error).__name__}: {error}"
        raise ArtefactError(Fault(message, file=version, advice=advice)) from error
    probabilities = None if predictions.probabilities is None else predictions.probabilities.tolist()
    differing = [
        index
        for index, row in enumerate(golden)
        if not row.agrees(predictions.values[index], None if probabilities is None else probabilities[index])
    ]
    if differing:
        message = f"{len(differing)} of {len(golden)} golden rows are answered otherwise than in training"
        raise ArtefactError(Fault(message, file=version, advice=advice))


def _median_seconds(served: ServedModel, golden: Sequence[GoldenRow], calls: int = 9) -> float:
    columns = served.columns([served.row(dump_json(row.request)) for row in golden[:8]])
    seconds = []
    for _ in range(calls):
        start = perf_counter()
        served.predictor.predict(columns)
        seconds.append(perf_counter() - start)
    return median(seconds)


def _predictor(artefact: Artefact) -> Predictor:
    """The compiled engine where training proved one equal, else the Python objects."""
    engine = artefact.manifest.engine
    if engine.is_compiled:
        try:
            return CompiledPredictor.load(artefact.files, artefact.schema, lambda: _python_predictor(artefact))
        except ImportError as error:
            words = "the compiled engine (%s) needs %r, which is not installed: serving the slower Python objects; %s"
            advice = how_to_install(EXTRAS[error.name]) if error.name in EXTRAS else f"install {error.name!r}"
            logger.warning(words, engine.serves, error.name, advice)
    return _python_predictor(artefact)


def _python_predictor(artefact: Artefact) -> PythonPredictor:
    _use_one_thread(artefact)
    return PythonPredictor.of(artefact)


def _use_one_thread(artefact: Artefact) -> None:
    """Undo `n_jobs=-1`: starting threads for a single row costs more than the row (4 times, measured on a forest)."""
    for fitted in (artefact.preprocessor, artefact.model):
        if hasattr(fitted, "get_params") and hasattr(fitted, "set_params"):
            jobs = [name for name in fitted.get_params(deep=True) if name.split("__")[-1] == "n_jobs"]
            fitted.set_params(**dict.fromkeys(jobs, 1))
        elif hasattr(fitted, "n_jobs"):
            fitted.n_jobs = 1
