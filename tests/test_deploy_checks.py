"""What is checked of an image and of a deployment where neither Docker nor a cluster has to be there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cluster import Cluster
from conftest import make

pytestmark = pytest.mark.t1

DIGEST = f"sha256:{'5' * 64}"
BUILT = {
    "image": "registry.example.com/data-science/my-model:20261121-040523-185b39-1a2b3c4d5e6f",
    "id": f"sha256:{'1' * 64}",
    "model_version": "20261121-040523-185b39",
    "commit": "1a2b3c4d5e6f",
}
PUSHED = {**BUILT, "digest": DIGEST, "repository": "registry.example.com/data-science/my-model"}
FOUND = {
    "Results": [
        {
            "Target": "my-model (debian 12.12)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2026-0002",
                    "PkgName": "openssl",
                    "InstalledVersion": "3.0.17-1",
                    "FixedVersion": "3.0.17-2",
                    "Severity": "HIGH",
                    "Title": "openssl: reads beyond a buffer",
                },
                {
                    "VulnerabilityID": "CVE-2026-0001",
                    "PkgName": "zlib1g",
                    "InstalledVersion": "1.2.13",
                    "FixedVersion": "1.2.14",
                    "Severity": "CRITICAL",
                    "Title": "zlib: overflows [on all platforms]",
                },
            ],
        },
        {"Target": "Python", "Class": "lang-pkgs", "Type": "python-pkg"},
    ]
}
"""In Trivy's format, as its documentation shows it; its database cannot be reached from here."""


