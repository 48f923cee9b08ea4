"""The systems' own virtual environments, the project that is baked, and the models that are fitted for each."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TEMPLATE = Path(os.environ.get("TEMPLATE", HERE.parent)).resolve()
VENVS, WORK, SERVERS = HERE / ".venvs", HERE / "work", HERE / "servers"
PLAIN, OURS = "plain", "ours"
NAME = "bench"
"""Slug of the baked project."""
MAIN_PACKAGES = (
    *("bentoml", "kserve", "litserve", "mlflow", "mlserver", "mlserver-sklearn", "ray"),
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "orjson"),
    *("celery", "kombu", "redis", "sqlalchemy", "psycopg"),
    *("numpy", "onnxruntime", "pandas", "pyarrow", "scikit-learn"),
)
"""Whose versions the report names."""


class BenchError(Exception):
    """Something cannot be installed, started or trusted; the text says what, and why."""


@dataclass(frozen=True)
class Fitted:
    """A model, fitted by the libraries of one environment."""

    pipeline: Path
    hooks: Path
    """The folder that holds the package `model`."""


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command to its end.

    Raises:
        BenchError: it failed; with the end of what it said.
    """
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise BenchError(f"{' '.join(map(str, command[:6]))} ... failed:\n{words}")
    return done.stdout


def python_of(environment: str) -> Path:
    """The Python of an environment."""
    return VENVS / environment / "bin" / "python"


def install(environment: str) -> None:
    """Create an environment, once for each version of its requirements.

    Raises:
        BenchError: something cannot be installed.
    """
    arguments, stamp_text = _ours() if environment == OURS else _pinned(environment)
    stamp = VENVS / environment / ".installed"
    if stamp.is_file() and stamp.read_text() == stamp_text:
        return
    run([_uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(VENVS / environment)])
    run([_uv(), "pip", "install", "--quiet", "--python", str(python_of(environment)), *arguments])
    stamp.write_text(stamp_text)


def versions(environment: str) -> dict[str, str]:
    """The main packages of an environment, and Python's version."""
    listing = run([_uv(), "pip", "list", "--quiet", "--format", "json", "--python", str(python_of(environment))])
    found = {entry["name"].lower(): entry["version"] for entry in json.loads(listing)}
    return {name: found[name] for name in MAIN_PACKAGES if name in found}


def bake() -> Path:
    """Bake the project from the template as it stands, with the bench's data and features laid over it."""
    shutil.rmtree(WORK / "baked", ignore_errors=True)
    command = [sys.executable, str(TEMPLATE / "scripts/bake.py"), str(WORK / "baked")]
    run([*command, "starter=blank", "project_name=Bench", f"project_slug={NAME}"])
    return WORK / "baked" / NAME


def lay_out(model: str, package: Path) -> None:
    """Write a model's hooks as the package `model` that a project has."""
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text('"""The model."""\n')
    shutil.copy(HERE / "hooks" / f"{model}.py", package / "train.py")
    for name in ("data_loader.py", "features.yaml"):
        shutil.copy(HERE / "hooks" / name, package / name)


def train_project(model: str) -> Path:
    """A copy of the baked project with one model trained in it.

    Raises:
        BenchError: training failed.
    """
    project = WORK / model / NAME
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(WORK / "baked" / NAME, project)
    lay_out(model, project / "src" / "model")
    run([str(python_of(OURS)), "-m", "ml_microservice.cli", "train"], cwd=project)
    return project


def fit(model: str, environment: str) -> Fitted:
    """The plain pipeline of a model, of the very versions that an environment has.

    Raises:
        BenchError: it cannot be fitted.
    """
    hooks = WORK / model / "hooks"
    lay_out(model, hooks / "model")
    folder = WORK / model / environment
    bodies = ["--bodies"] if environment == PLAIN else []
    command = [str(python_of(environment)), str(HERE / "fit.py"), str(folder), *bodies]
    run(command, env={"PYTHONPATH": str(hooks)})
    return Fitted(folder / "pipeline.joblib", hooks)


def _pinned(environment: str) -> tuple[list[str], str]:
    file = HERE / "requirements" / f"{environment}.txt"
    return ["--requirement", str(file)], file.read_text()


def _ours() -> tuple[list[str], str]:
    """What the baked project asks for with all extras, in the versions of the limits and the naive service."""
    project = WORK / "baked" / NAME / "pyproject.toml"
    machinery = project.parent / "vendor/ml-microservice"
    constraints = HERE / "requirements" / f"{PLAIN}.txt"
    extras = tomllib.loads((machinery / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    arguments = ["--requirement", str(project), "--extra", "model", "--constraint", str(constraints)]
    stamp = project.read_text() + (machinery / "pyproject.toml").read_text() + constraints.read_text()
    return [*arguments, "--editable", f"{machinery}[{','.join(extras)}]"], stamp


def _uv() -> str:
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        raise BenchError("uv is not on PATH: python -m pip install uv")
    return found
