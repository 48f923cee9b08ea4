"""This very project: it trains, loads, and answers its own example."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from ml_microservice.api.app import create_app
from ml_microservice.artefact.reading import read_artefact
from ml_microservice.features.examples import example_row
from ml_microservice.settings import load_settings
from ml_microservice.training.pipeline import train

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Project:
    """The service with a model that was trained just now, in a folder of its own."""

    client: TestClient
    classes: tuple[str, ...]
    example: dict[str, Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Train the project and load its model."""
    models = tmp_path_factory.mktemp("model_bin")
    settings = load_settings(ROOT, {"SERVICE__ARTEFACTS__DIRECTORY": str(models)})
    schema = read_artefact(train(settings).folder, settings.name).schema
    return Project(TestClient(create_app(settings)), schema.classes, example_row(schema.spec))


def test_the_project_answers_its_own_example(project: Project) -> None:
    answer = project.client.post("/predict", json=project.example)
    assert answer.status_code == 200, answer.text
    prediction = answer.json()["prediction"]
    assert prediction in project.classes if project.classes else isinstance(prediction, float)


def test_a_batch_of_one_answers_as_a_single_row_does(project: Project) -> None:
    single = project.client.post("/predict", json=project.example).json()
    batch = project.client.post("/predict/batch", json=[project.example]).json()["predictions"][0]
    assert batch["prediction"] == pytest.approx(single["prediction"])