class Done(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    said: str


class Project:
    """A baked project, delivered with the Python of the tests."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder = folder
        self.cluster = cluster

    def call(self, module: str, *words: str, **variables: str) -> Done:
        """Run a module of delivery."""
        environment = {**os.environ, **self.cluster.variables(), "COLUMNS": "200", **variables}
        command = [sys.executable, "-m", f"ml_microservice.delivery.{module}", *words]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        return Done(done.returncode, done.stdout + done.stderr)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file of JSON below build/."""
        (self.folder / "build").mkdir(exist_ok=True)
        (self.folder / "build" / name).write_text(json.dumps(content))

    def read(self, name: str) -> Any:
        """Read one."""
        return json.loads((self.folder / "build" / name).read_text())

    def configure(self, old: str, new: str) -> None:
        """Change config.yaml."""
        path = self.folder / "config.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def project(baked: Callable[[str], Path], tmp_path: Path) -> Project:
    folder = tmp_path / "my-model"
    shutil.copytree(baked("blank"), folder)
    make(folder, "chart")
    return Project(folder, Cluster(tmp_path / "cluster", "unix:///nowhere", {"my-model-staging": 1}))


def program(folder: Path, name: str, text: str) -> str:
    """A program of that name; a PATH on which it is found first."""
    folder.mkdir()
    (folder / name).write_text(f"#!{sys.executable}\n{text}")
    (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def released(project: Project, *states: str) -> Path:
    """A release in staging whose revisions are in these states; the file that has them."""
    shared = {"description": "", "chart": "", "updated": "", "documents": []}
    path = project.cluster.folder / "my-model-staging/my-model.json"
    path.parent.mkdir()
    path.write_text(json.dumps([{"revision": number, "status": one, **shared} for number, one in enumerate(states, 1)]))
    return path


def test_a_plan_says_what_would_be_deployed_and_where(project: Project) -> None:
    project.write("image.json", PUSHED)
    done = project.call("plan", "production")
    assert done.code == 0, done.said
    assert f"{PUSHED['repository']}@{DIGEST}" in done.said
    assert project.read("plan.json") == {
        "environment": "production",
        "image": PUSHED["image"],
        "repository": PUSHED["repository"],
        "digest": DIGEST,
        "model_version": PUSHED["model_version"],
        "commit": PUSHED["commit"],
        "namespace": "my-model",
        "release": "my-model",
        "values": ["helm/values-microk8s.yaml"],
        "url": "",
        "approvers": "deployers",
    }


def test_what_would_not_go_together_is_told_before_anybody_approves(project: Project) -> None:
    def refused(environment: str, words: str, because: str) -> None:
        done = project.call("plan", environment)
        assert done.code == 1
        assert words in done.said, because
        assert not (project.folder / "build/plan.json").exists()

    project.write("image.json", PUSHED)
    assert project.call("plan", "staging").code == 0
    refused("stagin", "did you mean 'staging'?", "the environment is unknown")
    project.write("image.json", BUILT)
    refused("staging", "run 'make push'", "there is no digest")
    project.write("image.json", PUSHED)
    (project.folder / "helm/values-mine.yaml").write_text("api: {replica: 2}\n")
    project.configure(
        "values: [helm/values-microk8s.yaml, helm/values-staging.yaml]", "values: [helm/values-mine.yaml]"
    )
    refused("staging", "replica", "the chart knows no such value")
    (project.folder / "helm/values-mine.yaml").unlink()
    refused("staging", "there is no file helm/values-mine.yaml", "a file of values is missing")


def test_a_deployment_that_cannot_begin_is_recorded(project: Project) -> None:
    project.write("image.json", BUILT)
    for environment, words in (("staging", "run 'make push'"), ("nowhere", "no environment 'nowhere'")):
        done = project.call("deploy", environment, "10s", DEPLOYED_BY="somebody")
        assert done.code == 1
        record = project.read("deployment.json")
        assert (record["environment"], record["outcome"], record["by"]) == (environment, "failed", "somebody")
        assert words in record["why"]
        assert record["finished"] is not None


def test_a_release_that_somebody_is_changing_is_left_alone(project: Project) -> None:
    project.write("image.json", PUSHED)
    released(project, "deployed", "pending-upgrade")
    done = project.call("deploy", "staging", "10s")
    assert done.code == 1
    assert "helm rollback my-model 1 --namespace my-model-staging" in done.said
    assert project.read("deployment.json")["outcome"] == "failed"


def test_what_serves_is_never_taken_away_even_if_helm_calls_nothing_deployed(project: Project) -> None:
    project.write("image.json", PUSHED)
    # As a rollback leaves it that fails before anything is replaced.
    path = released(project, "superseded", "failed")
    # There is no Docker, so that neither the upgrade nor going back succeeds.
    done = project.call("deploy", "staging", "10s")
    assert done.code == 1
    assert "helm rollback to revision 1 failed, too: look at it now" in done.said
    assert project.read("deployment.json")["previous_revision"] == 1
    assert path.exists()


STUBBORN = f"""import os, signal, sys, time
if sys.argv[1] != "upgrade":
    os.execv({str(Path(__file__).parent / "cluster/helm")!r}, sys.argv)
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), print("gone back", flush=True), sys.exit(1)))
print("upgrading", flush=True)
time.sleep(60)
"""
"""A Helm that takes its time to go back."""


def test_whoever_ends_a_deployment_can_wait_until_it_has_gone_back(project: Project, tmp_path: Path) -> None:
    project.write("image.json", PUSHED)
    path = program(tmp_path / "bin", "helm", STUBBORN)
    environment = {**os.environ, **project.cluster.variables(), "PATH": path}
    command = [sys.executable, "-m", "ml_microservice.delivery.deploy", "staging", "60s"]
    process = subprocess.Popen(command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "upgrading\n" in iter(process.stdout.readline, "")
    again = project.call("deploy", "staging", "60s")
    assert again.code == 1
    assert "another deployment from this folder is at work" in again.said
    process.terminate()
    assert project.read("deployment.json")["finished"] is None
    assert project.call("deploy", "wait").code == 0
    record = project.read("deployment.json")
    assert record["why"] == "interrupted by SIGTERM; it was the first, and Helm has taken it away"
    assert process.wait(60) == 1
    assert "gone back" in process.stdout.read()
    assert project.call("deploy", "wait").code == 0


def test_the_chart_is_linted_with_the_values_of_every_environment(project: Project) -> None:
    done = project.call("plan", "lint")
    assert done.code == 0, done.said
    assert "with the values of staging" in done.said
    assert "with the values of production" in done.said
    (project.folder / "helm/values-mine.yaml").write_text("secrets: [{nme: a}]\n")
    project.configure("values: [helm/values-microk8s.yaml]\n", "values: [helm/values-mine.yaml]\n")
    done = project.call("plan", "lint")
    assert done.code == 1
    assert "production: helm lint failed" in done.said
    assert "nme" in done.said
    assert "staging: helm lint failed" not in done.said


def test_without_helm_it_is_told_what_to_install(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = project.call("plan", "lint", PATH=str(tmp_path / "empty"))
    assert done.code == 1
    assert "install Helm 3.18 or 4.1" in done.said


def scanner(exit_code: int, result: object) -> str:
    """A scanner that writes a result where it is told to, and ends with an exit code."""
    return (
        "import json, sys\n"
        "assert sys.argv[1] == 'image' and '--ignore-unfixed' in sys.argv\n"
        f"assert sys.argv[-1] == {BUILT['image']!r}\n"
        f"text = {json.dumps(result)!r}\n"
        "open(sys.argv[sys.argv.index('--output') + 1], 'w').write(text) if text != 'null' else None\n"
        f"sys.exit({exit_code})\n"
    )


def test_what_a_scanner_finds_stops_the_image_and_is_shown_the_worst_first(project: Project, tmp_path: Path) -> None:
    project.write("image.json", BUILT)
    done = project.call("scan", PATH=program(tmp_path / "bin", "trivy", scanner(1, FOUND)))
    assert done.code == 1
    assert "2 vulnerabilities that can be mended" in done.said
    first, second = (done.said.index(name) for name in ("CVE-2026-0001", "CVE-2026-0002"))
    assert first < second
    assert "overflows [on all platforms]" in done.said
    assert project.read("scan.json") == FOUND


@pytest.mark.parametrize(
    ("exit_code", "result", "code", "words"),
    [(0, {"Results": [{"Target": "a"}]}, 0, "Scanned"), (1, None, 1, "ended with exit code 1 and no build/scan.json")],
)
def test_a_clean_image_and_a_scanner_that_fails_are_told_apart(
    project: Project, tmp_path: Path, exit_code: int, result: object, code: int, words: str
) -> None:
    project.write("image.json", BUILT)
    project.write("scan.json", FOUND)
    done = project.call("scan", PATH=program(tmp_path / "bin", "trivy", scanner(exit_code, result)))
    assert done.code == code, done.said
    assert words in done.said
    assert "CVE" not in done.said


def test_a_missing_scanner_is_told_with_how_to_do_without(project: Project, tmp_path: Path) -> None:
    project.write("image.json", BUILT)
    (tmp_path / "empty").mkdir()
    done = project.call("scan", PATH=str(tmp_path / "empty"))
    assert done.code == 1
    assert "set image.scan to ''" in done.said
    done = project.call("scan", PATH=str(tmp_path / "empty"), SERVICE__IMAGE__SCAN="")
    assert done.code == 0
    assert "Nothing is scanned" in done.said
