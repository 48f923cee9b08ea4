"""Windows of records that nobody had to serve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ml_microservice.artefact.reference import Reference
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.predictor import Predictions
from ml_microservice.monitoring.drift.comparison import Window, compare
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.settings import MonitoringSettings
from ml_microservice.training.reference import make_reference

START = datetime(2026, 11, 20, tzinfo=UTC)
WINDOW = Window("shop", "20261120-000000-abcdef", START, START + timedelta(days=1))
WORDS = np.asarray([f"word{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"])
WORD_SHARES = 1 / np.arange(1, len(WORDS) + 1) / (1 / np.arange(1, len(WORDS) + 1)).sum()
SPEC = FeatureSpec.model_validate(
    {
        "task": "classification",
        "target": "sold",
        "features": [
            {"name": "price", "type": "float"},
            {"name": "income", "type": "float", "optional": True},
            {"name": "orders", "type": "int"},
            {"name": "colour", "type": "category", "values": ["red", "green", "blue", "black"]},
            {"name": "member", "type": "bool"},
            {"name": "remark", "type": "string", "optional": True},
            {"name": "joined", "type": "datetime"},
            {"name": "taste", "type": "vector", "length": 8},
            {"name": "customer", "type": "string", "pii": True},
        ],
    }
)
Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class FakeRecords:
    """What the record store gives."""

    inputs: Mapping[str, Sequence[Any]]
    predictions: Sequence[str | float]
    probabilities: Sequence[Mapping[str, float] | None]
    times: Sequence[str] = field(default_factory=list)
    count: int = 0


def customers(rows: int, rng: np.random.Generator) -> Columns:
    """Customers as they always were, as requests have them."""
    joined = [START - timedelta(days=float(days)) for days in rng.uniform(400, 2000, rows)]
    words = rng.choice(WORDS, (rows, 25), p=WORD_SHARES).tolist()
    remarks = [" ".join(some[:length]) for some, length in zip(words, rng.integers(0, 25, rows), strict=True)]
    return {
        "price": rng.normal(40, 8, rows).tolist(),
        "income": [float(income) if rng.random() > 0.1 else None for income in rng.lognormal(8, 1.5, rows)],
        "orders": rng.poisson(3, rows).tolist(),
        "colour": rng.choice(["red", "green", "blue"], rows, p=[0.6, 0.35, 0.05]).tolist(),
        "member": (rng.random(rows) < 0.3).tolist(),
        "remark": [remark if rng.random() > 0.05 else None for remark in remarks],
        "joined": [moment.isoformat() for moment in joined],
        "taste": rng.normal(0, 1, (rows, 8)).tolist(),
    }


def answers(rows: int, rng: np.random.Generator, yes: float = 0.4) -> Predictions:
    """A model's answers, `yes` of them yes."""
    probability = np.clip(rng.beta(8, 2, rows), 0.5, 1)
    said = rng.random(rows) < yes
    probabilities = np.where(said, probability, 1 - probability)
    return Predictions(np.where(said, "yes", "no").tolist(), np.column_stack([1 - probabilities, probabilities]))


def records(columns: Columns, answered: Predictions, times: Sequence[datetime] | None = None) -> FakeRecords:
    """As the record store has them, spread evenly over a day."""
    rows = len(answered.values)
    times = times or [START + timedelta(seconds=86_400 * row / rows) for row in range(rows)]
    likely: list[Mapping[str, float] | None] = [None] * rows
    if answered.probabilities is not None:
        likely = [dict(zip(("no", "yes"), pair, strict=True)) for pair in answered.probabilities.tolist()]
    return FakeRecords(columns, list(answered.values), likely, [time.isoformat() for time in times], rows)


def training_reference(columns: Columns, answered: Predictions) -> Reference:
    """The reference of a training frame."""
    import pandas as pd

    rows = len(columns["price"])
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    frame["joined"] = pd.to_datetime(frame["joined"], format="ISO8601")
    frame["customer"] = [f"Ada Secret{row}" for row in range(rows)]
    return make_reference(SPEC, frame, answered, seed=1)


@pytest.fixture(scope="session")
def reference() -> Reference:
    """Of 2000 customers, and of the answers to 500."""
    rng = np.random.default_rng(1)
    return training_reference(customers(2000, rng), answers(500, rng))


@pytest.fixture
def compared(reference: Reference) -> Callable[..., DriftReport]:
    """Compares 900 customers, of whom some columns are others than ever, and all settings may be."""

    def compared(
        changed: Mapping[str, Callable[[list[Any]], list[Any]]] | None = None,
        rows: int = 900,
        yes: float = 0.4,
        times: Sequence[datetime] | None = None,
        **settings: Any,
    ) -> DriftReport:
        rng = np.random.default_rng(2)
        columns = customers(rows, rng)
        for name, change in (changed or {}).items():
            columns[name] = change(columns[name])
        window = records(columns, answers(rows, rng, yes), times)
        return compare(reference, window, WINDOW, MonitoringSettings(**settings))

    return compared
