"""This very project: it trains, loads, and answers its own example, as any project does that `service check` passes."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.api.app import create_app
from service.features.examples import example_row
from service.settings import load_settings
from service.training.pipeline import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The service with a model that was trained just now, in a folder of its own."""
    models = tmp_path_factory.mktemp("model_bin")
    settings = load_settings(ROOT, {"SERVICE__ARTEFACTS__DIRECTORY": str(models)})
    train(settings)
    return TestClient(create_app(settings))


def test_the_project_answers_its_own_example(client: TestClient) -> None:
    core = client.app.state.core  # type: ignore[attr-defined]
    example = example_row(core.served.schema.spec)
    answer = client.post("/predict", json=example)
    assert answer.status_code == 200, answer.text
    classes = core.served.schema.classes
    assert answer.json()["prediction"] in classes if classes else isinstance(answer.json()["prediction"], float)


def test_a_batch_of_one_answers_as_a_single_row_does(client: TestClient) -> None:
    example = example_row(client.app.state.core.served.schema.spec)  # type: ignore[attr-defined]
    single = client.post("/predict", json=example).json()
    batch = client.post("/predict/batch", json=[example]).json()["predictions"][0]
    assert json.dumps(batch["prediction"]) == json.dumps(single["prediction"])
