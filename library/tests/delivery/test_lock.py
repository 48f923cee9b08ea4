"""The lock of the image: which extras it is of, and when it is out of date."""

from pathlib import Path

import pytest

from ml_microservice.delivery import lock
from ml_microservice.delivery.settings import load_delivery_settings
from ml_microservice.errors import ConfigError

PYPROJECT = """
[project]
name = "houses"
version = "0"
dependencies = ["ml-microservice==0.9.0"]
[project.optional-dependencies]
model = ["pandas>=3.1"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "dockerfiles/runtime-image").mkdir(parents=True)
    configure(tmp_path, "model, onnx")
    return tmp_path


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands of `uv pip compile`, with what is in the files of requirements that they name."""
    found: list[str] = []

    def run_uv(_: Path, *arguments: str) -> str:
        files = (Path(word).read_text() for word in arguments if word.endswith(".in"))
        found.append(" ".join([*arguments, *files]))
        return "numpy==2.4.6\n"

    monkeypatch.setattr(lock, "run_uv", run_uv)
    return found


def configure(root: Path, extras: str) -> None:
    (root / "config.yaml").write_text(f"name: houses\nimage: {{extras: [{extras}]}}\n")


def write(root: Path) -> None:
    lock.write_lock(load_delivery_settings(root, {}))


def read(root: Path) -> lock.Lock:
    return lock.read_lock(load_delivery_settings(root, {}))


def test_model_is_the_projects_and_the_others_are_the_machinerys(root: Path, compiled: list[str]) -> None:
    configure(root, "model, onnx, jobs")
    write(root)
    [command] = [words for words in compiled if "pyproject.toml" in words]
    assert "--extra=model" in command
    assert "--extra=onnx" not in command
    assert "ml-microservice[jobs,onnx]" in command
    assert "--no-emit-package ml-microservice" in command
    assert read(root).versions == {"numpy": "2.4.6"}


def test_an_extra_of_the_projects_own_goes_before_one_of_the_machinery(root: Path, compiled: list[str]) -> None:
    (root / "pyproject.toml").write_text(PYPROJECT + 'onnx = ["onnxruntime>=1.31"]\n')
    write(root)
    [command] = [words for words in compiled if "pyproject.toml" in words]
    assert "--extra=onnx" in command


@pytest.mark.parametrize(("wrong", "advice"), [("onx", "onnx"), ("modle", "model")])
def test_an_extra_that_does_not_exist_is_named_with_one_that_does(root: Path, wrong: str, advice: str) -> None:
    configure(root, wrong)
    with pytest.raises(
        ConfigError, match=f"neither pyproject.toml nor ml-microservice has an extra '{wrong}'"
    ) as error:
        write(root)
    assert advice in str(error.value.faults[0].advice)


def test_a_lock_is_refused_once_other_requirements_are_asked_for(
    root: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root)
    read(root)
    configure(root, "model, onnx, redis")
    with pytest.raises(ConfigError, match="does not match"):
        read(root)
    configure(root, "onnx, model")
    read(root)
    monkeypatch.setattr(lock, "requires", lambda _: ["numpy>=9"])
    with pytest.raises(ConfigError, match="does not match"):
        read(root)


def test_a_project_without_a_lock_is_told_to_make_one(root: Path) -> None:
    with pytest.raises(ConfigError, match="is not there") as error:
        read(root)
    assert error.value.faults[0].advice == "run 'make lock' and commit it"
