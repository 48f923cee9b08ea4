"""`build/evaluation.json` and `build/verdict.json`: what is handed from the evaluation to the gate, and from it on.

Both are read by others: a later gate, pipelines and people. Within a format keys are added and never change.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ml_microservice.errors import Fault, GateError
from ml_microservice.monitoring.exporting import appearing

EVALUATION = Path("build/evaluation.json")
VERDICT = Path("build/verdict.json")
FORMAT: Literal[1] = 1

Direction = Literal["greater", "smaller"]
"""Which values of a metric are the better ones."""


class _Document(BaseModel):
    # Keys that a later version has added are no reason to refuse a file.
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class ModelIdentity(_Document):
    """Which model."""

    version: str
    """Name of the version."""
    id: str
    """UUID of its training run."""
    commit: str | None
    """Commit at which it was trained, with `-dirty` when files had been changed; null outside of git."""


class Candidate(_Document):
    """The model that wants to go on, read back from its artefact."""

    model: ModelIdentity
    """Which model."""
    metrics: dict[str, float | None]
    """By name; null where one is undefined on these rows."""


class Champion(_Document):
    """The model that is in production, as far as there is one to compare with."""

    status: Literal["compared", "absent", "not comparable"]
    """`compared` was evaluated on the same rows; `absent`: there is none; `not comparable`: it could not be."""
    why: str
    """One sentence on that."""
    model: ModelIdentity | None = None
    """Which model; null where there is none, or where even that could not be read."""
    metrics: dict[str, float | None] = {}
    """As the candidate's; empty unless it was compared."""
    notes: tuple[str, ...] = ()
    """What to know before its metrics are relied on, one sentence each."""


class Comparison(_Document):
    """What `ml-service evaluate` found."""

    format: Literal[1] = FORMAT
    """Of this file."""
    project: str
    """Slug of the project."""
    created_at: datetime
    """UTC."""
    task: Literal["classification", "regression"]
    """As in `features.yaml`."""
    headline: str
    """The metric that models of this task are introduced with."""
    directions: dict[str, Direction]
    """Which values are better, by metric."""
    rows: int
    """Held-out rows, the same for both models."""
    data_sha256: str
    """Digest of the training frame, as in the candidate's manifest."""
    seed: int
    """Of the split."""
    test_size: float
    """Share of the rows that was held out."""
    candidate: Candidate
    """The model that wants to go on."""
    champion: Champion
    """The model that is in production."""


class Check(_Document):
    """One thing that a gate looks at."""

    name: str
    """Unique within the verdict, such as `threshold.accuracy`."""
    kind: str
    """`threshold` or `champion`; other gates add kinds of their own."""
    metric: str | None
    """What was measured; null where it is no metric."""
    value: float | None
    """What was found; null where it is undefined."""
    limit: float | None
    """What was asked for; null where it is no number."""
    direction: Direction | None
    """`greater`: the value has to be at least the limit; `smaller`: at most."""
    passed: bool
    """Whether it holds."""
    sentence: str
    """All of that in words."""


class Verdict(_Document):
    """What a gate decided."""

    format: Literal[1] = FORMAT
    """Of this file."""
    project: str
    """Slug of the project."""
    created_at: datetime
    """UTC."""
    passed: bool
    """Whether all checks did."""
    rows: int
    """Held-out rows that it rests on."""
    data_sha256: str
    """Digest of the training frame."""
    candidate: ModelIdentity
    """The model that was judged."""
    champion: Champion
    """The model that it was compared with, or why it was not."""
    checks: tuple[Check, ...]
    """Everything that was looked at; may be none."""


Document = TypeVar("Document", Comparison, Verdict)


def write_document(document: Comparison | Verdict, file: Path) -> None:
    """Write a file that appears once it is complete.

    Raises:
        InputFileError: it cannot be written.
    """
    with appearing(file) as path:
        path.write_bytes(document.model_dump_json(indent=2).encode() + b"\n")


def read_document(kind: type[Document], file: Path, advice: str) -> Document:
    """Read a file of this format.

    Raises:
        GateError: it is not there, or is none.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise GateError(Fault(f"cannot be read: {error.strerror}", file.name, advice=advice)) from None
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"not a file of format {FORMAT}: {place or 'JSON'}: {error.errors()[0]['msg']}"
        raise GateError(Fault(message, file.name, advice=advice)) from None
