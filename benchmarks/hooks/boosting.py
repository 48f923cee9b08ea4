"""Histogram gradient boosting on numbers as they are, gaps included, and ordinal categories."""

from typing import Any, Self

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OrdinalEncoder

NUMBERS = [
    "age",
    "income",
    "loan_amount",
    "balance",
    "debt_ratio",
    "utilisation",
    "months_as_customer",
    "late_payments",
]
CATEGORIES = ["region", "employment", "housing", "channel"]


class Preprocessor:
    """Turns columns into what the model takes."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn from the training rows."""
        categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        self.columns_ = ColumnTransformer([("numbers", "passthrough", NUMBERS), ("categories", categories, CATEGORIES)])
        self.columns_.fit(X, y)
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """The rows as the model takes them."""
        return self.columns_.transform(X)


def train_model(X: Any, y: Any) -> Any:
    """Train on what `transform` returned."""
    return HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(X, y)


def get_classes(model: Any) -> list[str]:
    """The classes, in the order of the columns of `predict_proba`."""
    return [str(label) for label in model.classes_]
