"""Compiling a model: each candidate is built, proved equal to the Python objects and timed, and the fastest one serves.

A candidate combines two stages, preprocessing and estimator, each compiled or left to the user's object. The fully
compiled candidate is always proved. A candidate with one compiled stage is proved only if it would be the fastest.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.artefact.manifest import PYTHON_ENGINE, EngineCandidate, EngineRecord
from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.errors import ServiceError
from ml_microservice.features.columns import Columns
from ml_microservice.features.layout import FrameLayout
from ml_microservice.inference.engine.compiled import (
    ARRAYS_FILE,
    CODEC,
    ENGINE_FILE,
    CompiledPredictor,
    Engine,
    dense,
    python_estimation,
)
from ml_microservice.inference.outputs import class_indices
from ml_microservice.inference.predictor import Prediction, Predictor, PythonPredictor, predict_each
from ml_microservice.training.compilation.plans import Plan, plans
from ml_microservice.training.compilation.probes import (
    Probe,
    column_probes,
    first_rows,
    matrix_probe,
    threshold_probe,
)
from ml_microservice.training.compilation.proof import Proof, Unproved
from ml_microservice.training.compilation.speed import microseconds
from ml_microservice.training.fitted_model import Fitted
from ml_microservice.training.split import Split


@dataclass(frozen=True)
class Compilation:
    """The result of compiling a model."""

    record: EngineRecord
    files: Mapping[str, bytes]
    """The engine's files for the artefact; none if the Python objects serve."""
    predictor: Predictor
    """The predictor that will serve."""


@dataclass(frozen=True)
class _Tried:
    """A candidate with its verdict, speed and proof."""

    entry: EngineCandidate
    files: Mapping[str, bytes] = field(default_factory=dict)
    predictor: Predictor | None = None
    """None unless the candidate was proved."""

    @property
    def score(self) -> float:
        """The smaller the faster: the product of the times for one row and for a batch."""
        return float((self.entry.microseconds_1_row or np.inf) * (self.entry.microseconds_64_rows or np.inf))


@dataclass(frozen=True)
class _Subject:
    """The model to compile, and its own predictions for the probes."""

    fitted: Fitted
    schema: ModelSchema
    probes: Sequence[Probe]
    answers: Sequence[list[Prediction | Exception]]

    @property
    def python(self) -> PythonPredictor:
        """The predictor that calls the user's objects."""
        return self.fitted.predictor

    @property
    def typical(self) -> Columns:
        """Training rows."""
        return self.probes[0].columns


def compile_model(fitted: Fitted, split: Split, schema: ModelSchema, tolerance: float) -> Compilation:
    """Compile what can be compiled, prove it, and choose the fastest.

    Args:
        fitted: the Python objects.
        split: the training rows and the held-out rows.
        schema: the model's schema.
        tolerance: the largest difference that passes, of a probability or of a number relative to its size.
    """
    layout = FrameLayout.from_json(schema.layout)
    with warnings.catch_warnings():
        # The probes cause overflows and unknown categories on purpose.
        warnings.simplefilter("ignore")
        probes = column_probes(split.train, split.test, schema.spec, layout)
        answers = [predict_each(fitted.predictor, probe.columns) for probe in probes]
        subject = _Subject(fitted, schema, probes, answers)
        tried = [_python(subject)]
        for plan in plans(fitted, schema, layout):
            tried.append(_try(plan, subject, tolerance, min(one.score for one in tried)))
    return _chosen(tried, tolerance)


def uncompiled_record(why: str) -> EngineRecord:
    """The record of a model that was not compiled."""
    return EngineRecord(
        serves=PYTHON_ENGINE, candidates=(EngineCandidate(name=PYTHON_ENGINE, verdict="serves", why=why),)
    )


