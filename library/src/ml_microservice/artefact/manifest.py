"""`manifest.json`: what a model version is, where it came from, and the digest of every file in it."""

import hashlib
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FORMAT = 1
"""Version of the artefact's layout; a reader refuses any other."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FileDigest(_Part):
    """Digest and size of one file."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> "FileDigest":
        """The digest of some bytes."""
        return cls(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


class Origin(_Part):
    """What a model was made from: equal origins should give equal models."""

    data_sha256: str
    """Digest of the training frame's features and target, in order."""
    code_sha256: str
    """Digest of the hooks' Python files and of `features.yaml`."""
    seed: int
    test_size: float
    python: str
    machine: str
    libraries: dict[str, str]
    """Versions of the libraries that made the model."""


class Reproduction(_Part):
    """How a model compares with the previous one that was trained on the same data."""

    of: str | None
    """Version of the previous model, if there is one."""
    verdict: Literal["first", "identical", "different"]
    why: tuple[str, ...]
    """What has changed since, if the models differ."""


PYTHON_ENGINE = "preprocessor.joblib -> model.joblib"
"""The engine without a compiled stage: the user's objects as they are."""


class EngineCandidate(_Part):
    """One way to answer requests, and the verdict on it."""

    name: str
    """Stages of the engine: `columns` is preprocessing compiled to numpy, the joblib files are the user's objects."""
    verdict: Literal["serves", "slower", "refused", "unproved"]
    """`refused`: there is no compiled form; `unproved`: its answers differ from the Python objects' somewhere."""
    why: str
    largest_difference: float | None = None
    """Largest difference from the Python objects: of a probability, or of a number relative to its size."""
    rows: int = 0
    """Number of rows that were compared."""
    microseconds_1_row: float | None = None
    """Duration of a call with one row on the machine of training, to compare candidates."""
    microseconds_64_rows: float | None = None


class EngineRecord(_Part):
    """Which engine answers requests, and which others were tried."""

    serves: str = PYTHON_ENGINE
    tolerance: float | None = None
    """The largest difference that was allowed; None where nothing was compiled."""
    candidates: tuple[EngineCandidate, ...] = ()
    files: tuple[str, ...] = ()
    """Files of the artefact that the engine is read from."""

    @property
    def is_compiled(self) -> bool:
        """Whether any stage is compiled."""
        return self.serves != PYTHON_ENGINE


class Manifest(_Part):
    """Everything there is to know about a model version without loading it."""

    format: int = FORMAT
    project: str
    """Slug of the project that trained it; a service refuses another project's model."""
    version: str
    """Name of the version and of its folder; versions sort by time."""
    id: str
    """UUID of this training run."""
    created_at: datetime
    """Time of training, in UTC."""
    git_commit: str | None
    """Commit of the project, with `-dirty` when files had been changed; None outside of git."""
    task: Literal["classification", "regression"]
    target: str
    classes: tuple[str, ...]
    """Names of the classes in the order of the probabilities; empty for regression."""
    rows: int
    train_rows: int
    test_rows: int
    metrics: dict[str, float | None]
    """Metrics on the held-out rows."""
    baseline: dict[str, float | None]
    """The same metrics of a model that ignores the features."""
    engine: EngineRecord = EngineRecord()
    """The engine that answers requests, and the others that were tried."""
    origin: Origin
    reproduction: Reproduction
    files: dict[str, FileDigest]
    """Digests of all other files in the folder."""

    def summary(self) -> dict[str, Any]:
        """The answer of `GET /model`: everything except the digests."""
        return self.model_dump(mode="json", exclude={"files", "format"})
