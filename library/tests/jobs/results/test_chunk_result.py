"""The stored form of results."""

import numpy as np

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.problems import FeatureError, Problem
from ml_microservice.jobs.results.chunk_result import pack, unpack

PROVENANCE = {"model_version": "20261121-035331-18a0ae", "timestamp": "2026-11-21T04:00:00.000+00:00"}


def test_a_result_comes_back_as_it_was_stored_with_its_problems_and_every_digit() -> None:
    error = FeatureError(pointer="#/a", feature="a", rule="min", message="a must be at least 1")
    problem = Problem(422, "invalid-features", "The request is not what the model takes", "a is too small", [error])
    probabilities = np.asarray([[0.1 + 0.2, 0.7 - 1e-17], [np.nan, np.nan], [1e-300, 1.0]])
    answers = AnswerTable(["no", None, "yes"], probabilities, {1: problem}, ["i0", None, "i2"], ["h1", None, 7], False)
    result = unpack(pack(answers, PROVENANCE, ["no", "yes"]))
    again = result.answers
    assert (result.provenance, result.classes) == (PROVENANCE, ["no", "yes"])
    assert again.probabilities is not None
    np.testing.assert_array_equal(again.probabilities, probabilities)
    assert (again.values, again.prediction_ids, again.entity_ids) == (
        answers.values,
        answers.prediction_ids,
        answers.entity_ids,
    )
    assert again.problems[1].as_json() == problem.as_json()
    assert not again.is_logged


def test_numbers_need_neither_classes_nor_entity_ids() -> None:
    answers = unpack(pack(AnswerTable([1.5, 0.1], None, {}, ["i0", "i1"], [None, None]), PROVENANCE, [])).answers
    assert (answers.values, answers.probabilities, answers.entity_ids) == ([1.5, 0.1], None, [None, None])
