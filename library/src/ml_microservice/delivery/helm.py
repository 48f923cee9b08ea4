"""Releases and charts, by the command line of Helm 3 or 4."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any, Never

from ml_microservice.errors import Fault, ServiceError

CHART = "build/chart"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
NO_RELEASE = re.compile(r"release: not found")
FORCED = ("--server-side=true", "--force-conflicts")
"""Options of Helm 4 alone: without them it leaves fields alone that were changed by hand, even in a rollback."""


class Interrupted(Exception):
    """A signal asks this process to end."""


def heed_signals() -> None:
    """Raise `Interrupted` on the next signal, so that changes can be rolled back."""
    for number in SIGNALS:
        signal.signal(number, _raise_interrupted)


def ignore_signals() -> None:
    """Ignore further signals until the end; called programs do not inherit this."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)


def _raise_interrupted(number: int, _frame: FrameType | None) -> Never:
    # `make` passes on what its whole group was sent: the same signal comes twice.
    ignore_signals()
    raise Interrupted(f"interrupted by {signal.Signals(number).name}")


@dataclass(frozen=True)
class Revision:
    """One entry of a release's history."""

    number: int
    status: str
    """Status of Helm: `deployed`, `superseded`, `failed`, `pending-upgrade`, ..."""
    description: str


@dataclass(frozen=True)
class Release:
    """A release in a namespace, and operations on it. Helm's output goes to the output of this process."""

    name: str
    namespace: str
    timeout: str
    """Duration in Helm's notation, such as `15m`."""

    def history(self) -> list[Revision]:
        """Revisions, the latest last; none if the release does not exist.

        Raises:
            ServiceError: the cluster cannot be asked.
        """
        done = _captured(["history", self.name, *self._place, "--output=json"])
        if done.returncode:
            if NO_RELEASE.search(done.stderr):
                return []
            raise ServiceError(Fault(f"the cluster cannot be asked for {self.name}: {done.stderr.strip()}"))
        entries: list[dict[str, Any]] = json.loads(done.stdout)
        return [Revision(one["revision"], one["status"], one.get("description", "")) for one in entries]

    def upgrade(self, values: Sequence[str]) -> bool:
        """Install or upgrade, and wait; Helm itself rolls back a failure."""
        goes_back = ["--atomic"] if major_version() < 4 else ["--rollback-on-failure", *FORCED]
        return self._did(["upgrade", self.name, CHART, "--install", *goes_back, *values])

    def test(self) -> bool:
        """Run the tests of the chart."""
        return self._did(["test", self.name])

    def rollback(self, revision: int) -> bool:
        """Roll back to a revision, and wait until it is ready."""
        forced = () if major_version() < 4 else FORCED
        return self._did(["rollback", self.name, str(revision), "--wait", "--cleanup-on-fail", *forced])

    def uninstall(self) -> bool:
        """Uninstall the release; persistent volume claims stay."""
        return self._did(["uninstall", self.name, "--wait"])

    @property
    def _place(self) -> list[str]:
        return [f"--namespace={self.namespace}"]

    def _did(self, words: list[str]) -> bool:
        child = subprocess.Popen([_helm(), *words, *self._place, f"--timeout={self.timeout}"])
        try:
            return child.wait() == 0
        except Interrupted:
            # Helm marks the release as failed, or goes back, before it ends: killed, it would leave it pending.
            child.terminate()
            child.wait()
            raise


def rendered(name: str, namespace: str, values: Sequence[str]) -> str:
    """Lint the chart, and render its manifests.

    Raises:
        ServiceError: with Helm's words, if the chart does not go together with the values.
    """
    lint(values)
    return _said(["template", name, CHART, f"--namespace={namespace}", *values])


def lint(values: Sequence[str]) -> str:
    """Run `helm lint --strict` on the chart with the given values.

    Raises:
        ServiceError: it finds a fault.
    """
    return _said(["lint", "--strict", CHART, *values])


@cache
def major_version() -> int:
    """The major version of Helm, 3 or 4."""
    said = _said(["version", "--short"])
    found = re.search(r"v(\d+)\.", said)
    if found is None:
        raise ServiceError(Fault(f"helm does not say which version it is: {said.strip()}"))
    return int(found[1])


def _said(words: list[str]) -> str:
    done = _captured(words)
    if done.returncode:
        # lint tells faults on stdout, all else on stderr.
        told = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
        raise ServiceError(Fault(f"helm {words[0]} failed:\n{told}"))
    return done.stdout


def _captured(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([_helm(), *words], capture_output=True, text=True, env=os.environ)


def _helm() -> str:
    found = shutil.which("helm")
    if found is None:
        advice = "install Helm 3.18 or 4.1 or newer, https://helm.sh/docs/intro/install, where charts are used"
        raise ServiceError(Fault("helm is not installed", advice=advice))
    return found
