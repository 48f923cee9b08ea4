"""Fixtures of pytest for the tests of a project: its data, its trained model, and its service.

A project's `tests/conftest.py` names this module in `pytest_plugins`. The model is trained once for all tests of a run,
in a temporary folder, where records and feedback go too: nothing of the project is changed, and no server is needed.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.conformance.kit import Result, run_checks
from ml_microservice.features.examples import example_row, example_rows
from ml_microservice.features.features_file import load_features
from ml_microservice.features.infer import infer_features
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.served_model import ServedModel, load_served_model
from ml_microservice.records.record import Record, records_in
from ml_microservice.records.segment import segment_files
from ml_microservice.settings import Settings, load_settings
from ml_microservice.training.hooks import load_hooks
from ml_microservice.training.pipeline import train

ROWS = 20
"""Number of rows in `rows`."""
MISSING = 0.3
"""Share of the values in `rows` that are missing, where they may be."""


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """`config.yaml`, but all that is written goes to a temporary folder, and nothing is sent anywhere."""
    folder = tmp_path_factory.mktemp("project")
    changes = {
        "ENVIRONMENT": "development",
        "ARTEFACTS__DIRECTORY": str(folder / "model_bin"),
        "ARTEFACTS__VERSION": "current",
        "DATABASE__URL": f"sqlite:///{folder / 'records.db'}",
        "JOBS__BROKER": "",
        "MONITORING__DIRECTORY": str(folder / "monitoring"),
        "RECORDS__DIRECTORY": str(folder / "records"),
        "RECORDS__PII": "omit",
        "RECORDS__SHIPPING": "separate",
        "RECORDS__SINKS": "database",
        "TRACING__ENDPOINT": "",
        "TRAINING__ENGINE": "local",
    }
    settings = load_settings(pytestconfig.rootpath, {f"SERVICE__{name}": value for name, value in changes.items()})
    return settings.model_copy(update={"api": settings.api.model_copy(update={"grpc_port": None})})


@pytest.fixture(scope="session")
def training_frame(settings: Settings) -> pd.DataFrame:
    """What `DataLoader` returns, loaded once; a test asks for `frame`."""
    frame: pd.DataFrame = load_hooks(settings.root, None).data_loader().load_data()
    return frame


@pytest.fixture(scope="session")
def features(settings: Settings, training_frame: pd.DataFrame) -> FeatureSpec:
    """`features.yaml`; what it leaves open is taken from the data, as in training."""
    return infer_features(load_features(settings.features_file, settings.id_name), training_frame, settings.id_name)


@pytest.fixture
def frame(training_frame: pd.DataFrame) -> pd.DataFrame:
    """What `DataLoader` returns."""
    return training_frame.copy()


@pytest.fixture
def X(frame: pd.DataFrame, features: FeatureSpec) -> pd.DataFrame:
    """The features of all rows, as `Preprocessor` gets them."""
    return FrameLayout.of(frame, features).from_frame(frame)


@pytest.fixture
def y(frame: pd.DataFrame, features: FeatureSpec) -> "pd.Series[Any]":
    """The target of all rows."""
    return frame[features.target]


@pytest.fixture
def checks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What the checks of `make check` find; no secret of production has to be set for them."""
    monkeypatch.setenv("SERVICE__ENVIRONMENT", settings.environment)
    monkeypatch.setenv("SERVICE__RECORDS__PII", settings.records.pii)
    return list(run_checks(settings.root))


@pytest.fixture(scope="session")
def served(settings: Settings) -> ServedModel:
    """The project's model, trained now, and loaded as the service loads it."""
    return load_served_model(train(settings).folder, settings.name, settings.id_name)


@pytest.fixture(scope="session")
def client(settings: Settings, served: ServedModel) -> Iterator[TestClient]:
    """The service with that model, called without a network."""
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def example(served: ServedModel) -> dict[str, Any]:
    """A row as a request carries it: of each feature the example in `features.yaml`, its default, or a valid value."""
    return example_row(served.schema.spec)


@pytest.fixture
def rows(settings: Settings, served: ServedModel, example: dict[str, Any]) -> list[dict[str, Any]]:
    """The example and rows at random that `features.yaml` allows; what may be missing is missing in some of them."""
    number = min(ROWS, settings.api.max_batch_rows) - 1
    return [example, *example_rows(served.schema.spec, number, random.Random(0), missing=MISSING)]


@pytest.fixture
def bad_row(example: dict[str, Any]) -> dict[str, Any]:
    """The example with a value that no type of feature allows."""
    return {**example, next(iter(example)): {}}


@pytest.fixture
def records(settings: Settings) -> Callable[[], dict[str, Record]]:
    """Tells what the service has recorded so far, predictions and feedback, each by its id."""

    def read() -> dict[str, Record]:
        found: dict[str, Record] = {}
        for segment in segment_files(settings.records_directory):
            for line in segment.read_bytes().splitlines()[1:]:  # after its header
                found |= {record.id: record for record in records_in(line)}
        return found

    return read
