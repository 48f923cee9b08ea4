"""Releases: their revisions and states, as Helm keeps them, in files."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.charts import Document, Failure, hooks
from cluster.pods import Namespace

KEPT = ("deployed", "superseded")
"""The states of what has served."""


class Cancelled(Exception):
    """SIGTERM, which Helm takes as the end of its time."""


@dataclass(frozen=True)
class Revision:
    """One entry of a release's history."""

    revision: int
    status: str
    description: str
    chart: str
    updated: str
    documents: list[Document]


class Release:
    """A release in a namespace."""

    def __init__(self, state: Path, namespace: str, name: str) -> None:
        self.namespace = Namespace(state, namespace)
        self.name = name
        self.path = self.namespace.folder / f"{name}.json"

    def revisions(self) -> list[Revision]:
        """The history, the latest last."""
        if not self.path.exists():
            return []
        return [Revision(**each) for each in json.loads(self.path.read_text())]

    def last(self) -> Revision:
        """The latest revision; a Failure if there is none."""
        revisions = self.revisions()
        if not revisions:
            raise Failure("release: not found")
        return revisions[-1]

    def upgrade(self, documents: list[Document], chart: str, goes_back: bool, seconds: float) -> None:
        """Install or upgrade, and where that fails go back, if told so."""
        before = self.revisions()
        if before and before[-1].status.startswith("pending-"):
            raise Failure("UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
        served = [one.revision for one in before if one.status in KEPT]
        kind = "upgrade" if before else "install"
        try:
            self._next(documents, chart, f"pending-{kind}", f"Preparing {kind}")
            for pod in hooks(documents, f"pre-{kind}"):
                self.namespace.run(pod, documents, beside=False)
            self.namespace.roll_out(documents, seconds)
        except (Failure, Cancelled) as error:
            words = str(error) or "context canceled"
            self._change(status="failed", description=f"{kind.capitalize()} {self.name!r} failed: {words}")
            undone = ""
            if goes_back and served:
                self.rollback(served[-1], seconds)
                undone = f"release {self.name} failed, and has been rolled back due to rollback-on-failure being set: "
            elif goes_back and not before:
                self.uninstall()
                undone = f"release {self.name} failed, and has been uninstalled due to rollback-on-failure being set: "
            raise Failure(f"{kind.upper()} FAILED: {undone}{words}") from None
        self._served(f"{kind.capitalize()} complete")

    def rollback(self, number: int, seconds: float) -> None:
        """Go back to a revision, which makes a new one."""
        target = next((one for one in self.revisions() if one.revision == number), None)
        if target is None:
            raise Failure(f"release has no {number} version")
        self._next(target.documents, target.chart, "pending-rollback", f"Rollback to {number}")
        try:
            self.namespace.roll_out(target.documents, seconds)
        except Failure as error:
            self._change(status="failed", description=f"Rollback {self.name!r} failed: {error}")
            raise
        self._served(f"Rollback to {number}")

    def test(self) -> None:
        """Run the chart's tests against what serves."""
        documents = self.last().documents
        for pod in hooks(documents, "test"):
            self.namespace.run(pod, documents, beside=True)

    def uninstall(self) -> None:
        """Forget it, and end its pod; claims stay."""
        self.last()
        self.namespace.stop()
        self.path.unlink()

    def _next(self, documents: list[Document], chart: str, status: str, description: str) -> None:
        number = max((one.revision for one in self.revisions()), default=0) + 1
        now = datetime.now(UTC).isoformat()
        self._write([*self.revisions(), Revision(number, status, description, chart, now, documents)])

    def _change(self, **changes: Any) -> None:
        *others, last = self.revisions()
        self._write([*others, replace(last, **changes)])

    def _served(self, description: str) -> None:
        def older(one: Revision) -> Revision:
            return replace(one, status="superseded") if one.status == "deployed" else one

        *others, last = self.revisions()
        self._write([*map(older, others), replace(last, status="deployed", description=description)])

    def _write(self, revisions: list[Revision]) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps([asdict(one) for one in revisions]))
        temporary.replace(self.path)


def every(state: Path, namespace: str) -> list[Release]:
    """All releases of a namespace."""
    return [Release(state, namespace, path.stem) for path in sorted((state / namespace).glob("*.json"))]
