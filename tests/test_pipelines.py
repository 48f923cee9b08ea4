"""The Jenkinsfiles of a project, held against Jenkins' rules and run for real: from a commit to a deployed model."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_controller import faults

pytestmark = pytest.mark.t1

PROJECT_JOBS = ("train-model", "build-image", "deploy")
JENKINSFILES = ("Jenkinsfile", *(f"jenkins/{job}/Jenkinsfile" for job in PROJECT_JOBS))
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
