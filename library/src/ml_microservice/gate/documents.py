"""The documents of the gate: `build/evaluation.json`, its input, and `build/verdict.json`, its output.

Pipelines, later gates and people read both. Within a format, keys are added and never changed.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ml_microservice.atomic_file import written_atomically
from ml_microservice.errors import Fault, GateError

EVALUATION = Path("build/evaluation.json")
VERDICT = Path("build/verdict.json")
FORMAT: Literal[1] = 1

Direction = Literal["greater", "smaller"]
"""The values of a metric that are better."""


class _Document(BaseModel):
    # A later version may have added keys.
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class ModelIdentity(_Document):
    """The identity of a model."""

    version: str
    """Name of the version."""
    id: str
    """UUID of its training run."""
    commit: str | None
    """Commit at which it was trained, with `-dirty` if files differed from it; null outside of git."""


class Candidate(_Document):
    """The new model, read back from its artefact."""

    model: ModelIdentity
    """Its identity."""
    metrics: dict[str, float | None]
    """Its metrics by name; null if one is undefined on these rows."""


class Champion(_Document):
    """The model in production, if there is one to compare with."""

    status: Literal["compared", "absent", "not comparable"]
    """`compared`: evaluated on the same rows; `absent`: there is none; `not comparable`: it could not be evaluated."""
    why: str
    """The reason for the status, in one sentence."""
    model: ModelIdentity | None = None
    """Its identity; null if there is no champion, or its manifest could not be read."""
    metrics: dict[str, float | None] = {}
    """Its metrics by name; empty unless it was compared."""
    notes: tuple[str, ...] = ()
    """Limits of the comparison, one sentence each."""


class Comparison(_Document):
    """The result of `ml-service evaluate`."""

    format: Literal[1] = FORMAT
    """Version of the document's format."""
    project: str
    """Slug of the project."""
    created_at: datetime
    """Time in UTC."""
    task: Literal["classification", "regression"]
    """The task of `features.yaml`."""
    headline: str
    """The main metric of this task."""
    directions: dict[str, Direction]
    """The better direction of each metric."""
    rows: int
    """The number of held-out rows, which are the same for both models."""
    data_sha256: str
    """Digest of the training frame, as in the candidate's manifest."""
    seed: int
    """Seed of the split."""
    test_size: float
    """The share of rows that was held out."""
    candidate: Candidate
    """The new model."""
    champion: Champion
    """The model in production."""


class Check(_Document):
    """One check of a gate."""

    name: str
    """Unique within the verdict, such as `threshold.accuracy`."""
    kind: str
    """`threshold` or `champion`; other gates add kinds of their own."""
    metric: str | None
    """The metric that was checked; null if the check is not about a metric."""
    value: float | None
    """The value found; null if it is undefined."""
    limit: float | None
    """The value required; null if it is not a number."""
    direction: Direction | None
    """`greater`: the value must be at least the limit; `smaller`: at most the limit."""
    passed: bool
    """Whether the check passed."""
    sentence: str
    """The check in one sentence."""


class Verdict(_Document):
    """The decision of a gate."""

    format: Literal[1] = FORMAT
    """Version of the document's format."""
    project: str
    """Slug of the project."""
    created_at: datetime
    """Time in UTC."""
    passed: bool
    """Whether all checks passed."""
    rows: int
    """The number of held-out rows."""
    data_sha256: str
    """Digest of the training frame."""
    candidate: ModelIdentity
    """The model that was judged."""
    champion: Champion
    """The model in production, or the reason why there was no comparison."""
    checks: tuple[Check, ...]
    """All checks; there may be none."""


Document = TypeVar("Document", Comparison, Verdict)


def write_document(document: Comparison | Verdict, file: Path) -> None:
    """Write a document; the file appears once it is complete.

    Raises:
        InputFileError: it cannot be written.
    """
    with written_atomically(file) as path:
        path.write_bytes(document.model_dump_json(indent=2).encode() + b"\n")


def read_document(kind: type[Document], file: Path, advice: str) -> Document:
    """Read a document.

    Raises:
        GateError: there is no such file, or it is not a document of this format.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise GateError(Fault(f"cannot be read: {error.strerror}", file.name, advice=advice)) from None
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"not a file of format {FORMAT}: {place or 'JSON'}: {error.errors()[0]['msg']}"
        raise GateError(Fault(message, file.name, advice=advice)) from None
