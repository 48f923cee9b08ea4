"""From a commit to a deployed model: all pipelines of a project run for real, with what they meet around them."""

import json
import os
import re
import shutil
import sys
import tarfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import docker_daemon
import registry
from bake import bake
from cluster import Cluster
from conftest import ANSWERS, run, tree
from demo import free_port
from jenkins_controller import Build, Controller

LACKING = [
    *docker_daemon.missing(),
    *registry.missing(),
    *(program for program in ("groovy", "java") if shutil.which(program) is None),
]
pytestmark = [
    pytest.mark.t2,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING) and not os.environ.get("CI"), reason=f"there is no {', '.join(LACKING)}"),
]

HELM = Path(__file__).with_name("cluster") / "helm"
ENVIRONMENTS = ("staging", "production")
OLD_KEY, KEY, PASSWORD, DATA = "key-of-yesterday", "key-of-the-service", "password-of-the-registry", "token-of-the-data"
SETTINGS: dict[str, Any] = {"config": {"records": {"sinks": []}}, "secrets": [{"name": "my-model"}]}
"""Of the chart, where there is no database."""


class Team(NamedTuple):
    """A project with what its pipelines need around it."""

    project: Path
    controller: Controller
    cluster: Cluster

    def push(self, message: str, branch: str = "main") -> str:
        """Commit everything, and push it; the commit."""
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
        run([*git, "add", "--all"], self.project)
        run([*git, "commit", "--quiet", "--message", message], self.project)
        run([*git, "push", "--quiet", self.controller.remote, f"HEAD:{branch}"], self.project)
        return run(["git", "rev-parse", "HEAD"], self.project).strip()

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change config.yaml."""
        path = self.project / "config.yaml"
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        change(config)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def served(self, environment: str) -> str:
        """The image that answers in an environment, by its digest."""
        docker = ["docker", "--host", self.cluster.docker_host]
        port = self.cluster.ports[namespace(environment)]
        container = run([*docker, "ps", "--quiet", f"--filter=publish={port}"], self.project).strip()
        return run([*docker, "inspect", "--format={{.Config.Image}}", container], self.project).strip()

    def ask(self, environment: str, path: str, row: dict[str, Any] | None = None) -> dict[str, Any]:
        """An answer of what is deployed."""
        body = None if row is None else json.dumps(row).encode()
        headers = {"x-api-key": KEY, "content-type": "application/json"}
        request = urllib.request.Request(self.cluster.url(namespace(environment)) + path, body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


class Chain(NamedTuple):
    """The builds that one push leads to."""

    trained: Build
    built: Build
    staged: Build
    produced: Build


def namespace(environment: str) -> str:
    return {"staging": "my-model-staging", "production": "my-model"}[environment]


def agent(folder: Path) -> dict[str, str]:
    """The environment of an agent, on whose PATH is what docs/pipelines.md asks for, and nothing else."""
    folder.mkdir()
    for program in debian():
        (folder / program.name).symlink_to(program)
    needed = {"git": "git", "make": "make", "python3": os.path.realpath(sys.executable), "helm": str(HELM)}
    for name, command in needed.items():
        found = shutil.which(command)
        assert found is not None, name
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(found)
    # This machine's own network is the only one that leads to an index of packages.
    docker = f'[ "$1" = build ] && shift && set -- build --network=host "$@"\nexec {shutil.which("docker")} "$@"'
    (folder / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (folder / "docker").chmod(0o755)
    hidden = ("ARGS", "MAKE", "MFLAGS", "PYTEST", "PYTHON", "SERVICE_", "VIRTUAL")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    # Python's bytecode, which each of the agent's environments would write anew.
    return {**inherited, "CI": "true", "PATH": str(folder), "PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode")}


def debian() -> list[Path]:
    """The programs that every Debian has."""
    listed = run(["dpkg-query", "--show", "--showformat", "${Priority} ${Package}\n"], Path("/"))
    required = [line.split()[1] for line in listed.splitlines() if line.startswith("required ")]
    files = [Path("/usr/bin/awk")]  # a link to mawk, which no package lists
    files += map(Path, run(["dpkg-query", "--listfiles", *required], Path("/")).splitlines())
    return [path for path in files if path.parent.name in ("bin", "sbin") and os.access(path, os.X_OK)]


@pytest.fixture(scope="module")
def team(docker_host: str, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A project whose first commit is pushed, and everything that it meets."""
    folder = tmp_path_factory.mktemp("team")
    cluster = Cluster(folder / "cluster", docker_host, {namespace(each): free_port() for each in ENVIRONMENTS})
    for each in ENVIRONMENTS:
        cluster.secret(namespace(each), "my-model", SERVICE__API__KEYS=KEY)
    environment = {**cluster.variables(), **agent(folder / "bin")}
    with registry.registry(folder / "registry", {"robot": PASSWORD}) as address:
        project = bake(folder, template=template, starter="penguins", image_registry=f"{address}/team", **ANSWERS)
        remote = folder / "remote.git"
        credentials: dict[str, Mapping[str, str]] = {
            "registry": {"kind": "usernamePassword", "username": "robot", "secret": PASSWORD},
            "data": {"kind": "file", "secret": f"DATA_TOKEN={DATA}\n"},
        }
        for each in ENVIRONMENTS:
            credentials[f"my-model-kubeconfig-{each}"] = {"kind": "file", "secret": f"certificate-of-{each}"}
            credentials[f"my-model-api-key-{each}"] = {"kind": "string", "secret": KEY}
        controller = Controller(folder / "jenkins", project, str(remote), credentials, environment)
        team = Team(project, controller, cluster)
        run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(remote)], folder)
        run(["git", "init", "--quiet", "--initial-branch=main"], project)
        fill_in(team)
        run(["make", "setup", "lock"], project, **environment)
        team.push("Begin")
        yield team
        cluster.remove()


