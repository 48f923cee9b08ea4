"""What the tests share: a clean copy of the template, its bakes, and projects that are set up to run.

The processes of one run share them, too: each is made by whoever needs it first, while the others wait.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import docker_daemon
from bake import bake, copy_template

STARTERS = ("penguins", "diabetes", "blank")
ANSWERS = {"project_name": "My Model", "project_slug": "my-model", "description": "Predicts something useful."}


DOCKER_FOLDER = "TESTS_DOCKER_FOLDER"
"""The variable by which the processes of one run of the tests know where their Docker is."""
TOOLS_FOLDER = "TESTS_TOOLS_FOLDER"
"""The variable with the folder on the PATH that has uv, and nothing else."""
LONGEST = (
    "test_pipeline_chain.py",
    "test_converge.py",
    "test_containers.py",
    "test_shipping.py",
    "test_api_contract.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Name a folder for Docker, and put uv on the PATH, once for all processes.

    A project without uv installs it by pip, which takes seconds; the pipelines' bare agent shows that it can.
    """
    if not hasattr(config, "workerinput"):
        uv = shutil.which("uv") or Path(sys.executable).with_name("uv")
        os.environ[TOOLS_FOLDER] = tempfile.mkdtemp(prefix="tools-")
        Path(os.environ[TOOLS_FOLDER], "uv").symlink_to(uv)
        os.environ["PATH"] += os.pathsep + os.environ[TOOLS_FOLDER]
        # Not pytest's folder: the path of a socket has to be short.
        os.environ[DOCKER_FOLDER] = tempfile.mkdtemp(prefix="docker-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End Docker after the last test of all processes, and leave nothing behind."""
    if not hasattr(config, "workerinput"):
        docker_daemon.stop(Path(os.environ[DOCKER_FOLDER]))
        shutil.rmtree(os.environ[TOOLS_FOLDER])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that the second process is not done long before the first."""
    gone = [name for name in LONGEST if not Path(__file__).with_name(name).is_file()]
    if gone:
        raise pytest.UsageError(f"conftest.py orders tests that are not there: {', '.join(gone)}")
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def once(folder: Path, fill: Callable[[Path], object]) -> Path:
    """A folder that one process fills, while the others wait for it."""
    done = folder.with_name(f"{folder.name}.done")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
            fill(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def template(shared: Path) -> Path:
    """The template as a fresh clone would be; nothing may be changed in it."""
    return once(shared / "template", copy_template)


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The address of the Docker that all tests share, with a base image; there may be images of other tests, too."""
    return docker_daemon.shared(Path(os.environ[DOCKER_FOLDER]))


@pytest.fixture(scope="session")
def baked(template: Path, shared: Path) -> Callable[[str], Path]:
    """A project of a starter, baked once: for tests that change nothing in it."""

    def project(starter: str) -> Path:
        def fill(folder: Path) -> None:
            bake(folder, template=template, starter=starter, **ANSWERS)

        return once(shared / f"baked-{starter}", fill) / ANSWERS["project_slug"]

    return project


@pytest.fixture(scope="session")
def installed(template: Path, shared: Path) -> Callable[[str], Path]:
    """A project of a starter, set up once in an environment of only its own dependencies; not to be changed either."""

    def project(starter: str) -> Path:
        def fill(folder: Path) -> None:
            make(bake(folder, template=template, starter=starter, **ANSWERS), "setup")

        return once(shared / f"installed-{starter}", fill) / ANSWERS["project_slug"]

    return project


@pytest.fixture(scope="session")
def trained(
    installed: Callable[[str], Path], shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A project of a starter with a model that was trained once; each process has a copy, which serves and records."""

    @cache
    def project(starter: str) -> Path:
        source = installed(starter)
        model = once(shared / f"trained-{starter}", lambda folder: trained_in(source, folder))
        return copied(model, tmp_path_factory.mktemp(f"trained-{starter}") / source.name)

    return project


@pytest.fixture(scope="session")
def equipped(trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A trained project whose command runs in the environment of these tests, which has all extras."""

    @cache
    def project(starter: str) -> Path:
        source = trained(starter)
        folder = tmp_path_factory.mktemp(f"equipped-{starter}") / source.name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".venv", "var"))
        command = folder / ".venv/bin/ml-service"
        command.parent.mkdir(parents=True)
        command.symlink_to(Path(sys.executable).with_name(command.name))
        return folder

    return project


def trained_in(project: Path, folder: Path) -> None:
    make(copied(project, folder), "train")


def copied(project: Path, folder: Path) -> Path:
    """A copy of a project that shares its environment, in which the project's own package is the original."""
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".venv", "var"), symlinks=True)
    (folder / ".venv").symlink_to((project / ".venv").resolve())
    return folder


def make(folder: Path, *targets: str) -> str:
    """Run `make` as somebody would who has only Python, git and make; its output."""
    return run(["make", *targets, f"PYTHON={sys.executable}"], folder)


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command that has to succeed, in an environment that knows nothing of this one; its output."""
    # ARGS too: `make test ARGS=...` passes it on to every make below it.
    hidden = ("ARGS", "MAKE", "MFLAGS", "PYTEST", "PYTHON", "SERVICE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment = {**inherited, **variables}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}"
    return done.stdout


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_links(template: Path) -> Path:
    """The template as it comes out of an archive, or of git with core.symlinks=false: links are files with a path."""
    for link in [path for path in template.rglob("*") if path.is_symlink()]:
        target = link.readlink()
        link.unlink()
        link.write_text(str(target), encoding="utf-8")
    return template
