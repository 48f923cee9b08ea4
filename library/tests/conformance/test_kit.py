"""The kit as a whole: which checks run, and projects that are sound whatever libraries and types they use."""

import importlib.util
from typing import TYPE_CHECKING

import pytest

from ml_microservice.conformance.kit import CHECKS

if TYPE_CHECKING:
    from tests.conformance.conftest import Project

LABELS = '["early", "late"], "never")'
OUTPUT = "np.column_stack([numbers, colours, words])"
CLASSES = "return [str(label) for label in model.classes_]"

CENTROIDS = """\
class Centroids:
    def __init__(self, X, y):
        self.names = sorted(set(y))
        self.centres = np.stack([X[(y == name).to_numpy()].mean(axis=0) for name in self.names])

    def predict_proba(self, X):
        near = np.exp(-((X[:, None, :] - self.centres) ** 2).sum(axis=2))
        return near / near.sum(axis=1, keepdims=True)

    def predict(self, X):
        return [self.names[position] for position in self.predict_proba(X).argmax(axis=1)]
"""

ENCODED = """\
def encoded(model, X, y):
    names = sorted(set(y))
    model.fit(X, np.array([names.index(name) for name in y]))
    model.names = names
    return model
"""

CAUTIOUS = """\
class Cautious(GaussianNB):
    def predict(self, X):
        return np.where(self.predict_proba(X)[:, 0] > 0.02, self.classes_[0], super().predict(X))
"""


def failures(project: "Project", n_rows: int | None = None) -> list[str]:
    """All faults of all checks, none of which may be skipped."""
    results = project.results(n_rows)
    return [str(fault) for result in results.values() for fault in result.faults] + [
        f"{name} was skipped" for name, result in results.items() if result.outcome == "skipped"
    ]


def test_a_sound_project_passes_every_check(project: "Project") -> None:
    results = project.results()
    assert {name: result.faults for name, result in results.items()} == {check.name: () for check in CHECKS}
    assert {result.outcome for result in results.values()} == {"passed"}


def test_a_check_comes_after_those_that_it_needs() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for position, check in enumerate(CHECKS):
        assert set(check.needs) <= set(names[:position])


def test_what_depends_on_a_failed_check_is_skipped_and_nothing_else(project: "Project") -> None:
    project.train(("return GaussianNB().fit(X, y)", "raise MemoryError"))
    outcomes = {name: result.outcome for name, result in project.results().items()}
    assert [name for name, outcome in outcomes.items() if outcome == "failed"] == ["train"]
    skipped = [name for name, outcome in outcomes.items() if outcome == "skipped"]
    assert skipped == ["answers", "naming", "alone", "edge_answers", "storing", "reading"]


def test_the_number_of_rows_is_handed_on(project: "Project") -> None:
    project.loader(("rng = np", "assert n_rows is not None\n        rng = np"))
    assert failures(project, n_rows=60) == []


def test_one_project_after_another_is_checked_in_one_process(project: "Project") -> None:
    project.train(("def get_classes", "def classes"))
    assert project.first_failure()[0] == "hooks"
    second = type(project)(project.root / "second")
    for file in (
        "config.yaml",
        *(f"src/model/{name}" for name in ("__init__.py", "features.yaml", "data_loader.py", "train.py")),
    ):
        second.write(file, (project.root / file).read_text().replace("def classes", "def get_classes"))
    assert second.first_failure() == ("none", "")
    assert project.first_failure()[0] == "hooks"


@pytest.mark.parametrize("labels", ["[0, 1], 2)", "[True, True], False)", "[10, 30], 20)"], ids=["0-2", "bool", "any"])
def test_labels_that_are_no_words(project: "Project", labels: str) -> None:
    project.loader((LABELS, labels))
    assert failures(project) == []


@pytest.mark.parametrize(
    "output",
    [
        "csr_matrix(" + OUTPUT + ")",
        OUTPUT + ".astype('float32')",
        OUTPUT + ".tolist()",
        "pd.DataFrame(" + OUTPUT + ", index=X.index).add_prefix('x')",
        "pd.DataFrame(" + OUTPUT + ").add_prefix('x')",
    ],
    ids=["sparse", "single-precision", "list", "frame", "frame-of-its-own-index"],
)
def test_outputs_of_transform_that_are_no_matrix(project: "Project", output: str) -> None:
    project.model("from sklearn.linear_model import LogisticRegression", "LogisticRegression(tol=0.01).fit(X, y)")
    project.train(
        (OUTPUT, output), ("import pandas as pd\n", "import pandas as pd\nfrom scipy.sparse import csr_matrix\n")
    )
    assert failures(project) == []


