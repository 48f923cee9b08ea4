"""How columns become what the model takes, and how the model is trained: yours to fill in.

What stands between `# Example` and `# End Example` belongs to the example; `make eject-example` empties it.
"""

from typing import Any, Self

import pandas as pd

# Example
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year"]
CATEGORIES = ["island", "sex"]
# End Example


class Preprocessor:
    """Turns columns into what the model takes: fitted once, on the training rows, then applied to every request.

    Whatever depends on the data (means, categories, vocabularies) is learned in `fit` and kept on `self`.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn from the training rows; `y` is the target, for encoders that need it."""
        # Example
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
        self.columns_ = ColumnTransformer([("numbers", numbers, NUMBERS), ("categories", categories, CATEGORIES)])
        self.columns_.fit(X, y)
        # End Example
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """The rows as the model takes them: as many, in the same order. Nothing is learned here."""
        # Example
        return self.columns_.transform(X)
        # End Example


def train_model(X: Any, y: Any) -> Any:
    """Train on what `transform` returned: any object with `predict`; a classifier has `predict_proba` too."""
    # Example
    return LogisticRegression(max_iter=1000).fit(X, y)
    # End Example


# Example
def get_classes(model: Any) -> list[str]:
    """The classes, in the order of the columns of `predict_proba`."""
    return [str(label) for label in model.classes_]


# End Example
