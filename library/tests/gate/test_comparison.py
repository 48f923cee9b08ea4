"""The current model is compared with the champion on the rows that it was not trained on."""

import dataclasses
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import FrameError, GateError
from ml_microservice.gate.comparison import CHAMPION, evaluate
from ml_microservice.gate.documents import EVALUATION, VERDICT, Champion, Comparison, read_document
from ml_microservice.settings import Settings, load_settings
from ml_microservice.training.handover import export_model
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train

FEATURES = """
task: {task}
target: {target}
features:
  - {{name: a, type: float}}
  - {{name: b, type: {type}}}
"""


def tiny(root: Path, task: str = "classification", target: str = "y", type: str = "float", **env: str) -> Settings:
    """A project of two features, whose models are not compiled, which takes time, unless told otherwise."""
    (root / "src" / "model").mkdir(parents=True, exist_ok=True)
    features = FEATURES.format(task=task, target=target, type=type)
    (root / "src" / "model" / "features.yaml").write_text(features)
    (root / "config.yaml").write_text("name: tiny\n")
    env = {"training__compile": "false", **env}
    return load_settings(root, {f"SERVICE__{name.upper()}": value for name, value in env.items()})


class Numbers:
    """A Preprocessor that takes some columns as they are."""

    def __init__(self, names: tuple[str, ...] = ("a", "b")) -> None:
        self.names = list(names)

    def fit(self, X: pd.DataFrame, y: Any = None) -> "Numbers":
        """Learn nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """A matrix."""
        return X[self.names].to_numpy(dtype=float)


class OnlyA(Numbers):
    """A Preprocessor that knows of one column."""

    def __init__(self) -> None:
        super().__init__(("a",))


class Backwards:
    """A model that names its classes in another order than others do."""

    def fit(self, X: Any, y: Any) -> "Backwards":
        """Fit another."""
        self.model = LogisticRegression().fit(X, y)
        self.classes_ = self.model.classes_[::-1]
        return self

    def predict(self, X: Any) -> Any:
        """Names."""
        return self.model.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """In the order of its own classes."""
        return self.model.predict_proba(X)[:, ::-1]


def frame(seed: int = 0, rows: int = 200, noise: float = 0.8) -> pd.DataFrame:
    """Rows whose target depends on both features."""
    rng = np.random.default_rng(seed)
    made = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.integers(0, 2, rows)})
    score = made["a"] + made["b"] + noise * rng.normal(size=rows)
    return made.assign(y=np.where(score > 0.5, "up", "down"))


def hooks(
    load: Callable[[], pd.DataFrame] = frame,
    model: Callable[[Any, Any], Any] = lambda X, y: LogisticRegression().fit(X, y),
    preprocessor: Callable[[], Any] = Numbers,
) -> Hooks:
    """Hooks on some data."""

    class Loader:
        def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
            return load() if n_rows is None else load().head(n_rows)

    return Hooks(Loader, preprocessor, model, lambda model: [str(name) for name in model.classes_], Path())


def champion_of(tmp_path: Path, made_by: Hooks, **kind: str) -> Path:
    """The archive of a model that was trained in another checkout."""
    settings = tiny(tmp_path / "champion", **kind)
    train(settings, made_by)
    export_model(settings, tmp_path / "champion.tar")
    return tmp_path / "champion.tar"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained candidate, which no test may change."""
    root = tmp_path_factory.mktemp("candidate")
    train(tiny(root), hooks())
    return root


@pytest.fixture
def candidate(trained: Path, tmp_path: Path) -> Settings:
    """A copy of it."""
    return load_settings(
        Path(shutil.copytree(trained, tmp_path / "candidate")), {"SERVICE__TRAINING__COMPILE": "false"}
    )


@pytest.fixture
def house(project: Path) -> Settings:
    """The project of houses, whose model is compiled in whole."""
    return load_settings(project, {})


def uncompiled(settings: Settings) -> Settings:
    """The same settings for a model that is served by its Python objects."""
    return settings.with_training(settings.training.model_copy(update={"compile": False}))


def beside(settings: Settings, champion: Path) -> Champion:
    """What the evaluation says of a champion."""
    return evaluate(settings, hooks(), champion=champion).champion


def test_the_artefact_is_worth_on_the_held_out_rows_what_training_said(house: Settings, house_hooks: Hooks) -> None:
    comparison = evaluate(house, house_hooks)
    manifest = json.loads((ArtefactStore(house.model_directory).path("current") / "manifest.json").read_text())
    assert comparison.candidate.metrics == pytest.approx(manifest["metrics"])
    assert comparison.rows == manifest["test_rows"]
    assert comparison.champion.status == "absent"
    assert read_document(Comparison, house.root / EVALUATION, advice="") == comparison


