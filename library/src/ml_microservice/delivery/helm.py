"""Helm, 3 or 4: what is asked of it here, and in which words."""

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
"""For Helm 4, which would not touch what somebody has changed by hand, in going back neither; Helm 3 does."""


class Interrupted(Exception):
    """Whoever started this wants it to end."""


def heed_signals() -> None:
    """From now on, be interrupted by the first signal: what was changed can be changed back."""
    for number in SIGNALS:
        signal.signal(number, _raise_interrupted)


def ignore_signals() -> None:
    """From now on, go on to the end; programs that are called do not inherit it."""
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
    """`deployed`, `superseded`, `failed`, `pending-upgrade`, ..."""
    description: str


@dataclass(frozen=True)
class Release:
    """A release in a namespace, and what can be done to it. What Helm says goes where this process's words go."""

    name: str
    namespace: str
    timeout: str
    """As Helm writes it: `15m`."""

    def history(self) -> list[Revision]:
        """Its revisions, the latest last; none if there is no such release.

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
        """Install or upgrade it, and wait; where that fails, Helm itself goes back."""
        goes_back = ["--atomic"] if major_version() < 4 else ["--rollback-on-failure", *FORCED]
        return self._did(["upgrade", self.name, CHART, "--install", *goes_back, *values])

    def test(self) -> bool:
        """Run the chart's tests."""
        return self._did(["test", self.name])

    def rollback(self, revision: int) -> bool:
        """Go back to a revision, and wait until it serves."""
        forced = () if major_version() < 4 else FORCED
        return self._did(["rollback", self.name, str(revision), "--wait", "--cleanup-on-fail", *forced])

    def uninstall(self) -> bool:
        """Take it away; claims stay."""
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
    """The manifests of the chart, once it is free of faults.

    Raises:
        ServiceError: with Helm's words, if the chart does not go together with the values.
    """
    lint(values)
    return _said(["template", name, CHART, f"--namespace={namespace}", *values])


def lint(values: Sequence[str]) -> str:
    """What `helm lint --strict` says of the chart with some values.

    Raises:
        ServiceError: it finds a fault.
    """
    return _said(["lint", "--strict", CHART, *values])


@cache
def major_version() -> int:
    """3 or 4."""
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
