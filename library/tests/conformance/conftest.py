"""A small project that passes all checks, to be broken one way at a time."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from ml_microservice.conformance.kit import Result, run_checks

CONFIG = "name: houses\nid_name: house id\n"

FEATURES = """\
task: classification
target: sold
features:
  - {name: floor area, type: float, min: 10, max: 500}
  - {name: rooms, type: int, min: 1, max: 12, default: 3}
  - {name: garden, type: float, optional: true}
  - {name: colour, type: category, values: [blue, red, white], optional: true}
  - {name: note, type: string, max_length: 50}
"""

LOADER = """\
import numpy as np
import pandas as pd


class DataLoader:
    def load_data(self, n_rows=None):
        rng = np.random.default_rng(0)
        area = rng.uniform(20, 400, 90)
        frame = pd.DataFrame(
            {
                "house id": [f"h{row}" for row in range(90)],
                "floor area": area,
                "rooms": rng.integers(1, 9, 90),
                "garden": np.where(rng.random(90) < 0.3, np.nan, rng.uniform(0, 2, 90)),
                "colour": rng.choice(["blue", "red", "white", None], 90),
                "note": rng.choice(["quiet", "near the lake", "to be renovated"], 90),
                "year": rng.integers(1900, 2000, 90),
            }
        )
        frame["sold"] = np.select([area < 120, area < 260], ["early", "late"], "never")
        return frame if n_rows is None else frame.head(n_rows)
"""

TRAIN = """\
import numpy as np
import pandas as pd
from sklearn.naive_bayes import GaussianNB

NUMBERS = ["floor area", "rooms", "garden"]


class Preprocessor:
    def fit(self, X, y=None):
        self.means = X[NUMBERS].mean()
        self.scale = X[NUMBERS].std()
        self.colours = sorted(X["colour"].dropna().unique())
        return self

    def transform(self, X):
        numbers = ((X[NUMBERS] - self.means) / self.scale).fillna(0.0).to_numpy(dtype=float)
        colours = np.column_stack([(X["colour"] == colour).to_numpy(dtype=float) for colour in self.colours])
        words = X["note"].str.split().str.len().to_numpy(dtype=float)
        return np.column_stack([numbers, colours, words])


def train_model(X, y):
    return GaussianNB().fit(X, y)


def get_classes(model):
    return [str(label) for label in model.classes_]
"""

FITTED = "GaussianNB().fit(X, y)"
CLASSES = "return [str(label) for label in model.classes_]"

WRAPPED = """\
class Wrapped:
    def __init__(self, X, y):
        self.inner = GaussianNB().fit(X, y)
        self.names = self.inner.classes_.tolist()

    def predict(self, X):
        return self.inner.predict(X)

    def predict_proba(self, X):
        return self.inner.predict_proba(X)
"""


@dataclass(frozen=True)
class Project:
    """A project on disk."""

    root: Path

    def write(self, file: str, text: str) -> Self:
        """Write a whole file."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def replace(self, file: str, *changes: tuple[str, str]) -> Self:
        """Replace parts of a file, each of which has to be there."""
        text = (self.root / file).read_text()
        for old, new in changes:
            assert old in text, f"{old!r} is not in {file}"
            text = text.replace(old, new)
        return self.write(file, text)

    def config(self, *changes: tuple[str, str]) -> Self:
        """Change `config.yaml`."""
        return self.replace("config.yaml", *changes)

    def features(self, *changes: tuple[str, str]) -> Self:
        """Change `features.yaml`."""
        return self.replace("src/model/features.yaml", *changes)

    def loader(self, *changes: tuple[str, str]) -> Self:
        """Change `data_loader.py`."""
        return self.replace("src/model/data_loader.py", *changes)

    def train(self, *changes: tuple[str, str]) -> Self:
        """Change `train.py`."""
        return self.replace("src/model/train.py", *changes)

    def transform(self, body: str) -> Self:
        """Put something in front of the last line of `transform`, or, with `return` in it, instead of that line."""
        last = "        return np.column_stack([numbers, colours, words])\n"
        lines = "".join(f"        {line}\n" for line in body.splitlines())
        return self.train((last, lines if "return" in body else lines + last))

    def model(self, code: str, made: str) -> Self:
        """Let `train_model` return something else, with the code that this needs."""
        return self.train(
            ("def train_model", f"{code}\n\n\ndef train_model"),
            (f"return {FITTED}", f"return {made}"),
        )

    def wrapped(self, *changes: tuple[str, str], classes: str = "return model.names") -> Self:
        """Let `train_model` return something that scikit-learn knows nothing of, changed in some parts."""
        code = WRAPPED
        for old, new in changes:
            assert old in code, f"{old!r} is not in the wrapped model"
            code = code.replace(old, new)
        return self.model(code, "Wrapped(X, y)").train((CLASSES, classes))

    def regression(self, code: str, made: str) -> Self:
        """Predict a number."""
        self.features(("classification", "regression"), ("target: sold", "target: year"))
        return self.model(code, made)

    def first_failure(self) -> tuple[str, str]:
        """The name of the first check that fails, and its faults in words."""
        for result in run_checks(self.root):
            if result.outcome == "failed":
                return result.check.name, "\n".join(map(str, result.faults))
        return "none", ""

    def results(self, n_rows: int | None = None) -> dict[str, Result]:
        """All results, by name."""
        return {result.check.name: result for result in run_checks(self.root, n_rows=n_rows)}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The project, with this process left as it was: all projects call their package `model`."""
    path, modules = list(sys.path), {name: sys.modules[name] for name in sys.modules if name.split(".")[0] == "model"}
    made = Project(tmp_path)
    texts = {"features.yaml": FEATURES, "__init__.py": "", "data_loader.py": LOADER, "train.py": TRAIN}
    made.write("config.yaml", CONFIG)
    for name, text in texts.items():
        made.write(f"src/model/{name}", text)
    yield made
    for name in [name for name in sys.modules if name.split(".")[0] == "model"]:
        del sys.modules[name]
    sys.modules.update(modules)
    sys.path[:] = path
