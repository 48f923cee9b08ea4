"""The chain of candidates: each compiled where it can be, proved equal, and timed; the fastest proved one serves.

An estimator may have several compiled forms. Each with compiled preprocessing is proved, whichever is faster; what
runs one of the user's objects beside a compiled stage is compared only where it could serve.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

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
    PythonStages,
    dense,
)
from ml_microservice.inference.engine.program import Program
from ml_microservice.inference.predictor import Answer, Predictor, PythonPredictor, predict_each
from ml_microservice.training.compilation.estimators import CompiledEstimator, class_order, forms
from ml_microservice.training.compilation.preprocessing import compile_preprocessing
from ml_microservice.training.compilation.probes import Probe, column_probes, matrix_probe, threshold_probe
from ml_microservice.training.compilation.proof import Proof, Unproved
from ml_microservice.training.compilation.refusal import Refusal
from ml_microservice.training.fitted_model import Fitted
from ml_microservice.training.split import Split

CALLS, SECONDS = 20, 0.1
"""Calls that a speed is the best of, and the time after which no more are made."""


@dataclass(frozen=True)
class Compilation:
    """What came of compiling a model."""

    record: EngineRecord
    files: Mapping[str, bytes]
    """Files of the engine for the artefact; none where the Python objects serve."""
    predictor: Predictor
    """What will serve."""


@dataclass(frozen=True)
class _Plan:
    """A combination of stages, or why there is none."""

    name: str
    refusal: str | None = None
    program: Program | None = None
    estimator: CompiledEstimator | None = None


@dataclass(frozen=True)
class _Tried:
    """A candidate that was built, and how it did."""

    entry: EngineCandidate
    files: Mapping[str, bytes] = field(default_factory=dict)
    predictor: Predictor | None = None

    @property
    def score(self) -> float:
        """Small is fast, for lone rows and for batches alike."""
        return float((self.entry.microseconds_1_row or np.inf) * (self.entry.microseconds_64_rows or np.inf))


@dataclass(frozen=True)
class _Subject:
    """The model to compile, and its own answers to the probes."""

    fitted: Fitted
    schema: ModelSchema
    stages: PythonStages
    probes: Sequence[Probe]
    answers: Sequence[list[Answer | Exception]]

    @property
    def typical(self) -> Columns:
        """Rows to measure speed on."""
        return self.probes[0].columns


def compile_model(fitted: Fitted, split: Split, schema: ModelSchema, tolerance: float) -> Compilation:
    """Compile what can be compiled, prove it, and choose the fastest.

    Args:
        fitted: the Python objects.
        split: the frames that they were trained and judged on.
        schema: the model's schema.
        tolerance: the largest difference of a probability, or of a number relative to its size, that passes.
    """
    layout = FrameLayout.from_json(schema.layout)
    with warnings.catch_warnings():
        # Overflows and unknown categories are probed on purpose.
        warnings.simplefilter("ignore")
        probes = column_probes(split.train, split.test, schema.spec, layout)
        answers = [predict_each(fitted.predictor, probe.columns) for probe in probes]
        stages = PythonStages(fitted.preprocessor, fitted.model, schema)
        subject = _Subject(fitted, schema, stages, probes, answers)
        tried = [_python(subject)]
        for plan in _plans(fitted, schema, layout):
            tried.append(_try(plan, subject, tolerance, min(one.score for one in tried)))
    return _chosen(tried, tolerance)


def uncompiled_record(why: str) -> EngineRecord:
    """The record where nothing was compiled."""
    return EngineRecord(
        serves=PYTHON_ENGINE, candidates=(EngineCandidate(name=PYTHON_ENGINE, verdict="serves", why=why),)
    )


def _plans(fitted: Fitted, schema: ModelSchema, layout: FrameLayout) -> list[_Plan]:
    program = _attempt(lambda: compile_preprocessing(fitted.preprocessor, layout, schema.spec))
    estimators = _compiled_forms(fitted.model)
    plans = []
    for stage, made in (("columns", program), ("preprocessor.joblib", None)):
        for name, estimator in estimators.items():
            plans.append(_plan(f"{stage} -> {name}", made, estimator))
    return [*plans, _plan("columns -> model.joblib", program, None)]


def _compiled_forms(model: Any) -> dict[str, Any]:
    """What each form of an estimator was compiled to, or why it was not."""
    compilers = _attempt(lambda: forms(model))
    if isinstance(compilers, str):
        return {"compiled": compilers}
    return {name: _attempt(partial(compiler, model)) for name, compiler in compilers.items()}


def _plan(name: str, program: Any, estimator: Any) -> _Plan:
    """A plan of stages, each of which is compiled, or the reason why it is not, or None for the user's object."""
    reasons = [stage for stage in (program, estimator) if isinstance(stage, str)]
    return _Plan(name, "; ".join(reasons)) if reasons else _Plan(name, None, program, estimator)


