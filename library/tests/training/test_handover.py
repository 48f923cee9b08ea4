"""Export and import of a model: only a checkout of the same hooks accepts it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import ArtefactError
from ml_microservice.inference.served_model import load_served_model
from ml_microservice.settings import Settings, load_settings
from ml_microservice.training.handover import export_model, import_model
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train


def git(root: Path, *arguments: str) -> str:
    """What git says."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def checkout(project: Path, to: Path) -> Settings:
    """The same project elsewhere, without its models."""
    shutil.copytree(project, to, ignore=shutil.ignore_patterns("model_bin", ".git"))
    return load_settings(to, {})


@pytest.fixture
def exported(settings: Settings, tmp_path: Path) -> Path:
    """The archive of the trained model."""
    export_model(settings, tmp_path / "build" / "model.tar")
    return tmp_path / "build" / "model.tar"


def test_what_one_checkout_exports_another_serves(settings: Settings, exported: Path, tmp_path: Path) -> None:
    other = checkout(settings.root, tmp_path / "other")
    manifest = import_model(other, exported)
    folder = ArtefactStore(other.model_directory).path("current")
    assert folder.name == manifest.version
    assert load_served_model(folder, "houses", "house id").manifest == manifest


def test_an_export_brings_the_report_along(settings: Settings, tmp_path: Path) -> None:
    manifest = export_model(settings, tmp_path / "model.tar", tmp_path / "reports" / "index.html")
    assert manifest.version in (tmp_path / "reports" / "index.html").read_text()


def test_an_import_is_exported_with_the_same_bytes(settings: Settings, exported: Path, tmp_path: Path) -> None:
    other = checkout(settings.root, tmp_path / "other")
    import_model(other, exported)
    export_model(other, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()


def test_importing_twice_changes_nothing_and_moves_the_pointer_back(
    project: Path, exported: Path, house_hooks: Hooks
) -> None:
    settings = load_settings(project, {"SERVICE__TRAINING__COMPILE": "false"})
    store = ArtefactStore(settings.model_directory)
    first = store.current()
    train(settings, house_hooks)
    assert store.current() != first
    import_model(settings, exported)
    assert (store.current(), len(store.versions())) == (first, 2)


def test_another_model_of_the_same_name_stays(project: Path, exported: Path) -> None:
    store = ArtefactStore(project / "model_bin")
    manifest = store.path("current") / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"houses"', '"houses" '))
    before = manifest.read_bytes()
    with pytest.raises(ArtefactError, match="is there already"):
        import_model(load_settings(project, {}), exported)
    assert manifest.read_bytes() == before


def test_other_hooks_are_refused_with_the_commit_to_check_out(
    settings: Settings, house_hooks: Hooks, tmp_path: Path
) -> None:
    trained, other = (checkout(settings.root, tmp_path / name) for name in ("trained", "other"))
    git(trained.root, "init", "--quiet")
    git(trained.root, "add", "--all")
    git(trained.root, "commit", "--quiet", "--message=Train")
    train(trained, house_hooks)
    export_model(trained, tmp_path / "model.tar")
    (other.root / "src" / "model" / "train.py").write_text("CHANGED = True\n")
    commit = git(trained.root, "rev-parse", "HEAD")
    with pytest.raises(ArtefactError, match=rf"other hooks .*at commit {commit} \(git checkout {commit}\)"):
        import_model(other, tmp_path / "model.tar")
    assert not other.model_directory.exists()


def test_a_model_of_changes_that_nobody_has_says_so(project: Path, house_hooks: Hooks, tmp_path: Path) -> None:
    settings = load_settings(project, {"SERVICE__TRAINING__COMPILE": "false"})
    git(project, "init", "--quiet")
    git(project, "add", "config.yaml", "src")
    git(project, "commit", "--quiet", "--message=Train")
    features = project / "src" / "model" / "features.yaml"
    committed = features.read_text()
    features.write_text(f"{committed}# not committed\n")
    train(settings, house_hooks)
    export_model(settings, tmp_path / "model.tar")
    features.write_text(committed)
    with pytest.raises(ArtefactError, match=r"with changes that were not committed \(commit them and train again\)"):
        import_model(settings, tmp_path / "model.tar")


def test_a_damaged_version_is_not_exported(project: Path, tmp_path: Path) -> None:
    (project / "model_bin" / str(ArtefactStore(project / "model_bin").current()) / "golden.json").write_text("[]")
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        export_model(load_settings(project, {}), tmp_path / "model.tar")
    assert list(tmp_path.glob("*.tar*")) == []
