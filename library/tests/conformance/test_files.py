"""Faults in the YAML files, and hooks that are missing, cannot be imported, or cannot be called."""

import re
from typing import TYPE_CHECKING

import pytest

from ml_microservice import extras

if TYPE_CHECKING:
    from tests.conformance.conftest import Project


def test_a_misspelt_key_of_config_yaml(project: "Project") -> None:
    project.config(("id_name", "id_nmae"))
    check, said = project.first_failure()
    assert check == "config"
    assert "config.yaml:2: unknown key 'id_nmae' (did you mean 'id_name'?)" in said


def test_a_fault_in_a_section_that_a_service_leaves_alone(project: "Project") -> None:
    project.config(("id_name", "pipelines: {retrain: hourly}\nid_name"))
    check, said = project.first_failure()
    assert check == "config"
    assert "config.yaml:2: 'hourly' is no time as Jenkins writes it" in said


@pytest.mark.parametrize(
    ("section", "setting", "extra"),
    [
        ("api: {grpc_port: 9001}", "api.grpc_port", "grpc"),
        ("records: {sinks: [database, fluentd]}", "records.sinks", "fluentd"),
        ("database: {url: 'postgresql+psycopg://me@localhost/mine'}", "database.url", "postgres"),
        ("jobs: {broker: 'redis://localhost:6379/0'}", "jobs.broker", "redis"),
        ("jobs: {broker: 'amqp://me@localhost:5672/'}", "jobs.broker", "jobs"),
        ("jobs: {storage: 's3://bucket/jobs'}", "jobs.storage", "storage"),
        ("tracing: {endpoint: 'http://localhost:4318'}", "tracing.endpoint", "tracing"),
        ("training: {engine: dask}", "training.engine", "dask"),
    ],
)
def test_a_setting_whose_extra_is_not_installed(
    project: "Project", section: str, setting: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(extras.MODULES, extra, "not_installed.at_all")
    project.config(("id_name", f"{section}\nid_name"))
    check, said = project.first_failure()
    assert check == "extras"
    assert f"config.yaml: {setting} needs the extra {extra!r}, which is not installed (add {extra!r} to" in said
    assert "ml-microservice[...] in pyproject.toml, then 'make setup'" in said


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("type: float, min: 10", "type: flaot, min: 10", r"features\.yaml:4: feature 'floor area': type.*mean 'float'"),
        (
            "min: 1, max: 12",
            "min: 12, max: 1",
            r"features\.yaml:5: feature 'rooms': min \(12\) is greater than max \(1\)",
        ),
        ("name: rooms", "name: sold", r"features\.yaml:5: the target 'sold' is among the features \(remove it"),
        ("name: rooms", "name: house id", r"features\.yaml:5: the entity id 'house id' is among the features \(remove"),
    ],
    ids=["type", "range", "target", "entity-id"],
)
def test_a_fault_of_features_yaml(project: "Project", old: str, new: str, sentence: str) -> None:
    project.features((old, new))
    check, said = project.first_failure()
    assert check == "features"
    assert re.search(sentence, said), said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([("def get_classes", "def get_clases")], r"train\.py: get_classes is missing \(did you mean 'get_clases'\?\)"),
        (
            [("import numpy as np", "import nump")],
            r"train\.py:1: imports 'nump', which is not installed \(add the package",
        ),
        (
            [("import numpy as np", "import model.words")],
            r"train\.py:1: .*'model\.words'.* \(write src/model/words\.py, or",
        ),
        ([("import numpy as np", "import numpy as")], r"train\.py:1: is not Python: "),
        ([("NUMBERS = [", "NUMBERS = 1 / 0 + [")], r"train\.py:5: cannot be imported: ZeroDivisionError"),
        (
            [("fit(self, X, y=None)", "fit(self, X)")],
            r"train\.py:9: Preprocessor\.fit does not take X, y: .*X, y=None\)\)",
        ),
        ([("transform(self, X)", "transform(X)")], r"train\.py:15: Preprocessor\.transform does not take X"),
        (
            [("def transform", "def transfrom")],
            r"train\.py:8: Preprocessor has no method transform \(write: def transf",
        ),
        (
            [("    def fit", "    def __init__(self, size): ...\n    def fit")],
            r"train\.py:8: Preprocessor does not take no a",
        ),
        (
            [("get_classes(model)", "get_classes()")],
            r"train\.py:26: get_classes does not take model: .*get_classes\(model\)",
        ),
    ],
    ids=["missing", "library", "module", "syntax", "raises", "fit", "self", "method", "init", "get_classes"],
)
def test_a_hook_that_cannot_be_used(project: "Project", changes: list[tuple[str, str]], sentence: str) -> None:
    project.train(*changes)
    check, said = project.first_failure()
    assert check == "hooks"
    assert re.search("src/model/" + sentence, said), said


def test_load_data_that_takes_no_number_of_rows(project: "Project") -> None:
    project.loader(("n_rows=None", ""), ("if n_rows is None else frame.head(n_rows)", ""))
    check, said = project.first_failure()
    assert check == "hooks"
    assert re.search(r"data_loader\.py:6: DataLoader\.load_data does not take n_rows: .*n_rows=None\)\)", said), said


def test_a_missing_file(project: "Project") -> None:
    (project.root / "src/model/train.py").unlink()
    assert project.first_failure() == (
        "hooks",
        "src/model/train.py: there is no such file (restore it from version control)",
    )


def test_faults_of_several_files_are_told_at_once(project: "Project") -> None:
    project.features(("type: int", "type: integer"))
    project.loader(("class DataLoader", "class Loader"))
    project.train(("def train_model", "def train"))
    results = project.results()
    assert results["features"].outcome == "failed"
    assert [fault.message for fault in results["hooks"].faults] == ["DataLoader is missing", "train_model is missing"]
    assert results["load"].outcome == "skipped"


def test_a_hook_may_be_written_in_a_module_beside(project: "Project") -> None:
    project.write("src/model/words.py", "class Words:\n    def transform(self, X): return None\n")
    project.train(("import numpy as np", "import numpy as np\nfrom model.words import Words"))
    project.train(("class Preprocessor:", "class Preprocessor(Words):"), ("    def transform", "    def other"))
    check, said = project.first_failure()
    assert check == "fit"
    assert said.startswith("src/model/words.py:2: Preprocessor.transform returned nothing (end it with 'return'")


def test_a_gate_that_asks_for_a_metric_that_there_is_not(project: "Project") -> None:
    project.config(("name: houses", "name: houses\ngate: {thresholds: {rmse: 2, accuracy: 0.9}}"))
    check, said = project.first_failure()
    assert check == "gate"
    assert "config.yaml:2: gate.thresholds names 'rmse'; this model is evaluated by accuracy, balanced_accuracy" in said
    assert "'accuracy'" not in said
