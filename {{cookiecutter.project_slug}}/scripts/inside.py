"""Run by `make image` inside of the container: predicts, and tries what must not be possible there."""

import json
import os
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

WRITABLE = ("/app/var", "/tmp")
FORBIDDEN = ("/", "/app", "/app/src", "/app/model_bin", "/etc", "/home", "/opt/venv", "/usr/local/bin", "/var/tmp")


def can_write(folder: str) -> bool:
    """Whether a file can be made there."""
    path = Path(folder) / "written-by-make-image"
    with suppress(OSError):
        path.touch()
        path.unlink()
        return True
    return False


connection = HTTPConnection("127.0.0.1", int(os.environ["SERVICE__API__PORT"]), timeout=10)
headers = {"content-type": "application/json", "x-api-key": os.environ["SERVICE__API__KEYS"]}
connection.request("POST", "/predict", os.environ["REQUEST"], headers)
answer = json.loads(connection.getresponse().read())
if "prediction" not in answer:
    raise SystemExit(f"the example of features.yaml is not predicted: {answer}")
found = {
    "uid": os.getuid(),
    "answer": answer,
    "writable": WRITABLE,
    "written": [folder for folder in FORBIDDEN if can_write(folder)],
    "refused": [folder for folder in WRITABLE if not can_write(folder)],
}
print(json.dumps(found))
