"""Settings of prediction records and of Fluentd, one of their sinks."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from ml_microservice.settings.section import SECRET, Section


class RecordsSettings(Section):
    """The record of every prediction: written to local files before the answer is sent, then shipped to the sinks."""

    sinks: tuple[Literal["database", "fluentd", "stdout"], ...] = ("database",)
    """Where records are shipped to; without a sink nothing is recorded."""
    directory: Path = Path("var/records")
    """Folder of the local files, relative to the project; it must be on a disk that outlives the process."""
    durability: Literal["group", "strict"] = "group"
    """`group` syncs the disk every `sync_milliseconds`, so a power loss can lose the records written since. `strict`
    syncs before each answer."""
    sync_milliseconds: int = Field(100, ge=1, le=10_000)
    """Time between two syncs of the disk."""
    segment_bytes: int = Field(16 * 2**20, ge=4096)
    """Size at which a local file is closed and a new one begun."""
    segment_seconds: int = Field(60, ge=1)
    """Age at which a local file is closed and a new one begun."""
    max_bytes: int = Field(2**30, ge=2**20)
    """Most bytes that may wait in the local files of all processes; beyond that, and when the disk is full, `when_full`
    applies."""
    when_full: Literal["refuse", "serve_unlogged"] = "refuse"
    """`refuse` answers with 503; `serve_unlogged` answers with `"logged": false` and counts the prediction."""
    pii: Literal["omit", "hash"] = "omit"
    """What is recorded of features marked `pii`: nothing, or a keyed hash, which is the same for equal values."""
    pii_key: Annotated[SecretStr | None, SECRET] = None
    """Key of the hash that `pii: hash` records. A secret: set `SERVICE__RECORDS__PII_KEY`, never this file."""
    n_best: int = Field(5, ge=1)
    """Number of most likely classes that are recorded with their probabilities."""
    shipping: Literal["with_service", "separate"] = "with_service"
    """Whether the service ships its records itself, or a separate process does (`ml-service records ship`)."""
    retention_days: int | None = Field(None, ge=1)
    """Age at which records are deleted from the database and Elasticsearch; never by default."""

    @model_validator(mode="after")
    def _hash_needs_key(self) -> Self:
        if self.pii == "hash" and self.pii_key is None:
            raise ValueError("records.pii is 'hash' but there is no key: set SERVICE__RECORDS__PII_KEY")
        return self


class FluentdSettings(Section):
    """The receiver of the sink `fluentd`: Fluentd, or anything else that speaks its Forward protocol."""

    host: str = "127.0.0.1"
    """Host name or address of the receiver."""
    port: int = Field(24224, ge=1, le=65535)
    """Port of the receiver's `forward` source."""
    tag: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]*)?$", max_length=100)] = ""
    """Prefix of tags (before `.predict` and `.feedback`) and of index names; the project's name by default."""
    timeout_seconds: float = Field(10, gt=0)
    """Longest time for a connection and for an acknowledgement."""
    tls: bool = False
    """Whether to connect with TLS."""
    ca_file: Path | None = None
    """Certificates of the authorities that may sign the receiver's; the system's by default."""
    shared_key: Annotated[SecretStr | None, SECRET] = None
    """Key of the receiver's `<security>` section. A secret: set `SERVICE__FLUENTD__SHARED_KEY`, never this file."""