def fill_in(team: Team) -> None:
    """What a team sets."""

    def environments(config: dict[str, Any]) -> None:
        config["image"]["scan"] = ""
        config["pipelines"]["notify"] = ["team@example.com"]
        for name, environment in config["pipelines"]["environments"].items():
            environment |= {"values": ["helm/values-tests.yaml"], "url": team.cluster.url(namespace(name))}

    team.configure(environments)
    (team.project / "helm/values-tests.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    loader = 'import os\n\nassert os.environ.get("ENV_FILE") is None or os.environ["DATA_TOKEN"]\n'
    (team.project / "src/model/__init__.py").write_text(loader, encoding="utf-8")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def chain(team: Team) -> Chain:
    """One push, up to production."""
    trained = team.controller.run("train-model", DATA_CREDENTIALS="data")
    assert trained.result == "SUCCESS", trained.log
    built = team.controller.run_next()
    assert built.result == "SUCCESS", built.log
    staged = team.controller.run_next()
    assert staged.result == "SUCCESS", staged.log
    approved = {"user": "approver", "groups": ["deployers"]}
    produced = team.controller.run("deploy", answers=[approved], ENVIRONMENT="production")
    assert produced.result == "SUCCESS", produced.log
    return Chain(trained, built, staged, produced)


def test_what_was_trained_is_what_is_served(team: Team, chain: Chain, tmp_path: Path) -> None:
    digests = {build.sha256("build/model.tar") for build in chain}
    assert len(digests) == 1
    assert chain.built.record["copied"][0]["sha256"] in digests
    image = chain.built.archived("build/image.json")
    with tarfile.open(chain.trained.folder / "archive/build/model.tar") as archive:
        archive.extractall(tmp_path / "archived", filter="data")
    [version] = [path.name for path in (tmp_path / "archived").iterdir()]
    docker = ["docker", "--host", team.cluster.docker_host]
    container = run([*docker, "create", image["image"]], tmp_path).strip()
    run([*docker, "cp", "--quiet", f"{container}:/app/model_bin/{version}", str(tmp_path / "served")], tmp_path)
    run([*docker, "rm", container], tmp_path)
    served = tree(tmp_path / "served")
    archived = tree(tmp_path / "archived" / version)
    assert {"manifest.json", "model.joblib", "golden.json"} <= set(served)
    assert served == {name: archived[name] for name in served}
    for environment in ENVIRONMENTS:
        assert team.served(environment) == f"{image['repository']}@{image['digest']}"
        for golden in json.loads(archived["golden.json"])[:10]:
            answer = team.ask(environment, "/predict", golden["request"])
            assert answer["model_version"] == version
            assert answer["prediction"] == golden["prediction"]
            assert list(answer["probabilities"].values()) == pytest.approx(golden["probabilities"], abs=1e-9)


def test_by_hand_the_same_targets_run_in_the_same_order(team: Team, chain: Chain) -> None:
    for target, build in (("train", chain.trained), ("build", chain.built), ("deploy", chain.staged)):
        said = run(["make", f"pipeline-{target}", "MAKE=echo made"], team.project)
        by_hand = re.findall("^made .*?([a-z-]+)$", said, re.MULTILINE)
        # An agent that is taken anew after the approval is set up anew.
        assert by_hand == list(dict.fromkeys(build.targets))


def test_what_is_said_of_a_build_leads_to_the_next(chain: Chain) -> None:
    commit = chain.built.record["parameters"]["COMMIT"]
    assert chain.trained.record["started"] == [
        {"job": "build-image", "parameters": {"TRAIN_BUILD": "1", "COMMIT": commit}}
    ]
    assert chain.built.record["started"] == [
        {
            "job": "deploy",
            "parameters": {"ENVIRONMENT": "staging", "IMAGE_BUILD": "1", "COMMIT": commit},
        }
    ]
    assert chain.built.archived("build/image.json")["commit"] == commit
    assert chain.staged.record["displayName"] == "#1 staging"
    for build in (chain.trained, chain.built):
        assert build.record["tests"]["count"] >= 3
        assert build.record["coverage"] > 0
    assert chain.trained.record["reports"]["Model"] > 10_000
    assert chain.trained.archived("build/verdict.json")["passed"] is True
    assert [build.record["agents"] for build in chain[:3]] == [["python"], ["docker"], ["deploy", "deploy"]]
    assert [build.record["mails"] for build in chain] == [[], [], [], []]
    assert [build.record["keep"] for build in chain] == [False, False, False, True]


def test_secrets_are_seen_by_the_steps_that_need_them_and_by_nobody_else(chain: Chain) -> None:
    def given(build: Build) -> dict[str, list[str]]:
        return {step["script"]: step["credentials"] for step in build.record["executed"] if step["credentials"]}

    assert [build.record["leaks"] for build in chain] == [[], [], [], []]
    data = ["ENV_FILE"]
    assert given(chain.trained) == {f"make {each}": data for each in ("check", "test-report", "train", "evaluate")}
    assert given(chain.built) == {"make push": ["REGISTRY_USER", "REGISTRY_PASSWORD"]}
    deploy = {'ENV="$ENVIRONMENT" make deploy': ["KUBECONFIG", "SERVICE__API__KEYS"]}
    assert given(chain.staged) == given(chain.produced) == deploy
    ids = {used["id"] for used in chain.produced.record["credentials"]}
    assert ids == {"my-model-kubeconfig-production", "my-model-api-key-production"}


def test_production_waits_for_somebody_else_without_an_agent_or_the_lock(team: Team, chain: Chain) -> None:
    [asked] = chain.produced.record["inputs"]
    assert (asked["agent"], asked["locks"], asked["submitter"]) == (None, 0, "deployers")
    assert chain.built.archived("build/image.json")["image"] in asked["message"]
    assert chain.produced.record["locks"] == [{"resource": "my-model-production", "agent": None}]
    assert chain.produced.archived("build/deployment.json")["by"] == "starter, approved by approver"
    assert chain.staged.record["inputs"] == []


def test_nobody_deploys_to_production_alone_by_another_commit_either(team: Team, chain: Chain) -> None:
    def careless(config: dict[str, Any]) -> None:
        config["pipelines"]["environments"]["production"]["approvers"] = ""

    team.configure(careless)
    commit = team.push("Ask nobody", "careless")
    run(["git", "reset", "--quiet", "--hard", "HEAD~1"], team.project)
    for answer, result in (
        ({"user": "approver", "groups": ["deployers"], "abort": True}, "ABORTED"),
        ({"user": "starter", "groups": ["deployers"]}, "FAILURE"),
    ):
        build = team.controller.run("deploy", answers=[answer], ENVIRONMENT="production", COMMIT=commit)
        assert build.result == result, build.log
        assert commit in build.record["inputs"][0]["message"]
        assert build.record["credentials"] == []
        assert "deploy" not in build.targets
        assert list(build.record["artifacts"]) == ["build/plan.json"]
        assert [mail["to"] for mail in build.record["mails"]] == ["team@example.com"]


def test_an_environment_that_is_none_is_refused_and_not_executed(team: Team, chain: Chain) -> None:
    hostile = 'staging"; touch "$WORKSPACE/../pwned"; $(shell touch ../pwned) \''
    build = team.controller.run("deploy", ENVIRONMENT=hostile)
    assert build.result == "FAILURE"
    assert "there is no environment" in build.log
    assert list(team.controller.home.rglob("pwned")) == []


def test_a_model_that_is_worse_than_the_champion_goes_nowhere(team: Team, chain: Chain) -> None:
    def threshold(config: dict[str, Any]) -> None:
        config["gate"]["thresholds"] = {"accuracy": 0.999}

    team.configure(threshold)
    replace(team.project / "src/model/train.py", "LogisticRegression(max_iter=1000)", "LogisticRegression(C=0.0001)")
    replace(team.project / "tests/test_hooks.py", "> 0.95", "> 0.1")  # which would have noticed
    team.push("Make it worse")
    build = team.controller.run("train-model")
    assert build.result == "FAILURE"
    assert build.targets[-1] == "gate"
    assert (build.record["started"], team.controller.queue) == ([], [])
    verdict = build.archived("build/verdict.json")
    assert verdict["passed"] is False
    assert len([check for check in verdict["checks"] if not check["passed"]]) == 2, verdict
    [copied] = build.record["copied"]
    assert (copied["job"], copied["number"], copied["to"]) == ("deploy", 2, "build/champion/model.tar")
    assert copied["sha256"] == chain.produced.sha256("build/model.tar")
    assert build.record["mails"] == [
        {
            "to": "team@example.com",
            "subject": "my-model/train-model #2: FAILURE",
            "body": "https://jenkins.example.com/job/my-model/job/train-model/2/",
        }
    ]


def test_a_failing_smoke_prediction_brings_the_old_image_back(team: Team, chain: Chain) -> None:
    before = team.served("staging")
    run(["git", "revert", "--no-commit", "HEAD"], team.project)
    (team.project / "helm/values-tests.yaml").write_text(yaml.safe_dump({**SETTINGS, "podLabels": {"a": "b"}}))
    commit = team.push("Label the pods")
    built = team.controller.run("build-image", TRAIN_BUILD="1", COMMIT=commit)
    assert built.result == "SUCCESS", built.log
    digest = built.archived("build/image.json")["digest"]
    assert not before.endswith(digest)
    stored = team.controller.credentials["my-model-api-key-staging"]
    team.controller.credentials["my-model-api-key-staging"] = {"kind": "string", "secret": OLD_KEY}
    build = team.controller.run_next()
    team.controller.credentials["my-model-api-key-staging"] = stored
    assert build.result == "FAILURE"
    record = build.archived("build/deployment.json")
    assert (record["outcome"], record["digest"]) == ("rolled back", digest)
    assert team.served("staging") == before
    assert team.ask("staging", "/model")
    assert build.record["leaks"] == []
    assert len(build.record["mails"]) == 1


def test_a_pull_request_is_checked_without_any_secret(team: Team) -> None:
    build = team.controller.run("pull-requests", "Jenkinsfile")
    assert build.result == "SUCCESS", build.log
    assert build.targets == ["setup", "lint", "check", "test-report", "lint-image", "lint-chart"]
    assert build.record["credentials"] == []
