"""`ml-service train`, `evaluate`, `gate`, `model export` and `import`, one after the other as pipelines run them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.gate.comparison import CHAMPION
from ml_microservice.gate.documents import VERDICT, Verdict, read_document
from tests.conformance.conftest import CONFIG, FEATURES, LOADER, TRAIN

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with hooks of its own, and no model yet."""
    root = tmp_path / "checkout"
    files = {"__init__.py": "", "features.yaml": FEATURES, "data_loader.py": LOADER, "train.py": TRAIN}
    (root / "src" / "model").mkdir(parents=True)
    for name, text in files.items():
        (root / "src" / "model" / name).write_text(text)
    (root / "config.yaml").write_text(CONFIG)
    return root


def service(root: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """Run a command as a process of its own; what it prints."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "SERVICE__TRAINING__COMPILE": "false", **variables}
    command = [sys.executable, "-m", "ml_microservice.cli", *arguments]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_model_goes_from_one_checkout_to_another_and_comes_back_as_the_champion(
    checkout: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(checkout, tmp_path / "other"))
    service(checkout, "train")
    assert "Champion: absent" in service(checkout, "evaluate")
    service(checkout, "gate")
    service(checkout, "model", "export", "build/model.tar", "--report", "build/reports/model/index.html")
    assert (checkout / "build" / "reports" / "model" / "index.html").is_file()

    service(other, "model", "import", str(checkout / "build" / "model.tar"))
    version = ArtefactStore(checkout / "model_bin").current()
    assert ArtefactStore(other / "model_bin").current() == version

    (checkout / CHAMPION).parent.mkdir()
    (checkout / "build" / "model.tar").rename(checkout / CHAMPION)
    # Hooks that learn nothing; the champion's pickles are read with them.
    hooks = checkout / "src" / "model" / "train.py"
    nothing = "from sklearn.dummy import DummyClassifier as GaussianNB"
    hooks.write_text(hooks.read_text().replace("from sklearn.naive_bayes import GaussianNB", nothing))
    service(checkout, "train")
    said = service(checkout, "evaluate")
    assert f"Champion {version}: compared" in said
    assert "its Python objects ran with the code of this checkout" in " ".join(said.split())
    said = service(checkout, "gate", code=1, SERVICE__GATE__METRIC="log_loss")
    assert "may not go on" in said
    verdict = read_document(Verdict, checkout / VERDICT, advice="")
    assert [(check.name, check.passed) for check in verdict.checks] == [("champion.log_loss", False)]
    assert verdict.champion.model is not None
    assert verdict.champion.model.version == version
