"""A small project of every feature type, trained once, for the tests of the machinery."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ml_microservice.api.app import create_app
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.inference.core import Core
from ml_microservice.inference.served_model import ServedModel, load_served_model
from ml_microservice.settings import ApiSettings, Settings, load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train
from tests.postgresql import database_settings, postgresql, postgresql_settings

__all__ = ["database_settings", "postgresql", "postgresql_settings"]

TESTS = Path(__file__).parent
RABBITMQ = "rabbitmq"
LONGEST = (
    RABBITMQ,
    "api/test_server.py",
    "records/test_commands.py",
    "inference/files/test_large_files.py",
    "training/compilation/test_parity.py",
    "training/compilation/test_estimators.py",
    "monitoring/drift/test_comparison.py",
    "gate/test_commands.py",
    "monitoring/test_performance.py",
    "records/test_accounting.py",
    "records/sinks/test_sinks_down.py",
    "training/test_backend.py",
    "test_tracing.py",
)
"""Groups of tests that take longest, from the longest on."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests for the processes of a run (`--dist=loadgroup`), and begin with the groups that take longest.

    A file is a group, so that what its tests share is made once. The files that need RabbitMQ are one group together:
    it takes seconds to start, and their tests kill it.
    """
    gone = [name for name in LONGEST if name != RABBITMQ and not (TESTS / name).is_file()]
    if gone:
        raise pytest.UsageError(f"conftest.py orders tests that are not there: {', '.join(gone)}")
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else len(LONGEST))


def _group(item: pytest.Item) -> str:
    module = item.getparent(pytest.Module)
    assert module is not None
    return RABBITMQ if hasattr(module.obj, "rabbitmq_server") else item.path.relative_to(TESTS).as_posix()


CONFIG = """
name: houses
title: Houses
description: Tells whether a house will be sold.
id_name: house id
"""

FEATURES = """
task: classification
target: sold
features:
  - {name: floor area, type: float, min: 10, max: 900, unit: m2, description: Living space, example: 120}
  - {name: class, type: int, min: 0, max: 9, default: 3}
  - {name: "garden[ha]", type: float, optional: true}
  - {name: colour, type: category, values: [red, white, blue], optional: true}
  - {name: lift, type: bool}
  - {name: owner, type: string, max_length: 40, optional: true, pii: true}
  - {name: built, type: datetime, min: 1900-01-01, optional: true}
  - {name: view, type: vector, length: 2, default: [0, 0]}
"""

NUMBERS = ["floor area", "class", "garden[ha]", "lift"]


class HouseLoader:
    """Houses at random; large ones are sold."""

    def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
        """120 houses, or fewer."""
        rng = random.Random(1)
        rows = [
            {
                "house id": f"h{index}",
                "floor area": rng.uniform(20, 400),
                "class": rng.randint(0, 9),
                "garden[ha]": rng.choice([None, 0.1, 0.5, 2.0]),
                "colour": rng.choice(["red", "white", "blue", None]),
                "lift": rng.random() < 0.5,
                "owner": rng.choice(["Ada", "Bob", None]),
                "built": pd.Timestamp(f"19{rng.randint(10, 99)}-05-01"),
                "view": [rng.random(), rng.random()],
            }
            for index in range(120)
        ]
        frame = pd.DataFrame(rows)
        frame["sold"] = (frame["floor area"] > 200).map({True: "yes", False: "no"})
        return frame.head(n_rows) if n_rows is not None else frame


def house_preprocessor() -> ColumnTransformer:
    """Nothing of this project, so that the pickles can be read anywhere."""
    categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return ColumnTransformer(
        [("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS), ("categories", categories, ["colour"])]
    )


def train_on_houses(features: Any, target: Any) -> LogisticRegression:
    """A model that knows large from small."""
    return LogisticRegression(C=100).fit(features, target)


def house_classes(model: LogisticRegression) -> list[str]:
    """As the model orders them."""
    return [str(name) for name in model.classes_]


HOUSE = {"floor area": 300.0, "lift": True}
"""The smallest request that is valid."""


@pytest.fixture(scope="session")
def house() -> dict[str, Any]:
    """The smallest request that is valid."""
    return dict(HOUSE)


@pytest.fixture(scope="session")
def house_hooks(tmp_path_factory: pytest.TempPathFactory) -> Hooks:
    """The hooks of the houses."""
    folder = tmp_path_factory.mktemp("hooks")
    return Hooks(HouseLoader, house_preprocessor, train_on_houses, house_classes, folder)


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory, house_hooks: Hooks) -> Path:
    """A project with one trained model, which no test may change."""
    root = tmp_path_factory.mktemp("houses")
    (root / "src" / "model").mkdir(parents=True)
    (root / "src" / "model" / "features.yaml").write_text(FEATURES)
    (root / "config.yaml").write_text(CONFIG)
    train(load_settings(root, {}), house_hooks)
    return root


@pytest.fixture
def project(trained_project: Path, tmp_path: Path) -> Path:
    """A copy of the trained project, to break, without what others recorded in it."""
    return Path(shutil.copytree(trained_project, tmp_path / "project", ignore=shutil.ignore_patterns("var")))


@pytest.fixture(scope="session")
def settings(trained_project: Path) -> Settings:
    """Settings of the trained project."""
    return load_settings(trained_project, {})


@pytest.fixture(scope="session")
def served(settings: Settings) -> ServedModel:
    """The trained model, loaded as the service loads it."""
    folder = ArtefactStore(settings.model_directory).path("current")
    return load_served_model(folder, settings.name, settings.id_name)


@pytest.fixture
def core(served: ServedModel) -> Core:
    """A core that answers with the trained model."""
    return Core(served, ApiSettings(max_batch_rows=50))


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    """The application, called in this process."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
