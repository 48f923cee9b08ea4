"""A stand-in for a Jenkins controller: runs Jenkinsfiles for real on this machine, by the Groovy beside it.

What Jenkins itself would add, from plugins to permissions, is not here: tests/jenkins/Rules.groovy says what is known.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

GROOVY = Path(__file__).with_name("jenkins")
SECONDS = 1200
STARTED_BY = "hudson.model.Cause$UserIdCause"


class Build(NamedTuple):
    """A build that is done: what Run.groovy has recorded of it, and where its files are."""

    folder: Path
    record: dict[str, Any]

    @property
    def result(self) -> str:
        """SUCCESS, UNSTABLE, FAILURE or ABORTED."""
        return str(self.record["result"])

    @property
    def log(self) -> str:
        """What was printed."""
        return (self.folder / "log").read_text(encoding="utf-8")

    @property
    def targets(self) -> list[str]:
        """The targets of `make` that were executed."""
        scripts = (step["script"].partition("make ") for step in self.record["executed"])
        return [target for _, make, target in scripts if make]

    def archived(self, name: str) -> Any:
        """A JSON file that was archived."""
        return json.loads((self.folder / "archive" / name).read_text(encoding="utf-8"))

    def sha256(self, name: str) -> str:
        """The digest of an archived file, which has to have a fingerprint."""
        artefact = self.record["artifacts"][name]
        assert artefact["fingerprint"]
        return str(artefact["sha256"])


@dataclass
class Controller:
    """The jobs of one project, whose builds are done one after the other."""

    home: Path
    project: Path
    """Where the Jenkinsfiles are read."""
    remote: str = ""
    """What is checked out."""
    credentials: dict[str, Mapping[str, str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every agent."""
    queue: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        job: str,
        jenkinsfile: str = "",
        answers: Sequence[Mapping[str, Any] | None] = (),
        user: str = "starter",
        **parameters: str,
    ) -> Build:
        """Do a build, with somebody to answer what it asks; what it starts waits in the queue."""
        done = sorted(map(int, os.listdir(self.home / "jobs" / job))) if (self.home / "jobs" / job).exists() else []
        number = done[-1] + 1 if done else 1
        folder = self.home / "jobs" / job / str(number)
        folder.mkdir(parents=True)
        name = jenkinsfile or f"jenkins/{job}/Jenkinsfile"
        request = {
            "home": str(self.home),
            "job": job,
            "number": number,
            "folder": "my-model",
            "jenkinsfile": str(self.project / name),
            "remote": self.remote,
            "branch": "main",
            "parameters": parameters,
            "causes": [{"_class": STARTED_BY, "userId": user}],
            "agents": ["python", "docker", "deploy"],
            "credentials": self.credentials,
            "secrets": sorted({stored["secret"] for stored in self.credentials.values()}),
            "environment": self.environment,
            "answers": list(answers),
            "python": sys.executable,
        }
        path = folder / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        process = groovy(path)
        path.unlink()
        assert process.returncode == 0, process.stdout + process.stderr
        build = Build(folder, json.loads((folder / "build.json").read_text(encoding="utf-8")))
        self.queue += build.record["started"]
        return build

    def run_next(self) -> Build:
        """Do what waits for longest."""
        started = self.queue.pop(0)
        return self.run(started["job"], **started["parameters"])


def faults(*jenkinsfiles: Path) -> list[list[str]]:
    """What the rules have against each Jenkinsfile: its faults with their lines."""
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        request.write_text(json.dumps({"check": [str(path) for path in jenkinsfiles]}), encoding="utf-8")
        process = groovy(request)
    assert process.returncode == 0, process.stdout + process.stderr
    found: list[list[str]] = json.loads(process.stdout)
    return found


def groovy(request: Path) -> subprocess.CompletedProcess[str]:
    """Groovy with what a request says. It finds its Java by JAVA_HOME alone."""
    java = shutil.which("java")
    assert java is not None
    environment = {**os.environ, "JAVA_HOME": str(Path(java).resolve().parents[1])}
    command = ["groovy", "-cp", str(GROOVY), str(GROOVY / "Run.groovy"), str(request)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS
    )
