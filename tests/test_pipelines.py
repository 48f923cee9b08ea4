"""The Jenkinsfiles of a project, held against the rules of Jenkins, and the stand-in that executes them."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import docker_daemon
from bake import TEMPLATE
from conftest import run
from jenkins_controller import Build, Controller, faults

pytestmark = pytest.mark.t1

HIDDEN = "what-nobody-may-see"
NPM = Path(__file__).with_name("jenkins")
PROJECT_JOBS = ("train-model", "build-image", "deploy")
JENKINSFILES = ("Jenkinsfile", *(f"jenkins/{job}/Jenkinsfile" for job in PROJECT_JOBS))
CALLED = {
    **dict.fromkeys(("setup", "lint", "check", "test-report", "lint-image", "sbom", "deploy-wait"), ""),
    **dict.fromkeys(("train", "evaluate", "gate", "export-model", "import-model"), ""),
    **dict.fromkeys(("image", "push"), "docker"),
    **dict.fromkeys(("lint-chart", "deploy-plan", "deploy"), "helm"),
    "scan": "trivy",
}
"""What a target of `make` calls besides what every agent has and `make setup` installs; empty, nothing."""
BY_HAND = {"deploy": "kubectl"}
"""What no target calls, for people who look into a cluster from an agent of that label."""
MISTAKES = (
    ("stages {", "stagess {", "unknown section 'stagess' in pipeline"),
    ("    agent { label 'python' }\n", "", "pipeline has no agent"),
    ("skipDefaultCheckout()", "skipCheckout()", "unknown 'skipCheckout' in options"),
    ("agent { label 'python' }", "agent { lable 'python' }", "unknown section 'lable' in agent"),
    ("agent { label 'python' }", "agent anywhere", "unknown agent 'anywhere'"),
    ("always {", "allways {", "unknown section 'allways' in post"),
    ("fingerprint: true", "fingerprints: true", "unknown argument 'fingerprints' of archiveArtifacts"),
    ("variable: 'ENV_FILE'", "name: 'ENV_FILE'", "unknown argument 'name' of file"),
    ("parser: 'COBERTURA'", "parsers: 'COBERTURA'", "unknown argument 'parsers' of recordCoverage"),
    ("job: 'build-image', ", "", "build lacks 'job'"),
    ("sh 'make lint'", "sh2 'make lint'", "unknown step 'sh2'"),
    ("sh 'make lint'", 'sh "make ${params.COMMIT}"', "sh has to be given a constant"),
    ("fetch(params.COMMIT)", "fetch(params.COMIT)", "there is no parameter 'COMIT'"),
    ("currentBuild.description =", "currentBuild.subject =", "unknown 'currentBuild.subject'"),
    ("checkout(scm)", "checkout(scm.branches)", "unknown 'scm.branches'"),
    ("{ cleanWs() }", "{ def a = 1 }", "no step: what is none belongs into script"),
    ("stage('Lint') {", "stage('Set up') {", "there are two stages 'Set up'"),
    ("pipeline {", "pipeline {{", ""),
)
"""In the Jenkinsfile of train-model: what stands there, what is written instead, and what is said of it."""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a program is missing; in CI it has to be there."""
    lacking = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(lacking) and not os.environ.get("CI"), reason=f"there is no {', '.join(lacking)}")


# What Jenkins would refuse


@needs("groovy", "java")
def test_the_jenkinsfiles_say_nothing_that_jenkins_does_not_know(baked: Callable[[str], Path]) -> None:
    assert faults(*(baked("penguins") / name for name in JENKINSFILES)) == [[], [], [], []]


@needs("groovy", "java")
def test_each_mistake_is_refused_with_its_line(baked: Callable[[str], Path], tmp_path: Path) -> None:
    text = (baked("penguins") / "jenkins/train-model/Jenkinsfile").read_text(encoding="utf-8")
    files = [tmp_path / str(number) for number in range(len(MISTAKES))]
    for file, (right, wrong, _) in zip(files, MISTAKES, strict=True):
        assert right in text
        file.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    for found, (_, _, words) in zip(faults(*files), MISTAKES, strict=True):
        assert words in found[0]
        assert re.search(r"^\d+:\d+: |@ line \d+", found[0])


