"""Loads the training frame, and splits it into training rows and held-out rows."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.model_selection import train_test_split

from ml_microservice.errors import Fault, HookError
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.settings import TrainingSettings
from ml_microservice.training.hooks import LOADER_FILE, Hooks, calling


@dataclass(frozen=True)
class Split:
    """Training rows and held-out rows, in the training layout."""

    train: pd.DataFrame
    train_target: "pd.Series[Any]"
    test: pd.DataFrame
    test_target: "pd.Series[Any]"


def load_frame(hooks: Hooks, n_rows: int | None = None) -> Any:
    """Load the training frame by DataLoader.

    Raises:
        HookError: it raised.
    """
    with calling("DataLoader.load_data", LOADER_FILE):
        return hooks.data_loader().load_data(n_rows)


def split_frame(frame: pd.DataFrame, spec: FeatureSpec, layout: FrameLayout, settings: TrainingSettings) -> Split:
    """Hold out a random share of the rows, seeded, and stratified by class for classification.

    Raises:
        HookError: there are too few rows to split.
    """
    features, target = layout.from_frame(frame), frame[spec.target]
    stratify = target if spec.task == "classification" else None
    try:
        train, test, train_target, test_target = train_test_split(
            features, target, test_size=settings.test_size, random_state=settings.seed, stratify=stratify
        )
    except ValueError as error:
        advice = "load more rows, or set another training.test_size in config.yaml"
        raise HookError(Fault(f"{len(frame)} rows cannot be split: {error}", file=LOADER_FILE, advice=advice)) from None
    return Split(train, train_target, test, test_target)
