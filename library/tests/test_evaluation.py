"""The numbers are the ones that a hand, or scikit-learn, computes, and none is made up where there is none."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics as sk

from ml_microservice.evaluation import (
    HEADLINE,
    METRICS,
    ClassificationDetails,
    Evaluation,
    RegressionDetails,
    evaluate_classification,
    evaluate_regression,
    feature_importance,
)

ABC = ("a", "b", "c")


def indices(values: ArrayLike) -> NDArray[np.intp]:
    return np.asarray(values, dtype=np.intp)


def floats(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def a_classification() -> Evaluation:
    """Five rows, of which the fourth is wrong; the model was trained on twice as many b as others."""
    probabilities = floats([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    return evaluate_classification(
        indices([0, 1, 1, 2, 2]), indices([0, 1, 1, 1, 2]), probabilities, ABC, indices([0, 1, 1, 2])
    )


def classification_details(evaluation: Evaluation) -> ClassificationDetails:
    assert isinstance(evaluation.details, ClassificationDetails)
    return evaluation.details


def regression_details(evaluation: Evaluation) -> RegressionDetails:
    assert isinstance(evaluation.details, RegressionDetails)
    return evaluation.details


def test_a_classifier_is_scored_as_by_hand() -> None:
    metrics = a_classification().metrics
    assert metrics["accuracy"] == pytest.approx(4 / 5)
    assert metrics["balanced_accuracy"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert metrics["macro_f1"] == pytest.approx((1 + 4 / 5 + 2 / 3) / 3)
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.7, 0.7, 0.3, 0.6]).mean())
    assert "roc_auc" not in metrics


def test_the_baseline_guesses_the_most_frequent_class_of_the_training_rows_with_its_share() -> None:
    evaluation = a_classification()
    assert classification_details(evaluation).most_frequent == "b"
    assert evaluation.baseline["accuracy"] == pytest.approx(2 / 5)
    assert evaluation.baseline["balanced_accuracy"] == pytest.approx(1 / 3)
    assert evaluation.baseline["log_loss"] == pytest.approx(-np.log([0.25, 0.5, 0.5, 0.25, 0.25]).mean())
    assert set(evaluation.baseline) == set(evaluation.metrics)


def test_a_class_that_was_not_trained_on_keeps_its_column_in_the_baseline() -> None:
    evaluation = evaluate_classification(indices([2]), indices([2]), floats([[0, 0.5, 0.5]]), ABC, indices([1, 2, 2]))
    assert evaluation.baseline["log_loss"] == pytest.approx(-math.log(2 / 3))


def test_a_classifier_is_scored_as_by_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 300)
    probabilities = random.dirichlet(np.ones(4), 300)
    probabilities[np.arange(300), truth] += 0.4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    evaluation = evaluate_classification(truth, predicted, probabilities, ("a", "b", "c", "d"), truth)
    assert evaluation.metrics == pytest.approx(
        {
            "accuracy": sk.accuracy_score(truth, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
            "macro_f1": sk.f1_score(truth, predicted, average="macro"),
            "log_loss": sk.log_loss(truth, probabilities),
        }
    )
    assert classification_details(evaluation).confusion == tuple(map(tuple, sk.confusion_matrix(truth, predicted)))
    scores = zip(*sk.precision_recall_fscore_support(truth, predicted), strict=True)
    for mine, (precision, recall, f1, support) in zip(
        classification_details(evaluation).per_class, scores, strict=True
    ):
        assert (mine.precision, mine.recall, mine.f1, mine.support) == pytest.approx((precision, recall, f1, support))


def test_of_two_classes_the_second_is_the_positive_one() -> None:
    truth, chance = indices([0, 0, 1, 1]), floats([0.1, 0.4, 0.35, 0.8])
    evaluation = evaluate_classification(
        truth, indices([0, 0, 0, 1]), np.column_stack([1 - chance, chance]), ("no", "yes"), truth
    )
    assert evaluation.metrics["roc_auc"] == pytest.approx(3 / 4)
    assert evaluation.baseline["roc_auc"] == pytest.approx(1 / 2)


def test_the_confusion_matrix_has_true_classes_as_rows() -> None:
    assert classification_details(a_classification()).confusion == ((1, 0, 0), (0, 2, 0), (0, 1, 1))


def test_without_probabilities_there_is_no_metric_of_them() -> None:
    evaluation = evaluate_classification(indices([0, 1]), indices([0, 1]), None, ("a", "b"), indices([0, 1]))
    assert set(evaluation.metrics) == {"accuracy", "balanced_accuracy", "macro_f1"}
    assert classification_details(evaluation).calibration == ()
    assert classification_details(evaluation).calibration_error is None


def test_calibration_bins_compare_the_stated_probability_with_the_share_of_right_answers() -> None:
    details = classification_details(a_classification())
    assert [(item.low, item.high, item.rows, item.right) for item in details.calibration] == [
        (0.6, 0.7, 2, 0.5),
        (0.7, 0.8, 2, 1.0),
        (0.8, 0.9, 1, 1.0),
    ]
    assert [item.confidence for item in details.calibration] == pytest.approx([0.6, 0.7, 0.8])
    assert details.calibration_error == pytest.approx((2 * 0.1 + 2 * 0.3 + 1 * 0.2) / 5)


def test_a_probability_of_one_falls_into_the_last_bin() -> None:
    evaluation = evaluate_classification(indices([0]), indices([0]), floats([[1, 0]]), ("a", "b"), indices([0]))
    assert [(item.low, item.high) for item in classification_details(evaluation).calibration] == [(0.9, 1.0)]


def test_a_class_without_held_out_rows_has_no_recall_and_does_not_drag_the_mean() -> None:
    evaluation = evaluate_classification(indices([0, 0, 1]), indices([0, 0, 1]), None, ABC, indices([0, 1, 2]))
    absent = classification_details(evaluation).per_class[2]
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (None, None, None, 0)
    assert evaluation.metrics["macro_f1"] == 1
    assert evaluation.metrics["balanced_accuracy"] == 1


def test_a_class_that_is_never_answered_has_no_precision() -> None:
    evaluation = evaluate_classification(indices([0, 1]), indices([0, 0]), None, ("a", "b"), indices([0, 1]))
    missed = classification_details(evaluation).per_class[1]
    assert (missed.precision, missed.recall, missed.f1) == (None, 0, 0)


def test_one_held_out_row_is_enough_and_leaves_the_auc_undefined() -> None:
    evaluation = evaluate_classification(indices([1]), indices([1]), floats([[0.3, 0.7]]), ("a", "b"), indices([0, 1]))
    assert evaluation.metrics["roc_auc"] is None
    assert evaluation.metrics["log_loss"] == pytest.approx(-math.log(0.7))
    assert evaluation.beats_baseline("roc_auc") is None


def test_a_certain_and_wrong_answer_costs_a_finite_log_loss() -> None:
    evaluation = evaluate_classification(
        indices([0, 1]), indices([1, 1]), floats([[0, 1]] * 2), ("a", "b"), indices([0])
    )
    assert evaluation.metrics["log_loss"] == pytest.approx(sk.log_loss([0, 1], [[0, 1]] * 2))


def test_the_interval_of_the_accuracy_is_wilsons() -> None:
    low, high = a_classification().headline_interval or (0, 0)
    assert (low, high) == pytest.approx((0.3755, 0.9638), abs=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [("only",), ("a", "b"), ABC])
def test_tiny_data_is_evaluated_without_a_warning(classes: tuple[str, ...]) -> None:
    size = len(classes)
    evaluation = evaluate_classification(indices([0]), indices([size - 1]), np.eye(size)[:1], classes, indices([0]))
    assert evaluation.n_test == 1


def test_a_regressor_is_scored_as_by_hand_beside_the_mean_of_the_training_rows() -> None:
    evaluation = evaluate_regression(floats([1, 2, 3, 4]), floats([1, 2, 3, 6]), floats([0, 2]))
    assert evaluation.metrics == pytest.approx({"mae": 0.5, "rmse": 1.0, "r2": 1 - 4 / 5})
    assert evaluation.baseline == pytest.approx({"mae": 1.5, "rmse": math.sqrt(14 / 4), "r2": 1 - 14 / 5})
    assert regression_details(evaluation).train_mean == 1
    assert (evaluation.n_train, evaluation.n_test) == (2, 4)


def test_residuals_are_true_minus_predicted() -> None:
    predicted = np.zeros(101)
    details = regression_details(evaluate_regression(np.arange(101.0), predicted, floats([1])))
    assert details.residual_quantiles == pytest.approx({"0.05": 5, "0.25": 25, "0.5": 50, "0.75": 75, "0.95": 95})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("truth", [[5], [5, 5, 5]])
def test_r2_is_undefined_where_the_target_does_not_vary(truth: list[float]) -> None:
    evaluation = evaluate_regression(floats(truth), floats(truth) + 1, floats([1, 2]))
    assert evaluation.metrics["r2"] is None
    assert evaluation.baseline["r2"] is None
    assert evaluation.metrics["mae"] == 1


def test_one_row_has_no_interval() -> None:
    assert evaluate_regression(floats([1]), floats([2]), floats([1])).headline_interval is None


@pytest.mark.parametrize(
    ("truth", "predicted"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [math.nan]), ([math.inf], [1.0])]
)
def test_rows_that_cannot_be_judged_are_refused(truth: list[float], predicted: list[float]) -> None:
    with pytest.raises(ValueError, match=r"rows|finite"):
        evaluate_regression(floats(truth), floats(predicted), floats([1]))


@pytest.mark.parametrize("probabilities", [[[0.5, 0.5]], [[math.nan, 0.5, 0.5]]])
def test_probabilities_that_cannot_be_judged_are_refused(probabilities: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        evaluate_classification(indices([0]), indices([0]), floats(probabilities), ABC, indices([0]))


def test_only_a_strictly_better_score_beats_the_baseline() -> None:
    same = evaluate_regression(floats([1, 3]), floats([2, 2]), floats([2]))
    assert [same.beats_baseline(name) for name in same.metrics] == [False, False, False]
    better = evaluate_regression(floats([1, 3]), floats([1, 2.5]), floats([2]))
    assert [better.beats_baseline(name) for name in better.metrics] == [True, True, True]


def test_every_metric_is_explained() -> None:
    evaluations = a_classification(), evaluate_regression(floats([1]), floats([1]), floats([1]))
    for evaluation in evaluations:
        assert set(evaluation.metrics) <= set(METRICS)
        assert evaluation.headline.name == HEADLINE[evaluation.task]
    assert all(metric.meaning.endswith(".") for metric in METRICS.values())


def test_an_evaluation_is_plain_json_with_null_for_what_is_undefined() -> None:
    data = evaluate_regression(floats([5]), floats([6]), floats([1])).as_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["metrics"]["r2"] is None
    data = a_classification().as_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["details"]["per_class"][0] == {"name": "a", "precision": 1, "recall": 1, "f1": 1, "support": 1}


def a_frame(rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {"noise": random.normal(size=rows), "signal": random.normal(size=rows), "word": ["x", None] * (rows // 2)},
        index=[7] * rows,
    )


def test_a_feature_that_the_model_ignores_has_no_importance() -> None:
    frame = a_frame()
    truth = frame["signal"].to_numpy()
    found = feature_importance(
        lambda shuffled: shuffled["signal"].to_numpy(),
        frame,
        lambda answer, rows: -np.abs(answer - truth[rows]).mean(),
        0,
    )
    assert [item.feature for item in found] == ["signal", "noise", "word"]
    assert found[0].mean_drop > 0.5
    assert found[0].std > 0
    assert [(item.mean_drop, item.std) for item in found[1:]] == [(0, 0), (0, 0)]


def test_importance_is_the_same_with_the_same_seed_and_leaves_the_frame_as_it_was() -> None:
    frame = a_frame()
    before = frame.copy()

    def importance(seed: int) -> list[tuple[str, float, float]]:
        return [*feature_importance(lambda it: it["signal"].to_numpy(), frame, lambda it, _: it[:50].mean(), seed)]

    assert importance(3) == importance(3) != importance(4)
    pd.testing.assert_frame_equal(frame, before)


def test_of_many_rows_a_sample_is_scored_with_its_positions() -> None:
    frame = a_frame().reset_index(drop=True)
    seen: list[int] = []

    def score(answer: pd.DataFrame, rows: NDArray[np.intp]) -> float:
        seen.append(len(rows))
        assert answer.index.tolist() == rows.tolist()
        return 0.0

    feature_importance(lambda shuffled: shuffled, frame, score, 0, repeats=2, max_rows=40)
    assert seen == [40] * (1 + 2 * 3)


def test_shuffling_keeps_every_columns_dtype_and_values() -> None:
    frame = a_frame().assign(kind=pd.Categorical(["p", "q"] * 100), count=pd.array([1, None] * 100, dtype="Int64"))

    def predict(shuffled: pd.DataFrame) -> None:
        assert shuffled.dtypes.equals(frame.dtypes)
        for name in frame:
            assert (
                shuffled[name].value_counts(dropna=False).to_dict() == frame[name].value_counts(dropna=False).to_dict()
            )

    feature_importance(predict, frame, lambda *_: 0.0, 0, repeats=1)
