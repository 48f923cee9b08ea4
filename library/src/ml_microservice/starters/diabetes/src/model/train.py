"""How columns become what the model takes, and how the model is trained: yours to fill in.

What stands between `# Example` and `# End Example` belongs to the example; `make eject-example` empties it.
"""

from typing import Any, Self

import pandas as pd

# Example
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CATEGORIES = ["sex"]
# End Example


class Preprocessor:
    """Turns columns into what the model takes: fitted once, on the training rows, then applied to every request.

    Whatever depends on the data (means, categories, vocabularies) is learned in `fit` and kept on `self`.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn from the training rows; `y` is the target, for encoders that need it."""
        # Example
        numbers = ("numbers", StandardScaler(), [name for name in X.columns if name not in CATEGORIES])
        categories = ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES)
        self.columns_ = ColumnTransformer([numbers, categories]).fit(X, y)
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
    return Ridge(alpha=10.0).fit(X, y)
    # End Example


# Example
# Only a classifier has a get_classes(model) here, which names the columns of `predict_proba`.
# End Example
