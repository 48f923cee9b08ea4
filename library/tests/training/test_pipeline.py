"""Training: the hooks' results are checked, and a run leaves a complete model version."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import ArtefactError, FrameError, HookError
from ml_microservice.inference.core import Core
from ml_microservice.inference.served_model import load_served_model
from ml_microservice.settings import ApiSettings, Settings, load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import STAGES, Trained, train

FEATURES = """
task: {task}
target: y
features:
  - {{name: a, type: float}}
  - {{name: b, type: float, optional: true}}
"""


def settings_for(root: Path, task: str = "classification") -> Settings:
    """The settings of a project of two features."""
    (root / "src" / "model").mkdir(parents=True, exist_ok=True)
    (root / "src" / "model" / "features.yaml").write_text(FEATURES.format(task=task))
    (root / "config.yaml").write_text("name: tiny\n")
    return load_settings(root, {})


class Numbers:
    """A Preprocessor that fills gaps with the mean it has seen."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> "Numbers":
        """Learn the means."""
        self.means = X.mean()
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """Numbers without gaps."""
        return X.fillna(self.means).to_numpy()


class Sparse(Numbers):
    """The same as a sparse matrix."""

    def transform(self, X: pd.DataFrame) -> Any:
        """Numbers without gaps."""
        return csr_matrix(super().transform(X))


def own_classes(model: Any) -> list[str]:
    """As the model orders them."""
    return [str(label) for label in model.classes_]


def hooks(
    labels: Callable[[np.ndarray[Any, Any]], Any],
    train_model: Callable[[Any, Any], Any] = lambda X, y: LogisticRegression().fit(X, y),
    get_classes: Callable[[Any], Any] = own_classes,
    preprocessor: Callable[[], Any] = Numbers,
) -> Hooks:
    """Hooks on 80 rows whose target is made from the first feature."""

    class Loader:
        def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
            rng = np.random.default_rng(0)
            a = rng.normal(size=80)
            return pd.DataFrame({"a": a, "b": np.where(a > 1.5, np.nan, a), "y": labels(a)})

    return Hooks(Loader, preprocessor, train_model, get_classes, Path())


def answer_of(root: Path, row: dict[str, Any]) -> dict[str, Any]:
    """What the current model of a project answers."""
    served = load_served_model(ArtefactStore(root / "model_bin").path("current"), "tiny", None)
    answer: dict[str, Any] = json.loads(asyncio.run(Core(served, ApiSettings()).predict(json.dumps(row).encode())))
    return answer


class Codes:
    """A duck-typed model that knows its classes only as codes from 0, and has no `classes_`."""

    def predict_proba(self, X: Any) -> list[list[float]]:
        """Sure of itself."""
        return [[0.1, 0.2, 0.7] if row[0] > 0 else [0.2, 0.7, 0.1] for row in X]

    def predict(self, X: Any) -> list[int]:
        """Codes, as raw boosters give them."""
        return [2 if row[0] > 0 else 1 for row in X]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (lambda a: np.where(a > 0, "up", "down"), "up"),
        (lambda a: np.where(a > 0, 7, 3), "7"),
        (lambda a: a > 0, "True"),
        (lambda a: np.where(a > 0, 1.0, 0.0), "1.0"),
        (lambda a: pd.Categorical(np.where(a > 0, "up", "down")), "up"),
    ],
)
def test_labels_of_any_kind_are_answered_by_name(tmp_path: Path, labels: Callable[[Any], Any], expected: str) -> None:
    train(settings_for(tmp_path), hooks(labels))
    answer = answer_of(tmp_path, {"a": 2.0, "b": 2.0})
    assert answer["prediction"] == expected
    assert answer["probabilities"][expected] == max(answer["probabilities"].values())