@needs("npm", "java")
@pytest.mark.slow
def test_npm_groovy_lint_finds_nothing(baked: Callable[[str], Path]) -> None:
    assert "://" not in (NPM / "package-lock.json").read_text(encoding="utf-8")
    folder = TEMPLATE / "build/npm-groovy-lint"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(NPM / name, folder / name)
    run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"], folder)
    lint = [str(folder / "node_modules/.bin/npm-groovy-lint"), "--noserver", "--failon", "info"]
    run([*lint, *JENKINSFILES], baked("penguins"))


# What it needs of agents


def test_agents_are_given_what_the_stages_of_their_label_call_and_no_more(baked: Callable[[str], Path]) -> None:
    needed = {label: {program} for label, program in BY_HAND.items()}
    for name in JENKINSFILES:
        text = (baked("penguins") / name).read_text(encoding="utf-8")
        [label] = set(re.findall(r"label '(\w+)'", text))
        targets = re.findall(r"\bsh '(?:\S+ )?make ([\w-]+)'", text)
        needed.setdefault(label, set()).update(CALLED[target] for target in targets)
    role = yaml.safe_load((TEMPLATE / "ansible/roles/jenkins/vars/main.yml").read_text(encoding="utf-8"))
    given = {label: set(programs) for label, programs in role["jenkins_programs"].items()}
    assert given == {label: programs - {""} for label, programs in needed.items()}


# What the stand-in for Jenkins does, on which the rest relies

SMALL = """
pipeline {
    agent { label 'python' }
    options { timeout(time: 5, unit: 'SECONDS') }
    stages {
        stage('Leak') {
            steps { withCredentials([string(credentialsId: 'registry', variable: 'PASSWORD')]) { sh 'echo $PASSWORD' } }
            post { always { archiveArtifacts 'there-is-none' } }
        }
        stage('Wait') { steps { sh 'sleep 60' } }
    }
    post {
        success { echo 'was success' }
        unsuccessful { echo 'was unsuccessful' }
        failure { echo 'was failure' }
        always { echo 'was always' }
        fixed { echo 'was fixed' }
        aborted { echo 'was aborted' }
    }
}
"""


@needs("groovy", "java")
def test_secrets_are_masked_and_noticed_timeouts_hold_and_what_follows_depends_on_the_result(tmp_path: Path) -> None:
    controller = Controller(
        tmp_path / "home",
        tmp_path,
        credentials={"registry": {"kind": "string", "secret": HIDDEN}},
        environment={"PATH": os.environ["PATH"]},
    )

    def result(text: str) -> Build:
        (tmp_path / "Jenkinsfile").write_text(text, encoding="utf-8")
        return controller.run("small", "Jenkinsfile")

    leaking = result(SMALL)
    assert leaking.result == "FAILURE"
    assert leaking.record["leaks"] == ["in the log of Leak", "in the log of Leak"]
    assert HIDDEN not in leaking.log
    assert re.findall("^was (.*)", leaking.log, re.MULTILINE) == ["always", "failure", "unsuccessful"]
    late = result(SMALL.replace("always { archive", "failure { archive"))
    assert late.result == "ABORTED"
    assert re.findall("^was (.*)", late.log, re.MULTILINE) == ["always", "aborted", "unsuccessful"]
    result(SMALL)
    mended = result(SMALL.replace("sleep 60", "true").replace("always { archive", "failure { archive"))
    assert re.findall("^was (.*)", mended.log, re.MULTILINE) == ["always", "fixed", "success"]


WHERE = """
pipeline {
    agent { label 'python' }
    stages { stage('Where') { steps { inside { sh 'command -v dockerd || echo $CONTAINER > inside' } } } }
}
"""


@needs("groovy", "java", "docker")
@pytest.mark.slow
def test_steps_run_in_a_container_where_one_is_named(
    docker_host: str, baked: Callable[[str], Path], tmp_path: Path
) -> None:
    function, _, _ = (baked("penguins") / "Jenkinsfile").read_text(encoding="utf-8").partition("pipeline {")
    (tmp_path / "Jenkinsfile").write_text(function + WHERE, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": docker_host}
    agent = Controller(tmp_path / "home", tmp_path, environment={**environment, "CONTAINER": docker_daemon.BASE})
    build = agent.run("where", "Jenkinsfile")
    assert build.result == "SUCCESS", build.log
    assert (tmp_path / "home/workspace/where/inside").read_text() == f"{docker_daemon.BASE}\n"
    assert (
        "/dockerd" in Controller(tmp_path / "other", tmp_path, environment=environment).run("where", "Jenkinsfile").log
    )
