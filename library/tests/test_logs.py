"""What the service logs about itself, and in which form."""

import json
import subprocess
import sys

import pytest

CODE = """
import logging, sys
from ml_microservice.logs import configure_logging
from ml_microservice.settings import LoggingSettings
configure_logging(LoggingSettings(level=sys.argv[1], format=sys.argv[2]))
logging.getLogger("ml_microservice.room").info("loaded")
logging.getLogger("somebody.else").info("chatter")
"""


def logged(level: str, form: str) -> str:
    done = subprocess.run([sys.executable, "-c", CODE, level, form], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("warning", 0)])
def test_only_the_service_is_logged_at_the_level_of_the_settings(level: str, lines: int) -> None:
    found = logged(level, "text").splitlines()
    assert len(found) == lines
    assert all(line.endswith("INFO    loaded") for line in found)


def test_json_is_one_object_a_line() -> None:
    (line,) = logged("info", "json").splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("info", "ml_microservice.room", "loaded")
