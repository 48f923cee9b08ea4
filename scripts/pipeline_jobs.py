"""What projects have in Jenkins, rendered from their config.yaml by Job Builder, or sent to a controller.

Usage: python scripts/pipeline_jobs.py render|update PROJECT ...

`render` needs no controller: the XML is left in build/jenkins. Both write jenkins/casc/projects/NAME.yaml, which names
a project's credentials and has no secret in it. `update` is told by JENKINS_URL (http://127.0.0.1:8080/ by default),
JENKINS_USER (jobs) and JENKINS_TOKEN_FILE, a file with a password or an API token
(jenkins/secrets/controller/jobs-password).
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from jenkins_cron import cron_fault

TEMPLATE = Path(__file__).resolve().parents[1]
JOBS = TEMPLATE / "jenkins/jobs"
CREDENTIALS = TEMPLATE / "jenkins/casc/projects"
BUILD = TEMPLATE / "build/jenkins"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
ENVIRONMENTS = ("staging", "production")
"""What a project has that names none."""
SERVICE_LENGTH = 45
"""Longest name that the chart gives its Service, of which a longer one is the beginning."""


class Faults(Exception):
    """What is wrong with the projects or the surroundings, a sentence for each."""


@dataclass(frozen=True)
class Project:
    """What Jenkins has to know of a project."""

    name: str
    description: str
    repository: str
    branch: str
    train_on_push: bool
    retrain: str
    retrain_on_drift: bool
    environments: tuple[str, ...]
    services: tuple[str, ...]
    """What Prometheus calls it in Kubernetes, in any environment."""

    def entry(self) -> dict[str, Any]:
        """Its `project` of Job Builder; braces are Job Builder's own, and doubled where they are meant."""
        triggers: list[str | dict[str, Any]] = []
        if self.train_on_push:
            triggers.append("train-on-push")
        if self.retrain:
            triggers.append({"retrain-by-cron": {"cron": _plain(self.retrain)}})
        if self.retrain_on_drift:
            triggers.append({"retrain-on-drift": {"slug": self.name, "services": "|".join(self.services)}})
        return {
            "project": {
                "name": self.name,
                "slug": self.name,
                "description": _plain(self.description),
                "repository": _plain(self.repository),
                "branch": _plain(self.branch),
                "branch_pattern": _plain(re.escape(self.branch)),
                "credentials": "git" if _is_ssh(self.repository) else "",
                "triggers": triggers,
                "jobs": ["project"],
                "views": ["{slug}/pipelines"],
            }
        }

    def credentials(self) -> dict[str, Any]:
        """Its credentials for the controller's configuration as code: references to files, never what is in them."""
        found: list[dict[str, Any]] = []
        for environment in self.environments:
            kubeconfig, key = f"{self.name}-kubeconfig-{environment}", f"{self.name}-api-key-{environment}"
            secret = f"${{readFileBase64:/run/secrets/{kubeconfig}}}"
            about = f"The cluster that {self.name} is deployed to as {environment}"
            found.append(_credential("file", kubeconfig, about, fileName="kubeconfig", secretBytes=secret))
            about = f"What {self.name} lets callers in with as {environment}"
            found.append(_credential("string", key, about, secret=f"${{{key}}}"))
        if self.retrain_on_drift:
            token = f"{self.name}-retrain-token"
            about = f"What Alertmanager shows to have {self.name} trained again"
            found.append(_credential("string", token, about, secret=f"${{{token}}}"))
        domain = {"name": self.name, "description": f"Credentials of {self.name}"}
        return {"credentials": {"system": {"domainCredentials": [{"domain": domain, "credentials": found}]}}}


def _credential(kind: str, name: str, description: str, **fields: str) -> dict[str, Any]:
    return {kind: {"scope": "GLOBAL", "id": name, "description": description, **fields}}


