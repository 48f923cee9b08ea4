"""The installed machinery against the manifest of the project."""

from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

from ml_microservice.delivery.integrity import MANIFEST, read_manifest, sentence

VERSION = version("ml-microservice")
FILES = {"ml_microservice/__init__.py": b"", "ml_microservice/page.css": b"a {}", "../pyproject.toml": b"[project]"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the machinery, beside the manifest of it."""
    folder = tmp_path / "vendor/src"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    lines = [f"{sha256(content).hexdigest()}  {name}" for name, content in FILES.items()]
    (tmp_path / MANIFEST).write_text("\n".join([f"# ml-microservice {VERSION}", *lines, ""]))
    return folder


def test_an_unmodified_copy_is_said_to_be_one(source: Path, tmp_path: Path) -> None:
    (source / "ml_microservice/__pycache__").mkdir()
    (source / "ml_microservice/__pycache__/page.pyc").touch()
    assert sentence(tmp_path, source) == f"ml-microservice {VERSION}, unmodified"


def test_changed_missing_and_added_files_are_named(source: Path, tmp_path: Path) -> None:
    (source / "ml_microservice/__init__.py").write_text("changed")
    (source / "ml_microservice/page.css").unlink()
    (source / "ml_microservice/new.py").touch()
    (source / "../pyproject.toml").write_text("[project]\n# changed")
    names = "../pyproject.toml, ml_microservice/__init__.py, ml_microservice/new.py and 1 more"
    assert sentence(tmp_path, source).startswith(f"ml-microservice {VERSION}, modified: {names}; ")


def test_a_package_that_was_installed_from_a_wheel_has_nothing_beside_it(source: Path, tmp_path: Path) -> None:
    (source / "../pyproject.toml").unlink()
    assert sentence(tmp_path, source) == f"ml-microservice {VERSION}, unmodified"


def test_another_version_than_the_manifests_is_to_be_installed(source: Path, tmp_path: Path) -> None:
    text = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(text.replace(f"# ml-microservice {VERSION}", "# ml-microservice 99.0"))
    said = f"ml-microservice {VERSION} is installed, {MANIFEST} is of 99.0: run 'make setup'"
    assert sentence(tmp_path, source) == said


def test_a_project_without_a_manifest_is_no_failure(source: Path, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).unlink()
    assert read_manifest(tmp_path) is None
    assert sentence(tmp_path, source) == f"ml-microservice {VERSION}; there is no {MANIFEST} to compare it with"