def test_codes_that_look_like_other_classes_are_told_by_their_probabilities(tmp_path: Path) -> None:
    labels = hooks(lambda a: np.where(a > 0, 3, np.where(a > -1, 2, 1)), lambda X, y: Codes(), lambda m: list("123"))
    trained = train(settings_for(tmp_path), labels)
    assert answer_of(tmp_path, {"a": 2.0})["prediction"] == "3"
    assert trained.manifest.metrics["accuracy"] == pytest.approx(0.8, abs=0.2)


def test_names_of_its_own_stand_in_the_models_order(tmp_path: Path) -> None:
    train(settings_for(tmp_path), hooks(lambda a: (a > 0).astype(int), get_classes=lambda model: ["bad", "good"]))
    assert answer_of(tmp_path, {"a": 2.0, "b": 2.0})["prediction"] == "good"


def test_sparse_matrices_and_models_without_probabilities_are_served(tmp_path: Path) -> None:
    sparse = hooks(lambda a: np.where(a > 0, "up", "down"), lambda X, y: LinearSVC().fit(X, y), preprocessor=Sparse)
    trained = train(settings_for(tmp_path), sparse)
    answer = answer_of(tmp_path, {"a": 2.0})
    assert answer["prediction"] == "up"
    assert "probabilities" not in answer
    assert "log_loss" not in trained.manifest.metrics


def test_regression_answers_numbers_and_needs_no_classes(tmp_path: Path) -> None:
    numbers = hooks(lambda a: a * 2 + 1, lambda X, y: LinearRegression().fit(X, y))
    trained = train(settings_for(tmp_path, "regression"), dataclasses.replace(numbers, get_classes=None))
    assert answer_of(tmp_path, {"a": 2.0, "b": 2.0})["prediction"] == pytest.approx(5, abs=0.5)
    assert trained.manifest.classes == ()
    assert trained.manifest.metrics["r2"] is not None


def up(a: Any) -> Any:
    """Two classes by name."""
    return np.where(a > 0, "up", "down")


class TwoOutputs:
    """A regressor of two outputs."""

    def predict(self, X: Any) -> Any:
        """Two columns."""
        return np.zeros((X.shape[0], 2))


class Dropping(Numbers):
    """A Preprocessor that drops rows with gaps."""

    def transform(self, X: pd.DataFrame) -> Any:
        """Fewer rows."""
        return X.dropna().to_numpy()


