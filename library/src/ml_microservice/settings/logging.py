"""Settings of the service's own log."""

from typing import Literal

from ml_microservice.settings.section import Section


class LoggingSettings(Section):
    """The log that the service writes to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    format: Literal["text", "json"] = "text"
    """`text` for people; `json`, one object per line, for log shippers."""
