"""A model that cannot be compiled or proved is served by its Python objects, and the record says why."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ml_microservice.artefact.manifest import PYTHON_ENGINE
from ml_microservice.features.layout import FrameLayout
from ml_microservice.training.compilation import estimators
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator
from ml_microservice.training.compilation.estimators import Form
from ml_microservice.training.compilation.preprocessing import compile_preprocessing
from ml_microservice.training.compilation.refusal import Refusal
from tests.training.compilation.conftest import GAPS, Compiling, fit_with

pytestmark = pytest.mark.slow


def _over(*steps: Any, columns: Any = GAPS) -> ColumnTransformer:
    return ColumnTransformer([("numbers", make_pipeline(SimpleImputer(), *steps), columns)])


class Delegating:
    """A Preprocessor whose transform only calls a scikit-learn transformer."""

    def fit(self, X: Any, y: Any = None) -> "Delegating":
        """Learn."""
        self.inner_ = _over(StandardScaler()).fit(X)
        return self

    def transform(self, X: Any) -> Any:
        """The rows as the model takes them."""
        return self.inner_.transform(X)


class Meddling(Delegating):
    """A Preprocessor with code of its own."""

    def transform(self, X: Any) -> Any:
        """The rows, changed first."""
        return self.inner_.transform(X.assign(size=X["size"] * 2))


class Intercepting(Delegating):
    """A Preprocessor that finds attributes in its own way."""

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


class OwnScaler(StandardScaler):  # type: ignore[misc]
    """A subclass, which may do anything."""


def test_a_class_that_only_passes_on_is_compiled(compiling: Compiling) -> None:
    assert compiling(Delegating(), LogisticRegression()).first.verdict == "serves"


@pytest.mark.parametrize(
    ("preprocessor", "why"),
    [
        (Meddling(), "Meddling.transform has code of its own"),
        (Intercepting(), "changes how its attributes are found"),
        (_over(FunctionTransformer(lambda x: x)), r"functiontransformer calls .*<lambda>"),
        (ColumnTransformer([("knn", KNNImputer(), GAPS)]), r"knn \(sklearn.impute._knn.KNNImputer\)"),
        (_over(OwnScaler()), "OwnScaler.* has no compiled form"),
        (_over(StandardScaler()).set_output(transform="pandas"), "set_output"),
    ],
    ids=["own code", "attributes", "lambda", "KNNImputer", "subclass", "pandas"],
)
def test_a_step_without_a_compiled_form_is_named(preprocessor: Any, why: str) -> None:
    fitted, _, schema = fit_with(preprocessor, LogisticRegression())
    layout = FrameLayout.from_json(schema.layout)
    with pytest.raises(Refusal, match=why):
        compile_preprocessing(fitted.preprocessor, layout, schema.spec)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (CalibratedClassifierCV(LogisticRegression(), cv=2), "CalibratedClassifierCV"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "move its transformers into Preprocessor"),
    ],
    ids=["calibrated", "pipeline"],
)
def test_an_estimator_without_a_compiled_form_keeps_compiled_preprocessing(
    model: Any, why: str, compiling: Compiling
) -> None:
    compiled = compiling(_over(StandardScaler(), columns=["rooms"]), model)
    assert compiled.first.verdict == "refused"
    assert why in compiled.first.why
    assert compiled.candidate("columns -> model.joblib").verdict == "serves"


def test_the_users_own_preprocessing_feeds_a_compiled_forest(compiling: Compiling) -> None:
    # So many trees that the compiled ones are the faster by far, however busy this machine is.
    compiled = compiling(Meddling(), RandomForestClassifier(300, random_state=0))
    assert compiled.candidate("preprocessor.joblib -> onnx").verdict == "serves"


def _wrong(change: Any) -> Any:
    right = estimators.form_of

    def form_of(model: Any) -> Form:
        form = right(model)

        def compiler(model: Any) -> CompiledEstimator:
            made = form.compile(model)
            return replace(made, estimator=change(made.estimator))

        return replace(form, compile=compiler)

    return form_of


@pytest.mark.parametrize("off", [1e-6, 1e-3, 1.0])
def test_a_compiled_form_that_is_wrong_is_not_served(
    off: float, compiling: Compiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ml_microservice.training.compilation.plans.form_of",
        _wrong(lambda linear: replace(linear, intercept=linear.intercept + off)),
    )
    compiled = compiling(_over(StandardScaler()), LogisticRegression())
    assert compiled.first.verdict == "unproved"
    assert "numpy" not in compiled.compilation.record.serves


def test_a_threshold_that_is_rounded_to_float32_is_found(compiling: Compiling, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_microservice.training.compilation import trees

    right = trees._histogram_tree

    def rounded(nodes: Any) -> Any:
        made = right(nodes)
        return replace(made, threshold=made.threshold.astype(np.float32).astype(np.float64))

    monkeypatch.setattr(trees, "_histogram_tree", rounded)
    compiled = compiling(_over(), HistGradientBoostingClassifier(max_iter=5))
    assert compiled.first.verdict == "unproved"


def test_an_engine_that_answers_where_the_object_refuses_is_not_served(
    compiling: Compiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_microservice.inference.engine.linear.refuse_non_finite", lambda matrix: None)
    scaled = ColumnTransformer([("raw", StandardScaler(), ["size"])])
    compiled = compiling(scaled, LogisticRegression())
    assert compiled.first.verdict == "unproved"
    assert "not ValueError" in compiled.first.why


def test_without_onnx_the_python_object_serves(compiling: Compiling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    words = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["town"])])
    compiled = compiling(words, RandomForestClassifier(3))
    assert compiled.first.verdict == "refused"
    assert "onnxruntime" in compiled.first.why
    assert compiled.compilation.record.serves != PYTHON_ENGINE