def _try(plan: Plan, subject: _Subject, tolerance: float, score_to_beat: float) -> _Tried:
    """Build, time and prove a candidate; a partly compiled one that is too slow to serve is not proved."""
    if plan.refusal is not None:
        return _Tried(EngineCandidate(name=plan.name, verdict="refused", why=plan.refusal))
    proof = Proof(tolerance)
    try:
        order = _class_order(subject.fitted, subject.schema, is_compiled=plan.estimator is not None)
        engine = Engine(plan.program, plan.estimator.estimator if plan.estimator else None, order)
        text, arrays = CODEC.dump(engine)
        files = {ENGINE_FILE: text, ARRAYS_FILE: arrays, **(plan.estimator.files if plan.estimator else {})}
        # The proof is about the engine as it is read back from its files.
        predictor = CompiledPredictor.load(files, subject.schema, lambda: subject.python)
        entry = _timed(EngineCandidate(name=plan.name, verdict="slower", why=""), predictor, subject)
        is_whole = plan.program is not None and plan.estimator is not None
        if not is_whole and _Tried(entry).score >= score_to_beat:
            return _Tried(entry.model_copy(update={"why": "slower than a candidate that was proved; not compared"}))
        _prove(proof, plan, subject, predictor)
    except Unproved as error:
        entry = EngineCandidate(name=plan.name, verdict="unproved", why=str(error), rows=proof.rows)
        return _Tried(entry.model_copy(update={"largest_difference": _finite(proof.difference)}))
    except ImportError as error:
        return _Tried(EngineCandidate(name=plan.name, verdict="refused", why=f"{error.name} is not installed"))
    except (ServiceError, ValueError, RuntimeError) as error:
        return _Tried(EngineCandidate(name=plan.name, verdict="unproved", why=f"{type(error).__name__}: {error}"))
    entry = entry.model_copy(update={"largest_difference": proof.difference, "rows": proof.rows})
    return _Tried(entry, files, predictor)


def _prove(proof: Proof, plan: Plan, subject: _Subject, predictor: CompiledPredictor) -> None:
    """Compare a candidate with the Python objects on all probes.

    Raises:
        Unproved: they differ.
    """
    python = subject.python
    if plan.program is not None:
        if plan.estimator is None and hasattr(python.transform(first_rows(subject.typical, 1)), "iloc"):
            raise Unproved("the model takes a frame, which no compiled preprocessing makes")
        for probe, answers in zip(subject.probes, subject.answers, strict=True):
            proof.same_matrix(probe, answers, python.transform, predictor.transform)
    for probe, answers in zip(subject.probes, subject.answers, strict=True):
        proof.same_answers(probe, answers, predictor)
        proof.same_in_batches(probe, answers, predictor)
    if plan.estimator is None or not plan.estimator.thresholds:
        return
    matrix = dense(python.transform(first_rows(subject.typical, 1000)))
    rows = matrix_probe(matrix, plan.estimator.thresholds)
    proof.same_estimates(
        rows, python_estimation(python), lambda part: predictor.in_schema_order(predictor.estimate(part))
    )
    if plan.program is not None:
        probe_or_none = threshold_probe(subject.typical, plan.program, plan.estimator.thresholds)
        if probe_or_none is not None:
            reference = predict_each(python, probe_or_none.columns)
            proof.same_answers(probe_or_none, reference, predictor)


def _python(subject: _Subject) -> _Tried:
    rows = sum(map(len, subject.answers))
    entry = EngineCandidate(name=PYTHON_ENGINE, verdict="slower", why="", largest_difference=0.0, rows=rows)
    return _Tried(_timed(entry, subject.python, subject), {}, subject.python)


def _timed(entry: EngineCandidate, predictor: Predictor, subject: _Subject) -> EngineCandidate:
    speeds = {
        "microseconds_1_row": microseconds(predictor, first_rows(subject.typical, 1)),
        "microseconds_64_rows": microseconds(predictor, first_rows(subject.typical, 64)),
    }
    return entry.model_copy(update=speeds)


def _chosen(tried: Sequence[_Tried], tolerance: float) -> Compilation:
    """The fastest proved candidate; the first of `tried` is the Python objects."""
    best = min((one for one in tried if one.predictor is not None), key=lambda one: one.score)
    assert best.predictor is not None
    entries = []
    for one in (*tried[1:], tried[0]):
        update: dict[str, Any] = {}
        if one is best:
            update = {"verdict": "serves", "why": "the fastest candidate that was proved equal"}
        elif one.predictor is not None:
            words = "the reference of the comparison" if one is tried[0] else "proved equal"
            update = {"why": f"{words}, but slower"}
        entries.append(one.entry.model_copy(update=update))
    record = EngineRecord(
        serves=best.entry.name, tolerance=tolerance, candidates=tuple(entries), files=tuple(best.files)
    )
    return Compilation(record, best.files, best.predictor)


def _class_order(fitted: Fitted, schema: ModelSchema, *, is_compiled: bool) -> NDArray[np.intp] | None:
    """Position in the schema's classes of each class of the estimator; None for regression.

    The user's model answers in the schema's order already.
    """
    if not schema.classes:
        return None
    if not is_compiled:
        return np.arange(len(schema.classes), dtype=np.intp)
    labels = np.asarray(fitted.model.classes_)
    return class_indices(labels, fitted.model, schema.classes, schema.label_form)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
