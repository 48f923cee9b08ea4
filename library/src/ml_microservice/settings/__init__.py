"""`config.yaml` and the environment, as one typed object; a section of the file is a module here.

Every field can be overridden by a variable named after its path: `SERVICE__API__PORT=9000` is `api: {port: 9000}`.
Secrets come only that way, or from a file of that name in the folder that `SERVICE_SECRETS_DIR` names.
"""

from ml_microservice.settings.api import ApiSettings
from ml_microservice.settings.artefacts import ArtefactSettings
from ml_microservice.settings.database import DatabaseSettings
from ml_microservice.settings.jobs import WEBHOOK_KEY_PREFIX, JobsSettings
from ml_microservice.settings.loading import (
    CONFIG_FILE,
    DELIVERY_SECTIONS,
    ENV_PREFIX,
    SECRETS,
    load_settings,
    load_settings_as,
)
from ml_microservice.settings.logging import LoggingSettings
from ml_microservice.settings.monitoring import MonitoringSettings
from ml_microservice.settings.project import Settings
from ml_microservice.settings.records import FluentdSettings, RecordsSettings
from ml_microservice.settings.section import Section
from ml_microservice.settings.tracing import TracingSettings
from ml_microservice.settings.training import GateSettings, TrainingSettings

__all__ = [
    "CONFIG_FILE",
    "DELIVERY_SECTIONS",
    "ENV_PREFIX",
    "SECRETS",
    "WEBHOOK_KEY_PREFIX",
    "ApiSettings",
    "ArtefactSettings",
    "DatabaseSettings",
    "FluentdSettings",
    "GateSettings",
    "JobsSettings",
    "LoggingSettings",
    "MonitoringSettings",
    "RecordsSettings",
    "Section",
    "Settings",
    "TracingSettings",
    "TrainingSettings",
    "load_settings",
    "load_settings_as",
]