@pytest.mark.parametrize("compile", ["true", "false"])
def test_a_champion_of_other_data_is_evaluated_on_the_candidates_rows(
    candidate: Settings, tmp_path: Path, compile: str
) -> None:
    archive = champion_of(tmp_path, hooks(lambda: frame(seed=7, rows=90)), training__compile=compile)
    found = evaluate(candidate, hooks(), champion=archive)
    # The same in ten lines that know nothing of the gate.
    data, others = frame(), frame(seed=7, rows=90)
    parts = [train_test_split(part, test_size=0.2, random_state=42, stratify=part["y"]) for part in (data, others)]
    (_, rows), (theirs, _) = parts
    model = LogisticRegression().fit(theirs[["a", "b"]].to_numpy(dtype=float), theirs["y"])
    right = (model.predict(rows[["a", "b"]].to_numpy(dtype=float)) == rows["y"]).mean()
    assert found.champion.metrics["accuracy"] == pytest.approx(right)
    assert found.champion.metrics.keys() == found.candidate.metrics.keys()
    assert (found.rows, found.champion.status) == (40, "compared")
    assert found.champion.notes == ("It may have been trained on some of these rows, which favours it.",)


def test_the_same_model_as_champion_is_worth_the_same_and_has_not_seen_the_rows(
    candidate: Settings, tmp_path: Path
) -> None:
    export_model(candidate, candidate.root / CHAMPION)
    found = evaluate(candidate, hooks())
    assert found.champion.metrics == found.candidate.metrics
    assert (found.champion.model, found.champion.notes) == (found.candidate.model, ())


def test_a_champion_that_names_its_classes_in_another_order_is_worth_the_same(
    candidate: Settings, tmp_path: Path
) -> None:
    archive = champion_of(tmp_path, hooks(model=lambda X, y: Backwards().fit(X, y)))
    found = evaluate(candidate, hooks(), champion=archive)
    assert found.champion.metrics == pytest.approx(found.candidate.metrics)


def test_a_champion_that_does_without_a_feature_is_compared(candidate: Settings, tmp_path: Path) -> None:
    archive = champion_of(tmp_path, hooks(preprocessor=OnlyA))
    found = evaluate(candidate, hooks(), champion=archive)
    assert found.champion.status == "compared"
    assert found.champion.metrics["accuracy"] != found.candidate.metrics["accuracy"]


def test_a_regression_is_evaluated_in_the_targets_unit(tmp_path: Path) -> None:
    def numbers() -> pd.DataFrame:
        return frame().assign(y=lambda made: 3 * made["a"] + made["b"] + np.sin(9 * made["a"]))

    by = dataclasses.replace(hooks(numbers, lambda X, y: LinearRegression().fit(X, y)), get_classes=None)
    settings = tiny(tmp_path / "candidate", task="regression")
    metrics = train(settings, by).manifest.metrics
    archive = champion_of(tmp_path, by, task="regression")
    found = evaluate(settings, by, champion=archive)
    assert found.candidate.metrics == pytest.approx(metrics)
    assert found.champion.metrics == pytest.approx(metrics)
    assert found.directions == {"mae": "smaller", "rmse": "smaller", "r2": "greater"}


def test_hooks_that_have_changed_since_the_champion_are_told_where_they_were_used(
    house: Settings, house_hooks: Hooks, tmp_path: Path
) -> None:
    export_model(house, tmp_path / "compiled.tar")
    train(uncompiled(house), house_hooks)
    export_model(house, tmp_path / "python.tar")
    (house.root / "src" / "model" / "train.py").write_text("CHANGED = True\n")
    train(uncompiled(house), house_hooks)
    compiled, python = (
        evaluate(house, house_hooks, champion=tmp_path / name).champion for name in ("compiled.tar", "python.tar")
    )
    assert (compiled.status, compiled.notes) == ("compared", ())
    (note,) = python.notes
    assert "trained by other hooks, and its Python objects ran with the code of this checkout" in note


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (lambda: frame(rows=210), r"it has 210 rows instead of 200 \(train again"),
        (lambda: frame(noise=0.7), r"its digest is another \(train again; .*DataLoader draws at random"),
        (lambda: frame().iloc[::-1], "its digest is another"),
    ],
)
def test_data_that_has_changed_since_training_is_not_evaluated_on(
    candidate: Settings, load: Callable[[], pd.DataFrame], words: str
) -> None:
    for stale in (EVALUATION, VERDICT):
        (candidate.root / stale).parent.mkdir(exist_ok=True)
        (candidate.root / stale).write_text("{}")
    with pytest.raises(GateError, match=words):
        evaluate(candidate, hooks(load))
    assert list((candidate.root / "build").iterdir()) == []


