"""How good a model is on rows it has not seen, beside a baseline that only knows the training target."""

from ml_microservice.evaluation.calibration import CalibrationBin, calibration_bins, calibration_error
from ml_microservice.evaluation.evaluate import evaluate_classification, evaluate_regression
from ml_microservice.evaluation.importance import Importance, feature_importance
from ml_microservice.evaluation.metrics import HEADLINE, METRICS, METRICS_OF, Metric
from ml_microservice.evaluation.result import ClassificationDetails, ClassScores, Evaluation, RegressionDetails
from ml_microservice.evaluation.scores import Floats, Indices, Scores, classification_scores, regression_scores

__all__ = [
    "HEADLINE",
    "METRICS",
    "METRICS_OF",
    "CalibrationBin",
    "ClassScores",
    "ClassificationDetails",
    "Evaluation",
    "Floats",
    "Importance",
    "Indices",
    "Metric",
    "RegressionDetails",
    "Scores",
    "calibration_bins",
    "calibration_error",
    "classification_scores",
    "evaluate_classification",
    "evaluate_regression",
    "feature_importance",
    "regression_scores",
]