class Selfless(Numbers):
    """A Preprocessor whose fit returns nothing."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> "Numbers":
        """Not self."""
        return None  # type: ignore[return-value]


def boom(X: Any, y: Any) -> Any:
    """Fails."""
    raise KeyError("colour")


@pytest.mark.parametrize(
    ("broken", "task", "words"),
    [
        (hooks(up, boom), "classification", "train_model raised KeyError"),
        (hooks(up, lambda X, y: None), "classification", "train_model returned NoneType, which has no predict"),
        (hooks(up, lambda X, y: TwoOutputs()), "regression", "must be numeric|number"),
        (hooks(lambda a: a, lambda X, y: TwoOutputs()), "regression", "several outputs are not supported"),
        (hooks(up, preprocessor=Dropping), "classification", r"Preprocessor.transform returned \d+ rows for 64"),
        (hooks(up, preprocessor=Selfless), "classification", "Preprocessor.fit must return self"),
        (hooks(up, get_classes=lambda m: ["up", "down"]), "classification", r"predict_proba's columns are \['down'"),
        (hooks(up, get_classes=lambda m: m.classes_), "classification", "must return a list of text"),
        (hooks(up, get_classes=lambda m: ["x"]), "classification", "at least two distinct names"),
        (hooks(up, get_classes=lambda m: ["x", "y", "z"]), "classification", "the model has 2 classes"),
    ],
)
def test_hooks_that_cannot_be_served_are_refused_with_the_remedy(
    tmp_path: Path, broken: Hooks, task: str, words: str
) -> None:
    with pytest.raises((HookError, FrameError), match=words):
        train(settings_for(tmp_path, task), broken)
    assert not (tmp_path / "model_bin").exists()


def test_a_model_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    def unstorable(X: Any, y: Any) -> Any:
        model = LogisticRegression().fit(X, y)
        model.callback = lambda: None
        return model

    with pytest.raises(HookError, match="what train_model made cannot be stored"):
        train(settings_for(tmp_path), hooks(up, unstorable))


def test_a_version_holds_everything_and_becomes_the_current_one(tmp_path: Path) -> None:
    stages: list[str] = []
    settings = settings_for(tmp_path)
    first = train(settings, hooks(up), on_stage=stages.append)
    second = train(settings, hooks(up), clock=lambda: datetime.now(UTC) + timedelta(seconds=2))
    assert len(stages) == STAGES
    assert ArtefactStore(settings.model_directory).current() == second.manifest.version
    assert ArtefactStore(settings.model_directory).versions() == [first.manifest.version, second.manifest.version]
    assert {path.name for path in second.folder.iterdir()} - set(second.manifest.engine.files) == {
        "manifest.json", "model.joblib", "preprocessor.joblib", "schema.json", "golden.json",
        "features.yaml", "config.yaml", "evaluation.json", "reference.json", "report.html",
        "report.md",
    }  # fmt: skip


def later(settings: Settings, seconds: int, own: Hooks) -> Trained:
    """Train as if some seconds later."""
    return train(settings, own, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def test_the_same_data_and_seed_give_the_same_model_even_from_a_hook_without_a_seed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    forest = hooks(up, lambda X, y: RandomForestClassifier(5).fit(X, y))
    first, second = later(settings, 0, forest), later(settings, 1, forest)
    assert first.manifest.reproduction.verdict == "first"
    assert second.manifest.reproduction.verdict == "identical"
    assert second.manifest.reproduction.of == first.manifest.version
    assert first.manifest.files["model.joblib"] == second.manifest.files["model.joblib"]


def test_a_model_that_comes_out_differently_says_why(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    unseeded = hooks(up, lambda X, y: RandomForestClassifier(5).fit(X, y))
    later(settings, 0, unseeded)
    (tmp_path / "config.yaml").write_text("name: tiny\ntraining: {seed: 43}\n")
    reseeded = later(load_settings(tmp_path, {}), 1, unseeded)
    assert reseeded.manifest.reproduction.verdict == "different"
    assert reseeded.manifest.reproduction.why == ("training.seed changed",)
    own = np.random.default_rng()
    random = hooks(up, lambda X, y: RandomForestClassifier(5, random_state=int(own.integers(9999))).fit(X, y))
    later(load_settings(tmp_path, {}), 2, random)
    again = later(load_settings(tmp_path, {}), 3, random)
    assert "a hook uses randomness of its own" in again.manifest.reproduction.why[0]


def test_a_frame_that_contradicts_features_yaml_is_refused(tmp_path: Path) -> None:
    class NoFrame:
        def load_data(self, n_rows: int | None = None) -> Any:
            return [1, 2]

    with pytest.raises(FrameError, match="load_data returned list"):
        train(settings_for(tmp_path), dataclasses.replace(hooks(up), data_loader=NoFrame))


def test_golden_rows_hold_no_personal_data(trained_project: Path) -> None:
    folder = ArtefactStore(trained_project / "model_bin").path("current")
    rows = json.loads((folder / "golden.json").read_text())
    assert not {"Ada", "Bob"} & {row["request"].get("owner") for row in rows}
    assert not any(b"Ada" in path.read_bytes() for path in folder.iterdir())


def test_a_failed_training_keeps_the_current_model(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    good = train(settings, hooks(up))
    with pytest.raises(HookError):
        train(settings, hooks(up, boom))
    assert ArtefactStore(settings.model_directory).current() == good.manifest.version
    with pytest.raises(ArtefactError):
        ArtefactStore(settings.model_directory).path("20200101-000000-000000")
