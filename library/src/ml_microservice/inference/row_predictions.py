"""Predictions for validated rows, with a problem in place of each row that the user's code fails on."""

import logging
import traceback

from ml_microservice.features.columns import Columns, without
from ml_microservice.inference.predictor import Predictions, predict_columns
from ml_microservice.inference.problems import Problem, model_failed, refused_by_model
from ml_microservice.inference.rows import Rows
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.tracing.model_call import model_call

logger = logging.getLogger(__name__)


def predict_rows(served: ServedModel, rows: Rows) -> tuple[Predictions, dict[int, Problem], Columns]:
    """Predict the rows that are valid.

    Returns:
        The predictions of the rows without a problem, the problems by position, and the columns of what was predicted.
    """
    failures = dict(rows.problems)
    if len(rows) == len(rows.problems):
        return Predictions([], None), failures, rows.columns
    with model_call(served.manifest.version, len(rows) - len(rows.problems)):
        predictions, failed = predict_columns(served.predictor, rows.columns)
    if not failed:
        return predictions, failures, rows.columns
    valid = [row for row in range(len(rows)) if row not in rows.problems]
    failures |= {valid[position]: failure_problem(served, error) for position, error in failed.items()}
    return predictions, failures, without(rows.columns, failed)


def failure_problem(served: ServedModel, error: Exception) -> Problem:
    """Log what the user's code raised, and return the problem that answers it."""
    if isinstance(error, Problem):
        return error
    if any(feature.pii for feature in served.schema.spec.features):
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("the model failed: %s (its message may hold personal data)\n%s", type(error).__name__, frames)
    else:
        logger.error("the model failed: %s", error, exc_info=error)
    return refused_by_model() if isinstance(error, ValueError) else model_failed()
