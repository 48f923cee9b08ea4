"""A random forest of 100 trees, 12 deep, on imputed numbers and one-hot categories."""

from typing import Any, Self

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

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
        numbers = SimpleImputer(strategy="median")
        categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        self.columns_ = ColumnTransformer([("numbers", numbers, NUMBERS), ("categories", categories, CATEGORIES)])
        self.columns_.fit(X, y)
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """The rows as the model takes them."""
        return self.columns_.transform(X)


def train_model(X: Any, y: Any) -> Any:
    """Train on what `transform` returned."""
    return RandomForestClassifier(n_estimators=100, max_depth=12, random_state=0).fit(X, y)


def get_classes(model: Any) -> list[str]:
    """The classes, in the order of the columns of `predict_proba`."""
    return [str(label) for label in model.classes_]
