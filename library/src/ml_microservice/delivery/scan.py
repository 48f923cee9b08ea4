"""Vulnerability scan of the image by the scanner that `image.scan` of `config.yaml` names, Trivy by default.

Usage: python -m ml_microservice.delivery.scan

The scanner writes build/scan.json. What it says in Trivy's format is summed up; any other is left to read for itself.
"""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_microservice.delivery.built import read_built
from ml_microservice.delivery.settings import load_delivery_settings
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.terminal import faults_shown, out

RESULT = "build/scan.json"
WITHOUT = "or set image.scan to '' in config.yaml, and nothing is scanned"


def scan(root: Path, command: str) -> None:
    """Scan the image in `build/image.json`, and print the findings.

    Raises:
        ServiceError: the scanner found something, is not there, or failed.
    """
    words, image = shlex.split(command), read_built(root)["image"]
    if not words:
        out.print("[yellow]Nothing is scanned:[/] image.scan of config.yaml is empty", highlight=False)
        return
    if shutil.which(words[0]) is None:
        advice = f"docs/images.md says how to get it; {WITHOUT}"
        raise ServiceError(Fault(f"the scanner {words[0]} is not installed", advice=advice))
    result = root / RESULT
    result.unlink(missing_ok=True)
    exit_code = subprocess.run([*words, image], cwd=root).returncode
    if not result.exists():
        raise ServiceError(Fault(f"{words[0]} ended with exit code {exit_code} and no {RESULT}", advice="see above"))
    found = _vulnerabilities(result)
    if found:
        # Pipelines have no terminal, whose width would cut it.
        Console(width=None if out.is_terminal else 200).print(_table(found))
    if exit_code:
        message = f"{words[0]} ended with exit code {exit_code}: {len(found)} vulnerabilities that can be mended"
        advice = "a newer base or 'make lock' with newer libraries mends most of them"
        raise ServiceError(Fault(message, RESULT, advice=advice))
    out.print(f"[bold green]Scanned[/] {image}: {len(found)} vulnerabilities", highlight=False, soft_wrap=True)


def _vulnerabilities(result: Path) -> list[dict[str, Any]]:
    """Findings of Trivy, the most severe first."""
    try:
        document = json.loads(result.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ServiceError(Fault(f"is no JSON: {error}", RESULT)) from None
    parts = document.get("Results") if isinstance(document, dict) else None
    found = [one for part in parts or () for one in part.get("Vulnerabilities") or ()]
    return sorted(found, key=lambda one: (one.get("Severity") != "CRITICAL", one["PkgName"], one["VulnerabilityID"]))


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table("Severity", "Package", "Installed", "Mended in", "Vulnerability", "What it is")
    keys = ("Severity", "PkgName", "InstalledVersion", "FixedVersion", "VulnerabilityID", "Title")
    for one in found:
        table.add_row(*(escape(str(one.get(key, ""))) for key in keys))
    return table


def main() -> None:
    """Scan the latest image."""
    settings = load_delivery_settings()
    scan(settings.root, settings.image.scan)


if __name__ == "__main__":
    with faults_shown():
        main()
