"""From an image to what serves it: a real registry, real containers, and Helm as far as it goes without a cluster."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import docker_daemon
import registry
from cluster import Cluster
from conftest import run
from demo import free_port

LACKING = [*docker_daemon.missing(), *registry.missing()]
pytestmark = [
    pytest.mark.t2,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING) and not os.environ.get("CI"), reason=f"without {', '.join(LACKING)}"),
]

STAGING, PRODUCTION = "my-model-staging", "my-model"
USER, PASSWORD, KEY = "ci", "not-to-be-seen", "a-key"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
VALUES = "config: { records: { sinks: [] } }\nsecrets: [{ name: my-model }]\n"
NEVER_READY = 'ENTRYPOINT ["python", "-c", "import time; time.sleep(600)"]'
NO_SMOKE = r"""USER 0
RUN cd /opt/venv/lib/python3*/site-packages/ml_microservice/cli \
    && sed -i 's#"/predict"#"/unknown"#' smoke.py && rm __pycache__/smoke.*
USER 10001"""
"""It serves as ever, but its `ml-service smoke`, which `helm test` runs, fails."""


class Done(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    said: str


class Shipped:
    """A project whose image is built, a registry, and a cluster."""

    def __init__(self, folder: Path, host: str, address: str, cluster: Cluster) -> None:
        self.folder = folder
        self.host = host
        self.address = address
        self.cluster = cluster
        self.first = self.read("image.json")

    def make(self, *words: str, **variables: str) -> Done:
        """A target that may fail."""
        dropped = ("ARGS", "MAKE", "MFLAGS", "PYTHON", "REGISTRY_", "SERVICE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        environment = {**inherited, **self.cluster.variables(), "SERVICE__API__KEYS": KEY, **variables}
        command = ["make", *words, f"PYTHON={sys.executable}"]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        return Done(done.returncode, done.stdout + done.stderr)

    def read(self, name: str) -> dict[str, Any]:
        """A file below build/."""
        content: dict[str, Any] = json.loads((self.folder / "build" / name).read_text())
        return content

    def built(self, **changes: str) -> None:
        """Have build/image.json say something else."""
        (self.folder / "build/image.json").write_text(json.dumps({**self.first, **changes}))

    def pushed(self, suffix: str, lines: str) -> None:
        """Build and push another image on top of the first."""
        tag = f"{self.first['image']}{suffix}"
        text = f"FROM {self.first['image']}\n{lines}\n"
        self.docker("build", f"--tag={tag}", "-", stdin=text)
        self.built(image=tag, id=self.docker("image", "inspect", "--format={{.Id}}", tag).strip())
        done = self.make("push")
        assert done.code == 0, done.said

    def docker(self, *arguments: str, stdin: str | None = None) -> str:
        """A command of Docker that has to succeed; its output."""
        done = subprocess.run(["docker", "--host", self.host, *arguments], input=stdin, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers(self) -> str:
        """The model that answers in staging."""
        request = urllib.request.Request(f"{self.cluster.url(STAGING)}/model", headers={"x-api-key": KEY})
        with urllib.request.urlopen(request, timeout=30) as answer:
            version: str = json.loads(answer.read())["version"]
        return version

    def serves(self, namespace: str) -> str:
        """The image that the container at a namespace's port has, as it was named when it was started."""
        found = self.docker("ps", "--quiet", "--filter", f"publish={self.cluster.ports[namespace]}").strip()
        return self.docker("inspect", "--format={{.Config.Image}}", found).strip() if found else ""

    def states(self) -> list[str]:
        """The states of the release's revisions in staging."""
        environment = {**os.environ, **self.cluster.variables()}
        place = ["history", "my-model", "--namespace", STAGING, "--output=json"]
        helm = Path(__file__).with_name("cluster") / "helm"
        done = subprocess.run([helm, *place], env=environment, capture_output=True, text=True, check=True)
        return [each["status"] for each in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def shipped(
    docker_host: str, trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shipped]:
    source, folder = trained("penguins"), tmp_path_factory.mktemp("shipping") / "my-model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".venv", "var"))
    (folder / ".venv").symlink_to(source / ".venv")
    cluster = Cluster(folder.parent / "cluster", docker_host, {STAGING: free_port(), PRODUCTION: free_port()})
    for namespace in (STAGING, PRODUCTION):
        cluster.secret(namespace, "my-model", SERVICE__API__KEYS=KEY)
    with registry.registry(folder.parent / "registry") as address:
        config = re.sub("values: .*yaml]", "values: [helm/values-small.yaml]", (folder / "config.yaml").read_text())
        config = re.sub('registry: ".*"', f'registry: "{address}/team"', config)
        config = config.replace('url: ""', f'url: "{cluster.url(STAGING)}"', 1)
        # Nobody listens there.
        config = config.replace('url: ""', f'url: "http://127.0.0.1:{free_port()}"', 1)
        (folder / "config.yaml").write_text(config)
        (folder / "helm/values-small.yaml").write_text(VALUES)
        make = ["make", f"PYTHON={sys.executable}", "ARGS=--network=host"]
        run([*make, "lock"], folder)
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=all"]):
            run([*git, *command], folder)
        run([*make, "image"], folder, DOCKER_HOST=docker_host)
        try:
            yield Shipped(folder, docker_host, address, cluster)
        finally:
            cluster.remove()


def manifest_digest(address: str, name: str, tag: str, authorization: str = "") -> str | None:
    """What a registry says itself."""
    headers = {"Accept": MANIFEST, **({"Authorization": authorization} if authorization else {})}
    request = urllib.request.Request(f"http://{address}/v2/{name}/manifests/{tag}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        digest: str | None = answer.headers["Docker-Content-Digest"]
    return digest


def test_an_image_that_answers_a_golden_row_otherwise_goes_no_further(shipped: Shipped) -> None:
    folder = shipped.folder / "model_bin" / shipped.first["model_version"]
    before = {name: (folder / name).read_bytes() for name in ("golden.json", "manifest.json")}
    rows = json.loads(before["golden.json"])
    given = rows[3]["prediction"]
    rows[3]["prediction"] = "Adelie" if given != "Adelie" else "Gentoo"
    text = json.dumps(rows).encode()
    try:
        (folder / "golden.json").write_bytes(text)
        from ml_microservice.artefact.manifest import FileDigest

        manifest = json.loads(before["manifest.json"])
        manifest["files"]["golden.json"] = FileDigest.of(text).model_dump()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        environment = {"DOCKER_HOST": shipped.host, "PATH": os.environ["PATH"]}
        command = [".venv/bin/python", "-m", "ml_microservice.delivery.image", "check"]
        done = subprocess.run(command, cwd=shipped.folder, env=environment, capture_output=True, text=True)
    finally:
        for name, content in before.items():
            (folder / name).write_bytes(content)
    assert done.returncode == 1
    assert done.stderr.count("golden row") == 1
    assert f"golden row 4 is answered {{'prediction': '{given}'" in done.stderr
    assert f"in training {{'prediction': '{rows[3]['prediction']}'" in done.stderr


def test_a_push_is_known_by_the_digest_that_the_registry_says(shipped: Shipped) -> None:
    done = shipped.make("push")
    assert done.code == 0, done.said
    built = shipped.read("image.json")
    repository, _, tag = built["image"].rpartition(":")
    assert built["repository"] == repository == f"{shipped.address}/team/my-model"
    assert built["digest"] == manifest_digest(shipped.address, "team/my-model", tag)
    assert {**built, "digest": "", "repository": ""} == {**shipped.first, "digest": "", "repository": ""}
    again = shipped.make("push")
    assert (again.code, shipped.read("image.json")) == (0, built)
    assert "The push refers to" not in again.said


def test_a_tag_is_given_once_and_only_to_what_is_committed(shipped: Shipped) -> None:
    image = shipped.first["image"]
    _, _, tag = image.rpartition(":")
    before = manifest_digest(shipped.address, "team/my-model", tag)
    other = shipped.docker("image", "inspect", "--format={{.Id}}", docker_daemon.BASE).strip()
    try:
        shipped.built(id=other)
        done = shipped.make("push")
        assert done.code == 2
        assert "tags never change" in done.said
        assert manifest_digest(shipped.address, "team/my-model", tag) == before
        shipped.built(image=f"{image}-dirty")
        done = shipped.make("push")
        assert done.code == 2
        assert "that no commit has" in done.said
        done = shipped.make("push", "ARGS=--allow-unclean")
        assert done.code == 0, done.said
        assert manifest_digest(shipped.address, "team/my-model", f"{tag}-dirty") == before
    finally:
        shipped.built()


def test_a_password_is_used_and_neither_shown_nor_kept(shipped: Shipped, tmp_path: Path) -> None:
    _, _, tag = shipped.first["image"].rpartition(":")
    mine = tmp_path / "docker"
    mine.mkdir()
    (mine / "config.json").write_text(json.dumps({"auths": {"elsewhere.example": {"auth": "YTpi"}}}))
    # Where there is one, Docker takes this for where passwords belong.
    keychain = tmp_path / "bin/docker-credential-secretservice"
    keychain.parent.mkdir()
    keychain.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 1\n")
    keychain.chmod(0o755)
    variables = {"DOCKER_CONFIG": str(mine), "REGISTRY_USER": USER, "TMPDIR": str(tmp_path)}
    variables["PATH"] = os.pathsep.join([str(keychain.parent), os.environ["PATH"]])
    with registry.registry(tmp_path / "registry", {USER: PASSWORD}) as address:
        try:
            shipped.built(image=f"{address}/my-model:{tag}")
            assert shipped.make("push", DOCKER_CONFIG=str(mine)).code == 2
            assert shipped.make("push", **variables).code == 2
            wrong = shipped.make("push", **variables, REGISTRY_PASSWORD="another")
            right = shipped.make("push", **variables, REGISTRY_PASSWORD=PASSWORD)
            assert (wrong.code, right.code) == (2, 0), right.said
            assert "401" in wrong.said
            basic = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
            assert shipped.read("image.json")["digest"] == manifest_digest(address, "my-model", tag, basic)
        finally:
            shipped.built()
    assert PASSWORD not in right.said
    assert "another" not in wrong.said
    assert json.loads((mine / "config.json").read_text()) == {"auths": {"elsewhere.example": {"auth": "YTpi"}}}
    assert list(tmp_path.glob("docker-config-*")) == []
    assert not (tmp_path / "asked").exists()


def test_the_first_deployment_pulls_by_digest_answers_and_is_recorded(shipped: Shipped) -> None:
    assert shipped.make("push").code == 0
    shipped.first = built = shipped.read("image.json")
    shipped.docker("image", "rm", "--force", built["id"])
    done = shipped.make("deploy", "ENV=staging", DEPLOYED_BY="somebody")
    assert done.code == 0, done.said
    record = shipped.read("deployment.json")
    assert (record["outcome"], record["why"], record["by"]) == ("deployed", None, "somebody")
    assert (record["previous_revision"], record["revision"]) == (None, 1)
    assert (record["namespace"], record["release"]) == (STAGING, "my-model")
    assert record["smoke"]["answer"]["model_version"] == record["model_version"] == shipped.answers()
    assert {key: record[key] for key in ("image", "digest", "commit")} == {
        key: built[key] for key in ("image", "digest", "commit")
    }
    assert shipped.serves(STAGING) == f"{built['repository']}@{built['digest']}"


def test_a_smoke_prediction_by_another_model_brings_the_old_image_back(shipped: Shipped) -> None:
    shipped.docker("tag", shipped.first["id"], shipped.first["image"])
    shipped.pushed("-other", "LABEL other=yes")
    serves = shipped.read("image.json")
    (shipped.folder / "build/image.json").write_text(json.dumps({**serves, "model_version": "20200101-000000-000000"}))
    done = shipped.make("deploy", "ENV=staging")
    assert done.code == 2
    record = shipped.read("deployment.json")
    assert (record["outcome"], record["previous_revision"]) == ("rolled back", 1)
    assert f"answered by model {serves['model_version']}; it is revision 1 again, which answers" in record["why"]
    assert record["smoke_after"]["answer"]["model_version"] == shipped.answers()
    assert shipped.states() == ["superseded", "superseded", "deployed"]
    assert shipped.serves(STAGING) == f"{shipped.first['repository']}@{shipped.first['digest']}"


def test_what_fails_helm_s_test_is_taken_back_with_helm_3_too(shipped: Shipped) -> None:
    shipped.pushed("-without-cli", NO_SMOKE)
    done = shipped.make("deploy", "ENV=staging", HELM_DOUBLE_VERSION="v3.19.0")
    assert done.code == 2
    record = shipped.read("deployment.json")
    assert record["outcome"] == "rolled back"
    assert record["why"].startswith("helm test failed, see its log above; it is revision 3 again")
    assert "pod smoke failed:" in done.said
    assert shipped.answers() == shipped.first["model_version"]


def test_what_does_not_become_ready_is_taken_back_by_helm_itself(shipped: Shipped) -> None:
    shipped.pushed("-not-ready", NEVER_READY)
    done = shipped.make("deploy", "ENV=staging", "TIMEOUT=30s")
    assert done.code == 2
    record = shipped.read("deployment.json")
    assert record["outcome"] == "rolled back"
    assert record["why"].startswith("helm upgrade failed; it is revision 5 again")
    assert record["smoke_after"]["answer"]["model_version"] == shipped.answers()
    assert shipped.states()[-2:] == ["failed", "deployed"]


def test_a_deployment_that_is_interrupted_is_taken_back_and_recorded(shipped: Shipped) -> None:
    command = [".venv/bin/python", "-m", "ml_microservice.delivery.deploy", "staging", "120s"]
    environment = {**os.environ, **shipped.cluster.variables(), "SERVICE__API__KEYS": KEY}
    process = subprocess.Popen(command, cwd=shipped.folder, env=environment, start_new_session=True)
    while shipped.states()[-1] != "pending-upgrade":
        assert process.poll() is None
        time.sleep(0.5)
    assert shipped.read("deployment.json")["finished"] is None
    # As Jenkins does: to all processes of the step.
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(180) == 1
    record = shipped.read("deployment.json")
    assert record["outcome"] == "rolled back"
    assert record["why"].startswith("interrupted by SIGTERM; it is revision 7 again")
    assert shipped.answers() == shipped.first["model_version"]
    assert not shipped.states()[-1].startswith("pending")


def test_a_first_deployment_that_fails_is_taken_away(shipped: Shipped) -> None:
    shipped.built()
    done = shipped.make("deploy", "ENV=production")
    assert done.code == 2
    record = shipped.read("deployment.json")
    assert (record["outcome"], record["previous_revision"], record["revision"]) == ("failed", None, 1)
    assert "Connection refused" in record["why"]
    assert "it was the first, and is taken away" in record["why"]
    assert not (shipped.cluster.folder / PRODUCTION / "my-model.json").exists()
    assert shipped.serves(PRODUCTION) == ""
