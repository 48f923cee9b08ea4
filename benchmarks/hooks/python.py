"""A forest behind pandas code of the user's own, which no compiler can take apart."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

RISKY = {"unemployed": 3, "student": 2, "self-employed": 1}


class Preprocessor:
    """Features by hand: ratios to the region's median income, age bands, flags, codes of categories."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the regions' median incomes, and which words there are."""
        self.income_ = float(X["income"].median())
        self.income_by_region_ = {str(k): float(v) for k, v in X.groupby("region")["income"].median().items()}
        self.words_ = {name: sorted(set(X[name])) for name in ("region", "housing", "channel")}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """The rows as the forest takes them."""
        frame = X.copy()
        usual = frame["region"].map(self.income_by_region_).fillna(self.income_)
        frame["income_known"] = frame["income"].notna()
        frame["income"] = frame["income"].astype(float).fillna(usual.astype(float))
        frame["income_ratio"] = frame["income"] / usual
        frame["strain"] = np.log1p(frame["loan_amount"]) - np.log1p(frame["income"])
        frame["utilisation"] = frame["utilisation"].astype(float).fillna(-1.0)
        bands = pd.cut(frame["age"], [0, 24, 34, 49, 64, 200], labels=False)
        frame["age_band"] = bands.astype(int)
        frame["thin_file"] = (frame["months_as_customer"] < 12) & (frame["late_payments"] == 0)
        frame["risk"] = frame["employment"].map(RISKY).fillna(0).astype(int)
        for name, words in self.words_.items():
            frame[name] = pd.Categorical(frame[name], categories=words).codes
        return frame.drop(columns=["employment"]).astype(float)


def train_model(X: Any, y: Any) -> Any:
    """Train on what `transform` returned."""
    return RandomForestClassifier(n_estimators=100, max_depth=12, random_state=0).fit(X, y)


def get_classes(model: Any) -> list[str]:
    """The classes, in the order of the columns of `predict_proba`."""
    return [str(label) for label in model.classes_]
