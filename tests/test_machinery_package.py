"""The two ways in which a project has the machinery: a copy in vendor/, or a package of the team's own index."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from zipfile import ZipFile

import pytest
from cookiecutter.exceptions import FailedHookException

from bake import TEMPLATE, bake, copy_template
from conftest import ANSWERS, make, once, run, tree
from demo import HOST, example_request, free_port, post, serving, wait_until_ready

pytestmark = pytest.mark.t2

VERSION = tomllib.loads((TEMPLATE / "library/pyproject.toml").read_text())["project"]["version"]
WHEEL = f"ml_microservice-{VERSION}-py3-none-any.whl"
MANIFEST = "ml-microservice.sha256"
INTEGRITY = "ml_microservice.delivery.integrity"
VENDOR = "vendor/ml-microservice"
EXECUTED = "executed-by-a-foreign-package"


@pytest.fixture(scope="module")
def dist(shared: Path) -> Path:
    """What `make dist` builds in a clone."""

    def fill(folder: Path) -> None:
        copy_template(folder)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        make(folder, "dist")

    return once(shared / "dist", fill) / "dist"


@pytest.fixture(scope="module")
def index(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The team's package index, on the loopback."""
    folder = tmp_path_factory.mktemp("index")
    shutil.copytree(dist, folder / "ml-microservice")
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def package(template: Path, index: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has the machinery from the index, and is set up."""
    folder = tmp_path_factory.mktemp("package")
    project = bake(folder, template=template, machinery="package", __package_index=index, **ANSWERS)
    make(project, "setup")
    return project


@pytest.fixture
def fresh(template: Path, tmp_path: Path) -> Callable[..., Path]:
    """Bakes a project that has no environment yet."""
    return partial(bake, tmp_path / "projects", template=template, **ANSWERS)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder over HTTP: its listings are those of a package index."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}/"
        server.shutdown()


def refused(project: Path) -> str:
    """What `make setup` says, which has to fail; a sentence of one line."""
    venv.create(project / ".venv", symlinks=True)  # without pip, whose installation would take most of the time
    command = ["make", "setup", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode != 0, done.stdout
    # What make and pip say besides.
    [said] = [line for line in done.stderr.splitlines() if not line.startswith(("make", "WARNING: "))]
    return said.removeprefix("setup: ")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))


def put_foreign(dist: Path, folder: Path) -> None:
    """A wheel of the same name and version that would execute code as soon as an environment has it."""
    folder.mkdir(parents=True)
    with ZipFile(dist / WHEEL) as source, ZipFile(folder / WHEEL, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "ml_microservice/errors.py":
                content = f"open({EXECUTED!r}, 'w')".encode()
            if name.endswith("/RECORD"):
                content += b"foreign.pth,,\n"
            target.writestr(name, content)
        target.writestr("foreign.pth", f"import os; open({EXECUTED!r}, 'w')\n")


def test_the_template_pins_the_version_of_its_own_library() -> None:
    assert json.loads((TEMPLATE / "cookiecutter.json").read_text())["__machinery_version"] == VERSION


@pytest.mark.parametrize("way", ["vendored", pytest.param("package", marks=pytest.mark.slow)])
def test_the_six_commands_of_the_readme_work(way: str, request: pytest.FixtureRequest) -> None:
    vendored: Callable[[str], Path] = request.getfixturevalue("trained")
    project: Path = vendored("penguins") if way == "vendored" else request.getfixturevalue("package")
    make(project, "check")
    assert "Trained" in make(project, "train")
    port = free_port()
    with serving(project, port) as process:
        wait_until_ready(f"http://{HOST}:{port}", process)
        assert post(f"http://{HOST}:{port}/predict", example_request(project))["prediction"]
    make(project, "test")
    assert f"ml-microservice {VERSION}, unmodified" in make(project, "lint")
    assert f"ml-microservice {VERSION}, unmodified" in run([".venv/bin/ml-service", "doctor"], project)


def test_a_package_has_no_copy_and_the_same_project_else(
    baked: Callable[[str], Path], fresh: Callable[..., Path]
) -> None:
    package, vendored = tree(fresh(machinery="package")), tree(baked("penguins"))
    own = {name: content for name, content in vendored.items() if not name.startswith("vendor/")}
    assert {name for name in package.keys() | own.keys() if package.get(name) != own.get(name)} == {
        "pyproject.toml",
        MANIFEST,
    }
    assert len(package["pyproject.toml"].splitlines()) <= 80
    document = tomllib.loads(package["pyproject.toml"].decode())
    assert document["project"]["dependencies"] == [f"ml-microservice=={VERSION}"]
    assert document["tool"]["uv"] == {
        "index": [{"name": "team", "url": "https://packages.example.com/simple/", "explicit": True}],
        "sources": {"ml-microservice": {"index": "team"}},
    }


def test_the_manifest_is_what_sha256sum_reads_and_names_all_of_the_machinery(baked: Callable[[str], Path]) -> None:
    project = baked("penguins")
    text = (project / MANIFEST).read_text()
    assert text.startswith(f"# ml-microservice {VERSION}\n")
    named = {line.partition("  ")[2] for line in text.splitlines()[1:]}
    source = project / VENDOR / "src"
    assert {(source / name).resolve() for name in named} == {
        path.resolve() for path in (project / VENDOR).rglob("*") if path.is_file()
    }
    run(["sha256sum", "--check", "--quiet", "--strict", f"{project / MANIFEST}"], source)


def test_two_builds_are_the_same_and_a_wheel_has_data_and_no_tests(
    dist: Path, fresh: Callable[..., Path], tmp_path: Path
) -> None:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    run([uv, "build", "--quiet", "--no-create-gitignore", f"--out-dir={tmp_path}", str(dist.parent / "library")], dist)
    assert tree(tmp_path) == tree(dist)
    with ZipFile(dist / WHEEL) as wheel:
        names = set(wheel.namelist())
        metadata = f"ml_microservice-{VERSION}.dist-info/"
        assert wheel.read(f"{metadata}licenses/LICENSE") == (TEMPLATE / "LICENSE").read_bytes()
    lines = (fresh(machinery="package") / MANIFEST).read_text().splitlines()[1:]
    assert {name for name in names if not name.startswith(metadata)} == {line.partition("  ")[2] for line in lines}
    assert {Path(name).suffix for name in names} >= {".py", ".j2", ".csv", ".yaml", ".css", ".typed"}
    assert not [name for name in names if re.search(r"(^|/)tests/", name) and "/starters/" not in name]


def test_an_unknown_way_is_refused_and_nothing_is_made(template: Path, tmp_path: Path) -> None:
    said = "wheel provided for choice variable machinery, but the choices are"
    with pytest.raises(ValueError, match=said):
        bake(tmp_path, template=template, machinery="wheel")
    assert list(tmp_path.iterdir()) == []
    command = [sys.executable, str(TEMPLATE / "scripts/bake.py"), str(tmp_path), "machinery=wheel"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == f"bake: {said} ['vendored', 'package'].\n"
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_is_no_url_is_refused_and_nothing_is_made(template: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedHookException):
        bake(tmp_path, template=template, machinery="package", __package_index="packages.example.com")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_wheels_is_an_index_too(dist: Path, fresh: Callable[..., Path], tmp_path: Path) -> None:
    folder = shutil.copytree(dist, tmp_path / "wheels")
    project = fresh(machinery="package", __package_index=f"file://{folder}")
    make(project, "setup")
    assert run([".venv/bin/python", "-m", INTEGRITY], project) == f"ml-microservice {VERSION}, unmodified\n"


def test_the_index_of_the_template_is_to_be_replaced(fresh: Callable[..., Path]) -> None:
    said = refused(fresh(machinery="package"))
    assert said.startswith("put the address of your team's package index, as url of [[tool.uv.index]], into pyproject")


def test_a_version_that_the_index_lacks_is_named_with_the_remedy(index: str, fresh: Callable[..., Path]) -> None:
    project = fresh(machinery="package", __package_index=index)
    for name in ("pyproject.toml", MANIFEST):
        change(project / name, VERSION, "99.0")
    assert refused(project).startswith(f"{index} does not have ml-microservice 99.0: publish there what 'make dist'")


def test_an_index_that_cannot_be_reached_is_named(fresh: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    url = f"http://{HOST}:{free_port()}/"
    said = refused(fresh(machinery="package", __package_index=url))
    assert said.startswith(f"{url} cannot be asked for ml-microservice {VERSION}: ")


def test_another_package_of_that_name_is_neither_installed_nor_executed(
    dist: Path, fresh: Callable[..., Path], tmp_path: Path
) -> None:
    put_foreign(dist, tmp_path / "foreign/ml-microservice")
    with served(tmp_path / "foreign") as url:
        project = fresh(machinery="package", __package_index=url)
        said = refused(project)
    assert said.startswith(
        f"{url} serves another package as ml-microservice {VERSION}: ml_microservice/errors.py, foreign.pth differ"
    )
    run([".venv/bin/python", "-c", ""], project)
    assert not list(project.rglob(EXECUTED))
    assert not list(project.glob(".venv/lib/*/site-packages/ml_microservice*"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            lambda project: shutil.rmtree(project / "vendor"),
            "vendor/ml-microservice, the copy of the machinery, is missing: get it back with 'git checkout -- vendor/",
        ),
        (
            lambda project: (project / VENDOR / "src/ml_microservice/errors.py").unlink(),
            "vendor/ml-microservice lacks ml_microservice/errors.py: get it back with 'git checkout -- vendor/",
        ),
        (
            lambda project: (project / VENDOR / "src/ml_microservice/errors.py.rej").touch(),
            "an update left changes that did not apply in vendor/ml-microservice/src/ml_microservice/errors.py.rej: ",
        ),
        (
            lambda project: (project / "pyproject.toml.rej").touch(),
            "an update left changes that did not apply in pyproject.toml.rej: finish the update, or undo it with 'git",
        ),
        (
            lambda project: (project / VENDOR / "README.md").write_text("<<<<<<< ours\n"),
            "an update left conflict markers in vendor/ml-microservice/README.md: finish the update, or undo it with",
        ),
        (
            lambda project: change(project / "pyproject.toml", f"=={VERSION}", "==99.0"),
            f"pyproject.toml asks for ml-microservice 99.0, {MANIFEST} is of {VERSION}: finish the update, or undo it",
        ),
        (
            lambda project: change(project / VENDOR / "pyproject.toml", f'version = "{VERSION}"', 'version = "99.0"'),
            f"pyproject.toml asks for ml-microservice {VERSION}, vendor/ml-microservice is of 99.0: finish the update",
        ),
        (
            lambda project: (project / MANIFEST).unlink(),
            f"{MANIFEST} is missing: get it back with 'git checkout -- {MANIFEST}'",
        ),
    ],
    ids=["no copy", "a file is missing", "rejected", "rejected beside", "conflict", "pin", "version", "no manifest"],
)
def test_a_machinery_that_is_not_whole_is_refused_in_a_sentence(
    harm: Callable[[Path], object], said: str, fresh: Callable[..., Path]
) -> None:
    project = fresh()
    harm(project)
    assert refused(project).startswith(said)


def test_a_patched_copy_is_used_and_its_files_are_named(fresh: Callable[..., Path]) -> None:
    project = fresh()
    with (project / VENDOR / "src/ml_microservice/errors.py").open("a") as file:
        file.write("# Patched.\n")
    (project / VENDOR / "src/ml_microservice/new.py").touch()
    make(project, "setup")
    said = f"ml-microservice {VERSION}, modified: ml_microservice/errors.py, ml_microservice/new.py; docs/machinery.md"
    assert said in run([".venv/bin/python", "-m", INTEGRITY], project)
    assert "modified" in make(project, "lint")
