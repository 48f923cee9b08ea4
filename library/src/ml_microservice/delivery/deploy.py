"""Deployment by Helm: upgrade, test, and roll back if the service does not answer as it should.

Usage: python -m ml_microservice.delivery.deploy ENVIRONMENT TIMEOUT | wait

TIMEOUT, such as 15m, is how long Helm waits for pods to be ready. The outcome is always written to
build/deployment.json. SERVICE__API__KEYS has the API key of the smoke prediction. DEPLOYED_BY names who deploys, by
default the user of this process. `wait` waits for a running deployment from this folder: one that was told to stop
rolls back first.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any

from ml_microservice.delivery.built import write_json
from ml_microservice.delivery.helm import Interrupted, Release, Revision, heed_signals, ignore_signals
from ml_microservice.delivery.plan import helm_values, plan
from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.terminal import faults_shown, out
from ml_microservice.training.origin import git_commit

DEPLOYMENT = "build/deployment.json"
LOCK = "build/deployment.lock"
PENDING = "pending-"
SERVED = ("deployed", "superseded")
SMOKE_TRIES = 5
"""How often the smoke prediction is tried: an ingress needs a moment to find new pods."""
SMOKE_PAUSE = 3.0


class Deployment:
    """A deployment and its record, which is written again after every step, because any step may be the last."""

    def __init__(self, settings: DeliverySettings, environment: str, timeout: str, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.environment = environment
        self.timeout = timeout
        self.record: dict[str, Any] = {
            "environment": environment,
            "outcome": "failed",
            "why": "it was ended before it could say how it went",
            "by": environ.get("DEPLOYED_BY") or environ.get("USER") or f"user {os.getuid()}",
            "build": environ.get("BUILD_URL"),
            "chart_commit": git_commit(settings.root),
            "started": _now(),
            "finished": None,
            "previous_revision": None,
            "revision": None,
            "smoke": None,
            "smoke_after": None,
        }

    def run(self) -> dict[str, Any]:
        """Deploy, roll back if that fails, and return the record.

        Raises:
            ServiceError: nothing could be begun, or what was begun has failed; the record is written all the same.
        """
        self._write()
        heed_signals()
        try:
            planned = plan(self.settings, self.environment)
            self.record |= planned
            release = Release(planned["release"], planned["namespace"], self.timeout)
            before = release.history()
            _refuse_a_pending(release, before)
        except (ServiceError, Interrupted) as error:
            self._finish("failed", f"nothing was changed: {error}")
            raise error if isinstance(error, ServiceError) else ServiceError(str(error)) from None
        previous = _served_last(before)
        self.record["previous_revision"] = previous
        try:
            why = self._fault_of(release)
            ignore_signals()
        except (ServiceError, Interrupted) as error:
            ignore_signals()
            why = str(error)
        if why is None:
            return self._finish("deployed", None)
        self._finish("failed", f"{why}; going back was not finished")
        outcome, what = self._back(release, before, previous)
        self._finish(outcome, f"{why}; {what}")
        raise ServiceError(Fault(f"{self.environment}: {why}; {what}", DEPLOYMENT))

    def _fault_of(self, release: Release) -> str | None:
        """Deploy and test; returns what went wrong, if anything."""
        if not release.upgrade(helm_values(self.record)):
            return "helm upgrade failed"
        self.record["revision"] = release.history()[-1].number
        self._write()
        if not release.test():
            return "helm test failed, see its log above"
        self.record["smoke"] = smoke = self._smoke(self.record["model_version"])
        return None if smoke is None else smoke.get("error")

    def _back(self, release: Release, before: list[Revision], previous: int | None) -> tuple[str, str]:
        """Restore the previous state; returns the outcome, and a description of what was done."""
        now = release.history()
        if not now:
            return "failed", "it was the first, and Helm has taken it away"
        if before and now[-1].number == before[-1].number:
            return "failed", "Helm has changed nothing"
        if previous is None:
            was_done = release.uninstall()
            return "failed", "it was the first, and is taken away" if was_done else "helm uninstall failed, too"
        has_gone_back = now[-1].status == "deployed" and now[-1].description.startswith("Rollback to")
        if not has_gone_back and not release.rollback(previous):
            return "failed", f"helm rollback to revision {previous} failed, too: look at it now"
        self.record["smoke_after"] = after = self._smoke(None)
        if after is None:
            answers = ""
        elif "error" in after:
            answers = f", which does not answer: {after['error']}"
        else:
            answers = ", which answers"
        return "rolled back", f"it is revision {previous} again{answers}"

    def _smoke(self, model_version: str | None) -> dict[str, Any] | None:
        """Send a prediction to the environment's URL, and expect an answer of the given model version, if any."""
        url = self.record["url"]
        if not url:
            return None
        command = [sys.executable, "-m", "ml_microservice.cli", "smoke", url]
        found: dict[str, Any] = {}
        for attempt in range(SMOKE_TRIES):
            sleep(SMOKE_PAUSE if attempt else 0)
            done = subprocess.run(command, capture_output=True, text=True, cwd=self.settings.root)
            if done.returncode:
                found = {"url": url, "error": f"the smoke prediction failed: {' '.join(done.stderr.split())}"}
                continue
            answer = json.loads(done.stdout)
            if model_version in (None, answer["model_version"]):
                return {"url": url, "answer": answer}
            words = f"the smoke prediction was answered by model {answer['model_version']}"
            found = {"url": url, "error": words, "answer": answer}
        return found

    def _finish(self, outcome: str, why: str | None) -> dict[str, Any]:
        self.record |= {"outcome": outcome, "why": why, "finished": _now()}
        self._write()
        return self.record

    def _write(self) -> None:
        write_json(self.settings.root / DEPLOYMENT, self.record)


def _refuse_a_pending(release: Release, history: list[Revision]) -> None:
    if history and history[-1].status.startswith(PENDING):
        message = f"the release {release.name} is {history[-1].status}: another deployment is at work, or was killed"
        back = _served_last(history)
        undo = "uninstall" if back is None else "rollback"
        place = f"{release.name}{'' if back is None else f' {back}'} --namespace {release.namespace}"
        raise ServiceError(Fault(message, advice=f"wait; if nobody is at work, run 'helm {undo} {place}'"))


@contextmanager
def _alone(root: Path, waiting: bool) -> Iterator[None]:
    """Hold the lock of deployments from this folder; the kernel releases it when a process is killed.

    Raises:
        ServiceError: another one is at work, and is not to be waited for.
    """
    path = root / LOCK
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waiting else fcntl.LOCK_NB))
        except BlockingIOError:
            message = "another deployment from this folder is at work"
            raise ServiceError(Fault(message, advice="wait for it with make deploy-wait")) from None
        yield


def _served_last(history: list[Revision]) -> int | None:
    """The revision that serves, or else the last that did: a failed rollback leaves none with status `deployed`."""
    for status in SERVED:
        found = [one.number for one in history if one.status == status]
        if found:
            return found[-1]
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def main() -> None:
    """Run the command line."""
    # In one order with what Helm says.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    match sys.argv[1:]:
        case ["wait"]:
            with _alone(load_delivery_settings().root, waiting=True):
                pass
        case [environment, timeout]:
            settings = load_delivery_settings()
            with _alone(settings.root, waiting=False):
                record = Deployment(settings, environment, timeout, os.environ).run()
            words = f"{record['repository']}@{record['digest']}, revision {record['revision']}"
            out.print(f"[bold green]Deployed[/] to {environment}: {words}", highlight=False, soft_wrap=True)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    with faults_shown():
        main()