def test_data_that_lacks_a_column_by_now_says_which(candidate: Settings) -> None:
    with pytest.raises(FrameError, match="feature 'b' is not a column"):
        evaluate(candidate, hooks(lambda: frame().drop(columns="b")))


def test_a_model_of_some_rows_is_evaluated_on_as_many(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    train(settings, hooks(), n_rows=60)
    assert evaluate(settings, hooks(), n_rows=60).rows == 12
    with pytest.raises(GateError, match="evaluate with the same --rows"):
        evaluate(settings, hooks())


def test_the_split_is_that_of_the_model_and_not_of_the_settings_of_today(candidate: Settings) -> None:
    later = candidate.with_training(candidate.training.model_copy(update={"test_size": 0.5, "seed": 1}))
    assert evaluate(later, hooks()).candidate == evaluate(candidate, hooks()).candidate


def three(frame: pd.DataFrame) -> pd.DataFrame:
    """A third class."""
    return frame.assign(y=np.where(frame["a"] > 1, "high", frame["y"]))


@pytest.mark.parametrize(
    ("made_by", "kind", "words"),
    [
        (hooks(lambda: three(frame())), {}, "Its classes are down, high, up, the candidate's are down, up."),
        (hooks(lambda: frame().rename(columns={"y": "z"})), {"target": "z"}, "It predicts 'z', the candidate 'y'."),
        (hooks(), {"type": "int"}, "Its 'b' is int, the candidate's is float."),
    ],
)
def test_a_champion_of_another_question_is_not_comparable(
    candidate: Settings, tmp_path: Path, made_by: Hooks, kind: dict[str, str], words: str
) -> None:
    found = beside(candidate, champion_of(tmp_path, made_by, **kind))
    assert (found.status, found.why, found.metrics) == ("not comparable", words, {})
    assert found.model is not None


def test_a_champion_that_needs_a_column_which_is_gone_is_not_comparable(tmp_path: Path) -> None:
    archive = champion_of(tmp_path, hooks())
    settings = tiny(tmp_path / "candidate")
    features = settings.features_file.read_text().replace("  - {name: b, type: float}\n", "")
    settings.features_file.write_text(features)
    fewer = hooks(lambda: frame().drop(columns="b"), preprocessor=OnlyA)
    train(settings, fewer)
    found = evaluate(settings, fewer, champion=archive).champion
    assert found.why == "It needs columns that the training frame no longer has: b."


class Moody(Numbers):
    """A Preprocessor that takes the golden rows and few others."""

    def transform(self, X: pd.DataFrame) -> Any:
        """A matrix, unless there are more rows than a process of that day could take."""
        if len(X) == 40:
            raise RuntimeError("too many rows")
        return super().transform(X)


def test_a_champion_that_fails_on_the_rows_is_not_comparable(candidate: Settings, tmp_path: Path) -> None:
    moody = hooks(lambda: frame(rows=90), preprocessor=Moody)
    found = beside(candidate, champion_of(tmp_path, moody))
    assert found.why == "It cannot answer the held-out rows: RuntimeError: too many rows"


def test_a_champion_whose_code_is_gone_is_not_comparable(
    candidate: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = champion_of(tmp_path, hooks(preprocessor=OnlyA))
    monkeypatch.delitem(globals(), "OnlyA")
    found = beside(candidate, archive)
    assert found.status == "not comparable"
    assert "preprocessor.joblib: cannot be loaded: " in found.why


def test_a_champion_of_another_project_or_one_that_was_tampered_with_is_not_comparable(
    candidate: Settings, settings: Settings, tmp_path: Path
) -> None:
    export_model(settings, tmp_path / "houses.tar")
    found = beside(candidate, tmp_path / "houses.tar")
    assert "belongs to project 'houses', this is 'tiny'" in found.why
    export_model(candidate, tmp_path / "tampered.tar")
    content = (tmp_path / "tampered.tar").read_bytes()
    with tarfile.open(tmp_path / "tampered.tar") as archive:
        at = next(entry.offset_data for entry in archive if entry.name.endswith("model.joblib"))
    (tmp_path / "tampered.tar").write_bytes(content[:at] + b"X" + content[at + 1 :])
    found = beside(candidate, tmp_path / "tampered.tar")
    assert (found.status, "its SHA-256 differs" in found.why) == ("not comparable", True)
    (tmp_path / "tampered.tar").write_bytes(b"no archive at all" * 100)
    assert "is no archive of a model" in beside(candidate, tmp_path / "tampered.tar").why


def test_a_champion_that_was_asked_for_has_to_be_there(candidate: Settings, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="there is no such file"):
        evaluate(candidate, hooks(), champion=tmp_path / "none.tar")


def test_no_champion_is_left_unpacked(candidate: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = champion_of(tmp_path, hooks())
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert beside(candidate, archive).status == "compared"
    assert list((tmp_path / "temporary").iterdir()) == []
