"""The images, built and run by a real Docker, and what compose starts with them."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import docker_daemon
from conftest import run
from demo import example_request, free_port

STACK = "stack:of-debian"
BESIDE = ("api", "worker", "postgres", "rabbitmq", "redis")
"""What of the profiles jobs and data can be had without a registry: all but Flower."""
CALLERS = 8

LACKING = docker_daemon.missing()
pytestmark = [
    pytest.mark.t2,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(LACKING) and not os.environ.get("CI"), reason=f"Docker cannot be started without {', '.join(LACKING)}"
    ),
]


class Built(NamedTuple):
    """A project whose images are built, and the Docker that has them."""

    folder: Path
    host: str
    image: str
    said: str
    """By `make image`."""

    def docker(self, *arguments: str, stdin: str | None = None) -> str:
        """A command of Docker that has to succeed; its output."""
        done = subprocess.run(
            ["docker", "--host", self.host, *arguments], cwd=self.folder, input=stdin, capture_output=True, text=True
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stderr}"
        return done.stdout

    def make(self, target: str, *arguments: str, **variables: str) -> str:
        """A target of the project's Makefile."""
        return run(["make", target, *arguments], self.folder, DOCKER_HOST=self.host, **variables)

    @property
    def secrets(self) -> dict[str, str]:
        """What `make env` wrote."""
        lines = (self.folder / ".env").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture(scope="module")