def _attempt(compiling: Callable[[], Any]) -> Any:
    """What was compiled, or the reason why it was not."""
    try:
        return compiling()
    except Refusal as refusal:
        return str(refusal)
    except ImportError as error:
        return f"{error.name} is not installed"
    except Exception as error:
        # A version of a library that holds its objects otherwise must not stop a training run.
        return f"compiling failed: {type(error).__name__}: {error}"


def _try(plan: _Plan, subject: _Subject, tolerance: float, score_to_beat: float) -> _Tried:
    """Build a candidate, time it, and prove it, unless it is only partly compiled and could not serve."""
    if plan.refusal is not None:
        return _Tried(EngineCandidate(name=plan.name, verdict="refused", why=plan.refusal))
    proof = Proof(tolerance)
    try:
        order = class_order(subject.fitted.model, subject.schema) if plan.estimator else _identity(subject.schema)
        engine = Engine(plan.program, plan.estimator.estimator if plan.estimator else None, order)
        text, arrays = CODEC.dump(engine)
        files = {ENGINE_FILE: text, ARRAYS_FILE: arrays, **(plan.estimator.files if plan.estimator else {})}
        # What is proved is what was stored and read again.
        predictor = CompiledPredictor.load(files, subject.schema, lambda: subject.stages)
        entry = _timed(EngineCandidate(name=plan.name, verdict="slower", why=""), predictor, subject)
        is_whole = plan.program is not None and plan.estimator is not None
        if not is_whole and _Tried(entry).score >= score_to_beat:
            return _Tried(entry.model_copy(update={"why": "slower than one that was proved before; not compared"}))
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


def _prove(proof: Proof, plan: _Plan, subject: _Subject, predictor: CompiledPredictor) -> None:
    if plan.program is not None:
        if plan.estimator is None and hasattr(subject.stages.transform(_first(subject.typical, 1)), "iloc"):
            raise Unproved("the model takes a frame, which no compiled preprocessing makes")
        for probe, answers in zip(subject.probes, subject.answers, strict=True):
            proof.same_matrix(probe, answers, subject.stages.transform, predictor.transform)
    for probe, answers in zip(subject.probes, subject.answers, strict=True):
        proof.same_answers(probe, answers, predictor)
        proof.same_in_batches(probe, answers, predictor)
    if plan.estimator is None or not plan.estimator.thresholds:
        return
    matrix = dense(subject.stages.transform(_first(subject.typical, 1000)))
    rows = matrix_probe(matrix, plan.estimator.thresholds)
    proof.same_estimates(rows, subject.stages.answer, lambda part: predictor.in_schema_order(predictor.answer(part)))
    if plan.program is not None:
        probe_or_none = threshold_probe(subject.typical, plan.program, plan.estimator.thresholds)
        if probe_or_none is not None:
            reference = predict_each(subject.fitted.predictor, probe_or_none.columns)
            proof.same_answers(probe_or_none, reference, predictor)


def _python(subject: _Subject) -> _Tried:
    predictor: PythonPredictor = subject.fitted.predictor
    rows = sum(map(len, subject.answers))
    entry = EngineCandidate(name=PYTHON_ENGINE, verdict="slower", why="", largest_difference=0.0, rows=rows)
    return _Tried(_timed(entry, predictor, subject), {}, predictor)


def _timed(entry: EngineCandidate, predictor: Predictor, subject: _Subject) -> EngineCandidate:
    speeds = {
        "microseconds_1_row": _microseconds(predictor, subject.typical, 1),
        "microseconds_64_rows": _microseconds(predictor, subject.typical, 64),
    }
    return entry.model_copy(update=speeds)


def _chosen(tried: Sequence[_Tried], tolerance: float) -> Compilation:
    best = min((one for one in tried if one.predictor is not None), key=lambda one: one.score)
    assert best.predictor is not None
    entries = []
    for one in (*tried[1:], tried[0]):
        update: dict[str, Any] = {}
        if one is best:
            update = {"verdict": "serves", "why": "the fastest that was proved equal"}
        elif one.predictor is not None:
            words = "what the others are compared with" if one is tried[0] else "proved equal"
            update = {"why": f"{words}, but slower"}
        entries.append(one.entry.model_copy(update=update))
    record = EngineRecord(
        serves=best.entry.name, tolerance=tolerance, candidates=tuple(entries), files=tuple(best.files)
    )
    return Compilation(record, best.files, best.predictor)


def _microseconds(predictor: Predictor, columns: Columns, rows: int) -> float:
    """Best time of a call, in this process and on this machine."""
    part = _first(columns, rows)
    times: list[float] = []
    while len(times) < CALLS and sum(times) < SECONDS:
        start = time.perf_counter()
        predictor.predict(part)
        times.append(time.perf_counter() - start)
    return round(min(times) * 1e6, 1)


def _first(columns: Columns, rows: int) -> dict[str, Any]:
    """So many rows; the first ones again where there are fewer."""
    count = len(next(iter(columns.values())))
    return {name: [values[at % count] for at in range(rows)] for name, values in columns.items()}


def _identity(schema: ModelSchema) -> Any:
    return np.arange(len(schema.classes), dtype=np.intp) if schema.classes else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
