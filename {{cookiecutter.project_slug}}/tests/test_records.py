"""Every answer is recorded, without personal data, and so is what becomes known of it later."""


def test_a_prediction_is_recorded(client, example, features, records):
    answer = client.post("/predict", json=example).json()
    record = records()[answer["prediction_id"]]
    assert record.prediction == answer["prediction"]
    assert record.model_version == answer["model_version"]
    assert set(record.inputs) == {feature.name for feature in features.features if not feature.pii}


def test_feedback_is_recorded_with_its_prediction(client, example, records):
    answer = client.post("/predict", json=example).json()
    accepted = client.post("/feedback", json={"prediction_id": answer["prediction_id"], "label": answer["prediction"]})
    assert accepted.status_code == 202, accepted.text
    feedback = records()[accepted.json()["feedback_id"]]
    assert (feedback.prediction_id, feedback.label) == (answer["prediction_id"], answer["prediction"])
