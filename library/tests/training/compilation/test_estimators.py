"""Estimators beyond linear models and trees, each proved by the probes; and several compiled forms of one."""

import ctypes
import sys
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble, naive_bayes, neighbors, neural_network, preprocessing, svm
from sklearn.compose import ColumnTransformer

from ml_microservice.inference.engine import narrow as narrow_trees
from ml_microservice.inference.engine.neighbours import Neighbours
from ml_microservice.training.compilation.boosters import BOOSTERS
from ml_microservice.training.compilation.neighbours import NEIGHBOURS
from tests.training.compilation.conftest import NUMBERS, Compiling, assert_proved
from tests.training.compilation.test_parity import Positions, common, numbers_only

pytestmark = pytest.mark.slow


def scaled(*steps: Any) -> ColumnTransformer:
    """Some numbers, filled and scaled."""
    return numbers_only(preprocessing.StandardScaler(), *steps, columns=[*NUMBERS, "gap"])


def few_values() -> ColumnTransformer:
    """Whole numbers, of which many rows have the same."""
    return ColumnTransformer([("few", "passthrough", ["rooms", "new", "grade"])])


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (neural_network.MLPClassifier((8,), max_iter=50, random_state=0), "two"),
        (neural_network.MLPClassifier((8, 5), "tanh", solver="lbfgs", max_iter=50, random_state=0), "three"),
        (neural_network.MLPClassifier((8,), "logistic", max_iter=50, random_state=0), "three"),
        (neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=50, random_state=0), "value"),
        (
            neural_network.MLPRegressor(
                hidden_layer_sizes=(8,), activation="identity", loss="poisson", max_iter=50, random_state=0
            ),
            "value",
        ),
        (naive_bayes.GaussianNB(), "two"),
        (naive_bayes.GaussianNB(), "three"),
        (naive_bayes.BernoulliNB(), "three"),
        (svm.SVC(), "two"),
        (svm.SVC(), "three"),
        (svm.SVC(kernel="linear"), "three"),
        (svm.SVC(kernel="poly"), "two"),
        (svm.SVC(kernel="sigmoid"), "three"),
        (svm.SVC(probability=True, random_state=0), "two"),
        (svm.SVC(probability=True, random_state=0), "three"),
        (svm.NuSVC(nu=0.2), "three"),
        (svm.SVR(), "value"),
        (svm.NuSVR(kernel="linear"), "value"),
        (svm.LinearSVR(), "value"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value).replace(" ", ""),
)
def test_an_estimator_is_proved(model: Any, target: str, compiling: Compiling) -> None:
    assert_proved(compiling(common(), model, target), below=1e-12)


@pytest.mark.parametrize("kind", [naive_bayes.MultinomialNB, naive_bayes.ComplementNB])
def test_naive_bayes_of_counts_is_proved(kind: Any, compiling: Compiling) -> None:
    counts = ColumnTransformer([("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["town", "grade"])])
    assert_proved(compiling(counts, kind(), "three"), below=1e-14)


@pytest.mark.parametrize("preprocessor", [common, few_values])
@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({}, "two"),
        ({"weights": "distance"}, "three"),
        ({"n_neighbors": 1, "p": 1}, "three"),
        ({"n_neighbors": 12, "weights": "distance", "leaf_size": 4}, "value"),
        ({}, "value"),
    ],
    ids=str,
)
def test_neighbours_are_proved(preprocessor: Any, options: Any, target: str, compiling: Compiling) -> None:
    kind = neighbors.KNeighborsRegressor if target == "value" else neighbors.KNeighborsClassifier
    model = kind(algorithm="kd_tree", **options)
    dense = preprocessor().set_params(sparse_threshold=0)
    assert_proved(compiling(dense, model, target), below=1e-14)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("leaf_size", [1, 3, 30])
def test_ties_between_neighbours_are_broken_as_scikit_learn_does(power: int, leaf_size: int) -> None:
    rng = np.random.default_rng(leaf_size)
    points = rng.integers(0, 4, size=(300, 3)).astype(float)
    labels = rng.integers(0, 5, size=300)
    rows = rng.integers(-1, 9, size=(400, 3)) / 2
    for weights in ("uniform", "distance"):
        model = neighbors.KNeighborsClassifier(
            7, algorithm="kd_tree", p=power, leaf_size=leaf_size, weights=weights
        ).fit(points, labels)
        compiled = NEIGHBOURS[type(model)](model).estimator
        assert isinstance(compiled, Neighbours)
        answer = compiled(rows)
        assert (model.classes_[answer.values] == model.predict(rows)).all()
        np.testing.assert_array_equal(answer.probabilities, model.predict_proba(rows))


def test_brute_force_neighbours_are_refused_with_a_remedy(compiling: Compiling) -> None:
    compiled = compiling(scaled(), neighbors.KNeighborsClassifier(algorithm="brute", n_jobs=1))
    assert compiled.first.verdict == "refused"
    assert "set algorithm='kd_tree'" in compiled.first.why


@pytest.mark.parametrize(
    "model",
    [neural_network.MLPClassifier((4,), max_iter=20), naive_bayes.GaussianNB(), svm.SVC(), naive_bayes.BernoulliNB()],
    ids=lambda model: type(model).__name__,
)
def test_what_the_object_refuses_the_compiled_form_refuses(model: Any, compiling: Compiling) -> None:
    raw = ColumnTransformer([("raw", preprocessing.StandardScaler(), ["size"])])
    compiled = compiling(raw, model)
    assert_proved(compiled, below=1e-12)
    columns = {name: [None if name == "size" else 1] for name in compiled.schema.spec.names}
    with pytest.raises(ValueError, match="NaN"):
        compiled.compilation.predictor.predict(columns)


def categories() -> ColumnTransformer:
    """Categories as numbers, with missing and unknown ones, beside numbers."""
    codes = preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=40, encoded_missing_value=np.nan
    )
    return ColumnTransformer([("size", "passthrough", ["gap"]), ("codes", codes, ["town", "colour"]),
                              ("raw", "passthrough", ["size", "rooms", "grade"])])  # fmt: skip


