"""The wheel of the machinery in the build context of the runtime image."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from ml_microservice.delivery import wheel
from ml_microservice.delivery.wheel import CONTEXT, provide_wheel
from ml_microservice.errors import ConfigError, ServiceError

NAME = "ml_microservice-0.9.0-py3-none-any.whl"
VENDORED = '[tool.uv.sources]\nml-microservice = { path = "vendor/ml-microservice", editable = true }\n'
INDEX = '[[tool.uv.index]]\nname = "team"\nurl = "https://host/simple/"\n'
PACKAGE = f'{INDEX}[tool.uv.sources]\nml-microservice = {{ index = "team" }}\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the wheel of an earlier version in its build context."""
    (tmp_path / CONTEXT).mkdir(parents=True)
    (tmp_path / CONTEXT / "ml_microservice-0.8.0-py3-none-any.whl").touch()
    digest = sha256(b"here").hexdigest()
    beside = f"{digest}  ../pyproject.toml\n"
    (tmp_path / "ml-microservice.sha256").write_text(
        f"# ml-microservice 0.9.0\n{beside}{digest}  ml_microservice/a.py\n"
    )
    have(monkeypatch, b"here")
    return tmp_path


def have(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Have uv build, and the index serve, a wheel with one file."""

    def write(folder: Path) -> None:
        with ZipFile(folder / NAME, "w") as archive:
            archive.writestr("ml_microservice/a.py", content)
            archive.writestr("ml_microservice-0.9.0.dist-info/METADATA", "")

    def run_uv(_: Path, *arguments: str) -> str:
        [folder] = [word.removeprefix("--out-dir=") for word in arguments if word.startswith("--out-dir=")]
        write(Path(folder))
        return ""

    def fetch(version: str, index: dict[str, str], folder: Path, environ: Mapping[str, str]) -> None:
        assert (version, index["url"]) == ("0.9.0", "https://host/simple/")
        write(folder)

    monkeypatch.setattr(wheel, "run_uv", run_uv)
    monkeypatch.setattr(wheel, "_fetch", fetch)


@pytest.mark.parametrize("pyproject", [VENDORED, PACKAGE], ids=["vendored", "package"])
def test_the_wheel_takes_the_place_of_an_earlier_one(pyproject: str, root: Path) -> None:
    (root / "pyproject.toml").write_text(pyproject)
    provided = provide_wheel(root, {})
    assert [path.name for path in (root / CONTEXT).iterdir()] == [NAME]
    assert provided.version == "0.9.0"
    assert provided.sha256 == sha256((root / CONTEXT / NAME).read_bytes()).hexdigest()


def test_a_patched_copy_is_built_and_its_files_are_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "pyproject.toml").write_text(VENDORED)
    have(monkeypatch, b"patched")
    provide_wheel(root, {})
    assert "The machinery is modified: ml_microservice/a.py" in capsys.readouterr().out


def test_another_package_of_an_index_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "pyproject.toml").write_text(PACKAGE)
    have(monkeypatch, b"foreign")
    with pytest.raises(ServiceError, match=r"serves another package as ml-microservice 0.9.0: ml_microservice/a.py"):
        provide_wheel(root, {})
    assert NAME not in [path.name for path in (root / CONTEXT).iterdir()]


@pytest.mark.parametrize("pyproject", ["", INDEX, PACKAGE.replace('index = "team"', 'index = "other"')])
def test_a_project_has_to_say_where_the_machinery_is_from(pyproject: str, root: Path) -> None:
    (root / "pyproject.toml").write_text(pyproject)
    with pytest.raises(ConfigError, match="neither in which folder ml-microservice is, nor in which index"):
        provide_wheel(root, {})


def test_the_login_of_an_index_is_the_one_that_uv_takes() -> None:
    index = {"name": "my-team", "url": "https://host:8443/simple/"}
    environ = {"UV_INDEX_MY_TEAM_USERNAME": "ci", "UV_INDEX_MY_TEAM_PASSWORD": "p@ss"}
    assert wheel._with_login(index, environ) == "https://ci:p%40ss@host:8443/simple/"
    assert wheel._with_login(index, {}) == index["url"]
