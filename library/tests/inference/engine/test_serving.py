"""The compiled engine in serving: what it is read from, what it imports, and what happens without it."""

import asyncio
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from typer.testing import CliRunner

from ml_microservice.artefact.manifest import PYTHON_ENGINE, FileDigest
from ml_microservice.artefact.reader import read_artefact, read_manifest
from ml_microservice.artefact.store import MANIFEST, ArtefactStore
from ml_microservice.cli import app
from ml_microservice.errors import ArtefactError
from ml_microservice.inference.core import Core
from ml_microservice.inference.engine.compiled import ARRAYS_FILE, CODEC, ENGINE_FILE, CompiledPredictor
from ml_microservice.inference.predictor import PythonPredictor
from ml_microservice.inference.served_model import ServedModel, load_served_model
from ml_microservice.settings import ApiSettings, load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train

HEAVY = ("pandas", "sklearn", "scipy", "matplotlib", "joblib", "pyarrow")
SCRIPT = """
import asyncio, json, sys
from pathlib import Path
from ml_microservice.api.app import create_api
from ml_microservice.settings import ApiSettings, load_settings
core = create_api(load_settings(Path(sys.argv[1]), {})).state.core
answer = json.loads(asyncio.run(core.predict(sys.argv[2].encode())))
print(json.dumps([answer["prediction"], [name for name in sys.argv[3].split(",") if name in sys.modules]]))
"""


def _folder(root: Path) -> Path:
    return ArtefactStore(root / "model_bin").path("current")


def test_the_house_model_is_served_compiled(served: ServedModel) -> None:
    assert isinstance(served.predictor, CompiledPredictor)
    assert served.manifest.engine.is_compiled
    verdicts = [candidate.verdict for candidate in served.manifest.engine.candidates]
    assert verdicts.count("serves") == 1


def test_serving_a_compiled_model_imports_no_heavy_library(trained_project: Path, house: dict[str, Any]) -> None:
    source = Path(__file__).parents[3] / "src"
    arguments = [sys.executable, "-c", SCRIPT, str(trained_project), json.dumps(house), ",".join(HEAVY)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(source)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["yes", []]


def test_both_engines_answer_alike(settings: Any, served: ServedModel) -> None:
    artefact = read_artefact(_folder(settings.root), settings.name)
    rows = [served.row(json.dumps(golden.request).encode()) for golden in artefact.golden]
    compiled = served.predictor.predict(served.columns(rows))
    python = PythonPredictor.of(artefact).predict(served.columns(rows))
    assert compiled.values == python.values
    assert compiled.probabilities is not None
    assert python.probabilities is not None
    assert abs(compiled.probabilities - python.probabilities).max() < 1e-12


@pytest.mark.parametrize(
    "model",
    [KNeighborsClassifier(3), SVC(probability=True, random_state=0)],
    ids=lambda model: type(model).__name__,
)
def test_a_model_that_is_not_compiled_answers_concurrent_requests_through_its_python_object(
    model: Any, project: Path, house_hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = replace(house_hooks, train_model=lambda features, target: model.fit(features, target))
    settings = load_settings(project, {})
    trained = train(settings, hooks)
    assert trained.manifest.engine.serves.endswith("-> model.joblib")
    served = load_served_model(trained.folder, settings.name, settings.id_name)
    golden = read_artefact(trained.folder, settings.name).golden

    async def answers() -> list[bytes]:
        core = Core(served, ApiSettings())
        return list(await asyncio.gather(*(core.predict(json.dumps(row.request).encode()) for row in golden)))

    found = [json.loads(answer)["prediction"] for answer in asyncio.run(answers())]
    assert found == [row.prediction for row in golden]
    monkeypatch.chdir(project)
    shown = CliRunner().invoke(app, ["model", "explain-engine"])
    assert f"{type(model).__name__} is served by its Python object, in batches" in shown.output


@pytest.mark.parametrize("name", [ENGINE_FILE, ARRAYS_FILE])
def test_a_tampered_engine_is_refused(project: Path, name: str) -> None:
    path = _folder(project) / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        load_served_model(_folder(project), "houses", None)


def test_an_engine_can_name_no_class_but_its_own() -> None:
    with pytest.raises(ValueError, match="not an engine of this version"):
        CODEC.load(b'{"type": "Popen", "args": ["true"]}', CODEC.dump(1)[1])


@pytest.mark.parametrize("kind", ["Neighbours", "SupportVectors", "LightGBMBooster", "XGBoostBooster"])
def test_an_engine_of_an_earlier_version_is_refused_with_the_advice_to_train_again(kind: str, project: Path) -> None:
    folder = _folder(project)
    engine = json.loads((folder / ENGINE_FILE).read_bytes())
    engine["estimator"] = {"type": kind}
    content = json.dumps(engine).encode()
    (folder / ENGINE_FILE).write_bytes(content)
    manifest = read_manifest(folder)
    files = {**manifest.files, ENGINE_FILE: FileDigest.of(content)}
    (folder / MANIFEST).write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    with pytest.raises(ArtefactError) as refused:
        load_served_model(folder, "houses", "house id")
    message = f"{ENGINE_FILE}: cannot be loaded: not an engine of this version, which has no {kind!r} (train again)"
    assert str(refused.value.faults[0]) == message


def test_an_engine_holds_no_pickles(project: Path) -> None:
    folder = _folder(project)
    read_back = CODEC.load((folder / ENGINE_FILE).read_bytes(), (folder / ARRAYS_FILE).read_bytes())
    assert CODEC.dump(read_back)[0] == (folder / ENGINE_FILE).read_bytes()


def test_without_its_library_the_python_objects_serve_with_a_warning(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, house: dict[str, Any]
) -> None:
    def missing(*_: Any) -> Any:
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    monkeypatch.setattr(CompiledPredictor, "load", missing)
    with caplog.at_level(logging.WARNING):
        served = load_served_model(_folder(settings.root), settings.name, settings.id_name)
    assert isinstance(served.predictor, PythonPredictor)
    assert "add 'onnx' to ml-microservice[...] in pyproject.toml" in caplog.text
    answer = asyncio.run(Core(served, ApiSettings()).predict(json.dumps(house).encode()))
    assert json.loads(answer)["prediction"] == "yes"


def test_no_compile_stores_no_engine(project: Path, house_hooks: Hooks) -> None:
    settings = load_settings(project, {"SERVICE__TRAINING__COMPILE": "false"})
    trained = train(settings, house_hooks)
    assert trained.manifest.engine.serves == PYTHON_ENGINE
    assert ENGINE_FILE not in read_manifest(trained.folder).files


def test_explain_engine_tells_what_was_tried(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["model", "explain-engine"])
    assert shown.exit_code == 0, shown.output
    assert "is served by" in shown.output
