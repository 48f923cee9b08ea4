"""The HTTP service, called in this process: statuses, headers, documents."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import Settings, load_settings

PROBLEM = "application/problem+json"


def limited(settings: Settings, **variables: str) -> TestClient:
    """A client of the same project under other settings."""
    changed = load_settings(settings.root, {f"SERVICE__{name}": value for name, value in variables.items()})
    return TestClient(create_app(changed), raise_server_exceptions=False)


def test_one_row_is_answered(client: TestClient, house: dict[str, Any], served: ServedModel) -> None:
    response = client.post("/predict", json=house)
    assert response.status_code == 200
    assert response.json()["prediction"] == "yes"
    assert response.json()["model_version"] == served.manifest.version


def test_a_list_is_answered_row_by_row(client: TestClient, house: dict[str, Any]) -> None:
    response = client.post("/predict/batch", json=[house, {}])
    assert response.status_code == 200
    assert [sorted(row)[0] for row in response.json()["predictions"]] == ["prediction", "error"]


def test_the_model_is_described_without_its_files(client: TestClient, served: ServedModel) -> None:
    document = client.get("/model").json()
    assert document["version"] == served.manifest.version
    assert document["classes"] == ["no", "yes"]
    assert document["metrics"]["accuracy"] > 0.9
    assert "files" not in document


def test_health_tells_alive_from_ready(client: TestClient, served: ServedModel) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready", "model_version": served.manifest.version}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/predict", 405), ("POST", "/predict", 422), ("DELETE", "/model", 405)],
)
def test_every_error_is_a_problem_document(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["status"] == status
    assert {"type", "title", "detail"} <= response.json().keys()


def test_a_body_that_says_it_is_not_json_is_told_what_to_send(client: TestClient) -> None:
    response = client.post("/predict", content=b"a=1", headers={"content-type": "application/x-www-form-urlencoded"})
    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["detail"]


def test_personal_data_is_never_repeated(client: TestClient, house: dict[str, Any]) -> None:
    secret = "Ada Lovelace " * 10
    response = client.post("/predict", json={**house, "owner": secret})
    assert response.status_code == 422
    assert "Ada" not in response.text
    assert response.json()["errors"][0]["feature"] == "owner"


def test_a_body_beyond_the_limit_is_refused_whether_or_not_it_announces_its_length(settings: Settings) -> None:
    client = limited(settings, API__MAX_BODY_BYTES="2000")
    announced = client.post("/predict", content=b" " * 2001)
    assert (announced.status_code, announced.headers["content-type"]) == (413, PROBLEM)

    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b" " * 500

    assert client.post("/predict", content=chunks()).status_code == 413
    assert client.post("/predict", content=b" " * 2000).status_code == 422


def test_a_key_is_needed_where_keys_are_set_but_never_for_probes(settings: Settings, house: dict[str, Any]) -> None:
    client = limited(settings, API__KEYS="first-key, second-key", ENVIRONMENT="production")
    for headers in ({}, {"x-api-key": "first-ke"}, {"x-api-key": ""}, {"x-api-key": "first-key, second-key"}):
        refused = client.post("/predict", json=house, headers=headers)
        assert (refused.status_code, refused.headers["content-type"]) == (401, PROBLEM)
        assert client.get("/model", headers=headers).status_code == 401
    assert client.post("/predict", json=house, headers={"x-api-key": "second-key"}).status_code == 200
    assert {client.get(path).status_code for path in ("/health/live", "/health/ready", "/metrics")} == {200}
    assert client.get("/openapi.json").json()["paths"]["/predict"]["post"]["security"] == [{"ApiKey": []}]


def test_other_origins_are_refused_unless_configured(client: TestClient, settings: Settings) -> None:
    origin = {"origin": "https://app.example.com"}
    assert "access-control-allow-origin" not in client.get("/model", headers=origin).headers
    allowed = limited(settings, API__CORS_ORIGINS="https://app.example.com")
    assert allowed.get("/model", headers=origin).headers["access-control-allow-origin"] == origin["origin"]


def test_the_document_describes_features_classes_examples_and_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    request = schemas["PredictRequest"]["properties"]
    assert list(request)[:3] == ["floor area", "class", "garden[ha]"]
    assert request["floor area"]["minimum"] == 10
    assert request["floor area"]["description"] == "Living space [m2]"
    assert request["owner"]["x-pii"] is True
    assert schemas["PredictRequest"]["required"] == ["floor area", "lift"]
    assert schemas["PredictRequest"]["additionalProperties"] is False
    assert schemas["PredictResponse"]["properties"]["prediction"]["enum"] == ["no", "yes"]
    operation = document["paths"]["/predict"]["post"]
    assert set(operation["responses"]) == {"200", "401", "413", "415", "422", "429", "500", "503"}
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/predict", json=example).status_code == 200


def test_metrics_count_requests_by_template_and_predictions_by_class(
    client: TestClient, house: dict[str, Any], served: ServedModel
) -> None:
    def value(line: str) -> float:
        text = client.get("/metrics").text
        return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)), 0.0)

    answered = 'http_requests_total{method="POST",route="/predict",status="200"}'
    unmatched = 'http_requests_total{method="GET",route="unmatched",status="404"}'
    sold = 'predictions_total{prediction="yes"}'
    before = value(answered), value(unmatched), value(sold)
    client.post("/predict", json=house)
    client.post("/predict/batch", json=[house, house, {}])
    client.get("/some/made/up/path")
    assert (value(answered), value(unmatched), value(sold)) == (before[0] + 1, before[1] + 1, before[2] + 3)
    assert value(f'model_info{{created_at="{served.manifest.created_at.isoformat()}"') == 1
    assert "/some/made/up/path" not in client.get("/metrics").text


def test_the_documentation_page_is_there(client: TestClient) -> None:
    assert "swagger" in client.get("/docs").text.lower()


def test_the_answer_is_what_the_document_says(client: TestClient, house: dict[str, Any]) -> None:
    answer = client.post("/predict", json={**house, "house id": "h1"}).json()
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    described = schemas["PredictResponse"]
    assert set(answer) == set(described["properties"]) - {"logged"}  # of an answer without a record
    assert set(described["required"]) <= set(answer)
    assert json.dumps(answer)
