"""The service: what it answers to one row, to many, and to a row that is wrong. All rows come from features.yaml."""

import math

import pytest


def test_one_row_is_answered(client, example):
    answer = client.post("/predict", json=example)
    assert answer.status_code == 200, answer.text
    assert {"prediction", "prediction_id", "model_version"} <= answer.json().keys()


def test_the_documented_example_is_answered(client):
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    documented = operation["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/predict", json=documented).status_code == 200


def test_an_answer_is_a_class_of_the_model_or_a_number(client, rows):
    classes = client.get("/model").json()["classes"]
    for answer in client.post("/predict/batch", json=rows).json()["predictions"]:
        if not classes:
            assert math.isfinite(answer["prediction"])
            continue
        assert answer["prediction"] in classes
        if "probabilities" in answer:
            assert sorted(answer["probabilities"]) == sorted(classes)
            assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_a_batch_is_answered_as_its_rows_are_one_by_one(client, rows):
    batch = client.post("/predict/batch", json=rows).json()["predictions"]
    for row, among_others in zip(rows, batch, strict=True):
        alone = client.post("/predict", json=row).json()
        for key in ("prediction", "probabilities"):
            assert alone.get(key) == pytest.approx(among_others.get(key)), row


def test_a_bad_row_is_refused_by_name(client, bad_row):
    answer = client.post("/predict", json=bad_row)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["feature"] in bad_row


def test_a_bad_row_fails_alone(client, example, bad_row):
    answers = client.post("/predict/batch", json=[example, bad_row, example]).json()["predictions"]
    assert ["error" in answer for answer in answers] == [False, True, False]
