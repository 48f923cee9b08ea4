"""Records of what was built and pushed: small JSON files in `build/` that one pipeline stage hands to the next."""

import json
import os
from pathlib import Path
from typing import Any

from ml_microservice.errors import Fault, ServiceError

IMAGE = "build/image.json"
"""Written by `make image`; `make push` adds `digest` and `repository`."""


def read_built(root: Path) -> dict[str, Any]:
    """Read `build/image.json`.

    Raises:
        ServiceError: there is none.
    """
    try:
        built: dict[str, Any] = json.loads((root / IMAGE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServiceError(Fault("no image was built here", IMAGE, advice="run 'make image'")) from None
    return built


def write_built(root: Path, built: dict[str, Any]) -> dict[str, Any]:
    """Write `build/image.json`, and return its content."""
    write_json(root / IMAGE, built)
    return built


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
