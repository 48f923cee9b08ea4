"""Estimators beyond linear models and trees: each is proved by the probes, or left to its Python object."""

import ctypes
import sys
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble, naive_bayes, neighbors, neural_network, preprocessing, svm
from sklearn.compose import ColumnTransformer

from ml_microservice.artefact.manifest import PYTHON_ENGINE
from ml_microservice.features.frame_columns import request_columns
from ml_microservice.inference.engine import narrow as narrow_trees
from ml_microservice.training.compilation import lightgbm_trees
from tests.training.compilation.conftest import NUMBERS, Compiling, assert_proved
from tests.training.compilation.test_parity import common, numbers_only

pytestmark = pytest.mark.slow


NEIGHBOURS = "equally distant neighbours"


def scaled(*steps: Any) -> ColumnTransformer:
    """Some numbers, filled and scaled."""
    return numbers_only(preprocessing.StandardScaler(), *steps, columns=[*NUMBERS, "gap"])


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


@pytest.mark.parametrize(
    ("model", "target", "why"),
    [
        (neighbors.KNeighborsClassifier(), "two", NEIGHBOURS),
        (
            neighbors.KNeighborsClassifier(weights="distance", algorithm="kd_tree"),
            "three",
            "equally distant neighbours",
        ),
        (neighbors.KNeighborsRegressor(), "value", NEIGHBOURS),
        (svm.SVC(), "three", "libsvm"),
        (svm.SVC(probability=True, random_state=0), "two", "libsvm"),
        (svm.NuSVC(nu=0.2), "three", "libsvm"),
        (svm.SVR(), "value", "libsvm"),
        (svm.NuSVR(), "value", "libsvm"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_estimator_that_depends_on_its_librarys_order_is_served_by_its_python_object(
    model: Any, target: str, why: str, compiling: Compiling
) -> None:
    compiled = compiling(common().set_params(sparse_threshold=0), model, target)
    record = compiled.compilation.record
    assert record.serves in ("columns -> model.joblib", PYTHON_ENGINE)
    assert compiled.first.verdict == "refused"
    assert compiled.first.why.startswith(f"{type(model).__name__} is served by its Python object, in batches: ")
    assert why in compiled.first.why
    assert_proved(compiled, record.serves, below=1e-14)
    rows = request_columns(compiled.split.test, compiled.schema.spec)
    together = compiled.compilation.predictor.predict(rows)
    direct = compiled.fitted.model.predict(compiled.fitted.preprocessor.transform(compiled.split.test))
    if target == "value":
        np.testing.assert_allclose(np.asarray(together.values, dtype=np.float64), direct, rtol=1e-12)
    else:
        assert list(together.values) == direct.tolist()


@pytest.mark.parametrize(
    "model",
    [neural_network.MLPClassifier((4,), max_iter=20), naive_bayes.GaussianNB(), naive_bayes.BernoulliNB()],
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
def test_lightgbm_with_categories_is_proved(target: str, compiling: Compiling) -> None:
    kind = lightgbm.LGBMRegressor if target == "value" else lightgbm.LGBMClassifier
    assert_proved(compiling(categories(), Categorical(kind), target), below=1e-14)


def categories_of_xgboost() -> ColumnTransformer:
    """A category as a number, NaN where it is unknown, beside a number."""
    codes = preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    return ColumnTransformer([("town", codes, ["town"]), ("size", "passthrough", ["size"])])


@pytest.mark.parametrize(
    ("preprocessor", "model", "why"),
    [
        (
            categories_of_xgboost(),
            xgboost.XGBRegressor(n_estimators=9, n_jobs=1, enable_categorical=True, feature_types=["c", "q"]),
            "splits by categories",
        ),
        (
            scaled(),
            lightgbm.LGBMRegressor(
                n_estimators=15, n_jobs=1, verbose=-1, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5
            ),
            "averages its trees",
        ),
        (scaled(), lightgbm.LGBMRegressor(n_estimators=15, n_jobs=1, verbose=-1, linear_tree=True), "linear trees"),
    ],
    ids=["categories of XGBoost", "random forest of LightGBM", "linear trees of LightGBM"],
)
def test_a_booster_that_onnx_cannot_express_is_served_by_its_python_object(
    preprocessor: Any, model: Any, why: str, compiling: Compiling
) -> None:
    compiled = compiling(preprocessor, model, "value")
    assert compiled.first.verdict == "refused"
    assert why in compiled.first.why
    assert compiled.compilation.record.serves in ("columns -> model.joblib", PYTHON_ENGINE)
    rows = request_columns(compiled.split.test, compiled.schema.spec)
    direct = model.predict(compiled.fitted.preprocessor.transform(compiled.split.test))
    found = np.asarray(compiled.compilation.predictor.predict(rows).values, dtype=np.float64)
    np.testing.assert_allclose(found, direct, rtol=1e-12)


def test_lightgbm_goes_by_infinite_thresholds() -> None:
    """LightGBM separates large numbers from missing ones at infinity, which its dump clips to 1e300."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2))
    rows[:, 0] = rng.choice([-1e308, 1e308, np.nan], 300)
    model = lightgbm.LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1, min_child_samples=5)
    model.fit(rows, np.isnan(rows[:, 0]) * 5.0 + rows[:, 1])
    assert "threshold=inf" in model.booster_.model_to_string()
    compiled = lightgbm_trees.compiled(model)
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
