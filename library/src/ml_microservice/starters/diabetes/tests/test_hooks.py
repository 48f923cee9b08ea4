"""Tests of your hooks: yours to extend. `ml-service check` holds them against features.yaml besides.

What stands between `# Example` and `# End Example` belongs to the example; `make eject-example` empties it.
"""

from pathlib import Path

import pytest
from ml_microservice.features.loading import load_features

import model
from model.data_loader import DataLoader
from model.train import Preprocessor, train_model

FEATURES = load_features(Path(model.__file__).parent / "features.yaml")


@pytest.fixture(scope="module")
def frame():
    return DataLoader().load_data()


def test_the_loader_returns_the_target_and_every_feature(frame):
    assert {FEATURES.target, *FEATURES.names} <= set(frame.columns)


def test_the_preprocessor_keeps_every_row(frame):
    X = frame[FEATURES.names]
    assert Preprocessor().fit(X, frame[FEATURES.target]).transform(X).shape[0] == len(X)


def test_the_model_beats_guessing(frame):
    train, test = frame.iloc[::2], frame.iloc[1::2]
    preprocessor = Preprocessor().fit(train[FEATURES.names], train[FEATURES.target])
    fitted = train_model(preprocessor.transform(train[FEATURES.names]), train[FEATURES.target])
    predictions = fitted.predict(preprocessor.transform(test[FEATURES.names]))
    # Example
    assert abs(predictions - test["disease_progression"]).mean() < 50  # guessing the mean: 65
    # End Example