def stack(docker_host: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The image of PostgreSQL, RabbitMQ and Redis, which is built while other things are done."""
    command = ["docker", "--host", docker_host, "build", "--quiet", "--network=host", f"--tag={STACK}"]
    command += [f"--build-arg=BASE={docker_daemon.BASE}", str(Path(__file__).with_name("stack"))]
    process = subprocess.Popen(command, env={**os.environ, "DOCKER_BUILDKIT": "1"})
    yield process
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def built(
    docker_host: str,
    stack: "subprocess.Popen[bytes]",
    trained: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:
    """A project under git, locked, and its image."""
    source = trained("penguins")
    folder = tmp_path_factory.mktemp("images") / "my-model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".venv", "var"))
    (folder / ".venv").symlink_to(source / ".venv")
    make = ["make", f"PYTHON={sys.executable}", "ARGS=--network=host"]
    run([*make, "lock"], folder)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=all"]):
        run([*git, *command], folder)
    said = run([*make, "image"], folder, DOCKER_HOST=docker_host)
    image = json.loads((folder / "build/image.json").read_text())["image"]
    return Built(folder, docker_host, image, said)


def test_make_image_has_predicted_without_rights_and_looked_at_the_size(built: Built) -> None:
    checked = re.search(
        r"Checked (\S+): (\d+) MB, .* predicts '(\w+)', answers 20 golden rows as in training, "
        r"user 10001, writes to (.*) alone",
        built.said,
    )
    assert checked is not None, built.said
    assert checked[1] == built.image
    assert checked[3] in ("Adelie", "Chinstrap", "Gentoo")
    assert checked[4] == "/app/var, /tmp"
    assert built.docker("ps", "--all", "--quiet", f"--filter=ancestor={built.image}") == ""


def test_the_image_says_what_it_is(built: Built) -> None:
    [found] = json.loads(built.docker("image", "inspect", built.image))
    labels, version = found["Config"]["Labels"], (built.folder / "model_bin/current").read_text().strip()
    commit = run(["git", "rev-parse", "HEAD"], built.folder).strip()
    assert built.image == f"registry.example.com/data-science/my-model:{version}-{commit[:12]}"
    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["org.opencontainers.image.version"] == f"{version}-{commit[:12]}"
    assert labels["ml.model.version"] == version
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", labels["org.opencontainers.image.created"])
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Entrypoint"] == ["ml-service"]


def test_nothing_is_in_the_image_that_has_no_business_there(built: Built) -> None:
    def inside(command: str) -> str:
        entry = ["--user=0", "--entrypoint=sh", built.image]
        return built.docker("run", "--rm", *entry, "-c", command)

    assert inside("ls -A /app").split() == ["config.yaml", "model_bin", "src", "var"]
    assert inside("ls /app/model_bin | wc -l; ls -d /app/src/model/data 2>/dev/null || true").split() == ["2"]
    assert inside("for tool in cc gcc uv; do command -v $tool; done; ls -A /root/.cache /build 2>/dev/null; true") == ""
    # Bytecode of all, so that a start compiles nothing.
    places = "/app/src /opt/venv/lib/python3*/site-packages/ml_microservice"
    uncompiled = (
        f"find {places} -name '*.py' | while read f; do ls ${{f%/*}}/__pycache__/$(basename ${{f%.py}}).* ; done"
    )
    assert inside(f"{uncompiled} 2>&1 >/dev/null") == ""


def test_what_changes_often_is_a_small_layer(built: Built) -> None:
    history = ["history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}", built.image]
    layers = {match[2]: int(match[1]) for match in re.finditer(r"^(\d+) COPY (\S+) ", built.docker(*history), re.M)}
    assert list(layers) == ["/app", "/opt/machinery", "/opt/venv"]
    assert layers["/app"] < 1_000_000
    assert layers["/opt/machinery"] < 10_000_000


def test_the_machinery_in_the_image_is_what_the_project_has(built: Built) -> None:
    [wheel] = (built.folder / "dockerfiles/runtime-image").glob("*.whl")
    recorded = json.loads((built.folder / "build/image.json").read_text())["machinery"]
    assert recorded["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    place = [f"--volume={built.folder}:/project:ro", "--workdir=/project", "--entrypoint=python"]
    said = built.docker("run", "--rm", *place, built.image, "-m", "ml_microservice.delivery.integrity")
    assert said == f"ml-microservice {recorded['version']}, unmodified\n"


def test_the_lock_has_hashes_and_no_address(built: Built) -> None:
    folder = built.folder / "dockerfiles/runtime-image"
    for name in ("requirements.lock", "installer.lock"):
        text = (folder / name).read_text()
        assert "://" not in text
        pins, hashed = (re.findall(form, text, re.MULTILINE) for form in (r"^\S+==", r"^\S+==\S+ \\\n +--hash"))
        assert len(pins) == len(hashed) > 0


def test_the_bill_of_materials_is_valid_and_names_the_image(built: Built) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    built.make("sbom")
    text = (built.folder / "build/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    [found] = json.loads(built.docker("image", "inspect", built.image))
    assert "sha256:" + bill["metadata"]["component"]["hashes"][0]["content"] == found["Id"]
    named = {component["name"]: component.get("version") for component in bill["components"]}
    script = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    installed = built.docker("run", "--rm", "--entrypoint=python", built.image, "-c", script).split()
    for one in installed:
        name, _, version = one.partition("==")
        assert named[re.sub(r"[-_.]+", "-", name).lower()] == version


def test_sigterm_under_load_drops_no_request(built: Built) -> None:
    request = json.dumps(example_request(built.folder))
    with served(built) as (container, address), ThreadPoolExecutor(CALLERS) as callers:
        asked = [callers.submit(ask_until_refused, address, request) for _ in range(CALLERS)]
        time.sleep(1)
        built.docker("stop", "--time=60", container)
        outcomes = [one.result(timeout=90) for one in asked]
        assert built.docker("inspect", "--format={{.State.ExitCode}}", container).strip() == "0"
    assert [lost for _, lost in outcomes if lost] == []
    assert sum(count for count, _ in outcomes) > CALLERS


def test_a_start_without_keys_is_refused_in_words(built: Built) -> None:
    command = ["docker", "--host", built.host, "run", "--rm", "--read-only", built.image]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "SERVICE__API__KEYS" in done.stderr


def test_compose_starts_all_of_it_and_what_was_stored_is_there_after_a_restart(
    built: Built, stack: "subprocess.Popen[bytes]"
) -> None:
    assert stack.wait() == 0
    port = free_port()
    images = {f"{name}_IMAGE": STACK for name in ("POSTGRES", "RABBITMQ", "REDIS")}
    start = ["PROFILES=jobs data", f"ARGS=--wait-timeout 300 {' '.join(BESIDE)}"]
    built.make("env")
    try:
        built.make("up", *start, API_PORT=str(port), **images)
        ask = caller(port, built.secrets["SERVICE__API__KEYS"])
        row = example_request(built.folder)
        predicted = ask("POST", "/predict", row)
        job = ask("POST", "/jobs", row)
        until(lambda: ask("GET", f"/jobs/{job['job_id']}")["state"] == "succeeded")
        result = ask("GET", f"/jobs/{job['job_id']}/result")
        assert result["prediction"] == predicted["prediction"]
        ids = [predicted["prediction_id"], result["prediction_id"]]
        until(lambda: all(recorded(built, one) for one in ids))

        built.make("down")
        assert containers(built) == []
        built.make("up", *start, API_PORT=str(port), **images)
        assert all(recorded(built, one) for one in ids)
        assert ask("GET", f"/jobs/{job['job_id']}/result") == result
    except AssertionError:
        for container in containers(built):
            subprocess.run(["docker", "--host", built.host, "logs", "--tail=20", container])
        raise
    finally:
        built.make("down", "ARGS=--volumes")


def containers(built: Built) -> list[str]:
    """What compose has started, and not removed."""
    project = f"--filter=label=com.docker.compose.project={built.folder.name}"
    return built.docker("ps", "--all", "--quiet", project).split()


def recorded(built: Built, prediction_id: str) -> bool:
    """Whether PostgreSQL has a record of a prediction."""
    container = f"{built.folder.name}-postgres-1"
    query = f"SELECT count(*) FROM predictions WHERE prediction_id = '{prediction_id}'"
    psql = ["psql", "-h", "127.0.0.1", "-U", "service", "-tAc", query, "service"]
    password = f"PGPASSWORD={built.secrets['SERVICE__DATABASE__PASSWORD']}"
    return built.docker("exec", "--env", password, container, *psql).strip() == "1"


def until(is_so: Callable[[], bool], seconds: float = 90) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it has not come to be so"
        time.sleep(0.3)


def caller(port: int, key: str) -> Callable[..., dict[str, Any]]:
    """Asks the service at a port of the loopback; the answer has to be a good one."""

    def ask(method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"content-type": "application/json", "x-api-key": key}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
        connection.close()
        assert answer.status < 300, document
        return document

    return ask


@contextmanager
def served(built: Built) -> Iterator[tuple[str, str]]:
    """A container with no rights that is ready; its id, and its address on Docker's bridge.

    A published port would be that of a proxy, which takes connections for a service that has gone.
    """
    rights = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--user=10001"]
    container = built.docker("run", "--detach", *rights, "--env=SERVICE__API__KEYS=key", built.image).strip()
    try:
        healthy = ["docker", "--host", built.host, "exec", container, "healthy"]
        until(lambda: subprocess.run(healthy, capture_output=True).returncode == 0)
        yield container, built.docker("inspect", "--format={{.NetworkSettings.IPAddress}}", container).strip()
    finally:
        built.docker("rm", "--force", "--volumes", container)


def ask_until_refused(address: str, request: str) -> tuple[int, list[str]]:
    """Predict until nobody lets a caller in any more: how often it was answered, and what became of other requests."""
    count = 0
    lost: list[str] = []
    connection = HTTPConnection(address, 8000, timeout=30)
    while True:
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return count, lost
        try:
            headers = {"content-type": "application/json", "x-api-key": "key"}
            connection.request("POST", "/predict", request, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                lost.append(str(answer.status))
            count += 1
        except (OSError, HTTPException) as error:
            lost.append(repr(error))
            connection.close()
