"""Drift of the penguins: no alarm where nothing has changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ml_microservice.features.features_file import load_features
from ml_microservice.inference.predictor import Predictions
from ml_microservice.monitoring.drift.comparison import Window, compare
from ml_microservice.records.database.store import Window as Records
from ml_microservice.settings import MonitoringSettings
from ml_microservice.training.reference import make_reference

from bake import TEMPLATE

STARTER = TEMPLATE / "library/src/ml_microservice/starters/penguins/src/model"
WINDOWS = 200
START = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.t0
@pytest.mark.parametrize("rows", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_penguins_like_those_of_training_raise_no_alarm(rows: int) -> None:
    frame = pd.read_csv(STARTER / "data/penguins.csv")
    spec = load_features(STARTER / "features.yaml", "penguin_id").complete()
    assert spec is not None
    rng = np.random.default_rng(13)
    settings, window = MonitoringSettings(), Window("p", "v", START, START + timedelta(days=1))
    times = [(START + timedelta(seconds=60 * row)).isoformat() for row in range(rows)]
    alarms = 0
    held_out = frame.sample(frac=0.2, random_state=1)["species"].tolist()
    reference = make_reference(spec, frame, Predictions(held_out, None), seed=1)
    columns: dict[str, list[Any]] = {
        name: [None if pd.isna(value) else value for value in frame[name].tolist()] for name in spec.names
    }
    species = frame["species"].tolist()
    for _ in range(WINDOWS):
        chosen = rng.integers(0, len(frame), rows).tolist()
        inputs = {name: [values[row] for row in chosen] for name, values in columns.items()}
        records = Records(inputs, [species[row] for row in chosen], [None] * rows, times, rows)
        alarms += bool(compare(reference, records, window, settings).alarms)
    assert alarms <= settings.false_alarm_rate * WINDOWS
