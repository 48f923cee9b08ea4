"""All settings of a project that its service reads."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from ml_microservice.settings.api import ApiSettings
from ml_microservice.settings.artefacts import ArtefactSettings
from ml_microservice.settings.database import DatabaseSettings
from ml_microservice.settings.jobs import JobsSettings
from ml_microservice.settings.logging import LoggingSettings
from ml_microservice.settings.monitoring import MonitoringSettings
from ml_microservice.settings.records import FluentdSettings, RecordsSettings
from ml_microservice.settings.section import Section
from ml_microservice.settings.tracing import TracingSettings
from ml_microservice.settings.training import GateSettings, TrainingSettings


class Settings(Section):
    """Everything about a project that is neither code nor features."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", max_length=50)]
    """The project's slug: names the image and marks the project's models."""
    title: str = ""
    """The project's name for people: the heading of the API documentation and of the report."""
    description: str = ""
    """One sentence that says what the service predicts."""
    environment: Literal["development", "production"] = "development"
    """`production` refuses to start without what production needs, API keys first."""
    id_name: Annotated[str, Field(min_length=1)] | None = None
    """Name of the entity id that requests may carry: echoed and recorded, never a feature."""
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    artefacts: ArtefactSettings = ArtefactSettings()
    api: ApiSettings = ApiSettings()
    records: RecordsSettings = RecordsSettings()
    database: DatabaseSettings = DatabaseSettings()
    jobs: JobsSettings = JobsSettings()
    fluentd: FluentdSettings = FluentdSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    tracing: TracingSettings = TracingSettings()
    logging: LoggingSettings = LoggingSettings()
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _production_needs_keys(self) -> Self:
        if self.environment == "production" and not self.api.keys:
            raise ValueError(
                "environment is 'production' but no API key is set: "
                "set SERVICE__API__KEYS (several are separated by commas)"
            )
        return self

    def with_training(self, training: TrainingSettings) -> Self:
        """The same settings with others for training."""
        return self.model_copy(update={"training": training})

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self._root

    @property
    def model_directory(self) -> Path:
        """The folder of all model versions."""
        return self.root / self.artefacts.directory

    @property
    def records_directory(self) -> Path:
        """The folder of records that are not shipped yet."""
        return self.root / self.records.directory

    @property
    def records_base(self) -> str:
        """Prefix of the tags and index names of records."""
        return self.fluentd.tag or self.name

    @property
    def monitoring_directory(self) -> Path:
        """The folder of the latest monitoring results."""
        return self.root / self.monitoring.directory

    @property
    def features_file(self) -> Path:
        """The project's `features.yaml`."""
        return self.root / "src" / "model" / "features.yaml"
