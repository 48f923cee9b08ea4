"""Logistic regression on scaled numbers and one-hot categories."""

from typing import Any, Self

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

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
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        categories = OneHotEncoder(handle_unknown="ignore")
        self.columns_ = ColumnTransformer([("numbers", numbers, NUMBERS), ("categories", categories, CATEGORIES)])
        self.columns_.fit(X, y)
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """The rows as the model takes them."""
        return self.columns_.transform(X)


def train_model(X: Any, y: Any) -> Any:
    """Train on what `transform` returned."""
    return LogisticRegression(max_iter=1000).fit(X, y)


def get_classes(model: Any) -> list[str]:
    """The classes, in the order of the columns of `predict_proba`."""
    return [str(label) for label in model.classes_]
