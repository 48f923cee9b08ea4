"""The stages of each candidate: preprocessing and estimator, each compiled or left to the user's object."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.features.layout import FrameLayout
from ml_microservice.inference.engine.program import Program
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator
from ml_microservice.training.compilation.estimators import form_of
from ml_microservice.training.compilation.preprocessing import compile_preprocessing
from ml_microservice.training.compilation.refusal import Refusal
from ml_microservice.training.fitted_model import Fitted


@dataclass(frozen=True)
class Plan:
    """The stages of a candidate, or the reason why it cannot be built."""

    name: str
    refusal: str | None = None
    program: Program | None = None
    """The compiled preprocessing; None for the user's Preprocessor."""
    estimator: CompiledEstimator | None = None
    """The compiled estimator; None for the user's model."""


def plans(fitted: Fitted, schema: ModelSchema, layout: FrameLayout) -> list[Plan]:
    """The candidates to try, the fully compiled one first."""
    program = _attempt(lambda: compile_preprocessing(fitted.preprocessor, layout, schema.spec))
    form = _attempt(lambda: form_of(fitted.model))
    runtime, estimator = "compiled", form
    if not isinstance(form, str):
        runtime, estimator = form.runtime, _attempt(lambda: form.compile(fitted.model))
    return [
        _plan(f"columns -> {runtime}", program, estimator),
        _plan(f"preprocessor.joblib -> {runtime}", None, estimator),
        _plan("columns -> model.joblib", program, None),
    ]


def _plan(name: str, program: Any, estimator: Any) -> Plan:
    """A plan of two stages, each of them compiled, or the reason why it is not, or None for the user's object."""
    reasons = [stage for stage in (program, estimator) if isinstance(stage, str)]
    return Plan(name, "; ".join(reasons)) if reasons else Plan(name, None, program, estimator)


def _attempt(compiling: Callable[[], Any]) -> Any:
    """The result of compiling, or the reason why it failed."""
    try:
        return compiling()
    except Refusal as refusal:
        return str(refusal)
    except Exception as error:
        # A library whose new version changed its internals must not stop a training run.
        return f"compiling failed: {type(error).__name__}: {error}"
