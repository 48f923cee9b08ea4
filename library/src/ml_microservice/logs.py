"""What the service prints about itself: text for people, or one JSON object per line for log shippers."""

import json
import logging
import logging.config
from datetime import UTC, datetime
from typing import Any

from ml_microservice.settings import LoggingSettings


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """A log record as one line of JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def logging_config(settings: LoggingSettings) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`, which covers uvicorn's loggers too."""
    level = settings.level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "%(asctime)s %(levelname)-7s %(message)s"},
            "json": {"()": "ml_microservice.logs.JsonFormatter"},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": settings.format}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "ml_microservice": {"level": level},
            "uvicorn": {"level": level},
            # Every request is in the metrics already; a line for each would cost more than answering it.
            "uvicorn.access": {"level": "WARNING"},
        },
    }


def configure_logging(settings: LoggingSettings) -> None:
    """Configure logging from the settings."""
    logging.config.dictConfig(logging_config(settings))