def test_a_model_that_is_of_no_library(project: "Project") -> None:
    project.model(CENTROIDS, "Centroids(X, y)").train((CLASSES, "return model.names"))
    assert failures(project) == []


def test_a_model_without_probabilities(project: "Project") -> None:
    project.model("from sklearn.svm import LinearSVC", "LinearSVC().fit(X, y)")
    assert failures(project) == []


def test_a_model_that_answers_no_word_of_get_classes(project: "Project") -> None:
    project.model(ENCODED, "encoded(GaussianNB(), X, y)").train((CLASSES, "return model.names"))
    assert failures(project) == []


@pytest.mark.parametrize(
    ("library", "model"),
    [
        ("lightgbm", "LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1, n_jobs=1)"),
        ("xgboost", "XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1)"),
    ],
)
@pytest.mark.parametrize(("names", "failing"), [("model.names", "none"), ("model.names[::-1]", "naming")])
def test_boosted_trees_that_want_their_labels_encoded(
    project: "Project", library: str, model: str, names: str, failing: str
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    name = model.partition("(")[0]
    project.model(f"from {library} import {name}\n\n\n{ENCODED}", f"encoded({model}, X, y)")
    project.train((CLASSES, f"return {names}"))
    assert project.first_failure()[0] == failing


def test_a_model_that_prefers_a_rare_class_to_the_most_probable(project: "Project") -> None:
    project.model(CAUTIOUS, "Cautious().fit(X, y)")
    assert failures(project) == []


def test_a_model_that_has_learned_nothing(project: "Project") -> None:
    project.model("from sklearn.dummy import DummyClassifier", "DummyClassifier(strategy='prior').fit(X, y)")
    assert failures(project) == []


def test_a_regression(project: "Project") -> None:
    project.regression("from sklearn.linear_model import Ridge", "Ridge().fit(X, y)")
    project.train(("def get_classes(model):\n    " + CLASSES, ""))
    assert failures(project) == []


def test_a_frame_whose_index_repeats_itself(project: "Project") -> None:
    project.loader((LABELS, LABELS + "\n        frame.index = frame.index % 7"))
    assert failures(project) == []


EVERY_TYPE = """\
        frame["lift"] = pd.Series(rng.choice([True, False, None], 90)).astype("boolean")
        frame["colour"] = frame["colour"].astype("category")
        frame["floor area"] = frame["floor area"].astype("float32")
        frame["built"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(rng.integers(0, 10**9, 90), unit="s")
        frame["seen"] = frame["built"].dt.tz_localize("Europe/Oslo", ambiguous=True, nonexistent="shift_forward")
        frame.loc[3, "seen"] = pd.NaT
        frame["floor"] = pd.Series(rng.choice([1, 2, None], 90)).astype("Int64")
        frame["view"] = list(rng.random((90, 3)).astype("float32"))
"""
TYPES = """\
  - {name: lift, type: bool, optional: true}
  - {name: built, type: datetime, min: 1990-01-01}
  - {name: seen, type: datetime, optional: true}
  - {name: floor, type: category, values: [1, 2], optional: true}
  - {name: view, type: vector, length: 3, min: -1, max: 1, pii: true}
"""
USED = """\
more = [X["lift"].fillna(False), X["built"].dt.year / 1000 - 2, X["seen"].dt.hour.fillna(12) / 24, X["floor"].fillna(0)]
more = [np.asarray(column, dtype=float) for column in more]
words = np.column_stack([words, *more, np.stack(X["view"].to_list())])
"""


def test_features_of_every_type(project: "Project") -> None:
    project.loader(('        frame["sold"]', EVERY_TYPE + '        frame["sold"]'))
    project.write("src/model/features.yaml", (project.root / "src/model/features.yaml").read_text() + TYPES)
    project.transform(USED)
    assert failures(project) == []
