"""The context of the checks: what earlier checks found out about the project."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ml_microservice.conformance.equality import Output, output_of
from ml_microservice.conformance.requests import RequestPath
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureDraft, FeatureSpec, Task
from ml_microservice.inference.outputs import check_rows
from ml_microservice.inference.predictor import Predictions
from ml_microservice.settings import Settings
from ml_microservice.training.fitted_model import Fitted, Prepared
from ml_microservice.training.hooks import Hooks, calling
from ml_microservice.training.split import Split
from ml_microservice.yaml_file import YamlFile

PROBE_ROWS = 40
"""The rows that probe the hooks: enough to tell a mean from a row, and few enough for a slow model."""
ALONE_ROWS = 10
"""The rows that are also given one at a time; each costs a call."""


@dataclass
class Context:
    """The project that is checked; an attribute is set once the check that makes it has passed."""

    root: Path
    n_rows: int | None = None
    task: Task | None = None
    """None if `features.yaml` leaves it to the training frame, or cannot be read."""
    settings: Settings = field(init=False)
    features: YamlFile = field(init=False)
    draft: FeatureDraft = field(init=False)
    hooks: Hooks = field(init=False)
    frame: pd.DataFrame = field(init=False)
    spec: FeatureSpec = field(init=False)
    layout: FrameLayout = field(init=False)
    split: Split = field(init=False)
    prepared: Prepared = field(init=False)
    model: Any = field(init=False)
    fitted: Fitted = field(init=False)
    stored: dict[str, bytes] = field(default_factory=dict)
    """The pickled Preprocessor and model, by the name of the hook."""

    @property
    def seed(self) -> int:
        """The seed of all random choices."""
        return self.settings.training.seed

    @cached_property
    def probe(self) -> pd.DataFrame:
        """Sample of the held-out rows, which neither Preprocessor nor model was fitted on."""
        return self.split.test.sample(min(PROBE_ROWS, len(self.split.test)), random_state=self.seed)

    @cached_property
    def requests(self) -> RequestPath:
        """The path of a request to the Preprocessor."""
        return RequestPath(self.spec, self.layout, self.settings.id_name)

    def transform(self, frame: pd.DataFrame, preprocessor: Any = None) -> Output:
        """Transform a copy of some rows by the fitted Preprocessor, or by another one.

        Raises:
            HookError: it raised, or returned another number of rows.
        """
        with quietly(), calling("Preprocessor.transform"):
            transformed = (preprocessor or self.prepared.preprocessor).transform(frame.copy())
        check_rows(transformed, len(frame), "Preprocessor.transform")
        return output_of(transformed)

    def predict(self, frame: pd.DataFrame) -> Predictions:
        """Predict a copy of some rows by Preprocessor and model.

        Raises:
            HookError: one of them raised, or returned something that is no prediction.
        """
        with quietly(), calling("predict"):
            return self.fitted.predictor.predict_frame(frame.copy())


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress warnings: the probes provoke them, and the checks report what matters as faults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
