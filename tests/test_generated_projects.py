"""Generated projects, run: each in an environment of only its own dependencies, by its own Makefile."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request

import pytest

from conftest import STARTERS, make, run
from demo import HOST, example_request, free_port, open_url, post, serving, wait_until_ready

pytestmark = pytest.mark.t2

OTHER_HOOKS = {
    "features.yaml": """
task: TASK
target: sold for
features:
  - {name: "floor area [m2]", type: float, min: 10, max: 900}
  - {name: class, type: int, min: 0, max: 9, default: 3}
  - {name: garden, type: float, optional: true}
  - {name: colour, type: category, values: [red, white, blue], optional: true}
  - {name: lift, type: bool}
  - {name: notice, type: string, max_length: 40, optional: true, pii: true}
  - {name: built, type: datetime, min: 1900-01-01, optional: true}
  - {name: view, type: vector, length: 2, default: [0, 0]}
""",
    "data_loader.py": """
import random
import pandas as pd

class DataLoader:
    def load_data(self, n_rows=None):
        rng = random.Random(1)
        rows = [
            {
                "floor area [m2]": rng.uniform(20, 400),
                "class": rng.randint(0, 9),
                "garden": rng.choice([None, 0.1, 2.0]),
                "colour": rng.choice(["red", "white", "blue", None]),
                "lift": rng.random() < 0.5,
                "notice": rng.choice(["old oak", "new lake", None]),
                "built": pd.Timestamp(f"19{rng.randint(10, 99)}-05-01"),
                "view": [rng.random(), rng.random()],
            }
            for _ in range(150)
        ]
        frame = pd.DataFrame(rows)
        size = frame["floor area [m2]"]
        frame["sold for"] = size * 1000 if "TASK" == "regression" else (size > 200).map({True: "much", False: "little"})
        return frame if n_rows is None else frame.head(n_rows)
""",
    "train.py": """
import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, RidgeClassifier

class Preprocessor:
    def fit(self, X, y=None):
        self.numbers_ = SimpleImputer(keep_empty_features=True).fit(self._numbers(X))
        return self

    def transform(self, X):
        return self.numbers_.transform(self._numbers(X))

    def _numbers(self, X):
        age = (pd.Timestamp("2020-01-01", tz="UTC") - pd.to_datetime(X["built"], utc=True)).dt.days
        words = X["notice"].map(lambda text: len(text) if isinstance(text, str) else 0)
        view = np.array([list(each) for each in X["view"]], dtype=float).reshape(len(X), 2)
        numbers = X[["floor area [m2]", "class", "garden", "lift"]].astype(float)
        return np.column_stack([numbers, X["colour"] == "red", age.astype(float), words, view])
""",
}
TASKS = {
    "no-probabilities": (
        "classification",
        """
def train_model(X, y):
    return RidgeClassifier().fit(X, y)

def get_classes(model):
    return list(model.classes_)
""",
    ),
    "regression": (
        "regression",
        """
def train_model(X, y):
    return LinearRegression().fit(X, y)
""",
    ),
}

each = pytest.mark.parametrize(
    "starter", [pytest.param(name, marks=pytest.mark.slow) if name == "diabetes" else name for name in STARTERS]
)


@each
def test_its_tests_and_its_lint_pass(starter: str, installed: Callable[[str], Path]) -> None:
    make(installed(starter), "lint", "test")


@pytest.mark.parametrize("kind", ["no-probabilities", "regression"])
def test_its_tests_hold_for_other_hooks(kind: str, baked: Callable[[str], Path], tmp_path: Path) -> None:
    """Of every type of feature: what may be missing, what has a default, personal data, names that are no words."""
    project = Path(shutil.copytree(baked("blank"), tmp_path / "project"))
    for name, text in OTHER_HOOKS.items():
        (project / "src/model" / name).write_text(text.replace("TASK", TASKS[kind][0]), encoding="utf-8")
    train = project / "src/model/train.py"
    train.write_text(train.read_text() + TASKS[kind][1], encoding="utf-8")
    run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], project, PYTHONDONTWRITEBYTECODE="1")


@each
def test_its_hooks_and_its_yaml_files_fit_each_other(starter: str, installed: Callable[[str], Path]) -> None:
    make(installed(starter), "check")


@each
def test_it_trains_serves_predicts_and_stops_when_told(starter: str, trained: Callable[[str], Path]) -> None:
    project, port = trained(starter), free_port()
    with serving(project, port) as process:  # raises unless SIGTERM ends it with exit code 0
        base = f"http://{HOST}:{port}"
        wait_until_ready(base, process)
        answer = post(f"{base}/predict", example_request(project))
        documentation = open_url(Request(f"{base}/docs"))
    if starter == "diabetes":
        assert 25 <= answer["prediction"] <= 346
        assert "probabilities" not in answer
    else:
        assert answer["prediction"] in answer["probabilities"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert (project / "model_bin" / answer["model_version"] / "report.html").stat().st_size > 10_000
    assert b"openapi.json" in documentation


def test_setup_is_done_again_only_when_the_dependencies_changed(installed: Callable[[str], Path]) -> None:
    project = installed("penguins")
    assert "Nothing to be done" in make(project, "setup")
    assert "--editable" in make(project, "setup", "--dry-run", "--what-if=pyproject.toml")
