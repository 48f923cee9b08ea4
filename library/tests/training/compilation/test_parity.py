"""Every family of models that can be compiled predicts and refuses as scikit-learn does, on all probes."""

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble, linear_model, preprocessing, svm, tree
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline

from tests.training.compilation.conftest import GAPS, NUMBERS, WORDS, Compiling, assert_proved

pytestmark = pytest.mark.slow


def common() -> ColumnTransformer:
    """What most projects do."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), preprocessing.StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore"))
    return ColumnTransformer([("numbers", numbers, [*NUMBERS, "gap"]), ("words", words, [*WORDS, "grade"])])


def numbers_only(*steps: Any, columns: Any = GAPS) -> ColumnTransformer:
    """Some steps over filled numbers."""
    return ColumnTransformer([("numbers", make_pipeline(SimpleImputer(), *steps), columns)])


def words_only(*steps: Any) -> ColumnTransformer:
    """Some steps over words, and whole numbers that are categories."""
    pipeline = make_pipeline(*steps)
    return ColumnTransformer([("words", pipeline, [*WORDS, "grade"]), ("size", "passthrough", ["size"])])


PREPROCESSORS = {
    "common": common(),
    "min-max": numbers_only(preprocessing.MinMaxScaler(clip=True)),
    "robust": numbers_only(preprocessing.RobustScaler(), columns=[*NUMBERS, "gap"]),
    "max-abs": numbers_only(preprocessing.MaxAbsScaler()),
    "polynomial": numbers_only(preprocessing.PolynomialFeatures(3), preprocessing.StandardScaler()),
    "interactions": numbers_only(preprocessing.PolynomialFeatures((2, 3), interaction_only=True), columns=NUMBERS),
    "bins": numbers_only(preprocessing.KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf")),
    "bin numbers": numbers_only(preprocessing.KBinsDiscretizer(4, encode="ordinal", strategy="uniform")),
    "function": numbers_only(preprocessing.FunctionTransformer(np.sqrt), columns=["rooms", "gap"]),
    "logarithm": numbers_only(preprocessing.FunctionTransformer(np.log1p), columns=["rooms"]),
    "selection": numbers_only(preprocessing.PolynomialFeatures(2), VarianceThreshold(), SelectKBest(k=2)),
    "indicator": ColumnTransformer([("gaps", SimpleImputer(add_indicator=True), GAPS)]),
    "constant": ColumnTransformer([("gaps", SimpleImputer(strategy="constant", fill_value=-1.0), GAPS)]),
    "union": ColumnTransformer(
        [
            (
                "both",
                FeatureUnion([("a", SimpleImputer()), ("b", SimpleImputer(strategy="constant", fill_value=0))]),
                GAPS,
            )
        ],
        remainder="drop",
    ),
    "after the union": make_pipeline(common(), preprocessing.StandardScaler(with_mean=False)),
    "scaled sparse": make_pipeline(
        words_only(preprocessing.OneHotEncoder(handle_unknown="ignore")), preprocessing.MaxAbsScaler()
    ),
    "robust sparse": make_pipeline(
        words_only(preprocessing.OneHotEncoder(handle_unknown="ignore")),
        preprocessing.RobustScaler(with_centering=False),
    ),
    "polynomial sparse": make_pipeline(
        words_only(preprocessing.OneHotEncoder(handle_unknown="ignore")),
        preprocessing.PolynomialFeatures(2, interaction_only=True),
        preprocessing.StandardScaler(with_mean=False),
    ),
    "infrequent": words_only(preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60)),
    "dropped": words_only(preprocessing.OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False)),
    "unknown refused": words_only(preprocessing.OneHotEncoder()),
    "ordinal": words_only(preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
    "missing code": words_only(
        preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2, min_frequency=30
        )
    ),
    "ordinal refused": words_only(preprocessing.OrdinalEncoder(encoded_missing_value=-2)),
    "constant word": ColumnTransformer(
        [
            (
                "words",
                make_pipeline(
                    SimpleImputer(strategy="constant", fill_value="none"),
                    preprocessing.OneHotEncoder(handle_unknown="ignore"),
                ),
                WORDS,
            )
        ]
    ),
}


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_preprocessing_is_compiled_bit_for_bit(name: str, compiling: Compiling) -> None:
    # Encoders may leave NaN for what is missing, which linear models refuse.
    model = tree.DecisionTreeClassifier() if "refused" in name or name == "ordinal" else linear_model.RidgeClassifier()
    compiled = compiling(PREPROCESSORS[name], model)
    assert compiled.first.verdict == "serves", compiled.first.why
    assert compiled.first.rows > 240


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (linear_model.LogisticRegression(), "two"),
        (linear_model.LogisticRegression(), "three"),
        (linear_model.SGDClassifier(loss="log_loss", random_state=0), "three"),
        (linear_model.RidgeClassifier(), "three"),
        (svm.LinearSVC(), "two"),
        (LinearDiscriminantAnalysis(), "three"),
        (linear_model.Ridge(), "value"),
        (linear_model.LassoCV(cv=3), "value"),
        (linear_model.PoissonRegressor(), "value"),
        (tree.DecisionTreeClassifier(random_state=0), "three"),
        (tree.DecisionTreeRegressor(random_state=0), "value"),
        (ensemble.RandomForestClassifier(20, random_state=0), "two"),
        (ensemble.RandomForestClassifier(20, random_state=0), "three"),
        (ensemble.ExtraTreesRegressor(5, max_depth=6, random_state=0), "value"),
        (ensemble.GradientBoostingClassifier(n_estimators=15), "two"),
        (ensemble.GradientBoostingClassifier(n_estimators=15), "three"),
        (ensemble.GradientBoostingClassifier(n_estimators=15, loss="exponential"), "two"),
        (ensemble.GradientBoostingRegressor(n_estimators=15, init="zero"), "value"),
        (ensemble.HistGradientBoostingClassifier(max_iter=15), "two"),
        (ensemble.HistGradientBoostingRegressor(max_iter=15, loss="gamma"), "value"),
        (lightgbm.LGBMClassifier(n_estimators=15, n_jobs=1, verbose=-1), "two"),
        (lightgbm.LGBMClassifier(n_estimators=15, n_jobs=1, verbose=-1), "three"),
        (lightgbm.LGBMRegressor(n_estimators=15, n_jobs=1, verbose=-1), "value"),
        (xgboost.XGBRegressor(n_estimators=15, n_jobs=1), "value"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_estimator_is_proved_and_serves(model: Any, target: str, compiling: Compiling) -> None:
    assert_proved(compiling(common(), model, target), below=1e-14)


class Positions:
    """XGBoost as its users wrap it: fitted on positions of the classes."""

    def fit(self, X: Any, y: Any) -> Any:
        """A model that names classes by position."""
        return xgboost.XGBClassifier(n_estimators=15, n_jobs=1).fit(X, np.unique(y, return_inverse=True)[1])


@pytest.mark.parametrize("target", ["two", "three"])
def test_xgboost_is_equal_to_the_last_bit_of_float32(target: str, compiling: Compiling) -> None:
    compiled = compiling(common(), Positions(), target)
    assert_proved(compiled, below=0)


@pytest.mark.parametrize(
    "model",
    [ensemble.RandomForestClassifier(10, random_state=0), ensemble.HistGradientBoostingClassifier(max_iter=10)],
    ids=["forest", "boosting"],
)
def test_trees_take_missing_values_as_scikit_learn_does(model: Any, compiling: Compiling) -> None:
    compiled = compiling(ColumnTransformer([("raw", "passthrough", [*GAPS, "rooms"])]), model, "three")
    assert compiled.first.verdict == "serves", compiled.first.why


def test_a_linear_model_refuses_missing_values_in_both_forms(compiling: Compiling) -> None:
    scaled = ColumnTransformer([("raw", preprocessing.StandardScaler(), ["size"])])
    compiled = compiling(scaled, linear_model.LogisticRegression())
    assert compiled.first.verdict == "serves", compiled.first.why
    columns = {name: [None if name == "size" else 1] for name in compiled.schema.spec.names}
    for predictor in (compiled.fitted.predictor, compiled.compilation.predictor):
        with pytest.raises(ValueError, match="NaN"):
            predictor.predict(columns)