def _plain(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _service(release: str, chart: str) -> str:
    # As the chart names it, in helm/templates/_names.tpl.
    return (release if chart in release else f"{release}-{chart}")[:SERVICE_LENGTH].removesuffix("-")


def _is_ssh(repository: str) -> bool:
    return repository.startswith("ssh://") or bool(re.match(r"[\w.-]+@[\w.-]+:", repository))


def read_project(folder: Path) -> Project:
    """What a project's config.yaml says of Jenkins.

    Raises:
        Faults: There is no project, or what it says cannot work, all of it.
    """
    path = folder / "config.yaml"
    if not folder.is_dir():
        raise Faults(f"{folder}: there is no such folder")
    if not path.is_file():
        raise Faults(f"{folder}: is no generated project: it has no config.yaml")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise Faults(f"{path}: is no YAML: {error}") from None
    pipelines = config.get("pipelines") or {} if isinstance(config, dict) else {}
    if not isinstance(pipelines, dict):
        raise Faults(f"{path}: pipelines: has to have settings of its own, such as repository")
    name = str(config.get("name") or "")
    environments = pipelines.get("environments") or dict.fromkeys(ENVIRONMENTS)
    if not isinstance(environments, dict):
        raise Faults(f"{path}: pipelines.environments: has to name environments, each with settings of its own")
    releases = [str((values or {}).get("release") or name) for values in environments.values()]
    project = Project(
        name=name,
        description=str(config.get("description") or ""),
        repository=str(pipelines.get("repository") or ""),
        branch=str(pipelines.get("branch") or "main"),
        train_on_push=pipelines.get("train_on_push") is not False,
        retrain=str(pipelines.get("retrain") or "").strip(),
        retrain_on_drift=pipelines.get("retrain_on_drift") is True,
        environments=tuple(map(str, environments)),
        services=tuple(dict.fromkeys(_service(release, name) for release in releases)),
    )
    if faults := _faults(project):
        raise Faults(*(f"{path}: {fault}" for fault in faults))
    return project


def _faults(project: Project) -> list[str]:
    found = []
    if not NAME.fullmatch(project.name):
        found.append(f"name: {project.name!r} has to be letters a-z, digits and single hyphens")
    if not project.repository:
        found.append("pipelines.repository: is not set: the URL that Jenkins checks the project out from")
    elif urlsplit(project.repository).password:
        found.append(
            "pipelines.repository: has a password in it, for all to see: use an SSH URL and the credential `git`"
        )
    elif not (_is_ssh(project.repository) or urlsplit(project.repository).scheme in ("https", "http", "git", "file")):
        found.append(f"pipelines.repository: {project.repository!r} is no URL of a repository")
    if not re.fullmatch(r"[\w./-]+", project.branch):
        found.append(f"pipelines.branch: {project.branch!r} is no name of a branch")
    if project.retrain and (fault := cron_fault(project.retrain)):
        found.append(f"pipelines.retrain: {fault}")
    found += [
        f"pipelines.environments: {name!r} has to be letters a-z, digits and single hyphens"
        for name in project.environments
        if not NAME.fullmatch(name)
    ]
    return found


def read_projects(folders: list[Path]) -> list[Project]:
    """All projects.

    Raises:
        Faults: What is wrong with any of them.
    """
    found: dict[str, Project] = {}
    faults: list[str] = []
    for folder in folders:
        try:
            project = read_project(folder)
        except Faults as error:
            faults += error.args
            continue
        if project.name in found:
            faults.append(f"{folder}: another of these projects is called {project.name!r}, too")
        found[project.name] = project
    if faults:
        raise Faults(*faults)
    return list(found.values())


def render(projects: list[Project]) -> None:
    """Write the entries, their XML and the names of their credentials."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    _dump(BUILD / "projects.yaml", [project.entry() for project in projects])
    _write_ini(BUILD / "jenkins_jobs.ini", {})
    _job_builder(BUILD / "jenkins_jobs.ini", "test", "--config-xml", "-o", str(BUILD / "jobs"))
    CREDENTIALS.mkdir(parents=True, exist_ok=True)
    for project in projects:
        path = CREDENTIALS / f"{project.name}.yaml"
        _dump(path, project.credentials(), "# Written by `make jobs` from the project's config.yaml.\n")
        print(f"{project.name}: build/jenkins/jobs/{project.name}, {path.relative_to(TEMPLATE)}")


def update(projects: list[Project], environment: Mapping[str, str]) -> None:
    """Create the projects' folders, jobs and views on a controller, or bring them up to date.

    Raises:
        Faults: The controller cannot be reached as it is said to be.
    """
    url = environment.get("JENKINS_URL") or "http://127.0.0.1:8080/"
    token = Path(environment.get("JENKINS_TOKEN_FILE") or TEMPLATE / "jenkins/secrets/controller/jobs-password")
    if urlsplit(url).scheme == "http" and urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
        raise Faults(f"JENKINS_URL: {url} would show the token to all on its way: use https")
    if not token.is_file() or not token.read_text(encoding="utf-8").strip():
        raise Faults(f"JENKINS_TOKEN_FILE: {token} is not there or empty; `make jenkins-secrets` writes the default")
    with tempfile.TemporaryDirectory() as folder:  # which nobody else may enter
        settings = {
            "url": url,
            "user": environment.get("JENKINS_USER") or "jobs",
            "password": token.read_text(encoding="utf-8").strip(),
        }
        _write_ini(Path(folder) / "jenkins_jobs.ini", settings)
        _job_builder(Path(folder) / "jenkins_jobs.ini", "update")
    print(f"{url}: {', '.join(project.name for project in projects)} up to date")


def _write_ini(path: Path, settings: dict[str, str]) -> None:
    # What a controller has is asked of it, not of a cache, which knows nothing of a controller that was set up anew.
    parser = configparser.RawConfigParser()
    parser["job_builder"] = {"ignore_cache": "True"}
    parser["jenkins"] = {"query_plugins_info": "False", **settings}
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)


def _job_builder(ini: Path, command: str, *options: str) -> None:
    program = Path(sys.executable).with_name("jenkins-jobs")
    sources = f"{JOBS / 'pipelines.yaml'}{os.pathsep}{BUILD / 'projects.yaml'}"
    done = subprocess.run(
        [program, "--conf", ini, command, *options, sources],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Faults(f"jenkins-jobs {command} failed:\n{done.stdout}")


def _dump(path: Path, content: object, heading: str = "") -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    path.write_text(heading + text, encoding="utf-8")


def main() -> None:
    """Do what the command line asks for."""
    if len(sys.argv) < 2 or sys.argv[1] not in ("render", "update"):
        sys.exit(__doc__)
    if len(sys.argv) < 3:
        sys.exit('jobs: which projects? make jobs PROJECT="../penguin-species ../diabetes-progression"')
    try:
        projects = read_projects([Path(argument) for argument in sys.argv[2:]])
        render(projects)
        if sys.argv[1] == "update":
            update(projects, os.environ)
    except Faults as error:
        sys.exit("\n".join(f"jobs: {fault}" for fault in error.args))


if __name__ == "__main__":
    main()
