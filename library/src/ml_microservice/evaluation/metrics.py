"""The metrics that a model is judged by."""

from dataclasses import dataclass

from ml_microservice.features.spec import Task


@dataclass(frozen=True)
class Metric:
    """One number that a model is judged by."""

    name: str
    title: str
    greater_is_better: bool
    meaning: str
    """One sentence for people who do not train models."""
    is_share: bool = False
    """Whether it is a share of rows, which people read as a percentage."""

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better than `other`."""
        return value > other if self.greater_is_better else value < other


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", True, "Share of rows for which the model gives the right answer.", True),
        Metric("balanced_accuracy", "Balanced accuracy", True, "Accuracy if every class counted the same.", True),
        Metric("macro_f1", "Macro F1", True, "How well each class is found without false alarms, from 0 to 1."),
        Metric("roc_auc", "ROC AUC", True, "How well the two classes are told apart: 0.5 is guessing, 1 is perfect."),
        Metric("log_loss", "Log loss", False, "Penalty for being sure and wrong; 0 is perfect."),
        Metric("mae", "Mean absolute error", False, "How far a prediction is off on average, in the target's unit."),
        Metric("rmse", "Root mean squared error", False, "As the mean error, with large mistakes counting more."),
        Metric("r2", "R²", True, "Share of the target's variation that is explained: 0 is guessing, 1 is perfect."),
    )
}
"""All metrics, in the order in which they are shown."""

METRICS_OF: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"),
    "regression": ("mae", "rmse", "r2"),
}
"""Metrics by task; ROC AUC needs two classes and probabilities, log loss needs probabilities."""

HEADLINE: dict[Task, str] = {"classification": "accuracy", "regression": "mae"}
"""The metric that a model is introduced with."""
