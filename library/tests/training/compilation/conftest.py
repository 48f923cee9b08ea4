"""A frame of every kind of column that can be compiled, and a way to compile a model that was fitted on it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_microservice.artefact.manifest import EngineCandidate
from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.settings import TrainingSettings
from ml_microservice.training.compilation.candidates import Compilation, compile_model
from ml_microservice.training.fitted_model import Fitted, fit
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.split import Split, split_frame

ROWS = 240
NUMBERS, GAPS, WORDS = ["size", "rooms", "new"], ["size", "gap"], ["colour", "town"]


def frame_of(rows: int, seed: int = 3) -> pd.DataFrame:
    """Rows at random, with targets of two classes, three classes and a number."""
    rng = random.Random(seed)
    made = [
        {
            "size": rng.gauss(50, 20),
            "gap": rng.choice([None, rng.uniform(0, 9), 4.5]),
            "rooms": rng.randint(1, 9),
            "new": rng.random() < 0.4,
            "colour": rng.choice(["red", "white", "blue", None]),
            "town": rng.choice(["Ulm", "Bonn", "Jena", "Trier", "Gera "]),
            "grade": rng.choice([1, 2, 3]),
        }
        for _ in range(rows)
    ]
    frame = pd.DataFrame(made)
    noise = np.random.default_rng(seed).normal(size=rows) * 8
    score = frame["size"] + 3 * frame["rooms"] + 9 * (frame["colour"] == "red") + 4 * frame["gap"].fillna(2) + noise
    frame["value"] = score / 10
    frame["two"] = np.where(score > score.median(), "yes", "no")
    frame["three"] = pd.cut(score, 3, labels=["low", "middle", "high"]).astype(object)
    return frame


FEATURES: list[dict[str, Any]] = [
    {"name": "size", "type": "float"},
    {"name": "gap", "type": "float", "optional": True},
    {"name": "rooms", "type": "int", "min": 0},
    {"name": "new", "type": "bool"},
    {"name": "colour", "type": "category", "values": ["red", "white", "blue", "green"], "optional": True},
    {"name": "town", "type": "string", "optional": True},
    {"name": "grade", "type": "category", "values": [1, 2, 3, 4]},
]


@dataclass(frozen=True)
class Compiled:
    """A compiled model with what it was compiled from."""

    compilation: Compilation
    fitted: Fitted
    schema: ModelSchema
    split: Split

    def candidate(self, start: str) -> EngineCandidate:
        """The candidate whose name begins so."""
        return next(one for one in self.compilation.record.candidates if one.name.startswith(start))

    @property
    def first(self) -> EngineCandidate:
        """The fully compiled candidate."""
        return self.candidate("columns -> ")


Compiling = Callable[..., Compiled]


@pytest.fixture(scope="session")
def compiling() -> Compiling:
    """Fit a preprocessor and a model on the frame, and compile them."""
    return compile_with


def compile_with(preprocessor: Any, model: Any, target: str = "two") -> Compiled:
    """Fit a preprocessor and a model on the frame, and compile them."""
    fitted, split, schema = fit_with(preprocessor, model, target)
    return Compiled(compile_model(fitted, split, schema, 1e-9), fitted, schema, split)


def fit_with(preprocessor: Any, model: Any, target: str = "two") -> tuple[Fitted, Split, ModelSchema]:
    """Fit a preprocessor and a model on the frame."""
    frame = frame_of(ROWS)
    task = "regression" if target == "value" else "classification"
    spec = FeatureSpec.model_validate({"task": task, "target": target, "features": FEATURES})
    layout = FrameLayout.of(frame, spec)
    split = split_frame(frame, spec, layout, TrainingSettings())
    hooks = Hooks(
        data_loader=lambda: None,
        preprocessor=lambda: preprocessor,
        train_model=lambda X, y: model.fit(X, y),
        get_classes=lambda fitted: [str(name) for name in fitted.classes_],
        folder=Path(),
    )
    fitted = fit(hooks, split, spec, layout, seed=1)
    return fitted, split, ModelSchema(spec, layout.as_json(), fitted.classes, fitted.label_form)


def assert_proved(compiled: Compiled, start: str = "columns -> ", *, below: float) -> None:
    """See that a candidate serves, or that it is proved but slower than another."""
    candidate = compiled.candidate(start)
    assert candidate.verdict in ("serves", "slower"), candidate.why
    assert candidate.largest_difference is not None
    assert candidate.largest_difference <= below