@pytest.mark.parametrize("target", ["two", "three", "value"])
def test_histogram_boosting_with_categories_is_proved(target: str, compiling: Compiling) -> None:
    kind = ensemble.HistGradientBoostingRegressor if target == "value" else ensemble.HistGradientBoostingClassifier
    model = kind(max_iter=6, categorical_features=[1, 2, 4, 5], min_samples_leaf=5)
    assert_proved(compiling(categories(), model, target), below=1e-14)


class Categorical:
    """LightGBM that is told which columns are categories."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def fit(self, X: Any, y: Any) -> Any:
        """A fitted model."""
        model = self.kind(n_estimators=15, n_jobs=1, verbose=-1, min_child_samples=5, min_data_per_group=5)
        return model.fit(X, y, categorical_feature=[1, 2, 4, 5])


@pytest.mark.parametrize("target", ["two", "three", "value"])
def test_lightgbm_with_categories_is_proved_in_both_forms(target: str, compiling: Compiling) -> None:
    kind = lightgbm.LGBMRegressor if target == "value" else lightgbm.LGBMClassifier
    compiled = compiling(categories(), Categorical(kind), target)
    assert_proved(compiled, below=1e-14)
    assert_proved(compiled, "columns -> lightgbm", below=0)


@pytest.mark.parametrize("target", ["two", "three", "value"])
def test_xgboost_is_proved_in_both_forms(target: str, compiling: Compiling) -> None:
    model = xgboost.XGBRegressor(n_estimators=15, n_jobs=1) if target == "value" else Positions()
    compiled = compiling(common().set_params(sparse_threshold=0), model, target)
    assert_proved(compiled, below=0)
    assert_proved(compiled, "columns -> xgboost", below=0)


def test_xgboost_with_categories_is_answered_by_its_own_library(compiling: Compiling) -> None:
    codes = preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    words = ColumnTransformer([("town", codes, ["town"]), ("size", "passthrough", ["size"])])
    model = xgboost.XGBRegressor(n_estimators=9, n_jobs=1, enable_categorical=True, feature_types=["c", "q"])
    compiled = compiling(words, model, "value")
    assert "splits by categories" in compiled.first.why
    assert compiled.candidate("columns -> xgboost").verdict == "serves", compiled.candidate("columns -> xgboost").why


@pytest.mark.parametrize(
    "options",
    [{"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, {"linear_tree": True}],
    ids=["random forest", "linear trees"],
)
def test_lightgbm_that_onnx_cannot_say_is_answered_by_its_own_library(options: Any, compiling: Compiling) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=15, n_jobs=1, verbose=-1, **options)
    compiled = compiling(scaled(), model, "value")
    assert compiled.first.verdict == "refused"
    assert compiled.candidate("columns -> lightgbm").verdict == "serves"


def test_lightgbm_goes_by_infinite_thresholds() -> None:
    """Where large numbers meet missing ones, LightGBM parts them at infinity, which its dump clips to 1e300."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2))
    rows[:, 0] = rng.choice([-1e308, 1e308, np.nan], 300)
    model = lightgbm.LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1, min_child_samples=5)
    model.fit(rows, np.isnan(rows[:, 0]) * 5.0 + rows[:, 1])
    assert "threshold=inf" in model.booster_.model_to_string()
    compiled = BOOSTERS["lightgbm.sklearn.LGBMRegressor"]["onnx"](model)
    answer = compiled.estimator.bound(compiled.files)
    np.testing.assert_allclose(answer(rows).values, model.predict(rows), rtol=1e-14)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_the_exponential_of_float32_is_that_of_the_c_library() -> None:
    library = ctypes.CDLL(None)
    library.expf.restype, library.expf.argtypes = ctypes.c_float, [ctypes.c_float]
    values = np.concatenate([np.random.default_rng(0).uniform(-20, 20, 100_000), [-300.0, -100.0, 0.0, 88.7, 300.0]])
    narrow = values.astype(np.float32)
    expected = np.array([library.expf(value) for value in narrow.tolist()], dtype=np.float32)
    np.testing.assert_array_equal(narrow_trees._exp(narrow), expected)
    assert (np.exp(narrow.astype(np.float64)).astype(np.float32) != expected).any()
