"""Run by `make image` inside the container: predicts the requests on stdin, and tries to write to folders."""

import json
import os
import sys
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

WRITABLE = ("/app/var", "/tmp")
FORBIDDEN = ("/", "/app", "/app/src", "/app/model_bin", "/etc", "/home", "/opt/venv", "/usr/local/bin", "/var/tmp")


def can_write(folder: str) -> bool:
    """Whether a file can be created in the folder."""
    path = Path(folder) / "written-by-make-image"
    with suppress(OSError):
        path.touch()
        path.unlink()
        return True
    return False


def predicted(request: dict[str, Any]) -> dict[str, Any]:
    """The answer of the service to a request."""
    connection.request("POST", "/predict", json.dumps(request), headers)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


connection = HTTPConnection("127.0.0.1", int(os.environ["SERVICE__API__PORT"]), timeout=10)
headers = {"content-type": "application/json", "x-api-key": os.environ["SERVICE__API__KEYS"]}
found = {
    "uid": os.getuid(),
    "answers": [predicted(request) for request in json.load(sys.stdin)],
    "writable": WRITABLE,
    "written": [folder for folder in FORBIDDEN if can_write(folder)],
    "refused": [folder for folder in WRITABLE if not can_write(folder)],
}
print(json.dumps(found))
